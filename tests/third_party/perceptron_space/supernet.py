"""The supernet: two hidden layers of the largest width, whose channels are masked by the gates of the widths."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from automl_plugins import Architecture, Choice, Task
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.supernet import Supernet


class PerceptronSupernet(Supernet):
    """All perceptrons of the space; narrow layers use the first channels of wide ones.

    Args:
        task: what the networks must fit.
        choices: the space's.
        activations: a module's class for each option of `activation`.
    """

    def __init__(self, task: Task, choices: tuple[Choice, ...], activations: Mapping[str, type[nn.Module]]) -> None:
        super().__init__()
        self.choices = choices
        self.widths = next(choice.options for choice in choices if choice.name == "layer0.width")
        widest = max(self.widths)
        self.hidden = nn.ModuleList([nn.Conv2d(task.in_channels, widest, 1), nn.Conv2d(widest, widest, 1)])
        self.output = nn.Conv2d(widest, task.out_channels, 1)
        self.activations = nn.ModuleList(made() for made in activations.values())

    def _layer(self, layer: int, image: Tensor, gates: Gates) -> Tensor:
        image = self.hidden[layer](image)
        mixed = sum(
            gates["activation"][option] * self.activations[option](image) for option in gates.open("activation")
        )
        widths = torch.tensor(self.widths, device=image.device).unsqueeze(1)
        masks = torch.arange(image.size(1), device=image.device) < widths
        return mixed * (gates[f"layer{layer}.width"] @ masks.to(image.dtype)).view(-1, 1, 1)

    def forward(self, image: Tensor, *, gates: Mapping[str, Tensor]) -> Tensor:
        gates = Gates.of(self.choices, gates)
        state = self._layer(0, image, gates)
        depths = gates.open("depth")
        mixed = gates["depth"][0] * state if 0 in depths else 0.0
        if 1 in depths:
            mixed = mixed + gates["depth"][1] * self._layer(1, state, gates)
        return self.output(mixed)

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        convolutions = [layer for layer in network if isinstance(layer, nn.Conv2d)]
        with torch.no_grad():
            for own, other in zip([*self.hidden[: len(convolutions) - 1], self.output], convolutions, strict=True):
                other.weight.copy_(own.weight[: other.out_channels, : other.in_channels])
                other.bias.copy_(own.bias[: other.out_channels])
