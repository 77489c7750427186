"""Which weights AGNN's networks share: those of homogeneous layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from automl_plugins import Architecture, Task
from automl_plugins.studies.sharing import SharesWeights, WeightPool
from gnn_space import AGNNSpace

NODE = Task("node", "classes", in_channels=5, out_channels=3)
SPACE = AGNNSpace(layers=2, batch_norm=True, skip_connections=True)
KINDS = ("hidden_channels", "attention", "heads", "aggregation", "combine", "activation")
LAYER = dict(zip(KINDS, (8, "gat", 2, "sum", "mlp", "elu"), strict=True))


def architecture(**changes: object) -> Architecture:
    """Two layers alike, but for the changes, `layer1__attention="cos"`."""
    values = {f"layer{layer}.{kind}": value for layer in (0, 1) for kind, value in LAYER.items()}
    return SPACE.architecture({**values, **{name.replace("__", "."): value for name, value in changes.items()}})


def inherited(folder: Path, child: Architecture, task: Task = NODE) -> set[str]:
    """The parts of a child's network that hold the numbers that `architecture()` was trained to."""
    parent = SPACE.network(architecture(), task)
    with torch.no_grad():
        for tensor in parent.state_dict().values():
            tensor.fill_(7)
    pool = WeightPool(folder)
    pool.keep(SPACE.shared_weights(parent, architecture()), 0)
    network = SPACE.network(child, task)
    pool.inherit(SPACE.shared_weights(network, child), {0})
    state = network.state_dict()
    return {".".join(name.split(".")[:2]) for name, tensor in state.items() if (tensor == 7).all()}


def test_the_space_says_what_it_shares() -> None:
    assert isinstance(SPACE, SharesWeights)


def test_an_equal_architecture_inherits_all_but_normalisation_and_skip_connections(tmp_path: Path) -> None:
    assert inherited(tmp_path, architecture()) == {"layers.0", "layers.1", "head.output"}


def test_the_aggregation_does_not_matter(tmp_path: Path) -> None:
    child = architecture(layer0__aggregation="max", layer1__aggregation="mean")
    assert inherited(tmp_path, child) == {"layers.0", "layers.1", "head.output"}


@pytest.mark.parametrize(
    "change",
    [{"attention": "sym-gat"}, {"activation": "relu"}, {"combine": "identity"}, {"heads": 4, "hidden_channels": 4}],
    ids=str,
)
def test_a_layer_with_another_attention_activation_or_shape_starts_anew(
    tmp_path: Path, change: dict[str, object]
) -> None:
    """Four heads of four channels are as wide as two of eight, and are not the same layer."""
    first = architecture(**{f"layer0__{kind}": value for kind, value in change.items()})
    assert inherited(tmp_path / "first", first) == {"layers.1", "head.output"}
    last = architecture(**{f"layer1__{kind}": value for kind, value in change.items()})
    assert inherited(tmp_path / "last", last) == {"layers.0"}


def test_a_layer_behind_a_wider_one_starts_anew(tmp_path: Path) -> None:
    assert inherited(tmp_path, architecture(layer0__hidden_channels=16)) == {"head.output"}


def test_embeddings_of_categories_are_shared(tmp_path: Path) -> None:
    task = replace(NODE, in_channels=1, node_categories=(4,))
    child = architecture(layer0__attention="cos", layer1__attention="cos")
    assert inherited(tmp_path, child, task) == {"encoder.nodes"}
