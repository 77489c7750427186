"""The line at the end of a search that says what it knew of what it found."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from perceptron_space.space import PerceptronSpace
from scipy.stats import kendalltau
from search_project import TASK, LitUser, UserData

from automl_plugins.decoders import BestSampled, Evaluation, MostLikely
from automl_plugins.search import ArchitectureSearch, report
from automl_plugins.search.knowledge import Knowledge, _tau
from automl_plugins.supernets.searchable import Searchable

HOUR = 3600.0


def told(
    monkeypatch: pytest.MonkeyPatch, decoder: Any, loss_of: Callable[[Searchable, int], float | None], **given: Any
) -> str:
    lines: list[str] = []
    monkeypatch.setattr(report, "line", lines.append)
    searchable = PerceptronSpace(widest=64).searchable(TASK).eval()
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cpu")), world_size=1)
    evaluate = Evaluation(lambda batch: loss_of(searchable, batch), given.pop("batches", 4))
    before = searchable.logits.detach().clone()
    known = Knowledge(trainer, evaluate, decoder, given.pop("learns_logits", True), given.pop("seconds", HOUR))
    known.tell("net", searchable, searchable.architecture())
    assert torch.equal(before, searchable.logits)
    return "\n".join(lines)


def width(searchable: Searchable, batch: int) -> float:
    """Wider first layers are worse, the same on all batches."""
    row = next(row for row, each in enumerate(searchable.choices) if each.name == "layer0.width")
    return float(searchable.gates().matrix.detach()[row].argmax())


def opposed(searchable: Searchable, batch: int) -> float:
    """One half of the batches prefers what the other half does not."""
    return width(searchable, batch) * (1 if batch % 2 else -1)


def test_it_is_compared_with_random_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    def best(searchable: Searchable, batch: int) -> float:
        return 0.25 if searchable.gates().matrix.equal(best_gates) else 1.0

    searchable = PerceptronSpace(widest=64).searchable(TASK)
    best_gates = searchable.space.gates(searchable.architecture()).matrix
    line = told(monkeypatch, MostLikely(), best)
    ahead, of = map(
        int, re.findall(r"its loss with shared weights, 0.25, is below that of (\d+) of (\d+) random", line)[0]
    )
    assert of - 1 <= ahead <= of
    assert "entropy 1.000 of 1" in line
    assert "choices agree" not in line, "no half of the data changes what logits stand for"


def test_halves_that_agree_are_told_from_halves_that_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    alike = told(monkeypatch, BestSampled(samples=60), width)
    assert "order these alike by tau 1.00" in alike
    same, of = map(int, re.findall(r"decoded on either half, (\d+) of (\d+) choices agree", alike)[0])
    assert same == of
    other = told(monkeypatch, BestSampled(samples=60), opposed)
    assert "order these alike by tau -1.00" in other
    same, of = map(int, re.findall(r"decoded on either half, (\d+) of (\d+) choices agree", other)[0])
    assert same < of


def test_what_would_take_long_or_has_no_data_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, MostLikely(), width, seconds=0.0) == "what the search knew of net: entropy 1.000 of 1"
    assert told(monkeypatch, MostLikely(), width, batches=0) == "what the search knew of net: entropy 1.000 of 1"
    assert told(monkeypatch, MostLikely(), lambda *_: float("nan"), learns_logits=False) == ""


def test_a_step_that_needs_gradients_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> float:
        raise RuntimeError("element 0 does not require grad\nand more")

    line = told(monkeypatch, MostLikely(), failing)
    assert line.endswith("could not be compared: the step failed without gradients (element 0 does not require grad)")


def test_a_search_ends_with_it(trainer: Callable[..., pl.Trainer], monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(report, "line", lines.append)
    monkeypatch.setattr("automl_plugins.search.progress.SearchProgress.seconds", HOUR)
    trainer(ArchitectureSearch("darts", decoder=BestSampled(samples=5)), max_epochs=1).fit(LitUser(), UserData())
    (line,) = [line for line in lines if "what the search knew of net" in line]
    assert "random ones" in line
    assert "choices agree" in line


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_the_order_is_compared_as_scipy_does(pairs: list[tuple[int, int]]) -> None:
    first, second = zip(*pairs, strict=True)
    expected = float(kendalltau(first, second).statistic)
    assert _tau(first, second) == pytest.approx(0.0 if math.isnan(expected) else expected)
