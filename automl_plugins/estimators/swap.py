"""SWAP: the number of different patterns of activation over samples (Peng et al., ICLR 2024, arXiv 2403.04161)."""

from __future__ import annotations

import numpy as np
import torch

from automl_plugins.estimators.activations import signs
from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.system.arguments import at_least, switch


class SwapEstimator(Estimator):
    """The number of different rows of the matrix of signs, with a row for each unit and a column for each sample.

    Each unit divides the samples in two; counted are the divisions that the network makes. The paper's regularised
    form, a bell curve over parameters, has a centre that is chosen by hand for each space, and is left out.

    Args:
        samples: the most samples of the batch.
        positions: samples are nodes or places of images, not graphs or whole images.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(self, samples: int = 128, positions: bool = False) -> None:
        self.samples = at_least("samples", samples, 2)
        self.positions = switch("positions", positions)

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The score.

        Raises:
            ValueError: the network has no activations over samples.
        """
        codes = torch.cat(signs(context.network(candidate), context, self.samples, self.positions, None), dim=1)
        packed = np.packbits(codes.T.cpu().numpy(), axis=1)
        patterns = np.unique(np.ascontiguousarray(packed).view(f"V{packed.shape[1]}")).size
        return Estimate(patterns, figures={"units": codes.shape[1], "samples": codes.shape[0]})
