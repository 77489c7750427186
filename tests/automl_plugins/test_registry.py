from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from automl_plugins import registry


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    """Give the group `spaces` the entry points named in a call, and nothing else."""

    def install(*entries: tuple[str, str]) -> None:
        found = [EntryPoint(name, value, "automl_plugins.spaces") for name, value in entries]
        monkeypatch.setattr(registry, "entry_points", lambda group: found)
        registry._entries.cache_clear()

    yield install
    registry._entries.cache_clear()


def test_names_are_sorted_and_loaded_when_asked_for(installed) -> None:
    installed(("toy", "no_such_package:Toy"), ("counter", "collections:Counter"))
    assert registry.names("spaces") == ["counter", "toy"]
    assert registry.where("spaces", "toy") == "no_such_package:Toy"
    assert registry.load("spaces", "counter").__name__ == "Counter"


@pytest.mark.parametrize("ask", [registry.load, registry.where])
def test_an_unknown_name_gets_the_nearest_one(installed, ask) -> None:
    installed(("perceptron", "collections:Counter"))
    with pytest.raises(ValueError, match=r"no 'percepton' among the spaces; did you mean 'perceptron'\?"):
        ask("spaces", "percepton")
    with pytest.raises(ValueError, match=r"no 'xyz' among the spaces; valid: perceptron"):
        ask("spaces", "xyz")


def test_a_group_may_have_no_members(installed) -> None:
    installed()
    assert registry.names("spaces") == []
    assert "spaces" not in registry.filled()
    with pytest.raises(ValueError, match="there is no 'agnn' among the spaces; none is installed"):
        registry.load("spaces", "agnn")


def test_an_unknown_group_gets_the_nearest_one() -> None:
    with pytest.raises(ValueError, match=r"no group 'space'; did you mean 'spaces'\?"):
        registry.names("space")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_package:Toy", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("collections:NoSuchClass", "AttributeError"),
        ("broken_plugin:Toy", "RuntimeError: operator torchvision::nms does not exist"),
    ],
)
def test_a_plugin_that_cannot_be_imported_says_why(installed, tmp_path, monkeypatch, value, reason) -> None:
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    installed(("toy", value))
    with pytest.raises(RuntimeError, match=reason) as caught:
        registry.load("spaces", "toy")
    assert f"'toy' of the spaces ({value}) cannot be imported" in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_name_given_twice_is_refused_but_only_when_it_is_used(installed) -> None:
    installed(("toy", "collections:Counter"), ("toy", "collections:deque"), ("other", "collections:deque"))
    assert registry.load("spaces", "other").__name__ == "deque"
    with pytest.raises(RuntimeError, match=r"'toy' of the spaces is given twice, by collections:Counter"):
        registry.load("spaces", "toy")


def test_one_thing_named_twice_alike_is_no_conflict(installed) -> None:
    installed(("toy", "collections:Counter"), ("toy", "collections:Counter"))
    assert registry.load("spaces", "toy").__name__ == "Counter"


def test_the_distribution_registers_its_own_space() -> None:
    assert registry.where("spaces", "agnn") == "gnn_space.agnn.space:AGNNSpace"


def test_names_are_listed_without_importing_a_plugin() -> None:
    code = (
        "import sys; from automl_plugins import registry;"
        "[registry.names(group) for group in registry.GROUPS];"
        "sys.exit(any(name in sys.modules for name in ('torch', 'optuna', 'torch_geometric', 'gnn_space')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
