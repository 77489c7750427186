"""Few-shot NAS: a supernet, its sub-supernets, and what is compared."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from automl_plugins import ArchitectureSearch, Project, Task
from automl_plugins.errors import StudyError
from automl_plugins.estimators.context import Context
from automl_plugins.estimators.inherited import InheritedEstimator
from automl_plugins.procedures import few_shot as few_shot_module
from automl_plugins.procedures.few_shot import _candidates, few_shot
from automl_plugins.procedures.fits import Fits
from automl_plugins.procedures.gradient_matching import best_split, bisected, cosine, grouped
from automl_plugins.spaces.choice import Choice
from automl_plugins.strategies import PCDARTS
from automl_plugins.supernets.searchable import Searchable
from gnn_space import AGNNSpace, EGNASSpace, GNNPlusSpace
from gnn_space.data import ClusterData
from seg_space import AutoDeepLabSpace, SmpSpace


class Pixels(pl.LightningDataModule):
    task = Task("pixel", "classes", in_channels=3, out_channels=2)

    def _loader(self, seed: int) -> DataLoader[Any]:
        image = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        return DataLoader(TensorDataset(image, (image[:, 0] > 0.5).long()), 2)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(0)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(1)


def graphs(space: Any, folder: Path, **arguments: Any) -> Project:
    trainer = {"max_epochs": 2, "accelerator": "cpu", **arguments.pop("trainer", {})}
    return Project(space, ClusterData(4, 2, 2, batch_size=1), trainer=trainer, folder=folder, **arguments)


def agnn(folder: Path, **arguments: Any) -> Project:
    space = AGNNSpace(layers=1, hidden_channels=(4, 8), heads=(1, 2), dropout=0.1)
    return graphs(space, folder, **arguments)


def egnas(folder: Path) -> Project:
    return graphs(EGNASSpace(cells=1, nodes=1, node_channels=4, edge_channels=2), folder)


def auto_deeplab(folder: Path) -> Project:
    space = AutoDeepLabSpace(layers=2, blocks=1, filters=1, stem=(2,), stem_stride=1)
    return Project(space, Pixels(), trainer={"max_epochs": 2, "accelerator": "cpu"}, folder=folder)


CHOICES = {
    "agnn": "layer0.heads",
    "egnas": "cell0.node2.from0.node_operation",
    "auto-deeplab": "cell.block0.from0.operation",
}


@pytest.mark.parametrize(("make", "strategy"), [(agnn, "random"), (egnas, "darts"), (auto_deeplab, "darts")])
def test_each_option_of_a_choice_has_a_sub_supernet_and_the_best_of_all_comes_first(
    make: Callable[[Path], Project], strategy: str, tmp_path: Path
) -> None:
    project = make(tmp_path)
    found = few_shot(project, CHOICES[project.space.name], strategy)
    for each in found:
        project.space.validate(each.architecture)
    scores = [project.sign * each.figures[project.monitor] for each in found]
    assert scores == sorted(scores, reverse=True)
    folders = [path.parent.name for path in (tmp_path / "few-shot").glob("*/ended")]
    assert len(folders) == len(found) + 1 >= 3
    assert "supernet" in folders


def test_the_named_choice_is_split_and_each_sub_supernet_keeps_to_its_option(tmp_path: Path) -> None:
    found = few_shot(agnn(tmp_path), "layer0.heads")
    assert sorted(each.architecture["layer0.heads"] for each in found) == [1, 2]


def test_fits_keep_the_projects_limits_and_other_limits_need_another_folder(tmp_path: Path) -> None:
    free = agnn(tmp_path)
    drawn = [free.space.sample(torch.Generator().manual_seed(seed)) for seed in range(20)]
    half = sorted(free.space.num_parameters(each, free.task) for each in drawn)[10]
    fits = Fits(free.replace(limits={"params": half, "references": None}), "few-shot", {})
    fit = fits.run("supernet", fits.searchable(), "darts", 1)
    for seed in range(10):
        sample = fit.searchable.sample(torch.Generator().manual_seed(seed))
        assert free.space.num_parameters(sample, free.task) <= half
    with pytest.raises(StudyError, match="limits"):
        Fits(free, "few-shot", {})


def test_closed_options_have_no_sub_supernet(tmp_path: Path) -> None:
    space = GNNPlusSpace(depths=(1,), channels=(8,), messages=("gcn", "dmpnn", "sage"), heads=1)
    searchable = Fits(graphs(space, tmp_path), "few-shot", {}).searchable()
    # Messages from edge to edge are for the level of graphs.
    options = next(each.options for each in searchable.choices if each.name == "layer0.message")
    assert [options[column] for column in _candidates(searchable, "layer0.message", None)["layer0.message"]] == [
        "gcn",
        "sage",
    ]


def test_sub_supernets_start_from_the_weights_of_the_supernet_and_from_new_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: dict[str, Mapping[str, Tensor]] = {}
    ends: dict[str, Mapping[str, Tensor]] = {}
    run = Fits.run

    def watched(self: Fits, name: str, searchable: Searchable, *arguments: Any, **others: Any) -> Any:
        starts[name] = {key: value.clone() for key, value in searchable.state_dict().items() if torch.is_tensor(value)}
        found = run(self, name, searchable, *arguments, **others)
        ends[name] = {key: value.clone() for key, value in searchable.state_dict().items() if torch.is_tensor(value)}
        return found

    monkeypatch.setattr(Fits, "run", watched)
    few_shot(agnn(tmp_path), "layer0.heads")
    supernet = {key: value for key, value in ends["supernet"].items() if key.startswith("supernet.")}
    for name in ("layer0.heads-0", "layer0.heads-1"):
        for key, value in supernet.items():
            assert torch.equal(starts[name][key], value)
        assert torch.equal(starts[name]["logits"], starts["supernet"]["logits"])
        assert any(not torch.equal(ends[name][key], value) for key, value in supernet.items())


def test_scores_are_those_of_the_weights_of_the_own_sub_supernet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = []
    run = Fits.run

    def watched(self: Fits, name: str, searchable: Searchable, *arguments: Any, **others: Any) -> Any:
        found = run(self, name, searchable, *arguments, **others)
        children.append(found)
        return found

    monkeypatch.setattr(Fits, "run", watched)
    project = agnn(tmp_path)
    found = {each.architecture: each.figures[project.monitor] for each in few_shot(project, "layer0.heads")}
    for child in children[1:]:
        (estimate,) = InheritedEstimator(child.module).estimate_all([child.architecture], Context.of(project))
        assert found[child.architecture] == project.sign * estimate.score


class KilledIn(pl.Callback):
    """Interrupts one of the fits, counted from 0, in the epoch that is named."""

    fits = 0

    def __init__(self, fit: int, epoch: int) -> None:
        self.fit, self.epoch = fit, epoch

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        KilledIn.fits += 1

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if (KilledIn.fits - 1, trainer.current_epoch) == (self.fit, self.epoch):
            raise KeyboardInterrupt


@pytest.mark.parametrize(("fit", "epoch", "choice"), [(0, 1, None), (1, 0, "layer0.heads"), (2, 1, None)])
def test_a_procedure_that_is_killed_and_called_again_finds_what_an_unbroken_one_finds(
    fit: int, epoch: int, choice: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"choice": choice, "strategy": "darts", "child_epochs": 2}
    unbroken = few_shot(agnn(tmp_path / "unbroken"), **arguments)
    monkeypatch.setattr(KilledIn, "fits", 0)
    project = agnn(tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(Project, "options", lambda self, epochs=None: _killed(self, epochs, KilledIn(fit, epoch)))
        with pytest.raises(KeyboardInterrupt):
            few_shot(project, **arguments)
    assert few_shot(agnn(tmp_path / "killed"), **arguments) == unbroken
    ends = [_weights(tmp_path / name) for name in ("unbroken", "killed")]
    assert ends[0].keys() == ends[1].keys()
    for key, value in ends[0].items():
        assert torch.equal(value, ends[1][key]), key


def _weights(folder: Path) -> dict[str, Tensor]:
    """All that is in the last checkpoints of the fits."""
    found = {}
    for path in sorted((folder / "few-shot").glob("*/last.ckpt")):
        state = torch.load(path, weights_only=True)["state_dict"]
        found |= {f"{path.parent.name}.{key}": value for key, value in state.items() if torch.is_tensor(value)}
    return found


def _killed(project: Project, epochs: int | None, callback: pl.Callback) -> dict[str, Any]:
    return {**project.trainer, **({} if epochs is None else {"max_epochs": epochs}), "callbacks": [callback]}


def test_what_has_ended_is_read_and_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = few_shot(agnn(tmp_path), "layer0.heads")
    monkeypatch.setattr(ArchitectureSearch, "setup", lambda *_: pytest.fail("a fit is run again"))
    assert few_shot(agnn(tmp_path), "layer0.heads") == found


def test_a_folder_of_other_settings_or_other_data_is_refused(tmp_path: Path) -> None:
    few_shot(agnn(tmp_path), "layer0.heads")
    with pytest.raises(StudyError, match=r"choice='layer0\.heads'"):
        few_shot(agnn(tmp_path), "layer0.attention")
    with pytest.raises(StudyError, match="seed"):
        few_shot(agnn(tmp_path, seed=1), "layer0.heads")
    other = agnn(tmp_path).replace(data=ClusterData(5, 2, 2, batch_size=1))
    with pytest.raises(StudyError, match="data"):
        few_shot(other, "layer0.heads")


def test_a_choice_that_there_is_not_and_a_space_without_supernets_are_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fits, "run", lambda *_: pytest.fail("something is trained"))
    with pytest.raises(ValueError, match=r"there is no choice 'layer0.head'.*layer0.heads"):
        few_shot(agnn(tmp_path / "a"), "layer0.head")
    with pytest.raises(ValueError, match="there is no choice 3 to split"):
        few_shot(agnn(tmp_path / "a"), 3)
    with pytest.raises(TypeError, match="the space 'smp' has none"):
        few_shot(auto_deeplab(tmp_path / "b").replace(space=SmpSpace()))
    with pytest.raises(ValueError, match="takes two options"):
        few_shot(
            agnn(tmp_path / "c").replace(space=AGNNSpace(layers=1, hidden_channels=(4,), heads=(1,))), "layer0.heads"
        )


def test_a_call_that_was_refused_leaves_the_folder_to_a_better_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no choice"):
        few_shot(agnn(tmp_path), "layer0.head")
    with pytest.raises(ValueError, match="there is no 'dart' among the strategies"):
        few_shot(agnn(tmp_path), "layer0.heads", "dart")
    with pytest.raises(ValueError, match="epochs is at least 1; got 0"):
        few_shot(agnn(tmp_path), "layer0.heads", "darts", epochs=0)
    assert few_shot(agnn(tmp_path), "layer0.heads", "darts", epochs=1)


def test_the_callback_names_the_command_that_runs_a_procedure() -> None:
    with pytest.raises(ValueError, match=r"'few-shot' is a procedure.*automl-plugins search --strategy few-shot"):
        ArchitectureSearch("few-shot")


# Gradient matching.


def test_a_gradient_of_an_options_own_weights_does_not_count() -> None:
    one, other = torch.tensor([1.0, 0.0, 3.0, 0.0]), torch.tensor([2.0, 5.0, 0.0, 0.0])
    assert cosine(one, other) == pytest.approx(1.0)
    assert cosine(one, -other) == pytest.approx(-1.0)
    assert cosine(one, torch.tensor([0.0, 1.0, 0.0, 1.0])) == 1.0


@given(st.integers(2, 6), st.integers(0, 2**16))
def test_the_halves_are_those_of_the_least_mean_cosine(count: int, seed: int) -> None:
    matrix = torch.rand(count, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    cosines = (matrix + matrix.T).tolist()
    value, (first, second) = bisected(cosines, range(count))
    assert sorted(first + second) == list(range(count))
    assert abs(len(first) - len(second)) <= 1
    for size in {len(first), len(second)}:
        for half in itertools.combinations(range(count), size):
            rest = [place for place in range(count) if place not in half]
            mean = sum(cosines[one][other] for one in half for other in rest) / (len(half) * len(rest))
            assert value <= mean + 1e-12


def test_the_choice_whose_groups_agree_least_is_split_and_agreeing_options_stay_together() -> None:
    choices = {name: Choice(name, tuple("abcd")) for name in ("first", "second")}
    agree = [[1.0, 0.9, 0.9, 0.9]] * 4
    apart = [[1.0, -0.5, 0.9, -0.5], [-0.5, 1.0, -0.5, 0.9], [0.9, -0.5, 1.0, -0.5], [-0.5, 0.9, -0.5, 1.0]]
    split = best_split({"first": agree, "second": apart}, {name: range(4) for name in choices}, choices)
    assert split.choice == "second"
    assert sorted(split.groups) == [["a", "c"], ["b", "d"]]
    assert grouped(apart, 3) == [[0], [1, 3], [2]]


@pytest.mark.parametrize(("make", "strategy"), [(agnn, "random"), (egnas, "darts"), (agnn, "gdas"), (agnn, "unas")])
def test_where_no_choice_is_named_gradients_find_one_and_its_groups(
    make: Callable[[Path], Project], strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = []
    run = Fits.run

    def watched(self: Fits, name: str, searchable: Searchable, *arguments: Any, **others: Any) -> Any:
        masks.append(searchable.mask.clone())
        return run(self, name, searchable, *arguments, **others)

    monkeypatch.setattr(Fits, "run", watched)
    found = few_shot(make(tmp_path), strategy=strategy, epochs=1)
    assert len(found) == 2
    whole, first, second = masks
    (row,) = (first != second).any(dim=1).nonzero().flatten().tolist()
    assert not (first[row] & second[row]).any(), "an option is in both groups"
    others = torch.arange(len(whole)) != row
    assert torch.equal(first[others], second[others])


def test_options_of_a_named_choice_are_grouped_by_their_gradients(tmp_path: Path) -> None:
    found = few_shot(agnn(tmp_path), "layer0.attention", epochs=1, groups=3)
    assert len(found) == 3
    cosines = json.loads((tmp_path / "few-shot" / "supernet" / "gradients.json").read_text())
    assert list(cosines) == ["layer0.attention"]
    matrix = torch.tensor(cosines["layer0.attention"])
    assert torch.equal(matrix, matrix.T)
    assert float(matrix.abs().max()) <= 1 + 1e-6
    with pytest.raises(ValueError, match=r"the choice 'layer0\.heads' splits the supernet: it takes groups=3 options"):
        few_shot(agnn(tmp_path / "other"), "layer0.heads", groups=3)


def test_a_strategy_whose_weights_no_network_inherits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = few_shot_module.make_strategy
    monkeypatch.setattr(few_shot_module, "make_strategy", lambda name: PCDARTS() if name == "pc-darts" else own(name))
    with pytest.raises(ValueError, match="strategy='pc-darts' mixes one channel in 4"):
        few_shot(agnn(tmp_path), "layer0.heads", "pc-darts")
