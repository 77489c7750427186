"""The learning rate of logits where none is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
from search_project import LitUser, UserData, differing, state
from test_resume import Keep

from automl_plugins.search import ArchitectureSearch
from automl_plugins.search.rate import rate_for


@pytest.mark.parametrize(
    ("steps", "epochs", "warmup", "rate"),
    [
        (19_550, 50, 0, 3e-4),  # DARTS' own search
        (1_000_000, 50, 0, 3e-4),
        (195.5, 10, 0, 3e-2),
        (391, 10, 5, 3e-2),  # only the second half moves the logits
        (2, 1, 0, 0.1),
        (math.inf, -1, 0, 3e-4),
        (10, 2, 2, 3e-4),
    ],
)
def test_logits_can_move_as_far_as_those_of_darts(steps: float, epochs: int, warmup: int, rate: float) -> None:
    trainer = SimpleNamespace(estimated_stepping_batches=steps, max_epochs=epochs)
    assert rate_for(trainer, warmup) == pytest.approx(rate)


def searched(trainer: Callable[..., pl.Trainer], strategy: str, **options: Any) -> Any:
    search = ArchitectureSearch(strategy, **options)
    trainer(search).fit(LitUser(), datamodule=UserData())
    assert search.run is not None
    return search


def test_a_search_without_a_rate_has_one_by_its_length(
    trainer: Callable[..., pl.Trainer],
) -> None:
    search = searched(trainer, "darts")
    (group,) = search.run.present_learner.optimizer.param_groups
    assert group["lr"] == pytest.approx(min(0.1, 19_550 * 3e-4 / search.steps))


def test_what_is_given_stays_and_a_strategy_may_have_its_own(trainer: Callable[..., pl.Trainer]) -> None:
    (given,) = searched(trainer, "darts", learning_rate=0.02).run.present_learner.optimizer.param_groups
    (own,) = searched(trainer, "gaea").run.present_learner.optimizer.param_groups
    assert (given["lr"], own["lr"]) == (0.02, 0.1)


def test_a_search_that_goes_on_keeps_its_rate(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    def run(*callbacks: pl.Callback, path: Path | None = None) -> Any:
        pl.seed_everything(1, verbose=False)
        module, search = LitUser(), ArchitectureSearch()
        trainer(search, *callbacks, max_epochs=3).fit(module, datamodule=UserData(), ckpt_path=path)
        return state(module)

    whole = run(Keep(tmp_path, ("epoch",)))
    assert differing(run(path=min(tmp_path.glob("*.ckpt"))), whole) == []
