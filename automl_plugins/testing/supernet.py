"""The contract that every space with a supernet keeps, as a test suite to subclass.

It holds all that `SearchSpaceContract` does and is written alike; `loss` is also called with a
`Searchable`, which is called as the networks are::

    from automl_plugins.testing import SupernetContract

    class TestPerceptronSpace(SupernetContract):
        def space(self):
            return PerceptronSpace()

        def tasks(self):
            return [Task("pixel", "regression", in_channels=3, out_channels=1)]

        def loss(self, network, task):
            image = torch.randn(4, task.in_channels, 1, 1)
            return network(image).square().mean()

The tests of supernets run in float64, so that an error of the mathematics is told from one of
rounding: it is torch's default type while `loss` is called, and that of all floating-point weights.
"""

from __future__ import annotations

import copy
import io
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from automl_plugins.search.isolation import evaluating
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.enumeration import covering
from automl_plugins.spaces.task import Task
from automl_plugins.supernets.gates import option_mask
from automl_plugins.supernets.relaxations import Concrete, Relaxation, Sigmoid, Softmax, StraightThrough
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.supernets.supernet import inherited
from automl_plugins.testing.search_space import SearchSpaceContract, assert_same_state

_RELAXATIONS: tuple[type[Relaxation], ...] = (Softmax, Concrete, StraightThrough, Sigmoid)
_TOLERANCE = 1e-10
# What is smaller than this is compared as if it were this large.
_SMALL = 1e-4


class _Pass(NamedTuple):
    """One forward and backward pass: what came out, and what reached the inputs."""

    outputs: list[Tensor]
    loss: Tensor
    input_gradients: list[Tensor]


class SupernetContract(SearchSpaceContract):
    """The promises of every space with a supernet, beside those of every space.

    In training mode, a supernet with one-hot gates draws the random numbers that the network draws, in
    the same order; where yours cannot, give the contract a space without dropout.
    """

    @abstractmethod
    def space(self) -> SupernetSpace:
        """The space, equal at every call; give it no parameter cap."""

    def _searchable(self, task: Task, relaxation: str | Relaxation = "softmax", seed: int = 0) -> Searchable:
        """A searchable in float64, with no weight and no buffer as it was initialised."""
        torch.manual_seed(seed)
        searchable = self.space().searchable(task, relaxation, seed).double()
        with torch.no_grad():
            for weight in searchable.weight_parameters():
                weight.add_(0.05 * torch.randn_like(weight))
            self._loss(searchable.train(), task)
        return searchable.eval()

    def _loss(self, network: nn.Module, task: Task) -> Tensor:
        """The loss on the same data and with the same draws every time."""
        with _float64():
            torch.manual_seed(1)
            return self.loss(network, task)

    def _pass(self, network: nn.Module, task: Task) -> _Pass:
        inputs: list[Tensor] = []
        outputs: list[Tensor] = []

        def before(module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any]:
            def tracked(value: Any) -> Any:
                if isinstance(value, Tensor) and value.is_floating_point() and value.layout == torch.strided:
                    inputs.append(value.detach().clone().requires_grad_())
                    return inputs[-1]
                return value

            return tuple(map(tracked, arguments)), {name: tracked(value) for name, value in options.items()}

        def after(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            outputs.extend(tensor.detach() for tensor in _tensors(output))

        handles = (
            network.register_forward_pre_hook(before, with_kwargs=True),
            network.register_forward_hook(after),
        )
        network.zero_grad()
        loss = self._loss(network, task)
        loss.backward()
        for handle in handles:
            handle.remove()
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in inputs]
        return _Pass(outputs, loss.detach(), gradients)

    # Gates and decoding.

    def test_an_architecture_has_one_hot_gates_that_decode_to_it(self) -> None:
        space = self.space()
        for architecture in self._drawn(space):
            gates = space.gates(architecture)
            assert set(gates.matrix.unique().tolist()) <= {0.0, 1.0}
            assert (gates.matrix.sum(dim=1) <= 1).all(), f"a gate is open at two options: {architecture}"
            assert space.decode(gates) == architecture
            assert space.decode({name: gate.double() for name, gate in gates.items()}) == architecture

    def test_every_architecture_has_gates_of_its_own(self) -> None:
        space = self.space()
        seen: dict[tuple[float, ...], Architecture] = {}
        for architecture in self._drawn(space):
            gates = tuple(space.gates(architecture).matrix.flatten().tolist())
            assert seen.setdefault(gates, architecture) == architecture

    def test_any_scores_decode_to_a_valid_architecture(self) -> None:
        space = self.space()
        generator = torch.Generator().manual_seed(0)
        for draw in range(self.samples):
            # Whole numbers from a few, so that scores are often equal.
            scores = {
                choice.name: torch.randint(3 + draw, (len(choice.options),), generator=generator).float()
                for choice in space.gate_choices
            }
            architecture = space.decode(scores)
            space.validate(architecture)
            assert architecture == space.decode(scores)

    def test_the_gates_are_named_once_and_tell_what_has_no_weights(self) -> None:
        space = self.space()
        names = [choice.name for choice in space.gate_choices]
        assert len(set(names)) == len(names)
        assert space.gate_choices == self.space().gate_choices
        assert space.parameter_free <= {option for choice in space.gate_choices for option in choice.options}

    def test_preferred_logits_decode_to_the_architecture(self) -> None:
        searchable = self._searchable(self.tasks()[0])
        for architecture in self._drawn(searchable.space)[:10]:
            searchable.set_logits(architecture)
            assert searchable.architecture() == architecture

    def test_closed_options_are_neither_sampled_nor_decoded(self) -> None:
        searchable = self._searchable(self.tasks()[0])
        space, generator = searchable.space, np.random.default_rng(0)
        for times in (1, 5, 40):
            for _ in range(times):
                choice = searchable.choices[generator.integers(len(searchable.choices))]
                with suppress(ValueError):  # where nothing would be left
                    searchable.close(choice.name, choice.options[generator.integers(len(choice.options))])
            with torch.no_grad():
                searchable.logits.normal_(0, 2, generator=torch.Generator().manual_seed(times))
            for architecture in (searchable.architecture(), searchable.sample(generator)):
                space.validate(architecture)
                wrong = space.gates(architecture).matrix.bool() & ~searchable.mask
                assert not wrong.any(), f"a closed option is used: {architecture}"
                searchable.set_logits(architecture)
                assert searchable.architecture() == architecture

    # Its supernet.

    def test_a_supernet_is_settled_by_the_seed(self, task: Task) -> None:
        states = []
        for _ in range(2):
            torch.manual_seed(0)
            states.append(self.space().supernet(task).state_dict())
        assert list(states[0]) == list(states[1]), "names in another order"
        assert_same_state(*states)

    def test_one_hot_gates_compute_what_the_network_computes(self, task: Task) -> None:
        searchable = self._searchable(task)
        space, supernet = searchable.space, searchable.supernet
        for architecture in covering(space, np.random.default_rng(0)):
            network = inherited(space, supernet, architecture, task)
            # Evaluation comes again, to see what training did to running statistics.
            for training in (False, True, False):
                network.train(training)
                searchable.train(training)
                with searchable.hold(architecture):
                    of_supernet = self._pass(searchable, task)
                of_network = self._pass(network, task)
                where = f"in {'training' if training else 'evaluation'}: {architecture}"
                _assert_close("the outputs", of_supernet.outputs, of_network.outputs, where)
                _assert_close("the loss", [of_supernet.loss], [of_network.loss], where)
                _assert_close("input gradients", of_supernet.input_gradients, of_network.input_gradients, where)
                self._assert_same_weight_gradients(searchable, architecture, network, where)

    def _assert_same_weight_gradients(
        self, searchable: Searchable, architecture: Architecture, network: nn.Module, where: str
    ) -> None:
        """Weights may have other names and shapes in the network, but `inherit` says which become which.

        If `inherit` takes a change D of the supernet's weights to a change D' of the network's, the sum of
        D times the supernet's gradient is that of D' times the network's gradient, for every D.
        """
        generator = torch.Generator().manual_seed(2)
        changes = {
            name: torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
            for name, weight in searchable.supernet.named_parameters()
        }

        def agree(changed: Mapping[str, Tensor]) -> bool:
            supernet = copy.deepcopy(searchable.supernet)
            expected = 0.0
            with torch.no_grad():
                for name, weight in supernet.named_parameters():
                    if name in changed:
                        weight.add_(changed[name])
                        expected += _product(changed[name], searchable.supernet.get_parameter(name).grad)
            other = copy.deepcopy(network)
            supernet.inherit(other, architecture)
            found = sum(
                _product(after.detach() - before.detach(), before.grad)
                for before, after in zip(network.parameters(), other.parameters(), strict=True)
            )
            scale = sum(_scale(weight.grad) for weight in network.parameters())
            return abs(expected - found) <= _TOLERANCE * max(_SMALL, scale)

        if not agree(changes):
            wrong = [name for name, change in changes.items() if not agree({name: change})]
            pytest.fail(f"gradients of the supernet's weights differ from the network's: {wrong} {where}")

    def test_what_an_architecture_does_not_use_is_not_run(self, task: Task) -> None:
        searchable = self._searchable(task)
        for architecture in covering(searchable.space, np.random.default_rng(0)):
            unused = self._unused(searchable, architecture, task)
            broken = copy.deepcopy(searchable)
            with torch.no_grad():
                for name in unused:
                    broken.supernet.get_parameter(name).fill_(math.nan)
            with searchable.hold(architecture), broken.hold(architecture), torch.no_grad():
                expected, found = self._loss(searchable, task), self._loss(broken, task)
            assert torch.equal(expected, found), f"options were run whose gates are zero: {unused} {architecture}"

    def _unused(self, searchable: Searchable, architecture: Architecture, task: Task) -> list[str]:
        """The names of the supernet's parameters of which nothing goes into the network."""
        numbered = copy.deepcopy(searchable.supernet)
        marks = {name: float(2**20 + number) for number, (name, _) in enumerate(numbered.named_parameters())}
        with torch.no_grad():
            for name, mark in marks.items():
                numbered.get_parameter(name).fill_(mark)
        network = inherited(searchable.space, numbered, architecture, task)
        found = {mark for weight in network.parameters() for mark in weight.unique().tolist()}
        return [name for name, mark in marks.items() if mark not in found]

    def test_a_decoder_judges_by_no_running_statistics(self, task: Task) -> None:
        # They are those of a mixture of what was trained, right for no architecture.
        searchable = self._searchable(task)
        moved = copy.deepcopy(searchable).train()
        with torch.no_grad():
            self._loss(moved, task)
        for architecture in self._drawn(searchable.space)[:3]:
            with searchable.hold(architecture), moved.hold(architecture), evaluating(searchable), evaluating(moved):
                assert torch.equal(self._loss(searchable, task), self._loss(moved, task)), str(architecture)

    def test_inheriting_leaves_the_supernet_and_its_network_apart(self, task: Task) -> None:
        searchable = self._searchable(task)
        state = copy.deepcopy(searchable.state_dict())
        for architecture in self._drawn(searchable.space)[:3]:
            network = inherited(searchable.space, searchable.supernet, architecture, task)
            assert not network.training
            with torch.no_grad():
                for weight in network.parameters():
                    weight.fill_(math.nan)
        assert_same_state(state, searchable.state_dict())

    def test_the_gradient_of_soft_gates_is_the_derivative_of_the_loss(self, task: Task) -> None:
        searchable = self._searchable(task)
        options = option_mask(searchable.choices)
        generator = torch.Generator().manual_seed(3)
        logits, direction = (torch.randn(options.shape, generator=generator, dtype=torch.float64) for _ in range(2))
        soft, direction = Softmax()(logits, options), torch.where(options, direction, 0.0)

        def at(distance: float) -> Tensor:
            matrix = (soft + distance * direction).requires_grad_()
            with searchable.hold(_rows(searchable, matrix)):
                loss = self._loss(searchable, task)
            (gradient,) = torch.autograd.grad(loss, matrix)
            assert gradient.isfinite().all(), "a gradient of the gates is not finite"
            return torch.stack([loss.detach(), (gradient * direction).sum()])

        step = 1e-6
        (_, slope), (above, _), (below, _) = at(0.0), at(step), at(-step)
        numeric = float(above - below) / (2 * step)
        assert float(slope) == pytest.approx(numeric, rel=1e-4, abs=1e-6)

    @pytest.mark.parametrize("relaxation", _RELAXATIONS)
    def test_any_relaxation_trains_weights_and_logits(self, task: Task, relaxation: type[Relaxation]) -> None:
        searchable = self._searchable(task, relaxation()).train()
        optimizer = torch.optim.SGD(searchable.parameters(), lr=1e-3)
        for _ in range(2):
            optimizer.zero_grad()
            self._loss(searchable, task).backward()
            assert searchable.logits.grad is not None, "the logits got no gradient"
            bad = [name for name, weight in searchable.named_parameters() if not _finite(weight.grad)]
            assert not bad, f"gradients that are not finite: {bad}"
            optimizer.step()
        searchable.space.validate(searchable.architecture())

    # What a user puts where the network was.

    def test_a_searchable_survives_copies_and_its_state_dict(self, task: Task) -> None:
        searchable = self._searchable(task, Concrete()).train()
        searchable.set_logits(self._drawn(searchable.space)[0], strength=1.0)
        file = io.BytesIO()
        torch.save(searchable.state_dict(), file)
        file.seek(0)
        loaded = self._searchable(task, Concrete(), seed=1).train()
        loaded.seed = searchable.seed
        loaded.load_state_dict(torch.load(file, weights_only=True))
        copied = copy.deepcopy(searchable)
        for training in (True, False):
            losses = [self._loss(each.train(training), task).item() for each in (searchable, loaded, copied)]
            assert losses[0] == losses[1] == losses[2], f"equal weights, but the losses {losses}"
        assert searchable.architecture() == loaded.architecture() == copied.architecture()

    def test_a_searchable_has_the_modes_of_any_module(self, task: Task) -> None:
        searchable = self._searchable(task, Concrete())
        assert not any(module.training for module in searchable.modules())
        with torch.no_grad():
            loss = self._loss(searchable, task)
        assert not loss.requires_grad
        assert torch.equal(loss, self._loss(searchable, task)), "evaluation is not settled"
        assert all(module.training for module in searchable.train().modules())

    def test_a_derived_network_is_that_of_the_architecture(self, task: Task) -> None:
        searchable = self._searchable(task)
        for architecture in self._drawn(searchable.space)[:3]:
            searchable.set_logits(architecture)
            fresh = searchable.derive()
            like = searchable.space.network(architecture, task)
            assert type(fresh) is type(like)
            shapes = [{name: each.shape for name, each in one.state_dict().items()} for one in (fresh, like)]
            assert shapes[0] == shapes[1]
            with searchable.hold(architecture):
                expected = self._loss(searchable, task)
            _assert_close("the loss", [self._loss(searchable.derive(keep_weights=True), task)], [expected], "")


@contextmanager
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _tensors(value: Any) -> list[Tensor]:
    """All tensors in an output, which may be a tensor, or a tuple, list or dictionary of outputs."""
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def _rows(searchable: Searchable, matrix: Tensor) -> dict[str, Tensor]:
    return {choice.name: matrix[row, : len(choice.options)] for row, choice in enumerate(searchable.choices)}


def _product(change: Tensor, gradient: Tensor | None) -> float:
    return 0.0 if gradient is None else float((change * gradient).sum())


def _scale(gradient: Tensor | None) -> float:
    return 0.0 if gradient is None else float(gradient.abs().sum())


def _finite(gradient: Tensor | None) -> bool:
    # Options that were not run have none.
    return gradient is None or bool(gradient.isfinite().all())


def _assert_close(what: str, ours: list[Tensor], theirs: list[Tensor], where: str) -> None:
    assert len(ours) == len(theirs), f"{what} are {len(ours)} and {len(theirs)} {where}"
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape, f"{what} have the shapes {one.shape} and {other.shape} {where}"
        difference = float((one - other).detach().abs().max()) if one.numel() else 0.0
        scale = max(_SMALL, float(other.detach().abs().max()) if other.numel() else 0.0)
        assert difference <= _TOLERANCE * scale, f"{what} of supernet and network differ by {difference} {where}"
