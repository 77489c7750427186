"""The kind of a project's targets, by its losses: classes, yes or no, or real values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from automl_plugins.scripts.outputs import ACTIVATIONS, kind_of

_KINDS: Mapping[str, str] = {
    "cross_entropy": "classes",
    "nll_loss": "classes",
    "multi_margin_loss": "classes",
    "binary_cross_entropy": "binary",
    "binary_cross_entropy_with_logits": "binary",
    "multilabel_soft_margin_loss": "binary",
    "mse_loss": "regression",
    "l1_loss": "regression",
    "smooth_l1_loss": "regression",
    "huber_loss": "regression",
    "poisson_nll_loss": "regression",
    "gaussian_nll_loss": "regression",
}
"""The kind of target of torch's losses, by their names in `torch.nn.functional`."""
_PASSED = {*ACTIVATIONS, "Squeeze", "Unsqueeze", "View", "UnsafeView", "ReshapeAlias", "Alias", "Slice", "Select"} | {
    *("ToCopy", "Index", "IndexSelect", "Permute", "Transpose", "T", "Expand", "Clone", "MaskedSelect", "Gather"),
    *("UpsampleBilinear2D", "UpsampleNearest2D"),
}
"""Functions that a prediction may pass on its way to a loss, and is a prediction still."""
_MOST_NODES = 10_000


@dataclass(frozen=True)
class SeenLoss:
    """One call of a loss of torch.

    Args:
        kind: of the target: `classes`, `binary` or `regression`.
        compared: what was compared with the target.
    """

    kind: str
    compared: Tensor


class LossWatch(TorchFunctionMode):
    """Notes the losses of torch that are called inside."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[SeenLoss] = []

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kind = _KINDS.get(getattr(function, "__name__", ""))
        compared = args[0] if args else (kwargs or {}).get("input")
        if kind is not None and isinstance(compared, Tensor):
            self.seen.append(SeenLoss(kind, compared))
        return function(*args, **(kwargs or {}))


def target_kind(outputs: Tensor, losses: Iterable[SeenLoss], batch_parts: Iterable[Any], channels: int) -> str | None:
    """The kind of target that a prediction is for, of those of `Task`; None: nothing says it.

    A loss of torch that is given the prediction says it; where losses are given only what others make of it, it is of
    real values, as features are. Without a loss of torch's, targets in the batch say it.

    Args:
        outputs: the prediction.
        losses: of the step.
        batch_parts: of the step's batch, those that the network was given left out.
        channels: of the prediction.
    """
    direct, fed = set(), False
    for loss in losses:
        if _reaches(loss.compared, outputs, passing=_PASSED):
            direct.add(loss.kind)
        fed = fed or _reaches(loss.compared, outputs, passing=None)
    if len(direct) == 1:
        kind = direct.pop()
    elif fed:
        return None if direct else "regression"
    else:
        kind = _of_targets(outputs, batch_parts, channels) or ""
    if kind == "binary":
        return "binary" if channels == 1 else "multilabel"
    return kind or None


def _reaches(compared: Tensor, outputs: Tensor, passing: set[str] | None) -> bool:
    """True where values are computed of a prediction, by certain functions alone."""
    if compared is outputs or compared.untyped_storage().data_ptr() == outputs.untyped_storage().data_ptr():
        return True
    if outputs.grad_fn is None:
        return False
    left: list[Any] = [compared.grad_fn]
    seen: set[Any] = set()
    while left and len(seen) < _MOST_NODES:
        node = left.pop()
        if node is None or node in seen:
            continue
        if node is outputs.grad_fn:
            return True
        seen.add(node)
        if passing is None or kind_of(node).rstrip("0123456789") in passing or kind_of(node) in passing:
            left += [each for each, _ in node.next_functions]
    return False


def _of_targets(outputs: Tensor, parts: Iterable[Any], channels: int) -> str | None:
    """The kind of the one target in a batch that could be of a prediction."""
    kinds = {_of_target(part, channels) for part in parts if isinstance(part, Tensor) and _fits(part, outputs)}
    return kinds.pop() if len(kinds) == 1 else None


def _fits(target: Tensor, outputs: Tensor) -> bool:
    if target.dim() not in (outputs.dim() - 1, outputs.dim()) or target.shape[:1] != outputs.shape[:1]:
        return False
    if outputs.dim() == 1:
        return target.dim() == 1
    if target.dim() < outputs.dim():
        return target.shape[1:] == outputs.shape[2:]
    return target.shape[1] in (1, outputs.shape[1]) and target.shape[2:] == outputs.shape[2:]


def _of_target(target: Tensor, channels: int) -> str:
    values = target.unique()
    yes_or_no = bool(torch.isin(values, torch.tensor([0, 1], dtype=values.dtype, device=values.device)).all())
    if channels == 1 or target.is_floating_point():
        return "binary" if yes_or_no else "regression"
    return "classes"
