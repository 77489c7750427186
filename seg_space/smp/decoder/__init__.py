"""Decoders over the feature maps of any encoder of smp or timm, with those that people made by hand as points."""

from seg_space.smp.decoder.space import SmpDecoderSpace

__all__ = ["SmpDecoderSpace"]
