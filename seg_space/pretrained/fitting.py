"""The fit of weights to an encoder: by name, with the first layer adapted, or a message that says what does not fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_NAMED = 5
"""The number of tensors that a message lists."""
_COUNTERS = "num_batches_tracked"
"""The end of names of buffers that change nothing."""


@dataclass(frozen=True)
class Fit:
    """The tensors of a file beside those of an encoder.

    Args:
        fitting: what is loaded, by the encoder's names.
        missing: names of the encoder's tensors that the file does not have.
        unexpected: names of the file's tensors that the encoder does not have; classifiers, most often.
        wrong: tensors of another shape, with both shapes, or whole numbers for real ones.
    """

    fitting: dict[str, Tensor]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong: tuple[str, ...]

    def __str__(self) -> str:
        fitting = sum(not name.endswith(_COUNTERS) for name in self.fitting)
        total = fitting + len(self.missing) + len(self.wrong)
        parts = {"missing": self.missing, "of another shape or type": self.wrong, "not the encoder's": self.unexpected}
        told = [f"{words}: {_some(names)}" for words, names in parts.items() if names]
        return "; ".join([f"{fitting} of the encoder's {total} tensors fit", *told])


def fit_weights(encoder: nn.Module, state: Mapping[str, Tensor], adapt: bool = True) -> Fit:
    """Compare the tensors of a `state_dict` with an encoder's.

    The `state_dict` may be the encoder's own, that of a whole network or module around it (`encoder.`,
    `network.model.encoder.`), or of timm's classifier, whose names differ by a prefix and by dots.

    Args:
        encoder: of smp, for any number of input channels; or a whole model.
        state: the tensors by name.
        adapt: the weight of the first layer to the encoder's number of input channels.
    """
    own = {_canonical(name): (name, tensor) for name, tensor in encoder.state_dict().items()}
    theirs = _without_prefix(state, own)
    first = _first_convolution(encoder) if adapt else None
    fitting: dict[str, Tensor] = {}
    wrong = []
    for key in own.keys() & theirs.keys():
        (name, tensor), (_, given) = own[key], theirs[key]
        if name == first and given.shape != tensor.shape:
            given = adapted(given, tensor)
        if given.shape != tensor.shape:
            wrong.append(f"{name} {list(given.shape)} for {list(tensor.shape)}")
        elif given.is_floating_point() != tensor.is_floating_point():
            wrong.append(f"{name} {_type(given)} for {_type(tensor)}")
        else:
            fitting[name] = given
    lacking = (name for key, (name, _) in own.items() if key not in theirs and not name.endswith(_COUNTERS))
    unexpected = (name for key, (name, _) in theirs.items() if key not in own)
    return Fit(fitting, tuple(sorted(lacking)), tuple(sorted(unexpected)), tuple(sorted(wrong)))


def load_weights(encoder: nn.Module, state: Mapping[str, Tensor], told: str) -> None:
    """Load weights into an encoder.

    Args:
        encoder: of smp, for any number of input channels.
        state: see `fit_weights`.
        told: what a message calls the weights and the encoder.

    Raises:
        ValueError: the encoder has tensors that they lack, or that have another shape or type, or their values are not
            finite; the message names them.
    """
    fit = fit_weights(encoder, state)
    if fit.missing or fit.wrong:
        raise ValueError(f"{told}: {fit}")
    refuse_nan(fit.fitting, told)
    encoder.load_state_dict(fit.fitting, strict=False)


def refuse_nan(state: Mapping[str, Tensor], told: str) -> None:
    """Refuse weights of which some are infinite or not a number.

    Raises:
        ValueError: some are; the message names their tensors.
    """
    names = tuple(sorted(name for name, tensor in state.items() if not bool(tensor.isfinite().all())))
    if names:
        raise ValueError(f"{told}: values are not finite, as where a training has diverged: {_some(names)}")


def adapted(weight: Tensor, like: Tensor) -> Tensor:
    """The weight of a first convolution for another number of input channels, as smp and timm adapt it.

    One channel has the sum over three; more repeat them, scaled so that the outputs keep their size.

    Args:
        weight: `[filters, 3, height, width]`.
        like: the tensor that it is for; a weight that is of another shape beside the channels is left as it is.
    """
    channels = like.size(1) if like.dim() == weight.dim() == 4 else 0
    if channels == 0 or weight.size(1) != 3 or weight[:, :1].shape != like[:, :1].shape:
        return weight
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    repeated = weight[:, torch.arange(channels) % 3]
    return repeated * (3 / channels)


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _first_convolution(encoder: nn.Module) -> str:
    convolutions = (name for name, part in encoder.named_modules() if isinstance(part, nn.Conv2d))
    return f"{next(convolutions, '')}.weight"


def _without_prefix(
    state: Mapping[str, Tensor], own: Mapping[str, tuple[str, Tensor]]
) -> dict[str, tuple[str, Tensor]]:
    """The tensors below the prefix with which most are an encoder's; all, where none is."""
    best: dict[str, tuple[str, Tensor]] = {}
    for prefix in _prefixes(state):
        below = {
            _canonical(name.removeprefix(prefix)): (name, tensor)
            for name, tensor in state.items()
            if name.startswith(prefix)
        }
        if not best or len(below.keys() & own.keys()) > len(best.keys() & own.keys()):
            best = below
    return best


def _prefixes(state: Iterable[str]) -> list[str]:
    """The prefixes that names have, the shortest first."""
    found = {""}
    for name in state:
        found |= {name[: match.end()] for match in re.finditer(r"\.", name)}
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))


def _canonical(name: str) -> str:
    """A name without what smp and timm add: a leading `model.`, and dots that are underscores."""
    return re.sub(r"^(model\.)+", "", name).replace(".", "_")


def _some(names: tuple[str, ...]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
