"""Terms beside the loss of a search: one file a paper, found by name through the entry points `.regularizers`."""

from automl_plugins.strategies.regularizers.base import Regularizer, make_regularizers
from automl_plugins.strategies.regularizers.beta_decay import BetaDecay
from automl_plugins.strategies.regularizers.expected_cost import ExpectedCost
from automl_plugins.strategies.regularizers.zero_one import ZeroOne

__all__ = ["BetaDecay", "ExpectedCost", "Regularizer", "ZeroOne", "make_regularizers"]
