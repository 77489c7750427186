"""Options closed, kept and opened again, on the real spaces; the gates of two of them are not their choices."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from perceptron_space.space import PerceptronSpace

from automl_plugins import Task
from automl_plugins.supernets import Searchable, SupernetSpace
from automl_plugins.testing import enumerate_space
from gnn_space import AGNNSpace, EGNASSpace
from seg_space import AutoDeepLabSpace

GRAPH = Task("graph", "regression", 5, 1)
PIXEL = Task("pixel", "classes", 3, 4)
SPACES: dict[str, Callable[[], Searchable]] = {
    "agnn": lambda: AGNNSpace(layers=1, hidden_channels=(4, 8), heads=(1, 2)).searchable(GRAPH),
    "egnas": lambda: EGNASSpace(cells=1, nodes=2, node_channels=4, edge_channels=2).searchable(GRAPH),
    "auto-deeplab": lambda: AutoDeepLabSpace(layers=2, blocks=1, filters=1, stem=(2, 2)).searchable(PIXEL),
}


@pytest.fixture(scope="module", params=SPACES)
def fresh(request: pytest.FixtureRequest) -> Searchable:
    return SPACES[request.param]()


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_the_mask_is_what_was_closed_kept_and_opened_and_holds_everywhere(
    fresh: Searchable, data: st.DataObject
) -> None:
    searchable = copy.deepcopy(fresh)
    expected = searchable.mask.clone()
    for _ in range(data.draw(st.integers(1, 6))):
        row = data.draw(st.integers(0, len(searchable.choices) - 1))
        choice = searchable.choices[row]
        options = data.draw(st.lists(st.sampled_from(choice.options), min_size=1, max_size=3, unique=True))
        columns = [choice.index(option) for option in options]
        change = data.draw(st.sampled_from(["close", "open", "keep"]))
        after = expected.clone()
        if change == "keep":
            after[row] = False
        after[row, columns] = change != "close"
        try:
            getattr(searchable, change)(choice.name, *options)
        except ValueError:  # nothing would be left; then nothing is changed
            assert change != "open"
        else:
            expected = after
        assert torch.equal(searchable.mask, expected)
    generator = np.random.default_rng(0)
    for architecture in (searchable.sample(generator), searchable.architecture()):
        used = searchable.space.gates(architecture).matrix.bool()
        assert not (used & ~expected).any()
        with searchable.hold(architecture):
            assert torch.equal(searchable.gates().matrix.bool(), used)
    loaded = copy.deepcopy(fresh)
    loaded.load_state_dict(searchable.state_dict())
    assert torch.equal(loaded.mask, expected)
    assert loaded.sample(np.random.default_rng(1)) == searchable.sample(np.random.default_rng(1))


def parts_of(searchable: Searchable, name: str) -> list[Searchable]:
    """A part for each option of a choice, as few-shot search has them."""
    (choice,) = (choice for choice in searchable.choices if choice.name == name)
    parts = []
    for option in choice.options:
        part = copy.deepcopy(searchable)
        try:
            part.keep(name, option)
        except ValueError:  # nobody can have this option alone, such as `none` where an input is needed
            continue
        parts.append(part)
    return parts


def test_a_space_is_parted_by_the_options_of_a_gate(fresh: Searchable) -> None:
    generator = np.random.default_rng(0)
    drawn = [fresh.sample(generator) for _ in range(30)]
    for choice in fresh.choices[:3]:
        parts = parts_of(fresh, choice.name)
        assert len(parts) > 1
        for architecture in drawn:
            is_used = bool(fresh.space.gates(architecture)[choice.name].any())
            admitted = sum(part.limits.admits(architecture) for part in parts)
            assert admitted == (1 if is_used else len(parts))


def test_the_parts_of_a_space_are_all_of_it() -> None:
    searchable = PerceptronSpace().searchable(Task("pixel", "regression", 3, 1))
    every = set(enumerate_space(searchable.space))
    for choice in searchable.choices[:2]:
        parts = [{one for one in every if part.limits.admits(one)} for part in parts_of(searchable, choice.name)]
        assert set.union(*parts) == every
        assert sum(map(len, parts)) == len(every)


def test_a_mask_can_be_borrowed(fresh: Searchable) -> None:
    searchable = copy.deepcopy(fresh)
    before = searchable.mask.clone()
    name, options = searchable.choices[0].name, searchable.choices[0].options
    with searchable.masked():
        searchable.close(name, options[-1])
        assert not torch.equal(searchable.mask, before)
    assert torch.equal(searchable.mask, before)


def test_draws_among_some_architectures_are_even_and_within_the_limits(fresh: Searchable) -> None:
    searchable = copy.deepcopy(fresh)
    generator = np.random.default_rng(0)
    some = list(dict.fromkeys(searchable.sample(generator) for _ in range(8)))
    counts = dict.fromkeys(some, 0)
    for _ in range(80):
        counts[searchable.sample(generator, among=some)] += 1
    assert min(counts.values()) > 0
    used = searchable.space.gates(some[0]).matrix.bool()
    row = int(used.any(dim=1).nonzero()[0])
    option = searchable.choices[row].options[int(used[row].nonzero()[0])]
    searchable.close(searchable.choices[row].name, option)
    left = {one for one in some if searchable.limits.admits(one)}
    assert some[0] not in left
    assert {searchable.sample(generator, among=some) for _ in range(60)} == left
    with pytest.raises(ValueError, match="none of 1 architectures has open options alone and keeps the limits"):
        searchable.sample(generator, among=some[:1])


def test_what_cannot_be_closed_leaves_the_mask_as_it_was() -> None:
    searchable = SPACES["agnn"]()
    before = searchable.mask.clone()
    with pytest.raises(ValueError, match=r"4 is the last open option of 'layer0.hidden_channels'|8 is the last"):
        searchable.close("layer0.hidden_channels", 4, 8)
    with pytest.raises(ValueError, match="no option"):
        searchable.keep("layer0.hidden_channels", 4, 5)
    with pytest.raises(ValueError, match=r"the searchable has no choice 'layer0.hidden'; did you mean"):
        searchable.keep("layer0.hidden", 4)
    with pytest.raises(ValueError, match="last open option"):
        searchable.keep("layer0.hidden_channels")
    assert torch.equal(searchable.mask, before)


def test_types_of_the_real_spaces() -> None:
    # The gates of these are not their choices, which the tests above are for.
    for name in ("egnas", "auto-deeplab"):
        space = SPACES[name]().space
        assert isinstance(space, SupernetSpace)
        assert space.gate_choices != space.choices
