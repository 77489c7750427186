"""Mistakes in names and help are answered before anything heavy is imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from automl_plugins import registry
from automl_plugins.cli import DEBUG, INTERRUPTED, UNEXPECTED, main

HEAVY = ("torch", "pytorch_lightning", "lightning", "optuna", "torch_geometric", "jsonargparse", "matplotlib")
AT_ONCE = """
import sys, warnings
from automl_plugins.cli import main
warnings.simplefilter("error")
for line in sys.stdin.read().splitlines():
    print(main(line.split()))
print(*[name for name in {heavy} if name in sys.modules], "imported")
"""


def test_mistakes_and_help_need_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("space: agnn\ndata: {class_path: cluster, batchsize: 3}\n")
    mistakes = [
        "stduy",
        "study --trails 3",
        "study --space agn --data cluster",
        "study --space agnn --data cluster --space.layrs 3",
        "study --space agnn --data cluster --sampler TPE",
        "study --space agnn --data cluster --pruner Median",
        "study --space agnn --data cluster --references [gcm]",
        "study --space agnn --data cluster --module.los dice",
        "study --space agnn --data cluster --trainer.max_epoch 3",
        "study --config wrong.yaml",
        "search --space agnn --search.strategy dart",
        "search --search.learning_rat 1",
        "fit --trainr.max_epochs 3",
        "predict --ckpt_pth x",
        "evaluate nowhere",
        "show agn",
        "derive x --spce 3",
        "export x --siz 3",
        "attach --targt net",
        "benchmark nas-bench",
        "list space",
    ]
    helps = ["--help", "list", "study --help", "search --help", "fit --help", "study --space.help agnn", "benchmark -h"]
    ran = subprocess.run(
        [sys.executable, "-c", AT_ONCE.format(heavy=HEAVY)],
        input="\n".join([*mistakes, *helps]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    codes = [line for line in ran.stdout.splitlines() if line in ("0", "1", "2")]
    assert codes == ["2"] * len(mistakes) + ["0"] * len(helps)
    assert len(ran.stderr.splitlines()) == len(mistakes), ran.stderr
    assert ran.stdout.splitlines()[-1].strip() == "imported"


@pytest.mark.parametrize("command", ["study", "search", "evaluate", "fit", "derive"])
@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--space.help agnn", ["The space of Auto-GNN", "layers", "number of layers. (2)"]),
        ("--data.help smiles", ["smiles_column", "(needed)"]),
        ("--data.help=cluster", ["num_train", "batch_size"]),
        ("--module.help GraphRegression", ["learning_rate", "loss"]),
        ("--module.help", ["graph-regression", "pixel-classes"]),
        ("--sampler.help TPESampler", ["n_startup_trials"]),
        ("--sampler.help evolution", ["population"]),
        ("--pruner.help MedianPruner", ["n_warmup_steps"]),
        ("--task.help", ["in_channels", "level"]),
        ("--trainer.help", ["max_epochs"]),
    ],
)
def test_every_class_has_help(command: str, flags: str, named: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, *flags.split()]) == 0
    told = capsys.readouterr().out
    assert all(part in told for part in named), told


KEYS = {"space": "spaces", "data": "data", "module": "modules", "sampler": "samplers", "strategy": "strategies"}


@pytest.mark.parametrize("key", KEYS)
def test_every_plugin_has_help(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in registry.names(KEYS[key]):
        assert main(["study", f"--{key}.help", name]) == 0
        assert "NAME VALUE" in capsys.readouterr().out


def test_there_is_help_for_these_keys_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--spce.help", "agnn"]) == 2
    assert "--spce.help: there is help for space, data" in capsys.readouterr().err
    assert main(["study", "--space.help", "agn"]) == 2
    assert "did you mean 'agnn'?" in capsys.readouterr().err


def _fails(error: BaseException) -> object:
    def look(*_: object) -> int:
        raise error

    return look


def test_an_error_that_nobody_foresaw_is_one_line_and_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("automl_plugins.cli.commands.checked", _fails(ZeroDivisionError("two\nlines")))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ZeroDivisionError):
        main(["study"])
    monkeypatch.delenv(DEBUG)
    assert main(["study"]) == UNEXPECTED
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "ZeroDivisionError: two lines" in told
    (file,) = tmp_path.iterdir()
    assert str(file) in told
    assert "in look" in file.read_text()


def test_lightnings_answer_to_ctrl_c_has_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def look(*_: object) -> int:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemExit(1)  # noqa: B904 - so does Lightning

    monkeypatch.setattr("automl_plugins.cli.commands.checked", look)
    assert main(["fit"]) == INTERRUPTED
    assert "goes on from here" in capsys.readouterr().err
    monkeypatch.setattr("automl_plugins.cli.commands.checked", _fails(SystemExit(3)))
    assert main(["fit"]) == 3


def test_sigterm_is_heard_in_every_phase(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("automl_plugins.cli.commands.checked", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert main(["evaluate", "run"]) == INTERRUPTED
    assert capsys.readouterr().err == "automl-plugins evaluate: stopped; the same command goes on from here\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
