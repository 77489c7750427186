"""Every snippet of the README and of docs/ runs."""

from __future__ import annotations

import ast
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import segmentation_models_pytorch as smp
from PIL import Image

from automl_plugins import registry
from automl_plugins.cli import main

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REFERENCE = sorted((ROOT / "docs" / "api").glob("*.md"))

PACKAGES = ("automl_plugins", "gnn_space", "seg_space")
# Classes that users are handed, name in annotations, or subclass in a paper's file, and do not make.
MADE_FOR_USERS = {
    *("Candidate", "Decoder", "EstimatorConfig", "Evaluation", "Observation", "Relaxation", "Searchable", "Strategy"),
    *("Components", "Perturbation", "Regularizer", "Stop"),
}

# A reader's budgets, and what a test can pay for.
SMALLER = {
    r"n_trials=\d+": "n_trials=8",
    "n_trials=8, catch": "n_trials=4, catch",
    r"max_epochs=\d+": "max_epochs=1",
    r'"max_epochs": \d+': '"max_epochs": 1',
    "steps=2000": "steps=2, meta_batch=2, architectures=2",
    r"trials=20,": "trials=2, seeds=1, finalists=1, random_search=False, references=[],",
}


ROADS = ("predict.md", "start.md")
"""Documents whose commands lead from one to the next, and are run."""
SMALL_RUNS = {
    "study": "--trials 1 --trial_epochs 1 --trainer.max_epochs 1 --seeds 2 --finalists 1 --random_search false "
    "--references [] --trainer.accelerator cpu",
    "search": "--trainer.max_epochs 2 --trainer.accelerator cpu",
    "evaluate": "--seeds 2",
}


class Snippet(NamedTuple):
    document: str
    language: str
    text: str


def snippets(*languages: str) -> list[Snippet]:
    found = [
        Snippet(path.name, language, text)
        for path in DOCUMENTS
        for language, text in re.findall(r"```(\w+)\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    ]
    return [snippet for snippet in found if snippet.language in languages]


def python_of(page: Path) -> str:
    """All Python of a page, with smaller budgets."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
    for pattern, smaller in SMALLER.items():
        code = re.sub(pattern, smaller, code)
    return code


def command_for(config: str) -> str:
    """The command that a configuration is for."""
    return "search" if re.search(r"^search:", config, re.MULTILINE) else "study"


@cache
def names_in_examples() -> set[str]:
    """The names that Python in documents uses, and not only imports."""
    trees = [ast.parse(python_of(page)) for page in (*DOCUMENTS, *REFERENCE)]
    return {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}


def constructed_by_users() -> list[str]:
    """The classes that entry points name, and those in the packages' faces."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    plugins = {group: [value.rpartition(":")[2] for value in entries.values()] for group, entries in groups.items()}
    # A probe is made by what asks for one, a callbacks' factory is called by Lightning.
    registered = {name for group in plugins if not group.endswith(("probes", "factory")) for name in plugins[group]}
    faces = [path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")]
    lists = [re.search(r"^__all__ = \[(.*?)\]", path.read_text("utf-8"), re.DOTALL | re.MULTILINE) for path in faces]
    public = {name for found in lists if found for name in re.findall(r'"(\w+)"', found[1])}
    return sorted(registered | {name for name in public if name[0].isupper()} - MADE_FOR_USERS)


@pytest.mark.parametrize("name", constructed_by_users())
def test_every_class_that_a_user_constructs_is_in_an_example(name: str) -> None:
    assert name in names_in_examples()


def mentioned_names() -> list[str]:
    """Dotted names of ours in the prose of documents, but for those of entry-point groups."""
    prose = "".join(re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL) for path in DOCUMENTS)
    found = set(re.findall(r"`((?:automl_plugins|gnn_space|seg_space)(?:\.\w+)+)`", prose))
    return sorted(found - {f"automl_plugins.{group}" for group in registry.GROUPS})


@pytest.mark.parametrize("name", mentioned_names())
def test_names_that_documents_mention_exist(name: str) -> None:
    assert pkgutil.resolve_name(name) is not None


def test_files_that_a_document_shows_whole_are_whole() -> None:
    shown = {
        file: text
        for path in DOCUMENTS
        for file, text in re.findall(r"<!-- file: (.*?) -->\n```\w+\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    }
    assert len(shown) >= 5
    assert shown == {file: (ROOT / file).read_text(encoding="utf-8") for file in shown}


def test_every_snippet_is_of_a_kind_that_is_tested() -> None:
    assert {snippet.language for snippet in snippets("python", "yaml", "bash", "toml")} == {
        snippet.language for snippet in snippets(*re.findall(r"```(\w+)\n", "".join(map(Path.read_text, DOCUMENTS))))
    }


@pytest.mark.parametrize("page", [*DOCUMENTS[1:], *REFERENCE], ids=lambda path: f"{path.parent.name}/{path.stem}")
@pytest.mark.filterwarnings("ignore")
def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = python_of(page)
    if not code:
        pytest.skip(f"{page.name} has no Python")
    monkeypatch.chdir(tmp_path)
    # Encoders that a page registers with smp are none for the tests that follow.
    monkeypatch.setattr(smp.encoders, "encoders", dict(smp.encoders.encoders))
    exec(compile(code, page, "exec"), {"__name__": "__main__"})  # noqa: S102 - the snippets are ours


def test_the_python_of_the_readme_runs_as_a_script(tmp_path: Path) -> None:
    script = tmp_path / "snippets.py"
    script.write_text(python_of(ROOT / "README.md"), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-Wignore", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("snippet", snippets("yaml"), ids=lambda snippet: snippet.document)
def test_the_configurations_are_valid(snippet: Snippet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(snippet.text, encoding="utf-8")
    assert main([command_for(snippet.text), "--config", str(config), "--print_config"]) == 0, capsys.readouterr().err


def commands() -> list[tuple[str, str]]:
    """Every command in bash, with its document."""
    lines = [(each.document, line) for each in snippets("bash") for line in each.text.splitlines()]
    return [(document, line) for document, line in lines if line.startswith("automl-plugins ")]


@pytest.mark.parametrize(
    "line",
    # What predicts, exports, reports or evaluates in a script needs a run.
    [
        each
        for document, each in commands()
        if document not in ROADS and not re.match("automl-plugins ((predict|export|report) |evaluate .* -- )", each)
    ],
)
def test_the_commands_are_valid(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    own, separator, script = line.partition(" -- ")
    assert main([*own.split()[1:], "--print_config", *f"{separator}{script}".split()]) == 0, capsys.readouterr().err


def molecules(folder: Path) -> None:
    rows = "".join(f"{'C' * n}{'O' * (n % 4)},{n / 7}\n" for n in range(1, 41))
    (folder / "train.csv").write_text(f"smiles,solubility\n{rows}")
    (folder / "new.csv").write_text("smiles\nCCO\nC1CC\n")


def graphs(folder: Path) -> None:
    generator = np.random.default_rng(0)
    edges, x = generator.integers(0, 60, (2, 200)), generator.normal(size=(60, 5))
    np.savez(folder / "known.npz", edge_index=edges, x=x, y=np.arange(60) % 3)
    np.savez(folder / "new.npz", edge_index=edges[:, :100] % 20, x=x[:20])


def photos(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for home, count in (("known", 10), ("photos", 2)):
        for number in range(count):
            images = folder / home / "images" if home == "known" else folder / home
            images.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (32, 40, 3), dtype=np.uint8)).save(images / f"{number}.png")
    (folder / "photos" / "notes.txt").write_text("none")
    (folder / "known" / "masks").mkdir()
    for number in range(10):
        mask = Image.fromarray(generator.integers(0, 3, (32, 40), dtype=np.uint8))
        mask.save(folder / "known" / "masks" / f"{number}.png")


@pytest.mark.parametrize(
    ("road", "prepare", "left"),
    [
        (0, molecules, {"predictions.csv": 3, "best.csv": 3}),
        (1, graphs, {"nodes.csv": 21}),
        (2, photos, {"masks": 3, "probabilities": 5}),
        (3, molecules, {"predictions.csv": 3}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_roads_to_predictions_lead_there(
    road: int,
    prepare: Callable[[Path], None],
    left: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = [line for document, line in commands() if document in ROADS]
    for line in lines[4 * road : 4 * road + 4]:
        _, command, *rest = line.split()
        assert main([command, *rest, *SMALL_RUNS.get(command, "").split()]) == 0, capsys.readouterr().err
    for name, count in left.items():
        path = tmp_path / name
        assert count == len(list(path.iterdir()) if path.is_dir() else path.read_text().splitlines()), name


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_valid(
    example: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    text = example.read_text(encoding="utf-8")
    if "../shared/data" in text and not (ROOT / "../shared/data").is_dir():
        pytest.skip("the folder ../shared/data is absent")
    assert main([command_for(text), "--config", str(example), "--print_config"]) == 0, capsys.readouterr().err


def test_the_two_commands_for_a_fresh_machine_stand_in_the_readme() -> None:
    """CI runs the second; what the first runs after the installation is the demo."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("demo", "tests"):
        block = re.search(rf"<!-- command: {name} -->\n```bash\n(.+)\n```", readme)
        assert block is not None
        assert block.group(1).endswith(f".venv/bin/nox -s {name}")
