"""Darcy flow: the equation is solved, and the samples depend on the seed alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from automl_plugins import Task
from seg_space.data import DarcyFlowData
from seg_space.data.darcy_equation import HIGH, LOW, permeability, pressure


def small(root: Path | None = None, **given: int) -> DarcyFlowData:
    """Ten samples; for the tests that need no file."""
    return DarcyFlowData(**{"num_train": 5, "num_val": 2, "num_test": 3, "resolution": 9, **given}, root=root)


def residual(coefficients: np.ndarray, solution: np.ndarray) -> np.ndarray:
    """div(a grad u) + 1 at the inner nodes, written out flux by flux."""
    size = coefficients.shape[0]
    step = 1 / (size - 1)
    left = np.zeros((size - 2, size - 2))
    for i in range(1, size - 1):
        for j in range(1, size - 1):
            for k, m in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                between = (coefficients[i, j] + coefficients[k, m]) / 2
                left[i - 1, j - 1] += between * (solution[k, m] - solution[i, j]) / step**2
    return left + 1


def test_the_solution_solves_the_difference_equation() -> None:
    coefficients = np.random.default_rng(0).uniform(1, 12, (2, 12, 12))
    solutions = pressure(coefficients)
    for a, u in zip(coefficients, solutions, strict=True):
        assert np.abs(residual(a, u)).max() < 1e-10
    edges = [solutions[:, 0], solutions[:, -1], solutions[:, :, 0], solutions[:, :, -1]]
    assert all((edge == 0).all() for edge in edges)


def test_with_an_even_permeability_it_is_the_known_series() -> None:
    # -div grad u = 1 on the unit square: at the centre, a double sine series.
    centre = sum(
        16 / (math.pi**4 * i * j * (i**2 + j**2)) * math.sin(i * math.pi / 2) * math.sin(j * math.pi / 2)
        for i in range(1, 200, 2)
        for j in range(1, 200, 2)
    )
    errors = [abs(pressure(np.ones((1, size, size)))[0, size // 2, size // 2] - centre) for size in (21, 41)]
    assert errors[0] < 0.003 * centre
    assert errors[1] == pytest.approx(errors[0] / 4, rel=0.05), "second order in the step"


def test_a_permeability_is_half_high_half_low_in_smooth_regions() -> None:
    fields = np.stack([permeability(41, np.random.default_rng(seed)) for seed in range(60)])
    assert fields.mean() == pytest.approx(0.5, abs=0.06)
    # Neighbours rarely differ: the field is smooth.
    assert (fields[:, 1:] != fields[:, :-1]).mean() < 0.1


def test_the_task_needs_no_sample() -> None:
    assert DarcyFlowData().task == Task("pixel", "regression", in_channels=3, out_channels=1)
    assert DarcyFlowData(coordinates=False).task == Task("pixel", "regression", in_channels=1, out_channels=1)


def test_images_hold_the_permeability_and_coordinates_and_targets_the_pressure() -> None:
    data = small()
    image, target = data.loaded.test.source.read(0)
    assert set(image[0].unique().tolist()) <= {LOW, HIGH}
    assert image[1, :, 0].tolist() == pytest.approx([index / 8 for index in range(9)])
    assert image[2, 0].tolist() == pytest.approx([index / 8 for index in range(9)])
    assert np.abs(residual(image[0].double().numpy(), target[0].double().numpy())).max() < 1e-3  # kept in float32


def test_target_statistics_are_of_the_training_samples() -> None:
    data = small()
    targets = torch.stack([data.loaded.train.source.read(index)[1] for index in range(5)])
    mean, deviation = data.target_statistics
    assert mean.tolist() == pytest.approx([targets.mean().item()], rel=1e-5)
    assert deviation.tolist() == pytest.approx([targets.std(correction=0).item()], rel=1e-4)


def test_a_sample_depends_on_its_place_and_the_seed_alone() -> None:
    first, more, other = small(), small(num_train=7), small(seed=1)
    assert torch.equal(first.loaded.train.source.read(4)[0], more.loaded.train.source.read(4)[0])
    assert torch.equal(first.loaded.test.source.read(1)[1], more.loaded.test.source.read(1)[1])
    assert not torch.equal(first.loaded.test.source.read(1)[1], other.loaded.test.source.read(1)[1])
    train, val = first.loaded.train.source.read(0)[0], first.loaded.val.source.read(0)[0]
    assert not torch.equal(train, val)


def test_samples_are_generated_once_and_read_without_unpickling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = small(tmp_path)
    first.prepare_data()
    assert first.file is not None
    assert [path.name for path in tmp_path.iterdir()] == ["darcy_flow_9_5_2_3_0.npz"]
    expected = small()
    expected.setup()
    monkeypatch.setattr(DarcyFlowData, "_generated", lambda self: pytest.fail("generated twice"))
    again = small(tmp_path)
    again.prepare_data()
    for index in range(3):
        for one, other in zip(again.loaded.test[index], expected.loaded.test[index], strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(
    "content", [{"high": np.ones((10, 9, 9), bool)}, {"high": np.ones(3, bool), "pressure": np.ones(3)}]
)
def test_a_file_that_holds_something_else_is_refused(content: dict[str, np.ndarray], tmp_path: Path) -> None:
    data = small(tmp_path)
    assert data.file is not None
    np.savez(data.file, **content)
    with pytest.raises(ValueError, match=r"_0.npz holds .*; delete the file, and it is generated anew"):
        data.setup()


@pytest.mark.parametrize(("argument", "value"), [("num_train", 0), ("resolution", 3), ("batch_size", 0)])
def test_an_argument_out_of_range_is_refused(argument: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{argument} is at least .*; got {value}"):
        small(**{argument: value})
