"""What is kept of a trial besides its objectives: results of a test, noted values, and other logged numbers.

In entries they are mappings. In tables each name is a column with a prefix: `test/`, `note/` and `logged/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.errors import ArgumentError, first_line, nearest
from lightning_hwtune.views.amounts import number

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "chosen_columns",
    "kept_cells",
    "kept_columns",
    "kept_keys",
    "test_line",
    "tests_frame",
    "untouched_lines",
    "without_logged",
]

_LOGGED = "logged/"
_KEPT: Mapping[str, tuple[str, Callable[[TrialRecord], Mapping[str, Any]]]] = {
    "test": ("test/", lambda trial: trial.tested),
    "notes": ("note/", lambda trial: trial.noted),
    "logged": (_LOGGED, lambda trial: trial.logged),
}
"""Key of an entry -> the prefix of its columns, and its values."""


def kept_keys(trial: TrialRecord) -> dict[str, Any]:
    """Returns the keys `test`, `test_error`, `notes` and `logged` of a trial's entry.

    `test` has the results of the newest successful test, `test_error` why the newest one failed, `notes` the
    values of `trial.note`, and `logged` the other numbers that were logged at the newest rung, or at the end.
    """
    values = {key: dict(read(trial)) for key, (_, read) in _KEPT.items()}
    return {"test": values["test"], "test_error": first_line(trial.test_error), **values}


def kept_cells(trial: TrialRecord) -> dict[str, Any]:
    """Returns the values of a trial by column."""
    return {f"{prefix}{name}": value for prefix, read in _KEPT.values() for name, value in read(trial).items()}


def kept_columns(trials: Iterable[TrialRecord]) -> list[str]:
    """Returns the columns that at least one of these trials has a value for, in order."""
    trials = list(trials)
    return list(
        dict.fromkeys(f"{prefix}{name}" for prefix, read in _KEPT.values() for trial in trials for name in read(trial))
    )


def tests_frame(state: StudyFacts, trial_ids: Sequence[int]) -> pd.DataFrame:
    """Returns one row per trial: its results as `test/<name>`, and why its newest test failed."""
    import pandas as pd

    trials = [state.trials[trial_id] for trial_id in dict.fromkeys(trial_ids)]
    names = list(dict.fromkeys(name for trial in trials for name in trial.tested))
    rows = [
        {
            "trial": trial.trial_id,
            **{f"test/{name}": trial.tested.get(name) for name in names},
            "failure": first_line(trial.test_error),
        }
        for trial in trials
    ]
    return pd.DataFrame(rows, columns=["trial", *(f"test/{name}" for name in names), "failure"])


def test_line(trial_id: int, values: Mapping[str, float], error: str) -> str:
    """Returns the line that is printed after a test."""
    found = ", ".join(f"{name} {number(value)}" for name, value in values.items())
    return f"trial {trial_id}: the test failed: {first_line(error)}" if error else f"trial {trial_id}: {found}"


def untouched_lines(state: StudyFacts, trial_ids: Sequence[int]) -> list[str]:
    """Returns one line per function whose results these trials have, so that they are not tested again."""
    by_function: dict[str, list[int]] = {}
    for trial_id in dict.fromkeys(trial_ids):
        by_function.setdefault(state.trials[trial_id].tested_by, []).append(trial_id)
    return [
        f"not tested: {'trial' if len(ids) == 1 else 'trials'} {', '.join(map(str, ids))} already "
        f"{'has' if len(ids) == 1 else 'have'} the results of {function or 'an earlier test'}. "
        "To test again: again=True, or --again."
        for function, ids in by_function.items()
    ]


def without_logged(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the frame for people: without the columns of logged numbers, which are many."""
    return frame[[name for name in frame.columns if not name.startswith(_LOGGED)]]


def chosen_columns(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Returns the columns with these names, in this order.

    Raises:
        ArgumentError: there is no such column.
    """
    for name in names:
        if name not in frame.columns:
            known = [str(column) for column in frame.columns]
            raise ArgumentError("--columns", name, f"columns among {', '.join(known)}{nearest(name, known)}")
    return frame[list(names)]
