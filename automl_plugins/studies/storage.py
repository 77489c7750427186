"""The storage of a study's trials: a journal file in the run's folder, or any storage of Optuna's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

_FORM = "a file ending in .journal or a storage URL such as sqlite:///study.db"


def expanded(storage: str) -> str:
    """A storage in which `~` is the user's home."""
    if "://" not in storage:
        return str(Path(storage).expanduser())
    return storage.replace("sqlite:///~", f"sqlite:///{Path.home()}", 1)


def open_storage(location: str, wait: bool = False) -> BaseStorage:
    """Open a storage. One that goes away for a while later is waited for, see `automl_plugins.studies.patient_storage`.

    Args:
        location: a path ending in `.journal`, or a storage URL of Optuna's (`sqlite:///study.db`, `postgresql://...`).
        wait: be patient already now: the storage is known to have been there.

    Raises:
        ValueError: neither of them.
        StorageError: it cannot be reached or read; one line that names it and the cure.
    """
    location = expanded(location)
    if location.endswith(".journal"):
        return _open_journal(location)
    if "://" not in location:
        raise ValueError(f"storage is {_FORM}; got {location!r}")
    return _open_database(location, wait)


def without_password(location: str) -> str:
    """A storage URL without the password in it."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1@", location)


def _open_journal(location: str) -> BaseStorage:
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    from automl_plugins.studies.journal_lock import JournalLock
    from automl_plugins.studies.patient_storage import StorageError, patient

    path = Path(location)
    # Optuna asks a lock for no more than `acquire` and `release`; its base class for them is private.
    lock: Any = JournalLock(location)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return patient(JournalStorage(JournalFileBackend(location, lock_obj=lock)), location)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"storage {location} cannot be opened: {reason}; storage is {_FORM}") from error
    except Exception as error:
        # Whatever Optuna makes of lines that are none of its own: the file says better what is wrong.
        place = _spoilt_line(path)
        raise StorageError(
            f"storage {location} cannot be read: {place or f'{type(error).__name__}: {error}'}; put a copy from before "
            "in its place, or move it away to begin anew"
        ) from error


def _spoilt_line(journal: Path) -> str | None:
    """The first line of a journal that is none of Optuna's, in words."""
    with journal.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                content = json.loads(line)
            except ValueError:
                content = None
            if not isinstance(content, dict) or "op_code" not in content:
                return f"line {number} is not a line of an Optuna journal ({line[:40]!r})"
    return None


def _open_database(location: str, wait: bool) -> BaseStorage:
    import time

    import optuna

    from automl_plugins.studies.patient_storage import SECONDS, StorageError, is_transient, patient, reason_of

    shown, began = without_password(location), time.monotonic()
    while True:
        try:
            return patient(optuna.storages.get_storage(location), shown)
        except ImportError as error:
            driver = location.partition(":")[0]
            cause = error.__cause__ or error
            raise StorageError(
                f"storage {shown} needs a driver that is not installed ({cause}); install it, or name another one as "
                f"{driver.partition('+')[0]}+DRIVER://"
            ) from error
        except Exception as error:
            if wait and is_transient(error) and time.monotonic() - began < SECONDS:
                time.sleep(1)
                continue
            raise StorageError(f"storage {shown} cannot be opened: {reason_of(error)}; {_cure(location)}") from error


def _cure(location: str) -> str:
    if location.startswith("sqlite"):
        return "it is sqlite:///PATH of a file that can be written, of Optuna's or not there yet"
    return "see that the server runs, and that user, password, host and database are right (DRIVER://USER:PASSWORD@HOST/DB)"
