"""What a run keeps beside what its user has written: nothing of theirs is written over, wherever it is called from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from automl_plugins.cli import main
from automl_plugins.cli.record import is_ours, keep
from automl_plugins.studies.folder import OWN_CONFIG

pytestmark = pytest.mark.filterwarnings("ignore")

MINE = """# my notes: layers 3 was worse (see lab book, p. 12)
space: {class_path: agnn, init_args: {layers: 1, dropout: 0.0, max_parameters: 10000}}
data: {class_path: cluster, init_args: {num_train: 4, num_val: 2, num_test: 2, batch_size: 2}}
trials: 1
random_search: false
references: []
finalists: 1
seeds: 1
trainer: {max_epochs: 1, accelerator: cpu}  # more did not help
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with somebody's own config.yaml, in which a study has been run."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "config.yaml").write_text(MINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["study", "--config", "config.yaml", "--folder", "."]) == 0
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_study_in_the_folder_of_its_config_leaves_it_as_it_is(mine: Path) -> None:
    assert (mine / "config.yaml").read_text() == MINE
    assert yaml.safe_load((mine / OWN_CONFIG).read_text())["folder"] == str(mine)


def test_the_run_goes_on_there_and_is_shown_evaluated_and_trained_from_any_folder(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["show"], ["evaluate"]):
        assert main([*command, str(mine)]) == 0
    options = ["--trainer.logger", "false", "--trainer.enable_checkpointing", "false"]
    assert main(["fit", "--architecture", str(mine / "architecture.json"), *options]) == 0
    assert is_ours(tmp_path / "config.yaml")
    capsys.readouterr()
    monkeypatch.chdir(mine)
    assert main(["study", "--config", "config.yaml", "--folder", ".", "--space.layers", "2"]) == 2
    assert "space.init_args.layers=2" in capsys.readouterr().err
    assert main(["study", "--config", "config.yaml", "--folder", "."]) == 0
    assert (mine / "config.yaml").read_text() == MINE


def test_fit_does_not_write_over_a_config_in_the_working_directory(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(MINE)
    shutil.copy(mine / "architecture.json", tmp_path)
    options = ["--trainer.logger", "false", "--trainer.enable_checkpointing", "false"]
    for _ in range(2):
        assert main(["fit", "--config", "config.yaml", "--architecture", "architecture.json", *options]) == 0
        assert (tmp_path / "config.yaml").read_text() == MINE
        assert is_ours(tmp_path / OWN_CONFIG)


@pytest.mark.parametrize("name", ["architecture.json", "network.pt", "module.ckpt", "trials.csv", "summary.json"])
def test_results_of_somebody_else_are_not_written_over(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.yaml").write_text(MINE)
    (tmp_path / name).write_text("mine")
    assert main(["study", "--config", "my.yaml", "--folder", "."]) == 2
    assert f"{name} in it is of no run of ours" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["my.yaml", name])
    assert (tmp_path / name).read_text() == "mine"


def test_a_run_of_an_earlier_version_goes_on(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(mine, tmp_path / "old")
    (tmp_path / "old" / OWN_CONFIG).unlink()
    whole = yaml.safe_load((mine / OWN_CONFIG).read_text())
    text = yaml.safe_dump({**whole, "folder": "old"}, sort_keys=False)
    (tmp_path / "old" / "config.yaml").write_text(text)
    assert main(["study", "--config", "old/config.yaml"]) == 0
    assert (tmp_path / "old" / "config.yaml").read_text() == text
    assert main(["study", "--config", "old/config.yaml", "--data.batch_size", "1"]) == 2
    assert "was begun with 2" in capsys.readouterr().err


def test_a_kept_file_that_was_changed_is_nobodys_to_write_over(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert keep(path, "trials: 1\n") == path
    assert keep(path, "trials: 2\n") == path
    changed = path.read_text() + "# mine\n"
    path.write_text(changed)
    assert not is_ours(path)
    assert keep(path, "trials: 3\n") == tmp_path / OWN_CONFIG
    assert path.read_text() == changed
