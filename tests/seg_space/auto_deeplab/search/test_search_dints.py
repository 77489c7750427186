"""The strategy `dints` on Auto-DeepLab's space of several paths."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import pytorch_lightning as pl
import torch

from automl_plugins.search import ArchitectureSearch, SearchStep
from automl_plugins.strategies import DiNTS
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.searchable import Searchable
from seg_space import AutoDeepLabSpace
from seg_space.data import DarcyFlowData
from seg_space.modules import DenseRegression


def data() -> DarcyFlowData:
    return DarcyFlowData(8, 2, 1, resolution=8, root=None, batch_size=2)


def module(multi_path: bool = True) -> DenseRegression:
    space = AutoDeepLabSpace(layers=2, blocks=1, filters=1, stem=(2,), stem_stride=1, multi_path=multi_path)
    task = data().task
    return DenseRegression(space.searchable(task), task, learning_rate=1e-2)


def searchable() -> Searchable:
    found: Searchable = module().network
    with torch.no_grad():
        found.logits.normal_(generator=torch.Generator().manual_seed(0))
    return found


@pytest.mark.parametrize("progress", [0.0, 0.25, 1.0])
def test_the_loss_is_the_searchs_and_terms_that_grow_with_the_progress(progress: float) -> None:
    network = searchable()
    found = DiNTS(memory=0.9, topology_weight=0.1).architecture_loss(
        SearchStep(
            progress=progress,
            searchables={"network": network},
            generator=torch.Generator(),
            loss=lambda batch: torch.tensor({"training": 100.0, "search": 2.0}[batch]),
            read=lambda: "search",
            evaluate=lambda: 0.0,
            training_batch="training",
        )
    )
    shares = Gates(network.choices, network.relaxation.probabilities(network.logits, network.mask))
    terms = network.space.topology_terms(shares)
    assert terms is not None
    edges, operations, mismatch, memory = (float(term.detach()) for term in terms)
    assert memory < 0.9
    expected = 2.0 + progress * (edges + operations + (0.9 - memory) + 0.1 * mismatch)
    assert float(found.detach()) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:the search prefers options without weights")  # a cell has but two choices here
def test_the_memory_that_is_wanted_settles_how_much_is_found(trainer: Callable[..., pl.Trainer]) -> None:
    memories = []
    for memory in (0.1, 0.9):
        torch.manual_seed(0)
        fitted = module()
        search = ArchitectureSearch(DiNTS(memory=memory), learning_rate=0.3, warmup_epochs=1)
        trainer(search, max_epochs=5).fit(fitted, datamodule=data())
        space = fitted.network.space
        terms = space.topology_terms(space.gates(fitted.network.architecture()))
        memories.append(float(terms.memory))
        assert fitted.network.derive()(torch.randn(2, 3, 8, 8)).shape == (2, 1, 8, 8)
    assert memories[0] < 0.5 < memories[1]


def test_single_paths_are_refused_and_so_is_a_search_without_an_end(trainer: Callable[..., pl.Trainer]) -> None:
    with pytest.raises(ValueError, match="the space 'auto-deeplab' has none as it was made"):
        trainer(ArchitectureSearch("dints")).fit(module(multi_path=False), datamodule=data())
    with pytest.raises(ValueError, match="DiNTS follows a schedule, which needs an end"):
        trainer(ArchitectureSearch("dints"), max_epochs=-1).fit(module(), datamodule=data())


@pytest.mark.parametrize("strategy", ["darts", "gdas", "snas"])
def test_other_strategies_search_several_paths_too(trainer: Callable[..., pl.Trainer], strategy: str) -> None:
    fitted = module()
    before = fitted.network.logits.detach().clone()
    trainer(ArchitectureSearch(strategy, learning_rate=0.1)).fit(fitted, datamodule=data())
    assert not torch.equal(before, fitted.network.logits)
    assert fitted.network.logits.isfinite().all()
    fitted.network.derive()
