"""What a prior learns from a table: lists and generators alike; nonsense is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from table_files import write_table

import lightning_hwtune as hwt
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError
from lightning_hwtune.simulation.tables import Table


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return Table.load(write_table(tmp_path_factory.mktemp("tables") / "small"))


def test_what_is_learned_from_a_table_may_come_from_generators(small: Table) -> None:
    listed = hwt.ParetoPrior.from_table(small, ["b", "a"], objectives=["accuracy"], rows=[2, 0], configs=[{"x": 1}])
    once = hwt.ParetoPrior.from_table(
        small,
        (name for name in "ba"),
        objectives=(name for name in ["accuracy"]),
        rows=iter([2, 0]),
        configs=({"x": x} for x in (1,)),
    )
    assert once == listed
    for task in once.tasks:
        np.testing.assert_allclose(task.losses, [[-0.45], [-0.15]])
    assert once.tasks[0].values["lr"] == [0.01, 0.1]
    assert hwt.ParetoPrior.from_table(small, rows=np.array([2, 0]), objectives=["accuracy"]).tasks[0].losses == (
        listed.tasks[0].losses
    )


@pytest.mark.parametrize(
    "wrong",
    [
        *({"rows": rows} for rows in ([True], [1.5], [-1], [4], ["0"], [], {0, 1}, {0: 1}, "01", 3, [None])),
        *({"rows": itertools.count()}, {"rows": np.array(1)}),
        *({"tasks": tasks} for tasks in ([], ["a", "a"], "ab", {"a"}, [b"a"], [None], itertools.repeat("a"), 3)),
        *({"objectives": names} for names in ([], ["accuracy", "accuracy"], "accuracy", [3], {"accuracy"})),
        *({"resource": resource} for resource in (0, 4, True, "3", 1.5, np.nan)),
        {"task": ["a"]},
    ],
    ids=repr,
)
def test_nonsense_about_a_table_is_refused(small: Table, wrong: dict[str, Any]) -> None:
    with pytest.raises((ArgumentError, UnknownArgumentError)):
        hwt.ParetoPrior.from_table(small, **wrong)
