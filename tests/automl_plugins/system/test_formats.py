"""What a run keeps says who wrote it, and what this version cannot read names one that can."""

from __future__ import annotations

import json

import pytest

from automl_plugins.errors import FormatError, StudyError
from automl_plugins.report.search import SearchSummary
from automl_plugins.report.summary import Summary
from automl_plugins.system.formats import FORMAT, stamp, unstamped

KEPT = [
    Summary("agnn", "CoraData", "val_accuracy", "maximize", [], {}, [1, 2]),
    SearchSummary("agnn", "CoraData", "darts", 1, 2, 3.0, 4.0, 5, 6, {"val_loss": 0.5}),
]


def test_a_stamp_comes_off_again() -> None:
    assert stamp()["format"] == FORMAT
    assert unstamped({**stamp(), "seed": 3}, "it") == {"seed": 3}


@pytest.mark.parametrize("kept", KEPT, ids=["summary", "search"])
def test_tables_say_who_wrote_them(kept: Summary | SearchSummary) -> None:
    text = kept.to_json()
    assert json.loads(text).items() >= stamp().items()
    assert type(kept).from_json(text) == kept
    without = {name: value for name, value in json.loads(text).items() if name not in stamp()}
    with pytest.raises(FormatError, match=r"written by automl-plugins 0\.1 .*`pip install 'automl-plugins<0\.2'`"):
        type(kept).from_json(json.dumps(without))


def test_a_refusal_is_caught_as_an_error_of_studies_and_of_values() -> None:
    for kind in (StudyError, ValueError):
        with pytest.raises(kind, match=r"it was written by automl-plugins 3\.1 .*format 7.*'automl-plugins==3\.1'"):
            unstamped({"format": 7, "version": "3.1"}, "it")
