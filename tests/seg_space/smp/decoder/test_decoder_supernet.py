"""The supernet of decoders keeps the contract: it computes exactly what its networks compute."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from automl_plugins import Task
from automl_plugins.testing import SupernetContract
from seg_space import SmpDecoderSpace
from seg_space.modules.encoders import Encoders
from seg_space.pretrained.normalisation import IMAGENET_DEVIATION, IMAGENET_MEAN, InputNormalisation

TINY = "tu-test_efficientnet"
TASK = Task("pixel", "classes", in_channels=3, out_channels=2)


class TestContract(SupernetContract):
    samples = 3

    def space(self) -> SmpDecoderSpace:
        return SmpDecoderSpace(
            TINY, strides=(16, 8), operations=("identity", "conv_3x3", "atrous_3x3", "cell"), filters=(32, 64), blocks=1
        )

    def tasks(self) -> Sequence[Task]:
        return [TASK]

    def loss(self, network: nn.Module, task: Task) -> Tensor:
        return network(torch.randn(2, task.in_channels, 40, 64)).square().mean()


def test_random_networks_and_references_are_what_the_supernet_computes() -> None:
    space = SmpDecoderSpace(TINY)
    generator = np.random.default_rng(0)
    torch.manual_seed(0)
    supernet = space.supernet(TASK).double().train()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    for architecture in [*space.references(TASK).values(), *(space.sample(generator) for _ in range(5))]:
        network = space.inherited(supernet, architecture, TASK)
        gates = space.gates(architecture, torch.float64)
        outputs = []
        for each, options in ((network, {}), (supernet, {"gates": gates})):
            torch.manual_seed(1)
            outputs.append(each(images, **options))
        torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-10, atol=1e-10)


def test_the_joint_form_computes_what_the_plain_one_does() -> None:
    space = SmpDecoderSpace(TINY, strides=(16, 4), operations=("identity", "cell"), filters=(32,))
    torch.manual_seed(0)
    joint = space.supernet(TASK).double().train()
    plain = joint.plain()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    rows = {choice.name: torch.rand(len(choice.options), dtype=torch.float64) for choice in space.gate_choices}
    found = []
    for supernet in (joint, plain):
        gates = {name: row.clone().requires_grad_() for name, row in rows.items()}
        torch.manual_seed(1)
        outputs = supernet(images, gates=gates)
        gradients = torch.autograd.grad(outputs.square().mean(), list(gates.values()))
        found.append((outputs.detach(), *gradients))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_the_encoder_is_run_once_however_many_paths_are_open() -> None:
    space = SmpDecoderSpace(TINY, encoder_strides=(32,), filters=(16,))
    supernet = space.supernet(TASK)
    runs = []
    supernet.encoder.forms["32"].register_forward_hook(lambda *_: runs.append(1))
    rows = {choice.name: torch.full((len(choice.options),), 0.5) for choice in space.gate_choices}
    supernet(torch.randn(2, 3, 64, 64), gates=rows)
    assert len(runs) == 1


def test_both_forms_of_the_encoder_share_weights_wherever_they_are_moved_or_copied() -> None:
    supernet = SmpDecoderSpace(TINY, strides=(4,), filters=(16,)).supernet(TASK)
    for each in (supernet, copy.deepcopy(supernet), supernet.double()):
        one, other = (dict(form.named_parameters()) for form in each.encoder.forms.values())
        assert one.keys() == other.keys()
        assert all(weight is other[name] for name, weight in one.items())


def two_strides(encoder: str = TINY) -> nn.Module:
    torch.manual_seed(0)
    return SmpDecoderSpace(encoder, strides=(4,), filters=(16,)).supernet(TASK).encoder


@pytest.mark.parametrize("encoder", [TINY, "resnet18"])
@pytest.mark.parametrize("training", [True, False])
def test_maps_for_both_strides_at_once_are_those_for_each(encoder: str, training: bool) -> None:
    together = two_strides(encoder).double().train(training)
    alone = {stride: copy.deepcopy(together) for stride in (16, 32)}
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    found = together(images, (16, 32))
    expected = {stride: each(images, (stride,))[stride] for stride, each in alone.items()}
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for outputs in (found, expected):
        torch.stack([each.square().mean() for maps in outputs.values() for each in maps.values()]).sum().backward()
    weights = (together, *alone.values())
    for name, weight in together.named_parameters():
        gradients = [each.get_parameter(name).grad for each in weights]
        if weight.requires_grad:
            torch.testing.assert_close(gradients[0], gradients[1] + gradients[2], rtol=1e-9, atol=1e-12)


def test_what_both_strides_have_in_common_is_run_and_measured_once_a_step() -> None:
    encoder = two_strides()
    for each in (encoder, copy.deepcopy(encoder), encoder.double().float()):
        operations = {}
        for strides in ((16,), (32,), (16, 32)):
            with FlopCounterMode(display=False) as counter:
                each(torch.randn(2, 3, 64, 64), strides)
            operations[strides] = counter.get_total_flops()
        assert operations[16, 32] < 0.75 * (operations[16,] + operations[32,])
        norms = {
            name: norm for name, norm in each.named_modules(remove_duplicate=False) if isinstance(norm, nn.BatchNorm2d)
        }
        for stride in (16, 32):  # a step of it alone, and one of both
            for part, steps in (("blocks.3", 3), ("blocks.4.0.bn2", 2)):
                inside = [norm for name, norm in norms.items() if name.startswith(f"forms.{stride}.model.model.{part}")]
                assert {int(norm.num_batches_tracked) for norm in inside} == {steps}
        for norm in norms.values():
            norm.num_batches_tracked.zero_()


def test_an_encoder_that_is_frozen_for_some_epochs_keeps_no_graph() -> None:
    supernet = SmpDecoderSpace(TINY, strides=(8,), filters=(16,)).supernet(TASK)
    encoder = supernet.encoder
    encoder.forms["16"].normalisation = InputNormalisation(IMAGENET_MEAN, IMAGENET_DEVIATION, 3)
    Encoders(supernet).freeze(True)
    assert not any(each.requires_grad for each in encoder(torch.randn(2, 3, 64, 64), (16,))[16].values())
    Encoders(supernet).freeze(False)


def test_a_frozen_encoder_gets_no_gradients_in_a_search() -> None:
    space = SmpDecoderSpace(TINY, frozen=True, strides=(8, 4), filters=(16,))
    searchable = space.searchable(TASK).train()
    before = copy.deepcopy(searchable.supernet.encoder.state_dict())
    searchable(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert searchable.logits.grad is not None
    after = searchable.supernet.encoder.state_dict()
    assert all(torch.equal(each, after[name]) for name, each in before.items())
