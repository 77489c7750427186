"""A script goes on from a run's folder: what was found, in which space, and how well it did."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from perceptron_space.data import WavesData
from perceptron_space.module import PixelRegression
from perceptron_space.space import PerceptronSpace
from torch import nn

from automl_plugins import Study, Task, load_result
from automl_plugins.cli import main
from automl_plugins.errors import FormatError
from automl_plugins.report.search import SearchSummary
from gnn_space import AGNNSpace


def test_the_result_of_a_study_is_its_winner_with_scores_and_weights(make_study: Callable[..., Study]) -> None:
    study = make_study(seeds=2, space=PerceptronSpace(max_parameters=500))
    summary = study.run()
    found = load_result(study.folder.path)
    assert found.architecture == study.finals.winner.contender.architecture
    assert isinstance(found.space, PerceptronSpace)
    (row,) = summary.rows
    assert found.scores == {"val_loss": row.validation_mean, "test_loss": row.test["test_loss"][0]}
    assert (found.winner, found.summary) == ("search", summary)
    # The weights are those of the seed that validated best.
    seed = study.comparison.best_seed(study.finals.winner.contender)
    tested = study.project.test(found.network(study.project.task))
    assert tested["test_loss"] == pytest.approx(
        study.comparison.tested(study.finals.winner.contender)[seed].metrics["test_loss"]
    )


def test_a_users_own_module_and_data_predict_with_all_seeds_and_in_the_order_of_their_loader(
    make_study: Callable[..., Study], tmp_path: Path
) -> None:
    study = make_study(seeds=2, space=PerceptronSpace(max_parameters=500), data=ToBePredicted())
    study.run()
    winner, comparison = study.finals.winner.contender, study.comparison
    (batch,) = study.project.batches(split="val")
    each = torch.stack([comparison.load(winner, seed).eval()(batch[0]) for seed in comparison.seeds]).detach()
    found = load_result(study.folder.path)
    prediction = found.predict(batch)
    torch.testing.assert_close(prediction.values, each.mean(dim=0))
    torch.testing.assert_close(prediction.spread, each.std(dim=0))
    assert isinstance(found.module(), PixelRegression)
    torch.testing.assert_close(found.network()(batch[0]), found.predict(batch, "best").values)
    with pytest.raises(ValueError, match="ToBePredicted has no `unlabelled`"):
        found.unlabelled(tmp_path)

    assert main(["predict", str(study.folder.path), "--out", str(tmp_path / "out")]) == 0
    written = [np.load(tmp_path / "out" / f"{place}.npz")["values"] for place in range(8)]
    assert len(list((tmp_path / "out").iterdir())) == 8
    images = torch.cat([batch[0] for batch in ToBePredicted.of_test()])
    torch.testing.assert_close(torch.from_numpy(np.stack(written)), found.predict((images,)).values)


class ToBePredicted(WavesData):
    """The test images are predicted."""

    def predict_dataloader(self) -> Any:
        return self.test_dataloader()

    @classmethod
    def of_test(cls) -> Any:
        data = cls()
        data.setup()
        return data.test_dataloader()


class WithoutForward(PixelRegression):
    """A module that calls its network by itself in every step."""

    forward = pl.LightningModule.forward

    def _loss(self, batch: Any) -> torch.Tensor:
        return torch.nn.functional.mse_loss(self.network(batch[0]), batch[1])


def test_the_network_of_a_module_that_does_not_say_what_it_predicts_is_called_as_the_registered_one_calls_it(
    make_study: Callable[..., Study],
) -> None:
    study = make_study(module=WithoutForward, space=PerceptronSpace(max_parameters=500))
    study.run()
    (batch,) = study.project.batches(split="val")
    found = load_result(study.folder.path)
    torch.testing.assert_close(found.predict(batch).values, found.network()(batch[0]).detach())


class ExactWaves(nn.Module):
    """The function that the targets of `WavesData` are of."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((task.out_channels,), 2.0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.sum(dim=1, keepdim=True).mul(self.factor).sin()


def test_the_winner_predicts_though_it_was_made_by_hand_and_what_was_found_beside_it(
    make_study: Callable[..., Study], tmp_path: Path
) -> None:
    study = make_study(seeds=2, references=[ExactWaves], data=ToBePredicted())
    summary = study.run()
    assert summary.winner == "ExactWaves"
    folder, values = study.folder.path, {}
    for run in (folder, folder / "found"):
        out = tmp_path / f"{run.name}-out"
        assert main(["predict", str(run), "--out", str(out)]) == 0
        values[run.name] = torch.from_numpy(np.stack([np.load(out / f"{place}.npz")["values"] for place in range(8)]))
    (batch,) = list(ToBePredicted.of_test())
    torch.testing.assert_close(values["run"], batch[1], atol=0.2, rtol=0)
    for given in (folder, folder / "found"):
        torch.testing.assert_close(values["found"], load_result(given).predict(batch).values)


def test_an_ensemble_is_kept_beside_the_winner_and_loaded_like_it(make_study: Callable[..., Study]) -> None:
    study = make_study(seeds=2, finalists=3, ensemble=2, space=PerceptronSpace(max_parameters=500))
    summary = study.run()
    rows = {row.label: row for row in summary.rows}
    search, row = rows["search"], rows["ensemble of 2"]
    assert summary.winner == "search"
    assert row.completed == 2
    members = study.finals.members
    choosing = [study.finals.standing(each, study.choosing).mean for each in study.finals.finalists("search")]
    assert sorted(choosing)[:2] == [study.finals.standing(each, study.choosing).mean for each in members]
    count = study.project.space.num_parameters
    assert row.params == sum(count(each.architecture, study.project.task) for each in members)
    assert row.figures.keys() == search.figures.keys() == {"macs", "latency_ms"}
    assert row.figures["macs"] > search.figures["macs"]
    (line,) = [line for line in summary.verdict if line.startswith("ensemble of 2 (")]
    assert "it stands beside the winner, in the folder ensemble" in line

    task, loaded = study.project.task, load_result(study.folder.path)
    ensemble = loaded.ensemble(task)
    seed = study.comparison.best_seed(study.finals.ensemble)
    networks = [study.comparison.load(each, seed).network.eval() for each in members]
    (batch,) = study.project.batches(split="val")
    with torch.no_grad():
        mean = torch.stack([network(batch[0]) for network in networks]).mean(dim=0)
        torch.testing.assert_close(ensemble.eval()(batch[0]), mean)
    tested = study.comparison.tested(study.finals.ensemble)[seed].metrics
    assert study.project.test(ensemble)["test_loss"] == pytest.approx(tested["test_loss"])
    assert loaded.scores["test_loss"] != row.test["test_loss"][0]

    study.folder.ensemble.members.write_text(
        json.dumps({"members": [{"label": "x", "architecture": None, "reference": "os.system"}]})
    )
    with pytest.raises(ValueError, match=r"'os.system' is not registered, and has not been imported as a class"):
        loaded.ensemble(task)
    study.folder.ensemble.members.unlink()
    with pytest.raises(FileNotFoundError, match="the study was not asked for an ensemble"):
        loaded.ensemble(task)


def test_where_a_hand_made_network_won_it_is_the_best_that_was_found(make_study: Callable[..., Study]) -> None:
    study = make_study()
    study.run()
    folder = study.folder
    folder.found.path.mkdir()
    for path in (folder.architecture, folder.network):
        path.rename(folder.found.path / path.name)
    found = load_result(folder.path)
    assert found.folder == folder.found.path
    assert found.scores.keys() == {"val_loss", "test_loss"}
    assert sum(map(torch.numel, found.network(WavesData().task).parameters())) > 0


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    """The folder of a search over a registered space."""
    space = AGNNSpace(layers=1)
    summary = SearchSummary("agnn", "CoraData", "darts", 1, 2, 3.0, 4.0, 5, 6, {"val_loss": 0.5})
    (tmp_path / "architecture.json").write_text(space.sample(np.random.default_rng(0)).to_json())
    (tmp_path / "search.json").write_text(summary.to_json())
    return tmp_path


@pytest.mark.parametrize("name", ["agnn", "gnn_space.AGNNSpace", "gnn_space.agnn.space.AGNNSpace"])
def test_the_result_of_a_search_has_its_space_and_no_scores(searched: Path, name: str) -> None:
    (searched / "config.yaml").write_text(yaml.safe_dump({"space": {"class_path": name, "init_args": {"layers": 1}}}))
    found = load_result(str(searched))
    assert found.space.size == AGNNSpace(layers=1).size
    assert found.scores == {}
    assert isinstance(found.summary, SearchSummary)
    assert found.winner is None


def test_a_folder_without_a_config_needs_a_space_unless_the_default_one_fits(searched: Path) -> None:
    with pytest.raises(ValueError, match=r"no architecture of the space 'agnn' as it was made .*, space=\.\.\."):
        load_result(searched)
    assert load_result(searched, AGNNSpace(layers=1)).architecture.space == "agnn"


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        ("unheard.of.Space", "is not registered, and has not been imported; give it: load_result"),
        ({"class_path": "json.JSONDecoder"}, "json.JSONDecoder .* is not registered"),
        ({"class_path": "agnn", "init_args": {"layerss": 2}}, "cannot be made"),
        ({"class_path": "agnn", "init_args": {"layers": {"class_path": "os.system"}}}, "is made of other objects"),
    ],
)
def test_a_config_runs_no_code_of_its_own_choice(searched: Path, space: Any, reason: str) -> None:
    (searched / "config.yaml").write_text(yaml.safe_dump({"space": space}))
    with pytest.raises(ValueError, match=reason):
        load_result(searched)


def test_what_is_not_there_or_of_another_version_is_said(searched: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no architecture\.json"):
        load_result(tmp_path / "nowhere")
    (searched / "search.json").write_text(json.dumps({"space": "agnn"}))
    with pytest.raises(FormatError, match=r"automl-plugins<0\.2"):
        load_result(searched, AGNNSpace(layers=1))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"3", b"null", b"[" * 100_000, bytes(range(128, 256)), b'{"format": 2}']
)
@pytest.mark.parametrize("name", ["architecture.json", "summary.json", "search.json", "config.yaml"])
def test_a_file_that_somebody_has_changed_is_named(searched: Path, name: str, content: bytes) -> None:
    if name == "config.yaml" and content in (b"", b"[]", b"null", b'{"format": 2}'):
        pytest.skip("a config without a space")
    (searched / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(searched / name))):
        load_result(searched, None if name == "config.yaml" else AGNNSpace(layers=1))


@pytest.mark.parametrize("content", ["nothing", "a list", "another network's", "not a number", "half"])
def test_weights_that_are_none_of_the_network_are_named(searched: Path, content: str) -> None:
    found, path = load_result(searched, AGNNSpace(layers=1)), searched / "network.pt"
    task = Task("node", "classes", in_channels=2, out_channels=2)
    weights = found.network(task).state_dict()
    kept: dict[str, Any] = {
        "a list": [1],
        "another network's": {"a": torch.ones(1)},
        "not a number": {name: each * torch.nan for name, each in weights.items()},
    }
    torch.save(kept.get(content, weights), path)
    if content in ("nothing", "half"):
        path.write_bytes(path.read_bytes()[: 0 if content == "nothing" else 300])
    with pytest.raises(ValueError, match=rf"{path}( has no weights of this network|: the weight .* is not finite)"):
        found.network(task)


def test_metrics_that_are_no_number_are_undefined_in_the_file_and_for_a_person() -> None:
    figures = {"seconds": 1.0, "cpu_seconds": 1.0, "supernet_parameters": 2, "network_parameters": 1}
    summary = SearchSummary("agnn", "CoraData", "darts", 1, 1, **figures, metrics={"val_loss": float("nan")})
    assert "NaN" not in summary.to_json()
    again = SearchSummary.from_json(summary.to_json())
    assert again.metrics == {"val_loss": None}
    assert again.lines()[-1] == "the supernet at the end: val_loss undefined"


SCRIPT = """
import sys

from perceptron_space.data import WavesData
from perceptron_space.module import PixelRegression
from perceptron_space.space import PerceptronSpace

from automl_plugins import Study, load_result


class Mine(PixelRegression):
    pass


arguments = dict(trials=1, trainer={"max_epochs": 1}, random_search=False, references=[], finalists=1, seeds=1)
study = Study(space=PerceptronSpace(), data=WavesData(), module=Mine, folder=sys.argv[1], **arguments)
study.run()
print(type(load_result(sys.argv[1]).module()).__name__)
"""


def test_the_module_of_the_script_that_is_run_is_found(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SCRIPT)
    third_party = Path(__file__).parents[2] / "third_party"
    paths = os.pathsep.join([str(third_party), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-W", "ignore", str(tmp_path / "mine.py"), str(tmp_path / "run")]
    ran = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ran.stdout.endswith("Mine\n"), ran.stderr
