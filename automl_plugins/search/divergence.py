"""Noticing that a search has diverged, before what it then computes passes for a result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
import torch.distributed
from torch import Tensor, nn

from automl_plugins.errors import DivergedError
from automl_plugins.spaces.architecture import Architecture

_CURES = "a lower learning rate of the module or of the search, or gradient_clip_val, may keep it finite"


def diverged(reason: str, epochs: int, kept: Mapping[str, Architecture]) -> DivergedError:
    """The error of a search in which something is not a number any more, so that nothing after it means anything.

    Args:
        reason: the value that is not a number, and the step.
        epochs: how many had ended before it.
        kept: what was found by then, by the name of the searchable; the logits are put back to it.
    """
    before = f"what the {epochs} epoch(s) before found is kept" if kept else "nothing was found before that"
    return DivergedError(reason, f"the search diverged: {reason}; {before}; {_CURES}", epochs, kept)


class DivergenceWatch:
    """Looks at losses, weights, logits and validation for values that are not finite.

    Losses are collected on the device and looked at together, so that a GPU need not be waited for at each step.

    Args:
        device: of the module.
        world_size: the number of processes; all of them look at the same moments.
        scaled: whether losses are scaled (16-bit mixed precision), so that single ones may overflow.
    """

    def __init__(self, device: torch.device, world_size: int, scaled: bool) -> None:
        self._device, self._world_size, self._scaled = device, world_size, scaled
        self._never = torch.tensor(math.inf, dtype=torch.float32, device=device)
        self._first = self._never.clone()
        """The first step whose loss was not finite."""
        self._finite = torch.zeros((), dtype=torch.bool, device=device)
        """True where any loss of this epoch was finite."""
        self._seen = False
        self._steps = 0

    @property
    def looks_at_each_step(self) -> bool:
        """True where looking costs no waiting."""
        return self._device.type == "cpu" and self._world_size == 1

    def saw(self, loss: object, step: int) -> None:
        """Take note of the loss of a step."""
        self._steps += 1
        if not isinstance(loss, Tensor):
            return
        finite = loss.detach().isfinite().all()
        self._seen = True
        self._finite = self._finite | finite
        self._first = torch.where(finite, self._first, self._first.clamp(max=step))

    def of_losses(self) -> str | None:
        """The first loss that was not finite, in words; single ones of scaled losses are none."""
        if self._scaled:
            return None
        step = self._least(self._first)
        return None if math.isinf(step) else f"the training loss is not finite at step {int(step)}"

    @property
    def saw_no_loss(self) -> bool:
        """True where no step of this epoch gave a loss, on any process; all of them ask together."""
        nothing = float(self._steps > 0 and not self._seen)
        return self._least(torch.tensor(nothing, device=self._device)) == 1.0

    def of_epoch(self, module: nn.Module, logits: Iterable[Tensor], step: int) -> str | None:
        """The losses, logits or weights that are not finite at the end of an epoch, in words."""
        reason = self.of_losses()
        if reason is None and self._scaled and self._seen and not self._least(self._finite.float()):
            reason = f"no training loss of the epoch that ended at step {step} is finite"
        self._finite = torch.zeros_like(self._finite)
        self._seen, self._steps = False, 0
        if reason is None and not self._all_finite(logits):
            reason = f"an architecture logit is not finite after step {step}"
        if reason is None and not self._all_finite(each for each in module.parameters() if each.requires_grad):
            reason = f"weights are not finite after step {step}: {_named(module)}"
        return reason

    def _all_finite(self, tensors: Iterable[Tensor]) -> bool:
        flags = [tensor.detach().isfinite().all().to(self._device) for tensor in tensors]
        return bool(self._least(torch.stack(flags).all().float())) if flags else True

    def _least(self, value: Tensor) -> float:
        if self._world_size > 1:
            value = value.clone()
            torch.distributed.all_reduce(value, op=torch.distributed.ReduceOp.MIN)
        return float(value)


def _named(module: nn.Module) -> str:
    """The first weights that are not finite on this process."""
    return next((name for name, each in module.named_parameters() if not each.detach().isfinite().all()), "elsewhere")


def of_metrics(metrics: Mapping[str, object], step: int) -> str | None:
    """The metrics of a validation that are not finite, in words.

    A single metric may be undefined, that of a class without samples, say; a loss may not, and not all of them.
    """
    values = {name: float(value) for name, value in metrics.items() if isinstance(value, Tensor | float | int)}
    wrong = {name: value for name, value in values.items() if not math.isfinite(value)}
    losses = [name for name in wrong if "loss" in name.lower()]
    if (not losses and len(wrong) < len(values)) or not wrong:
        return None
    name = losses[0] if losses else next(iter(wrong))
    return f"the validation after step {step} gave {name}={wrong[name]}"


class OutputWatch:
    """Looks at what networks give inside the block, where their values would be averaged away.

    Args:
        networks: the networks.
    """

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        self._networks = list(networks)
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._finite: list[Tensor] = []

    def __enter__(self) -> OutputWatch:
        self._finite = []
        self._handles = [network.register_forward_hook(self._look) for network in self._networks]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _look(self, network: nn.Module, inputs: object, outputs: object) -> None:
        for tensor in torch.utils._pytree.tree_leaves(outputs):
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                finite = tensor.detach().isfinite().all()
                self._finite = [finite if not self._finite else self._finite[0] & finite]

    @property
    def finite(self) -> bool:
        """True where all outputs were finite."""
        return all(bool(each) for each in self._finite)
