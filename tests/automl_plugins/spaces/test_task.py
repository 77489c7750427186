from __future__ import annotations

import json

import numpy as np
import pytest

from automl_plugins import Task


def test_a_task_survives_json() -> None:
    task = Task("graph", "regression", 2, 1, 2, node_categories=[7, 3], edge_categories=(4, 2))
    again = Task(**json.loads(json.dumps(task.to_dict())))
    assert again == task
    assert hash(again) == hash(task)
    assert again.node_categories == (7, 3)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"level": "nodes"}, "Task.level is one of node, edge, graph, image, pixel; got 'nodes'"),
        ({"target": "class"}, "Task.target is one of"),
        ({"in_channels": 0}, "Task.in_channels is an integer of at least 1; got 0"),
        ({"in_channels": "3"}, "Task.in_channels is an integer of at least 1; got '3'"),
        ({"in_channels": np.int64(3)}, "Task.in_channels is an integer of at least 1"),
        ({"in_channels": True}, "Task.in_channels is an integer of at least 1; got True"),
        ({"out_channels": 0}, "Task.out_channels is an integer of at least 1; got 0"),
        ({"edge_channels": -1}, "Task.edge_channels is an integer of at least 0; got -1"),
        ({"target": "binary", "out_channels": 2}, "a binary task has one output"),
        ({"node_categories": (3,)}, "Task.node_categories has 1 columns, but the task has 3 channels"),
        ({"edge_categories": (3,)}, "Task.edge_categories has 1 columns, but the task has 0 channels"),
        ({"node_categories": (3, 0, 2)}, "Task.node_categories holds integers of at least 1"),
    ],
)
def test_a_task_that_makes_no_sense_is_refused(arguments: dict[str, object], complaint: str) -> None:
    valid = {"level": "node", "target": "classes", "in_channels": 3, "out_channels": 4}
    Task(**valid)
    with pytest.raises(ValueError, match=complaint):
        Task(**{**valid, **arguments})
