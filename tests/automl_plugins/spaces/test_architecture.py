from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl_plugins import Architecture

VALUES = {"depth": 2, "layer0.width": 8, "layer0.act": "relu", "bias": True, "drop": 0.5, "norm": None}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


def test_an_architecture_reads_as_a_mapping() -> None:
    architecture = Architecture("toy", 1, VALUES)
    assert architecture["layer0.width"] == 8
    assert dict(architecture) == VALUES
    assert len(architecture) == len(VALUES)
    assert "layer9.width" not in architecture
    assert repr(architecture) == f"Architecture('toy', version=1, {VALUES})"


def test_an_architecture_does_not_change() -> None:
    values = dict(VALUES)
    architecture = Architecture("toy", 1, values)
    values["depth"] = 3
    assert architecture["depth"] == 2
    with pytest.raises(AttributeError, match="immutable"):
        architecture.version = 2
    with pytest.raises(TypeError):
        architecture["depth"] = 3


def test_order_does_not_matter_but_space_version_and_types_do() -> None:
    architecture = Architecture("toy", 1, VALUES)
    assert architecture == Architecture("toy", 1, dict(reversed(VALUES.items())))
    others = [
        Architecture("other", 1, VALUES),
        Architecture("toy", 2, VALUES),
        Architecture("toy", 1, {**VALUES, "bias": 1}),
        Architecture("toy", 1, {**VALUES, "depth": 2.0}),
        Architecture("toy", 1, {**VALUES, "width": 1}),
    ]
    assert len({architecture, *others}) == 6
    assert architecture != VALUES


@given(st.dictionaries(st.text(), SCALARS), st.text(), st.integers())
def test_json_and_pickle_give_an_equal_architecture_back(values: dict[str, object], space: str, version: int) -> None:
    architecture = Architecture(space, version, values)
    for again in (Architecture.from_json(architecture.to_json()), pickle.loads(pickle.dumps(architecture))):
        assert again == architecture
        assert hash(again) == hash(architecture)
        assert list(again) == list(architecture)


def test_the_json_names_space_and_version() -> None:
    text = Architecture("toy", 3, VALUES).to_json()
    assert json.loads(text) == {"space": "toy", "version": 3, "choices": VALUES}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1 is not"),
        ('{"space": "toy",\n "version": }', "line 2 is not"),
        ("[1, 2]", "not a list"),
        ('{"version": 1, "choices": {}}', "'space' is missing"),
        ('{"space": "toy", "choices": {}}', "'version' is missing"),
        ('{"space": "toy", "version": 1}', "'choices' is missing"),
        ('{"space": 5, "version": 1, "choices": {}}', "'space' of an architecture is a str"),
        ('{"space": "toy", "version": "1", "choices": {}}', "'version' of an architecture is a int"),
        ('{"space": "toy", "version": true, "choices": {}}', "'version' of an architecture is a int"),
        ('{"space": "toy", "version": 1, "choices": []}', "'choices' of an architecture is a dict"),
        ('{"space": "toy", "version": 1, "choices": {"depth": [1]}}', "choice 'depth' has a list"),
    ],
)
def test_what_is_no_architecture_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Architecture.from_json(text)
