"""The trained network that a command exports, in whatever folder a run has left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from automl_plugins.cli.classes import registered
from automl_plugins.cli.errors import UsageError, told_briefly
from automl_plugins.cli.network_file import UNREADABLE, NetworkFile, network_at
from automl_plugins.cli.settings import Given, read_yaml
from automl_plugins.report.summary import Summary
from automl_plugins.studies.folder import RunFolder
from automl_plugins.training.preprocessing import Preprocessing


@dataclass(frozen=True)
class Exported:
    """A trained network, and the files that say what it was trained on.

    Args:
        found: its architecture, or its name.
        config: of the run; it need not be there.
        weights: of the network; they need not be there.
        module: the checkpoint of the module around it; None: there is none beside the weights.
        folder: that files are written into where no other is named.
    """

    found: NetworkFile
    config: Path
    weights: Path
    module: Path | None
    folder: Path

    def is_registered(self, given: Given) -> bool:
        """True where the run was trained by a registered module, whose buffers are known by their names."""
        module = given.get("module.class_path", given.get("module"))
        return not isinstance(module, str) or module in registered("modules").values()

    def preprocessing(self) -> Preprocessing | None:
        """The task, names and units that the run has kept; None: it has kept none.

        Raises:
            UsageError: they cannot be read.
        """
        path = RunFolder(self.folder).preprocessing
        if not path.is_file():
            return None
        with told_briefly(str(path), 1, *UNREADABLE, OSError):
            return Preprocessing.load(path)

    def summary(self) -> Summary | None:
        """The table and the verdict of the run; None: it has none.

        Raises:
            UsageError: it cannot be read.
        """
        for folder in (self.found.run.path, self.found.run.path.parent):
            path = RunFolder(folder).summary
            if path.is_file():
                with told_briefly(str(path), 1, *UNREADABLE, OSError):
                    return Summary.from_json(path.read_text("utf-8"))
        return None


def exported_at(target: str, key: str = "") -> Exported:
    """The trained network of a folder, or of an architecture.json.

    Args:
        target: the folder of a study, a search that was evaluated, an evaluation or a fit, or a file of it.
        key: what the messages call it; empty where it has no key.

    Raises:
        UsageError: there is none.
    """
    folder = Path(target)
    if folder.is_dir() and (of_fit := _of_fit(folder)) is not None:
        return of_fit
    if not folder.exists():
        raise UsageError(f"{f'{key}=' if key else ''}{target!r}: there is no such file or folder")
    evaluated = RunFolder(folder).evaluation
    if folder.is_dir() and not RunFolder(folder).network.is_file() and evaluated.winner.is_file():
        # What a search has found was trained by `evaluate`.
        found = network_at(str(evaluated.path), key)
    else:
        found = network_at(target, key)
    run = found.run
    config = run.config if run.config.is_file() else RunFolder(run.path.parent).config
    module = run.module if run.module.is_file() else None
    return Exported(found, config, run.network, module, run.path)


def _of_fit(folder: Path) -> Exported | None:
    """The network of a training by `fit`, by its log's folder; None: the folder is of something else."""
    run = RunFolder(folder)
    if not run.config.is_file():
        return None
    model = read_yaml(run.config).get("model")
    trained = model.get("architecture") if isinstance(model, dict) else None
    if not isinstance(trained, str):
        return None
    checkpoints = sorted((folder / "checkpoints").glob("*.ckpt"))
    if len(checkpoints) != 1:
        listed = ", ".join(path.name for path in checkpoints)
        told = f"it has the checkpoints {listed}; name one" if checkpoints else "it has no checkpoint; name one"
        raise UsageError(f"{str(folder)!r}: {told} with --architecture {trained} --weights FILE")
    if run.architecture.is_file() or run.winner.is_file():
        trained = str(folder)
    return Exported(network_at(trained), run.config, checkpoints[0], checkpoints[0], folder)
