"""One search step of EGNAS's supernet at the paper's size: joint form beside plain form, same weights, same process.

    python benchmarks/egnas_step.py               time and peak memory of both forms, and of a single path
    python benchmarks/egnas_step.py --breakdown   where the joint form's time goes, against the floor

Four cells of four states, node and edge width 50 and 25, a batch of 128 molecules, one thread. A weight step is a
forward pass with soft gates, a backward pass to the weights, and Adam; an architecture step a forward pass and the
gradient of the logits, the weights asking for none. Times are processor seconds, the least of several runs, the forms
in turn. Peak memory is what a forked copy of this process adds to its resident memory in two of each step.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch
from breakdown import breakdown
from measuring import least, peak
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from automl_plugins.search.isolation import frozen
from automl_plugins.supernets.gates import Gates, option_mask
from automl_plugins.supernets.relaxations import Softmax
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
        """The gradient of the logits, as the search takes it."""
        logits = self.logits.clone().requires_grad_()
        with frozen(self.supernet.parameters()):
            torch.autograd.grad(self.loss(self.relaxation(logits, self.mask)), [logits])


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
        breakdown(console, weights=steps["joint"].weights, architecture=steps["joint"].architecture)
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
