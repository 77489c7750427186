from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from automl_plugins import Architecture
from automl_plugins.cli import main

# What one training says of loggers, intervals and devices is not this file's subject.
pytestmark = pytest.mark.filterwarnings("ignore")

SMALL = """
space: {class_path: agnn, init_args: {layers: 1, dropout: 0.0, max_parameters: 10000}}
data: {class_path: cluster, init_args: {num_train: 4, num_val: 2, num_test: 2, batch_size: 2, seed: 1}}
trials: 2
trial_epochs: 1
random_search: false
references: [gcn]
finalists: 1
seeds: 1
trainer: {max_epochs: 1}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are run: it holds `small.yaml` and its run, `runs/small`."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "small.yaml").write_text(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["study", "--config", "small.yaml"]) == 0
    return folder


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that succeeds prints."""
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


# The way in.


def test_help_comes_without_torch() -> None:
    code = "import sys; from automl_plugins.cli import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("usage: automl-plugins")
    assert ran.stdout.endswith("False\n")


def test_the_installed_script_runs() -> None:
    script = Path(sys.executable).with_name("automl-plugins")
    ran = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("automl-plugins 0.")


def test_alone_it_prints_the_help_and_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: automl-plugins" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["study", "show", "evaluate", "list", "fit", "test"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "usage: automl-plugins" in said(capsys, command, "--help")


# study


def test_a_study_keeps_what_it_found(folder: Path) -> None:
    run = folder / "runs" / "small"
    kept = {path.name for path in run.iterdir()}
    assert {"config.yaml", "architecture.json", "network.pt", "module.ckpt", "trials.csv", "summary.json"} <= kept
    assert json.loads((run / "summary.json").read_text())["searches"]["search"]["trials"] == 2


def test_the_same_command_again_repeats_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    # With times to a thousandth of a second, a training that was repeated would show.
    before = Path("runs/small/trials.csv").read_text()
    assert "test_accuracy" in said(capsys, "study", "--config", "small.yaml")
    assert Path("runs/small/trials.csv").read_text() == before


def test_the_kept_config_goes_on_with_the_same_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert "2 trials" in said(capsys, "study", "--config", "runs/small/config.yaml")


def test_a_study_may_go_on_with_more_trials_but_not_with_another_space(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--config", "small.yaml", "--space.layers", "3"]) == 2
    error = capsys.readouterr().err
    assert "space.init_args.layers=3" in error
    assert "begun with 1" in error
    assert "--folder" in error
    assert error.count("\n") == 1


def test_print_config_is_whole_and_starts_the_same_run(capsys: pytest.CaptureFixture[str]) -> None:
    whole = yaml.safe_load(said(capsys, "study", "--config", "small.yaml", "--print_config"))
    kept = yaml.safe_load(Path("runs/small/config.yaml").read_text())
    assert whole | {"folder": str(Path("runs/small").absolute())} == kept, "what is kept does not depend on the folder"
    assert whole["space"]["init_args"]["skip_connections"] is False
    assert whole["max_equal_failures"] == 3


@pytest.mark.parametrize(
    ("flags", "path", "expected"),
    [
        (["--space.layers", "3"], ("space", "init_args", "layers"), 3),
        (["--space.init_args.layers=3"], ("space", "init_args", "layers"), 3),
        (["--space", "AGNNSpace"], ("space", "class_path"), "gnn_space.agnn.space.AGNNSpace"),
        (["--data", "gnn_space.data.PatternData"], ("data", "class_path"), "gnn_space.data.PatternData"),
        (["--data", "pattern"], ("data", "init_args", "num_train"), 10_000),  # another class, its own defaults
        (["--module", "NodeClassification", "--module.learning_rate", "1e-2"], ("module", "init_args"), None),
        (["--module", "node-classes"], ("module", "class_path"), "gnn_space.NodeClassification"),
        (["--folder", "2024"], ("folder",), "2024"),
        (["--references", "[gcn, gat]"], ("references",), ["gcn", "gat"]),
        (["--trial_epochs", "null"], ("trial_epochs",), None),
        (["--trainer.max_epochs", "7"], ("trainer", "max_epochs"), 7),
        (["--sampler.n_startup_trials", "5"], ("sampler", "init_args"), {"n_startup_trials": 5}),
        (["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val_loss"], ("trainer",), None),
    ],
)
def test_flags_come_over_the_file(
    flags: list[str], path: tuple[str, ...], expected: object, capsys: pytest.CaptureFixture[str]
) -> None:
    value = yaml.safe_load(said(capsys, "study", "--config", "small.yaml", *flags, "--print_config"))
    for key in path:
        value = value[key]
    if path == ("module", "init_args"):
        assert value["learning_rate"] == 0.01
    elif path == ("trainer",):
        assert value["callbacks"][0]["init_args"]["monitor"] == "val_loss"
    else:
        assert value == expected


def test_later_files_come_over_earlier_ones(capsys: pytest.CaptureFixture[str]) -> None:
    Path("more.yaml").write_text("trials: 9\nspace: {init_args: {layers: 4}}\n")
    whole = yaml.safe_load(said(capsys, "study", "--config", "small.yaml", "--config", "more.yaml", "--print_config"))
    assert (whole["trials"], whole["space"]["init_args"]["layers"]) == (9, 4)
    assert whole["space"]["init_args"]["max_parameters"] == 10_000


@pytest.mark.parametrize("example", ["solubility", "cora"])
def test_the_examples_are_valid(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[3] / "examples" / f"{example}.yaml"
    Path("graph.npz").touch()
    flags = ["--data.path", "graph.npz"] if example == "cora" else []
    assert said(capsys, "study", "--config", str(path), *flags, "--print_config").startswith("space:")


def test_settings_that_do_not_fit_the_data_end_it_before_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--config", "small.yaml", "--folder", "runs/g", "--module", "GraphRegression"]) == 1
    assert "GraphRegression trains graph-level tasks" in capsys.readouterr().err
    assert not Path("runs/g/study.journal").exists()


def test_references_of_another_level_are_refused_before_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--config", "small.yaml", "--references", "[gcn, unet]", "--folder", "runs/levels"]) == 1
    # A busy machine says beside it that it takes long.
    (told,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("automl-plugins"))
    assert told.startswith("automl-plugins study: the module cannot be made with the reference 'unet'")
    assert "level 'pixel'" in told


def test_arguments_of_the_default_module_need_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--module.learning_rate", "0.5", "--folder", "runs/default-module", "--references", "[]"]
    assert "winner" in said(capsys, "study", "--config", "small.yaml", *flags)
    module = yaml.safe_load(Path("runs/default-module/config.yaml").read_text())["module"]
    assert module == {"learning_rate": 0.5}
    assert "layer0" in said(capsys, "show", "runs/default-module")
    assert main(["evaluate", "runs/default-module", "--seeds", "1"]) == 0
    checkpoints = ["--trainer.logger", "false", "--trainer.enable_checkpointing", "false"]
    assert main(["fit", "--config", "runs/default-module/config.yaml", *checkpoints]) == 0


def test_an_argument_of_another_tasks_module_is_refused_before_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["study", "--config", "small.yaml", "--folder", "runs/another-module", "--module.loss", "dice"]
    assert main(command) == 1
    assert "module.loss='dice': a module of node-classes has none" in capsys.readouterr().err


def test_ctrl_c_ends_it_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(study: object, began: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("automl_plugins.studies.study.Study.run", interrupted)
    assert main(["study", "--config", "small.yaml"]) == 130
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("automl-plugins")]
    assert said[-1] == "automl-plugins study: stopped; the same command goes on from here"
    assert said[0].startswith("automl-plugins study: agnn on ClusterData: 2 trials of 1 epochs by TPESampler")
    assert len(said) == 2


# show


def test_show_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "show", "runs/small")
    assert "test_accuracy" in shown
    assert "search (TPESampler): 2 trials" in shown
    assert "layer0.attention" in shown


def test_show_saves_a_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "new" / "found.png"
    assert f"kept: {figure}" in said(capsys, "show", "runs/small", "--figure", str(figure))
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_figure_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "found.png"
    for target, code, reason in (
        ("agnn", 2, "'agnn' is a space; it has no architecture to draw"),
        (str(tmp_path), 1, "has no architecture to draw yet"),
        ("runs/nothing", 2, "there is no such file or folder"),
    ):
        assert main(["show", target, "--figure", str(figure)]) == code
        assert reason in capsys.readouterr().err
    assert not figure.exists()


def test_show_a_run_that_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("config.yaml", "study.journal"):
        (tmp_path / name).write_bytes(Path("runs/small", name).read_bytes())
    shown = said(capsys, "show", str(tmp_path))
    assert "2 of 2 trials done" in shown
    assert "the best so far" in shown


def test_show_one_trial(capsys: pytest.CaptureFixture[str]) -> None:
    assert "layer0.heads" in said(capsys, "show", "runs/small", "--trial", "0", "--arm", "search")


def test_a_mistake_that_the_data_show_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--monitor", "val_acc", "--direction", "maximize"]
    assert main(["study", "--config", "small.yaml", "--folder", str(tmp_path / "run"), *flags]) == 1
    assert "did you mean 'val_accuracy'?" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_show_a_failure_with_its_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*arguments: object, **options: object) -> None:
        raise ValueError("broken after the first batch")

    monkeypatch.setattr("automl_plugins.training.project.train", train)
    flags = ["--max_equal_failures", "1"]
    assert main(["study", "--config", "small.yaml", "--folder", str(tmp_path), *flags]) == 1
    assert "broken after the first batch" in capsys.readouterr().err.splitlines()[-1]
    failed = re.search(r"trial (\d+) of search failed: ValueError", said(capsys, "show", str(tmp_path)))
    assert failed is not None
    assert "Traceback (most recent call last)" in said(capsys, "show", str(tmp_path), "--trial", failed[1])


def test_show_a_space(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "show", "agnn", "--space.layers", "2")
    assert f"{14112**2:,} architectures" in shown
    assert "layer1.heads" in shown
    assert "sym-gat" in shown


def test_show_an_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    architecture = Architecture.from_json(Path("runs/small/architecture.json").read_text())
    shown = said(capsys, "show", "runs/small/architecture.json")
    assert f"{architecture['layer0.attention']} attention" in shown


def test_an_architecture_alone_needs_its_space(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = tmp_path / "found.json"
    alone.write_text(Path("runs/small/architecture.json").read_text())
    assert main(["show", str(alone)]) == 2
    assert "'layer1.hidden_channels' is missing" in capsys.readouterr().err
    assert "layer0.heads" not in said(capsys, "show", str(alone), "--space.layers", "1")


# evaluate


def test_evaluate_a_run_and_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "evaluate", "runs/small", "--seeds", "2", "--references", "[gcn]")
    assert "over 2 seeds" in shown
    assert "gcn" in shown
    results = sorted(Path("runs/small/evaluation/contenders").glob("*/*-train.json"))
    before = [path.stat().st_mtime_ns for path in results]
    assert len(results) == 4
    assert "over 2 seeds" in said(capsys, "evaluate", "runs/small/architecture.json", "--seeds", "2")
    assert [path.stat().st_mtime_ns for path in results] == before


def test_evaluate_trains_the_architecture_that_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    # Retraining some default instead, silently, is a bug that other projects have had.
    assert main(["evaluate", "runs/small", "--seeds", "1"]) == 0
    found, again = (
        next(Path(folder).glob("contenders/architecture-*/seed1-train.json"))
        for folder in ("runs/small", "runs/small/evaluation")
    )
    assert found.parent.name == again.parent.name
    assert json.loads(found.read_text())["score"] == json.loads(again.read_text())["score"]


def test_evaluate_beside_random_architectures(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("evaluate", "runs/small", "--seeds", "2", "--random", "3", "--folder", "runs/beside")
    shown = said(capsys, *arguments)
    assert "mean of 3 random ones" in shown
    assert "best of 3 random ones: random " in shown
    assert "is 0." in shown
    assert "one seed cannot tell" in shown, "of two seeds, the first has chosen the random one and judges nothing"
    summary = json.loads(Path("runs/beside/summary.json").read_text())
    trained = [json.loads(path.read_text()) for path in Path("runs/beside/contenders").glob("*/seed1-train.json")]
    found, mean, best = summary["rows"]
    assert found["seeds"] == best["seeds"] == 2
    assert len(trained) == 4
    total = sum(each["score"] for each in trained)
    own = json.loads(next(Path("runs/small").glob("contenders/architecture-*/seed1-train.json")).read_text())
    assert mean["validation_mean"] == pytest.approx((total - own["score"]) / 3)
    first = json.loads(Path("runs/beside", best["folder"], "seed1-train.json").read_text())["score"]
    others = [each["score"] for each in trained if each["score"] != own["score"]]
    assert first == (min if summary["direction"] == "minimize" else max)(others)


def test_evaluate_refuses_a_negative_number_of_random_architectures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "runs/small", "--random", "-1"]) == 2
    assert "random is at least 0; got -1" in capsys.readouterr().err


# list


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "list")
    for name in ("agnn", "TPESampler", "MedianPruner", "npz-graph", "node-classes", "appnp"):
        assert name in shown


def test_list_one_group(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "list", "spaces")
    assert "The space of Auto-GNN" in shown
    assert "TPESampler" not in shown


# fit


def test_fit_is_lightnings_and_its_checkpoint_opens(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--trainer.max_epochs=1", "--trainer.enable_progress_bar=false", "--trainer.default_root_dir=lit"]
    said(capsys, "fit", "--architecture", "runs/small/architecture.json", *flags)
    (checkpoint,) = Path("lit").glob("lightning_logs/version_0/checkpoints/*.ckpt")
    saved = "lit/lightning_logs/version_0/config.yaml"
    shown = said(capsys, "test", "--config", saved, "--ckpt_path", str(checkpoint))
    assert "test_accuracy" in shown

    from gnn_space import AGNNSpace, NodeClassification
    from gnn_space.data import ClusterData

    architecture = Architecture.from_json(Path("runs/small/architecture.json").read_text())
    task = ClusterData(num_train=1, num_val=1, num_test=1).task
    network = AGNNSpace(layers=1, dropout=0.0).network(architecture, task)
    module = NodeClassification.load_from_checkpoint(checkpoint, network=network, task=task)
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


def test_fit_takes_the_config_of_a_study(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--module", "NodeClassification", "--module.learning_rate", "0.1", "--print_config"]
    whole = yaml.safe_load(said(capsys, "fit", "--config", "runs/small/config.yaml", *flags))
    assert whole["model"]["architecture"] == str(Path("runs/small/architecture.json"))
    assert whole["model"]["module"]["init_args"]["learning_rate"] == 0.1
    assert whole["data"]["init_args"]["num_train"] == 4
    assert whole["trainer"]["max_epochs"] == 1


def test_the_data_that_have_changed_since_the_run_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--trainer.logger", "false", "--trainer.enable_checkpointing", "false"]
    for changed in (["--data.num_test", "4"], []):
        assert main(["test", "--config", "runs/small/config.yaml", *changed, *flags]) == 0
        told = capsys.readouterr().err
        assert ("the data are not those that the run in runs/small was of" in told) is bool(changed)


def test_predictions_are_kept_beside_the_logs(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "predict", "--architecture", "runs/small", "--trainer.default_root_dir", "predicted")
    kept = Path("predicted/lightning_logs/version_0/predictions.pt")
    assert f"kept: {kept}" in shown
    predictions = torch.load(kept, weights_only=True)
    assert len(predictions) == 1, "of two graphs, in one batch"
    assert predictions[0].shape[1] == 6


def test_a_winner_that_was_made_by_hand_is_evaluated_and_tested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "winner.json").write_text('{"label": "gcn", "reference": "gcn", "found_by": "hand"}')
    (tmp_path / "config.yaml").write_text(Path("runs/small/config.yaml").read_text())
    assert "test_accuracy" in said(capsys, "test", "--architecture", str(tmp_path))
    shown = said(capsys, "evaluate", str(tmp_path), "--seeds", "1", "--random", "1")
    assert "gcn" in shown
    (tmp_path / "winner.json").write_text('{"reference": "gcm"}')
    assert main(["test", "--architecture", str(tmp_path)]) == 2
    assert "did you mean 'gcn'?" in capsys.readouterr().err


def test_an_optimizer_takes_the_place_of_the_modules_own(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--optimizer", "SGD", "--optimizer.lr", "0.5", "--lr_scheduler", "StepLR", "--lr_scheduler.step_size", "1"]
    root = ["--trainer.default_root_dir", "replaced"]
    said(capsys, "fit", "--architecture", "runs/small/architecture.json", *flags, *root)
    (checkpoint,) = Path("replaced").glob("**/*.ckpt")
    state = torch.load(checkpoint, weights_only=True)
    assert state["optimizer_states"][0]["param_groups"][0]["momentum"] == 0
    assert state["lr_schedulers"][0]["step_size"] == 1
