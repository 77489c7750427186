"""Partial channel connections: mixtures that run on some of the channels, while the others pass by.

PC-DARTS (Xu, Xie, Zhang, Chen, Qi, Tian and Xiong 2020, arXiv 1907.05737, section 3.2).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Part(NamedTuple):
    """The first of every so many channels of a dimension, on which a mixture runs.

    Args:
        channels: all.
        share: one channel in so many is mixed; 1: all of them are.
    """

    channels: int
    share: int

    @property
    def mixed(self) -> int:
        """The number of channels that are mixed, at least one."""
        return max(1, self.channels // self.share)

    def of(self, x: Tensor, dim: int) -> Tensor:
        """The channels that are mixed."""
        return x.narrow(dim, 0, self.mixed)

    def rest(self, x: Tensor, dim: int) -> Tensor:
        """The channels that pass by."""
        return x.narrow(dim, self.mixed, self.channels - self.mixed)

    def shuffled(self, x: Tensor, dim: int) -> Tensor:
        """All channels, in another order: what was mixed is spread, so that the next mixture runs on others, too.

        It is the shuffle of the authors' code, also where the channels are no multiple of the share.
        """
        if self.mixed == self.channels:
            return x
        order = sorted(range(self.channels), key=lambda channel: (channel % self.mixed, channel))
        return x.index_select(dim, torch.tensor(order, device=x.device))
