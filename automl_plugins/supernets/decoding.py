"""The reading of logits: scores to decode from, and the signature that tells whose logits they are."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from automl_plugins.errors import DivergedError
from automl_plugins.spaces.choice import Choice
from automl_plugins.supernets.gates import option_mask
from automl_plugins.supernets.relaxations import Relaxation


def decoding_scores(choices: Sequence[Choice], logits: Tensor, mask: Tensor, relaxation: Relaxation) -> Tensor:
    """The scores that architectures are decoded from: probabilities of open options, float64 on the CPU.

    If one option of a row is open alone, a probability of 1 would not tell how it compares to other rows; it is
    then that among all options.

    Args:
        choices: whose logits they are.
        logits: `[num_choices, most_options]`.
        mask: which options are open, of the same shape.
        relaxation: says what is probable.

    Raises:
        DivergedError: a logit of an open option is not a number, or infinite.
    """
    logits, mask = logits.detach().double().cpu(), mask.cpu()
    bad = mask & ~logits.isfinite()
    if bad.any():
        row, column = (int(index) for index in bad.nonzero()[0])
        option, name = choices[row].options[column], choices[row].name
        reason = f"the logit of {option!r} in {name!r} is {float(logits[row, column])}"
        raise DivergedError(
            reason,
            f"{reason}: the search has diverged, and its logits stand for no architecture; a lower learning rate, of "
            "the search or of the weights, may keep it from that",
        )
    logits = logits.nan_to_num(0.0, 0.0, 0.0)
    among_open = relaxation.probabilities(logits, mask)
    among_all = torch.where(mask, relaxation.probabilities(logits, option_mask(choices)), 0.0)
    return torch.where(mask.sum(dim=1, keepdim=True) > 1, among_open, among_all)


def mean_entropy(probabilities: Tensor, mask: Tensor) -> Tensor:
    """The mean entropy of rows with several open options, from 0 (all decided) to 1 (none decided); a scalar.

    Args:
        probabilities: of options, `[num_choices, most_options]`; a row need not add up to 1.
        mask: which options are open, of the same shape.
    """
    total = probabilities.sum(dim=1, keepdim=True)
    shares = probabilities / total.clamp(min=torch.finfo(probabilities.dtype).tiny)
    entropies = -torch.special.xlogy(shares, shares).sum(dim=1)
    open_options = mask.sum(dim=1)
    undecided = open_options > 1
    if not undecided.any():
        return entropies.new_zeros(())
    return (entropies[undecided] / open_options[undecided].to(shares.dtype).log()).mean()


def signature_of(choices: Sequence[Choice]) -> Tensor:
    """A checksum of names and options, boolean `[32]`: a few bits survive any average or cast of buffers."""
    text = json.dumps([[choice.name, list(choice.options)] for choice in choices])
    checksum = zlib.crc32(text.encode())
    return torch.tensor([bool(checksum >> bit & 1) for bit in range(32)])
