"""What a run's folder keeps, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from automl_plugins.report.page.curves import best_so_far
from automl_plugins.studies.kept_run import KeptRun

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_curve_of_a_study_goes_to_its_best_trial_whichever_way_is_better(
    direction: str, make_study: Any, tmp_path: Path
) -> None:
    make_study(monitor="val_loss", direction=direction, random_search=True, trials=4).run()
    run, maximize = KeptRun.at(tmp_path / "run"), direction == "maximize"
    assert (run.kind, run.has_ended, run.metric, run.maximizes) == ("study", True, "val_loss", maximize)
    for trials in run.arms.values():
        costs, values = best_so_far(trials, "trials", run.maximizes)
        scores = [trial.values[0] for trial in trials]
        assert values[-1] == (max(scores) if maximize else min(scores))
        assert costs[-1] == len(trials)
        assert sorted(values, reverse=not maximize) == values
