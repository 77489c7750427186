"""A graph network that averages the noise out of scores by weight sharing."""

from __future__ import annotations

from automl_plugins.estimators.predictors.ranker import RankerPredictor
from automl_plugins.spaces.space import SearchSpace


class DenoiserPredictor(RankerPredictor):
    """Fits a supernet's noisy estimates, and takes the smooth fit for the truth (Chen et al., AAAI 2021, section 3).

    The estimate of an architecture by shared weights is its quality with an error that depends on the
    architecture at random; a graph network fitted to many of them by squared error averages the error out, not the
    bias that weight sharing has for some operations. Below about 500 estimates it loses more than it mends.
    The paper's network is not described to the last layer; ours is that of `RankerPredictor`, with a stronger
    decay and few epochs: trained for longer, it learns the noise. The prediction is the standardised score.

    Args:
        space: see `Predictor`.
        seed: see `Predictor`.
        width: see `RankerPredictor`.
        epochs: see `RankerPredictor`.
        weight_decay: see `RankerPredictor`.
    """

    def __init__(
        self, space: SearchSpace, seed: int = 0, width: int = 64, epochs: int = 12, weight_decay: float = 0.1
    ) -> None:
        super().__init__(space, seed, "squared", width, epochs, weight_decay)
