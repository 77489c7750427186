"""What a searchable may use and find: no closed option, and nothing beyond the space's cap; on the real spaces."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from perceptron_space.space import PerceptronSpace

from automl_plugins import Choice, ParameterCapError, Task
from automl_plugins.errors import DivergedError
from automl_plugins.spaces.counting import count_parameters
from automl_plugins.supernets.limits import Limits
from automl_plugins.supernets.relaxations import Sigmoid, StraightThrough
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.space import SupernetSpace
from automl_plugins.testing import enumerate_space
from gnn_space import AGNNSpace, EGNASSpace
from seg_space import AutoDeepLabSpace

GRAPH = Task("graph", "regression", 3, 1, edge_channels=2)
PIXEL = Task("pixel", "classes", 3, 2)


def agnn(cap: int | None = None) -> AGNNSpace:
    return AGNNSpace(layers=2, hidden_channels=(2, 4, 8), heads=(1, 2, 4), max_parameters=cap)


def egnas(cap: int | None = None) -> EGNASSpace:
    return EGNASSpace(cells=1, nodes=2, node_channels=4, edge_channels=3, max_parameters=cap)


def deeplab(cap: int | None = None) -> AutoDeepLabSpace:
    return AutoDeepLabSpace(layers=3, blocks=2, filters=2, stem=(2, 4), head="aspp", max_parameters=cap)


def multi_path(cap: int | None = None) -> AutoDeepLabSpace:
    return AutoDeepLabSpace(
        layers=2, blocks=1, filters=2, stem=(2, 4), head="aspp", multi_path=True, max_parameters=cap
    )


SPACES: dict[str, tuple[Callable[..., Any], Task, int]] = {
    # With a cap that one in ten or so of all architectures keeps.
    "agnn": (agnn, GRAPH, 1400),
    "egnas": (egnas, GRAPH, 2550),
    "auto-deeplab": (deeplab, PIXEL, 850),
    "multi-path": (multi_path, PIXEL, 600),
}
_made: dict[tuple[str, int | None], Searchable] = {}


def searchable_of(name: str, cap: int | None = None) -> Searchable:
    """A searchable with all options open; its counts are those of the tests before."""
    make, task, _ = SPACES[name]
    if (name, cap) not in _made:
        _made[name, cap] = make(cap).searchable(task)
    searchable = _made[name, cap]
    for choice in searchable.choices:
        for option in choice.options:
            searchable.open(choice.name, option)
    searchable.use_gates(None)
    return searchable


def draw_logits(searchable: Searchable, seed: int) -> None:
    with torch.no_grad():
        searchable.logits.normal_(0, 2, generator=torch.Generator().manual_seed(seed))


def counts_of(space: SupernetSpace, task: Task) -> dict[Any, int]:
    """The parameters of every architecture; those that differ in what has no weights are counted once."""
    seen: dict[Any, int] = {}
    counts = {}
    for each in enumerate_space(space):
        key = tuple(item for item in each.items() if not item[0].endswith(("aggregation", "activation")))
        if key not in seen:
            seen[key] = space.num_parameters(each, task)
        counts[each] = seen[key]
    return counts


def close_some(searchable: Searchable, seed: int, times: int) -> None:
    generator = np.random.default_rng(seed)
    for _ in range(times):
        choice = searchable.choices[generator.integers(len(searchable.choices))]
        try:
            searchable.close(choice.name, choice.options[generator.integers(len(choice.options))])
        except ValueError:
            continue  # nothing would be left


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 10**6), times=st.sampled_from((0, 1, 6, 40)), capped=st.booleans())
@settings(max_examples=5, deadline=None)
def test_what_is_sampled_and_decoded_is_open_and_keeps_the_cap(name: str, seed: int, times: int, capped: bool) -> None:
    searchable = searchable_of(name, SPACES[name][2] if capped else None)
    draw_logits(searchable, seed)
    close_some(searchable, seed, times)
    space, closed = searchable.space, ~searchable.mask
    sampled = searchable.sample(np.random.default_rng(seed))
    for architecture in (searchable.architecture(), sampled):
        space.validate(architecture)
        assert not (space.gates(architecture).matrix.bool() & closed).any()
        # `network` refuses what is beyond the cap.
        space.network(architecture, searchable.task)
        with searchable.hold(architecture):
            assert torch.equal(searchable.gates().matrix, space.gates(architecture).matrix)
    assert sampled == searchable.sample(np.random.default_rng(seed))
    searchable.set_logits(sampled)
    assert searchable.architecture() == sampled
    assert 0 <= float(searchable.entropy()) <= 1 + 1e-6


@pytest.mark.parametrize("name", SPACES)
def test_with_everything_open_draws_are_those_of_the_space(name: str) -> None:
    searchable = searchable_of(name)
    for seed in range(3):
        generators = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
        assert searchable.sample(generators[0]) == searchable.space.sample(generators[1])


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_what_an_architecture_without_closed_options_has_can_be_drawn(name: str, seed: int) -> None:
    """Also where nothing else is open: no open option is left out for one that is closed elsewhere."""
    space = searchable_of(name).space
    architecture = space.sample(np.random.default_rng(seed))
    has = space.gate_values(architecture)
    closed = {
        gate.name: frozenset(option for option in gate.options if gate.name not in has or has[gate.name] != option)
        for gate in space.gate_choices
    }
    for choice in space.choices:
        if choice.is_active(architecture):
            assert architecture[choice.name] in space.open_options(choice, architecture, closed)


def test_open_options_are_drawn_evenly() -> None:
    searchable = searchable_of("agnn")
    for option in ("gat", "cos", "gcn", "linear"):
        searchable.close("layer0.attention", option)
    generator = torch.Generator().manual_seed(0)
    drawn = [str(searchable.sample(generator)["layer0.attention"]) for _ in range(600)]
    assert {option: drawn.count(option) for option in set(drawn)} == {
        option: pytest.approx(200, abs=45) for option in ("constant", "sym-gat", "gene-linear")
    }


def test_a_cap_that_one_architecture_keeps_is_kept_by_every_draw() -> None:
    least = min(counts_of(tiny(), GRAPH).values())
    searchable = tiny(least).searchable(GRAPH)
    generator = torch.Generator().manual_seed(0)
    for seed in range(5):
        draw_logits(searchable, seed)
        for found in (searchable.sample(generator), searchable.architecture()):
            assert searchable.space.num_parameters(found, GRAPH) == least


def tiny(cap: int | None = None) -> AGNNSpace:
    return AGNNSpace(layers=1, hidden_channels=(2, 4), heads=(1, 2, 4), max_parameters=cap)


def test_a_cap_that_nothing_keeps_is_refused_with_the_smallest_size() -> None:
    least = min(counts_of(tiny(), GRAPH).values())
    searchable = tiny(least - 1).searchable(GRAPH)
    with pytest.raises(ParameterCapError, match=rf"max_parameters={least - 1:,} admits no network .* {least:,} param"):
        searchable.limits.check_any()
    for ask in (searchable.architecture, searchable.derive, lambda: searchable.sample(torch.Generator())):
        with pytest.raises(ParameterCapError, match="admits no network"):
            ask()


@pytest.mark.parametrize(
    "space",
    [
        AGNNSpace(layers=1, hidden_channels=(2, 8), heads=(1, 2, 4), batch_norm=True),
        EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=3, inputs=1),
        AutoDeepLabSpace(layers=2, blocks=1, filters=2, stem=(2, 4)),
    ],
    ids=lambda space: space.name,
)
def test_the_most_probable_architecture_within_a_cap_is_that_of_brute_force(space: SupernetSpace) -> None:
    task = PIXEL if space.name == "auto-deeplab" else GRAPH
    counted = counts_of(space, task)
    every, counts = list(counted), torch.tensor(list(counted.values()))
    used = torch.stack([space.gates(each).matrix for each in every]).double().flatten(1)
    searchable = space.searchable(task)
    for share in (0.02, 0.1, 0.4):
        space.max_parameters = int(counts.double().quantile(share))
        for seed in range(4):
            draw_logits(searchable, seed)
            searchable._limits = searchable._decoded = None
            shares = searchable.probabilities().matrix.double().clamp(min=1e-300).log()
            logarithms = (used @ shares.flatten()).masked_fill(counts > space.max_parameters, -torch.inf)
            found = float(logarithms[every.index(searchable.architecture())])
            assert found == pytest.approx(float(logarithms.max()))


def test_closing_leaves_an_architecture_or_is_refused_and_opening_undoes_it() -> None:
    searchable = searchable_of("egnas")
    before = searchable.closed.clone()
    name = "cell0.node2.from{}.node_operation"
    operations = [option for option in searchable.choices[0].options if option != "none"]
    for operation in operations[:-1]:
        searchable.close(name.format(0), operation)
    # State 2 has two sources and needs both.
    with pytest.raises(ValueError, match="no architecture is left"):
        searchable.close(name.format(0), operations[-1])
    assert searchable.sample(np.random.default_rng(0))["cell0.node2.input0.node_operation"] == operations[-1]
    for operation in operations[:-1]:
        searchable.open(name.format(0), operation)
    assert torch.equal(searchable.closed, before)
    with pytest.raises(ValueError, match=r"no choice 'cell0.node2.from0'; did you mean 'cell0.node2.from0.node_op"):
        searchable.open("cell0.node2.from0", "none")


def test_closing_the_last_option_that_keeps_the_cap_is_refused() -> None:
    counts = counts_of(tiny(), GRAPH)
    cap = min(count for each, count in counts.items() if each["layer0.hidden_channels"] > 2) - 1
    searchable = tiny(cap).searchable(GRAPH)
    with pytest.raises(ParameterCapError, match="with the open options"):
        searchable.close("layer0.hidden_channels", 2)
    assert searchable.mask[0, 0]


def test_an_arrow_that_is_closed_at_off_is_in_every_topology() -> None:
    searchable = searchable_of("multi-path")
    searchable.close("layer2.after8.to16", "off")
    generator = torch.Generator().manual_seed(0)
    for seed in range(4):
        draw_logits(searchable, seed)
        for found in (searchable.sample(generator), searchable.architecture()):
            assert "16" in str(found["layer2.after8"]).split("+")


def test_an_architecture_with_a_closed_option_is_refused_by_name() -> None:
    searchable = searchable_of("agnn")
    architecture = searchable.space.architecture(
        {**searchable.space.sample(np.random.default_rng(0)), "layer1.attention": "gat"}
    )
    searchable.close("layer1.attention", "gat")
    for use in (searchable.use_gates, searchable.set_logits, lambda each: searchable.hold(each).__enter__()):
        with pytest.raises(ValueError, match=r"has 'gat' for 'layer1.attention', which is closed; open: 'constant'"):
            use(architecture)


def test_gates_that_are_held_are_zero_at_closed_options() -> None:
    searchable = searchable_of("agnn")
    gates = {choice.name: torch.ones(len(choice.options)) for choice in searchable.choices}
    searchable.use_gates(gates)
    searchable.close("layer0.heads", 2)
    assert searchable.gates()["layer0.heads"].tolist() == [1.0, 0.0, 1.0]
    only = {**gates, "layer0.heads": torch.tensor([0.0, 1.0, 0.0])}
    with pytest.raises(ValueError, match=r"the gates of 'layer0.heads' are those of closed options alone"):
        searchable.use_gates(only)


def test_what_is_beyond_the_cap_may_be_held_but_not_preferred() -> None:
    searchable = searchable_of("agnn", 1400)
    widest = {**agnn().sample(np.random.default_rng(0)), "layer0.hidden_channels": 8, "layer0.heads": 4}
    architecture = agnn().architecture({**widest, "layer0.combine": "mlp"})
    with searchable.hold(architecture):
        pass
    with pytest.raises(ParameterCapError, match="max_parameters is 1,400"):
        searchable.set_logits(architecture)


def test_single_paths_that_are_architectures_are_drawn_within_the_cap() -> None:
    searchable = agnn(3000).searchable(GRAPH, StraightThrough())
    beyond = 0
    for _ in range(20):
        searchable.draw()
        drawn = searchable.space.decode(searchable.gates())
        assert searchable.space.num_parameters(drawn, GRAPH) <= 3000
    unlimited = agnn().searchable(GRAPH, StraightThrough())
    for _ in range(20):
        unlimited.draw()
        beyond += agnn().num_parameters(unlimited.space.decode(unlimited.gates()), GRAPH) > 3000
    assert beyond > 5


@pytest.mark.parametrize("relaxation", [Sigmoid, StraightThrough])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_stand_for_no_architecture(relaxation: Any, bad: float) -> None:
    searchable = agnn().searchable(GRAPH, relaxation())
    with torch.no_grad():
        searchable.logits[1, 2] = bad
    for ask in (searchable.architecture, searchable.derive, searchable.parameter_free_share):
        with pytest.raises(DivergedError, match=r"the logit of 'gat' in 'layer0.attention' is -?(nan|inf)"):
            ask()
    searchable.close("layer0.attention", "gat")
    searchable.derive()


def test_weights_that_are_not_finite_are_not_taken_over() -> None:
    searchable = agnn().searchable(GRAPH)
    with torch.no_grad():
        next(iter(searchable.supernet.parameters())).fill_(float("nan"))
    searchable.derive()
    with pytest.raises(DivergedError, match="is not finite: the search has diverged"):
        searchable.derive(keep_weights=True)


def test_a_copy_keeps_its_mask_and_goes_its_own_way() -> None:
    searchable = searchable_of("agnn", 1400)
    searchable.close("layer0.heads", 2)
    found = searchable.architecture()
    for copied in (copy.deepcopy(searchable), pickle.loads(pickle.dumps(searchable))):
        assert copied.architecture() == found
        copied.open("layer0.heads", 2)
        assert not searchable.mask[2, 1]
        assert copied.mask[2, 1]


def test_a_mask_that_is_loaded_counts() -> None:
    searchable, other = agnn().searchable(GRAPH), agnn().searchable(GRAPH)
    other.sample(torch.Generator().manual_seed(0))
    searchable.close("layer0.heads", 2)
    other.load_state_dict(searchable.state_dict())
    generator = torch.Generator().manual_seed(0)
    assert all(other.sample(generator)["layer0.heads"] != 2 for _ in range(10))


class One(PerceptronSpace):
    """A space of one architecture."""

    def __init__(self) -> None:
        super().__init__()
        choices = [Choice(each.name, each.options[:1]) for each in self.choices if not each.alternatives]
        SupernetSpace.__init__(self, choices)


def test_a_space_of_one_architecture_is_decided() -> None:
    searchable = One().searchable(Task("pixel", "regression", 3, 1))
    assert One().size == 1
    assert searchable.sample(np.random.default_rng(0)) == searchable.architecture()
    assert float(searchable.entropy()) == searchable.parameter_free_share() == 0.0
    with pytest.raises(ValueError, match="last open option"):
        searchable.close(*next(iter(searchable.architecture().items())))


@pytest.mark.parametrize("name", SPACES)
def test_counted_parts_are_as_many_parameters_as_the_network_has(name: str) -> None:
    make, task, _ = SPACES[name]
    space = make()
    for seed in range(4):
        architecture = space.sample(np.random.default_rng(seed))
        network = space.build(architecture, task)
        expected = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
        assert count_parameters(lambda: space.build(architecture, task)) == expected  # noqa: B023 - called at once
    assert all(not weight.is_meta for weight in network.parameters())


# What is counted as a collapse is what is decoded.


@pytest.mark.parametrize(
    ("space", "task", "free"),
    [
        (AGNNSpace(layers=2), GRAPH, {}),
        (EGNASSpace(cells=2, nodes=6, node_channels=2, edge_channels=2), GRAPH, {"node": "identity"}),
        (AutoDeepLabSpace(layers=4, blocks=8, filters=1, stem=(2, 2)), PIXEL, {"block0": "max_pool"}),
    ],
    ids=["agnn", "egnas", "auto-deeplab"],
)
def test_dropped_edges_are_no_collapse(space: Any, task: Task, free: dict[str, str]) -> None:
    weighted = {"node_operation": "mean", "edge_operation": "film", "operation": "separable_3x3"}
    values = dict(space.sample(np.random.default_rng(0)))
    for name in values:
        values[name] = weighted.get(name.rpartition(".")[2], values[name])
    searchable = space.searchable(task)
    searchable.set_logits(space.architecture(values))
    assert searchable.parameter_free_share() == 0.0
    operations = [name for name in values if name.endswith("operation")]
    changed = [name for name in operations if any(part in name.split(".")[1] for part in free)]
    for name in changed:
        values[name] = next(iter(free.values()))
    searchable.set_logits(space.architecture(values))
    expected = len(changed) / len(operations) if operations else 0.0
    assert searchable.parameter_free_share() == expected
    assert (expected > 0) == bool(free)


def test_limits_by_themselves_say_what_is_closed() -> None:
    space = agnn()
    mask = space.searchable(GRAPH).mask
    mask[1, 0] = False
    limits = Limits(space, GRAPH, mask)
    values = {**space.sample(np.random.default_rng(0)), "layer0.attention": "constant"}
    assert limits.closed_option(space.architecture(values)) == ("layer0.attention", "constant")
    assert limits.admits(space.architecture({**values, "layer0.attention": "gat"}))
