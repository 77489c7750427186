"""The contract that every search space keeps, as a test suite to subclass.

A space of your own is proven by three methods in a test file of your own::

    from automl_plugins.testing import SearchSpaceContract

    class TestPerceptronSpace(SearchSpaceContract):
        def space(self):
            return PerceptronSpace()

        def tasks(self):
            return [Task("pixel", "regression", in_channels=3, out_channels=1)]

        def loss(self, network, task):
            image = torch.randn(4, task.in_channels, 1, 1)
            return network(image).square().mean()

and pytest, which runs what `SearchSpaceContract` says of it. For the full story of a failed assertion,
put `pytest.register_assert_rewrite("automl_plugins.testing")` into your `conftest.py`.
"""

from __future__ import annotations

from automl_plugins.testing.choices import ChoiceSuite
from automl_plugins.testing.encodings import EncodingSuite
from automl_plugins.testing.networks import NetworkSuite


class SearchSpaceContract(ChoiceSuite, EncodingSuite, NetworkSuite):
    """The promises of every search space; subclass it as `Test...` and give it three methods.

    `space`, `tasks` and `loss` are called anew for each test. The tests over tasks run once for
    each of them.
    """
