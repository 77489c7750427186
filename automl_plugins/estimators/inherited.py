"""The weights of a trained supernet as an estimate: one training for all architectures."""

from __future__ import annotations

from torch import nn

from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.spaces.architecture import Architecture
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.supernet import inherited
from automl_plugins.system.arguments import at_least
from automl_plugins.training.lightning import pl
from automl_plugins.training.recalibration import recalibrate
from automl_plugins.training.surroundings import carry_over


class InheritedEstimator(Estimator):
    """The validation metric of an architecture's network with the weights of a trained supernet.

    The estimate of one-shot search (Bender et al. 2018; Guo et al. 2020, arXiv 1904.00420): running statistics are
    measured anew on a few training batches, since those of the supernet belong to a mixture. The score is the metric,
    or its negative where less is better.

    Args:
        searchable: a searchable that was trained, alone or within a LightningModule, whose other weights then judge
            candidates too.
        batches: training batches that statistics are measured on, see `recalibrate`; 0 leaves the supernet's.

    Raises:
        TypeError: there is no searchable in it.
    """

    def __init__(self, searchable: nn.Module, batches: int = 8) -> None:
        found = [part for part in searchable.modules() if isinstance(part, Searchable)]
        if len(found) != 1:
            raise TypeError(f"weights are inherited from a module with one searchable; {len(found)} are in it")
        self.searchable = found[0]
        self.module = searchable if isinstance(searchable, pl.LightningModule) else None
        self.batches = at_least("batches", batches, 0)

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The metric of the network that inherits.

        Raises:
            TypeError: the candidate is no architecture.
            ValueError: the context has no project, or the searchable is of another space.
        """
        if not isinstance(candidate, Architecture):
            raise TypeError(f"an architecture inherits weights; a {type(candidate).__name__} cannot")
        project = context.training
        searchable = self.searchable
        network = inherited(searchable.space, searchable.supernet, candidate, context.task).to(context.device)
        module = project.make_module(network).to(context.device)
        if self.module is not None:
            carry_over(self.module, searchable, module, network)
        if self.batches:
            # A module that only has steps cannot be called; its network can, with images or graphs.
            has_forward = type(module).forward is not pl.LightningModule.forward
            recalibrate(module if has_forward else network, project.batches(self.batches))
        return Estimate(project.sign * project.score(network if self.module is None else module))
