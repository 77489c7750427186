"""Optuna samplers for search spaces: each decides, from the trials so far, which architecture comes next."""

from __future__ import annotations

from automl_plugins.samplers.base import ArchitectureSampler, Observation, Proposal, TrialLog
from automl_plugins.samplers.controller import ControllerSampler
from automl_plugins.samplers.evolution import EvolutionSampler
from automl_plugins.samplers.predictor import PredictorSampler
from automl_plugins.samplers.priorband import PriorBandSampler
from automl_plugins.samplers.reinforce import ReinforceSampler
from automl_plugins.samplers.robot import RobotSampler
from automl_plugins.samplers.screen import ScreenSampler

__all__ = [
    "ArchitectureSampler",
    "ControllerSampler",
    "EvolutionSampler",
    "Observation",
    "PredictorSampler",
    "PriorBandSampler",
    "Proposal",
    "ReinforceSampler",
    "RobotSampler",
    "ScreenSampler",
    "TrialLog",
]
