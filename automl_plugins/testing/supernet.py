"""The contract that every space with a supernet keeps, as a test suite to subclass.

It holds all that `SearchSpaceContract` does and is written alike; `loss` is also called with a
`Searchable`, which is called as the networks are::

    from automl_plugins.testing import SupernetContract

    class TestPerceptronSpace(SupernetContract):
        def space(self):
            return PerceptronSpace()

        def tasks(self):
            return [Task("pixel", "regression", in_channels=3, out_channels=1)]

        def loss(self, network, task):
            image = torch.randn(4, task.in_channels, 1, 1)
            return network(image).square().mean()

The tests of supernets run in float64, so that an error of the mathematics is told from one of
rounding: it is torch's default type while `loss` is called, and that of all floating-point weights.
"""

from __future__ import annotations

from automl_plugins.testing.computation import ComputationSuite
from automl_plugins.testing.gates import GateSuite
from automl_plugins.testing.search_space import SearchSpaceContract
from automl_plugins.testing.searchables import SearchableSuite


class SupernetContract(SearchSpaceContract, GateSuite, ComputationSuite, SearchableSuite):
    """The promises of every space with a supernet, beside those of every space.

    In training mode, a supernet with one-hot gates draws the random numbers that the network draws, in
    the same order; where yours cannot, give the contract a space without dropout.
    """
