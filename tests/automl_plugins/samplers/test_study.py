"""Samplers of ours in the study and on its command line, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from automl_plugins.cli import main
from automl_plugins.studies.study import Study


@pytest.mark.parametrize("name", ["controller", "evolution", "predictor", "reinforce"])
def test_a_study_searches_with_a_registered_sampler_and_goes_on_as_if_never_stopped(
    name: str, make_study: Callable[..., Study], tmp_path: Path
) -> None:
    config = {"class_path": name, "init_args": {"evolution": {"population": 3, "tournament": 2}}.get(name, {})}
    whole = make_study(sampler=config, trials=6, folder=tmp_path / "whole")
    whole.run()
    make_study(sampler=config, trials=3, folder=tmp_path / "parts").run()
    parts = make_study(sampler=config, trials=6, folder=tmp_path / "parts")
    parts.run()
    first, second = ([trial.params for trial in study.arm_trials("search")] for study in (whole, parts))
    assert first == second
    assert len({tuple(sorted(parameters.items())) for parameters in first}) == 6


def test_a_sampler_s_arguments_follow_its_name_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["study", "--space", "agnn", "--data", "freesolv", "--sampler", "evolution"]
    assert main([*arguments, "--sampler.population", "7", "--print_config"]) == 0
    sampler = yaml.safe_load(capsys.readouterr().out)["sampler"]
    assert sampler == {"class_path": "evolution", "init_args": {"population": 7}}
    assert main([*arguments, "--sampler.populatio", "7", "--print_config"]) == 2
    assert "did you mean 'population'" in capsys.readouterr().err
    assert main([*arguments, "--sampler.population", "many", "--print_config"]) == 2
    assert "sampler.population is an integer" in capsys.readouterr().err
