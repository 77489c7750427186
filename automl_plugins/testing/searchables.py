"""The promises of a searchable: what a user puts where the network was."""

from __future__ import annotations

import copy
import io

import torch

from automl_plugins.spaces.task import Task
from automl_plugins.supernets.relaxations import Concrete
from automl_plugins.testing.numeric import assert_close
from automl_plugins.testing.supernet_suite import SupernetSuite


class SearchableSuite(SupernetSuite):
    """Copies, states, modes and derived networks."""

    def test_a_searchable_survives_copies_and_its_state_dict(self, task: Task) -> None:
        searchable = self._searchable(task, Concrete()).train()
        searchable.set_logits(self._drawn(searchable.space)[0], strength=1.0)
        file = io.BytesIO()
        torch.save(searchable.state_dict(), file)
        file.seek(0)
        loaded = self._searchable(task, Concrete(), seed=1).train()
        loaded.seed = searchable.seed
        loaded.load_state_dict(torch.load(file, weights_only=True))
        copied = copy.deepcopy(searchable)
        for training in (True, False):
            losses = [self._loss(each.train(training), task).item() for each in (searchable, loaded, copied)]
            assert losses[0] == losses[1] == losses[2], f"equal weights, but the losses {losses}"
        assert searchable.architecture() == loaded.architecture() == copied.architecture()

    def test_a_searchable_has_the_modes_of_any_module(self, task: Task) -> None:
        searchable = self._searchable(task, Concrete())
        assert not any(module.training for module in searchable.modules())
        with torch.no_grad():
            loss = self._loss(searchable, task)
        assert not loss.requires_grad
        assert torch.equal(loss, self._loss(searchable, task)), "evaluation is not settled"
        assert all(module.training for module in searchable.train().modules())

    def test_a_derived_network_is_that_of_the_architecture(self, task: Task) -> None:
        searchable = self._searchable(task)
        for architecture in self._drawn(searchable.space)[:3]:
            searchable.set_logits(architecture)
            fresh = searchable.derive()
            like = searchable.space.network(architecture, task)
            assert type(fresh) is type(like)
            shapes = [{name: each.shape for name, each in one.state_dict().items()} for one in (fresh, like)]
            assert shapes[0] == shapes[1]
            with searchable.hold(architecture):
                expected = self._loss(searchable, task)
            assert_close("the loss", [self._loss(searchable.derive(keep_weights=True), task)], [expected], "")
