"""The set of architectures that a search may choose from."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from automl_plugins.errors import ParameterCapError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.budget import Budget, Run
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.drawing import draw
from automl_plugins.spaces.encoding import OperationGraph, encode, operation_graph, vocabulary_of
from automl_plugins.spaces.html import small_table
from automl_plugins.spaces.limits import Limits, budget_of
from automl_plugins.spaces.mutation import complete, mutate, neighbours
from automl_plugins.spaces.narrowing import narrowed
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.refusal import prolong_startup, refuse_beyond
from automl_plugins.spaces.size import count_architectures
from automl_plugins.spaces.suggestion import suggest
from automl_plugins.spaces.task import Level, Task
from automl_plugins.spaces.validity import check_choices, check_values, is_foreign
from automl_plugins.spaces.within import Within
from automl_plugins.system.argument_types import check_types

if TYPE_CHECKING:
    import numpy as np
    import optuna
    from matplotlib.figure import Figure
    from torch import nn

    from automl_plugins.spaces.calls import CallReader
    from automl_plugins.spaces.draws import Generator


class SearchSpace(ABC):
    """The set of architectures: its choices, how to draw one, and how to build its network.

    A subclass names its choices and says how to build a network and how to list an
    architecture's operations; all else follows from the choices. The contract that a subclass
    keeps is a test suite, `automl_plugins.testing.SearchSpaceContract`.

    Args:
        choices: in order; a choice stands after those that it requires.
        max_parameters: networks with more trainable parameters are refused before they are built.

    Raises:
        ValueError: a name twice, a choice that requires an unknown or later choice or an option
            that choice lacks, or a cap below one parameter.
    """

    name: ClassVar[str]
    """The entry-point name, written into every architecture."""
    version: ClassVar[int]
    """Counts up when the same values come to mean another network."""
    levels: ClassVar[frozenset[Level]]
    """The task levels that the space has networks for."""
    call_reader: ClassVar[CallReader | None] = None
    """Reads the calls of somebody's own network, in whose place one is put; None: it must be called as networks are."""
    exported_input: ClassVar[str | None] = None
    """The name in a file of the one tensor that networks take; None: they take something else, and are not exported."""

    def __init__(self, choices: Sequence[Choice], max_parameters: int | None = None) -> None:
        self.choices = tuple(choices)
        self.max_parameters = max_parameters
        self._by_name = {choice.name: choice for choice in self.choices}
        check_types(SearchSpace.__init__, {"max_parameters": max_parameters})
        if max_parameters is not None and max_parameters < 1:
            raise ValueError(f"max_parameters is at least 1 or null; got {max_parameters}")
        self._within: Within | None = None
        self._whole: Self | None = None
        check_choices(self.choices, self.name)

    # What a subclass says.

    @abstractmethod
    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        """The network of a valid architecture; users call `network`, which checks first."""

    @abstractmethod
    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        """The operations of a valid architecture, inputs first, in order of data flow."""

    def options_for(self, choice: Choice, task: Task) -> Sequence[Value]:
        """The options of a choice that mean something for a task; by default all.

        A space leaves out, for example, operations that would ignore the edge features of a task that has them.
        """
        return choice.options

    def references(self, task: Task) -> dict[str, Architecture]:
        """Hand-made networks that are points of this space, exactly, by name; by default none.

        Args:
            task: what their networks must fit; they build for it, cap or no cap.
        """
        return {}

    def points(self, task: Task) -> dict[str, Architecture]:
        """The `references`, checked, which a narrowed space admits: what a search may begin with.

        Args:
            task: see `references`.

        Raises:
            ValueError: one is no architecture of this space; the message names it.
        """
        found = self.references(task)
        for name, architecture in found.items():
            try:
                self.validate(architecture)
            except (AttributeError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{type(self).__name__}.references: {name!r} is no point of the space: {error}"
                ) from error
        return {name: architecture for name, architecture in found.items() if self.admits(architecture)}

    @property
    def reference_arguments(self) -> Mapping[str, Any]:
        """Arguments of registered hand-made networks beside this space, for those that take them; by default none.

        A space whose networks begin with pretrained weights gives them to hand-made networks too.
        """
        return {}

    # What follows from it.

    def within(self, task: Task, limits: Limits | None = None, run: Run | None = None) -> Self:
        """The same space, its options and draws narrowed to what a task and limits of cost admit.

        One instance is made for a study, and its sampler is made of it. `sample`, `mutate`, `neighbours` and a
        searchable keep the limits; of `choices` are left those options that the task admits (`options_for`) and that
        some architecture within the limits has: each has a witness, which was counted. `suggest` asks for these as
        ordinary categorical parameters: a sampler may still combine them to something beyond the limits, which is
        ended as a broken constraint (`trial.constraints`, `optuna.TrialPruned`).

        Architectures, networks and the supernet are those of the whole space.

        Args:
            task: what networks must fit.
            limits: the most `params`, `macs` and `activations` that a network may have, see `limits.Limits`, beside
                `max_parameters`. Those that are left out are `references` (4 where that is left out, too) times the
                dearest of the space's `references(task)`; of a space that has none, they are unlimited, unless
                `references` is given: then it is the dearest of the hand-made networks registered for the level.
            run: calls a network on example inputs, on which it is counted; 8 made-up graphs or images where left out.

        Raises:
            ValueError: the space has no networks for the task, limits without meaning, or networks cannot be counted.
            LimitError: no network within the limits was found; the message names the smallest one's size
                (`ParameterCapError` where it is that of parameters).
        """
        whole = self.whole
        whole.check_task(task)
        closed = {choice.name: set(choice.options) - set(whole.options_for(choice, task)) for choice in whole.choices}
        space = copy.copy(whole)
        budget = budget_of(whole, task, limits, run)
        space._within = Within(narrowed(whole.choices, closed), whole._make, budget, whole.points(task).values())
        space._whole, space.choices = whole, space._within.choices
        return space

    @property
    def budget(self) -> Budget | None:
        """The limits that `within` gave the space, and what was counted; None: it was not narrowed."""
        return None if self._within is None else self._within.budget

    @property
    def whole(self) -> Self:
        """The space as it was made, before `within`."""
        return self if self._whole is None else self._whole

    def _make(self, values: Mapping[str, Value]) -> Architecture:
        return Architecture(self.name, self.version, values)

    def drawing(self, architecture: Architecture) -> str:
        """A valid architecture as text, without a line break at the end.

        It is the flow of data between the `operations`; a space that knows a shorter way says so itself.
        """
        return draw(self.operations(architecture))

    def figure(self, architecture: Architecture) -> Figure:
        """A valid architecture as a figure of matplotlib: `figure.savefig("found.png")`.

        Raises:
            ImportError: matplotlib is not installed (the extra `benchmark`).
        """
        from automl_plugins.spaces.figure import graph_figure

        return graph_figure(self.operations(architecture), self.name)

    def _repr_html_(self) -> str:
        """The choices and their options as a table, in notebooks."""
        size = f"{self.size:,}" if self.size < 10**9 else f"{self.size:.3g}"
        title = f"The space {self.name}, version {self.version}: {size} architectures"
        rows = [(each.name, ", ".join(map(str, each.options)), each.condition) for each in self.choices]
        return small_table(title, ("choice", "options", "only where"), rows)

    @property
    def size(self) -> int:
        """The exact number of architectures."""
        return count_architectures(self.choices)

    def architecture(self, values: Mapping[str, Value]) -> Architecture:
        """The architecture with these values, in the order of the choices.

        Args:
            values: of the choices, by name. Other names, such as those of parameters that an objective has of its own
                (`study.best_params`), are left out, unless they look like a choice's.

        Raises:
            ValueError: the values are not those of an architecture of this space; see `validate`.
        """
        own = {name: value for name, value in values.items() if not is_foreign(name, self._by_name)}
        architecture = Architecture(self.name, self.version, own)
        self.validate(architecture)
        return Architecture(self.name, self.version, {name: values[name] for name in self._by_name if name in values})

    def validate(self, architecture: Architecture) -> None:
        """Check that an architecture belongs to this space.

        Raises:
            ValueError: another space or version, or a choice that is unknown, missing, not
                active, or has a value that is not an option; the message names the choice.
        """
        if architecture.space != self.name:
            raise ValueError(f"the architecture is of the space {architecture.space!r}, not of {self.name!r}")
        if architecture.version != self.version:
            raise ValueError(
                f"the architecture is of version {architecture.version} of the space {self.name!r}; "
                f"this is version {self.version}, where the same choices mean another network"
            )
        check_values(self.whole.choices, architecture, self.name)

    def sample(self, generator: Generator) -> Architecture:
        """Draw every active choice uniformly, in order; see `within` for draws that keep limits.

        Args:
            generator: a `numpy.random.Generator` or a `torch.Generator`; nothing else is random.
        """
        if self._within is not None:
            return self._within.sample(generator)
        return self._make(complete(self.choices, {}, generator))

    def mutate(self, architecture: Architecture, generator: Generator) -> Architecture:
        """Give one active choice another option; choices that become active are drawn, others stay.

        Args:
            architecture: of this space.
            generator: a `numpy.random.Generator` or a `torch.Generator`; nothing else is random.

        Raises:
            ValueError: no active choice has a second option, or the architecture is not of this space.
        """
        self.validate(architecture)
        if self._within is not None:
            return self._within.mutate(architecture, generator)
        return mutate(self.choices, architecture, self._make, generator)

    def step(self, architecture: Architecture, generator: Generator) -> Architecture:
        """One step of a random walk: a mutation, or the architecture itself where that is beyond the limits.

        Many steps are cheaper than as many calls of `mutate`, which looks for another mutation.

        Args:
            architecture: of this space.
            generator: see `mutate`.
        """
        if self._within is None:
            return self.mutate(architecture, generator)
        return self._within.step(architecture, generator)

    def admits(self, architecture: Architecture) -> bool:
        """True where a narrowed space (`within`) has an architecture: it keeps the task's options and the limits.

        A space that was not narrowed admits all that it has.

        Raises:
            ValueError: the architecture is not of this space.
        """
        self.validate(architecture)
        return self._within is None or self._within.admits(architecture)

    def repaired(self, architecture: Architecture, generator: Generator) -> Architecture:
        """An architecture, brought within the limits of a narrowed space where it is beyond them.

        Choice by choice, in a random order, it takes values of a small architecture, as few as are needed.

        Args:
            architecture: of this space.
            generator: settles the order; see `sample`.
        """
        return architecture if self._within is None else self._within.repaired(architecture, generator)

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """All architectures that differ in the option of one choice and in what follows from it, each once.

        They come one by one: where an option opens many choices, there are many of them.

        Raises:
            ValueError: the architecture is not of this space; raised when the first one is asked for.
        """
        self.validate(architecture)
        if self._within is not None:
            yield from self._within.neighbours(architecture)
        else:
            yield from neighbours(self.choices, architecture, self._make)

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        """Ask an Optuna trial for every active choice, as ordinary categorical parameters of the choices' names.

        Raises:
            ValueError: the trial was told to use a value that is no option.
            optuna.TrialPruned: the space was narrowed (`within`), and the proposal is beyond its limits.
        """
        # A sampler that was made of the whole space proposes all of its options; Optuna wants one distribution a study.
        study: optuna.Study | None = getattr(trial, "study", None)
        if study is not None and self._within is not None:
            prolong_startup(study)
        sampler = getattr(study, "sampler", None)
        proposes_all = getattr(getattr(sampler, "space", None), "choices", None) == self.whole.choices
        offered = (self.whole if proposes_all else self).choices
        values = suggest(trial, self.whole.choices, offered)
        architecture = self._make(values)
        if self._within is not None:
            refuse_beyond(trial, self._within, architecture)
        return architecture

    @property
    def encoding_length(self) -> int:
        """The length of the vectors that `encode` gives: the number of options of all choices."""
        return sum(len(choice.options) for choice in self.choices)

    def encode(self, architecture: Architecture) -> np.ndarray:
        """A fixed-length vector, different for different architectures.

        Returns:
            float64 `[encoding_length]`: each choice's options one-hot, in order; zeros for inactive choices.

        Raises:
            ValueError: the architecture is not of this space.
        """
        self.validate(architecture)
        return encode(self.choices, architecture)

    @property
    def vocabulary(self) -> tuple[tuple[str, Value], ...]:
        """The marks of operations, as (action class, option): the columns of `graph(...).features`.

        The first, `("operation", "fixed")`, stands for operations that no choice settles: inputs,
        outputs and the like, told apart by their labels only. Choices of one class (`Choice.kind`)
        share columns, so that equal operations look equal in every layer.
        """
        return vocabulary_of(self.whole.choices)

    def graph(self, architecture: Architecture) -> OperationGraph:
        """The architecture as a graph: operations are nodes, edges show where data flows.

        Raises:
            ValueError: the architecture is not of this space.
        """
        self.validate(architecture)
        return operation_graph(self.whole.choices, self.operations(architecture), architecture)

    def check_task(self, task: Task) -> None:
        """Raise ValueError where the space has no networks for the task."""
        if task.level not in self.levels:
            raise ValueError(
                f"the space {self.name!r} has networks for the levels {', '.join(sorted(self.levels))}; "
                f"the task is of level {task.level!r}"
            )

    def num_parameters(self, architecture: Architecture, task: Task) -> int:
        """Trainable parameters of the network, counted without giving memory to them.

        Raises:
            ValueError: the architecture is not of this space, or the space has no networks for the task.
        """
        from automl_plugins.spaces.counting import count_parameters

        self.validate(architecture)
        self.check_task(task)
        return count_parameters(lambda: self.build(architecture, task))

    def network(self, architecture: Architecture, task: Task) -> nn.Module:
        """An ordinary module for one architecture, freshly initialised, with no trace of the search.

        Raises:
            ValueError: the architecture is not of this space, or the space has no networks for the task.
            ParameterCapError: it would have more than `max_parameters` trainable parameters;
                raised before memory is given to it.
        """
        self.validate(architecture)
        self.check_task(task)
        if self.max_parameters is not None:
            count = self.num_parameters(architecture, task)
            if count > self.max_parameters:
                cap = self.max_parameters
                raise ParameterCapError(f"the network would have {count:,} parameters; max_parameters is {cap:,}")
        return self.build(architecture, task)
