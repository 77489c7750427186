"""Decoders that ask what shared weights are worth: evolution, and DARTS-PT's removal of options."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from automl_plugins import Task
from automl_plugins.decoders import DARTSPT, BestSampled, Evaluation, Evolution, MostLikely
from automl_plugins.errors import DivergedError
from automl_plugins.supernets.searchable import Searchable
from gnn_space import AGNNSpace, EGNASSpace

TASK = Task("graph", "regression", 3, 1)


def agnn(**given: Any) -> Searchable:
    return AGNNSpace(layers=3, hidden_channels=(2, 4, 8, 16), heads=(1, 2), **given).searchable(TASK).eval()


def egnas() -> Searchable:
    return EGNASSpace(cells=1, nodes=2).searchable(TASK).eval()


def distance(searchable: Searchable, seed: int = 0) -> Evaluation:
    """The number of choices in which what is held differs from an architecture that is best by construction."""
    target = searchable.space.gates(searchable.space.sample(torch.Generator().manual_seed(100 + seed))).matrix
    return Evaluation(lambda _: float((searchable.gates().matrix.detach() - target).abs().sum()))


def test_evolution_beats_as_many_random_architectures() -> None:
    searchable = agnn()
    for seed in range(3):
        evaluation = distance(searchable, seed)
        evolved = Evolution(seed=seed)(searchable, evaluation)
        drawn = BestSampled(samples=len(evolved), seed=seed)(searchable, evaluation)
        assert evolved[0].figures["search_loss"] < drawn[0].figures["search_loss"]
        assert len(evolved) <= 200
        losses = [one.figures["search_loss"] for one in evolved]
        assert losses == sorted(losses)


def test_each_architecture_is_judged_once() -> None:
    searchable, asked = agnn(), []

    def loss(batch: int) -> float:
        asked.append(searchable.gates().matrix.detach().clone())
        return 1.0

    found = Evolution(population=4, generations=3)(searchable, Evaluation(loss))
    assert len(found) == len(asked) == len({tuple(each.flatten().tolist()) for each in asked}) == 12


@pytest.mark.parametrize("decoder", [Evolution(population=3, generations=2), DARTSPT()], ids=["evolution", "darts-pt"])
def test_weights_that_have_diverged_find_nothing(decoder: Any) -> None:
    with pytest.raises(DivergedError, match=r"the (shared )?weights have diverged"):
        decoder(agnn(), Evaluation(lambda _: math.nan))


def planted(searchable: Searchable) -> Evaluation:
    """A mixture is better the more weight it has on one option of each gate."""
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(searchable.mask.shape, generator=generator)
    return Evaluation(lambda _: -float((searchable.gates().matrix.detach() * values).sum()))


@pytest.mark.parametrize("make", [agnn, egnas])
def test_what_is_missed_most_is_kept_and_not_what_has_the_largest_logit(make: Callable[[], Searchable]) -> None:
    searchable = make()
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(searchable.mask.shape, generator=generator).masked_fill(~searchable.mask, -1.0)
    best = values.argmax(dim=1)
    with torch.no_grad():  # nearly undecided, against the best ones
        searchable.logits.zero_().scatter_(1, best.unsqueeze(1), -1e-3)
    (found,) = DARTSPT()(searchable, planted(searchable))
    gates = searchable.space.gates(found.architecture).matrix
    used = gates.any(dim=1)
    assert torch.equal(gates.argmax(dim=1)[used], best[used])
    likely = searchable.space.gates(MostLikely()(searchable, lambda: 0.0)[0].architecture).matrix
    assert not torch.equal(likely, gates)


def test_darts_pt_is_refused_where_single_paths_are_trained(trainer: Callable[..., pl.Trainer]) -> None:
    from search_project import LitUser, UserData

    from automl_plugins.search import ArchitectureSearch

    with pytest.raises(
        ValueError, match="decoder=DARTSPT asks what a mixture loses without an option, and GDAS trains"
    ):
        trainer(ArchitectureSearch("gdas", decoder="darts-pt")).fit(LitUser(), datamodule=UserData())


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Evolution(population=0), "population is at least 1; got 0"),
        (lambda: Evolution(mutation=0.0), "mutation is a probability, greater than 0 and at most 1; got 0.0"),
        (lambda: Evolution(generations=1.5), "generations is a whole number of at least 1; got 1.5"),
    ],
)
def test_arguments_out_of_range_are_refused(make: Callable[[], Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()
