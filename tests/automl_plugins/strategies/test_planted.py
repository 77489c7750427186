"""An option that is right by construction is found; `nox -s planted` asks every strategy on every plant, ten seeds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from planted import FAR, PLANTS, SIDE, find, loader, planted

from automl_plugins import registry
from automl_plugins.spaces.architecture import Architecture

OTHERS = {"darts-minus": "wide"}
"""The plant of strategies that refuse a space without identities."""
LEFT_OUT = {"dints", "fair-darts"}
"""DiNTS needs several paths at a time, where no single option is right; Fair-DARTS says that it does not find it."""


STRATEGIES = [name for name in registry.names("strategies") if name not in LEFT_OUT]
SAMPLE = {"darts", "gdas", "random"}


def sampled(strategy: str) -> object:
    return pytest.param(strategy, marks=() if strategy in SAMPLE else pytest.mark.slow)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("strategy", [*map(sampled, STRATEGIES)])
def test_every_strategy_finds_that_features_of_edges_decide(strategy: str, tmp_path: Path) -> None:
    assert find(OTHERS.get(strategy, "edges"), strategy, 0, tmp_path)


@pytest.mark.parametrize("name", PLANTS)
def test_a_plant_leaves_nothing_open_but_itself_and_some_of_it_is_wrong(name: str) -> None:
    plant = PLANTS[name]
    searchable = planted(plant, 0)
    decided = [
        choice.name for choice, row in zip(searchable.choices, searchable.mask, strict=True) if int(row.sum()) > 1
    ]
    assert set(decided) == {gate for gate, options in plant.kept.items() if len(options) > 1}
    generator = torch.Generator().manual_seed(0)
    drawn: set[Architecture] = {searchable.sample(generator) for _ in range(200)}
    right = [each for each in drawn if plant.is_right(each)]
    assert len(right) / len(drawn) == pytest.approx(plant.chance)


def test_what_is_planted_is_in_the_data() -> None:
    (x, edges, features, *_), target = next(iter(loader(PLANTS["edges"], 0)))
    node = int(edges[1].mode().values)
    assert target[node].item() == pytest.approx(features[edges[1] == node, 0].mean().item(), abs=1e-6)
    (x, edges, *_), target = next(iter(loader(PLANTS["sums"], 0)))
    assert (x == 1).all()
    assert target[node].item() == (edges[1] == node).sum().item() / 4 - 1
    (image,), target = next(iter(loader(PLANTS["fine"], 0)))
    assert torch.equal(image, target)
    (image,), target = next(iter(loader(PLANTS["wide"], 0)))
    assert torch.equal(target[..., FAR:], image[..., : SIDE - FAR])
