"""Lightning checkpoints of trained modules, which `fit`, `validate` and `test --ckpt_path` accept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from automl_plugins import training
from automl_plugins._lightning import pl
from automl_plugins.run_folder import save_whole

_PLAIN = (bool, int, float, str, type(None))


def weights_checkpoint(module: pl.LightningModule, epoch: int, steps: int) -> dict[str, Any]:
    """A checkpoint without the state of an optimizer, as `ModelCheckpoint(save_weights_only=True)` writes one.

    Args:
        module: trained.
        epoch: of the weights, from 0.
        steps: optimizer steps that were taken.
    """
    return {
        "epoch": epoch,
        "global_step": steps,
        "pytorch-lightning_version": pl.__version__,
        "state_dict": module.state_dict(),
    }


def write_checkpoint(
    module: pl.LightningModule, data: pl.LightningDataModule, options: Mapping[str, Any], path: Path
) -> None:
    """Write a whole checkpoint of a trained module; `fit` starts from its weights, with an optimizer that is new.

    Args:
        module: trained.
        data: what it is trained on.
        options: arguments of Lightning's Trainer.
        path: the file.

    Raises:
        WriteError: it cannot be written.
    """
    kept = {name: value for name, value in options.items() if name in ("accelerator", "precision")}
    with training.quiet_lightning():
        trainer = pl.Trainer(**{**training.LEAN, **kept}, max_epochs=0, plugins=[_WholeFiles()])
        trainer.fit(module, datamodule=data)
        trainer.save_checkpoint(path, weights_only=False)


class _WholeFiles(pl.plugins.io.TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, and nothing into it that would have to be unpickled."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save_whole(
            Path(path),
            {name: value for name, value in checkpoint.items() if name != "callbacks"} | _settings(checkpoint),
        )


def _settings(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters that are plain values; a network among them is given again when the file is read."""
    return {
        name: {key: each for key, each in checkpoint[name].items() if isinstance(each, _PLAIN)}
        for name in ("hyper_parameters", "datamodule_hyper_parameters")
        if name in checkpoint
    }


def first_not_finite(module: torch.nn.Module) -> str | None:
    """The name of a parameter that holds nan or an infinite number; None where all are finite."""
    for name, parameter in module.named_parameters():
        if parameter.is_floating_point() and not bool(parameter.detach().isfinite().all()):
            return name
    return None
