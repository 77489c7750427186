"""Predictions as a table."""

from __future__ import annotations

import numpy as np

from automl_plugins.report.predictions import cells_of, header_of, predictions_csv


def test_classes_have_names_and_probabilities() -> None:
    names = ("low", "high", "none")
    assert header_of("classes", names, has_spread=False) == ["prediction", *(f"probability/{name}" for name in names)]
    cells = cells_of("classes", names, np.array([[0.25, 0.5, 0.25], [0.9, 0.05, 0.05]]), None)
    assert cells == [["high", "0.25", "0.5", "0.25"], ["low", "0.9", "0.05", "0.05"]]


def test_a_binary_target_of_two_names_is_of_classes_and_of_one_name_a_label() -> None:
    values, spread = np.array([[0.75], [0.25]]), np.array([[0.125], [0.0]])
    assert cells_of("binary", ("ill", "well"), values, spread) == [
        ["well", "0.25", "0.75", "0.125", "0.125"],
        ["ill", "0.75", "0.25", "0", "0"],
    ]
    assert header_of("binary", ("toxic",), has_spread=True) == ["toxic", "probability/toxic", "spread/toxic"]
    assert cells_of("binary", ("toxic",), values, spread) == [["1", "0.75", "0.125"], ["0", "0.25", "0"]]


def test_labels_are_told_apart_and_real_values_stand_alone() -> None:
    assert cells_of("multilabel", ("a", "b"), np.array([[0.9, 0.2]]), None) == [["1", "0", "0.9", "0.2"]]
    assert cells_of("regression", ("a", "b"), np.array([[1e6, -2.5]]), None) == [["1000000", "-2.5"]]


def test_a_row_without_a_prediction_has_a_reason_and_no_two_columns_have_one_name() -> None:
    text = predictions_csv(("row", "smiles"), [(2, "C"), (3, "x,y")], {0: ["1.5"]}, ["row"], {1: "does not parse"})
    assert text == 'row,smiles,predicted/row,reason\n2,C,1.5,\n3,"x,y",,does not parse\n'
