from __future__ import annotations

import pytest
import torch
from perceptron_space.space import PerceptronSpace
from torch import nn

from automl_plugins import Task
from automl_plugins.supernets.relaxations import Softmax
from automl_plugins.supernets.state_dicts import decode_state, searchables_in

SPACE = PerceptronSpace()


def test_an_architecture_is_read_off_the_weights_of_a_module_around_its_searchable() -> None:
    searchable = SPACE.searchable(Task("pixel", "regression", 3, 1), seed=0)
    with torch.no_grad():
        searchable.logits.normal_(generator=torch.Generator().manual_seed(1))
    outer = nn.ModuleDict({"net": nn.ModuleDict({"searched": searchable}), "logits": nn.Linear(1, 1)})
    assert searchables_in(outer.state_dict()) == ["net.searched"]
    assert searchables_in(searchable.state_dict()) == [""]
    for module, path in ((outer, "net.searched"), (searchable, "")):
        assert decode_state(module.state_dict(), path, SPACE, Softmax()) == searchable.architecture()


def test_logits_of_another_space_are_refused() -> None:
    state = SPACE.searchable(Task("pixel", "regression", 3, 1), seed=0).state_dict()
    with pytest.raises(ValueError, match=r"are not the .* of this space"):
        decode_state(state, "", PerceptronSpace(widest=4), Softmax())
