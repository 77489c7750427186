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


class SupernetSpace(GatedSpace):
    """A search space whose architectures share the weights of one supernet.

    A subclass says how to build the supernet. If the supernet's decisions are not the space's
    choices themselves, it also says which they are, what gates an architecture stands for, and
    which architecture scores stand for (see `GatedSpace`). The contract is `automl_plugins.testing.SupernetContract`.
    """

    @abstractmethod
    def build_supernet(self, task: Task) -> Supernet:
        """The supernet, freshly initialised; users call `supernet`, which checks first."""

    def supernet(self, task: Task, joint: bool = True) -> Supernet:
        """The supernet of all architectures, freshly initialised.

        Args:
            task: what a network must fit.
            joint: compute options together, by hand-written derivatives, where the space can; False: see
                `Supernet.plain`. Weights from one seed are the same.

        Raises:
            ValueError: the space has no networks for the task.
        """
        self.check_task(task)
        supernet = self.whole.build_supernet(task)
        return supernet if joint else supernet.plain()

    def searchable(
        self, task: Task, relaxation: str | Relaxation = "softmax", seed: int = 0, joint: bool = True
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

        Raises:
            ValueError: the space has no networks for the task, or no relaxation has that name.
        """
        made = make_relaxation(relaxation)
        searchable = Searchable(self.whole, task, self.supernet(task, joint), made, seed, self.budget)
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
