"""Perturbed gates that weights are trained with, found by name through the entry points `.perturbations`."""

from automl_plugins.strategies.perturbations.base import Perturbation, make_perturbation
from automl_plugins.strategies.perturbations.sdarts import SDARTSAdversarial, SDARTSRandom

__all__ = ["Perturbation", "SDARTSAdversarial", "SDARTSRandom", "make_perturbation"]
