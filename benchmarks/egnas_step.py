"""One search step of EGNAS's supernet at the paper's size: joint form beside plain form, same weights, same process.

    python benchmarks/egnas_step.py               time and peak memory of both forms, and of a single path
    python benchmarks/egnas_step.py --breakdown   where the joint form's time goes, against the floor

Four cells of four states, node and edge width 50 and 25, a batch of 128 molecules, one thread. A weight step is a
forward pass with soft gates, a backward pass to the weights, and Adam; an architecture step a forward pass and the
gradient of the logits. Times are processor seconds, the least of several runs, the forms in turn. Peak memory is what a
forked copy of this process adds to its resident memory in two of each step.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from measuring import least, peak
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from automl_plugins.gates import Gates, option_mask
from automl_plugins.relaxations import Softmax
from gnn_space import EGNASSpace
from gnn_space.data.molecules import SmilesTable

DATA = Path(os.environ.get("AUTOML_PLUGINS_DATA", "../shared/data"))
MEBIBYTE = 2**20


class Steps:
    """The steps of a search on one batch.

    Args:
        supernet: either form.
        space: its space.
        batch: of graphs.
    """

    def __init__(self, supernet: nn.Module, space: EGNASSpace, batch: Any) -> None:
        self.supernet = supernet.train()
        self.space = space
        self.inputs = (batch.x, batch.edge_index, batch.edge_attr, batch.batch, batch.num_graphs)
        self.targets = batch.y.view(-1, 1)
        mask = option_mask(space.gate_choices)
        self.logits = 1e-3 * torch.rand(mask.shape, generator=torch.Generator().manual_seed(0))
        self.relaxation, self.mask = Softmax(), mask
        self.optimizer = torch.optim.Adam(supernet.parameters())

    def loss(self, matrix: Tensor) -> Tensor:
        """The loss with these gates."""
        outputs = self.supernet(*self.inputs, gates=Gates(self.space.gate_choices, matrix))
        return nn.functional.l1_loss(outputs, self.targets)

    def weights(self, matrix: Tensor | None = None) -> None:
        """A step of the weights, with soft gates or the given ones."""
        self.loss(self.relaxation(self.logits, self.mask) if matrix is None else matrix).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def architecture(self) -> None:
        """The gradient of the logits."""
        logits = self.logits.clone().requires_grad_()
        torch.autograd.grad(self.loss(self.relaxation(logits, self.mask)), [logits])


class Bytes(TorchDispatchMode):
    """Counts the bytes that operations read and write, those of matrix products apart."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = defaultdict(int)

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        is_view = any(each.alias_info and not each.alias_info.is_write for each in function._schema.returns)
        if not is_view:
            tensors = [each for each in tree_leaves((arguments, options, result)) if isinstance(each, Tensor)]
            kind = "matrix products" if kind_of(str(function)) == "matrix products" else "the rest"
            self.counts[kind] += sum(each.numel() * each.element_size() for each in tensors)
        return result


_KINDS = {
    "matrix products": ("mm", "bmm", "addmm", "baddbmm"),
    "sums and means": ("sum", "mean", "native_batch_norm", "native_batch_norm_backward", "var_mean"),
    "rows by index": (
        "index_select",
        "index_add",
        "gather",
        "scatter_reduce",
        "_embedding_bag_forward_only",
        "_embedding_bag",
        "embedding",
        "embedding_dense_backward",
        "scatter_add",
    ),
    "copies and fills": ("copy", "cat", "clone", "zero", "fill", "repeat", "stack", "constant_pad_nd"),
}


def kind_of(operation: str) -> str:
    """What sort of work an operation of torch is."""
    name = operation.removeprefix("aten.").removeprefix("aten::").split(".")[0].rstrip("_")
    return next((kind for kind, names in _KINDS.items() if name in names), "elementwise")


def gemm_speed() -> float:
    """Multiply-adds a second of a matrix product of this size: 6,400 rows, 300 to 300 channels."""
    left, right = torch.randn(6400, 300), torch.randn(300, 300)
    return left.numel() * 300 / least(20, product=lambda: left @ right)["product"]


def bandwidth() -> float:
    """Bytes a second of an addition over a few megabytes."""
    left, right = torch.randn(2, 6400, 300)
    out = torch.empty_like(left)
    return 3 * left.numel() * 4 / least(20, sum=lambda: torch.add(left, right, out=out))["sum"]


def breakdown(steps: Steps, console: Console) -> None:
    """Where a joint weight step and architecture step spend their time, and the floor of each."""
    speed, rate = gemm_speed(), bandwidth()
    console.print(f"one thread: {speed / 1e9:.1f} G multiply-adds/s, {rate / 1e9:.1f} GB/s")
    table = Table("step", "kind of work", "calls", "CPU s", "share")
    for name, step in (("weights", steps.weights), ("architecture", steps.architecture)):
        step()
        with torch.profiler.profile() as profile:
            step()
        calls: dict[str, int] = defaultdict(int)
        seconds: dict[str, float] = defaultdict(float)
        for event in profile.key_averages():
            native = event.key.startswith("aten::")
            kind = kind_of(event.key) if native else "Python, autograd, optimizer"
            calls[kind] += event.count if native else 0
            seconds[kind] += event.self_cpu_time_total / 1e6
        whole = sum(seconds.values())
        for kind, value in sorted(seconds.items(), key=lambda item: -item[1]):
            table.add_row(name, kind, f"{calls[kind]:,}", f"{value:.3f}", f"{value / whole:.0%}")
        with FlopCounterMode(display=False) as counter, Bytes() as moved:
            step()
        products = counter.get_total_flops() / 2 / speed
        rest = moved.counts["the rest"] / rate
        table.add_row(name, "floor: matrix products at the measured speed", "", f"{products:.3f}", "")
        table.add_row(name, "floor: all other bytes at the measured rate", "", f"{rest:.3f}", "")
        table.add_section()
    console.print(table)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--breakdown", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120)
    data = SmilesTable(
        DATA / "graph/molecules/zinc_like_12k.csv",
        "smiles",
        "penalized_logp_norm",
        split_column="split",
        batch_size=128,
    )
    data.setup("fit")
    torch.manual_seed(0)
    batch = next(iter(data.train_dataloader()))
    space = EGNASSpace()
    joint = space.supernet(data.task)
    count = sum(weight.numel() for weight in joint.parameters())
    console.print(f"{batch.num_nodes} nodes, {batch.num_edges} edges, {count:,} parameters")
    steps = {"joint": Steps(joint, space, batch)}
    if arguments.breakdown:
        breakdown(steps["joint"], console)
        return
    steps["plain"] = Steps(joint.plain(), space, batch)
    with torch.no_grad():
        difference = (steps["joint"].loss(uniform(space)) - steps["plain"].loss(uniform(space))).abs()
    console.print(f"losses differ by {float(difference):.1e}")

    memory = {name: peak(each.weights, each.architecture) for name, each in steps.items()}
    seconds = least(
        arguments.runs,
        **{f"{form} {kind}": getattr(steps[form], kind) for kind in ("weights", "architecture") for form in steps},
    )
    table = Table("soft gates", "weight step, CPU s", "architecture step, CPU s", "both", "peak memory, MiB")
    for form in ("plain", "joint"):
        parts = [seconds[f"{form} weights"], seconds[f"{form} architecture"]]
        table.add_row(form, *(f"{each:.2f}" for each in (*parts, sum(parts))), f"{memory[form]:.0f}")
    both = {form: seconds[f"{form} weights"] + seconds[f"{form} architecture"] for form in steps}
    ratio = both["joint"] / both["plain"], memory["joint"] / memory["plain"]
    table.add_row("joint / plain", "", "", f"{ratio[0]:.2f}", f"{ratio[1]:.2f}")
    console.print(table)

    table = Table("single path", "parameters run", "supernet, CPU s", "derived network, CPU s", "ratio")
    generator = torch.Generator().manual_seed(0)
    own = steps["joint"]
    for number in range(3):
        architecture = space.sample(generator)
        network = space.network(architecture, data.task).train()
        optimizer = torch.optim.Adam(network.parameters())
        matrix = space.gates(architecture).matrix

        def derived(network: nn.Module = network, optimizer: torch.optim.Optimizer = optimizer) -> None:
            nn.functional.l1_loss(network(*own.inputs), own.targets).backward()
            optimizer.step()
            optimizer.zero_grad()

        def one_path(matrix: Tensor = matrix) -> None:
            own.weights(matrix)

        took = least(2 * arguments.runs, supernet=one_path, network=derived)
        table.add_row(
            f"architecture {number}",
            f"{sum(weight.numel() for weight in network.parameters()):,}",
            f"{took['supernet']:.3f}",
            f"{took['network']:.3f}",
            f"{took['supernet'] / took['network']:.2f}",
        )
    console.print(table)


def uniform(space: EGNASSpace) -> Tensor:
    """Equal gates for all options."""
    mask = option_mask(space.gate_choices)
    return mask / mask.sum(dim=1, keepdim=True)


if __name__ == "__main__":
    main()
