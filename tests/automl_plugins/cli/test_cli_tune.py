"""Tuned settings in a config, and in the commands that take a result up: over the run's config, and below flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from automl_plugins.cli import main

pytestmark = pytest.mark.filterwarnings("ignore")
CONFIG = """
space: {class_path: agnn, init_args: {layers: 1, max_parameters: 10000}}
data: {class_path: cluster, init_args: {num_train: 4, num_val: 2, num_test: 2, batch_size: 2}}
tune: {module.learning_rate: {low: 1e-4, high: 1e-2, log: true}, data.batch_size: [1, 4]}
trials: 2
random_search: false
references: []
finalists: 1
seeds: 1
trainer: {max_epochs: 1, accelerator: cpu}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "tuned.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["study", "--config", "tuned.yaml"]) == 0
    return folder / "runs" / "tuned"


def settings(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "settings.json").read_text())
    return found


def printed(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*command, "--print_config"]) == 0
    found: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return found


def of(config: dict[str, Any]) -> dict[str, Any]:
    """The tuned settings as a whole configuration has them."""
    return {
        "module.learning_rate": config["model"]["module_arguments"]["learning_rate"],
        "data.batch_size": config["data"]["init_args"]["batch_size"],
    }


def test_a_run_is_shown_with_its_settings(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(run)]) == 0
    shown = capsys.readouterr().out
    assert f" was trained with module.learning_rate={settings(run)['module.learning_rate']:.3g}" in shown
    number = json.loads((run / "winner.json").read_text())["label"].rpartition(" ")[2]
    assert main(["show", str(run), "--trial", number]) == 0
    assert "module.learning_rate" in capsys.readouterr().out


def test_another_tuning_is_refused_in_the_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["study", "--config", str(run / "config.yaml")]
    assert main([*command, "--tune", "{data.batch_size: [1, 4]}"]) == 2
    assert "was begun with" in capsys.readouterr().err
    assert main([*command, "--tune", "{data.batchsize: [1, 4]}"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "tune.data.batchsize: ClusterData takes no such argument; did you mean 'batch_size'?" in told


def test_each_setting_may_be_a_flag_over_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tuned.yaml").write_text(CONFIG)
    command = ["study", "--config", str(tmp_path / "tuned.yaml")]
    flags = ["--tune.data.batch_size", "[2, 4]", "--tune.module.weight_decay", "[0, 1e-5]"]
    assert printed(capsys, *command, *flags)["tune"] == {
        "module.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "data.batch_size": [2, 4],
        "module.weight_decay": [0, 1e-5],
    }


@pytest.mark.parametrize("by", ["architecture", "config"])
def test_fit_trains_with_the_settings_unless_a_flag_says_otherwise(
    by: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fit", f"--{by}", str(run / {"architecture": "architecture.json", "config": "config.yaml"}[by])]
    assert of(printed(capsys, *command)) == settings(run)
    found = of(printed(capsys, *command, "--module.learning_rate", "0.5"))
    assert found == {**settings(run), "module.learning_rate": 0.5}
    assert capsys.readouterr().err == ""


def test_a_sampler_of_ours_and_its_arguments_may_be_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tuned.yaml").write_text(CONFIG)
    flags = ("--sampler.class_path", "predictor", "--sampler.init_args.startup", "5", "--sampler.seed=3")
    config = printed(capsys, "study", "--config", str(tmp_path / "tuned.yaml"), *flags)
    assert config["sampler"] == {"class_path": "predictor", "init_args": {"startup": 5, "seed": 3}}


def test_another_config_says_all(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = yaml.safe_load(CONFIG) | {"module": {"learning_rate": 0.25}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    command = ["fit", "--architecture", str(run / "architecture.json"), "--config", str(tmp_path / "other.yaml")]
    assert main([*command, "--print_config"]) == 0
    captured = capsys.readouterr()
    assert of(yaml.safe_load(captured.out)) == {"module.learning_rate": 0.25, "data.batch_size": 2}
    assert "settings.json is not used, since another --config is given" in captured.err


def test_evaluate_trains_with_the_settings(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags, expected in (
        ([], settings(run)),
        (["--module.learning_rate", "0.5"], {"data.batch_size": settings(run)["data.batch_size"]}),
    ):
        folder = tmp_path / str(len(flags))
        assert main(["evaluate", str(run), "--seeds", "1", "--folder", str(folder), *flags]) == 0
        assert json.loads((folder / "summary.json").read_text())["rows"][0]["settings"] == expected


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"trainer.max_epochs": 3}', '{"module.loss": {"class_path": "os.abort"}}']
)
def test_damaged_settings_are_refused_in_one_line(
    content: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("architecture.json", "config.yaml"):
        (tmp_path / name).write_text((run / name).read_text())
    (tmp_path / "settings.json").write_text(content)
    assert main(["fit", "--architecture", str(tmp_path / "architecture.json")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "settings.json" in told
