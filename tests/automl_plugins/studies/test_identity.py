"""A folder keeps to one study: what would mix is refused by name, what harms nothing is allowed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import segmentation_models_pytorch as smp
import torch
from optuna.samplers import TPESampler
from perceptron_space.data import WavesData
from perceptron_space.module import PixelRegression
from perceptron_space.space import PerceptronSpace
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor, RichProgressBar
from torch.utils.data import DataLoader, TensorDataset, random_split

from automl_plugins import Task
from automl_plugins.errors import FormatError, StudyError
from automl_plugins.studies.study import Study
from gnn_space import AGNNSpace, EGNASSpace, NodeClassification
from gnn_space.data import ClusterData, SmilesTable
from seg_space import AutoDeepLabSpace, ImplantSpace, SmpSpace

MakeStudy = Callable[..., Study]
TRAINER = {"max_epochs": 1, "accelerator": "cpu"}


def begin(study: Study) -> Study:
    """What `run` does before it works."""
    study.prepare()
    study.identity.keep(study.folder)
    return study


def nodes(folder: Path, **given: Any) -> Study:
    defaults = {"trials": 0, "references": ["gcn"], "seeds": 1, "trainer": TRAINER}
    settings = {"space": AGNNSpace(layers=1), "data": ClusterData(4, 2, 2), "folder": folder, **defaults, **given}
    return Study(**settings)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"space": AGNNSpace(layers=1, dropout=0.1)}, "space.dropout"),
        ({"space": EGNASSpace(nodes=2)}, "space"),
        ({"data": ClusterData(4, 2, 2, batch_size=1)}, "data.batch_size"),
        ({"data": ClusterData(4, 2, 2, seed=1)}, "data.seed"),
        ({"module": partial(NodeClassification, learning_rate=0.5)}, "module"),
        ({"trainer": {**TRAINER, "max_epochs": 2}}, "trainer.max_epochs"),
        ({"trainer": {**TRAINER, "gradient_clip_val": 1.0}}, "trainer.gradient_clip_val"),
        ({"trainer": {**TRAINER, "callbacks": [EarlyStopping("val_loss")]}}, "trainer.callbacks"),
        ({"judged_by": "best"}, "judged_by"),
        ({"sampler": "RandomSampler"}, "sampler"),
        ({"sampler": {"class_path": "TPESampler", "init_args": {"n_startup_trials": 3}}}, "sampler.arguments"),
        ({"sampler": TPESampler(n_startup_trials=3)}, "sampler"),
        ({"pruner": "MedianPruner"}, "pruner"),
        ({"limits": {"params": 1000}}, "limits"),
        ({"trial_epochs": 1}, "trial_epochs"),
        ({"seed": 1}, "seed"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_other_settings_are_refused_by_name(change: dict[str, Any], key: str, tmp_path: Path) -> None:
    begin(nodes(tmp_path))
    with pytest.raises(StudyError, match=rf"begun with {key}[.=].*give this one another folder"):
        nodes(tmp_path, **change).prepare()


@pytest.mark.parametrize(
    "change",
    [
        {"trials": 1, "seeds": 2, "finalists": 1, "references": ["gin"], "workers": 2, "random_search": False},
        {"trainer": {**TRAINER, "logger": True, "enable_progress_bar": True, "callbacks": RichProgressBar()}},
        {"trainer": {**TRAINER, "callbacks": [LearningRateMonitor()], "devices": 1, "benchmark": None}},
        {"max_equal_failures": 1},
    ],
    ids=["more", "progress", "monitors", "failures"],
)
def test_what_adds_or_only_watches_is_allowed(change: dict[str, Any], tmp_path: Path) -> None:
    begin(nodes(tmp_path))
    nodes(tmp_path, **change).prepare()


def test_other_ways_to_fetch_the_same_samples_are_said_and_allowed(
    make_study: MakeStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    class Waves(WavesData):
        def __init__(self, num_workers: int = 0) -> None:
            super().__init__()
            self.num_workers = num_workers

        def _loader(self, part: int) -> DataLoader[Any]:
            return DataLoader(self.parts[part], batch_size=self.batch_size, num_workers=self.num_workers)

    begin(make_study(data=Waves()))
    make_study(data=Waves(num_workers=1)).prepare()
    assert "goes on with data.num_workers=1 in place of 0, which changes no result" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("space", "other"),
    [
        (partial(AGNNSpace, layers=1), {"heads": (1,)}),
        (partial(EGNASSpace, nodes=2), {"cells": 3}),
        (partial(AutoDeepLabSpace, layers=2, blocks=1), {"filters": 4}),
        (partial(SmpSpace, decoders=("Unet",)), {"depths": (3,)}),
        (PerceptronSpace, {"widest": 3}),
    ],
    ids=["agnn", "egnas", "auto-deeplab", "smp", "another's"],
)
def test_every_argument_of_a_space_counts(
    space: Callable[..., Any], other: dict[str, Any], make_study: MakeStudy
) -> None:
    pixel = Task("pixel", "regression", 3, 1)
    graph = Task("graph", "regression", 3, 1)
    task = pixel if "pixel" in space().levels else graph
    identities = [
        make_study(space=made, task=task, monitor="m", direction="minimize").identity
        for made in (space(), space(), space(**other))
    ]
    assert identities[0] == identities[1]
    assert identities[0] != identities[2]


# The data.


def molecules(path: Path, scale: float = 1.0) -> Path:
    smiles = ["C" * count + end for count in range(1, 11) for end in "ON"]
    path.parent.mkdir(exist_ok=True)
    path.write_text("smiles,y\n" + "\n".join(f"{each},{scale * len(each)}" for each in smiles))
    return path


def test_another_file_is_refused_and_a_copy_that_was_touched_or_moved_is_not(tmp_path: Path) -> None:
    def study(path: Path) -> Study:
        return nodes(tmp_path / "run", data=SmilesTable(path, "smiles", "y"))

    first = molecules(tmp_path / "a.csv")
    begin(study(first))
    os.utime(first, (0, 0))
    study(first).prepare()
    study(Path(shutil.copy(first, tmp_path / "b.csv"))).prepare()
    with pytest.raises(StudyError, match=r"begun with data.path='a.csv .*has 'c.csv"):
        study(molecules(tmp_path / "c.csv", scale=1000.0)).prepare()
    molecules(first, scale=1.5)
    with pytest.raises(StudyError, match=r"begun with data.path='a.csv"):
        study(first).prepare()


@pytest.mark.parametrize("form", [str, lambda path: {"file": str(path), "mean": [0.5, 0.5, 0.5]}], ids=["path", "file"])
def test_a_file_of_pretrained_weights_is_known_by_its_content(
    form: Callable[[Path], Any], make_study: MakeStudy, tmp_path: Path
) -> None:
    def study(path: Path) -> Study:
        decoders = {"decoders": ("Linknet",), "encoders": ("tu-test_efficientnet",), "depths": (5,)}
        return make_study(space=SmpSpace(**decoders, encoder_weights=form(path)))

    first, other = tmp_path / "a.pt", tmp_path / "b.pt"
    for path in (first, other):
        torch.save(smp.encoders.get_encoder("tu-test_efficientnet", weights=None).state_dict(), path)
    begin(study(first))
    study(Path(shutil.copy(first, tmp_path / "c.pt"))).prepare()
    key = r"begun with space\.encoder_weights(\.file)?='a\.pt \(.* bytes, \w+\)', this one has "
    with pytest.raises(StudyError, match=rf"{key}'b\.pt \(.*give this one another folder") as told:
        study(other).prepare()
    assert "\n" not in str(told.value)
    shutil.copy(other, first)
    with pytest.raises(StudyError, match=rf"{key}'a\.pt \("):
        study(first).prepare()


def test_a_model_that_a_space_is_made_of_is_known_by_its_weights(make_study: MakeStudy) -> None:
    def study(seed: int) -> Study:
        torch.manual_seed(seed)
        model = smp.Unet("tu-test_efficientnet", encoder_weights=None, classes=1)
        return make_study(space=ImplantSpace(model, blocks=1, state_channels=2))

    begin(study(0))
    study(0).prepare()
    with pytest.raises(StudyError, match=r"begun with space\.model\.weights\.content="):
        study(1).prepare()


class Foreign(pl.LightningDataModule):
    """Keeps nothing of what it was made with under a name that one could guess."""

    def __init__(self, scale: float = 1.0, samples: int = 24, batch: int = 4, split_seed: int | None = 0) -> None:
        super().__init__()
        self.made_of = scale, samples, batch, split_seed
        self.task = Task("pixel", "regression", 3, 1)

    def setup(self, stage: str | None = None) -> None:
        scale, samples, _, seed = self.made_of
        x = scale * torch.rand(samples, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.parts = random_split(TensorDataset(x, x.mean(1, keepdim=True)), [0.5, 0.25, 0.25], generator=generator)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts[0], batch_size=self.made_of[2], shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts[1], batch_size=self.made_of[2])

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts[2], batch_size=self.made_of[2])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scale": 1000.0}, "as many training samples, but others"),
        ({"samples": 28}, "12 training samples then, 14 now"),
        ({"batch": 8}, "training data: batches of 4 then, batches of 8 now"),
        ({"split_seed": 1}, "as many training samples, but others"),
    ],
    ids=str,
)
def test_data_whose_settings_cannot_be_seen_are_known_by_their_samples(
    change: dict[str, Any], words: str, make_study: MakeStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(make_study(data=Foreign()))
    assert (
        "data.scale, data.samples, data.batch, data.split_seed in this folder would not be noticed"
        in capsys.readouterr().err
    )
    make_study(data=Foreign()).prepare()
    with pytest.raises(StudyError, match=f"begun with other data: {words}"):
        make_study(data=Foreign(**change)).prepare()


def test_a_split_without_a_seed_is_the_studys(make_study: MakeStudy) -> None:
    """Drawn from torch's global generator, it is the same in every run, whatever was drawn before."""
    begin(make_study(data=Foreign(split_seed=None)))
    torch.rand(7)
    make_study(data=Foreign(split_seed=None)).prepare()


def test_taking_the_fingerprint_leaves_the_generators_alone(make_study: MakeStudy) -> None:
    state = torch.get_rng_state()
    begin(make_study(data=Foreign(split_seed=None)))
    assert torch.get_rng_state().equal(state)


# Folders and storages.


def test_two_folders_of_one_name_do_not_mix_on_one_storage(make_study: MakeStudy, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/studies.db"
    studies = [
        make_study(folder=tmp_path / place / "run", data=WavesData(seed=seed), storage=storage, trials=2)
        for seed, place in enumerate(("a", "b"))
    ]
    values = []
    for study in studies:
        study.run()
        values.append([trial.value for trial in study.arm_trials("search")])
    assert studies[0].store.study_name("search") != studies[1].store.study_name("search")
    assert [len(each) for each in values] == [2, 2]
    assert values[0] != values[1]


def test_a_moved_folder_goes_on(make_study: MakeStudy, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/studies.db"
    for options in ({}, {"storage": storage}):
        study = make_study(folder=tmp_path / "run", trials=2, **options)
        summary = study.run()
        (tmp_path / "run").rename(tmp_path / "moved")
        moved = make_study(folder=tmp_path / "moved", trials=2, **options)
        assert moved.run() == summary
        assert len(moved.arm_trials("search")) == 2
        shutil.rmtree(tmp_path / "moved")


def test_another_storage_without_the_trials_is_refused_and_a_moved_one_is_not(
    make_study: MakeStudy, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/studies.db"
    make_study(storage=storage, trials=1).run()
    shutil.copy(tmp_path / "studies.db", tmp_path / "copy.db")
    make_study(storage=f"sqlite:///{tmp_path}/copy.db", trials=1).prepare()
    with pytest.raises(StudyError, match=r"are in sqlite.*studies.db, and sqlite.*other.db has none of them"):
        make_study(storage=f"sqlite:///{tmp_path}/other.db", trials=1).prepare()


def test_no_password_is_kept(make_study: MakeStudy) -> None:
    identity = make_study(storage="postgresql://me:secret@host/db").identity
    assert identity.storage == "postgresql://me@host/db"


@pytest.mark.parametrize(
    ("stamp", "reader"),
    [({}, "automl-plugins<0.2"), ({"format": 9, "version": "0.7.1"}, "automl-plugins==0.7.1")],
    ids=["earlier", "later"],
)
def test_a_folder_of_another_version_names_the_one_that_reads_it(
    stamp: dict[str, Any], reader: str, make_study: MakeStudy
) -> None:
    study = begin(make_study())
    kept = json.loads(study.folder.description.read_text())
    assert kept["format"] == 2
    assert kept["version"]
    content = {name: value for name, value in kept.items() if name not in ("format", "version")}
    study.folder.description.write_text(json.dumps({**stamp, **content}))
    with pytest.raises(FormatError, match=r"^the study in .* was written by automl-plugins 0\.[17]") as refusal:
        make_study().prepare()
    assert f"`pip install '{reader}'`" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_folder_of_before_was_judged_by_the_best_and_goes_on_so(make_study: MakeStudy) -> None:
    study = begin(make_study())
    kept = json.loads(study.folder.description.read_text())
    del kept["settings"]["judged_by"]
    study.folder.description.write_text(json.dumps(kept))
    make_study(judged_by="best").prepare()
    with pytest.raises(StudyError, match="begun with judged_by='best', this one has 'last'; two studies do not mix"):
        make_study().prepare()


def test_a_damaged_description_says_so(make_study: MakeStudy) -> None:
    study = make_study()
    study.folder.path.mkdir()
    for text in ('{"format": 2, "settings": {}}', "[]", "half a fi"):
        study.folder.description.write_text(text)
        with pytest.raises(StudyError, match="it is damaged; give this study another folder"):
            make_study().prepare()


def test_a_constant_module_of_one_name_in_two_places_is_one(make_study: MakeStudy) -> None:
    begin(make_study(module=PixelRegression))
    make_study(module=PixelRegression).prepare()
    with pytest.raises(StudyError, match="begun with module"):
        make_study(module=lambda network, task: PixelRegression(network, task)).prepare()


def test_of_two_studies_that_start_at_once_one_has_the_folder(make_study: MakeStudy) -> None:
    first, other, same = make_study(), make_study(seed=7), make_study()
    for study in (first, other, same):
        study.prepare()  # when the folder is nobody's yet
    first.begin()
    with pytest.raises(StudyError, match="was begun with seed=0, this one has 7; two studies do not mix"):
        other.run()
    assert same.run().winner is not None
