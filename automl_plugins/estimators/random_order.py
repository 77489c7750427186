"""No estimate at all: the order that chance gives, which every other has to beat."""

from __future__ import annotations

import hashlib

from automl_plugins.estimators.base import Estimate, Estimator
from automl_plugins.estimators.context import Candidate, Context
from automl_plugins.spaces.architecture import Architecture


class RandomOrder(Estimator):
    """A number between 0 and 1 for each architecture, settled by it and the context's seed."""

    def estimate(self, candidate: Candidate, context: Context) -> Estimate:
        """The number.

        Raises:
            TypeError: the candidate is no architecture.
            ValueError: the architecture is not of the space.
        """
        if not isinstance(candidate, Architecture):
            raise TypeError(f"a random order is one of architectures; got a {type(candidate).__name__}")
        context.space.validate(candidate)
        digest = hashlib.sha256(f"{context.seed} {candidate.to_json()}".encode()).digest()
        return Estimate(int.from_bytes(digest[:8], "big") / 2**64)
