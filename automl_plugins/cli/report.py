"""Write what a run has found as one page of HTML, or compare several runs.

usage: automl-plugins report RUN [--out report.html]
       automl-plugins report RUN RUN ... --out comparison.html

RUN is the folder of a study, a search or an evaluation; one that goes on still, or was stopped, gives a page that says
so. The page needs no network and no script: it can be mailed. It has the verdict, the final table with intervals,
best-so-far curves of all arms over cost, a search's logits over its epochs, the architecture drawn, the Pareto front,
the importance of choices, what failed and why, predictions beside the truth, and the command and configuration.

Of several runs: their finals, their curves together, and what differs in architecture and settings.

options:
  --out FILE               the page (RUN/report.html); a page of ours that is there is replaced, nothing else
  --predictions false      leave out predictions beside the truth, for which the data are read
  --space NAME, --space.layers 3
                           the space's arguments; the run's where left out
"""

from __future__ import annotations

import os
from pathlib import Path

from automl_plugins.cli.errors import UsageError
from automl_plugins.cli.settings import Given

OWN_NAME = "report.html"


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    folders = [Path(target) for target in given.targets]
    for folder in folders:
        if not folder.exists():
            raise UsageError(f"{str(folder)!r}: there is no such folder")
    named = given.get("out")
    if named is None and len(folders) > 1:
        raise UsageError("out is missing; it is a file for the comparison, such as comparison.html")
    out = folders[0] / OWN_NAME if named is None else Path(str(named)).expanduser()
    predicts = given.get("predictions", True)
    if not isinstance(predicts, bool):
        raise UsageError(f"predictions={predicts!r}: it is true or false")
    if named is not None or folders[0].is_dir():
        _check_out(out)
    from automl_plugins.cli.report_run import write_report  # it imports torch, for which mistakes should not wait

    return write_report(folders, out, given.without("out", "predictions"), predicts, command)


def _check_out(path: Path) -> None:
    """Refuse what cannot be written, and what would replace something that is no page of ours."""
    name = f"out={str(path)!r}"
    if path.is_dir():
        raise UsageError(f"{name}: it is a folder; name a file in it, such as {path / OWN_NAME}")
    if path.suffix not in (".html", ".htm"):
        raise UsageError(f"{name}: it is a file ending in .html")
    if path.exists() and not _is_ours(path):
        raise UsageError(f"{name}: there is something already that is no page of ours; name another file")
    home = next(each for each in (path.absolute(), *path.absolute().parents) if each.is_dir())
    between = [each for each in path.absolute().parents if each.exists() and not each.is_dir()]
    if between:
        raise UsageError(f"{name}: {between[0]} is a file, and no folder")
    if not os.access(home, os.W_OK):
        raise UsageError(f"{name}: the folder {home} is not writable")


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return b"<!-- automl-plugins report -->" in file.read(200)
