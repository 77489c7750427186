"""What a search of several paths adds to its loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from automl_plugins import Task
from automl_plugins.supernets.gates import Gates
from automl_plugins.supernets.relaxations import Softmax
from automl_plugins.supernets.searchable import Searchable
from automl_plugins.supernets.topology import TopologyTerms
from seg_space import AutoDeepLabSpace
from seg_space.auto_deeplab.cell import GATE_OPTIONS, NONE, OPERATIONS
from seg_space.auto_deeplab.operations import make_operation
from seg_space.auto_deeplab.topology_terms import KEPT

TASK = Task("pixel", "regression", in_channels=1, out_channels=1)


def make_space(layers: int = 3) -> AutoDeepLabSpace:
    return AutoDeepLabSpace(layers=layers, blocks=1, filters=1, stem=(2, 3), multi_path=True)


def terms_of(searchable: Searchable) -> TopologyTerms:
    probabilities = Softmax().probabilities(searchable.logits, searchable.mask)
    terms = searchable.space.topology_terms(Gates(searchable.choices, probabilities))
    assert terms is not None
    return terms


def searchable_of(space: AutoDeepLabSpace, scale: float = 1.0, seed: int = 0) -> Searchable:
    searchable = space.searchable(TASK)
    with torch.no_grad():
        searchable.logits.normal_(0, scale, generator=torch.Generator().manual_seed(seed))
    return searchable


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_keeps_as_many_maps_as_it_is_counted_for(operation: str) -> None:
    module = make_operation(operation, channels=3).train()
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.numel() == x.numel() and tensor.data_ptr() != x.data_ptr():
            kept[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(x)
    assert len(kept) == KEPT[operation]
    assert set(KEPT) == set(GATE_OPTIONS)
    assert KEPT[NONE] == 0


def test_an_architecture_is_decided_fits_and_needs_the_memory_of_its_edges() -> None:
    space = make_space()
    generator = np.random.default_rng(0)
    for _ in range(10):
        architecture = space.sample(generator)
        terms = space.topology_terms(space.gates(architecture))
        assert terms is not None
        assert [float(each) for each in terms[:3]] == pytest.approx([0.0, 0.0, 0.0], abs=2e-3)
        # Of a block: what its two operations keep, itself, and what comes in resized.
        maps = sum(KEPT[step.operation] for step in space.steps(architecture)) + 2
        costs = {
            (layer, source, target): maps * (target / 4) / target**2 + (3 if layer == 1 else source / 4) / source**2
            for layer in (1, 2, 3)
            for source, target in space.trellis.edges_into(layer)
        }
        used = sum(
            costs[node.layer, source, node.stride] for node in space.nodes(architecture) for source in node.incoming
        )
        assert float(terms.memory) == pytest.approx(used / sum(costs.values()), rel=1e-5)


def test_nothing_is_decided_at_first() -> None:
    terms = terms_of(searchable_of(make_space(), scale=0.0))
    assert float(terms.arrow_entropy.detach()) == pytest.approx(1.0)
    assert float(terms.operation_entropy.detach()) == pytest.approx(1.0)
    assert float(terms.mismatch.detach()) > 1


def test_a_single_layer_has_nothing_to_fit_to() -> None:
    assert float(terms_of(searchable_of(make_space(layers=1))).mismatch) == 0


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_gradients_are_finite_however_decided_the_logits_are(scale: float) -> None:
    searchable = searchable_of(make_space(), scale)
    searchable.close("layer2.after4.to8", "on")
    searchable.close("layer3.after8.to8", "off")
    for term in terms_of(searchable):
        (gradient,) = torch.autograd.grad(term, searchable.logits, retain_graph=True)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("weight", [0.3, 0.0])
def test_where_layers_are_made_to_fit_nothing_is_lost_by_decoding(weight: float) -> None:
    space, memory = make_space(layers=4), 0.4
    searchable = searchable_of(space, scale=0.1)
    optimizer = torch.optim.Adam([searchable.logits], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        terms = terms_of(searchable)
        entropies, distance = terms.arrow_entropy + terms.operation_entropy, (terms.memory - memory).abs()
        (entropies + 3 * distance + weight * terms.mismatch).backward()
        optimizer.step()
    found = terms_of(searchable)
    assert float(found.arrow_entropy.detach()) < 0.1
    assert float(found.memory.detach()) == pytest.approx(memory, abs=0.02)
    decoded, probable = space.gates(searchable.architecture()), searchable.probabilities()
    changed = [
        name
        for name in decoded
        if name.startswith("layer") and int(decoded[name].argmax()) != int(probable[name].argmax())
    ]
    assert (changed == []) == (weight > 0), "edges that the decoder must put on or off against their probability"


def test_single_paths_have_no_such_terms() -> None:
    space = AutoDeepLabSpace(layers=2, blocks=1, filters=1, stem=(2, 2))
    with pytest.raises(ValueError, match="make it with multi_path=True"):
        space.topology_terms(space.searchable(TASK).probabilities())
