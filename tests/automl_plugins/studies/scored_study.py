"""Studies on a few molecules whose trainings are real, and whose scores are what a test says."""

from __future__ import annotations

import io
from typing import Any

import torch
from rich.console import Console
from torch import nn

from automl_plugins.report.summary import Summary
from automl_plugins.studies.study import Study
from gnn_space import AGNNSpace, GraphRegression
from gnn_space.data import FreesolvData

DATA = FreesolvData(batch_size=16)


def parameters_of(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


class Scored(GraphRegression):
    """Real trainings whose score is what a test says: by default, the smaller the network the better."""

    scores: dict[str, float] = {}  # noqa: RUF012 - tests set it
    broken: set[int] = set()  # noqa: RUF012
    """Networks of these many parameters fail in their last epoch of a final training."""

    @property
    def count(self) -> int:
        return parameters_of(self.network)

    @property
    def is_final(self) -> bool:
        return self.trainer.max_epochs == 2

    def on_train_epoch_end(self) -> None:
        if self.is_final and self.current_epoch == 1 and self.count in self.broken:
            raise RuntimeError("CUDA out of memory (say)")

    def on_validation_epoch_end(self) -> None:
        name = type(self.network).__name__
        self.log("val_score", torch.tensor(self.scores.get(name, 1 / self.count) + 1e-9 * float(torch.rand(()))))

    def on_test_epoch_end(self) -> None:
        self.log("test_score", torch.tensor(self.scores.get("test", 0.5)))


SETTINGS: dict[str, Any] = {
    "data": DATA,
    "module": Scored,
    "monitor": "val_score",
    "direction": "maximize",
    "trials": 5,
    "trial_epochs": 1,
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "limit_train_batches": 1, "limit_val_batches": 1},
    "random_search": False,
    "references": [],
    "references_first": False,
    "finalists": 2,
    "seeds": 2,
}
"""Of a study of AGNN's space, in two batches."""


def space() -> AGNNSpace:
    return AGNNSpace(layers=1, max_parameters=100_000)


def is_final() -> bool:
    """Whether this is a final training: their seeds follow the study's 0, and, for those that choose, a million."""
    return torch.initial_seed() % 1_000_000 in (1, 2) or torch.initial_seed() == 1_000_000


def ranked(study: Study) -> list[int]:
    """The numbers of parameters of the study's different architectures, the best of its trials first."""
    trials = study.arm_trials("search")
    return sorted({trial.user_attrs["params"] for trial in trials if trial.value is not None})


def printed(summary: Summary) -> str:
    console = Console(width=220, file=io.StringIO())
    console.print(summary.table())
    return console.file.getvalue()  # type: ignore[attr-defined]
