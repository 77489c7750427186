"""The promises of a space about its gates, and about the architectures that scores stand for."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

import numpy as np
import torch

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.gates import option_mask
from automl_plugins.supernets.option_costs import expected_cost
from automl_plugins.testing.supernet_suite import SupernetSuite


class GateSuite(SupernetSuite):
    """Gates, decoding, masks and costs of options."""

    is_additive: ClassVar[bool] = False
    """True where parameters add up over gates, each with an option as cheap as leaving it away."""

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
        options = {option for choice in space.gate_choices for option in choice.options}
        assert space.parameter_free | space.identities <= options

    def test_costs_of_options_are_shaped_as_gates_and_add_up_where_they_can(self) -> None:
        space, task = self.space(), self.tasks()[0]
        costs = space.option_costs(task, figure="params")
        mask = option_mask(space.gate_choices)
        assert costs.shape == mask.shape
        assert costs.isfinite().all()
        assert (costs >= 0).all()
        assert not costs[~mask].any(), "a cost beyond a choice's own options"
        if self.is_additive:
            architectures = self._drawn(space)[:10]
            counts = [space.num_parameters(architecture, task) for architecture in architectures]
            expected = [float(expected_cost(space.gates(architecture), costs)) for architecture in architectures]
            for count, cost in zip(counts, expected, strict=True):
                assert count - counts[0] == cost - expected[0], "parameters do not add up over gates"

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
