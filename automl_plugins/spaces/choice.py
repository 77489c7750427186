"""One named decision of a search space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

Value = str | int | float | bool | None
"""Types of an option: a plain JSON scalar, which is what Optuna's categorical distribution keeps."""

Requirement = Mapping[str, Sequence[Value]]
"""Names of other choices, and for each the values of which it took one."""

_TYPES = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Choice:
    """One named decision and its options.

    Args:
        name: unique within its space; dots group names (`layer0.attention`).
        options: the values to choose from; at least one, all different.
        requires: the choice is active only where every choice named here is active and took
            one of the listed values; empty: always active. Each must stand earlier in the space. Several
            such mappings: any one of them is enough.

    Raises:
        ValueError: no option, an option twice, an option that is no JSON scalar or that Python
            takes for another one (`1`, `1.0`, `True`), a required choice without a value, or an
            alternative that requires nothing.
    """

    name: str
    options: tuple[Value, ...]
    requires: Requirement | Sequence[Requirement] = field(default=(), hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        object.__setattr__(self, "requires", _normalised(self.requires))
        if not self.options:
            raise ValueError(f"choice {self.name!r} has no options; give at least one")
        for option in self.options:
            # Subclasses too (a NumPy float, an enum) come back from JSON as another type.
            if type(option) not in _TYPES:
                raise ValueError(
                    f"choice {self.name!r}: option {option!r} is a {type(option).__name__}; "
                    "an option is a string, a number, a boolean or None"
                )
            if isinstance(option, float) and not math.isfinite(option):
                raise ValueError(f"choice {self.name!r}: option {option!r} has no JSON; an option is a finite number")
        # Optuna finds a value among the options by equality, so 1 and True would be one option to it.
        if len(set(self.options)) < len(self.options):
            raise ValueError(f"choice {self.name!r} has an option twice: {', '.join(map(repr, self.options))}")
        for alternative in self.alternatives:
            if not alternative:
                raise ValueError(f"choice {self.name!r} requires nothing in one alternative, so the others say nothing")
            for name, values in alternative.items():
                if not values:
                    raise ValueError(f"choice {self.name!r} requires {name!r} without a value, so it is never active")

    @property
    def alternatives(self) -> tuple[Mapping[str, tuple[Value, ...]], ...]:
        """The conditions that make the choice active: any of these mappings, all of its entries; none: it always is."""
        return cast("tuple[Mapping[str, tuple[Value, ...]], ...]", self.requires)

    @property
    def parents(self) -> frozenset[str]:
        """The names of the choices that settle whether this one is active."""
        return frozenset(name for alternative in self.alternatives for name in alternative)

    @property
    def condition(self) -> str:
        """The requirements of the choice, for people to read; empty where it is always active."""
        return " or ".join(
            " and ".join(f"{name} in {values}" for name, values in alternative.items())
            for alternative in self.alternatives
        )

    @property
    def kind(self) -> str:
        """The action class: the name after its last dot, shared by `layer0.attention` and `layer1.attention`."""
        return self.name.rpartition(".")[2]

    def index(self, value: Value) -> int:
        """The position of `value` among the options; `True` and `1.0` do not stand for the option `1`.

        Raises:
            ValueError: `value` is not an option.
        """
        for position, option in enumerate(self.options):
            if type(option) is type(value) and option == value:
                return position
        raise ValueError(f"choice {self.name!r} has no option {value!r}; options: {', '.join(map(repr, self.options))}")

    def is_active(self, values: Mapping[str, Value]) -> bool:
        """True where the earlier `values` (of active choices only) make this choice one to be made."""
        return not self.alternatives or any(
            all(name in values and values[name] in accepted for name, accepted in alternative.items())
            for alternative in self.alternatives
        )


def _normalised(requires: Requirement | Sequence[Requirement]) -> tuple[dict[str, tuple[Value, ...]], ...]:
    if isinstance(requires, Mapping):
        requires = (requires,) if requires else ()
    return tuple({name: tuple(values) for name, values in alternative.items()} for alternative in requires)
