"""What every datamodule of pixels promises: normalised batches, and orders and views that a seed determines."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DistributedSampler
from trees import HEIGHT, WIDTH, camvid, folder, voc, write_image, write_mask

from automl_plugins.search.batches import SearchBatches
from automl_plugins.search.split import split_loader
from automl_plugins.training.fit import LEAN
from automl_plugins.training.lightning import pl
from seg_space.data import CamVidData, DarcyFlowData, ImagesAndMasks, VOCData
from seg_space.data.augmentation import Augmentation
from seg_space.data.base import ImageDataModule
from seg_space.data.sources import KEPT_BYTES, FileSource, collate

Make = Callable[..., ImageDataModule]
Batch = tuple[Tensor, Tensor]


@pytest.fixture(params=["camvid", "binary", "voc", "darcy"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "camvid":
        root = camvid(tmp_path, counts=(7, 3, 4))
        return lambda **given: CamVidData(root, **{"batch_size": 2, "crop": (8, 10), **given})
    if request.param == "binary":
        root = folder(tmp_path, numbers=(0, 1))
        return lambda **given: ImagesAndMasks(root, target="binary", **{"batch_size": 2, **given})
    if request.param == "voc":
        root = voc(tmp_path)
        return lambda **given: VOCData(root, val_share=0.34, **{"batch_size": 2, "crop": 8, **given})
    return lambda **given: DarcyFlowData(6, 2, 3, resolution=9, root=tmp_path, **{"batch_size": 2, **given})


def equal(one: list[Batch], other: list[Batch]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(torch.equal(a, b) for batch, others in pairs for a, b in zip(batch, others, strict=True))


def contents(data: ImageDataModule) -> list[Batch]:
    return [*data.train_dataloader(), *data.val_dataloader(), *data.test_dataloader()]


def test_batches_fit_the_task(make: Make) -> None:
    data = make()
    task = data.task
    for images, targets in contents(data):
        assert images.shape[1] == task.in_channels
        assert images.dtype == torch.float32
        assert targets.shape[-2:] == images.shape[-2:]
        if task.target == "regression":
            assert targets.dtype == torch.float32
            assert targets.shape[1] == task.out_channels
        else:
            assert targets.dtype == torch.int64
            classes = max(task.out_channels, 2)
            assert ((targets == 255) | ((targets >= 0) & (targets < classes))).all()


def test_predictions_are_of_the_test_images_in_their_order(make: Make) -> None:
    data = make()
    assert equal(list(data.predict_dataloader()), list(data.test_dataloader()))
    mean, deviation = data.image_statistics
    assert mean.shape == deviation.shape == (data.task.in_channels,)
    assert torch.equal(mean, data.loaded.test.statistics.mean)


def test_setup_loads_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make()
    data.prepare_data()
    data.setup("fit")
    loaded = data.loaded
    monkeypatch.setattr(type(data), "_sources", lambda self: pytest.fail("loaded twice"))
    for stage in ("fit", "test", None):
        data.prepare_data()
        data.setup(stage)
    assert data.loaded is loaded


def test_the_same_seed_gives_the_same_batches_whatever_the_global_random_state(make: Make) -> None:
    torch.manual_seed(1)
    first = contents(make(seed=3))
    torch.manual_seed(2)
    assert equal(first, contents(make(seed=3)))


def test_another_seed_gives_other_training_batches(make: Make) -> None:
    one, other = (list(make(seed=seed).train_dataloader()) for seed in (3, 4))
    assert not equal(one, other)


def test_the_global_random_state_is_left_alone(make: Make) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  # the global state is what this test is about
    contents(make())
    after = torch.rand(1), np.random.random()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert after == (torch.rand(1), np.random.random())  # noqa: NPY002


def test_each_epoch_has_an_order_and_views_of_its_own(make: Make) -> None:
    data = make()
    first, second = data.train_dataloader(), data.train_dataloader()
    epochs = [list(first) for _ in range(2)]
    assert not equal(epochs[0], epochs[1])
    assert all(equal(one, list(second)) for one in epochs), "each training sees the same ones"


def test_training_images_are_normalised_by_their_own_statistics(make: Make) -> None:
    data = make()
    train = data.loaded.train
    pixels = torch.cat([train.source.read(index)[0].float().flatten(1) for index in range(len(train))], dim=1)
    mean, deviation = pixels.mean(dim=1), pixels.std(dim=1, correction=0)
    raw = data.loaded.val.source.read(0)[0].float()
    expected = (raw - mean.view(-1, 1, 1)) / deviation.view(-1, 1, 1)
    torch.testing.assert_close(data.loaded.val[0][0], expected, rtol=1e-4, atol=1e-4)


def test_a_pickled_datamodule_is_small_and_loads_for_itself(make: Make) -> None:
    data = make()
    expected = contents(data)
    pickled = pickle.dumps(data)
    assert len(pickled) < 2_000
    assert equal(contents(pickle.loads(pickled)), expected)


def test_another_one_with_other_batches_is_as_one_made_so_and_shares_what_is_loaded(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, expected = make(), contents(make(batch_size=1))
    before = contents(first)
    with monkeypatch.context() as patch:
        patch.setattr(type(first), "_load", lambda self: pytest.fail("the data are read again"))
        assert equal(contents(first.with_arguments(batch_size=1)), expected)
    assert equal(contents(first.with_arguments(seed=1)), contents(make(seed=1)))
    assert equal(contents(first), before)


def test_processes_train_and_evaluate_on_their_shares(make: Make) -> None:
    shares: list[list[int]] = []
    evaluated = 0
    for rank in range(2):
        data = make()
        data.trainer = SimpleNamespace(world_size=2, global_rank=rank)  # type: ignore[assignment]
        loader = data.train_dataloader()
        assert isinstance(loader.sampler, DistributedSampler), "or Lightning would put one that does not shuffle"
        assert isinstance(data.test_dataloader().sampler, DistributedSampler)
        shares.append(list(loader.sampler))
        evaluated += sum(len(images) for images, _ in data.test_dataloader())
    assert set(shares[0] + shares[1]) == set(range(len(data.loaded.train)))
    assert evaluated == len(data.loaded.test)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_workers_change_nothing(tmp_path: Path) -> None:
    root = camvid(tmp_path, counts=(7, 3, 4))
    alone, with_workers = (CamVidData(root, batch_size=2, crop=8, workers=workers) for workers in (0, 2))
    one, other = alone.train_dataloader(), with_workers.train_dataloader()
    for _ in range(2):
        assert equal(list(one), list(other))
    assert equal(list(alone.val_dataloader()), list(with_workers.val_dataloader()))


def test_the_last_batch_is_left_out_unless_it_is_the_only_one(tmp_path: Path) -> None:
    root = camvid(tmp_path, counts=(7, 3, 4))
    assert [len(images) for images, _ in CamVidData(root, batch_size=3).train_dataloader()] == [3, 3]
    assert [len(images) for images, _ in CamVidData(root, batch_size=9).train_dataloader()] == [7]
    assert [len(images) for images, _ in CamVidData(root, batch_size=3).test_dataloader()] == [3, 1]


# Going on.


class Recorder(pl.LightningModule):
    """Keeps the sum of every training batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: list[float] = []

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        self.seen.append(float(batch[0].double().square().sum()))
        return self.layer(torch.ones(1, 1)).sum()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Nothing to record: the order never changes."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class StopAfter(pl.Callback):
    """Keeps a checkpoint after so many batches, and ends the training."""

    def __init__(self, batches: int, path: Path) -> None:
        self.batches, self.path = batches, path

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.batches:
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt


@pytest.mark.parametrize("given", [1, 2, 4, 5])
def test_a_training_that_was_killed_sees_what_it_would_have_seen(make: Make, given: int, tmp_path: Path) -> None:
    def fit(module: Recorder, *callbacks: pl.Callback, **more: Any) -> None:
        pl.Trainer(**LEAN, max_epochs=3, callbacks=list(callbacks)).fit(module, datamodule=make(), **more)

    whole, stopped, resumed = Recorder(), Recorder(), Recorder()
    fit(whole)
    checkpoint = tmp_path / "stopped.ckpt"
    with pytest.raises(SystemExit):
        fit(stopped, StopAfter(given, checkpoint))
    fit(resumed, ckpt_path=checkpoint)
    assert len(stopped.seen) == given
    assert stopped.seen + resumed.seen == whole.seen


@pytest.mark.parametrize("given", [1, 3])
def test_search_batches_go_on_where_they_were(make: Make, given: int) -> None:
    def batches() -> SearchBatches:
        return SearchBatches(split_loader(make().train_dataloader(), 0.5, seed=0)[1], seed=1)

    whole = batches()
    expected = [next(whole) for _ in range(6)]
    stopped = batches()
    for _ in range(given):
        next(stopped)
    resumed = batches()
    resumed.load_state_dict(stopped.state_dict())
    assert equal([next(resumed) for _ in range(6 - given)], expected[given:])


def test_a_search_learns_on_other_images_than_the_weights(tmp_path: Path) -> None:
    data = ImagesAndMasks(folder(tmp_path, count=20), classes=3, batch_size=1, scales=(1.0, 1.0), flip=False)
    training, search = split_loader(data.train_dataloader(), 0.5, seed=0)
    first, second = ({float(images.sum()) for images, _ in loader} for loader in (training, search))
    assert (len(first), len(second)) == (7, 7)
    assert not first & second


# Views.


def coordinates(height: int, width: int) -> Batch:
    """An image whose channels are each pixel's row and column plus one, and a mask that says the same."""
    rows, columns = torch.meshgrid(torch.arange(height) + 1, torch.arange(width) + 1, indexing="ij")
    image = torch.stack([rows, columns]).to(torch.uint8)
    return image, (rows % 7 + columns % 5).to(torch.uint8)


@settings(max_examples=40)
@given(st.integers(2, 20), st.integers(2, 20), st.tuples(st.integers(1, 24), st.integers(1, 24)), st.integers(0, 2**31))
def test_an_image_and_its_mask_are_cut_and_mirrored_together(
    height: int, width: int, crop: tuple[int, int], seed: int
) -> None:
    image, mask = coordinates(height, width)
    augmentation = Augmentation(crop, (1.0, 1.0), flip=True, mean=torch.zeros(2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        seen, seen_mask = augmentation(image, mask)
    assert seen.shape == (2, *crop)
    assert seen_mask.shape == crop
    outside = seen[0] == 0  # what was filled up with the mean, which is 0 here
    assert torch.equal(outside, seen_mask == 255)
    rows, columns = seen.long()
    assert torch.equal(((rows % 7) + (columns % 5))[~outside], seen_mask.long()[~outside])
    assert (~outside).sum() == min(height, crop[0]) * min(width, crop[1])


@settings(max_examples=40)
@given(st.floats(0.3, 3.0), st.integers(0, 2**31))
def test_a_scaled_mask_holds_no_other_classes(scale: float, seed: int) -> None:
    image, mask = coordinates(15, 18)
    augmentation = Augmentation(None, (scale, scale), flip=False, mean=torch.zeros(2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        seen, seen_mask = augmentation(image, mask)
    assert seen.shape[-2:] == seen_mask.shape == (15, 18)
    assert set(seen_mask.unique().tolist()) <= {*mask.unique().tolist(), 255}
    if scale >= 1:
        assert 255 not in seen_mask


def test_a_scaled_image_shows_what_its_mask_shows() -> None:
    # A bright square, marked in the mask: after any scale and cut, bright pixels are marked ones but at its edges.
    image, mask = torch.zeros(1, 64, 64), torch.zeros(64, 64, dtype=torch.uint8)
    image[:, 16:48, 20:44], mask[16:48, 20:44] = 1.0, 1
    augmentation = Augmentation((48, 48), (0.5, 2.0), flip=True, mean=torch.zeros(1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        views = [augmentation(image, mask) for _ in range(50)]
    wrong = torch.stack([((seen[0] > 0.5) != (seen_mask == 1)).float().mean() for seen, seen_mask in views])
    assert wrong.max() < 0.05
    areas = torch.stack([(seen_mask == 1).float().mean() for _, seen_mask in views])
    assert areas.max() > 4 * areas.min()


def test_images_of_several_sizes_are_filled_up_with_pixels_that_do_not_count() -> None:
    samples = [
        (torch.ones(1, 2, 3), torch.ones(2, 3, dtype=torch.long)),
        (torch.ones(1, 4, 1), torch.zeros(4, 1).long()),
    ]
    images, masks = collate(samples)
    assert images.shape == (2, 1, 4, 3)
    assert torch.equal(masks == 255, images[:, 0] == 0)
    assert (masks == 255).sum() == (12 - 6) + (12 - 4)
    values = collate([(torch.ones(1, 1, 1), torch.ones(1, 1, 1)), (torch.ones(1, 1, 2), torch.ones(1, 1, 2))])[1]
    assert values.isnan().sum() == 1


def test_large_sets_are_read_when_they_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path)
    kept = ImagesAndMasks(root, classes=3)
    expected = contents(kept)
    bytes_of_one = HEIGHT * WIDTH * 4
    assert bytes_of_one < KEPT_BYTES
    monkeypatch.setattr("seg_space.data.sources.KEPT_BYTES", bytes_of_one)
    lazy = ImagesAndMasks(root, classes=3)
    assert equal(contents(lazy), expected)
    # Pixels are then checked when they are read, headers still before.
    source = kept.loaded.test.source
    assert isinstance(source, FileSource)
    image, (mask,) = source.files[1]
    write_mask(mask, (0, 9))
    monkeypatch.setattr("seg_space.data.sources._TRIED_SAMPLES", 1)
    lazy = ImagesAndMasks(root, classes=3)
    lazy.setup()
    with pytest.raises(ValueError, match="holds the number 9"):
        contents(lazy)
    # Those of a few samples are checked at once.
    monkeypatch.setattr("seg_space.data.sources._TRIED_SAMPLES", 2)
    with pytest.raises(ValueError, match="holds the number 9"):
        ImagesAndMasks(root, classes=3).setup()
    write_image(image, size=(3, 3))
    with pytest.raises(ValueError, match="both have to be of one size"):
        ImagesAndMasks(root, classes=3).setup()
