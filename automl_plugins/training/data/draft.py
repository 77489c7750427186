"""Drafts of datamodules: the arguments with which one would read a user's files, each with the reason for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

_Item = TypeVar("_Item")


class Reasoned(NamedTuple):
    """A value, and the reason for it in a few words."""

    value: Any
    reason: str = ""


@dataclass(frozen=True)
class Draft:
    """The arguments with which a datamodule would read a user's files.

    Args:
        arguments: of the datamodule's constructor; those that keep their defaults are left out.
        targets: what may be predicted, and what was seen of it; empty where the files themselves say it.
    """

    arguments: Mapping[str, Reasoned]
    targets: Mapping[str, str] = field(default_factory=dict)


class Draftable(Protocol):
    """The methods by which a datamodule class takes part in `automl-plugins init`; each may be missing."""

    @classmethod
    def draft(cls, path: Any, targets: Sequence[str] = ()) -> Draft | None:
        """The arguments for the files at a path; None: they are not of its kind.

        Args:
            path: a `pathlib.Path`, of a file or a folder that is there.
            targets: what is to be predicted; empty: nobody has said it.

        Raises:
            ValueError: they are of its kind, and cannot be read so; the message names the file.
        """

    def findings(self) -> list[str]:
        """Lines about the data once they are loaded: counts, what is missing, what stands twice."""

    def recommended(self) -> Mapping[str, Reasoned]:
        """Further arguments, once the data are loaded, which `study` of data alone takes up as well."""


def evenly(items: Sequence[_Item], most: int) -> list[_Item]:
    """Some of the items, in their order, spread over all of them."""
    if len(items) <= most:
        return list(items)
    return [items[place * len(items) // most] for place in range(most)]
