"""Stops: the eigenvalue is that of the exact Hessian, it is logged, stops, and survives a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from on_spaces import OnAutoDeepLab, OnEGNAS
from tiny import loss, step_of, tiny_problem

from automl_plugins.search import ArchitectureSearch
from automl_plugins.strategies import DARTS, GDAS, SNAS, RandomSearch, composition
from automl_plugins.strategies.step import SearchStep
from automl_plugins.strategies.stops import HessianEigenvalue, Stop, make_stops
from automl_plugins.strategies.stops.eigenvalue import lanczos, largest_eigenvalue


class OnOwn(OnEGNAS):
    def __init__(self, *stops: Stop) -> None:
        self.stops = stops

    def strategy(self) -> DARTS:
        return DARTS(stops=self.stops)


class Growing(HessianEigenvalue):
    """It looks at the logits, and its values are those of a search that collapses."""

    def __call__(self, step: SearchStep) -> str | None:
        reason = super().__call__(step)
        self.values[-1] = 2.0 ** len(self.values)
        return reason


@settings(max_examples=20)
@given(st.integers(1, 9), st.integers(0, 2**16))
def test_lanczos_finds_the_largest_eigenvalue_also_where_a_negative_one_is_larger(size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(size, size, generator=generator, dtype=torch.float64)
    matrix = matrix + matrix.T - 2 * torch.eye(size, dtype=torch.float64)
    start = torch.randn(size, generator=generator, dtype=torch.float64)
    found = lanczos(lambda vector: matrix @ vector, start, size)
    assert found == pytest.approx(float(torch.linalg.eigvalsh(matrix)[-1]), abs=1e-6)


def test_the_eigenvalue_is_that_of_the_exact_hessian_in_the_logits_that_decide() -> None:
    searchable = tiny_problem()
    step, several = step_of(searchable), searchable.mask.sum(dim=1, keepdim=True) > 1
    chosen = searchable.mask & several
    before = searchable.logits.detach().clone()
    logits = before[chosen]

    def of(vector: torch.Tensor) -> torch.Tensor:
        whole = before.clone().masked_scatter(chosen, vector)
        return torch.func.functional_call(_Loss(searchable), {"searchable.logits": whole}, ())

    hessian = torch.autograd.functional.hessian(of, logits)
    exact = float(torch.linalg.eigvalsh(hessian)[-1])
    assert largest_eigenvalue(step, 20) == pytest.approx(exact, rel=1e-3)
    assert torch.equal(searchable.logits, before)


class _Loss(torch.nn.Module):
    def __init__(self, searchable: Any) -> None:
        super().__init__()
        self.searchable = searchable

    def forward(self) -> torch.Tensor:
        return loss(self.searchable, "search data")


@pytest.mark.parametrize("suite", [OnOwn, OnAutoDeepLab])
def test_it_is_logged_and_changes_nothing(suite: type[OnEGNAS], tmp_path: Path) -> None:
    ends = []
    for stops in ((HessianEigenvalue(ratio=None, iterations=3),), ()):
        made = OnOwn() if suite is OnOwn else suite()
        searchable = OnOwn.searchable(made) if suite is OnOwn else _searchable(made)
        made.search(searchable, tmp_path, learner=DARTS(stops=stops), max_epochs=2)
        ends.append(searchable.logits.detach().clone())
        if stops:
            assert len(stops[0].values) == 2
            assert composition.figures(DARTS(stops=stops)) == {"search_eigenvalue": stops[0].values[-1]}
    assert torch.equal(*ends)


def _searchable(made: Any) -> Any:
    torch.manual_seed(0)
    return made.space(None).searchable(made.task())


def test_a_search_whose_eigenvalue_grows_ends_with_the_logits_of_before(tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    class Look(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            seen.append(searchable.logits.detach().clone())

    made = OnOwn(Growing(window=2, iterations=2))
    searchable = made.searchable()
    module = made.search(searchable, tmp_path, Look(), max_epochs=9)
    assert module.trainer.current_epoch == 4
    assert len(seen) == 4
    assert torch.equal(searchable.logits, seen[1])
    assert torch.equal(searchable.logits, seen[3]), "it is set back when it stops"


class Save(pl.Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 1:
            trainer.save_checkpoint(self.path)


def test_a_killed_search_goes_on_to_the_same_eigenvalues(tmp_path: Path) -> None:
    found = []
    for killed in (False, True):
        stop = HessianEigenvalue(ratio=None, iterations=2)
        made = OnOwn(stop)
        searchable = made.searchable()
        folder = tmp_path / str(killed)
        if killed:
            checkpoint = tmp_path / "second.ckpt"
            made.search(searchable, folder, Save(checkpoint), max_epochs=3)
            stop = HessianEigenvalue(ratio=None, iterations=2)
            made = OnOwn(stop)
            searchable = made.searchable()
            made.search(searchable, folder, checkpoint=checkpoint, max_epochs=3)
        else:
            made.search(searchable, folder, max_epochs=3)
        found.append((stop.values, searchable.logits.detach().clone()))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("strategy", [RandomSearch, SNAS, GDAS])
def test_strategies_without_a_mixture_on_search_data_are_refused(strategy: Any) -> None:
    made = strategy(stops=[HessianEigenvalue()])
    with pytest.raises(ValueError, match=f"the loss of a mixture on search data, and {strategy.__name__} has none"):
        composition.check(made, [made.relaxation()])


def test_what_is_no_list_of_stops_is_named() -> None:
    with pytest.raises(ValueError, match=r"stops is a list of names, or of stops; got 'eigenvalue'; write \["):
        make_stops("eigenvalue")
    with pytest.raises(ValueError, match="neither a registered name nor a Stop"):
        ArchitectureSearch(DARTS(stops=[3]))
