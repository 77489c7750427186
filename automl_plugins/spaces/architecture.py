"""The architecture, which a search finds: a value for every active choice of a space."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from automl_plugins.spaces.choice import Value
from automl_plugins.spaces.html import small_table


class Architecture(Mapping[str, Value]):
    """A value for every active choice of one version of one space; immutable, hashable, plain JSON.

    It reads as a mapping from choice names to values, in the order of the space's choices.

    Args:
        space: the name of the space.
        version: the version of the space; it changes when the same values mean another network.
        values: choice name -> option.
    """

    __slots__ = ("_items", "_values", "space", "version")
    space: str
    version: int
    _values: dict[str, Value]
    _items: frozenset[tuple[str, type, Value]]

    def __init__(self, space: str, version: int, values: Mapping[str, Value]) -> None:
        fields = {
            "space": space,
            "version": version,
            "_values": dict(values),
            "_items": frozenset((name, type(value), value) for name, value in values.items()),
        }
        for name, field in fields.items():
            object.__setattr__(self, name, field)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an architecture is immutable; {name!r} cannot be set")

    def __reduce__(self) -> tuple[type[Architecture], tuple[str, int, dict[str, Value]]]:
        return Architecture, (self.space, self.version, self._values)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash((self.space, self.version, self._items))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Architecture):
            return NotImplemented
        return (self.space, self.version, self._items) == (other.space, other.version, other._items)

    def __repr__(self) -> str:
        return f"Architecture({self.space!r}, version={self.version}, {self._values})"

    def _repr_html_(self) -> str:
        """The choices as a table, in notebooks."""
        title = f"An architecture of the space {self.space}, version {self.version}"
        return small_table(title, ("choice", "option"), list(self.items()))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the keys `space`, `version` and `choices`."""
        return {"space": self.space, "version": self.version, "choices": dict(self._values)}

    def to_json(self) -> str:
        """One JSON object with the keys `space`, `version` and `choices`."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Read what `to_json` wrote; whether the values fit a space is for `SearchSpace.validate` to say.

        Raises:
            ValueError: the text is not JSON, a key is missing, or a key has the wrong type.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"an architecture is JSON, but line {error.lineno} is not: {error.msg}") from error
        except RecursionError as error:
            raise ValueError("an architecture is a JSON object, but this is nested too deep") from error
        expected = {"space": str, "version": int, "choices": dict}
        if not isinstance(content, dict):
            raise ValueError(f"an architecture is a JSON object, not a {type(content).__name__}")
        for key, kind in expected.items():
            if key not in content:
                raise ValueError(f"an architecture has the keys {', '.join(expected)}; {key!r} is missing")
            if type(content[key]) is not kind:  # true is no version, though Python counts it as 1
                raise ValueError(f"{key!r} of an architecture is a {kind.__name__}, not {content[key]!r}")
        for name, value in content["choices"].items():
            if value is not None and not isinstance(value, str | int | float | bool):
                raise ValueError(f"choice {name!r} has a {type(value).__name__}; an option is a JSON scalar")
        return cls(content["space"], content["version"], content["choices"])
