"""The mean loss of several paths is that of their sum, in the memory of one."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from automl_plugins.strategies.paths import mean_loss


def weights(seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(size, generator=generator, dtype=torch.float64)) for size in (3, 2, 4)]


def losses(of: list[nn.Parameter], paths: list[list[int]]) -> Iterator[Tensor]:
    """One for each path, which reads some of the weights; the last one nobody reads."""
    for number, path in enumerate(paths, 1):
        yield sum((of[place].sin() * number).square().sum() for place in path) + torch.zeros((), requires_grad=True)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 100),
    paths=st.lists(st.lists(st.integers(0, 1), unique=True), min_size=1, max_size=4),
    factor=st.floats(-3, 3),
)
def test_value_and_gradient_are_those_of_the_mean_of_all_losses(
    seed: int, paths: list[list[int]], factor: float
) -> None:
    ours, plain = weights(seed), weights(seed)
    mean = mean_loss(losses(ours, paths), ours, None)
    expected = torch.stack(list(losses(plain, paths))).mean()
    torch.testing.assert_close(mean.detach(), expected.detach())
    reached = {place for path in paths for place in path}
    if reached:
        (mean * factor).backward()
    (expected * factor).backward()
    for place, (mine, other) in enumerate(zip(ours, plain, strict=True)):
        if place in reached:
            torch.testing.assert_close(mine.grad, other.grad)
        else:
            assert mine.grad is None, "weights that no path reads get no gradient, so that momentum does not move them"


def test_one_path_is_forgotten_before_the_next_one_is_run() -> None:
    weight = nn.Parameter(torch.ones(3))
    alive: list[weakref.ref[Tensor]] = []

    def several() -> Iterator[Tensor]:
        for _ in range(3):
            assert not any(each() is not None for each in alive), "an earlier path is still in memory"
            inside = weight.exp()
            alive.append(weakref.ref(inside))
            loss = inside.sum()
            del inside
            yield loss
            del loss

    mean_loss(several(), [weight], None).backward()
    assert len(alive) == 3


def test_small_gradients_survive_half_precision_with_a_scaler() -> None:
    weight = nn.Parameter(torch.full((1,), 1.0))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)

    def tiny() -> Iterator[Tensor]:
        # The gradient of the product is 1e-9 in half precision, which has no number so small.
        yield (weight.half() * 1.0).float().sum() * 1e-9

    scaler.scale(mean_loss(tiny(), [weight], scaler)).backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad / scaler.get_scale(), torch.tensor([1e-9]), rtol=1e-2, atol=0.0)
    weight.grad = None
    mean_loss(tiny(), [weight], None).backward()
    assert float(weight.grad) == 0.0, "without one they vanish"  # type: ignore[arg-type]


def test_second_derivatives_are_refused() -> None:
    weight = nn.Parameter(torch.ones(2))
    mean = mean_loss(iter([weight.square().sum()]), [weight], None)
    with pytest.raises(RuntimeError, match="do not reach through the mean loss of several paths"):
        torch.autograd.grad(mean + weight.pow(3).sum(), weight, create_graph=True)
