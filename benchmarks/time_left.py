"""The time left that a study or a search says, beside the time that was left.

    python benchmarks/time_left.py study --data cluster --minutes 5 --folder /tmp/x
    python benchmarks/time_left.py search --config examples/search_solubility.yaml --folder /tmp/y

The command runs as it is, its lines are timed. Of the lines that say how long is left, those nearest after a third, a
half and two thirds of the whole are shown. Other processes on the machine change the truth, so run it alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time

SHARES = (1 / 3, 1 / 2, 2 / 3)
LEFT = re.compile(r"about (?:(\d+):)?(\d+):(\d\d) left")


def said(line: str) -> float | None:
    """The seconds that a line says are left."""
    found = LEFT.search(line)
    return None if found is None else 3600 * int(found[1] or 0) + 60 * int(found[2]) + int(found[3])


def main(arguments: list[str]) -> int:
    """Run the command; its exit code."""
    begin, forecasts = time.monotonic(), list[tuple[float, float]]()
    command = [sys.executable, "-W", "ignore", "-m", "automl_plugins", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, **pipes, text=True) as process:  # noqa: S603 - our own command
        for line in process.stdout or ():
            print(line, end="", flush=True)
            left = said(line)
            if left is not None:
                forecasts.append((time.monotonic() - begin, left))
    whole = time.monotonic() - begin
    print(f"\n{'share':>8}{'said':>9}{'true':>9}{'error':>9}   of {whole:.0f} s")
    for share in SHARES:
        later = [each for each in forecasts if each[0] >= share * whole]
        if later:
            passed, left = later[0]
            error = left / (whole - passed) - 1
            print(f"{passed / whole:>8.2f}{left:>8.0f}s{whole - passed:>8.0f}s{error:>+9.0%}")
    return process.returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
