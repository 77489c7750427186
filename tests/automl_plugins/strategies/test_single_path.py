"""Fair single paths, an auxiliary skip connection, and the options that a progressive search closes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from perceptron_space.space import PerceptronSpace
from search_project import LitUser, UserData
from tiny import loss, step_of, tiny_problem

from automl_plugins import Task
from automl_plugins.decoders import Evolution
from automl_plugins.search import ArchitectureSearch
from automl_plugins.strategies import DARTSMinus, DrNAS, FairSinglePath, SinglePath
from automl_plugins.strategies.single_path import fair_paths
from automl_plugins.supernets.gates import Gates
from gnn_space import AGNNSpace, EGNASSpace

TASK = Task("graph", "regression", 3, 1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_fair_paths_have_each_option_of_a_choice_equally_often(seed: int) -> None:
    space = AGNNSpace(layers=2, hidden_channels=(2, 4), heads=(1, 2))
    searchable = space.searchable(TASK)
    searchable.close("layer0.attention", "gat")
    paths = fair_paths(searchable, torch.Generator().manual_seed(seed))
    assert len(paths) == max(int(row.sum()) for row in searchable.mask)
    for row, choice in enumerate(searchable.choices):
        counts = Counter(path[choice.name] for path in paths if choice.name in path)
        if choice.requires:
            continue  # fairness is among the paths in which a choice is active
        assert len(counts) == int(searchable.mask[row].sum())
        assert max(counts.values()) - min(counts.values()) <= 1, f"{choice.name}: {counts}"


def test_fair_paths_keep_limits() -> None:
    space = PerceptronSpace(widest=16, max_parameters=60)
    searchable = space.searchable(Task("pixel", "regression", 3, 1))
    for seed in range(10):
        assert all(map(searchable.limits.admits, fair_paths(searchable, torch.Generator().manual_seed(seed))))


def test_a_fair_step_trains_by_the_mean_of_its_paths(trainer: Callable[..., pl.Trainer]) -> None:
    module = LitUser()
    runs: list[int] = []
    module.net.supernet.register_forward_pre_hook(lambda *_: runs.append(1))
    strategy = FairSinglePath(Evolution(population=2, generations=1))
    trainer(ArchitectureSearch(strategy), max_epochs=1, limit_val_batches=0, max_steps=2).fit(module, UserData())
    # Two steps of two paths (the widths 2 and 4), then two architectures on two search batches of a half, and what was
    # found on these once more, for the line in the end.
    assert len(runs) == 2 * 2 + 2 * 2 + 2


def test_spos_trains_like_random_search_and_ends_with_evolution() -> None:
    assert isinstance(SinglePath().decoder, Evolution)
    assert not SinglePath().learns_logits


# DARTS-


def test_the_auxiliary_skip_is_added_to_open_identities_and_decays_to_nothing() -> None:
    searchable = EGNASSpace(cells=1, nodes=2, node_channels=4, edge_channels=3).searchable(TASK)
    names = [choice.name for choice in searchable.choices if "identity" in choice.options]
    searchable.close(names[0], "identity")
    plain = searchable.gates().matrix
    for progress, weight in ((0.0, 0.8), (0.5, 0.4), (1.0, 0.0)):
        gates = DARTSMinus(0.8).weight_gates(searchable, step_of(searchable, progress=progress))
        assert not gates.matrix.requires_grad
        for row, choice in enumerate(searchable.choices):
            expected = plain[row].detach().clone()
            if choice.name in names[1:]:
                expected[choice.index("identity")] += weight
            torch.testing.assert_close(gates.matrix[row], expected)


def test_the_auxiliary_skip_is_in_the_loss_of_the_logits_too() -> None:
    searchable = tiny_problem()
    type(searchable.space).identities, before = frozenset({"tanh"}), type(searchable.space).identities
    try:
        step = step_of(searchable, progress=0.25)
        found = DARTSMinus(1.0).architecture_loss(step)
        matrix = searchable.gates().matrix.clone()
        row = next(row for row, choice in enumerate(searchable.choices) if choice.name == "activation")
        matrix[row, searchable.choices[row].index("tanh")] += 0.75
        with searchable.hold(Gates(searchable.choices, matrix)):
            expected = loss(searchable, "search data")
        torch.testing.assert_close(found, expected)
        pair = [torch.autograd.grad(each, searchable.logits)[0] for each in (found, expected)]
        torch.testing.assert_close(*pair)
    finally:
        type(searchable.space).identities = before


def test_a_space_without_identities_is_refused_before_training(trainer: Callable[..., pl.Trainer]) -> None:
    with pytest.raises(ValueError, match="the space 'perceptron' has no gate with one beside other options"):
        trainer(ArchitectureSearch("darts-minus")).fit(LitUser(), datamodule=UserData())


# Progressive DrNAS


def test_a_progressive_search_closes_the_less_probable_options_at_its_half() -> None:
    searchable = EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=3).searchable(TASK)
    with torch.no_grad():
        searchable.logits.normal_(generator=torch.Generator().manual_seed(0))
    before, shares = searchable.mask.clone(), searchable.probabilities().matrix
    strategy = DrNAS(progressive=True)
    strategy.end_epoch(step_of(searchable, progress=0.4))
    assert torch.equal(before, searchable.mask)
    strategy.end_epoch(step_of(searchable, progress=0.5))
    for row in range(len(before)):
        count = int(before[row].sum())
        kept = max(2, round(count * 4 / 7)) if count > 2 else count
        assert int(searchable.mask[row].sum()) == kept
        best = shares[row].masked_fill(~before[row], -1).topk(kept).indices.sort().values
        assert torch.equal(searchable.mask[row].nonzero().flatten(), best)
    after = searchable.mask.clone()
    strategy.end_epoch(step_of(searchable, progress=0.9))
    assert torch.equal(after, searchable.mask), "once"
