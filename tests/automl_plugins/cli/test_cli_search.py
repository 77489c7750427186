"""`automl-plugins search`, `derive` and `attach`."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from perceptron_space.data import WavesData
from perceptron_space.space import PerceptronSpace
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import Architecture
from automl_plugins.cli import main
from automl_plugins.search import ArchitectureSearch
from automl_plugins.studies.folder import OWN_CONFIG

# What one training says of loggers, intervals and devices is not this file's subject.
pytestmark = pytest.mark.filterwarnings("ignore")

SMALL = """
space: {class_path: perceptron_space.space.PerceptronSpace, init_args: {widest: 4}}
data: {class_path: perceptron_space.data.WavesData, init_args: {images: 32}}
module: {class_path: perceptron_space.module.PixelRegression}
search: {learning_rate: 0.1}
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""

SCRIPT = """
import sys
if "lightning" in sys.argv:
    import lightning.pytorch as pl
else:
    import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class LitUser(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 7, 1), nn.ReLU(), nn.Conv2d(7, 1, 1))

    def training_step(self, batch, batch_index):
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_index):
        self.log("val_loss", self.training_step(batch, batch_index))

    def configure_optimizers(self):
        return torch.optim.Adam(self.net.parameters(), lr=0.01)


image = torch.rand(32, 3, 4, 4)
loaders = [DataLoader(TensorDataset(image, image.sum(1, keepdim=True).sin()), batch_size=8) for _ in range(2)]
trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                     enable_progress_bar=False, enable_model_summary=False)
module = LitUser()
trainer.fit(module, *loaders)
print(type(module.net).__name__, sum(p.numel() for p in module.net.parameters()))
"""

TASK = ["--task.level", "pixel", "--task.target", "regression", "--task.in_channels", "3", "--task.out_channels", "1"]
SPACE = ["--space", "perceptron_space.space.PerceptronSpace", "--space.widest", "4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are run: it holds `small.yaml` and its search, `runs/small`."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "small.yaml").write_text(SMALL)
    (folder / "train.py").write_text(SCRIPT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["search", "--config", "small.yaml"]) == 0
    return folder


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(folder)
    yield
    # Lightning leaves its seed there.
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        os.environ.pop(name, None)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command that succeeds prints."""
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """The one line of a command that is refused."""
    assert main(list(arguments)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def found(folder: str) -> Architecture:
    return Architecture.from_json(Path(folder, "architecture.json").read_text())


COMPOSED = """
search:
  strategy:
    class_path: darts
    init_args:
      regularizers: [beta, {class_path: cost, init_args: {weight: 100.0}}]
      perturbation: sdarts-random
  decoder: best-sampled
"""


# search


def test_components_of_several_papers_are_composed_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("composed.yaml").write_text(COMPOSED)
    arguments = ["search", "--config", "small.yaml", "--config", "composed.yaml"]
    assert "the best of" in said(capsys, *arguments, "--folder", "runs/composed"), "best-sampled gives several"
    other = ["--folder", "runs/refused", "--strategy", "gdas", "--strategy.perturbation", "sdarts-random"]
    told = refused(capsys, *arguments, *other, code=1)
    assert "perturbation=SDARTSRandom cannot be combined with StraightThrough of GDAS" in told
    told = refused(capsys, "search", "--config", "small.yaml", "--strategy.regularizers", "[bta]")
    assert "search.strategy.regularizers[0]='bta': there is no such Regularizer; did you mean 'beta'?" in told


def test_a_search_keeps_what_it_found() -> None:
    summary = json.loads(Path("runs/small/search.json").read_text())
    assert (summary["space"], summary["strategy"], summary["epochs"]) == ("perceptron", "darts", 2)
    assert summary["seconds"] > 0
    assert "val_loss" in summary["metrics"]
    assert found("runs/small").space == "perceptron"
    assert Path("runs/small/checkpoints/last.ckpt").exists()


def test_the_same_command_again_shows_it_and_trains_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytorch_lightning.Trainer.fit", None)
    shown = said(capsys, "search", "--config", "small.yaml")
    assert "2 epochs" in shown
    assert "layer0" in shown
    assert "automl-plugins evaluate runs/small" in shown
    assert "2 epochs" in said(capsys, "search", "--config", "runs/small/config.yaml")


def test_another_search_in_the_same_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "search", "--config", "small.yaml", "--search.learning_rate", "0.2")
    assert "search.learning_rate=0.2: the search in runs/small was begun with 0.1" in told


def test_a_search_that_was_refused_before_its_first_checkpoint_leaves_the_folder_to_a_mended_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["search", "--config", "small.yaml", "--folder", str(tmp_path / "run")]
    assert main([*command, "--search.warmup_epochs", "2"]) == 1
    assert "leaves no epoch of max_epochs=2" in capsys.readouterr().err
    assert "2 epochs" in said(capsys, *command, "--search.warmup_epochs", "1")
    assert "search.warmup_epochs=0: the search in" in refused(capsys, *command)


def test_a_search_goes_on_to_more_epochs_and_with_what_is_harmless(
    capsys: pytest.CaptureFixture[str], ended: Path
) -> None:
    command = ["search", "--config", "small.yaml", "--folder", str(ended)]
    said(capsys, *command, "--trainer.log_every_n_steps", "7", "--trainer.enable_model_summary", "true")
    assert "perceptron on WavesData with darts: 3 epochs" in said(capsys, *command, "--trainer.max_epochs", "3")
    assert "3 epochs" in said(capsys, *command, "--trainer.max_epochs", "3"), "it has ended again"
    told = refused(capsys, *command)
    assert "trainer.max_epochs=2: the search in" in told


def test_other_data_in_the_same_place_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ended: Path
) -> None:
    command = ["search", "--config", "small.yaml", "--folder", str(ended)]
    whole = WavesData.train_dataloader

    def others(self: WavesData) -> DataLoader[Any]:
        image, target = whole(self).dataset[:]
        return DataLoader(TensorDataset(image + 0.01, target), self.batch_size)

    monkeypatch.setattr(WavesData, "train_dataloader", others)
    told = refused(capsys, *command, code=1)
    assert f"the search in {ended} was of other data: as many training samples, but others" in told
    (ended / "search.json").unlink()
    assert main([*command, "--trainer.max_epochs", "3"]) == 1
    assert "the checkpoint is of another search: as many training samples, but others" in capsys.readouterr().err


def test_a_config_of_the_users_own_is_never_written_over(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    own = tmp_path / "config.yaml"
    own.write_text("# see my notes, p. 12\n" + SMALL)
    command = ["search", "--config", str(own), "--folder", str(tmp_path)]
    said(capsys, *command)
    assert own.read_text() == "# see my notes, p. 12\n" + SMALL
    assert yaml.safe_load((tmp_path / OWN_CONFIG).read_text())["search"]["strategy"] == "darts"
    assert "2 epochs" in said(capsys, *command)
    assert "begun with 0.1" in refused(capsys, *command, "--search.learning_rate", "0.2")


def test_print_config_is_whole_and_starts_the_same_search(capsys: pytest.CaptureFixture[str]) -> None:
    whole = yaml.safe_load(said(capsys, "search", "--config", "small.yaml", "--print_config"))
    kept = yaml.safe_load(Path("runs/small/config.yaml").read_text())
    assert whole | {"folder": str(Path("runs/small").absolute())} == kept, "what is kept does not depend on the folder"
    assert whole["search"]["strategy"] == "darts"
    assert whole["data"]["init_args"]["batch_size"] == 8


def test_a_search_that_was_stopped_goes_on_and_ends_as_one_that_was_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(callback: ArchitectureSearch, trainer: object, *_: object) -> None:
        if trainer.current_epoch == 1:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    command = ["search", "--config", "small.yaml", "--folder", "runs/stopped"]
    with monkeypatch.context() as patch:
        patch.setattr(ArchitectureSearch, "on_train_epoch_start", stop, raising=False)
        assert main(command) == 130
    assert capsys.readouterr().err == "automl-plugins search: stopped; the same command goes on from here\n"
    assert not Path("runs/stopped/search.json").exists()
    assert "layer0" in said(capsys, "derive", "runs/stopped", "--output", "now.json")
    assert "automl-plugins derive runs/stopped" in said(capsys, "show", "runs/stopped")
    told: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr("automl_plugins.search.report.line", told.append)
        said(capsys, *command)
    assert any(line.startswith("the search goes on after 1 whole epoch(s) and ") for line in told), told
    ended, whole = (
        torch.load(Path("runs", name, "checkpoints/last.ckpt"), weights_only=True) for name in ("stopped", "small")
    )
    assert ended["global_step"] == whole["global_step"]
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, ended["state_dict"][name]), name
    assert found("runs/stopped") == found("runs/small")


def test_a_search_that_diverged_finds_nothing_and_says_at_which_step(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--folder", "runs/diverged", "--module.learning_rate", "1e30"]
    assert main(["search", "--config", "small.yaml", *flags]) == 1
    captured = capsys.readouterr()
    assert "found:" not in captured.out
    (told,) = [line for line in captured.err.splitlines() if line.startswith("automl-plugins search:")]
    assert re.search(r"diverged: .* not finite (at|after) step \d; nothing was found before that", told)
    assert "another --folder" in told
    assert not list(Path("runs/diverged").glob("*.json"))


@pytest.fixture
def ended(folder: Path, tmp_path: Path) -> Path:
    """A copy of the search in `runs/small`, which has ended."""
    shutil.copytree(folder / "runs/small", tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["config.yaml", "architecture.json", "search.json", "checkpoints/last.ckpt"])
@pytest.mark.parametrize("content", [b"", b'{"half'])
def test_files_that_a_power_cut_has_left_empty_are_written_again(
    name: str, content: bytes, ended: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "config.yaml" and content:
        content = b""  # half of a YAML file may be another one
    (ended / name).write_bytes(content)
    if name.endswith("ckpt"):
        (ended / "search.json").unlink()
    shown = said(capsys, "search", "--config", "small.yaml", "--folder", str(ended))
    assert "found:" in shown
    assert found(str(ended)) == found("runs/small")
    assert json.loads((ended / "search.json").read_text())["epochs"] == 2
    torch.load(ended / "checkpoints/last.ckpt", weights_only=True)
    assert (ended / name).read_bytes() != content


def test_a_search_whose_checkpoints_are_all_broken_says_which_and_what_to_do(
    ended: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ended / "search.json").unlink()
    for path in (ended / "checkpoints").iterdir():
        path.write_bytes(b"")
    told = refused(capsys, "search", "--config", "small.yaml", "--folder", str(ended), code=1)
    assert "last.ckpt is broken (it is empty)" in told
    assert f"remove {ended / 'checkpoints'} to begin it anew" in told


def test_a_full_disk_ends_a_search_in_one_line_and_the_same_command_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["search", "--config", "small.yaml", "--folder", "runs/full"]
    sync, seen = os.fsync, []

    def full(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if "ckpt" in name and name.endswith(".part"):
            seen.append(descriptor)
            if len(seen) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert main(command) == 1
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("automl-plugins")]
    assert "No space left on device" in told
    assert "the same command goes on from here" in told
    assert [path.name for path in Path("runs/full/checkpoints").iterdir()] == ["last.ckpt"], "nothing half is left"
    said(capsys, *command)
    assert found("runs/full") == found("runs/small")


def test_sigterm_stops_a_search_as_ctrl_c_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminate(callback: ArchitectureSearch, trainer: object, *_: object) -> None:
        if trainer.current_epoch == 1:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGTERM)

    command = ["search", "--config", "small.yaml", "--folder", "runs/terminated"]
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(ArchitectureSearch, "on_train_epoch_start", terminate, raising=False)
        assert main(command) == 130
    assert capsys.readouterr().err == "automl-plugins search: stopped; the same command goes on from here\n"
    signal.signal(signal.SIGTERM, before)
    said(capsys, *command)
    assert found("runs/terminated") == found("runs/small")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--trails 3", ["trails=3", "no such key"]),
        ("--search.strategy dart", ["search.strategy='dart'", "'darts'"]),
        ("--search.learning_rat 1", ["search.learning_rat=1", "'learning_rate'"]),
        ("--search.learning_rate fast", ["search.learning_rate is a number", "'fast'"]),
        ("--search.learning_rate -1", ["learning_rate", "-1"]),
        ("--search.strategy gdas --search.strategy.stat 1", ["search.strategy.stat=1", "'start'"]),
        ("--search.strategy gdas --search.strategy.start 0", ["start", "greater than 0"]),
        ("--search 3", ["search is a mapping", "3"]),
        ("--search.path x", ["search.path='x'", "no such key"]),
        ("--seed -1", ["seed is at least 0", "-1"]),
        ("--space.widst 4", ["space.widst=4", "'widest'"]),
        ("--trainer.max_epoch 4", ["trainer.max_epoch=4", "'max_epochs'"]),
        ("--folder small.yaml", ["folder='small.yaml'", "there is a file of that name"]),
        ("--data.imags 4", ["data.imags=4", "'images'"]),
        ("--module.rate 4", ["module.rate=4", "'learning_rate'"]),
        ("surplus", ["'surplus'"]),
    ],
)
def test_a_mistake_is_told_in_one_line(flags: str, named: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "search", "--config", "small.yaml", *flags.split())
    assert all(part in told for part in named), told


@pytest.mark.parametrize(
    ("command", "line", "named"),
    [
        ("search", "trials: 3\nsampler: TPESampler", ["search has no trials, sampler", "`automl-plugins study`"]),
        ("study", "", ["study has no search", "`automl-plugins search`"]),
    ],
)
def test_a_configuration_of_another_command_is_told_as_that(
    command: str, line: str, named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("other.yaml").write_text(f"{Path('small.yaml').read_text()}\n{line}\n")
    told = refused(capsys, command, "--config", "other.yaml")
    assert all(part in told for part in named), told
    Path("other.yaml").unlink()


def test_a_space_without_a_supernet_is_told_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from automl_plugins.cli import parser

    monkeypatch.setattr(parser, "SupernetSpace", type("SupernetSpace", (), {}))
    told = refused(capsys, "search", "--config", "small.yaml")
    assert "space='PerceptronSpace': it has no supernet" in told
    assert "automl-plugins study" in told


# What goes on from its folder.


def test_evaluate_trains_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert "over 2 seeds" in said(capsys, "evaluate", "runs/small", "--seeds", "2")
    (kept,) = Path("runs/small/evaluation/contenders").glob("architecture-*")
    assert len(list(kept.glob("*-test.json"))) == 2
    shown = said(
        capsys, "evaluate", "runs/small", "--config", "runs/small/config.yaml", "--seeds", "1", "--folder", "e"
    )
    assert "one seed" in shown


def test_fit_trains_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--trainer.max_epochs", "1", "--trainer.default_root_dir", "lit"]
    said(capsys, "fit", "--config", "runs/small/config.yaml", *flags)
    (checkpoint,) = Path("lit").glob("**/*.ckpt")
    names = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert not any("logits" in name for name in names)


def test_show_a_search(capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "show", "runs/small")
    assert "with darts: 2 epochs" in shown
    assert "layer0" in shown


# derive


def test_derive_decodes_the_last_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "derive", "runs/small", "--output", "derived/again.json")
    assert Architecture.from_json(Path("derived/again.json").read_text()) == found("runs/small")


@pytest.mark.parametrize("path", ["", "net", "encoder.net"])
def test_derive_decodes_any_state_dict(path: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    space = PerceptronSpace(widest=4)
    architecture = space.sample(torch.Generator().manual_seed(5))
    searchable = space.searchable(WavesData().task)
    searchable.set_logits(architecture)
    state = {f"{path}.{name}" if path else name: value for name, value in searchable.state_dict().items()}
    torch.save(state, tmp_path / "weights.pt")
    said(capsys, "derive", str(tmp_path / "weights.pt"), *SPACE)
    assert found(str(tmp_path)) == architecture


def test_derive_refuses_what_it_cannot_decode(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    two = {f"{net}.{part}": torch.zeros(1) for net in "ab" for part in ("logits", "closed", "signature")}
    for name, content in (("plain", {"weight": torch.zeros(1)}), ("two", two), ("objects", {"x": Path("x")})):
        torch.save(content, tmp_path / f"{name}.pt")
    (tmp_path / "text.pt").write_text("nothing")

    def told(name: str, *flags: str, code: int = 1) -> str:
        return refused(capsys, "derive", str(tmp_path / name), *(flags or SPACE), code=code)

    assert "there is no such file" in told("absent.pt", code=2)
    assert "no architecture logits" in told("plain.pt")
    assert "text.pt is broken" in told("text.pt")
    assert "which are not unpickled" in told("objects.pt")
    assert "several searchables, a, b" in told("two.pt", code=2)
    assert "space is missing" in refused(capsys, "derive", str(tmp_path / "two.pt"))
    checkpoint = "runs/small/checkpoints/last.ckpt"
    other = refused(capsys, "derive", checkpoint, "--space.widest", "8", code=1)
    assert "are not the 4 of this space 'perceptron'" in other
    assert "target='nett'" in refused(capsys, "derive", checkpoint, "--target", "nett")


# An untouched script.


@pytest.fixture
def _script_finds_the_space(monkeypatch: pytest.MonkeyPatch) -> None:
    third_party = str(Path(__file__).parents[2] / "third_party")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (third_party, os.environ.get("PYTHONPATH")))))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")


@pytest.mark.usefixtures("_script_finds_the_space")
def test_an_untouched_script_searches_and_then_trains_what_was_found(capfd: pytest.CaptureFixture[str]) -> None:
    script = ["--", sys.executable, "train.py"]
    flags = ["--target", "model.net", *SPACE, *TASK, "--search.strategy", "gdas"]
    shown = said(capfd, "search", *flags, *script)
    assert "Searchable" in shown
    assert "automl-plugins attach --architecture runs/train/architecture.json --" in shown

    # All that is left out stands in the config.yaml beside it.
    count = PerceptronSpace(widest=4).num_parameters(found("runs/train"), WavesData().task)
    assert f"Sequential {count}" in said(capfd, "attach", "--architecture", "runs/train/architecture.json", *script)
    assert "layer0" in said(capfd, "show", "runs/train")


@pytest.mark.usefixtures("_script_finds_the_space")
def test_a_script_on_the_other_distribution_searches_too(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lightning")
    flags = ["--target", "net", *SPACE, *TASK, "--folder", "runs/other"]
    assert "Searchable" in said(capfd, "search", *flags, "--", sys.executable, "train.py", "lightning")
    assert found("runs/other").space == "perceptron"


def test_a_script_without_a_fit_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "search", "--target", "net", *SPACE, "--", sys.executable, "-c", "", code=1)
    assert "has ended without a search" in told


def test_a_script_that_fails_is_told_so_and_its_exit_code_kept(capsys: pytest.CaptureFixture[str]) -> None:
    script = ["--", sys.executable, "-c", "raise SystemExit(7)"]
    told = refused(capsys, "search", "--target", "net", *SPACE, *script, code=7)
    assert "ended with the exit code 7, before anything was found" in told
    architecture = ["--architecture", "runs/small/architecture.json", "--target", "net"]
    assert "ended with the exit code 7" in refused(capsys, "attach", *architecture, *script, code=7)


@pytest.mark.usefixtures("_script_finds_the_space")
def test_a_script_that_dies_after_its_search_is_told_what_was_found_and_where(
    capfd: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "dies.py").write_text(SCRIPT + "\nmodule.net.save_pretrained('here')\n")
    flags = ["--target", "net", *SPACE, *TASK]
    assert main(["search", *flags, "--", sys.executable, "dies.py"]) == 1
    captured = capfd.readouterr()
    assert "found:" in captured.out
    assert "attach --architecture runs/dies/architecture.json" in captured.out
    last = captured.err.splitlines()[-1]
    assert "ended with the exit code 1, after its search; what was found is kept in runs/dies/architecture.json" in last
    assert "has no attribute 'save_pretrained'" in captured.err
    summary = json.loads(Path("runs/dies/search.json").read_text())
    assert (summary["strategy"], summary["epochs"]) == ("darts", 1)
    assert "val_loss" in summary["metrics"]


@pytest.mark.usefixtures("_script_finds_the_space")
def test_a_script_that_dies_in_its_search_is_told_what_its_last_epoch_had_found(
    capfd: pytest.CaptureFixture[str], folder: Path
) -> None:
    text = SCRIPT.replace("max_epochs=1", "max_epochs=3").replace(
        "return nn.functional", "1 // (2 - self.current_epoch)\n        return nn.functional"
    )
    (folder / "halfway.py").write_text(text)
    assert main(["search", "--target", "net", *SPACE, *TASK, "--", sys.executable, "halfway.py"]) == 1
    captured = capfd.readouterr()
    assert "found:" not in captured.out
    assert "before its search had; what its last whole epoch had found is kept in" in captured.err.splitlines()[-1]


def test_a_script_that_makes_no_trainer_does_not_pass_for_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    architecture = ["--architecture", "runs/small/architecture.json", "--target", "net"]
    told = refused(capsys, "attach", *architecture, "--", sys.executable, "-c", "", code=1)
    assert "has ended without the network of runs/small/architecture.json: it ran no Trainer of Lightning" in told


def test_another_search_of_a_script_in_the_same_folder_is_refused(
    capsys: pytest.CaptureFixture[str], ended: Path
) -> None:
    command = ["search", "--target", "net", *SPACE, *TASK, "--folder", str(ended)]
    script = ["--", sys.executable, "-c", "raise SystemExit(7)"]
    (ended / "config.yaml").write_text(said(capsys, *command, "--print_config", *script))
    told = refused(capsys, *command, "--seed", "1", *script)
    assert f"seed=1: the search in {ended} was begun with 0" in told
    refused(capsys, *command, *script, code=7)
    # A mistake that is mended before anything was found is no other search.
    (ended / "architecture.json").unlink()
    refused(capsys, *command, "--seed", "1", *script, code=7)


def test_two_searches_at_once_in_one_folder_are_refused(capsys: pytest.CaptureFixture[str], ended: Path) -> None:
    held = "import sys, time; from filelock import FileLock as L; l = L(sys.argv[1]); l.acquire(); print(flush=True); "
    other = subprocess.Popen(
        [sys.executable, "-c", held + "time.sleep(60)", str(ended / "search.lock")], stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    for command in (["--config", "small.yaml"], ["--target", "net", *SPACE, "--", sys.executable, "train.py"]):
        told = refused(capsys, "search", "--folder", str(ended), *command, code=1)
        assert "another search is running in it" in told
    other.kill()
    other.communicate()
    assert "found:" in said(capsys, "search", "--folder", str(ended), "--config", "small.yaml"), "the kernel let go"


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("search --target net -- python3", ["space is missing"]),
        ("search --target net --space nothing -- python3", ["space='nothing'"]),
        ("search --target net {space}", ["the script is missing", "-- python train.py"]),
        ("search {space} -- python3 train.py", ["target is missing"]),
        ("search --target net {space} -- pythn3 train.py", ["'pythn3': there is no such program"]),
        ("search --target net {space} --task.level nod -- python3", ["task.level is one of node", "'nod'"]),
        ("search --target net {space} --task.levl node -- python3", ["task.levl", "'level'"]),
        ("search --target net {space} {task} --task.in_channels 0 -- python3", ["task: Task.in_channels", "0"]),
        ("search --target net {space} --data cluster -- python3", ["data='cluster'", "no such key"]),
        ("search --target net {space} --search.strategy dart -- python3", ["search.strategy='dart'"]),
        (
            "search --target net {space} --search.strategy snas --search.strategy.cost_weight -1 -- python3",
            ["search.strategy.cost_weight is a number of at least 0; got -1"],
        ),
        ("search --target net {space} --folder runs/small -- python3", ["runs/small", "another run is kept there"]),
        ("search --target net {space} --call.image x -- python3", ["call.image", "as the script calls its own"]),
        ("search --target net --space egnas --call.edges x -- python3", ["call.edges", "'edge_attr'"]),
        ("attach --target net -- python3", ["architecture is missing"]),
        ("attach --architecture absent.json -- python3", ["absent.json"]),
        ("attach --architecture runs/small/architecture.json -- python3", ["target is missing"]),
        ("attach --architecture runs/small/architecture.json --target net", ["the script is missing"]),
    ],
)
def test_a_mistake_is_told_before_the_script_starts(
    command: str, named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command.format(space=" ".join(SPACE), task=" ".join(TASK)).split()
    told = refused(capsys, *arguments)
    assert all(part in told for part in named), told


def test_what_a_script_is_given_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--target", "net", *SPACE, "--folder", "runs/printed", "--print_config"]
    whole = yaml.safe_load(said(capsys, "search", *flags, "--", "python3", "train.py"))
    assert whole["command"] == ["python3", "train.py"]
    assert not Path("runs/printed").exists()


# A procedure.


def test_a_search_takes_a_procedure_in_place_of_a_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    Path("split.yaml").write_text(SMALL.replace("search: {learning_rate: 0.1}\n", ""))
    command = ["search", "--config", "split.yaml", "--strategy", "few-shot", "--strategy.epochs", "2"]
    shown = said(capsys, *command, "--folder", "runs/few")
    assert "found, the best:" in shown
    kept = json.loads(Path("runs/few/found.json").read_text())
    assert len(kept) > 1
    assert Architecture.from_json(json.dumps(kept[0]["architecture"])) == found("runs/few")
    assert "val_loss" in kept[0]["figures"]
    assert "1. val_loss" in said(capsys, "search", "--config", "runs/few/config.yaml")
    assert "layer0" in said(capsys, "show", "runs/few")


def test_a_procedures_mistakes_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "search", "--config", "small.yaml", "--strategy", "few-shot")
    assert "search.learning_rate=0.1: there is no such key" in told
    Path("split.yaml").write_text(SMALL.replace("search: {learning_rate: 0.1}\n", ""))
    command = ["search", "--config", "split.yaml", "--search.strategy", "few-shot"]
    assert "search.strategy.epoch=2" in refused(capsys, *command, "--search.strategy.epoch", "2")
    assert "epochs is an integer" in refused(capsys, *command, "--search.strategy.epochs", "many")
