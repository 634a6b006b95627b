"""What the comparison with the Optuna sweeper calls the same shape."""

from __future__ import annotations

import pytest

from benchmarks.optuna_side_by_side import holds, shape

ONE = {"name": "optuna", "best_params": {"model.lr": 0.1}, "best_value": 0.3}
TWO = {"name": "optuna", "solutions": [{"params": {"lr": 0.1}, "values": [0.3, 7]}]}


def test_values_and_their_number_do_not_matter() -> None:
    other = {"name": "hwtune", "best_params": {"model.lr": 1}, "best_value": 2, "best_trial": 7}
    assert holds(shape(other), shape(ONE))
    more = {"name": "hwtune", "solutions": [*TWO["solutions"], {"params": {"lr": 0.2}, "values": [0.4, 6.0]}]}
    assert holds(shape(more), shape(TWO))


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"name": "hwtune", "best_params": {"+model.lr": 0.1}, "best_value": 0.3},
        {"name": "hwtune", "best_params": {"model.lr": 0.1}, "best_value": None},
        {"name": "hwtune", "best_params": {"model.lr": "0.1"}, "best_value": 0.3},
    ],
)
def test_keys_names_and_kinds_do(other: dict[str, object]) -> None:
    assert not holds(shape(other), shape(ONE))
