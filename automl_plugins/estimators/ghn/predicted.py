"""Networks whose parameters a hypernetwork predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from automl_plugins.estimators.ghn.graph import NetworkGraph, graph_of
from automl_plugins.estimators.ghn.hypernetwork import GraphHypernetwork
from automl_plugins.spaces.probe import Inputs, probe_of
from automl_plugins.spaces.task import Task

_EXAMPLES = 2
"""Graphs or images that a network is run on for its graph."""


def example_of(task: Task) -> Inputs:
    """The inputs that networks for a task are run on for their graphs, always the same, on the CPU."""
    return probe_of(task).example(_EXAMPLES, torch.Generator().manual_seed(0))


def graph_for(network: nn.Module, task: Task) -> NetworkGraph:
    """The graph of a network for a task, see `graph_of`; the network comes to the CPU and into evaluation mode."""
    with torch.autocast("cpu", enabled=False):
        return graph_of(network.cpu(), example_of(task))


class PredictedNetwork(nn.Module):
    """Computes networks with predicted parameters, in the place where a network was: called like any of them.

    The hypernetwork is what learns, through whatever loss its caller has.

    Args:
        hypernetwork: predicts.
    """

    def __init__(self, hypernetwork: GraphHypernetwork) -> None:
        super().__init__()
        self.hypernetwork = hypernetwork
        self._present: list[tuple[nn.Module, Mapping[str, Tensor]]] = []  # no part of this module

    def predict(self, networks: Sequence[nn.Module], graphs: Sequence[NetworkGraph]) -> None:
        """Predict the parameters of several networks together; calls go to the first one.

        Args:
            networks: on the hypernetwork's device, with its dtype, in training mode: running statistics are not
                predicted.
            graphs: of these networks.
        """
        with torch.autocast(self.hypernetwork.norm.weight.device.type, enabled=False):
            self._present = list(zip(networks, self.hypernetwork(graphs), strict=True))

    def next(self) -> None:
        """Have calls go to the next of the networks; after the last one there is none."""
        del self._present[0]

    def forward(self, *inputs: Any, **named: Any) -> Any:
        network, parameters = self._present[0]
        return functional_call(network, dict(parameters), inputs, named)


@torch.no_grad()
def give_parameters(
    network: nn.Module, hypernetwork: GraphHypernetwork, task: Task, noise: torch.Generator | None = None
) -> nn.Module:
    """Give a network the parameters that a hypernetwork predicts for it.

    Args:
        network: is changed in place; parameters that are frozen, or on no way to its outputs, stay.
        hypernetwork: trained.
        task: of the network.
        noise: draws noise of 1e-5 that is added, on the CPU: rows that were tiled are equal, and would stay so in a
            training (GHN-3; Knyazev, Hwang and Lacoste-Julien, ICML 2023, section 4.3); None: none is.

    Returns:
        The network, on its device and in its mode.

    Raises:
        ValueError: see `graph_of`.
    """
    device = next((each.device for each in network.parameters()), torch.device("cpu"))
    modes = {part: part.training for part in network.modules()}
    try:
        graph = graph_for(network, task)
    finally:
        network.to(device)
        for part, mode in modes.items():
            part.training = mode
    own = dict(network.named_parameters())
    for name, value in hypernetwork([graph])[0].items():
        own[name].copy_(value)
        if noise is not None:
            own[name].add_(1e-5 * torch.randn(value.shape, generator=noise).to(own[name]))
    return network
