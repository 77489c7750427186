"""What a search says about itself, and what it leaves behind."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
import torch
from perceptron_space.space import PerceptronSpace
from search_project import TASK, LitUser, UserData, loader
from torch import Tensor

from automl_plugins import Architecture
from automl_plugins.decoders import Found
from automl_plugins.decoders.best_sampled import BestSampled
from automl_plugins.search import ArchitectureSearch
from automl_plugins.strategies import DARTS, RandomSearch


def fit(make: Callable[..., pl.Trainer], *callbacks: pl.Callback, **given: Any) -> tuple[pl.Trainer, LitUser]:
    module = LitUser()
    trainer = make(*callbacks, **given)
    trainer.fit(module, datamodule=UserData())
    return trainer, module


def test_the_architecture_is_written_at_the_end_of_each_epoch(
    trainer: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    path = tmp_path / "folder" / "architecture.json"
    seen: list[Architecture] = []

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, module: LitUser) -> None:
            seen.append(Architecture.from_json(path.read_text()))
            assert seen[-1] == module.net.architecture()

    _, module = fit(trainer, ArchitectureSearch(learning_rate=0.5, path=path), Watch())
    assert len(seen) == 2
    assert Architecture.from_json(path.read_text()) == module.net.architecture()
    assert {each.name for each in path.parent.iterdir()} == {"architecture.json", "logits.jsonl"}, "no half of a file"


def test_random_search_writes_it_when_it_has_found_one(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    path = tmp_path / "architecture.json"
    search = ArchitectureSearch(RandomSearch(BestSampled(samples=2)), path=path)

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, module: LitUser) -> None:
            assert not path.exists(), "the logits say nothing yet"

    _, module = fit(trainer, search, Watch())
    assert Architecture.from_json(path.read_text()) == module.net.architecture()


@pytest.mark.parametrize("given", [[], None, Architecture("perceptron", 1, {}), [Architecture("perceptron", 1, {})]])
def test_a_decoder_that_finds_nothing_is_named(trainer: Callable[..., pl.Trainer], given: Any) -> None:
    def careless(searchable: Any, evaluate: Any) -> Any:
        return given

    with pytest.raises(TypeError, match=r"function gave .*; a decoder gives a list of Found, one at least"):
        fit(trainer, ArchitectureSearch(RandomSearch(careless)))


def test_figures_of_a_decoder_are_numbers_in_the_file(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    def measured(searchable: Any, evaluate: Any) -> list[Found]:
        return [Found(searchable.architecture(), {"loss": torch.tensor(0.5), "gap": float("nan")})]

    fit(trainer, ArchitectureSearch(RandomSearch(measured), path=tmp_path / "architecture.json"))
    (found,) = json.loads((tmp_path / "found.json").read_text())
    assert found["figures"] == {"loss": 0.5, "gap": None}


class Text(pl.loggers.logger.DummyLogger):
    """A logger whose experiment takes text, as TensorBoard's does."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[tuple[str, str, int]] = []
        self.metrics: list[dict[str, float]] = []

    @property
    def experiment(self) -> Text:
        return self

    def add_text(self, name: str, text: str, step: int) -> None:
        self.texts.append((name, text, step))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append(metrics)


def test_loggers_get_the_architecture_and_the_measures(trainer: Callable[..., pl.Trainer]) -> None:
    logger = Text()
    fit(trainer, ArchitectureSearch("snas", learning_rate=3e-4), logger=logger, log_every_n_steps=1)
    assert [name for name, _, _ in logger.texts] == ["search_architecture_net"] * 2
    assert '"space": "perceptron"' in logger.texts[0][1]
    measured = [line for line in logger.metrics if "search_entropy" in line]
    assert len(measured) == 2
    assert measured[0]["search_entropy"] == pytest.approx(1.0, abs=1e-3)
    assert measured[0]["search_temperature"] > measured[1]["search_temperature"]
    assert measured[0]["search_parameter_free"] == 0.0


def test_other_callbacks_may_watch_the_entropy(trainer: Callable[..., pl.Trainer]) -> None:
    stop = pl.callbacks.EarlyStopping("search_entropy", stopping_threshold=2.0, check_on_train_epoch_end=True)
    run, _ = fit(trainer, ArchitectureSearch(), stop, max_epochs=5)
    assert run.current_epoch == 1


def test_one_line_an_epoch_where_there_is_no_progress_bar(
    trainer: Callable[..., pl.Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="pytorch_lightning"):
        fit(trainer, ArchitectureSearch(learning_rate=3e-4))
    first, second = (record.message for record in caplog.records if record.message.startswith("search epoch"))
    figures = r"loss 0\.\d+, val_loss \d\.\d+, .*entropy 1, parameter_free 0, temperature 1"
    assert re.fullmatch(rf"search epoch 1 of 2: {figures}, about \d+:\d\d left", first)
    assert re.fullmatch(rf"search epoch 2 of 2: {figures}", second)


def test_long_epochs_tell_of_their_steps(
    trainer: Callable[..., pl.Trainer], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automl_plugins.search.progress._SECONDS", 0.0)
    with caplog.at_level("INFO", logger="pytorch_lightning"):
        fit(trainer, ArchitectureSearch(search_data=loader(8)))
    lines = [record.message for record in caplog.records if ": batch " in record.message]
    assert len(lines) == 8
    assert re.fullmatch(r"search epoch 1 of 2: batch 3 of 4, loss 0\.\d+, about \d+:\d\d left", lines[2])


@pytest.mark.parametrize(
    ("strategy", "learning_rate", "said"), [("darts", 1e-4, 1), ("darts", 2.0, 0), ("random", 0.1, 0)]
)
def test_it_is_said_where_logits_have_hardly_moved(
    trainer: Callable[..., pl.Trainer],
    caplog: pytest.LogCaptureFixture,
    strategy: str,
    learning_rate: float,
    said: int,
) -> None:
    with caplog.at_level("INFO", logger="pytorch_lightning"):
        fit(trainer, ArchitectureSearch(strategy, learning_rate=learning_rate))
    lines = [record.message for record in caplog.records if "logits of net have hardly moved" in record.message]
    assert len(lines) == said


def test_a_barebones_trainer_is_left_alone(trainer: Callable[..., pl.Trainer]) -> None:
    class LitQuiet(LitUser):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return torch.nn.functional.mse_loss(self(batch[0]), batch[1])

        def on_train_epoch_end(self) -> None:
            pass

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            pass

    module = LitQuiet()
    run = pl.Trainer(barebones=True, max_epochs=1, accelerator="cpu", callbacks=[ArchitectureSearch(learning_rate=0.1)])
    before = module.net.logits.detach().clone()
    run.fit(module, datamodule=UserData())
    assert not torch.equal(before, module.net.logits)


# Collapse.


class FreeSpace(PerceptronSpace):
    parameter_free: ClassVar[frozenset[Any]] = frozenset(("relu",))


class LitCollapsing(LitUser):
    """Its logits come to prefer what has no weights, in the second epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = FreeSpace(4).searchable(TASK)

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            architecture = {"depth": 1, "layer0.width": 2, "activation": "relu"}
            self.net.set_logits(self.net.space.architecture(architecture))


def test_a_collapse_is_warned_about_once(trainer: Callable[..., pl.Trainer]) -> None:
    with pytest.warns(UserWarning, match=r"in 75% or more of its choices.*collapse=0.75 stops it") as caught:
        trainer(ArchitectureSearch(), max_epochs=4).fit(LitCollapsing(), datamodule=UserData())
    assert len([each for each in caught if "collapse" in str(each.message)]) == 1


def test_a_search_that_collapses_stops_with_the_logits_of_the_epoch_before(trainer: Callable[..., pl.Trainer]) -> None:
    ends: list[Tensor] = []

    class Watch(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, module: LitUser) -> None:
            ends.append(module.net.logits.detach().clone())

    module = LitCollapsing()
    run = trainer(Watch(), ArchitectureSearch(collapse=1.0), max_epochs=4)
    run.fit(module, datamodule=UserData())
    assert run.current_epoch == 2
    assert torch.equal(module.net.logits, ends[1])
    assert float(run.callback_metrics["search_parameter_free"]) in (0.0, 1.0)


# Interruptions and errors.


class LitInterrupted(LitUser):
    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error = error

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if self.current_epoch == 1:
            raise self.error
        return super().training_step(batch, batch_idx)


@pytest.fixture
def _interrupts() -> Iterator[None]:
    # Lightning ignores further interrupts after the first one.
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interrupts")
@pytest.mark.parametrize(("error", "raised"), [(KeyboardInterrupt, SystemExit), (ZeroDivisionError, ZeroDivisionError)])
def test_nothing_is_lost_and_nothing_left_behind_after_an_interruption(
    trainer: Callable[..., pl.Trainer], tmp_path: Path, error: type[BaseException], raised: type[BaseException]
) -> None:
    module, data = LitInterrupted(error), UserData()
    search = ArchitectureSearch("gdas", learning_rate=0.1, path=tmp_path / "architecture.json")
    keep = pl.callbacks.ModelCheckpoint(tmp_path, save_on_exception=True)
    with pytest.raises(raised):
        trainer(search, keep).fit(module, datamodule=data)
    assert Architecture.from_json((tmp_path / "architecture.json").read_text()) == module.net.architecture()
    assert module.net.logits.requires_grad
    assert module.net.draws_by_itself
    assert "train_dataloader" not in vars(data)
    assert "log" not in vars(module)
    (path, *_) = tmp_path.glob("*.ckpt")
    saved = torch.load(path, weights_only=True)
    assert torch.equal(saved["state_dict"]["net.logits"], module.net.logits)
    assert saved["callbacks"]["ArchitectureSearch"]["steps"] == 2


def test_a_trainer_may_fit_again(trainer: Callable[..., pl.Trainer]) -> None:
    search = ArchitectureSearch(learning_rate=0.1)
    module = LitUser()
    run = trainer(search, max_epochs=1)
    run.fit(module, datamodule=UserData())
    first = module.net.logits.detach().clone()
    run.fit_loop.max_epochs = 2
    run.fit(module, datamodule=UserData())
    assert not torch.equal(first, module.net.logits)
    run.validate(module, datamodule=UserData(), verbose=False)
    assert module.net.logits.requires_grad


# Refusals.


def test_a_module_without_a_searchable(trainer: Callable[..., pl.Trainer]) -> None:
    module = LitUser()
    module.net = module.net.derive()
    with pytest.raises(ValueError, match=r"LitUser has no Searchable.*put `space.searchable\(task\)`"):
        trainer(ArchitectureSearch()).fit(module, datamodule=UserData())


def test_logits_that_are_frozen_are_not_searched(trainer: Callable[..., pl.Trainer]) -> None:
    module = LitUser()
    module.net.logits.requires_grad_(False)
    with pytest.raises(ValueError, match="the logits of 'net' are frozen"):
        trainer(ArchitectureSearch()).fit(module, datamodule=UserData())


def test_a_loss_that_does_not_see_the_logits(trainer: Callable[..., pl.Trainer]) -> None:
    class LitDetached(LitUser):
        def forward(self, image: Tensor) -> Tensor:
            return self.net(self.stem(image)).detach() + self.stem(image)[:, :1]

    with pytest.raises(RuntimeError, match="does not depend on the logits of 'net'"):
        trainer(ArchitectureSearch()).fit(LitDetached(), datamodule=UserData())


@pytest.mark.parametrize("name", ["FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy"])
def test_sharded_parameters_are_refused_with_the_reason(trainer: Callable[..., pl.Trainer], name: str) -> None:
    sharded = type(name, (pl.strategies.SingleDeviceStrategy,), {"strategy_name": "sharded"})
    with pytest.raises(ValueError, match=rf"{name} shards parameters.*use strategy='ddp', or one device"):
        trainer(ArchitectureSearch(), strategy=sharded()).fit(LitUser(), datamodule=UserData())


def test_a_strategy_of_lightning_that_nobody_tried_is_refused(trainer: Callable[..., pl.Trainer]) -> None:
    class Other(pl.strategies.Strategy):
        pass

    other = type("OtherStrategy", (), {"__mro__": ()})
    run = trainer(ArchitectureSearch())
    search = run.callbacks[0]
    fake = type("Fake", (), {"callbacks": run.callbacks, "strategy": other(), "max_epochs": 1, "max_steps": -1})()
    with pytest.raises(ValueError, match="OtherStrategy was never tried with a search"):
        search.setup(fake, LitUser(), "fit")


@pytest.mark.parametrize(
    ("search", "given", "reason"),
    [
        ({"warmup_epochs": 2}, {}, "warmup_epochs=2 leaves no epoch of max_epochs=2"),
        ({"strategy": "snas"}, {"max_epochs": -1}, "SNAS follows a schedule, which needs an end"),
    ],
)
def test_limits_that_do_not_fit_are_an_error_before_training(
    trainer: Callable[..., pl.Trainer], search: dict[str, Any], given: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        trainer(ArchitectureSearch(**search), **given).fit(LitUser(), datamodule=UserData())


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"strategy": "dart"}, "there is no 'dart' among the strategies.*darts"),
        ({"strategy": 3.0}, "strategy is a registered name or a Strategy; got 3.0"),
        ({"strategy": DARTS}, "strategy is a registered name or a Strategy; got <class .*DARTS'>; make one of it"),
        ({"strategy": None}, "strategy is a registered name or a Strategy; got None"),
        ({"learning_rate": "fast"}, "learning_rate is at least 0, and finite; got 'fast'"),
        ({"learning_rate": True}, "learning_rate is at least 0, and finite; got True"),
        ({"betas": 0.5}, "betas are two numbers, at least 0 and less than 1; got 0.5"),
        ({"betas": ("a", 0.5)}, r"betas are two numbers, at least 0 and less than 1; got \('a', 0.5\)"),
        ({"seed": float("nan")}, "seed is a whole number of at least 0; got nan"),
        ({"warmup_epochs": 1.5}, "warmup_epochs is a whole number of at least 0; got 1.5"),
        ({"collapse": "half"}, "collapse is a share, greater than 0 and at most 1; got 'half'"),
        ({"memory_limit": float("nan")}, "memory_limit is a number of bytes, greater than 0; got nan"),
        ({"path": 3}, "path is that of a file; got 3"),
        ({"search_data": 5}, "search_data is a loader, a callable that gives one, or one of datamodule, .*; got 5"),
        ({"search_data": "splits"}, "search_data='splits' is no source of search data; did you mean 'split'"),
        ({"search_fraction": "half"}, "search_fraction is between 0 and 1; got 'half'"),
        ({"search_fraction": float("nan")}, "search_fraction is between 0 and 1; got nan"),
        ({"learning_rate": -1.0}, "learning_rate is at least 0, and finite; got -1"),
        ({"learning_rate": float("inf")}, "learning_rate is at least 0, and finite; got inf"),
        ({"weight_decay": float("nan")}, "weight_decay is at least 0, and finite; got nan"),
        ({"betas": (2, 2)}, r"betas are two numbers, at least 0 and less than 1; got \(2, 2\)"),
        ({"warmup_epochs": -1}, "warmup_epochs is at least 0; got -1"),
        ({"seed": -1}, "seed is at least 0; got -1"),
        ({"collapse": 0.0}, "collapse is a share, greater than 0 and at most 1; got 0"),
        (
            {"strategy": "single-level", "search_data": loader()},
            "SingleLevel learns on the training batch; leave it out",
        ),
    ],
)
def test_arguments_out_of_range(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ArchitectureSearch(**given)


def test_a_checkpoint_of_other_searchables_is_refused(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    run, _ = fit(trainer, ArchitectureSearch())
    run.save_checkpoint(tmp_path / "first.ckpt")

    class LitRenamed(LitUser):
        def __init__(self) -> None:
            super().__init__()
            self.other = self.net
            del self.net

        def forward(self, image: Tensor) -> Tensor:
            return self.other(self.stem(image))

    module = LitRenamed()
    module.strict_loading = False
    with pytest.raises(ValueError, match="the checkpoint was searching net; the module has other"):
        trainer(ArchitectureSearch(), max_epochs=3).fit(
            module, datamodule=UserData(), ckpt_path=tmp_path / "first.ckpt"
        )


def test_a_checkpoint_from_before_the_search_is_a_beginning(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    run, _ = fit(trainer)
    run.save_checkpoint(tmp_path / "plain.ckpt")
    module = LitUser()
    search = ArchitectureSearch(learning_rate=0.1)
    with pytest.warns(UserWarning, match=r"plain.ckpt has no state of a search, so this one begins"):
        trainer(search, max_epochs=3).fit(module, datamodule=UserData(), ckpt_path=tmp_path / "plain.ckpt")
    assert search.steps == 2
