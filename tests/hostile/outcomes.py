"""Calls of the command line in this process or in one of its own, and what became of them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inputs import OWNED, HostileInput

LIMIT = 60
"""Seconds after which a call counts as not answered."""
_MOMENT = 0.02
"""Seconds in which a shell that a call has started does what it was told."""


@dataclass(frozen=True)
class Outcome:
    """What became of a hostile input.

    Args:
        code: the exit code; None: the call raised, or was not answered.
        stderr: what was written there.
        seconds: of wall time.
        owned: the input's code was run.
        raised: the traceback of what the call raised.
        answered: whether it ended within `LIMIT`.
        spoilt: files of the user's that it changed or removed.
    """

    code: int | None
    stderr: str
    seconds: float
    owned: bool
    raised: str = ""
    answered: bool = True
    spoilt: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The worst that can be said of it, or `one line`."""
        if self.owned:
            return "code run"
        if not self.answered:
            return "no answer"
        if self.raised or "Traceback (most recent call last)" in self.stderr:
            return "traceback"
        if self.spoilt:
            return "file spoilt"
        if self.code == 0:
            return "accepted"
        lines = self.stderr.strip("\n").split("\n")
        return "one line" if len(lines) == 1 and lines[0].strip() else "several lines"


class _NoAnswer(BaseException):
    """The time is over; no `except Exception` holds it up."""


def here(given: HostileInput, folder: Path) -> Outcome:
    """Run it in this process, with `folder` as the working folder."""
    from automl_plugins.cli import main

    given.prepare(folder)
    before = _contents(folder)
    code, raised, answered = None, "", True
    stdout, stderr = io.StringIO(), io.StringIO()
    begin = time.perf_counter()
    with _inside(folder), contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), _alarm():
        try:
            code = main(list(given.arguments))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except _NoAnswer:
            answered = False
        except BaseException:  # noqa: BLE001 - whatever it is, it should not have come this far
            raised = traceback.format_exc()
    seconds = time.perf_counter() - begin
    return Outcome(code, stderr.getvalue(), seconds, _owned(folder), raised, answered, _spoilt(before, folder))


def in_a_process(given: HostileInput, folder: Path) -> Outcome:
    """Run it as a user would, in a process of its own."""
    given.prepare(folder)
    before = _contents(folder)
    begin = time.perf_counter()
    arguments = [part.replace("\0", "") for part in given.arguments]  # the kernel takes none
    roots = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, "-m", "automl_plugins", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, roots))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        _, stderr = process.communicate(timeout=LIMIT)
        code, answered = process.returncode, True
    except subprocess.TimeoutExpired:
        process.kill()
        _, stderr = process.communicate()
        code, answered = None, False
    seconds = time.perf_counter() - begin
    return Outcome(code, stderr, seconds, _owned(folder), "", answered, _spoilt(before, folder))


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """The folder as the working one, from which modules are imported; what the call changes is put back."""
    home, path, modules = Path.cwd(), list(sys.path), set(sys.modules)
    environment = dict(os.environ)
    levels = {name: logging.getLogger(name).level for name in ("pytorch_lightning", "lightning_fabric", "optuna")}
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            os.chdir(home)
            sys.path[:] = path
            for name in set(sys.modules) - modules:
                if name.startswith("evil"):
                    del sys.modules[name]
            os.environ.clear()
            os.environ.update(environment)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise _NoAnswer

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _owned(folder: Path) -> bool:
    time.sleep(_MOMENT)
    return any((folder / place / OWNED).exists() for place in (".", "run", "new"))


def _contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def _spoilt(before: dict[str, str], folder: Path) -> tuple[str, ...]:
    after = _contents(folder)
    return tuple(name for name, content in before.items() if after.get(name) != content)
