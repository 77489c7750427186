"""The time of a search's step by kind of work, and the least that it could take on this machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from measuring import least
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

_KINDS = {
    "matrix products": ("mm", "bmm", "addmm", "baddbmm"),
    "convolutions": ("convolution", "mkldnn_convolution", "_slow_conv2d_forward", "convolution_backward"),
    "sums and means": ("sum", "mean", "native_batch_norm", "native_batch_norm_backward", "var_mean"),
    "pooling and resizing": (
        "max_pool2d_with_indices",
        "max_pool2d_with_indices_backward",
        "avg_pool2d",
        "avg_pool2d_backward",
        "upsample_bilinear2d",
        "upsample_bilinear2d_backward",
    ),
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
_PRODUCTS = ("matrix products", "convolutions")


def kind_of(operation: str) -> str:
    """The sort of work that an operation of torch is."""
    name = operation.removeprefix("aten.").removeprefix("aten::").split(".")[0].rstrip("_")
    return next((kind for kind, names in _KINDS.items() if name in names), "elementwise")


class Bytes(TorchDispatchMode):
    """Counts the bytes that operations read and write, those of matrix products and convolutions apart."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0
        self.rest = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        is_view = any(each.alias_info and not each.alias_info.is_write for each in function._schema.returns)
        if not is_view:
            tensors = [each for each in tree_leaves((arguments, options, result)) if isinstance(each, Tensor)]
            count = sum(each.numel() * each.element_size() for each in tensors)
            if kind_of(str(function)) in _PRODUCTS:
                self.products += count
            else:
                self.rest += count
        return result


def gemm_speed() -> float:
    """Multiply-adds a second of a matrix product of a typical size: 6,400 rows, 300 to 300 channels."""
    left, right = torch.randn(6400, 300), torch.randn(300, 300)
    return left.numel() * 300 / least(20, product=lambda: left @ right)["product"]


def bandwidth() -> float:
    """Bytes a second of an addition over a few megabytes."""
    left, right = torch.randn(2, 6400, 300)
    out = torch.empty_like(left)
    return 3 * left.numel() * 4 / least(20, sum=lambda: torch.add(left, right, out=out))["sum"]


def breakdown(console: Console, **steps: Callable[[], object]) -> None:
    """Print where each step spends its time, by kind of work, and the floor of each.

    Args:
        console: where the table goes.
        steps: what is measured, by name.
    """
    speed, rate = gemm_speed(), bandwidth()
    console.print(f"one thread: {speed / 1e9:.1f} G multiply-adds/s, {rate / 1e9:.1f} GB/s")
    table = Table("step", "kind of work", "calls", "CPU s", "share")
    for name, step in steps.items():
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
        table.add_row(name, "floor: multiply-adds of products at the measured speed", "", f"{products:.3f}", "")
        table.add_row(name, "floor: their bytes at the measured rate", "", f"{moved.products / rate:.3f}", "")
        table.add_row(name, "floor: all other bytes at the measured rate", "", f"{moved.rest / rate:.3f}", "")
        table.add_section()
    console.print(table)
