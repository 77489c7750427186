"""The promises of a space about an architecture as data: JSON, vectors, graphs."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pytest

from automl_plugins.spaces.architecture import Architecture
from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.enumeration import covering
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.testing.space_suite import SpaceSuite

if TYPE_CHECKING:
    pass


class EncodingSuite(SpaceSuite):
    """JSON, refusals, encodings, operations and graphs."""

    def test_an_architecture_survives_json_and_pickling(self) -> None:
        space = self.space()
        for architecture in self._drawn(space):
            for again in (
                Architecture.from_json(architecture.to_json()),
                pickle.loads(pickle.dumps(architecture)),
                copy.deepcopy(architecture),
                space.architecture(dict(reversed(list(architecture.items())))),
            ):
                assert again == architecture
                assert hash(again) == hash(architecture)
                space.validate(again)
                assert np.array_equal(space.encode(again), space.encode(architecture))
            assert json.loads(architecture.to_json()).keys() == {"space", "version", "choices"}

    def test_what_is_not_of_the_space_is_refused_by_name(self) -> None:
        space = self.space()
        for architecture in self._drawn(space):
            values = dict(architecture)
            with pytest.raises(ValueError, match="another-space"):
                space.validate(Architecture("another-space", space.version, values))
            with pytest.raises(ValueError, match="version"):
                space.validate(Architecture(space.name, space.version + 1, values))
            with pytest.raises(ValueError, match="'no such choice'"):
                space.validate(Architecture(space.name, space.version, {**values, "no such choice": 1}))
            assert space.architecture({**values, "learning_rate_of_somebody": 1}) == architecture
            longest = max(values, key=len)
            if len(longest) > 1:  # a single letter is near nothing
                _refused(space, {**values, f"{longest}_": 1}, f"{longest}_")
            for choice in space.choices:
                if choice.name in values:
                    _refused(space, {**values, choice.name: "no such option"}, choice.name)
                    _refused(space, {name: values[name] for name in values if name != choice.name}, choice.name)
                else:
                    _refused(space, {**values, choice.name: choice.options[0]}, choice.name)

    def test_encodings_have_one_length_and_tell_architectures_apart(self) -> None:
        space = self.space()
        encodings: dict[bytes, Architecture] = {}
        for architecture in self._drawn(space):
            encoding = space.encode(architecture)
            assert encoding.shape == (space.encoding_length,)
            assert encoding.dtype == np.float64
            assert np.isfinite(encoding).all()
            assert encodings.setdefault(encoding.tobytes(), architecture) == architecture

    def test_the_encoding_of_an_inactive_choice_is_zero(self) -> None:
        space = self.space()
        ends = np.cumsum([len(choice.options) for choice in space.choices])
        for architecture in self._drawn(space):
            parts = np.split(space.encode(architecture), ends[:-1])
            for choice, part in zip(space.choices, parts, strict=True):
                assert part.sum() == (choice.name in architecture)

    def test_operations_come_in_order_and_name_every_active_choice(self) -> None:
        space = self.space()
        for architecture in covering(space, np.random.default_rng(0)):
            earlier: set[str] = set()
            named: set[str] = set()
            for operation in space.operations(architecture):
                assert operation.name not in earlier, f"two operations are called {operation.name!r}"
                assert set(operation.inputs) <= earlier, f"{operation.name!r} reads what comes later"
                earlier.add(operation.name)
                named.update(operation.choices)
            assert named == set(architecture), f"operations must name the active choices: {architecture}"

    def test_the_graph_is_acyclic_and_labelled(self) -> None:
        space = self.space()
        for architecture in covering(space, np.random.default_rng(0)):
            graph = space.graph(architecture)
            operations = space.operations(architecture)
            assert graph.features.shape == (len(operations), len(space.vocabulary))
            assert graph.features.is_floating_point()
            assert (graph.features.sum(dim=1) > 0).all(), "an operation that is told by nothing"
            assert not graph.edge_index.is_floating_point()
            assert graph.edge_index.shape == (2, sum(len(operation.inputs) for operation in operations))
            assert (graph.edge_index[0] < graph.edge_index[1]).all()
            assert len(graph.labels) == len(operations)
            assert all(isinstance(label, str) and label for label in graph.labels)


def _refused(space: SearchSpace, values: Mapping[str, Value], name: str) -> None:
    """Both ways in refuse the values, and the message names the choice."""
    named = re.escape(repr(name))
    text = Architecture(space.name, space.version, values).to_json()
    with pytest.raises(ValueError, match=named):
        space.validate(Architecture.from_json(text))
    with pytest.raises(ValueError, match=named):
        space.architecture(values)
