"""Networks of graphs as files of plain Python: they compute the same, and read as if a person had written them."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from automl_plugins import Task
from automl_plugins.spaces.space import SearchSpace
from automl_plugins.testing.plain_source import assert_stands_alone
from automl_plugins.training.export import export_calls
from automl_plugins.training.plain_file import load_plain, plain_file, write_plain
from automl_plugins.training.units import Units
from gnn_space import AGNNSpace, EGNASSpace, GNNPlusSpace
from gnn_space.probe import GraphProbe

ROOT = Path(__file__).parents[2]
TASKS = {
    "nodes of wide features": Task("node", "classes", in_channels=80, out_channels=3),
    "nodes with edge features": Task("node", "classes", in_channels=5, out_channels=3, edge_channels=4),
    "edges": Task("edge", "binary", in_channels=5, out_channels=1),
    "edges with features": Task("edge", "binary", in_channels=5, out_channels=1, edge_channels=4),
    "categories": Task(
        "graph", "regression", in_channels=2, out_channels=2, edge_channels=2, node_categories=(4, 5),
        edge_categories=(3, 2), graph_channels=3,
    ),
    "graphs": Task("graph", "regression", in_channels=70, out_channels=1),
}  # fmt: skip
SPACES = {
    "agnn": AGNNSpace(),
    "agnn with skips and batch norm": AGNNSpace(layers=3, skip_connections=True, batch_norm=True),
    "egnas": EGNASSpace(),
    "gnn-plus": GNNPlusSpace(),
}
OTHERS = {
    "egnas, extended": EGNASSpace(
        cells=2, nodes=2, operations="extended", residual=True, merge="sum", positional_encodings=3, dropout=0.2
    ),
}
SEARCH = re.compile(
    r"\b(gates?|choices?|options?|supernet|search|architecture|agnn|egnas|gnn.?plus|automl)\b", re.IGNORECASE
)


def inputs(task: Task) -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    return [GraphProbe(task).example(count, generator) for count in (3, 5)]


def drawn(space: SearchSpace, task: Task, seed: int) -> nn.Module:
    """The network of a random architecture, its normalisations and biases as after some training."""
    torch.manual_seed(seed)
    network = space.network(space.sample(np.random.default_rng(seed)), task)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.2 * torch.randn_like(weight) if weight.dim() < 2 else 0.0)
        for _ in range(2):
            network.train()(*inputs(task)[0])
    return network.eval()


@pytest.mark.parametrize("space", [*SPACES, *OTHERS])
def test_random_networks_compute_the_same_without_us(space: str, tmp_path: Path) -> None:
    made = {**SPACES, **OTHERS}[space]
    cases = [(drawn(made, task, seed), inputs(task)) for task in TASKS.values() for seed in range(2)]
    assert_stands_alone(cases, tmp_path)


@pytest.mark.parametrize("space", SPACES)
def test_files_are_short_and_tell_of_no_search(space: str) -> None:
    for task in TASKS.values():
        for seed in range(10):
            with torch.device("meta"):
                network = SPACES[space].build(SPACES[space].sample(np.random.default_rng(seed)), task)
            text = plain_file(network.plain_source(), "A network.")
            assert len(text.splitlines()) <= 200
            assert not SEARCH.findall(text)


@pytest.mark.parametrize("space", SPACES)
def test_files_pass_ruff_and_are_formatted(space: str, tmp_path: Path) -> None:
    for number, task in enumerate(TASKS.values()):
        for seed in range(2):
            with torch.device("meta"):
                network = SPACES[space].build(SPACES[space].sample(np.random.default_rng(seed)), task)
            (tmp_path / f"network{number}_{seed}.py").write_text(plain_file(network.plain_source(), "A network."))
    for command in (["check", "--quiet"], ["format", "--check", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), str(tmp_path)]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("space", ["agnn", "gnn-plus"])
def test_torch_exports_networks_themselves_and_they_go_on_as_they_were(space: str, tmp_path: Path) -> None:
    task = TASKS["nodes with edge features"]
    network = drawn(SPACES[space], task, 1)
    calls = [each[:3] for each in inputs(task)]
    before = network(*calls[1])
    assert export_calls(network, calls, tmp_path / "network.pt2", "torch", []) <= 1e-5
    assert torch.equal(network(*calls[1]), before)
    with pytest.raises(ValueError, match="edge_index has sources from 0 to"):
        network(calls[0][0][:3], *calls[0][1:])


def test_a_predictor_gives_values_in_the_targets_units(tmp_path: Path) -> None:
    task = TASKS["graphs"]
    network = drawn(SPACES["gnn-plus"], task, 1)
    units = Units(target_mean=torch.tensor([2.5]), target_scale=torch.tensor([3.0]))
    path = tmp_path / "solubility.py"
    write_plain(network, network.plain_source(), inputs(task), path, "A network.", units)
    predictor = load_plain(path)
    x, edge_index, _, batch, _ = inputs(task)[0]
    with torch.no_grad():
        standardised = network(x, edge_index, None, batch, 3)
        torch.testing.assert_close(predictor(x, edge_index, batch=batch), 3.0 * standardised + 2.5)


def test_a_file_that_computes_something_else_is_not_kept(tmp_path: Path) -> None:
    task = TASKS["graphs"]
    network = drawn(SPACES["agnn"], task, 1)
    source = network.plain_source()
    wrong = replace(source, network=source.network.replace("return self.output(", "return 1.01 * self.output("))
    assert wrong != source
    with pytest.raises(RuntimeError, match=r"differs from the module by \d\.\de-0[23]"):
        write_plain(network, wrong, inputs(task), tmp_path / "x.py", "A network.")
    assert list(tmp_path.iterdir()) == []
