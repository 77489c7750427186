"""Lightning checkpoints of trained modules, which `fit`, `validate` and `test --ckpt_path` accept."""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch

from automl_plugins.system.failure import failure_of
from automl_plugins.training.lightning import pl

_PLAIN = (bool, int, float, str, type(None))


def checkpoint_of(module: pl.LightningModule, epoch: int, steps: int) -> tuple[dict[str, Any], str]:
    """A checkpoint of a trained module. `fit` starts from its weights, with an optimizer that is new.

    The additions of the module's own `on_save_checkpoint` are in it if torch reads them without unpickling, and so are
    hyperparameters that are plain values; a network among them is given again when the file is read.

    Args:
        module: trained.
        epoch: of the weights, from 0.
        steps: optimizer steps that were taken.

    Returns:
        The checkpoint, and why what the module's hook adds is not in it, where it raises.
    """
    checkpoint = {
        "epoch": epoch,
        "global_step": steps,
        "pytorch-lightning_version": str(getattr(pl, "__version__")),  # noqa: B009 - its package does not declare it
        "state_dict": module.state_dict(),
        "optimizer_states": [],
        "lr_schedulers": [],
    }
    plain = {name: value for name, value in dict(module.hparams).items() if isinstance(value, _PLAIN)}
    if plain:
        checkpoint["hyper_parameters"] = plain
    added = dict(checkpoint)
    note = ""
    try:
        module.on_save_checkpoint(added)
    except Exception as error:  # noqa: BLE001 - the user's hook; the weights are worth keeping without what it adds
        added, note = {}, f"its checkpoints have nothing of on_save_checkpoint, which failed: {failure_of(error)}"
    safe = {name: value for name, value in added.items() if name in checkpoint or _is_read_safely(value)}
    return {**checkpoint, **safe}, note


def _is_read_safely(value: Any) -> bool:
    file = io.BytesIO()
    try:
        torch.save(value, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except (pickle.PickleError, AttributeError, RuntimeError, TypeError):
        return False
    return True


def first_not_finite(module: torch.nn.Module) -> str | None:
    """The name of a parameter that holds nan or an infinite number; None where all are finite."""
    for name, parameter in module.named_parameters():
        if parameter.is_floating_point() and not bool(parameter.detach().isfinite().all()):
            return name
    return None
