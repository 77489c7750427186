"""A study of data alone: rules choose the rest by the data's level and size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from automl_plugins.cli import main
from automl_plugins.registry import names
from automl_plugins.studies.defaults import SPACES, DataFacts, chosen
from gnn_space.data.descriptors import recommended_descriptors

TARGET = ["--data.smiles_column", "smiles", "--data.target_columns", "y"]
FEW = ["--data", "cluster", "--data.num_train", "12", "--data.num_val", "2", "--data.num_test", "2"]


def facts(level: str = "graph", samples: int = 902, pixels: int = 0, **given: Any) -> DataFacts:
    others = {"batch_size": 64, "batches": 15, "sets_batch_size": True, "on_accelerator": False}
    return DataFacts(level, samples, pixels, **{**others, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # ESOL's 902 molecules: 29 steps an epoch, and chemprop's 1,500 in all.
        (facts(), {"space": "gnn-plus", "data.batch_size": 32, "trainer.max_epochs": 52, "trial_epochs": 13}),
        (facts(samples=10_000), {"data.batch_size": 128, "trainer.max_epochs": 19}),
        (facts(samples=100), {"data.batch_size": 16, "trainer.max_epochs": 100}),
        # Cora: one graph, 200 steps.
        (facts("node", 1, batches=1, sets_batch_size=False), {"trainer.max_epochs": 200, "trial_epochs": 200}),
        (facts("node", 1, batches=10, sets_batch_size=False), {"trainer.max_epochs": 20}),
        # Images of a quarter of a million pixels, two to a batch; a few small ones, a tenth of them.
        (facts("pixel", 400, 2**18), {"space": "smp-decoder", "data.batch_size": 2, "trials": 16, "seeds": 3}),
        (facts("pixel", 76, 197 * 233), {"data.batch_size": 4, "trainer.max_epochs": 26, "pruner": None}),
        (facts("pixel", 76, 197 * 233, on_accelerator=True), {"trainer.max_epochs": 100}),
        (facts("image", 4_000, 32 * 32), {"space": "smp", "data.batch_size": 16, "limits": {"references": 4}}),
        # A batch size that was given stays, and counts.
        (facts(sets_batch_size=False, batches=451), {"trainer.max_epochs": 10}),
    ],
    ids=str,
)
def test_the_rules_of_each_level(data: DataFacts, expected: dict[str, Any]) -> None:
    assert chosen(data).items() >= expected.items()


@settings(max_examples=200, deadline=None)
@given(
    level=st.sampled_from(sorted(SPACES)),
    samples=st.integers(1, 10**7),
    pixels=st.integers(0, 10**8),
    on_accelerator=st.booleans(),
)
def test_whatever_the_size_a_study_can_be_made_of_it(
    level: str, samples: int, pixels: int, on_accelerator: bool
) -> None:
    found = chosen(facts(level, samples, pixels, on_accelerator=on_accelerator))
    assert found["space"] in names("spaces")
    assert 2 <= found["data.batch_size"] <= 128
    assert 2 <= found["trial_epochs"] <= found["trainer.max_epochs"] <= 200
    pruner = found.get("pruner")
    assert pruner is None or 0 < pruner["init_args"]["n_warmup_steps"] < found["trial_epochs"]


def test_the_sampler_follows_from_the_trials_their_length_and_the_points_of_the_space() -> None:
    assert chosen(facts(), trials=60)["sampler"] == "predictor"
    few = chosen(facts(), trials=59)
    assert few["sampler"] == "priorband"
    assert "pruner" not in few, "it comes with its own"
    assert chosen(facts(samples=10**6))["sampler"] == "TPESampler", "trials of two epochs are too short for Hyperband"
    assert chosen(facts("image", 4_000, 32 * 32))["sampler"] == "TPESampler", "the space has no points"
    asked = chosen(facts(), asked="TPESampler")
    assert (asked["sampler"], asked["pruner"]["class_path"]) == ("TPESampler", "MedianPruner")


def test_training_settings_are_searched_round_the_modules_defaults() -> None:
    tuned = chosen(facts(defaults={"learning_rate": 5e-3, "weight_decay": 5e-4, "dropout": 0.5}))["tune"]
    assert tuned == {
        "module.learning_rate": {"low": 1.6e-3, "high": 1.6e-2, "log": True},
        "module.weight_decay": {"low": 5e-5, "high": 5e-3, "log": True},
    }
    without = chosen(facts(defaults={"weight_decay": 0.0}))["tune"]
    assert without == {"module.weight_decay": [0.0, 1e-5, 1e-4, 1e-3]}
    assert "tune" not in chosen(facts()), "a module of one's own"


# On the command line.


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def printed(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[dict[str, Any], str]:
    assert main(["study", *flags, "--print_config"]) == 0
    out, err = capsys.readouterr()
    return yaml.safe_load(out), err


def test_data_alone_are_enough_and_what_was_chosen_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    config, said = printed(capsys, *FEW)
    assert config["space"]["class_path"] == "gnn_space.gnn_plus.space.GNNPlusSpace"
    assert config["data"]["init_args"]["batch_size"] == 16
    assert config["trainer"] == {"max_epochs": 100}
    assert (config["trials"], config["trial_epochs"], config["seeds"]) == (40, 25, 5)
    assert config["sampler"] == "priorband"
    assert config["pruner"] is None
    assert config["tune"]["module.learning_rate"] == {"low": 1.6e-3, "high": 1.6e-2, "log": True}
    assert said.count("\n") == 1
    assert said.startswith(
        "automl-plugins study: chooses for 12 training samples of level node: space=gnn-plus, data.b"
    )


def test_what_is_given_stays(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(
        yaml.safe_dump({"trainer": {"accelerator": "cpu", "max_epochs": 7}, "pruner": "NopPruner"})
    )
    flags = ["--config", "mine.yaml", *FEW, "--data.batch_size", "3", "--trials", "5", "--seeds", "2"]
    config, said = printed(capsys, *flags)
    assert config["trainer"] == {"accelerator": "cpu", "max_epochs": 7}
    assert (config["trials"], config["seeds"], config["data"]["init_args"]["batch_size"]) == (5, 2, 3)
    assert config["pruner"] == "NopPruner"
    assert not any(word in said for word in ("trials=", "seeds=", "batch_size", "max_epochs", "pruner"))
    config, _ = printed(capsys, *FEW, "--module.learning_rate", "0.01")
    assert config["tune"].keys() == {"module.weight_decay"}
    config, _ = printed(capsys, *FEW, "--tune", '{"data.batch_size": [2, 4]}')
    assert config["tune"] == {"data.batch_size": [2, 4]}


def test_molecules_are_read_with_descriptors_unless_they_were_given(capsys: pytest.CaptureFixture[str]) -> None:
    molecules = [f"{'C' * n}O,{n / 10}" for n in range(1, 41)]
    Path("mine.csv").write_text("\n".join(["smiles,y", *molecules]) + "\n")
    flags = ["--data", "smiles", "--data.path", "mine.csv", *TARGET]
    config, said = printed(capsys, *flags)
    assert config["data"]["init_args"]["descriptors"] == ["rdkit"]
    assert "data.descriptors=['rdkit']" in said
    config, said = printed(capsys, *flags, "--data.descriptors", "[]")
    assert config["data"]["init_args"]["descriptors"] == []
    assert "descriptors" not in said
    config, said = printed(capsys, *flags, "--space", "agnn")
    assert not config["data"]["init_args"].get("descriptors"), "with a space nothing is chosen"
    written = {"data": {"class_path": "smiles", "init_args": {"path": "mine.csv", "descriptors": ["morgan"]}}}
    Path("mine.yaml").write_text(yaml.safe_dump(written))
    config, _ = printed(capsys, "--config", "mine.yaml", *TARGET)
    assert config["data"]["init_args"]["descriptors"] == ["morgan"]


def test_of_many_molecules_descriptors_would_take_too_long() -> None:
    assert recommended_descriptors(20_000) == ("rdkit",)
    assert recommended_descriptors(20_001) == ()


def test_with_a_space_nothing_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    config, said = printed(capsys, *FEW, "--space", "agnn", "--trainer.max_epochs", "3")
    assert (config["trials"], config["trial_epochs"], said) == (50, None, "")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "data is missing"),
        (["--data", "npz-graph", "--data.path", "missing.npz"], "data.path='missing.npz': there is no such file"),
        (["--data", "clusters"], "'clusters'"),
    ],
    ids=str,
)
def test_mistakes_are_one_line(flags: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", *flags]) in (1, 2)
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_a_sampler_that_comes_with_a_pruner_keeps_it(capsys: pytest.CaptureFixture[str]) -> None:
    config, said = printed(capsys, *FEW, "--sampler", "priorband")
    assert config["pruner"] is None
    assert "pruner" not in said
    config, _ = printed(capsys, *FEW, "--sampler", "priorband", "--pruner", "MedianPruner")
    assert config["pruner"] == "MedianPruner"
