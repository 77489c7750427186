"""Pretrained encoders in training: the images that they are given, their rate, frozen epochs, and what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn

from automl_plugins import Study, Task, load_result
from automl_plugins.errors import StudyError
from automl_plugins.training.averaging import AveragedWeights
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl
from seg_space import SemanticSegmentation, SmpNetwork, SmpSpace
from seg_space.data.base import ImageDataModule
from seg_space.data.sources import TensorSource
from seg_space.pretrained.normalisation import IMAGENET_DEVIATION, IMAGENET_MEAN, InputNormalisation
from seg_space.references import UNet

pytestmark = pytest.mark.filterwarnings("ignore:(val|test)_miou is the mean over")
TASK = Task("pixel", "classes", in_channels=3, out_channels=2)


class Photographs(ImageDataModule):
    """Noise whose bright half is the one class, as bytes or as real values."""

    def __init__(self, bytes_: bool = True, **others: Any) -> None:
        super().__init__(batch_size=2, **others)
        self.bytes = bytes_

    @property
    def task(self) -> Task:
        return TASK

    def _sources(self) -> tuple[TensorSource, TensorSource, TensorSource]:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(20, 200, (8, 3, 64, 64), generator=generator)
        masks = (torch.arange(64) >= 32).long().expand(8, 64, 64)
        images = images + 50 * masks.unsqueeze(1)
        images = images.to(torch.uint8) if self.bytes else images.float() / 7 - 3
        return tuple(TensorSource(images[part], masks[part]) for part in (slice(4), slice(4, 6), slice(6, 8)))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    encoder: Any = smp.encoders.get_encoder("resnet18", weights=None)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(encoder.state_dict(), path)
    return str(path)


def space_of(weights: Any) -> SmpSpace:
    return SmpSpace(decoders=("Linknet",), encoders=("resnet18",), depths=(5,), encoder_weights=weights)


def network_of(weights: Any, seed: int = 0) -> SmpNetwork:
    space = space_of(weights)
    torch.manual_seed(seed)
    return space.network(space.sample(np.random.default_rng(0)), TASK)


def fit(module: pl.LightningModule, epochs: int, callbacks: Any = (), **options: Any) -> pl.Trainer:
    trainer = pl.Trainer(**{**LEAN, "max_epochs": epochs, "callbacks": list(callbacks), **options})
    trainer.fit(module, Photographs())
    return trainer


# Images.


def test_a_network_sees_the_images_that_its_weights_expect(weights: str) -> None:
    given = {"file": weights, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    network = network_of(given)
    data = Photographs()
    module = SemanticSegmentation(network, TASK, learning_rate=1e-30)
    pl.Trainer(**LEAN, max_epochs=1).fit(module, data)
    pl.Trainer(**LEAN, max_epochs=1).fit(module, data)  # a second fit settles the same
    raw, _ = data.loaded.test.source.read(0)
    normalised, _ = data.loaded.test[0]
    expected = (raw.float() / 255 - torch.tensor(given["mean"]).view(3, 1, 1)) / torch.tensor(given["std"]).view(
        3, 1, 1
    )
    assert network.normalisation is not None
    assert torch.allclose(network.normalisation(normalised.unsqueeze(0))[0], expected, atol=1e-5)
    network.eval()
    with torch.no_grad():
        assert torch.allclose(network(normalised.unsqueeze(0)), network.model(expected.unsqueeze(0)), atol=1e-4)


def test_images_without_black_and_white_come_like_imagenets_photographs() -> None:
    data = Photographs(bytes_=False)
    data.setup("fit")
    assert data.image_limits is None
    part = InputNormalisation(IMAGENET_MEAN, IMAGENET_DEVIATION, 3)
    part.match(*data.image_statistics, data.image_limits)
    images = torch.stack([data.loaded.train[index][0] for index in range(4)])
    found = part(images)
    assert torch.allclose(found.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(found.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-3)
    other = InputNormalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1)  # one channel: the average of three
    other.match(torch.tensor([7.0]), torch.tensor([3.0]), None)
    assert other(torch.zeros(1, 1, 1, 1)).item() == pytest.approx((np.mean(IMAGENET_MEAN) - 0.5) / 0.5)


def test_without_a_datamodules_statistics_images_are_taken_as_they_come() -> None:
    images = torch.randn(1, 2, 3, 3)
    assert torch.equal(InputNormalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 2)(images), images)


# Rates, and frozen epochs.


class Watch(pl.Callback):
    """Keeps the state of the encoder at the end of each epoch, and the rates of its last step."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.rates: list[list[float]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        state = pl_module.network.model.encoder.state_dict()
        self.states.append({name: tensor.clone() for name, tensor in state.items()})


def changed(before: dict[str, Tensor], after: dict[str, Tensor], kind: str) -> bool:
    names = [
        name
        for name in before
        if name.endswith("num_batches_tracked") is False and ("running" in name) == (kind == "statistics")
    ]
    return any(not torch.equal(before[name], after[name]) for name in names)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_an_encoder_learns_at_a_rate_of_its_own(optimizer: Any, weights: str) -> None:
    watch = Watch()
    module = SemanticSegmentation(
        network_of(weights), TASK, 1e-2, optimizer=optimizer, schedule="constant", encoder_learning_rate=1e-4
    )
    trainer = fit(module, 1, [watch])
    assert watch.rates[0] == [1e-2, 1e-4]
    others, encoder = trainer.optimizers[0].param_groups
    assert {id(weight) for weight in encoder["params"]} <= {
        id(weight) for weight in module.network.model.encoder.parameters()
    }
    every = len(others["params"]) + len(encoder["params"])
    assert every == len(list(module.parameters()))
    random = SemanticSegmentation(network_of(None), TASK, 1e-2, encoder_learning_rate=1e-4)
    assert len(random.configure_optimizers().param_groups) == 1, (
        "an encoder without pretrained weights is like the rest"
    )


def test_frozen_epochs_leave_an_encoder_as_it_is(weights: str) -> None:
    watch, module = Watch(), SemanticSegmentation(network_of(weights), TASK, 1e-2, frozen_epochs=1)
    first = {name: tensor.clone() for name, tensor in module.network.model.encoder.state_dict().items()}
    decoder = [tensor.clone() for tensor in module.network.model.decoder.state_dict().values()]
    fit(module, 2, [watch])
    for kind in ("weights", "statistics"):
        assert not changed(first, watch.states[0], kind)
        assert changed(first, watch.states[1], kind)
    assert not all(map(torch.equal, decoder, module.network.model.decoder.state_dict().values()))
    fit(other := SemanticSegmentation(network_of(weights), TASK, frozen_epochs=9), 1)
    assert all(weight.requires_grad for weight in other.network.parameters()), "what is trained next is not frozen"


def test_statistics_may_stay_while_weights_learn(weights: str) -> None:
    watch, module = Watch(), SemanticSegmentation(network_of(weights), TASK, 1e-2, fixed_statistics=True)
    first = {name: tensor.clone() for name, tensor in module.network.model.encoder.state_dict().items()}
    fit(module, 2, [watch])
    assert changed(first, watch.states[1], "weights")
    assert not changed(first, watch.states[1], "statistics")


def test_statistics_that_stay_do_so_where_weights_are_averaged(weights: str) -> None:
    network = UNet(TASK, weights, encoders=("resnet18",))
    module = SemanticSegmentation(network, TASK, 1e-2, fixed_statistics=True)
    first = {name: tensor.clone() for name, tensor in module.network.model.state_dict().items()}
    fit(module, 2, [AveragedWeights(start=0.5)])
    after = module.network.model.state_dict()
    statistics = [name for name in first if "running" in name]
    moved = {name.split(".")[0] for name in statistics if not torch.equal(first[name], after[name])}
    assert moved == {"decoder"}


def test_a_training_that_goes_on_is_frozen_as_long(weights: str, tmp_path: Path) -> None:
    def module() -> SemanticSegmentation:
        return SemanticSegmentation(network_of(weights), TASK, 1e-2, frozen_epochs=2, encoder_learning_rate=1e-3)

    whole = module()
    fit(whole, 3)
    stopped = module()
    fit(stopped, 3, [StopAfterFirst()]).save_checkpoint(tmp_path / "x.ckpt")
    again = module()
    trainer = pl.Trainer(**{**LEAN, "max_epochs": 3})
    trainer.fit(again, Photographs(), ckpt_path=tmp_path / "x.ckpt")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


class StopAfterFirst(pl.Callback):
    """Ends the training after its first epoch."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = True


class Unchanged(pl.Callback):
    """Raises where a frozen encoder has changed, in any process, or a thawed one has not."""

    def __init__(self, first: Tensor, frozen: int) -> None:
        self.first, self.frozen = first, frozen

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        same = torch.equal(pl_module.network.model.encoder.conv1.weight, self.first)
        if same != (trainer.current_epoch < self.frozen):
            raise RuntimeError(f"epoch {trainer.current_epoch}: unchanged is {same}")


def test_two_processes_freeze_like_one(weights: str) -> None:
    module = SemanticSegmentation(network_of(weights), TASK, 1e-2, frozen_epochs=1)
    watch = Unchanged(module.network.model.encoder.conv1.weight.detach().clone(), 1)
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo")
    fit(module, 2, [watch], accelerator="cpu", devices=2, strategy=strategy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder_learning_rate": 0.0}, "encoder_learning_rate is a number greater than 0; got 0"),
        ({"frozen_epochs": -1}, "frozen_epochs is at least 0; got -1"),
        ({"fixed_statistics": 1}, "fixed_statistics is true or false; got 1"),
    ],
)
def test_settings_of_encoders_that_mean_nothing_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SemanticSegmentation(nn.Identity(), TASK, **arguments)


# What is kept.


@pytest.mark.filterwarnings("ignore:.*too few validation samples")
def test_a_study_starts_from_weights_and_its_result_needs_their_file_no_more(weights: str, tmp_path: Path) -> None:
    file = tmp_path / "resnet18.pth"
    file.write_bytes(Path(weights).read_bytes())
    data = Photographs()
    study = Study(
        space_of(str(file)),
        data,
        tmp_path / "run",
        trials=1,
        random_search=False,
        references=["unet"],
        seeds=1,
        finalists=1,
        trainer={"max_epochs": 1, "accelerator": "cpu"},
    )
    reference = study.comparison.build(study.references[0])
    assert isinstance(reference, UNet)
    kept = torch.load(weights, weights_only=True)
    assert torch.equal(reference.model.encoder.state_dict()["conv1.weight"], kept["conv1.weight"])
    study.run()
    file.unlink()
    found = load_result(tmp_path / "run")
    network = found.network(TASK).eval()
    contender = study.finals.finalists("search")[0]
    module = study.comparison.load(contender, 1).eval()
    images = torch.stack([data.loaded.test[index][0] for index in range(2)])
    with torch.no_grad():
        assert torch.equal(network(images), module(images))
    assert network.normalisation is not None
    mean, _ = data.image_statistics
    shift = (mean / 255 - network.normalisation.mean) / network.normalisation.deviation
    assert torch.allclose(network.normalisation.summand, shift, atol=1e-5), "the images' scale is kept with the weights"


def test_a_study_without_its_weights_ends_at_the_first_network(tmp_path: Path) -> None:
    study = Study(space_of("gone.pth"), Photographs(), tmp_path, trials=1, references=[], trainer={"max_epochs": 1})
    with pytest.raises(StudyError, match=r"^encoder_weights='gone\.pth': there is no such file$"):
        study.run()
