"""The set of architectures that a search may choose from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

from automl_plugins.errors import ParameterCapError
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Choice, Value
from automl_plugins.spaces.drawing import draw
from automl_plugins.spaces.operation import Operation
from automl_plugins.spaces.task import Level, Task
from automl_plugins.system.nearest import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import optuna
    import torch
    from matplotlib.figure import Figure
    from torch import nn
    from torch_geometric.data import Data

    Generator = np.random.Generator | torch.Generator


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

    def __init__(self, choices: Sequence[Choice], max_parameters: int | None = None) -> None:
        self.choices = tuple(choices)
        self.max_parameters = max_parameters
        self._by_name = {choice.name: choice for choice in self.choices}
        if len(self._by_name) < len(self.choices):
            raise ValueError(f"two choices of the space {self.name!r} have one name")
        if max_parameters is not None and max_parameters < 1:
            raise ValueError(f"max_parameters is at least 1 or null; got {max_parameters}")
        self._check_requirements()

    def _check_requirements(self) -> None:
        earlier: dict[str, Choice] = {}
        for choice in self.choices:
            for alternative in choice.alternatives:
                for parent, values in alternative.items():
                    if parent not in earlier:
                        raise ValueError(f"choice {choice.name!r} requires {parent!r}, which is no earlier choice")
                    for value in values:
                        earlier[parent].index(value)
            earlier[choice.name] = choice

    # What a subclass says.

    @abstractmethod
    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        """The network of a valid architecture; users call `network`, which checks first."""

    @abstractmethod
    def operations(self, architecture: Architecture) -> Sequence[Operation]:
        """The operations of a valid architecture, inputs first, in order of data flow."""

    # What follows from it.

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

    @property
    def size(self) -> int:
        """How many architectures there are, exactly."""
        last_use = {parent: position for position, choice in enumerate(self.choices) for parent in choice.parents}
        # Only values that a later choice asks for tell partial architectures apart; the rest is a factor.
        counts: dict[tuple[tuple[str, Value], ...], int] = {(): 1}
        for position, choice in enumerate(self.choices):
            following: dict[tuple[tuple[str, Value], ...], int] = {}
            for state, count in counts.items():
                kept = tuple(item for item in state if last_use[item[0]] > position)
                active = choice.is_active(dict(state))
                if active and choice.name in last_use:
                    for option in choice.options:
                        extended = (*kept, (choice.name, option))
                        following[extended] = following.get(extended, 0) + count
                else:
                    factor = len(choice.options) if active else 1
                    following[kept] = following.get(kept, 0) + count * factor
            counts = following
        return sum(counts.values())

    def architecture(self, values: Mapping[str, Value]) -> Architecture:
        """The architecture with these values, in the order of the choices.

        Args:
            values: of the choices, by name. Other names, such as those of parameters that an objective has of its own
                (`study.best_params`), are left out, unless they look like a choice's.

        Raises:
            ValueError: the values are not those of an architecture of this space; see `validate`.
        """
        own = {name: value for name, value in values.items() if not self._is_foreign(name)}
        architecture = Architecture(self.name, self.version, own)
        self.validate(architecture)
        return Architecture(self.name, self.version, {name: values[name] for name in self._by_name if name in values})

    def _is_foreign(self, name: str) -> bool:
        """Nothing of this space: a misspelt choice, or one of a larger space of this kind, is near one of ours."""
        return name not in self._by_name and not get_close_matches(name, self._by_name, 1, cutoff=0.8)

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
        for name in architecture:
            if name not in self._by_name:
                raise ValueError(f"the space {self.name!r} has no choice {name!r}; {did_you_mean(name, self._by_name)}")
        for choice in self.choices:
            active = choice.is_active(architecture)
            if active and choice.name not in architecture:
                raise ValueError(f"choice {choice.name!r} is missing; options: {', '.join(map(repr, choice.options))}")
            if not active and choice.name in architecture:
                raise ValueError(f"choice {choice.name!r} is not active here: it requires {choice.condition}")
            if active:
                choice.index(architecture[choice.name])

    def sample(self, generator: Generator) -> Architecture:
        """Draw every active choice uniformly, in order.

        Args:
            generator: a `numpy.random.Generator` or a `torch.Generator`; nothing else is random.
        """
        return self._complete({}, generator)

    def mutate(self, architecture: Architecture, generator: Generator) -> Architecture:
        """Give one active choice another option; choices that become active are drawn, others kept.

        Args:
            architecture: of this space.
            generator: a `numpy.random.Generator` or a `torch.Generator`; nothing else is random.

        Raises:
            ValueError: no active choice has a second option, or the architecture is not of this space.
        """
        self.validate(architecture)
        # In the space's order: equal architectures, whatever order theirs is, mutate alike.
        mutable = [choice for choice in self.choices if choice.name in architecture and len(choice.options) > 1]
        if not mutable:
            raise ValueError(f"no choice of the space {self.name!r} that is active has a second option")
        choice = mutable[draw_integer(len(mutable), generator)]
        others = [option for option in choice.options if option != architecture[choice.name]]
        changed = {**architecture, choice.name: others[draw_integer(len(others), generator)]}
        return self._complete(changed, generator)

    def _complete(self, values: Mapping[str, Value], generator: Generator) -> Architecture:
        """Keep the active ones of `values`, draw the active choices that have none."""
        completed: dict[str, Value] = {}
        for choice in self.choices:
            if choice.is_active(completed):
                if choice.name in values:
                    completed[choice.name] = values[choice.name]
                else:
                    completed[choice.name] = choice.options[draw_integer(len(choice.options), generator)]
        return Architecture(self.name, self.version, completed)

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """All architectures that `mutate` may return, each once.

        They come one by one: where an option opens many choices, there are many of them.

        Raises:
            ValueError: the architecture is not of this space; raised when the first one is asked for.
        """
        self.validate(architecture)
        for choice in self.choices:
            if choice.name in architecture:
                for option in choice.options:
                    if option != architecture[choice.name]:
                        yield from self._completions({**architecture, choice.name: option})

    def _completions(self, values: Mapping[str, Value]) -> Iterator[Architecture]:
        """All ways to keep the active ones of `values` and give the other active choices a value."""
        unfinished: list[tuple[int, dict[str, Value]]] = [(0, {})]
        while unfinished:
            position, completed = unfinished.pop()
            if position == len(self.choices):
                yield Architecture(self.name, self.version, completed)
                continue
            choice = self.choices[position]
            if not choice.is_active(completed):
                unfinished.append((position + 1, completed))
                continue
            options = (values[choice.name],) if choice.name in values else choice.options
            # Depth first, the first option on top: memory for one architecture, not for all.
            unfinished += ((position + 1, {**completed, choice.name: option}) for option in reversed(options))

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        """Ask an Optuna trial for every active choice, as ordinary categorical parameters of the choices' names.

        Raises:
            ValueError: the trial was told to use a value that is no option.
        """
        values: dict[str, Value] = {}
        for choice in self.choices:
            if choice.is_active(values):
                value = trial.suggest_categorical(choice.name, choice.options)
                choice.index(value)  # a fixed trial hands back what it was given
                values[choice.name] = value
        return Architecture(self.name, self.version, values)

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
        import numpy as np

        self.validate(architecture)
        encoding = np.zeros(self.encoding_length)
        offset = 0
        for choice in self.choices:
            if choice.name in architecture:
                encoding[offset + choice.index(architecture[choice.name])] = 1.0
            offset += len(choice.options)
        return encoding

    @property
    def vocabulary(self) -> tuple[tuple[str, Value], ...]:
        """What an operation can be told by, as (action class, option): the columns of `graph(...).x`.

        The first, `("operation", "fixed")`, stands for operations that no choice settles: inputs,
        outputs and the like, told apart by their labels only. Choices of one class (`Choice.kind`)
        share columns, so that equal operations look equal in every layer.
        """
        seen: dict[tuple[str, type, Value], tuple[str, Value]] = {}
        for choice in self.choices:
            for option in choice.options:
                seen.setdefault((choice.kind, type(option), option), (choice.kind, option))
        return (("operation", "fixed"), *seen.values())

    def graph(self, architecture: Architecture) -> Data:
        """The architecture as a graph: operations are nodes, edges show where data flows.

        Returns:
            PyG `Data` with `x` `[num_operations, len(vocabulary)]`, a one for each option that
            settles the operation (the first column: none does), `edge_index` `[2, num_edges]`
            and `labels`, a list of what each operation is called.

        Raises:
            ValueError: the architecture is not of this space.
        """
        import torch
        from torch_geometric.data import Data

        self.validate(architecture)
        operations = self.operations(architecture)
        position = {operation.name: index for index, operation in enumerate(operations)}
        vocabulary = self.vocabulary
        column = {(kind, type(option), option): index for index, (kind, option) in enumerate(vocabulary) if index > 0}
        features = torch.zeros(len(operations), len(vocabulary))
        for index, operation in enumerate(operations):
            if not operation.choices:
                features[index, 0] = 1.0
            for name in operation.choices:
                value = architecture[name]
                features[index, column[self._by_name[name].kind, type(value), value]] = 1.0
        arrows = [
            (position[source], position[operation.name]) for operation in operations for source in operation.inputs
        ]
        edge_index = torch.tensor(arrows, dtype=torch.long).reshape(-1, 2).t().contiguous()
        return Data(x=features, edge_index=edge_index, labels=[operation.label for operation in operations])

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
                raise ParameterCapError(
                    f"the network would have {count:,} parameters; max_parameters is {self.max_parameters:,}"
                )
        return self.build(architecture, task)


def draw_integer(options: int, generator: Generator) -> int:
    """A uniform integer below `options`."""
    integers = getattr(generator, "integers", None)
    if integers is not None:
        return int(integers(options))
    import torch

    if isinstance(generator, torch.Generator):
        return int(torch.randint(options, (), generator=generator, device=generator.device))
    raise TypeError(
        f"a numpy.random.Generator or a torch.Generator is needed to draw; got a {type(generator).__name__}"
    )
