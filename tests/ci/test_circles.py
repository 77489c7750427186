"""The session that finds circles of imports, on small packages with planted ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "circles.py"

FREE_OF_CIRCLES = {
    "gnn_space/__init__.py": "from gnn_space.space import Space\n",
    "gnn_space/space.py": "from gnn_space.layer import Layer\nclass Space: ...\n",
    "gnn_space/layer.py": "import torch\nclass Layer: ...\n",
}

# The import that is added to layer.py, and the kind that it is reported as.
PLANTED = {
    "at the top": ("from gnn_space.space import Space\n", ""),
    "a module": ("from gnn_space import space\n", ""),
    "import as": ("import gnn_space.space as s\n", ""),
    "within a function": ("def build():\n    from gnn_space.space import Space\n", " (lazy)"),
    "for type checking": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from gnn_space.space import Space\n",
        " (type-checking)",
    ),
    "through the face": ("from gnn_space import Space\n", ""),
    "by name": ("from importlib import import_module\nspace = import_module('gnn_space.space')\n", " (lazy)"),
    "by half a name": ("def load(name):\n    return importlib.import_module(f'gnn_space.{name}')\n", " (lazy)"),
}


def circles(root: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return subprocess.run([sys.executable, SCRIPT, root], capture_output=True, text=True, check=False)


def test_files_without_a_circle_pass(tmp_path: Path) -> None:
    ran = circles(tmp_path, FREE_OF_CIRCLES)
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout == "3 files, 2 imports of one another (0 lazy, 0 for type checking), 0 circles\n"


@pytest.mark.parametrize("place", PLANTED)
def test_a_circle_is_found_with_its_edges(place: str, tmp_path: Path) -> None:
    statement, kind = PLANTED[place]
    layer = FREE_OF_CIRCLES["gnn_space/layer.py"] + statement
    ran = circles(tmp_path, {**FREE_OF_CIRCLES, "gnn_space/layer.py": layer})
    assert ran.returncode == 1
    count, title, *edges = ran.stdout.splitlines()
    assert count.endswith("1 circles")
    assert title == "a circle of 2 files:"
    assert [edge.split(":")[0] for edge in edges] == ["  gnn_space/layer.py", "  gnn_space/space.py"]
    assert edges[0].endswith(f"imports gnn_space.space{kind}")


def test_a_longer_circle_over_packages_of_one_name_is_one_circle(tmp_path: Path) -> None:
    files = {
        "automl_plugins/__init__.py": "",
        "automl_plugins/a.py": "import automl_plugins.b\n",
        "automl_plugins/b.py": "from automl_plugins import c\n",
        "automl_plugins/c.py": "from automl_plugins.a import A\n",
        "automl_plugins/d.py": "from automl_plugins.a import A\n",
    }
    ran = circles(tmp_path, files)
    assert "a circle of 3 files:" in ran.stdout
    assert "automl_plugins/d.py" not in ran.stdout
