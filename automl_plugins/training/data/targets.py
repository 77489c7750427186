"""Targets from which nothing can be learned or told apart: refused or named before training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from automl_plugins.training.once import warn_once

FEW = 10
"""With fewer validation targets, a score is mostly chance: one of nine moves an accuracy by 11 %."""

_LISTED = 10

_STEPS = 8
"""Values of float32 that a standard deviation of targets should span."""
_LEAST, _MOST = 1e-15, 1e15
"""Standard deviations of targets whose squares float32 can hold, with room for errors far smaller and larger."""


def check_labels(where: str, names: Sequence[str], target: str, train: Tensor, val: Tensor, test: Tensor) -> None:
    """Look at real-valued targets, or at those of yes and no, before anything is trained on them.

    Args:
        where: the data, for the message.
        names: of the targets.
        target: `regression`, `binary` or `multilabel`.
        train: `[num_samples, num_targets]`, nan where unknown; real values in float64, as they were read.
        val: the same of the validation samples.
        test: the same of the test samples.

    Raises:
        ValueError: a target has no known value in training, all of them are constant there, no validation target
            tells networks apart, or real values are of a size that float32, in which networks compute, cannot hold.
    """
    unknown, every = _named(names, train.isnan().all(dim=0)), _shortened(names)
    if unknown:
        raise ValueError(
            f"{where}: no training sample has a value of the target {unknown}; leave it out, or split otherwise"
        )
    constant = _constant(train)
    same = f"{where}: all training samples have the same {_named(names, constant)}"
    if constant.all():
        value = train.nan_to_num(nan=-torch.inf).max()
        raise ValueError(f"{same} ({value:g}): there is nothing to learn; name another target")
    if constant.any():
        warn_once(f"{same}: there is nothing to learn of it")
    if target == "regression":
        _check_scale(where, names, train)
    _check_validation(where, every, target, val)
    if test.isnan().all():
        warn_once(f"{where}: no test sample has a known target: test scores will be undefined (nan)")
    elif target != "regression" and _constant(test).all():
        warn_once(f"{where}: all test samples have the same {every}: the test's AUROC will be undefined (nan)")
    known = train[~train.isnan()]
    if target == "regression" and ((known == 0) | (known == 1)).all():
        better = "binary" if len(names) == 1 else "multilabel"
        warn_once(f"{where}: all targets {every} are 0 or 1, but are regressed; a target {better!r} would classify")


def _check_scale(where: str, names: Sequence[str], train: Tensor) -> None:
    for name, column in zip(names, train.double().T, strict=True):
        known = column[~column.isnan()]
        deviation, largest = float(known.std(correction=0)), float(known.abs().max())
        if deviation == 0:
            continue
        told = f"{where}: the target {name} has a standard deviation of {deviation:.3g}"
        if deviation < _STEPS * largest * torch.finfo(torch.float32).eps:
            raise ValueError(
                f"{told} about values of up to {largest:.3g}, which single precision hardly tells apart; subtract "
                f"their mean ({float(known.mean()):.6g}) in the data"
            )
        if not _LEAST <= deviation <= _MOST:
            raise ValueError(
                f"{told}, whose square single precision cannot hold; write it in another unit, so that it is between "
                f"{_LEAST:g} and {_MOST:g}"
            )


def _check_validation(where: str, names: str, target: str, val: Tensor) -> None:
    cure = "take another seed or split, or a larger share of validation samples"
    if val.isnan().all():
        raise ValueError(f"{where}: no validation sample has a known target, so nothing can be chosen by them; {cure}")
    if target != "regression" and _constant(val).all():
        raise ValueError(
            f"{where}: all {len(val)} validation samples have the same {names}: the AUROC that a search selects by is "
            f"undefined; {cure}"
        )
    warn_of_few(where, int((~val.isnan()).any(dim=1).sum()))


def warn_of_few(where: str, count: int) -> None:
    """Warn where so few validation samples have a target that they hardly tell networks apart."""
    if count < FEW:
        warn_once(f"{where}: too few validation samples ({count}) to tell networks apart; scores are mostly chance")


def _constant(targets: Tensor) -> Tensor:
    """Of which targets all known values are equal, or none is known, `[num_targets]`."""
    least, most = targets.nan_to_num(nan=torch.inf), targets.nan_to_num(nan=-torch.inf)
    return least.amin(dim=0) >= most.amax(dim=0) if len(targets) else torch.ones(targets.shape[1:], dtype=torch.bool)


def _named(names: Sequence[str], chosen: Tensor) -> str:
    return _shortened([names[index] for index in chosen.nonzero().flatten().tolist()])


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} others" if len(names) > _LISTED else "")
