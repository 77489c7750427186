"""Do with the network of an architecture.json what LightningCLI's `{command}` does.

usage: automl-plugins {command} --architecture runs/x/architecture.json [--config FILE] [--key value]

The config.yaml beside the file, which a study or a search writes, gives the space, the data, the module, the
Trainer's arguments and the seed; so does that config itself, whose folder then holds the architecture. Settings
that a study has tuned are in the settings.json beside both, and over the config; flags are over them:

  automl-plugins fit --architecture runs/solubility/architecture.json
  automl-plugins fit --config runs/solubility/config.yaml --trainer.max_epochs 200
  automl-plugins test --config runs/solubility/config.yaml --ckpt_path lightning_logs/version_0/checkpoints/x.ckpt

options:
  --architecture FILE      what to train
  --space NAME             its space, with arguments as --space.layers 3
  --data NAME              the datamodule, with arguments as --data.batch_size 32; it says what the task is
  --module NAME            the LightningModule around the network, with arguments as --module.learning_rate 0.01;
                           the registered one for the data's task where left out
  --trainer.KEY VALUE      an argument of Lightning's Trainer; --trainer.callbacks+=EarlyStopping adds to a list
  --optimizer, --lr_scheduler CLASS
                           in place of the module's own
  --seed_everything N      the seed
  {method}
  --config FILE            YAML with any of these keys; may come several times
  --print_config           print the whole configuration and end

A run whose winner was made by hand is trained, tested and so on with that network.

Checkpoints, loggers and lightning_logs are Lightning's own. A checkpoint opens with
`Module.load_from_checkpoint(path, network=space.network(architecture, task), task=task)`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from automl_plugins.cli.commands import METHOD_KEYS, over_run
from automl_plugins.cli.console import output
from automl_plugins.cli.errors import UsageError, say, told_briefly, without_deprecations
from automl_plugins.cli.network_file import NetworkFile, network_at
from automl_plugins.cli.parser import Settings
from automl_plugins.cli.record import keep, other_data, printed, yaml_of
from automl_plugins.cli.settings import Given, read_text
from automl_plugins.search.checkpoint_files import read_checkpoint
from automl_plugins.studies.folder import RunFolder
from automl_plugins.system.files import save_whole, write_whole
from automl_plugins.system.finite import strict_json
from automl_plugins.system.to_be_loaded import to_be_loaded
from automl_plugins.training.fit import listed
from automl_plugins.training.lightning import pl
from automl_plugins.training.preprocessing import Preprocessing
from automl_plugins.training.project import MOST_SEED

_TYPES: dict[str, Any] = {
    "architecture": str | None,
    "seed": int | None,
    "seed_everything": bool | int | None,
    "folder": str | None,
    "optimizer": Callable[[Any], Optimizer] | None,
    "lr_scheduler": Callable[[Optimizer], LRScheduler] | None,
}


def run(given: Given, command: str) -> int:
    """Run the command, see `automl_plugins.cli.commands.Command`."""
    found = _found(given)
    given = found.under(given if given.configs else over_run(command, given, found.run.config))
    given = found.tuned(given, command)
    given.needs("space", "data")
    types: dict[str, Any] = {key: str | None if key == "ckpt_path" else bool | None for key in METHOD_KEYS[command]}
    settings = Settings(given, ("space", "data", "module", "trainer"), **_TYPES, **types)
    seed = settings["seed"] if settings["seed_everything"] is None else settings["seed_everything"]
    if seed is not None and seed is not True and not 0 <= seed <= MOST_SEED:
        raise UsageError(f"seed_everything is at least 0 and at most {MOST_SEED}; got {seed}")
    if settings["ckpt_path"] is not None and settings["weights_only"] is not False:
        _check_checkpoint(Path(settings["ckpt_path"]))
    project, options = settings.project("module"), settings.trainer()
    made = {key: settings.make(key) for key in ("optimizer", "lr_scheduler")}
    contender = found.contender(project.space)
    config = _config(settings, found.path, seed)
    if printed(given, config):
        return 0
    if seed is not None and seed is not False:
        pl.seed_everything(None if seed is True else seed, workers=True)
    with told_briefly("", 1, OSError, ImportError, ValueError, RuntimeError), without_deprecations():
        project.read_data()
        if (difference := other_data(found.run, project.data)) is not None:
            say(f"the data are not those that the run in {found.path.parent} was of: {difference}", command)
        # A checkpoint has all weights, so those that the network would begin with need not be there.
        with to_be_loaded() if settings["ckpt_path"] is not None and command != "fit" else nullcontext():
            module = project.make_module(contender.network(project.space, project.task, project.data))
    if made["optimizer"] is not None:
        _replace_optimizer(module, made["optimizer"], made["lr_scheduler"])
    callbacks = [*listed(options.pop("callbacks", None)), _KeepConfig(yaml_of(config))]
    trainer = pl.Trainer(**options, callbacks=callbacks)
    arguments = {key: settings[key] for key in types if settings[key] is not None}
    if "ckpt_path" in arguments:
        arguments.setdefault("weights_only", True)  # Lightning unpickles what lies on this machine otherwise
    done = getattr(trainer, command)(module, datamodule=project.data, **arguments)
    if command == "fit" and trainer.is_global_zero:
        _keep_network(trainer, found, Preprocessing.of(project.data, project.task, module))
        _show_kept(trainer)
    if command == "predict" and done is not None and trainer.is_global_zero:
        _keep_predictions(trainer, done)
    return 0


def _check_checkpoint(path: Path) -> None:
    """Refuse a file that is no checkpoint of Lightning's; words such as `best` and addresses are Lightning's to read.

    Raises:
        UsageError: it is none.
    """
    if not path.is_file():
        return
    with told_briefly("ckpt_path", 1, OSError, ValueError):
        content = read_checkpoint(path)
    state = content.get("state_dict")
    is_state = isinstance(state, Mapping) and all(isinstance(tensor, Tensor) for tensor in state.values())
    if not is_state or "pytorch-lightning_version" not in content:
        told = "it is no checkpoint of Lightning's, which has a state_dict and a pytorch-lightning_version"
        raise UsageError(f"ckpt_path={str(path)!r}: {told}", code=1)


def _found(given: Given) -> NetworkFile:
    """The network that is named, that beside the config, or that of the config's folder."""
    named = given.get("architecture")
    beside = [folder for folder in (config.parent for config in reversed(given.configs)) if _has_network(folder)]
    if named is None and not beside and given.get("folder") is None:
        raise UsageError("architecture is missing; it is an architecture.json, such as a study leaves in its folder")
    return network_at(str(named if named is not None else beside[0] if beside else given.get("folder")))


def _has_network(folder: Path) -> bool:
    return RunFolder(folder).architecture.is_file() or RunFolder(folder).winner.is_file()


def _config(settings: Settings, path: Path, seed: Any) -> dict[str, Any]:
    """The whole configuration, as Lightning's command line keeps it: what makes the module is under `model`."""
    whole = dict(settings.plain)
    bare = settings.bare_module
    model = {
        "architecture": str(path),
        "space": whole.pop("space"),
        "module": None if bare is not None else whole.pop("module"),
        "module_arguments": bare,
    }
    others = {
        key: whole[key] for key in whole if key not in ("architecture", "seed", "seed_everything", "folder", "module")
    }
    return {"seed_everything": seed, "model": model, **others}


def _replace_optimizer(
    module: pl.LightningModule,
    make_optimizer: Callable[[Any], Optimizer],
    make_scheduler: Callable[[Optimizer], LRScheduler] | None,
) -> None:
    """Have a module trained with another optimizer than its own."""

    def configure_optimizers() -> Any:
        optimizer = make_optimizer(module.parameters())
        if make_scheduler is None:
            return optimizer
        scheduler = make_scheduler(optimizer)
        # ReduceLROnPlateau alone looks at it.
        monitor = getattr(scheduler, "monitor", None) or getattr(module, "monitor", "val_loss")
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": monitor}}

    module.configure_optimizers = configure_optimizers  # type: ignore[method-assign]


class _KeepConfig(pl.Callback):
    """Keeps the whole configuration beside the logs, as Lightning does, but never over somebody's own file.

    Args:
        text: YAML.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # Where no logger has a folder, this is the working directory, which has a config.yaml of its user's perhaps.
        folder = Path(trainer.log_dir or trainer.default_root_dir)  # all ranks are asked
        if trainer.is_global_zero:
            keep(folder / "config.yaml", self.text)


def _keep_network(trainer: pl.Trainer, found: NetworkFile, kept: Preprocessing) -> None:
    """Write beside the logs what the checkpoints are of, so that their folder is enough to predict with."""
    if trainer.log_dir is not None:
        folder = RunFolder(Path(trainer.log_dir))
        if found.is_reference:
            reference = json.loads(read_text(found.path, "architecture"))["reference"]
            write_whole(folder.winner, strict_json({"reference": reference}))
        else:
            write_whole(folder.architecture, read_text(found.path, "architecture"))
        kept.save(folder.preprocessing)


def _show_kept(trainer: pl.Trainer) -> None:
    """Say where the checkpoints are; a training that keeps none says so."""
    paths = [callback.best_model_path for callback in trainer.checkpoint_callbacks]  # type: ignore[attr-defined]
    kept = [path for path in paths if path]
    if kept:
        output().out(f"kept: {' '.join(kept)}; `automl-plugins export --weights` takes it, and `test --ckpt_path`")
    else:
        output().out("no checkpoint was kept; a ModelCheckpoint among --trainer.callbacks keeps one")


def _keep_predictions(trainer: pl.Trainer, predictions: Any) -> None:
    """Write what was predicted beside the logs: a list with what the module gave for each batch, in their order."""
    path = Path(trainer.log_dir or trainer.default_root_dir) / "predictions.pt"
    save_whole(path, predictions)
    output().out(f"kept: {path}; a list of what was predicted for each batch, for torch.load")
