"""`automl-plugins report`: a run as one page of HTML."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from automl_plugins.cli import main

pytestmark = pytest.mark.filterwarnings("ignore")

MOLECULES = """
space: {class_path: agnn, init_args: {layers: 2, dropout: 0.0, max_parameters: 60000}}
data: {class_path: smiles, init_args: {path: train.csv, smiles_column: molecule, target_columns: [mass]}}
trials: 6
trial_epochs: 1
costs: [params]
references: [gcn]
finalists: 1
seeds: 2
seed: 3
trainer: {max_epochs: 1, accelerator: cpu}
"""
PIXELS = """
space: {class_path: auto-deeplab, init_args: {layers: 3, blocks: 1, filters: 4, stem: [8], stem_stride: 2}}
data: {class_path: images-and-masks, init_args: {path: cells, classes: [sky, '<b>&"disc"'], batch_size: 4, crop: 32}}
search: {strategy: darts, learning_rate: 0.1}
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false}
"""
VOID = {"meta", "link", "img", "br", "hr", "input"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are run: a study of molecules, and a search for pixels that was evaluated."""
    home = tmp_path_factory.mktemp("report")
    rows = "".join(f"{'C' * n}{'O' * (n % 4)},{400 + n}\n" for n in range(1, 41))
    (home / "train.csv").write_text(f"molecule,mass\n{rows}")
    generator = np.random.default_rng(0)
    for part in ("images", "masks"):
        (home / "cells" / part).mkdir(parents=True)
    for number in range(12):
        mask = np.zeros((32, 32), dtype=np.uint8)
        mask[8:24, 4 + number : 12 + number] = 1
        image = generator.integers(0, 80, (32, 32, 3), dtype=np.uint8) + 120 * mask[..., None]
        Image.fromarray(image).save(home / "cells" / "images" / f"{number}.png")
        Image.fromarray(mask).save(home / "cells" / "masks" / f"{number}.png")
    (home / "molecules.yaml").write_text(MOLECULES)
    (home / "pixels.yaml").write_text(PIXELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(["study", "--config", "molecules.yaml"]) == 0
        assert main(["search", "--config", "pixels.yaml"]) == 0
        assert main(["evaluate", "runs/pixels", "--seeds", "2", "--references", "[]"]) == 0
    return home


@pytest.fixture(autouse=True)
def _inside(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


class Reader(HTMLParser):
    """Reads a page as a browser does, and refuses tags that are not closed, scripts and everything from elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.titles: list[str] = []
        self.alts: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "iframe", "object", "embed")
        own = dict(attrs)
        assert not any(name.startswith("on") for name in own)
        for name in ("src", "href", "xlink:href", "data", "action"):
            assert str(own.get(name, "#")).startswith(("#", "data:image/png;base64,"))
        if tag == "svg":
            assert own["role"] == "img"
            self.alts.append(str(own["aria-label"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)


def page_of(*arguments: str) -> Reader:
    """The page that the command writes."""
    out = Path("page.html")
    out.unlink(missing_ok=True)
    assert main(["report", *arguments, "--out", str(out)]) == 0
    html = out.read_text("utf-8")
    assert not re.search(r"https?://|@import|url\((?!#)", html), "nothing is loaded from elsewhere"
    return Reader(html)


def test_the_page_of_a_study_has_the_verdict_the_table_the_curves_and_the_predictions() -> None:
    page = page_of("runs/molecules")
    assert page.titles == [
        "Final table",
        "Best so far, over cost",
        "Architecture",
        "Pareto front",
        "Importance of choices",
        "Predictions beside the truth",
        "Trials, and what failed",
        "Command and versions",
    ]
    told = json.loads(Path("runs/molecules/summary.json").read_text())
    assert all(line in page.text for line in told["verdict"])
    assert all(row["label"] in page.text for row in told["rows"])
    assert "automl-plugins study --config runs/molecules/config.yaml" in page.text
    assert "max_parameters: 60000" in page.text
    assert any("search ends at" in alt and "random ends at" in alt for alt in page.alts)
    found = re.search(r"mass: 4 items of the validation; root mean squared error (\d+(?:\.\d+)?)", " ".join(page.alts))
    assert found
    assert 1 < float(found[1]) < 100, "in the units of the file"


def test_the_page_of_a_search_has_its_logits_over_epochs_its_evaluation_and_images_with_what_is_wrong() -> None:
    page = page_of("runs/pixels")
    assert page.titles == [
        "Evaluation of what was found",
        "Architecture learned over epochs",
        "Architecture",
        "Predictions beside the truth",
        "Command and versions",
    ]
    lines = Path("runs/pixels/logits.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines[1:]] == [0, 1]
    last = json.loads(lines[-1])["probabilities"]
    assert all(sum(row) == pytest.approx(1, abs=1e-2) for row in last)
    assert any(alt.startswith("The probabilities of the options") and "at the end: " in alt for alt in page.alts)
    assert [alt for alt in page.alts if re.match(r"Validation image 0: [\d.]+% of its pixels are wrong", alt)]
    assert '<b>&"disc"' in page.text, "the name of a class is text, whatever is in it"


def test_a_search_that_goes_on_has_the_logits_of_one_that_was_not_stopped() -> None:
    for folder, epochs in (("runs/whole", (3,)), ("runs/stopped", (1, 3))):
        for count in epochs:
            command = ["search", "--config", "pixels.yaml", "--folder", folder, "--trainer.max_epochs", str(count)]
            assert main(command) == 0
    assert Path("runs/whole/logits.jsonl").read_text() == Path("runs/stopped/logits.jsonl").read_text()


@pytest.mark.parametrize(
    ("run", "lost", "left"),
    [
        ("molecules", ("summary.json", "winner.json", "architecture.json"), "the best so far, trial"),
        ("pixels", ("search.json", "evaluation"), "The probabilities of the options"),
    ],
)
def test_a_run_that_was_killed_gives_a_page_that_says_so(run: str, lost: tuple[str, ...], left: str) -> None:
    shutil.copytree(f"runs/{run}", f"killed/{run}")
    for name in lost:
        path = Path("killed", run, name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if run == "pixels":
        with Path("killed/pixels/logits.jsonl").open("a") as file:
            file.write('{"epoch": 2, "name": "netw')
    page = page_of(f"killed/{run}")
    kind = "study" if run == "molecules" else "search"
    assert f"This {kind} has not ended: it goes on still, or was stopped." in page.text
    assert f"`automl-plugins {kind} --config killed/{run}/config.yaml` goes on with it" in page.text
    assert "They are left out" in page.text
    assert left in page.text + "".join(page.alts)


def test_several_runs_are_compared_by_finals_curves_architectures_and_settings() -> None:
    assert main(["study", "--config", "molecules.yaml", "--folder", "runs/other", "--trials", "3", "--seed", "1"]) == 0
    shutil.rmtree("killed/study", ignore_errors=True)
    shutil.copytree("runs/molecules", "killed/study")
    Path("killed/study/summary.json").unlink()
    page = page_of("runs/molecules", "runs/other", "killed/study")
    assert page.titles == [
        "Final trainings",
        "Best so far, over cost",
        "Architectures",
        "Settings that differ",
        "Verdicts",
        "Configurations",
    ]
    assert any(all(f"{name} ends at" in alt for name in ("molecules", "other", "study")) for alt in page.alts)
    assert "study: This study has not ended" in page.text
    rows = ["seed", "3", "1", "3"], ["trials", "6", "3", "6"]
    assert all("".join(row) in page.text for row in rows)
    assert "The best by mean val_rmse is that of " in page.text


def test_runs_of_different_metrics_are_not_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "runs/molecules", "runs/pixels", "--out", "mixed.html"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "'molecules' by minimizing val_rmse and 'pixels' by maximizing val_miou" in told
    assert main(["report", "runs/pixels", "runs/pixels", "--out", "mixed.html"]) == 2
    assert "named twice" in capsys.readouterr().err
    assert not Path("mixed.html").exists()


def test_hostile_names_are_text() -> None:
    name = '<img src=x onerror="alert(1)">$\\frac$&'
    shutil.copytree("runs/molecules", f"runs/{name}")
    summary = Path("runs", name, "summary.json")
    content = json.loads(summary.read_text())
    for place, row in enumerate(content["rows"]):
        row["label"], row["notes"] = f"{place}{name}", [f"failed: </pre><script>{name}\x00\u202e"]
    content["monitor"] = name
    summary.write_text(json.dumps(content))
    page = page_of(f"runs/{name}")
    assert page.text.count(name) > 5
    assert "</pre><script>" in page.text


def test_a_page_of_ours_is_replaced_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["report", "runs/molecules", "--predictions", "false"]) == 0
    assert "kept: runs/molecules/report.html" in capsys.readouterr().out
    Path("mine.html").write_text("<p>mine</p>")
    assert main(["report", "runs/molecules", "--out", "mine.html"]) == 2
    assert Path("mine.html").read_text() == "<p>mine</p>"


@pytest.fixture
def broken() -> Iterator[Path]:
    """A copy of the study, to be broken."""
    shutil.copytree("runs/molecules", "broken")
    yield Path("broken")
    shutil.rmtree("broken")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("nowhere", ["'nowhere'", "no such folder"]),
        ("train.csv", ["'train.csv'", "is a file"]),
        ("empty", ["'empty'", "is empty"]),
        ("cells", ["'cells'", "no folder of a study"]),
        ("", ["name what to report"]),
        ("runs/molecules --out train.csv", ["out='train.csv'", ".html"]),
        ("runs/molecules --out cells", ["out='cells'", "it is a folder"]),
        ("runs/molecules --out train.csv/a.html", ["train.csv", "is a file"]),
        ("runs/molecules --predictions perhaps", ["predictions='perhaps'", "true or false"]),
        ("runs/molecules --figure a.png", ["figure='a.png'", "no such key"]),
        ("runs/molecules runs/pixels", ["out is missing"]),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments: str, named: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir(exist_ok=True)
    assert main(["report", *arguments.split()]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("automl-plugins report: ")
    assert all(part in told for part in named), told


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("summary.json", '{"format": 2, "version": "0.2", "space": "agnn", "rows": [', "summary.json cannot be read"),
        ("summary.json", '{"space": "agnn"}', "automl-plugins<0.2"),
        ("summary.json", '{"format": 9, "version": "7.1"}', "automl-plugins==7.1"),
        ("study.journal", "garbage\n{}\n", "line 1 is not a line of an Optuna journal"),
        ("config.yaml", "space: [", "config.yaml cannot be read"),
        ("architecture.json", "{", "architecture.json cannot be read"),
    ],
)
def test_a_broken_file_is_named_in_one_line(
    broken: Path, name: str, content: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (broken / name).write_text(content)
    assert main(["report", "broken", "--out", "broken.html", "--predictions", "false"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert named in told
    assert not Path("broken.html").exists()


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.parametrize("run", ["molecules", "pixels"])
@pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium")
def test_a_browser_shows_it_on_a_phone_and_on_a_desk_without_a_horizontal_scroll_bar(run: str) -> None:
    page_of(f"runs/{run}")
    frames = "".join(f'<iframe src="page.html" width="{width}" height="800"></iframe>' for width in (400, 1280))
    measure = """
      const told = [...document.querySelectorAll("iframe")].map(frame => {
        const page = frame.contentDocument, drawings = [...page.querySelectorAll("svg")];
        return [page.documentElement.scrollWidth, frame.clientWidth,
          drawings.filter(each => each.getBoundingClientRect().height > 20).length];
      });
      document.body.innerHTML = "<p>" + JSON.stringify(told) + "</p>";
    """
    Path("frames.html").write_text(f"<body>{frames}<script>onload = () => {{{measure}}}</script></body>")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom")
    ran = subprocess.run(
        [str(BROWSER), *flags, Path("frames.html").absolute().as_uri()], capture_output=True, text=True, timeout=200
    )
    found = re.search(r"<p>(\[.*?\])</p>", ran.stdout)
    assert found, ran.stdout + ran.stderr
    for scrolled, width, drawings in json.loads(found[1]):
        assert scrolled <= width
        assert drawings >= 3
