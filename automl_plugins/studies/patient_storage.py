"""A storage that may go away for a while: what is asked of it meanwhile is asked again."""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage

from automl_plugins.errors import StudyError
from automl_plugins.system.files import WriteError
from automl_plugins.system.waiting import say

SECONDS = 90.0
"""The longest wait for a storage that does not answer."""
_FIRST_DELAY, _LONGEST_DELAY = 0.25, 5.0
_TRANSIENT = ("OperationalError", "InterfaceError", "PendingRollbackError", "DisconnectionError", "TimeoutError")
_LASTING = ("readonly", "read-only", "malformed", "not a database", "no such table", "no such column", "disk is full")


class StorageError(StudyError):
    """A storage that cannot be used."""


def patient(storage: BaseStorage, location: str) -> BaseStorage:
    """A storage that waits while the one below it does not answer, and says so in one line.

    Args:
        storage: below it.
        location: what the lines call it.
    """
    kind: Any = _patient_kind()
    return kind(storage, location)


@functools.cache
def _patient_kind() -> type[BaseStorage]:
    # All that a storage is asked goes the same way, also what later versions of Optuna add.
    names = [name for name, _ in inspect.getmembers(BaseStorage, inspect.isfunction) if not name.startswith("_")]
    methods: dict[str, Any] = {name: _asked_again(name) for name in names}
    return type("PatientStorage", (BaseStorage,), {"__init__": _begin, **methods})


def _begin(self: Any, storage: BaseStorage, location: str) -> None:
    self._below = storage
    self._location = location
    self._outage = _outage_of(location)


def _asked_again(name: str) -> Callable[..., Any]:
    def ask(self: Any, *arguments: Any, **named: Any) -> Any:
        began, delay, before = time.monotonic(), _FIRST_DELAY, False
        while True:
            try:
                answer = getattr(self._below, name)(*arguments, **named)
            except UpdateFinishedTrialError:
                if before and name == "set_trial_state_values":
                    return True  # it was told, and only the answer was lost
                raise
            except OSError as error:
                if str(self._location).endswith(".journal"):
                    raise WriteError(Path(self._location), error) from error
                raise
            except Exception as error:
                if not is_transient(error):
                    raise
                if time.monotonic() - began > SECONDS:
                    self._outage.forget()
                    raise StorageError(
                        f"storage {self._location} has not answered for {SECONDS:g} s ({reason_of(error)}); what was "
                        "trained is kept, and the same command goes on from here once it is back"
                    ) from error
                if before:
                    # Not at the first failure: that may be a connection from before an outage that is over.
                    self._outage.begins(error)
                before = True
                time.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY)
            else:
                self._outage.ends()
                return answer

    return ask


class _Outage:
    """Tells of an outage once, and of its end, for all threads of a process.

    Args:
        location: the storage.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self._lock = threading.Lock()
        self._since: float | None = None

    def begins(self, error: Exception) -> None:
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()
                say(f"waiting up to {SECONDS:g} s for storage {self._location}: {reason_of(error)}")

    def ends(self) -> None:
        if self._since is None:
            return
        with self._lock:
            if self._since is not None:
                say(f"storage {self._location} answers again, after {time.monotonic() - self._since:.0f} s")
                self._since = None

    def forget(self) -> None:
        with self._lock:
            self._since = None


@functools.cache
def _outage_of(location: str) -> _Outage:
    """The one of this process: it opens a storage several times, and its outage is one."""
    return _Outage(location)


def is_transient(error: BaseException) -> bool:
    """True where a storage may answer when it is asked again."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ is not None else error
    if any(kind.__module__.startswith("grpc") for kind in type(cause).__mro__):
        code = getattr(cause, "code", None)
        return callable(code) and getattr(code(), "name", "") in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    if not type(cause).__module__.startswith("sqlalchemy"):
        return False
    lost = bool(getattr(cause, "connection_invalidated", False))
    known = lost or any(kind.__name__ in _TRANSIENT for kind in type(cause).__mro__)
    return known and not any(words in str(cause).lower() for words in _LASTING)


def reason_of(error: BaseException) -> str:
    """The failure in one line: the driver's words, without the statement that SQLAlchemy adds."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ is not None else error
    words = str(getattr(cause, "orig", None) or cause).strip()
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return f"{type(cause).__name__}: {' '.join(lines[:2])[:300]}" if lines else type(cause).__name__
