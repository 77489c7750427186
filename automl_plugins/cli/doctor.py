"""Say what is installed, what this machine gives, and whether a run goes on with it.

usage: automl-plugins doctor [RUN]

RUN is a run's folder: who wrote it, and whether its files and its space are of versions that are read here.

In front of each line stands
  ok       it is there, and fits
  -        it is not there, and needed by nothing but what the line says
  mind     worth a look
  BROKEN   nothing works as it should before this is mended; the exit code is 1
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, one_line
from automl_plugins.cli.finding import Finding
from automl_plugins.cli.settings import Given


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    folder = Path(given.targets[0]) if given.targets else None
    if folder is not None and not folder.is_dir():
        raise UsageError(f"{str(folder)!r}: {'it is no folder' if folder.exists() else 'there is no such folder'}")
    console, broken = output(), list[Finding]()
    for title, findings in _chapters(folder):
        console.out(f"\n{title}", highlight=False)
        for each in findings:
            broken += [each] if each.state == "BROKEN" else []
            told = f"  {each.state:<8}{one_line(each.what):<31} {one_line(each.told)}"
            console.out(told.rstrip(), highlight=False)
    if broken:
        raise UsageError(f"{len(broken)} broken, the first: {broken[0].what}: {broken[0].told}", code=1)
    console.out("\nnothing is broken", highlight=False)
    return 0


def _chapters(folder: Path | None) -> Iterator[tuple[str, Iterator[Finding]]]:
    from automl_plugins.cli.doctor_machine import machine
    from automl_plugins.cli.doctor_packages import extras, packages, plugins

    yield "packages", packages()
    yield "extras", extras()
    yield "plugins", plugins()
    yield "this machine", machine(folder or Path())
    if folder is not None:
        from automl_plugins.cli.doctor_run import versions_of

        yield f"the run {folder}", versions_of(folder)
