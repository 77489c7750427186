"""`automl-plugins completion`: what the tab key offers."""

from __future__ import annotations

import builtins
import subprocess
from pathlib import Path
from typing import Any

import pytest

from automl_plugins.cli import main
from automl_plugins.cli.commands import COMMANDS


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("shtab", reason="the extra completion is not installed")
    path = tmp_path_factory.mktemp("completion") / "script.sh"
    with pytest.MonkeyPatch.context() as patch, path.open("w") as file:
        patch.setattr("sys.stdout", file)
        assert main(["completion", "bash"]) == 0
    return path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("s", {"study", "search", "score", "show"}),
        ("study --tri", {"--trials", "--trial_epochs", "--trial_minutes"}),
        ("study --space gnn", {"gnn-plus"}),
        ("study --trainer.max_e", {"--trainer.max_epochs"}),
        ("search --strategy single", {"single-path", "single-level"}),
        ("list proc", {"procedures"}),
        ("predict --ov", {"--overwrite"}),
    ],
)
def test_the_tab_key_offers_commands_keys_and_names(typed: str, offered: set[str], script: Path) -> None:
    words = ["automl-plugins", *typed.split()]
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _shtab_automl_plugins; "
    ran = subprocess.run(
        ["bash", "-c", f'{asked} echo "${{COMPREPLY[@]}}"'], capture_output=True, text=True, check=True
    )
    assert offered <= set(ran.stdout.split()), ran


def test_a_shell_that_is_not_known_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="the extra completion is not installed")
    assert main(["completion", "bsh"]) == 2
    assert "did you mean 'bash'" in capsys.readouterr().err


def test_without_shtab_one_line_says_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(name: str, *arguments: Any, real: Any = builtins.__import__) -> Any:
        if name == "shtab":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["completion", "bash"]) == 1
    assert 'pip install "automl-plugins[completion]"' in capsys.readouterr().err


def test_every_command_has_a_help_of_its_own() -> None:
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
