"""Networks as one: the mean of what several predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from automl_plugins.spaces.task import Target


class Ensemble(nn.Module):
    """The mean of several networks' predictions, called as each of them, with outputs of the same kind.

    Of classes the mean is of the probabilities, given as their logarithms, whose softmax they are; of yes or no, and of
    labels, it is of the probabilities of yes, given as their log odds, whose sigmoid they are. So a loss, a metric or
    an `argmax` takes them as it takes one network's logits. Of real values it is their mean, in the units that the
    networks have learned.

    Shapes:
        outputs: those of each network, classes in dimension 1: `[batch, out_channels, ...]`.

    Args:
        members: the networks, at least one.
        target: of the task that all fit.

    Raises:
        ValueError: there is no member; (when called) their outputs are no tensors of one shape.
    """

    def __init__(self, members: Sequence[nn.Module], target: Target) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs at least one network")
        self.members = nn.ModuleList(members)
        self.target = target

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        outputs = [member(*inputs, **named) for member in self.members]
        shapes = [list(each.shape) if isinstance(each, Tensor) else type(each).__name__ for each in outputs]
        if any(shape != shapes[0] for shape in shapes) or not isinstance(outputs[0], Tensor):
            raise ValueError(f"an ensemble takes the mean of tensors of one shape; its networks give {shapes}")
        several = torch.stack(outputs)
        if self.target == "regression":
            return several.mean(dim=0)
        if self.target == "classes":
            # Dimension 1 of each output.
            together = functional.log_softmax(several, dim=2).logsumexp(dim=0)
            return together - torch.tensor(len(outputs), dtype=together.dtype).log()
        # The number of members, by which both would be divided, is none of their ratio.
        return functional.logsigmoid(several).logsumexp(dim=0) - functional.logsigmoid(-several).logsumexp(dim=0)
