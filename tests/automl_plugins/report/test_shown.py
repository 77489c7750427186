"""What notebooks show: pieces of HTML in which every name is text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from perceptron_space.space import PerceptronSpace

from automl_plugins import Architecture, SearchSpace, load_result
from automl_plugins.report.row import Row
from automl_plugins.report.search import SearchSummary
from automl_plugins.report.summary import Summary
from gnn_space import AGNNSpace, EGNASSpace, GNNPlusSpace
from seg_space import AutoDeepLabSpace, SmpSpace

HOSTILE = '<script>alert("1")</script>&$\\frac$'


@pytest.mark.parametrize("space", [AGNNSpace, EGNASSpace, GNNPlusSpace, AutoDeepLabSpace, SmpSpace, PerceptronSpace])
def test_a_space_and_its_architectures_are_tables_of_choices(space: type[SearchSpace]) -> None:
    made = space()
    architecture = made.sample(np.random.default_rng(0))
    assert all(f"<td>{choice.name}</td>" in made._repr_html_() for choice in made.choices[:60])
    options = [f"<td>{name}</td><td>{value}</td>" for name, value in architecture.items()]
    assert all(option in architecture._repr_html_() for option in options[:60])


def test_hostile_names_are_text_and_repr_stays_plain() -> None:
    architecture = Architecture(HOSTILE, 1, {HOSTILE: HOSTILE})
    row = Row(HOSTILE, 1, 2, 2, 0.5, 0.1, {HOSTILE: (0.5, None)}, 1.0, found_by=HOSTILE)
    summary = Summary("space", "data", HOSTILE, "minimize", [row], {}, [1, 2], winner=HOSTILE, verdict=[HOSTILE] * 2)
    search = SearchSummary(HOSTILE, HOSTILE, HOSTILE, 1, 1, 1.0, 1.0, 1, 1, {HOSTILE: 1.0})
    for each in (architecture, summary, search):
        html = each._repr_html_()
        assert "<script>" not in html
        assert "&lt;script&gt;" in html
        assert "<td>" not in repr(each)


@pytest.mark.filterwarnings("ignore")
def test_a_result_shows_its_drawing_its_scores_and_the_verdict(make_study: Any, tmp_path: Path) -> None:
    summary = make_study().run()
    found = load_result(tmp_path / "run")
    html = found._repr_html_()
    assert html.count("<svg") == 1
    assert "val_loss" in html
    assert summary.rows[0].label in summary._repr_html_()
