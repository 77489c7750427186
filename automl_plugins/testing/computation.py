"""The promises of a supernet about what it computes."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection

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
from automl_plugins.supernets.supernet import Supernet, inherited
from automl_plugins.testing.numeric import SMALL, TOLERANCE, assert_close, is_finite, product_of, rows_of, scale_of
from automl_plugins.testing.space_suite import assert_same_state
from automl_plugins.testing.supernet_suite import SupernetSuite

_RELAXATIONS: tuple[type[Relaxation], ...] = (Softmax, Concrete, StraightThrough, Sigmoid)


class ComputationSuite(SupernetSuite):
    """Values and gradients: those of networks, and those of soft gates."""

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
        changes = _Changes(supernet)
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
                assert_close("the outputs", of_supernet.outputs, of_network.outputs, where)
                assert_close("the loss", [of_supernet.loss], [of_network.loss], where)
                assert_close("input gradients", of_supernet.input_gradients, of_network.input_gradients, where)
                self._assert_same_weight_gradients(changes, architecture, network, where)

    def _assert_same_weight_gradients(
        self, changes: _Changes, architecture: Architecture, network: nn.Module, where: str
    ) -> None:
        """Weights may have other names and shapes in the network, but `inherit` says which become which.

        If `inherit` takes a change D of the supernet's weights to a change D' of the network's, the sum of
        D times the supernet's gradient is that of D' times the network's gradient, for every D.
        """
        scale = sum(scale_of(weight.grad) for weight in network.parameters())

        def agree(changed: Supernet, names: Collection[str]) -> bool:
            other = copy.deepcopy(network)
            changed.inherit(other, architecture)
            found = sum(
                product_of(after.detach() - before.detach(), before.grad)
                for before, after in zip(network.parameters(), other.parameters(), strict=True)
            )
            return abs(changes.product(names) - found) <= TOLERANCE * max(SMALL, scale)

        if not agree(changes.changed, changes.by_name):
            wrong = [name for name in changes.by_name if not agree(changes.changed_in(name), (name,))]
            pytest.fail(f"gradients of the supernet's weights differ from the network's: {wrong} {where}")

    def test_what_an_architecture_does_not_use_is_not_run(self, task: Task) -> None:
        searchable = self._searchable(task)
        numbered = copy.deepcopy(searchable.supernet)
        marks = {name: float(2**20 + number) for number, (name, _) in enumerate(numbered.named_parameters())}
        with torch.no_grad():
            for name, mark in marks.items():
                numbered.get_parameter(name).fill_(mark)
        for architecture in covering(searchable.space, np.random.default_rng(0)):
            # Of these parameters nothing goes into the network.
            network = inherited(searchable.space, numbered, architecture, task)
            found = {mark for weight in network.parameters() for mark in weight.unique().tolist()}
            unused = [name for name, mark in marks.items() if mark not in found]
            broken = copy.deepcopy(searchable)
            with torch.no_grad():
                for name in unused:
                    broken.supernet.get_parameter(name).fill_(math.nan)
            with searchable.hold(architecture), broken.hold(architecture), torch.no_grad():
                losses = self._loss(searchable, task), self._loss(broken, task)
            assert torch.equal(*losses), f"options were run whose gates are zero: {unused} {architecture}"

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
            with searchable.hold(rows_of(searchable, matrix)):
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
            bad = [name for name, weight in searchable.named_parameters() if not is_finite(weight.grad)]
            assert not bad, f"gradients that are not finite: {bad}"
            optimizer.step()
        searchable.space.validate(searchable.architecture())


class _Changes:
    """A random change of each weight of a supernet, the same for all architectures.

    Args:
        supernet: its weights stay as they are; its gradients are read when they are asked for.
    """

    def __init__(self, supernet: Supernet) -> None:
        generator = torch.Generator().manual_seed(2)
        self._supernet = supernet
        self.by_name = {
            name: torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
            for name, weight in supernet.named_parameters()
        }
        self.changed = self._changed(self.by_name)

    def changed_in(self, name: str) -> Supernet:
        """A copy of the supernet in which one weight is changed."""
        return self._changed((name,))

    def product(self, names: Collection[str]) -> float:
        """The sum of the changes of some weights times their gradients."""
        return sum(product_of(self.by_name[name], self._supernet.get_parameter(name).grad) for name in names)

    def _changed(self, names: Collection[str]) -> Supernet:
        changed = copy.deepcopy(self._supernet)
        with torch.no_grad():
            for name in names:
                changed.get_parameter(name).add_(self.by_name[name])
        return changed
