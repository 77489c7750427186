"""Training scripts that stay as they are, started with our settings in their environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from automl_plugins.cli.attached import VARIABLE
from automl_plugins.cli.errors import UsageError
from automl_plugins.cli.settings import Given
from automl_plugins.errors import Terminated

INTERRUPTED = 130
"""The exit code after Ctrl-C or SIGTERM."""


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
    stopped = False
    while process.poll() is None:
        try:
            process.wait()
        except KeyboardInterrupt as stop:
            # Lightning ends in good order, and we wait for that. Ctrl-C reaches the script too.
            stopped = True
            if isinstance(stop, Terminated):
                process.terminate()
    if stopped:
        return INTERRUPTED
    return process.returncode if process.returncode >= 0 else 128 - process.returncode
