"""`SupernetSpace`: a search space that also builds a supernet."""

from __future__ import annotations

from abc import abstractmethod

from torch import nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.gated_space import GatedSpace
from automl_plugins.supernets.relaxations import Relaxation, make_relaxation
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.supernet import Supernet, inherited
from automl_plugins.system.arguments import at_least


class SupernetSpace(GatedSpace):
    """A search space whose architectures share the weights of one supernet.

    A subclass says how to build the supernet. If the supernet's decisions are not the space's
    choices themselves, it also says which they are, what gates an architecture stands for, and
    which architecture scores stand for (see `GatedSpace`). The contract is `automl_plugins.testing.SupernetContract`.
    """

    @abstractmethod
    def build_supernet(self, task: Task) -> Supernet:
        """The supernet, freshly initialised; users call `supernet`, which checks first."""

    def build_partial_supernet(self, task: Task, partial_channels: int) -> Supernet:
        """The supernet whose mixtures run on one channel in so many, which it says itself (`partial_channels`).

        A space that has none leaves this as it is; users call `supernet`.

        Raises:
            ValueError: the space has none; the message says why.
        """
        raise ValueError(
            f"the space {self.name!r} has no supernet whose mixtures run on a part of their channels; leave "
            "partial_channels at 1, and take another strategy than pc-darts"
        )

    def supernet(self, task: Task, joint: bool = True, partial_channels: int = 1) -> Supernet:
        """The supernet of all architectures, freshly initialised.

        Args:
            task: what a network must fit.
            joint: compute options together, by hand-written derivatives, where the space can; False: see
                `Supernet.plain`. Weights from one seed are the same.
            partial_channels: mix one channel in so many, and let the others pass by; 1: all are mixed.

        Raises:
            ValueError: the space has no networks for the task, or no supernet of partial channels.
        """
        self.check_task(task)
        if at_least("partial_channels", partial_channels, 1) > 1:
            supernet = self.whole.build_partial_supernet(task, partial_channels)
        else:
            supernet = self.whole.build_supernet(task)
        return supernet if joint else supernet.plain()

    def searchable(
        self,
        task: Task,
        relaxation: str | Relaxation = "softmax",
        seed: int = 0,
        joint: bool = True,
        partial_channels: int = 1,
    ) -> Searchable:
        """The supernet with its architecture logits: what a user puts where their network was.

        It samples and finds architectures within the space's `max_parameters`; that of a narrowed space (`within`)
        keeps all of its limits, and its gates are closed at options that `within` left out.

        Args:
            task: what a network must fit.
            relaxation: how logits become gates: a registered name, or a relaxation.
            seed: of the initial logits and of the draws of stochastic relaxations; weights are
                initialised from torch's global generator, as any module's.
            joint: see `supernet`.
            partial_channels: see `supernet`.

        Raises:
            ValueError: the space has no networks for the task, or no relaxation has that name; see `supernet`.
        """
        made, supernet = make_relaxation(relaxation), self.supernet(task, joint, partial_channels)
        searchable = Searchable(self.whole, task, supernet, made, seed, self.budget)
        if self is not self.whole:
            searchable.keep_offered({choice.name: choice.options for choice in self.choices})
        return searchable

    def inherited(self, supernet: Supernet, architecture: Architecture, task: Task) -> nn.Module:
        """The network of an architecture, with the supernet's weights, in the supernet's training mode.

        Raises:
            ValueError: the architecture is not of this space, or the space has no networks for the task.
            ParameterCapError: see `network`.
        """
        return inherited(self, supernet, architecture, task)
