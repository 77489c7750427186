"""A step of the supernet of decoders over an encoder, beside its networks' and beside Auto-DeepLab's.

    python benchmarks/smp_decoder_step.py                  encoder and decoder are trained
    python benchmarks/smp_decoder_step.py --frozen         the decoder alone

Two images of 128 x 128 (`--size`), eleven classes, timm's `tf_efficientnet_lite0`. A step is a forward and a backward
pass to the weights in training mode. Times are processor seconds, the least of several runs, in turn in one process,
one thread. Peak memory is what a forked copy of this process adds to its resident memory. A mixture has soft gates of
equal size, all options open; a path one-hot gates. `few` are the operations identity, conv_3x3 and separable_3x3, at
the strides 16, 8 and 4. U-Net is smp's, a point of the space.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from measuring import compared, paths_compared, step, uniform
from rich.console import Console

from automl_plugins import Task
from seg_space import AutoDeepLabSpace, SmpDecoderSpace

TASK = Task("pixel", "classes", in_channels=3, out_channels=11)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--frozen", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = (torch.randn(2, 3, arguments.size, arguments.size),)
    space = SmpDecoderSpace(frozen=arguments.frozen)
    few = SmpDecoderSpace(
        frozen=arguments.frozen,
        encoder_strides=(32,),
        strides=(16, 8, 4),
        operations=("identity", "conv_3x3", "separable_3x3"),
        filters=(64, 128),
    )
    auto_deeplab = AutoDeepLabSpace(layers=8)
    supernet = space.supernet(TASK)
    references = space.references(TASK)
    dearest = space.network(references["unet"], TASK)
    steps = {
        "U-Net": step(dearest, images),
        "mixture": step(supernet, images, gates=uniform(space)),
        "mixture, few": step(few.supernet(TASK), images, gates=uniform(few)),
        "Auto-DeepLab's mixture, 8 layers": step(auto_deeplab.supernet(TASK), images, gates=uniform(auto_deeplab)),
    }
    console = Console(width=120)
    console.print(compared(steps, arguments.runs, "U-Net"))
    generator = np.random.default_rng(0)
    paths = {**references, **{f"draw {number}": space.sample(generator) for number in range(3)}}
    console.print(paths_compared(space, supernet, paths, TASK, images, arguments.runs))


if __name__ == "__main__":
    main()
