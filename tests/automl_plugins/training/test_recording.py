"""Costs are those of what a user's module calls its network with, whatever that is."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss
from torch.utils.data import DataLoader
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader as GraphLoader

from automl_plugins import Project, Task
from automl_plugins.measures.energy import energy_meter
from automl_plugins.measures.figures import Figures
from automl_plugins.measures.latency import LatencyCache
from automl_plugins.system.nested import copied, described, moved, tensors_in
from automl_plugins.training.recording import Call, Repeated
from gnn_space import AGNNSpace
from seg_space import AutoDeepLabSpace, SmpSpace

CPU, META = torch.device("cpu"), torch.device("meta")


class Images(pl.LightningDataModule):
    task = Task("pixel", "regression", in_channels=3, out_channels=1)

    def _loader(self) -> DataLoader[Any]:
        samples = [{"image": torch.randn(3, 16, 24), "target": torch.randn(1, 16, 24)} for _ in range(2)]
        return DataLoader(samples, batch_size=2)

    train_dataloader = val_dataloader = _loader


class Lit(pl.LightningModule):
    """A user's module: batches are dictionaries, there is no `forward`, no `predict_step`."""

    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__()
        self.network = network

    def outputs(self, batch: dict[str, Tensor]) -> Tensor:
        return self.network(batch["image"])

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        return mse_loss(self.outputs(batch), batch["target"])

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        self.log("val_loss", mse_loss(self.outputs(batch), batch["target"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Twice(Lit):
    def outputs(self, batch: dict[str, Tensor]) -> Tensor:
        return (self.network(batch["image"]) + self.network(images=batch["image"].flip(-1)).flip(-1)) / 2


class OnlyInTraining(Lit):
    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        self.log("val_loss", batch["target"].mean())


class AnAverageValidates(Lit):
    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__(network, task)
        self.average = copy.deepcopy(network)

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        self.log("val_loss", self.average(batch["image"]).mean())


class ByForward(Lit):
    def outputs(self, batch: dict[str, Tensor]) -> Tensor:
        return self.network.forward(batch["image"])


class Compiled(Lit):
    def __init__(self, network: nn.Module, task: Task) -> None:
        super().__init__(network, task)
        self.network = torch.compile(network)


class InHalf(Lit):
    def outputs(self, batch: dict[str, Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.network(batch["image"]).float()


class AsksItsTrainer(Lit):
    def setup(self, stage: str) -> None:
        self.factor = len(self.trainer.datamodule.val_dataloader())

    def outputs(self, batch: dict[str, Tensor]) -> Tensor:
        return self.network(batch["image"] * self.factor)


class Parts(Lit):
    def outputs(self, batch: dict[str, Tensor]) -> Tensor:
        for part in self.network.children():
            return part(batch["image"])[0].mean(1, keepdim=True).mean() * batch["target"]
        raise AssertionError


class Fails(Lit):
    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        raise KeyError("no such key\nand a second line")


def figures(names: list[str], module: Any, folder: Path, device: torch.device = CPU, **given: Any) -> Figures:
    space, data = given.pop("space", SmpSpace(["Linknet"], ["resnet18"], [3])), given.pop("data", Images())
    project = Project(space, data, module=module, trainer={"accelerator": "cpu", **given})
    vars(project)["device"] = device  # no Trainer knows of the meta device
    measured = Figures(project, names, folder)
    measured.latencies = LatencyCache(folder, warmup=0, repeats=2)
    return measured


def of_some(measured: Figures) -> dict[str, float]:
    return measured(measured.project.space.sample(np.random.default_rng(3)))


@pytest.mark.parametrize(
    ("module", "times"),
    [
        (Lit, 1),
        (Twice, 2),
        (OnlyInTraining, 1),
        (AnAverageValidates, 1),
        (Compiled, 1),
        (ByForward, 1),
        (InHalf, 1),
        (AsksItsTrainer, 1),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_users_module_needs_nothing_but_a_validation_step(module: type[Lit], times: int, tmp_path: Path) -> None:
    plain = of_some(figures(["macs"], Lit, tmp_path))["macs"]
    assert plain > 0
    assert of_some(figures(["macs"], module, tmp_path))["macs"] == times * plain


@pytest.mark.parametrize("space", [SmpSpace(["FPN"], ["resnet18"], [3]), AutoDeepLabSpace(layers=2, filters=2)])
def test_all_costs_are_measured_where_the_network_trains(space: Any, tmp_path: Path) -> None:
    # On a machine without a GPU, torch's meta device stands for one: nothing there can come back to the CPU.
    there = of_some(figures(["macs", "latency_ms"], Lit, tmp_path, META, space=space))
    here = of_some(figures(["macs", "latency_ms"], Lit, tmp_path, space=space))
    assert there["macs"] == here["macs"] > 0
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_precision_is_that_of_the_training(tmp_path: Path) -> None:
    for module, given, dtype in (
        (InHalf, {}, "autocast torch.bfloat16"),
        (Lit, {"precision": "bf16-mixed"}, "autocast torch.bfloat16"),
        (Lit, {"precision": "64-true"}, "weights torch.float64"),
    ):
        measured = figures(["latency_ms"], module, tmp_path, **given)
        assert of_some(measured)["latency_ms"] > 0
        assert str(measured._calls[0]).endswith(dtype)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            Parts,
            r"macs cannot be measured: neither .* of Parts calls the network .* as `network\(\.\.\.\)`; .* call it as",
        ),
        (
            Fails,
            "macs cannot be measured: .* a validation step of Fails, which failed with KeyError: 'no such key[^\n]*$",
        ),
    ],
)
def test_what_cannot_be_measured_is_known_before_the_first_trial(
    module: type[Lit], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        figures(["macs"], module, tmp_path).prepare()


class Molecules(pl.LightningDataModule):
    task = Task("graph", "regression", in_channels=4, out_channels=1)

    def _loader(self) -> GraphLoader:
        edges = torch.tensor([[0, 1, 2], [1, 2, 3]])
        graphs = [Data(x=torch.randn(4, 4), edge_index=edges, y=torch.randn(1, 1), name="a") for _ in range(3)]
        return GraphLoader(graphs, batch_size=3)

    train_dataloader = val_dataloader = _loader


class LitMolecules(Lit):
    def outputs(self, batch: Any) -> Tensor:
        return self.network(batch.x, batch.edge_index, None, batch=batch.batch, num_graphs=batch.num_graphs)

    def training_step(self, batch: Any, index: int) -> Tensor:
        return l1_loss(self.outputs(batch), batch.y)

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_mae", l1_loss(self.outputs(batch), batch.y), batch_size=3)


def test_graph_networks_are_called_with_keywords(tmp_path: Path) -> None:
    measured = figures(["macs", "latency_ms"], LitMolecules, tmp_path, space=AGNNSpace(1), data=Molecules())
    found = of_some(measured)
    assert found["macs"] > 0
    assert found["latency_ms"] > 0
    assert "batch: int64 [12], num_graphs: 3" in str(measured._calls[0])


def test_a_worker_records_the_calls_for_itself_and_takes_the_meter_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = tmp_path / "intel-rapl:0"
    counter.mkdir()
    for name in ("energy_uj", "max_energy_range_uj"):
        (counter / name).write_text("1000")
    monkeypatch.setattr("automl_plugins.measures.figures.energy_meter", lambda device: energy_meter(device, tmp_path))
    measured = figures(["energy_mj", "macs"], Lit, tmp_path)
    measured.prepare()
    sent = pickle.loads(pickle.dumps(measured))
    assert "_calls" not in vars(sent)
    assert measured.project.data.trainer is None
    assert vars(sent)["_meter"]() == 0
    sent.names = ("macs",)
    assert of_some(sent)["macs"] == of_some(figures(["macs"], Lit, tmp_path))["macs"]


def test_a_cost_that_is_no_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SmpSpace, "num_parameters", lambda *_: float("nan"))
    with pytest.raises(ValueError, match="the cost params of a network is nan"):
        of_some(figures(["params"], Lit, tmp_path))


# Latencies of inputs of any kind.


def graphs(count: int) -> Batch:
    edges = torch.zeros(2, 0, dtype=torch.long)
    return Batch.from_data_list([Data(x=torch.randn(count, 4), edge_index=edges)])


class OfAnything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, inputs: Any) -> None:
        for tensor in tensors_in(inputs):
            if tensor.is_floating_point():
                self.linear(tensor)


@pytest.mark.parametrize(
    "of_size", [lambda size: (torch.zeros(size, 4), 0), lambda size: {"x": [torch.zeros(size, 4)]}, graphs]
)
def test_inputs_of_another_size_are_measured_anew(of_size: Callable[[int], Any], tmp_path: Path) -> None:
    from automl_plugins import Architecture

    cache = LatencyCache(tmp_path, warmup=0, repeats=2)
    architecture = Architecture("toy", 1, {"width": 8})
    told = [cache(architecture, OfAnything, [of_size(size)]).inputs for size in (2, 200, 2)]
    assert told[0] == told[2] != told[1]
    assert "[200, 4]" in told[1]
    assert len(list(tmp_path.glob("*.json"))) == 2
    cache(architecture, OfAnything, [moved(of_size(2), META)])
    assert len(list(tmp_path.glob("*.json"))) == 3


def test_what_a_network_assigns_to_its_inputs_is_gone_at_the_next_pass() -> None:
    class Assigns(nn.Module):
        def forward(self, graph: Any, more: dict[str, Tensor]) -> None:
            assert graph.x.shape == (3, 4)
            assert "x" not in more
            graph.x, more["x"] = graph.x.sum(1), graph.x

    call = Call((graphs(3),), {"more": {}})
    for _ in range(2):
        Repeated(Assigns())(call)


def test_tensors_are_found_and_moved_wherever_they_are() -> None:
    class Own:
        def __init__(self) -> None:
            self.inner = {"a": (torch.zeros(2), [torch.ones(3)])}

    layer = nn.Linear(1, 1)
    value = [Own(), graphs(2), layer, "word", None, 3]
    assert [list(each.shape) for each in tensors_in(value)][:2] == [[2], [3]]
    there = moved(value, META)
    assert {each.device.type for each in tensors_in(there)} == {"meta"}
    assert {each.device.type for each in tensors_in(value)} == {"cpu"}
    assert there[2] is layer
    assert there[1].num_graphs == 1
    shared = torch.zeros(1)
    twice = copied([shared, shared], torch.clone)
    assert twice[0] is twice[1] is not shared
    assert described([torch.zeros(3, 2)]) == "float32 [3, 2]"
