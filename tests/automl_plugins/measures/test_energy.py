from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from automl_plugins.measures.energy import EnergyError, energy_meter, measure_energy


def counter(folder: Path, name: str, microjoules: int, most: int = 1_000_000) -> Path:
    path = folder / name
    path.mkdir()
    (path / "max_energy_range_uj").write_text(f"{most}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    return path / "energy_uj"


def test_packages_are_added_up_and_their_parts_are_not(tmp_path: Path) -> None:
    first, second = counter(tmp_path, "intel-rapl:0", 100), counter(tmp_path, "intel-rapl:1", 500)
    part = counter(tmp_path, "intel-rapl:0:0", 50)
    meter = energy_meter(torch.device("cpu"), tmp_path)
    for path, value in ((first, 1_100), (second, 2_500), (part, 900)):
        path.write_text(str(value))
    assert meter() == pytest.approx(3e-3)


def test_a_counter_that_starts_again_goes_on_counting(tmp_path: Path) -> None:
    path = counter(tmp_path, "intel-rapl:0", 999_000)
    meter = energy_meter(torch.device("cpu"), tmp_path)
    path.write_text("1000")
    assert meter() == pytest.approx(2e-3)


def test_energy_is_that_of_one_pass(tmp_path: Path) -> None:
    passes = 0

    class Counted(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal passes
            passes += 1
            return super().forward(x)

    network = Counted(2, 2)
    # A device that uses 3 J with each pass.
    assert measure_energy(network, [torch.zeros(1, 2)], lambda: 3.0 * passes, seconds=0.01) == pytest.approx(3000)
    assert network.training
    with pytest.raises(ValueError, match="seconds is above 0; got 0"):
        measure_energy(network, [torch.zeros(1, 2)], float, seconds=0)


def test_a_machine_that_does_not_tell_says_so(tmp_path: Path) -> None:
    with pytest.raises(EnergyError, match=r"no RAPL counters .*choose latency_ms or macs"):
        energy_meter(torch.device("cpu"), tmp_path)
    with pytest.raises(EnergyError, match=r"CPUs .* and NVIDIA GPUs .*; the device is 'mps'"):
        energy_meter(torch.device("mps"))
