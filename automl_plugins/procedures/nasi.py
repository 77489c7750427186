"""NASI: a search at initialisation, without any training (Shu et al., ICLR 2022, arXiv 2109.00817, algorithm 1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from automl_plugins.decoders.base import Found
from automl_plugins.errors import DivergedError
from automl_plugins.estimators.context import Context
from automl_plugins.procedures.fits import refuse_without_supernet, searchable_of
from automl_plugins.report.notes import SLOW, tell
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.system.arguments import at_least, positive
from automl_plugins.training.project import Project


def nasi(project: Project, draws: int = 32, penalty: float = 2.0, bound: float | None = None) -> list[Found]:
    r"""The architecture towards which the trace norm of the untrained supernet's kernel grows, up to a bound.

    The trace is :math:`T = \|\nabla_\theta L\|^2`. Each draw of Gumbel noise and of labels gives its gradient with
    respect to the logits, all of which stay 0; beyond the bound :math:`\nu` it counts :math:`1 - \mu` times (equation
    11). The sum of the draws' gradients, each over the largest norm so far, are the logits that are decoded. Labels are
    random, as in the paper's label-agnostic search.

    A draw is a double backward pass of the plain supernet; what all of them will take is said after the first.

    Departure: the paper's adaptive bound starts from a number that is chosen for each space; ours is the mean of the
    traces of the draws before.

    Args:
        project: what is searched; its module's first validation batch gives the inputs.
        draws: of noise and labels; the paper has 100.
        penalty: :math:`\mu`.
        bound: :math:`\nu`, fixed; None: adaptive.

    Returns:
        One architecture, with the mean `trace` and the share of draws that were `beyond_bound`.

    Raises:
        TypeError: the space has no supernet.
        ValueError: a number out of range.
        DivergedError: a trace, or its gradient, is not finite.
        LimitError: no architecture within the project's limits was found.
    """
    at_least("draws", draws, 1)
    positive("penalty", penalty, zero=True)
    if bound is not None:
        positive("bound", bound)
    refuse_without_supernet(project, "nasi")
    context = Context.of(project)
    searchable = searchable_of(project, "concrete", joint=False).to(context.device).train()
    with torch.no_grad():
        searchable.logits.zero_()
    _ = context.inputs
    total, largest = torch.zeros_like(searchable.logits), torch.zeros(())
    traces: list[float] = []
    beyond = 0
    began = time.perf_counter()
    with context.seeded():
        for draw in range(draws):
            trace, gradient = _draw(searchable, context, draw)
            limit = bound if bound is not None else sum(traces) / len(traces) if traces else trace
            if trace > limit:
                gradient, beyond = gradient * (1 - penalty), beyond + 1
            traces.append(trace)
            largest = torch.maximum(largest, gradient.norm().cpu())
            total += gradient / float(largest.clamp(min=torch.finfo(largest.dtype).tiny)) / draws
            left = (draws - 1) * (time.perf_counter() - began)
            if draw == 0 and left > SLOW:
                tell(f"{draws - 1} more draws will take about {left:,.0f} s", "nasi")
    with torch.no_grad():
        searchable.logits.copy_(total)
    return [Found(searchable.architecture(), {"trace": sum(traces) / draws, "beyond_bound": beyond / draws})]


class _PlainEmbeddings(TorchFunctionMode):
    """Sums of embeddings in operations that have second derivatives, which `embedding_bag` has not."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.embedding_bag and args[0].dim() == 2 and kwargs.get("mode") == "sum":
            return functional.embedding(args[0], args[1]).sum(dim=1)
        return func(*args, **kwargs)


def _draw(searchable: Searchable, context: Context, draw: int) -> tuple[float, Tensor]:
    """The trace with fresh noise and labels, and its gradient with respect to the logits.

    Raises:
        DivergedError: one is not finite.
    """
    # The other kernels of attention have no second derivative.
    with sdpa_kernel(SDPBackend.MATH), _PlainEmbeddings():
        loss = context.random_loss(searchable, draw)
        weights = searchable.weight_parameters()
        gradients = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
        trace = torch.stack([each.square().sum() for each in gradients if each is not None]).sum()
        (gradient,) = torch.autograd.grad(trace, [searchable.logits])
    if not (trace.isfinite() and gradient.isfinite().all()):
        reason = f"the trace of draw {draw} is {float(trace.detach()):g}, or its gradient not finite"
        raise DivergedError(reason, f"{reason}: the supernet's gradients are beyond float32 on this batch")
    return float(trace.detach()), gradient
