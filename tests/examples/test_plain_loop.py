"""A search in a plain PyTorch loop."""

from __future__ import annotations

from typing import Any

import plain_loop
import pytest
import torch
from own_space import VectorCellSpace

from automl_plugins.supernets.searchable import Searchable


@pytest.fixture
def searchables(monkeypatch: pytest.MonkeyPatch) -> list[Searchable]:
    """The searchables that the example makes."""
    made: list[Searchable] = []
    make = VectorCellSpace.searchable

    def recorded(self: VectorCellSpace, *arguments: Any, **options: Any) -> Searchable:
        made.append(make(self, *arguments, **options))
        return made[-1]

    monkeypatch.setattr(VectorCellSpace, "searchable", recorded)
    return made


def test_it_finds_an_architecture_that_learns(searchables: list[Searchable]) -> None:
    architecture, searched, retrained = plain_loop.main(epochs=4, warm_up=1)
    VectorCellSpace().validate(architecture)
    assert architecture == searchables[0].architecture()
    # Ten digits: chance is 0.1.
    assert min(searched, retrained) > 0.5


def test_the_logits_move_after_the_warm_up(searchables: list[Searchable]) -> None:
    plain_loop.main(epochs=1, warm_up=1)
    plain_loop.main(epochs=1, warm_up=0)
    waited, moved = (searchable.logits.detach() for searchable in searchables)
    task = searchables[0].task
    initial = VectorCellSpace().searchable(task).logits.detach()
    assert torch.equal(waited, initial)
    assert (moved != initial).all()


def test_the_same_seed_finds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for _ in range(2):
        plain_loop.main(epochs=1, warm_up=0)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "test accuracy of the retrained cell" in printed[0]
