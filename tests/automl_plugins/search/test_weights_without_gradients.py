"""In the architecture's step weights ask for no gradients, and nobody notices."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from search_project import LitUser, UserData, differing, loader, state
from test_resume import LitResumable, check_resumes
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from automl_plugins.search import ArchitectureSearch, learner


class Asking:
    """Collects who asks for gradients."""

    def __init__(self) -> None:
        self.steps: list[set[str]] = []


class LitAsked(LitUser):
    """Has a loss of its own for the architecture."""

    def __init__(self, asking: Asking) -> None:
        super().__init__()
        # A function, which stays: a list or an object of the module's own is put back after the architecture's step.
        # In the end what was found is judged, without gradients.
        self.ask = lambda names: asking.steps.append(names) if torch.is_grad_enabled() else None

    def names(self) -> set[str]:
        return {name for name, each in self.named_parameters() if each.requires_grad}

    def architecture_loss(self, batch: Any) -> Tensor:
        self.ask(self.names())
        return functional.mse_loss(self(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.ask(self.names())
        return super().training_step(batch, batch_idx)


def fit(make: Callable[..., pl.Trainer], module: LitUser, *callbacks: pl.Callback, **given: Any) -> dict[str, Tensor]:
    search = ArchitectureSearch(learning_rate=0.1, search_data=loader(8, seed=3))
    pl.seed_everything(1, verbose=False)
    make(search, *callbacks, **given).fit(module, datamodule=UserData())
    return state(module)


def test_weights_ask_for_gradients_in_their_own_step_alone(trainer: Callable[..., pl.Trainer]) -> None:
    asking = Asking()
    module = LitAsked(asking)
    module.stem[0].requires_grad_(False)
    weights = module.names() - {"net.logits"}
    fit(trainer, module)
    assert asking.steps == [{"net.logits"}, weights] * 8
    assert module.names() == weights | {"net.logits"}


def test_the_logits_learn_the_same_as_beside_weights_that_ask(
    trainer: Callable[..., pl.Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = fit(trainer, LitUser())
    monkeypatch.setattr(learner, "frozen", lambda weights: nullcontext())
    assert differing(fit(trainer, LitUser()), ours) == []


@pytest.mark.parametrize("error", [ValueError("theirs"), KeyboardInterrupt(), RuntimeError("out of memory")])
def test_weights_ask_again_after_an_exception(trainer: Callable[..., pl.Trainer], error: BaseException) -> None:
    class LitFailing(LitUser):
        calls = 0

        def architecture_loss(self, batch: Any) -> Tensor:
            LitFailing.calls += 1
            raise error

    module = LitFailing()
    module.stem[0].requires_grad_(False)
    before = {name: each.requires_grad for name, each in module.named_parameters()}
    # Lightning leaves by itself when it is interrupted.
    with pytest.raises(SystemExit if isinstance(error, KeyboardInterrupt) else type(error)):
        fit(trainer, module)
    assert {name: each.requires_grad for name, each in module.named_parameters()} == before
    assert LitFailing.calls == 1


class LitPenalised(LitResumable):
    """Penalises gradients of weights, so that a step takes them itself; draws by dropout."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        (gradient,) = torch.autograd.grad(loss, [self.stem[0].weight], create_graph=True)
        return loss + 0.1 * gradient.square().sum()


class LitHooked(LitResumable):
    """Hooks what depends on weights alone."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.stem(batch[0]).register_hook(lambda gradient: None)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("kind", [LitPenalised, LitHooked])
def test_a_step_that_takes_gradients_of_weights_itself_still_can(
    trainer: Callable[..., pl.Trainer], kind: type[LitResumable]
) -> None:
    module = kind()
    before = module.net.logits.detach().clone()
    fit(trainer, module)
    assert not torch.equal(module.net.logits, before)


def test_such_a_search_goes_on_to_the_very_bits(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> None:
    check_resumes(trainer, tmp_path, LitPenalised, {"datamodule": UserData}, ("epoch",), {"learning_rate": 0.1})


def test_a_recomputed_step_is_recomputed_without_gradients_too(trainer: Callable[..., pl.Trainer]) -> None:
    class LitCheckpointed(LitUser):
        def forward(self, image: Tensor) -> Tensor:
            output: Tensor = checkpoint(super().forward, image, use_reentrant=False)
            return output

    plain, recomputed = fit(trainer, LitUser()), fit(trainer, LitCheckpointed())
    logits = "net.logits"
    torch.testing.assert_close(recomputed[logits], plain[logits])


def test_gradients_that_are_there_stay(trainer: Callable[..., pl.Trainer]) -> None:
    kept: list[Tensor] = []

    class Fill(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, module: LitUser, *_: Any) -> None:
            weight = module.stem[0].weight
            if not kept:
                weight.grad = torch.ones_like(weight)
                kept.append(weight.grad)

    class Look(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, module: LitUser, *_: Any) -> None:
            if trainer.global_step == 0:
                assert module.stem[0].weight.grad is kept[0]
                assert torch.equal(kept[0], torch.ones_like(kept[0]))

    search = ArchitectureSearch(learning_rate=0.1, search_data=loader(8, seed=3))
    trainer(Fill(), search, Look(), max_epochs=1).fit(LitUser(), datamodule=UserData())
    assert kept
