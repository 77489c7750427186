"""Targets from which nothing can be learned or told apart: refused or named before training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from automl_plugins.once import warn_once

FEW = 10
"""With fewer validation targets, a score is mostly chance: one of nine moves an accuracy by 11 %."""

_LISTED = 10


def check_labels(names: Sequence[str], target: str, train: Tensor, val: Tensor, test: Tensor) -> None:
    """Look at real-valued targets, or at those of yes and no, before anything is trained on them.

    Args:
        names: of the targets.
        target: `regression`, `binary` or `multilabel`.
        train: `[num_samples, num_targets]`, nan where unknown.
        val: the same of the validation samples.
        test: the same of the test samples.

    Raises:
        ValueError: a target has no known value in training, all of them are constant there, or no validation target
            tells networks apart.
    """
    unknown = _named(names, train.isnan().all(dim=0))
    if unknown:
        raise ValueError(f"no training sample has a value of the target {unknown}; leave it out, or split otherwise")
    constant = _constant(train)
    if constant.all():
        value = train.nan_to_num(nan=-torch.inf).max()
        raise ValueError(
            f"all training samples have the same {_named(names, constant)} ({value:g}): there is nothing to learn; "
            "name another target"
        )
    if constant.any():
        warn_once(f"all training samples have the same {_named(names, constant)}: there is nothing to learn of it")
    _check_validation(names, target, val)
    if test.isnan().all():
        warn_once("no test sample has a known target: test scores will be undefined (nan)")
    elif target != "regression" and _constant(test).all():
        warn_once(f"all test samples have the same {_shortened(names)}: the test's AUROC will be undefined (nan)")
    known = train[~train.isnan()]
    if target == "regression" and ((known == 0) | (known == 1)).all():
        better = "binary" if len(names) == 1 else "multilabel"
        warn_once(f"{_shortened(names)}: all targets are 0 or 1, but are regressed; a target {better!r} would classify")


def _check_validation(names: Sequence[str], target: str, val: Tensor) -> None:
    cure = "take another seed or split, or a larger share of validation samples"
    if val.isnan().all():
        raise ValueError(f"no validation sample has a known target, so nothing can be chosen by them; {cure}")
    if target != "regression" and _constant(val).all():
        raise ValueError(
            f"all {len(val)} validation samples have the same {_shortened(names)}: the AUROC that a search selects by "
            f"is undefined; {cure}"
        )
    warn_of_few(int((~val.isnan()).any(dim=1).sum()))


def warn_of_few(count: int) -> None:
    """Warn where so few validation samples have a target that they hardly tell networks apart."""
    if count < FEW:
        warn_once(f"{count} validation samples are too few to tell networks apart; their scores are mostly chance")


def _constant(targets: Tensor) -> Tensor:
    """Of which targets all known values are equal, or none is known, `[num_targets]`."""
    least, most = targets.nan_to_num(nan=torch.inf), targets.nan_to_num(nan=-torch.inf)
    return least.amin(dim=0) >= most.amax(dim=0) if len(targets) else torch.ones(targets.shape[1:], dtype=torch.bool)


def _named(names: Sequence[str], chosen: Tensor) -> str:
    return _shortened([names[index] for index in chosen.nonzero().flatten().tolist()])


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} others" if len(names) > _LISTED else "")
