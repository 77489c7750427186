"""Search steps of Auto-DeepLab's supernet: joint form, with and without checkpointing, beside plain form.

    python benchmarks/auto_deeplab_step.py --layers 8
    python benchmarks/auto_deeplab_step.py --layers 12
    python benchmarks/auto_deeplab_step.py --breakdown   where the joint form's time goes, against the floor

Five blocks, eight filters, eleven classes, two images of 128 x 128, one thread. A weight step is a forward pass
with soft gates, a backward pass to the weights, and SGD with momentum; an architecture step a forward pass and the
gradient of the logits, the weights asking for none. Times are processor seconds, the least of several runs, the forms
in turn; weights and process are the same. Peak memory is what a forked copy of this process adds to its resident
memory in two of each step.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from breakdown import breakdown
from measuring import least, peak
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from automl_plugins import Task
from automl_plugins.search.isolation import frozen
from automl_plugins.supernets.gates import Gates, option_mask
from automl_plugins.supernets.relaxations import Softmax
from seg_space import AutoDeepLabSpace

TASK = Task("pixel", "classes", in_channels=3, out_channels=11)


class Steps:
    """The steps of a search on one batch.

    Args:
        supernet: either form.
        space: its space.
    """

    def __init__(self, supernet: nn.Module, space: AutoDeepLabSpace) -> None:
        self.supernet = supernet.train()
        self.space = space
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(2, 3, 128, 128, generator=generator)
        self.masks = torch.randint(11, (2, 128, 128), generator=generator)
        self.mask = option_mask(space.gate_choices)
        self.logits = 1e-3 * torch.rand(self.mask.shape, generator=generator)
        self.relaxation = Softmax()
        self.optimizer = sgd(supernet)

    def loss(self, matrix: Tensor) -> Tensor:
        """The loss with these gates."""
        outputs = self.supernet(self.images, gates=Gates(self.space.gate_choices, matrix))
        return nn.functional.cross_entropy(outputs, self.masks)

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


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of the paper's search; a small rate, so that many steps on one batch stay finite."""
    return torch.optim.SGD(module.parameters(), lr=1e-4, momentum=0.9)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--breakdown", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    console = Console(width=120)
    space = AutoDeepLabSpace(layers=arguments.layers, blocks=5, filters=8)
    joint = space.supernet(TASK)
    if arguments.breakdown:
        own = Steps(joint, space)
        breakdown(console, weights=own.weights, architecture=own.architecture)
        return
    recomputing = AutoDeepLabSpace(layers=arguments.layers, blocks=5, filters=8, checkpointing=True).supernet(TASK)
    recomputing.load_state_dict(joint.state_dict())
    steps = {
        "plain": Steps(joint.plain(), space),
        "joint": Steps(joint, space),
        "joint, checkpointing": Steps(recomputing, space),
    }
    count = sum(weight.numel() for weight in joint.parameters())
    with torch.no_grad():
        soft = Softmax()(steps["joint"].logits, steps["joint"].mask)
        difference = (steps["joint"].loss(soft) - steps["plain"].loss(soft)).abs()
    console.print(f"{arguments.layers} layers, {count:,} parameters; losses differ by {float(difference):.1e}")

    memory = {form: peak(each.weights, each.architecture) for form, each in steps.items()}
    seconds = least(
        arguments.runs,
        **{f"{form} {kind}": getattr(steps[form], kind) for kind in ("weights", "architecture") for form in steps},
    )
    table = Table("soft gates", "weight step, CPU s", "architecture step, CPU s", "peak memory, MiB")
    for form in steps:
        parts = [seconds[f"{form} {kind}"] for kind in ("weights", "architecture")]
        table.add_row(form, *(f"{each:.2f}" for each in parts), f"{memory[form]:.0f}")
    for form, other in (("joint", "plain"), ("joint, checkpointing", "joint")):
        ratios = [seconds[f"{form} {kind}"] / seconds[f"{other} {kind}"] for kind in ("weights", "architecture")]
        table.add_row(f"{form} / {other}", *(f"{each:.2f}" for each in (*ratios, memory[form] / memory[other])))
    console.print(table)

    table = Table("one path", "supernet, CPU s", "derived network, CPU s", "ratio")
    generator = np.random.default_rng(0)
    own = steps["joint"]
    for number in range(3):
        architecture = space.sample(generator)
        network = space.network(architecture, TASK).train()
        optimizer = sgd(network)
        matrix = space.gates(architecture).matrix

        def derived(network: nn.Module = network, optimizer: torch.optim.Optimizer = optimizer) -> None:
            nn.functional.cross_entropy(network(own.images), own.masks).backward()
            optimizer.step()
            optimizer.zero_grad()

        def one_path(matrix: Tensor = matrix) -> None:
            own.weights(matrix)

        took = least(2 * arguments.runs, supernet=one_path, network=derived)
        ratio = took["supernet"] / took["network"]
        table.add_row(f"architecture {number}", f"{took['supernet']:.3f}", f"{took['network']:.3f}", f"{ratio:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
