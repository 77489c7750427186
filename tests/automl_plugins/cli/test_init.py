"""`automl-plugins init`: data are looked at, and the configuration that it writes runs as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from automl_plugins.cli import main
from automl_plugins.cli.commented_yaml import commented, entry
from automl_plugins.cli.settings import load
from automl_plugins.training.data.draft import Reasoned

pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = [
    *("--trials=1", "--trial_epochs=1", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--seeds=1"),
    *("--finalists=1", "--references=[]", "--random_search=false"),
]


def table(folder: Path) -> str:
    """Molecules, of which one stands twice, with a target, a missing one, names, and a row that is none."""
    rows = [f"m{n},{'C' * n}O,{'' if n == 9 else n / 10},lab {n % 2}" for n in range(1, 41)]
    text = "\n".join(["name,structure,solubility,place", *rows, "bad,C1CC,1,lab 1", "twice,OC,9,lab 1"]) + "\n"
    (folder / "mine.csv").write_text(text)
    return "mine.csv"


def graph(folder: Path) -> str:
    """Features with negative values, three classes, no split."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 5))
    np.savez(folder / "mine.npz", edge_index=generator.integers(0, 60, (2, 200)), x=x, y=np.arange(60) % 3)
    return "mine.npz"


def masks(folder: Path) -> str:
    """Images of two sizes, whose masks have a suffix, three classes and pixels that do not count."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / "mine" / name).mkdir(parents=True)
    for number in range(12):
        height = 32 + 8 * (number % 2)
        image = generator.integers(0, 255, (height, 32, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / "mine" / "images" / f"{number}.png")
        mask = generator.choice(np.array([0, 1, 2, 255], dtype=np.uint8), (height, 32))
        Image.fromarray(mask).save(folder / "mine" / "masks" / f"{number}_mask.png")
    return "mine"


def folders(folder: Path) -> str:
    """Grey images of two classes and several sizes."""
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "mine" / name).mkdir(parents=True)
        for number in range(12):
            image = generator.integers(0, 255, (40 + number, 40), dtype=np.uint8)
            Image.fromarray(image).save(folder / "mine" / name / f"{number}.png")
    return "mine"


def written(make: Callable[[Path], str], *flags: str) -> dict[str, object]:
    """The configuration for data in the working folder."""
    assert main(["init", make(Path()), "--out", "mine.yaml", *flags]) == 0
    return load(Path("mine.yaml").read_text())


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


ARGUMENTS = {
    table: {
        "path": "mine.csv",
        "smiles_column": "structure",
        "target_columns": ["solubility"],
        "target": "regression",
        "descriptors": ["rdkit"],
    },
    graph: {"path": "mine.npz", "normalize_features": False},
    masks: {"path": "mine", "channels": 3, "classes": 3, "ignore_index": 255, "mask_suffix": "_mask", "crop": 32},
    folders: {"path": "mine", "target": "binary", "channels": 1, "size": 32},
}


@pytest.mark.parametrize("make", ARGUMENTS, ids=lambda make: make.__name__)
def test_what_was_seen_is_what_the_data_are_read_with(make: Callable[[Path], str]) -> None:
    config = written(make, *(["--target=solubility"] if make is table else []))
    arguments = {key: value for key, value in config["data"]["init_args"].items() if key != "batch_size"}
    assert arguments == ARGUMENTS[make]
    assert main(["study", "--config", "mine.yaml", "--print_config"]) == 0


@pytest.mark.parametrize(
    "make", [table, graph, *(pytest.param(each, marks=pytest.mark.slow) for each in (masks, folders))]
)
def test_the_file_runs_as_it_is(make: Callable[[Path], str]) -> None:
    written(make, *(["--target=solubility"] if make is table else []))
    assert main(["study", "--config", "mine.yaml", *SMALL]) == 0
    assert Path("runs/mine/summary.json").is_file()


def test_what_stands_twice_is_missing_or_is_no_molecule_is_said_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    written(table, "--target=solubility", "--data.seed=1")
    told, text = capsys.readouterr().err, " ".join(Path("mine.yaml").read_text().replace("#", "").split())
    for expected in (
        "1 molecules stand in several rows, 1 of them with different targets; the first is CO",
        "1 of 42 molecules do not parse or have no atoms",
        "training: 33 molecules",
    ):
        assert expected in told, told
        assert expected in text
    assert "solubility: 41 numbers from 0.1 to 9, mean 2.222, 1 missing" in text
    assert "seed: 1" in text, "an argument of one's own stands in the file"


def test_a_molecule_in_two_parts_of_a_split_is_leakage(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{'C' * n}O,{n / 10},{'test' if n > 30 else 'val' if n > 20 else 'train'}" for n in range(1, 41)]
    Path("mine.csv").write_text("\n".join(["smiles,y,part", *rows, "OCC,3,test"]) + "\n")
    assert main(["init", "mine.csv"]) == 0
    assert load(Path("mine.yaml").read_text())["data"]["init_args"]["split_column"] == "part"
    assert "LEAKAGE: 1 molecules are in two parts of the split" in capsys.readouterr().err


def test_equal_images_in_two_parts_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    written(masks, "--data.classes=3")
    for number in range(12):
        for name in (f"images/{number}.png", f"masks/{number}_mask.png"):
            content = Path("mine", name.replace(str(number), "0", 1)).read_bytes()
            Path("mine", name).write_bytes(content)
    capsys.readouterr()
    assert main(["init", "mine", "--overwrite"]) == 0
    assert "the same image in two splits" in capsys.readouterr().err


def test_minutes_leave_out_what_is_planned_for_them() -> None:
    config = written(graph, "--minutes=30")
    assert config["minutes"] == 30
    assert not {"trial_epochs", "trials", "finalists", "trainer"} & set(config)
    assert config["seeds"] == 5


def test_in_a_terminal_it_asks_for_the_data_what_to_predict_and_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    table(Path())
    answers = iter(["mine.csv", "solubility", ""])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda *_: next(answers))
    assert main(["init"]) == 0
    assert load(Path("mine.yaml").read_text())["data"]["init_args"]["target_columns"] == ["solubility"]
    assert next(answers, None) is None


def test_nothing_is_overwritten_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("mine: 1\n")
    assert main(["init", graph(Path())]) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert Path("mine.yaml").read_text() == "mine: 1\n"
    assert main(["init", "mine.npz", "--overwrite"]) == 0
    assert "npz-graph" in Path("mine.yaml").read_text()


@pytest.mark.parametrize("value", [3, 1e-5, True, None, "no", "a: b # c", "ä\n", [1, "x"], {"a": {"low": 1e-4}}, "1e3"])
def test_every_value_is_read_again_as_it_was(value: object) -> None:
    lines = [*commented("a: 'b'\n- {c"), *entry("key", Reasoned(value, "why\nnot: 1"))]
    assert load("\n".join(lines)) == {"key": value}
