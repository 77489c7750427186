"""U-Net, FPN and DeepLabV3+ of smp are points of the space of decoders: they compute the same with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from automl_plugins import Task
from seg_space import SmpDecoderSpace

TASK = Task("pixel", "classes", in_channels=3, out_channels=4)
MODELS = {"unet": smp.Unet, "fpn": smp.FPN, "deeplabv3+": smp.DeepLabV3Plus}
PAIRS = [
    *((name, "tu-test_efficientnet") for name in MODELS),
    ("unet", "resnet18"),
    ("fpn", "efficientnet-b0"),
    ("deeplabv3+", "tu-mobilenetv3_small_100"),
]


def tensors(module: nn.Module) -> list[torch.Tensor]:
    """Weights and statistics, in the order of the modules."""
    return [each for each in module.state_dict().values() if each.is_floating_point()]


@pytest.mark.parametrize(("name", "encoder"), PAIRS)
def test_a_reference_computes_what_the_model_of_smp_does(name: str, encoder: str) -> None:
    torch.manual_seed(0)
    model: Any = MODELS[name](encoder, encoder_weights=None, in_channels=3, classes=4).double()
    space = SmpDecoderSpace(encoder)
    network = space.network(space.references(TASK)[name], TASK).double()
    network.encoder.model.load_state_dict(model.encoder.state_dict())
    of_model, of_network = tensors(model), tensors(network)
    assert sorted(each.shape for each in of_model) == sorted(each.shape for each in of_network)
    copy_decoder(name, model, network)
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    # So that running statistics are no longer those of the beginning; with equal draws of dropout.
    for training in (True, False):
        outputs = []
        for each in (model, network):
            torch.manual_seed(1)
            outputs.append(each.train(training)(images))
        torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-10, atol=1e-10)


def copy_decoder(name: str, model: Any, network: Any) -> None:
    """Copy smp's weights, module by module."""
    pairs: list[tuple[nn.Module, nn.Module]] = [(model.segmentation_head[0], network.head.output)]
    decoder = model.decoder
    if name == "unet":
        for block, stage in zip(decoder.blocks, network.stages, strict=True):
            pairs += [(block.conv1, stage.operation[0]), (block.conv2, stage.operation[1])]
    elif name == "fpn":
        pairs.append((decoder.p5, network.context))
        blocks = (decoder.p4, decoder.p3, decoder.p2)
        pairs += [(block.skip_conv, stage.lateral) for block, stage in zip(blocks, network.stages, strict=True)]
        for branch, ascent in zip(decoder.seg_blocks, network.head.ascents, strict=True):
            pairs += [(one.block, other) for one, other in zip(branch.block, ascent.layers, strict=True)]
    else:
        (pyramid, *refine), context, (stage,) = decoder.aspp, network.context, network.stages
        pairs += list(zip(pyramid.convs, (context.pointwise, *context.atrous, context.pooled), strict=True))
        pairs += [(pyramid.project, context.merge), (nn.Sequential(*refine), context.refine)]
        pairs += [(decoder.block1, stage.lateral), (decoder.block2, stage.operation[0])]
    for one, other in pairs:
        for source, target in zip(tensors(one), tensors(other), strict=True):
            target.copy_(source)


def test_a_space_without_an_option_names_no_decoder_that_needs_it() -> None:
    assert set(SmpDecoderSpace("tu-test_efficientnet", encoder_strides=(32,)).references(TASK)) == {"unet", "fpn"}
    assert set(SmpDecoderSpace("tu-test_efficientnet", strides=(16, 8, 4)).references(TASK)) == {"fpn", "deeplabv3+"}
    # Its skip connections end where it has no map, and smp's U-Net of it has further convolutions.
    assert "unet" not in SmpDecoderSpace("vgg11", encoder_strides=(32,)).references(TASK)
