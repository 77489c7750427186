"""The supernet of Auto-DeepLab's networks of several sizes: one for each pair of filters and stem stride."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.gates import Gates, matrix_shape
from automl_plugins.supernets.supernet import Supernet
from seg_space.auto_deeplab.operations import sum_of
from seg_space.auto_deeplab.size_choices import SizeChoices
from seg_space.auto_deeplab.supernet import AutoDeepLabSupernet


class SizedSupernet(Supernet):
    """The outputs of a supernet of each size, weighed by the gates of filters and of the stem's stride.

    Sizes share no weights, and the logits of cells, edges and heads. A size whose gates are zero is not run, so that a
    single path costs what it does in a space of one size; a mixture costs all sizes together.

    Args:
        task: see `AutoDeepLabSupernet`.
        sizes: the choices.
        joint: see `AutoDeepLabSupernet`.
        partial_channels: see `AutoDeepLabSupernet`.
    """

    def __init__(self, task: Task, sizes: SizeChoices, joint: bool = True, partial_channels: int = 1) -> None:
        super().__init__()
        self.task, self.sizes, self.partial_channels = task, sizes, partial_channels
        self.choices = (*sizes.choices, *sizes.relative.gate_choices)
        self.supernets = nn.ModuleDict(
            {
                pair.key: AutoDeepLabSupernet(task, space.sizes, joint, partial_channels)
                for pair, space in sizes.spaces.items()
            }
        )

    def forward(self, images: Tensor, *, gates: Mapping[str, Tensor]) -> Tensor:
        gates = Gates.of(self.choices, gates)
        every = tuple(gates[choice.name] for choice in self.sizes.choices)
        opened = [
            {choice.options[position]: position for position in gates.open(choice.name)}
            for choice in self.sizes.choices
        ]
        weights = {
            pair: every[0][opened[0][pair.filters]] * every[1][opened[1][pair.stem_stride]]
            for pair in self.sizes.spaces
            if pair.filters in opened[0] and pair.stem_stride in opened[1]
        }
        return sum_of(
            weight * self.supernets[pair.key](images, gates=self._inner(pair.key, gates))
            for pair, weight in weights.items()
        )

    def _inner(self, key: str, gates: Gates) -> Gates:
        """The gates of cells, edges and heads, as the supernet of one size names them."""
        choices = cast(AutoDeepLabSupernet, self.supernets[key]).choices
        rows, columns = matrix_shape(choices)
        return Gates(choices, gates.matrix[len(gates) - rows :, :columns])

    def plain(self) -> SizedSupernet:
        """The plain form, with copies of these weights, in the same training mode."""
        with torch.random.fork_rng(devices=[]):
            plain = SizedSupernet(self.task, self.sizes, False, self.partial_channels)
        like = next(self.parameters())
        plain.to(device=like.device, dtype=like.dtype).load_state_dict(self.state_dict())
        return plain.train(self.training)

    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        supernet = cast(AutoDeepLabSupernet, self.supernets[self.sizes.pair(architecture).key])
        supernet.inherit(network, self.sizes.fixed(architecture))
