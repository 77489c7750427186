"""The supernet, and `SupernetSpace`: a search space that also builds a supernet."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.spaces.task import Task
from automl_plugins.supernets import rules
from automl_plugins.supernets.eager import run_eagerly
from automl_plugins.supernets.gates import Closed, Gates, matrix_shape

if TYPE_CHECKING:
    from automl_plugins.supernets.relaxations import Relaxation
    from automl_plugins.supernets.searchable import Searchable


class Supernet(nn.Module):
    """One module that holds the weights of every option, and is a function of gates.

    With the one-hot gates of an architecture it computes exactly what the architecture's network
    computes with the same weights; an option whose gate is zero is not run. It is called as its
    networks are, with the gates of `SupernetSpace.gate_choices` beside: `supernet(*inputs, gates=gates)`.

    Running statistics are those of the gates that it was trained with, so a network that inherits them from a
    mixture needs `automl_plugins.training.recalibration.recalibrate` before it is evaluated. A module that
    normalises by running statistics and is no batch normalisation of torch's says so: an attribute
    `keeps_running_statistics = True`; in training mode it uses the batch's own.

    `torch.compile` leaves supernets as they are written: see `automl_plugins.supernets.eager.run_eagerly`.
    """

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


class TopologyTerms(NamedTuple):
    """What a search of independent connections may add to its loss (DiNTS, He et al. 2021, arXiv 2103.15954).

    All are scalars, differentiable with respect to the gates.

    Args:
        arrow_entropy: of the connections, from 0 (all decided) to 1 (none decided).
        operation_entropy: of the operations, alike.
        mismatch: how little the connections of neighbouring layers fit to each other; 0 where they do.
        memory: that of the expected network, as a share of the one with all connections.
    """

    arrow_entropy: Tensor
    operation_entropy: Tensor
    mismatch: Tensor
    memory: Tensor


class SupernetSpace(SearchSpace):
    """A search space whose architectures share the weights of one supernet.

    A subclass says how to build the supernet. Where the supernet's decisions are not the space's
    choices themselves, it also says which they are, what gates an architecture stands for, and
    which architecture scores stand for. The contract is `automl_plugins.testing.SupernetContract`.
    """

    parameter_free: ClassVar[frozenset[Value]] = frozenset()
    """Options of the gates without weights; a search that ends with little else has collapsed."""

    # What a subclass says.

    @abstractmethod
    def build_supernet(self, task: Task) -> Supernet:
        """The supernet, freshly initialised; users call `supernet`, which checks first."""

    @property
    def gate_choices(self) -> tuple[Choice, ...]:
        """The decisions that the supernet has gates for."""
        return self.choices

    def gate_values(self, architecture: Architecture) -> Mapping[str, Value]:
        """The option that each gate is one-hot at; gates left out are zero."""
        return architecture

    def decode(self, scores: Mapping[str, Tensor]) -> Architecture:
        """The architecture that scores stand for; that of an architecture's own gates is itself.

        An option whose score is minus infinity is closed: the architecture has it only where there is none without.

        Args:
            scores: for every gate, `[num_options]`; higher is better.
        """
        return self.architecture(rules.argmax(self.choices, scores))

    def open_options(self, choice: Choice, values: Mapping[str, Value], closed: Closed) -> Sequence[Value]:
        """The options that an active choice has left where some options of gates are closed.

        Where gates are not choices, the space says it; options too many are sorted out later.

        Args:
            choice: one of the space's.
            values: those of the choices before.
            closed: for gates with closed options, which they are.
        """
        if choice.name not in closed:
            return choice.options
        return [option for option in choice.options if option not in closed[choice.name]]

    def topology_terms(self, gates: Mapping[str, Tensor]) -> TopologyTerms | None:
        """What a search of independent connections may add to its loss; None where the space has none such.

        Args:
            gates: the probabilities of each gate's options, `[num_options]`.
        """
        return None

    # What follows from it.

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
        supernet = self.build_supernet(task)
        return supernet if joint else supernet.plain()

    def searchable(
        self, task: Task, relaxation: str | Relaxation = "softmax", seed: int = 0, joint: bool = True
    ) -> Searchable:
        """The supernet with its architecture logits: what a user puts where their network was.

        Args:
            task: what a network must fit.
            relaxation: how logits become gates: a registered name, or a relaxation.
            seed: of the initial logits and of the draws of stochastic relaxations; weights are
                initialised from torch's global generator, as any module's.
            joint: see `supernet`.

        Raises:
            ValueError: the space has no networks for the task, or no relaxation has that name.
        """
        from automl_plugins.supernets.searchable import Searchable

        return Searchable(self, task, relaxation, seed, joint)

    def gates(self, architecture: Architecture, dtype: torch.dtype | None = None) -> Gates:
        """The one-hot gates of an architecture.

        Raises:
            ValueError: the architecture is not of this space.
        """
        self.validate(architecture)
        choices = self.gate_choices
        matrix = torch.zeros(matrix_shape(choices), dtype=dtype)
        values = self.gate_values(architecture)
        for row, choice in enumerate(choices):
            if choice.name in values:
                matrix[row, choice.index(values[choice.name])] = 1.0
        return Gates(choices, matrix)

    def inherited(self, supernet: Supernet, architecture: Architecture, task: Task) -> nn.Module:
        """The network of an architecture, with the supernet's weights, in the supernet's training mode.

        Raises:
            ValueError: the architecture is not of this space, or the space has no networks for the task.
            ParameterCapError: see `network`.
        """
        network = self.network(architecture, task)
        like = next((tensor for tensor in supernet.parameters()), None)
        if like is not None:
            network.to(device=like.device, dtype=like.dtype)
        supernet.inherit(network, architecture)
        return network.train(supernet.training)
