"""Training scripts that stay as they are, started with our settings in their environment."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from automl_plugins.cli.attached import VARIABLE
from automl_plugins.cli.errors import UsageError
from automl_plugins.cli.settings import Given

INTERRUPTED = 130
"""The exit code after Ctrl-C or SIGTERM."""


def typed(script: Sequence[str]) -> str:
    """A command as it is typed."""
    return shlex.join(script)


def name_of(script: Sequence[str]) -> str:
    """The name of a command's folder: that of its Python file, or else of its program."""
    files = [part for part in script if part.endswith(".py")] or script[:1]
    return Path(files[0]).stem


def check_script(given: Given) -> None:
    """Refuse a command line that names no network to replace, or no script that can be started.

    Raises:
        UsageError: it does.
    """
    if given.get("target") is None:
        raise UsageError(
            "target is missing; it is the attribute of the script's LightningModule to replace, such as net"
        )
    if not given.script:
        raise UsageError("the script is missing; it comes last: -- python train.py ...")
    if shutil.which(given.script[0]) is None:
        raise UsageError(f"{given.script[0]!r}: there is no such program")


def launch(script: Sequence[str], settings: Mapping[str, Any]) -> int:
    """Run the script with the settings in its environment, and wait for it.

    Args:
        script: the command.
        settings: see `attached.make_callbacks`.

    Returns:
        Its exit code, as a shell has it; `INTERRUPTED` where this process was asked to stop meanwhile.
    """
    process = subprocess.Popen(script, env={**os.environ, VARIABLE: json.dumps(settings)})  # noqa: S603 - the user's own
    interrupted = False
    with _terminated_with(process) as terminated:
        while process.poll() is None:
            # Ctrl-C reaches the script too; Lightning ends in good order, and we wait for that.
            with suppress(KeyboardInterrupt):
                process.wait()
                break
            interrupted = True
    if interrupted or terminated:
        return INTERRUPTED
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


@contextmanager
def _terminated_with(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Hand SIGTERM on to a process inside; what is given holds the signals that were."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def hand_on(number: int, frame: object) -> None:
        received.append(number)
        process.terminate()

    before = signal.signal(signal.SIGTERM, hand_on)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)
