"""FreeNAS: an architecture in one pass of an untrained supernet, without data (Zhang et al. 2021, arXiv 2106.11542)."""

from __future__ import annotations

import torch

from automl_plugins.decoders.base import Found
from automl_plugins.estimators.context import Context
from automl_plugins.estimators.freeflow import flow_example, gate_shares
from automl_plugins.procedures.fits import refuse_without_supernet, searchable_of
from automl_plugins.system.arguments import at_least
from automl_plugins.training.project import Project

_LEAST = 1e-12


def freenas(project: Project, rounds: int = 1) -> list[Found]:
    """The architecture whose gates are the most salient, see `automl_plugins.estimators.freeflow.gate_shares`.

    It takes seconds, and trains nothing. The saliency grows with the number of weights, so it likes large operations;
    the project's limits hold. Of the data, nothing but the task is used.

    Args:
        project: what is searched.
        rounds: of looking at the supernet; between them, weak options are closed.

    Returns:
        One architecture, with the mean share of its options' saliency in that of their gates.

    Raises:
        TypeError: the space has no supernet.
        ValueError: a number below 1, or nothing flows through the supernet.
        LimitError: no architecture within the project's limits was found.
    """
    at_least("rounds", rounds, 1)
    refuse_without_supernet(project, "freenas")
    context = Context.of(project)
    searchable = searchable_of(project, joint=False)
    logits = searchable.logits
    shares = gate_shares(searchable.to(context.device), flow_example(context), rounds)
    with torch.no_grad():
        logits.copy_(shares.clamp(min=_LEAST).log())
    architecture = searchable.architecture()
    gates = searchable.space.gates(architecture, torch.float64).matrix
    return [Found(architecture, {"share": float((gates * shares).sum() / gates.sum())})]
