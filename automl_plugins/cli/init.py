"""Write a commented configuration for data of your own, after a look at them.

usage: automl-plugins init [DATA] [--target COLUMN] [--minutes N] [--out FILE] [--data.KEY VALUE]

DATA is a CSV table of molecules (a column of SMILES) or of images (a column of files), a graph in an npz file, a folder
of images and masks, or a folder with a folder of images for each class. In a terminal it asks for what is left out.

  automl-plugins init molecules.csv --target solubility
  automl-plugins init graph.npz --minutes 30
  automl-plugins init photos --out photos.yaml
  automl-plugins study --config photos.yaml

options:
  --target COLUMN     of a table, what is to be predicted: a column, or several as [A, B]
  --minutes N         the study is to take so long; without it, the rules of `study --data` say how much is trained
  --out FILE          of the configuration; the name of the data with .yaml where left out
  --overwrite         what is there already may be replaced
  --data NAME         a class that reads the data (`automl-plugins list data`), where several could
  --data.KEY VALUE    an argument of that class, in place of what would be chosen

The data are read as a study reads them: classes and their counts, sizes, what is missing or cannot be read, and what
stands twice or in two parts of the split are said, and are comments in the file. Nothing is trained.
"""

from __future__ import annotations

import sys
from pathlib import Path

from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.questions import answer
from automl_plugins.cli.settings import Given
from automl_plugins.cli.writable import check_out
from automl_plugins.system.arguments import positive
from automl_plugins.system.nearest import did_you_mean

_KINDS = "a CSV table of molecules or images, a graph as npz, or a folder of images"


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    asks = sys.stdin is not None and sys.stdin.isatty()
    if not given.targets and not asks:
        raise UsageError(f"name the data: {_KINDS}")
    path = Path(given.targets[0] if given.targets else answer(f"Data ({_KINDS})"))
    _check_path(path)
    minutes = given.get("minutes")
    with told_briefly():
        minutes = None if minutes is None else positive("minutes", minutes)
    out = Path(str(given.get("out", f"{path.absolute().stem or 'study'}.yaml")))
    check_out(out, "overwrite" in given.switches, "study.yaml")
    from automl_plugins.cli.init_config import write_config  # it imports torch, for which mistakes should not wait

    return write_config(path, minutes, out, given, command, asks)


def _check_path(path: Path) -> None:
    if not path.exists():
        siblings = [str(each) for each in path.parent.glob("*")] if path.parent.is_dir() else []
        hint = f"; {did_you_mean(str(path), siblings)}" if siblings else ""
        raise UsageError(f"{str(path)!r}: there is no such file or folder{hint}")
    if not path.is_file() and not path.is_dir():
        raise UsageError(f"{str(path)!r}: it is no regular file and no folder; give {_KINDS}")
    if path.is_file() and path.stat().st_size == 0:
        raise UsageError(f"{str(path)!r}: the file is empty")
    if path.is_dir() and not any(path.iterdir()):
        raise UsageError(f"{str(path)!r}: the folder is empty")
