from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from automl_plugins import Architecture
from automl_plugins.measures.latency import Latency, LatencyCache, measure_latency
from automl_plugins.measures.macs import macs
from automl_plugins.measures.memory import _allocated, memory_mib
from automl_plugins.measures.params import params

ARCHITECTURE = Architecture("toy", 1, {"width": 8})


class Slow(nn.Module):
    def __init__(self, milliseconds: float) -> None:
        super().__init__()
        self.seconds = milliseconds / 1000
        self.passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        time.sleep(self.seconds if self.passes > 2 else 5 * self.seconds)  # the first ones are always slow
        return x


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1))


def test_parameters_and_macs_worked_out_by_hand() -> None:
    assert params(network()) == 3 * 8 * 9 + 8 + 16 + 8 * 2 + 2
    assert macs(network(), [torch.zeros(2, 3, 10, 10)]) == 2 * 100 * (3 * 8 * 9 + 8 * 2)


def test_counting_and_measuring_leave_the_network_as_it_was() -> None:
    counted = network()
    counted[1].eval()
    before = {name: value.clone() for name, value in counted.state_dict().items()}
    macs(counted, [torch.randn(2, 3, 8, 8)])
    measure_latency(counted, [torch.randn(2, 3, 8, 8)], warmup=1, repeats=2)
    memory_mib(counted, [torch.randn(2, 3, 8, 8)])
    assert [module.training for module in counted.modules()] == [True, True, False, True]
    assert all(torch.equal(before[name], value) for name, value in counted.state_dict().items())


def test_a_network_that_gives_a_view_of_its_weights_is_counted() -> None:
    class Embedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.weight.view(2, 2, 8)

    both = nn.Sequential(Embedding(), nn.Linear(8, 2))
    assert macs(both, [torch.zeros(1)]) == 4 * 8 * 2
    assert all(parameter.requires_grad for parameter in both.parameters())


def test_memory_worked_out_by_hand() -> None:
    pixels = 2 * 100
    held = 4 * (3 * 8 * 9 + 8 + 2 * 8 + 8 * 2 + 2) + 4 * 2 * 8 + 8  # weights, running statistics, a count
    largest = 4 * pixels * (8 + 8)  # what the normalisation reads and writes; no gradients, so nothing is kept
    assert memory_mib(network(), [torch.zeros(2, 3, 10, 10)]) * 2**20 == held + largest


def test_on_a_gpu_the_peak_of_the_allocator_counts_beside_what_it_has_given_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allocator = {"now": 700, "peak": 5000}

    def run() -> None:
        allocator["peak"] = max(allocator["peak"], allocator["now"] + 300)

    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: allocator["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: allocator["peak"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: allocator.update(peak=allocator["now"]))
    assert _allocated(torch.device("cuda"), run) == 300


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_memory_on_a_gpu_is_about_that_of_the_tensors() -> None:
    network = nn.Sequential(nn.Conv2d(3, 32, 1), nn.ReLU(), nn.Conv2d(32, 32, 1))
    images = torch.zeros(8, 3, 256, 256)
    on_cpu = memory_mib(network, [images])
    assert memory_mib(network.cuda(), [images.cuda()]) == pytest.approx(on_cpu, rel=0.3)


def test_the_median_leaves_the_warm_up_out_and_says_what_it_was_measured_on() -> None:
    latency = measure_latency(Slow(4), [torch.zeros(3, 2)], warmup=2, repeats=7)
    assert 4 <= latency.milliseconds < 12
    assert latency.repeats == 7
    assert torch.__version__ in latency.versions
    assert latency.device
    assert latency.inputs == "float32 [3, 2]"


def test_too_few_repeats_are_refused() -> None:
    with pytest.raises(ValueError, match="repeats is at least 2"):
        measure_latency(Slow(1), [torch.zeros(1)], repeats=1)


def test_an_architecture_is_measured_once_for_each_size(tmp_path: Path) -> None:
    built = []

    def build() -> nn.Module:
        built.append(Slow(1))
        return built[-1]

    first, again = (LatencyCache(tmp_path, repeats=3)(ARCHITECTURE, build, [torch.zeros(2)]) for _ in range(2))
    assert first == again
    assert isinstance(first, Latency)
    assert len(built) == 1
    LatencyCache(tmp_path, repeats=3)(ARCHITECTURE, build, [torch.zeros(3)])
    LatencyCache(tmp_path, repeats=3)(Architecture("toy", 1, {"width": 4}), build, [torch.zeros(2)])
    assert len(built) == 3
    kept = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert {content["architecture"]["choices"]["width"] for content in kept} == {4, 8}


class Watched(nn.Module):
    """Notes in a file when each pass began and ended."""

    def __init__(self, notes: Path) -> None:
        super().__init__()
        self.notes = notes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        began = time.monotonic()
        time.sleep(0.03)
        with self.notes.open("a") as file:
            file.write(f"{began} {time.monotonic()}\n")
        return x


def _measure(folder: Path, width: int) -> None:
    architecture = Architecture("toy", 1, {"width": width})
    LatencyCache(folder, warmup=0, repeats=5)(architecture, lambda: Watched(folder / f"{width}.txt"), [torch.zeros(1)])


def test_two_processes_do_not_measure_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_measure, args=(tmp_path, width)) for width in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    spans = []
    for width in (1, 2):
        times = [float(word) for word in (tmp_path / f"{width}.txt").read_text().split()]
        spans.append((min(times), max(times)))
    (_, first_end), (second_start, _) = sorted(spans)
    assert first_end <= second_start
