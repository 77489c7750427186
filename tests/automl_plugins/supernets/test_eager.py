"""torch.compile leaves searchables and supernets as they are written, and compiles what is around them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from automl_plugins import Task
from gnn_space import AGNNSpace, EGNASSpace
from seg_space import AutoDeepLabSpace

# torch's compiler asks intermediate tensors for their gradients.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")

GRAPH = Task("graph", "regression", 3, 1, edge_channels=2)
PIXEL = Task("pixel", "classes", 3, 2)
SPACES: dict[str, tuple[Any, Task]] = {
    "agnn": (AGNNSpace(layers=1, hidden_channels=(2, 4), heads=(1, 2), dropout=0.0), GRAPH),
    "egnas": (EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=3), GRAPH),
    # Its depthwise convolutions are an operator of torch's own on a CPU, which its compiler does not know.
    "auto-deeplab": (AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(2, 4), checkpointing=True), PIXEL),
}


class Around(nn.Module):
    """Something that can be compiled around a searchable."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: Any) -> Tensor:
        return self.net(*inputs).sin().square().mean()


@pytest.mark.parametrize("relaxation", ["softmax", "straight-through"])
@pytest.mark.parametrize("name", SPACES)
def test_what_is_compiled_computes_the_same_with_the_same_gradients(name: str, relaxation: str) -> None:
    space, task = SPACES[name]
    torch.manual_seed(0)
    plain = Around(space.searchable(task, relaxation)).train()
    inputs: tuple[Any, ...] = (torch.randn(2, 3, 8, 8),)
    if task is GRAPH:
        edges = torch.randint(0, 5, (2, 12))
        inputs = (torch.randn(5, 3), edges, torch.randn(12, 2), torch.tensor([0, 0, 0, 1, 1]), 2)
    original = copy.deepcopy(plain)
    compiled = torch.compile(original, backend="aot_eager")
    for _ in range(2):
        losses = [module(*inputs) for module in (plain, compiled)]
        for loss in losses:
            loss.backward()
        torch.testing.assert_close(*losses)
    for one, other in zip(plain.parameters(), original.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("name", SPACES)
def test_a_graph_without_a_break_is_refused_with_the_reason(name: str) -> None:
    space, task = SPACES[name]
    compiled = torch.compile(Around(space.searchable(task)), backend="eager", fullgraph=True)
    with pytest.raises(Exception, match="options a supernet runs changes with its gates"):
        compiled(torch.randn(2, 3, 8, 8), torch.zeros(2, 1, dtype=torch.long), torch.randn(1, 2))
