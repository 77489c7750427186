"""The form in which somebody's own network gives its prediction: bare or in a container, as it is or activated."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from automl_plugins.scripts.parts import children, parts_of
from automl_plugins.spaces.calls import UnreadCallError, last_name

_NAMES = ("logits", "out", "output", "outputs", "pred", "preds", "prediction", "predictions", "y_hat", "y_pred")
"""Usual names of a prediction among other outputs."""
_PLAIN = (str, int, float, bool, type(None))

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "LogSoftmax": lambda outputs: functional.log_softmax(outputs, 1),
    "Softmax": lambda outputs: functional.softmax(outputs, 1),
    "Sigmoid": torch.sigmoid,
    "LogSigmoid": functional.logsigmoid,
    "Tanh": torch.tanh,
    "Relu": torch.relu,
    "Softplus": functional.softplus,
}
"""Functions that a network may end with, by the names of their gradients."""
_RESHAPING = ("Squeeze", "Unsqueeze", "View", "UnsafeView", "ReshapeAlias", "Alias", "Slice", "Select", "ToCopy")


class NamedOutputs(dict[str, Any]):
    """Outputs that are read by name, as items or as attributes, or by place, as those of `transformers` are."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key: str | int) -> Any:
        return list(self.values())[key] if isinstance(key, int) else super().__getitem__(key)


def without_reshaping(node: Any) -> Any:
    """The node of a gradient's graph that gave the values, past those that only gave them another shape."""
    while node is not None and kind_of(node) in _RESHAPING and node.next_functions:
        node = node.next_functions[0][0]
    return node


def kind_of(node: Any) -> str:
    """The function that a node of a gradient's graph is of."""
    return str(node.name()).partition("Backward")[0].rpartition("::")[2]


def activation_of(outputs: Tensor) -> str | None:
    """The activation that a network ends with, of `ACTIVATIONS`; None: it ends with a linear map, or another."""
    node = without_reshaping(outputs.grad_fn)
    kind = "" if node is None else kind_of(node)
    return kind if kind in ACTIVATIONS else None


def find_prediction(outputs: Any, given: Mapping[str, Any], named: str | None) -> str:
    """The path of the prediction among what a network gives; empty where it gives nothing else.

    Args:
        outputs: what it gave.
        given: the parts of its call, which it may give back.
        named: the path, where it was settled beforehand.

    Raises:
        UnreadCallError: there is none, or one could be as well as another.
    """
    handed_on = {id(part) for part in given.values()}
    found = {
        path: part
        for path, part in parts_of(outputs).items()
        if isinstance(part, Tensor) and part.is_floating_point() and part.dim() > 0 and id(part) not in handed_on
    }
    if named is not None:
        if named not in found:
            raise UnreadCallError(f"call.output={named!r}: the network gives {', '.join(found) or 'no prediction'}")
        return named
    for name in _NAMES:
        called = [path for path in found if last_name(path).lower() == name]
        if len(called) == 1:
            return called[0]
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise UnreadCallError("the network gives no tensor of real numbers that could be its prediction")
    raise UnreadCallError(
        f"the network gives several tensors, {', '.join(found)}; say which is the prediction with --call.output "
        f"{next(iter(found))} (the others will be missing)"
    )


def template_of(outputs: Any, prediction: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The form of outputs as plain JSON values, to be filled by `filled`.

    Args:
        outputs: what the project's own network gave.
        prediction: the path of the prediction.
        given: the parts of its call, by their paths: some networks give targets back.
    """
    handed_on = {id(part): path for path, part in given.items() if isinstance(part, Tensor)}
    return _template(outputs, "", prediction, handed_on)


def _template(value: Any, path: str, prediction: str, handed_on: Mapping[int, str]) -> dict[str, Any]:
    if isinstance(value, Tensor):
        if path == prediction:
            return {"is": "prediction"}
        if id(value) in handed_on:
            return {"is": "input", "path": handed_on[id(value)]}
        # Terms of a loss that a network adds up by itself; and heads that are trained beside the prediction.
        auxiliary = last_name(path).lower().startswith("aux") and value.dim() > 0
        return {"is": "prediction" if auxiliary else "zero" if value.dim() == 0 else "none"}
    held = children(value)
    if held is None:
        return {"is": "value", "value": value if isinstance(value, _PLAIN) else None}
    items = {name: _template(item, f"{path}.{name}".strip("."), prediction, handed_on) for name, item in held.items()}
    if type(value) in (list, tuple, dict):
        return {"is": type(value).__name__, "items": items}
    if isinstance(value, tuple):
        fields = list(getattr(value, "_fields", ()))
        return {"is": "namedtuple", "fields": fields, "items": items}
    return {"is": "named", "items": items}


def filled(template: Mapping[str, Any], prediction: Tensor, part: Callable[[str], Any]) -> Any:
    """Outputs of a form.

    Args:
        template: of `template_of`.
        prediction: to put where the prediction was.
        part: gives the part of the present call at a path.
    """
    kind = template["is"]
    if kind == "prediction":
        return prediction
    if kind == "input":
        return part(template["path"])
    if kind == "zero":
        return prediction.new_zeros(())
    if kind == "value":
        return template["value"]
    if kind == "none":
        return None
    items = {name: filled(each, prediction, part) for name, each in template["items"].items()}
    if kind in ("list", "tuple"):
        return list(items.values()) if kind == "list" else tuple(items.values())
    if kind == "namedtuple":
        return namedtuple("Outputs", template["fields"])(*items.values())
    return NamedOutputs(items) if kind == "named" else items
