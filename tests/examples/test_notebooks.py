"""The notebooks run from top to bottom, and what stands last in a cell shows itself."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

# A reader's budgets, and what a test can pay for.
SMALLER = {
    "max_epochs 3": "max_epochs 1",
    "max_epochs=2": "max_epochs=1",
    '"max_epochs": 3': '"max_epochs": 1',
    "n_trials=8": "n_trials=3",
    "trials=4": "trials=2",
    "FreesolvData()": "FreesolvData(batch_size=128)",
}

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))


def shown_by(source: str, names: dict[str, Any]) -> Any:
    """The value of a cell's last expression, after all before it; None where it ends otherwise."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)  # noqa: S102 - the notebooks are ours
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)  # noqa: S307


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")
def test_a_notebook_runs_and_shows_what_it_makes(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    assert any(written in source for written in SMALLER for source in sources)
    for written, smaller in SMALLER.items():
        sources = [source.replace(written, smaller) for source in sources]
    assert all(cell["outputs"] == [] for cell in cells), "outputs are not kept in the repository"
    shown = [shown_by(source, names) for source in sources]
    drawn = [each._repr_html_() for each in shown if hasattr(each, "_repr_html_")]
    assert drawn
    assert all(html.startswith("<div") and html.endswith("</div>") for html in drawn)
    assert not any(value for value in shown if isinstance(value, int)), "every command ended well"


def test_there_is_a_notebook_for_each_way_in() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["command_line", "lightning", "optuna"]
