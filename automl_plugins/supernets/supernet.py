"""The supernet: one module with the weights of every option, a function of gates."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.eager import run_eagerly


class Supernet(nn.Module):
    """One module that holds the weights of every option, and is a function of gates.

    With the one-hot gates of an architecture it computes exactly what the architecture's network
    computes with the same weights; an option whose gate is zero is not run. It is called as its
    networks are, with the gates of `GatedSpace.gate_choices` beside: `supernet(*inputs, gates=gates)`.

    Running statistics are those of the gates that it was trained with, so a network that inherits them from a
    mixture needs `automl_plugins.training.recalibration.recalibrate` before it is evaluated. A module that
    normalises by running statistics and is no batch normalisation of torch's says so: an attribute
    `keeps_running_statistics = True`; in training mode it uses the batch's own.

    `torch.compile` leaves supernets as they are written: see `automl_plugins.supernets.eager.run_eagerly`.

    A supernet of partial channels (`SupernetSpace.build_partial_supernet`) has narrower operations than networks, which
    can therefore not inherit its weights; its gates mean what they do elsewhere.
    """

    partial_channels: int = 1
    """One channel in so many is mixed, the others pass by (`automl_plugins.supernets.partial_channels`)."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "forward" in vars(cls):
            cls.forward = run_eagerly(cls.forward)

    @abstractmethod
    def inherit(self, network: nn.Module, architecture: Architecture) -> None:
        """Copy the weights and buffers that an architecture uses into its network."""

    def plain(self) -> Supernet:
        """A supernet with copies of these weights that runs option by option, in operations of torch alone.

        It is slower than one that computes options jointly by hand, and can be differentiated in every way that torch
        knows: gradients of gradients, forward mode, `torch.func`. One that does so already is given back as it is.
        """
        return self


def inherited(space: SearchSpace, supernet: Supernet, architecture: Architecture, task: Task) -> nn.Module:
    """The network of an architecture, with the supernet's weights, in the supernet's training mode.

    Args:
        space: of the architecture.
        supernet: built by the space for the same task.
        architecture: whose network it is.
        task: what it must fit.

    Raises:
        ValueError: the architecture is not of this space, the space has no networks for the task, or the supernet is
            one of partial channels.
        ParameterCapError: see `SearchSpace.network`.
    """
    if supernet.partial_channels > 1:
        raise ValueError(
            f"the supernet mixes one channel in {supernet.partial_channels}, and its operations are narrower than a "
            "network's, which cannot inherit their weights; train what was found anew, or search with "
            "partial_channels=1"
        )
    network = space.network(architecture, task)
    like = next(iter(supernet.parameters()), None)
    if like is not None:
        network.to(device=like.device, dtype=like.dtype)
    supernet.inherit(network, architecture)
    return network.train(supernet.training)
