"""How the benchmark of foreign libraries counts lines."""

from __future__ import annotations

import pytest

from benchmarks.foreign_libraries import LIBRARIES, SCRIPTS, extra_lines

PLAIN = '"""Text."""\n\nmodel = Net(lr=0.1)\nmodel.fit(data)\n'


@pytest.mark.parametrize(
    ("tuned", "n"),
    [
        (PLAIN, 0),
        ('"""Other text."""\n# a remark\n\nmodel = Net(lr=0.1)\nmodel.fit(data)\n', 0),
        ("import hwt\n\n\ndef train(trial):\n    model = Net(lr=trial['lr'])\n    model.fit(data)\n", 3),
        (PLAIN + "hwt.run(train)\n", 1),
        ("model = Net(lr=0.1)\n", 0),
    ],
)
def test_added_and_changed_lines_count_and_indentation_does_not(tuned: str, n: int) -> None:
    assert extra_lines(PLAIN, tuned) == n


@pytest.mark.parametrize("name", LIBRARIES)
def test_at_most_nine_lines_stand_between_a_library_and_a_study(name: str) -> None:
    plain, tuned = (SCRIPTS / f"{name}_{kind}.py" for kind in ("plain", "tuned"))
    assert 1 <= extra_lines(plain.read_text(), tuned.read_text()) <= 9
