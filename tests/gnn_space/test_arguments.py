"""Arguments of another type than a space says, which Python would take for a number, a switch or a list."""

from __future__ import annotations

from typing import Any

import pytest

from automl_plugins.spaces.space import SearchSpace
from gnn_space import AGNNSpace, EGNASSpace, GNNPlusSpace, NASBenchGraphSpace

SPACES: list[type[SearchSpace]] = [AGNNSpace, EGNASSpace, GNNPlusSpace, NASBenchGraphSpace]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e5, "3", True, [1]])
def test_a_limit_that_is_no_whole_number_is_named(space: Any, value: object) -> None:
    with pytest.raises(ValueError, match=r"^max_parameters is a whole number, or null; got "):
        space(max_parameters=value)


@pytest.mark.parametrize(
    ("space", "arguments", "message"),
    [
        (GNNPlusSpace, {"depths": 3}, "depths is a list of whole numbers; got 3"),
        (GNNPlusSpace, {"depths": [1.5]}, r"depths is a list of whole numbers; got \[1\.5\]"),
        (GNNPlusSpace, {"channels": b"x"}, "channels is a list of whole numbers; got b'x'"),
        (GNNPlusSpace, {"messages": "gcn"}, "messages is a list of texts; got 'gcn'"),
        (GNNPlusSpace, {"dropouts": {"a": 1}}, "dropouts is a list of numbers; got {'a': 1}"),
        (GNNPlusSpace, {"walk_length": 1.5}, r"walk_length is a whole number; got 1\.5"),
        (GNNPlusSpace, {"heads": True}, "heads is a whole number; got True"),
        (GNNPlusSpace, {"checkpointing": "false"}, "checkpointing is true or false; got 'false'"),
        (AGNNSpace, {"batch_norm": 1}, "batch_norm is true or false, or null; got 1"),
        (AGNNSpace, {"layers": None}, "layers is a whole number; got None"),
        (EGNASSpace, {"residual": "false"}, "residual is true or false; got 'false'"),
        (EGNASSpace, {"merge": ["sum"]}, r"merge is a text; got \['sum'\]"),
        (NASBenchGraphSpace, {"dropout": "0.5"}, r"dropout is a number; got '0\.5'"),
    ],
)
def test_an_argument_of_another_type_is_named(space: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        space(**arguments)


def test_a_list_may_be_a_tuple_or_a_list_and_a_whole_number_a_rate() -> None:
    assert GNNPlusSpace(depths=[1, 2], dropouts=(0, 0.5)).depths == (1, 2)  # type: ignore[arg-type]
