"""A state as tables: data frames for people, plain entries for JSON. One row per trial or per point of a front.

Records contain values in the user's own directions. A value that is not finite is kept here and becomes null on export.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_hwtune.core.decisions import Rule, VerdictKind
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import Outcome, TrialRecord, TrialState
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.space import Choice
from lightning_hwtune.errors import first_line
from lightning_hwtune.views.front_confidence import CERTAIN_FROM, certainties
from lightning_hwtune.views.front_points import Point, candidates, ended_early, front_points, non_dominated
from lightning_hwtune.views.infeasible import constraint_keys, infeasible_text, least_violating
from lightning_hwtune.views.kept_values import kept_cells, kept_columns, kept_keys
from lightning_hwtune.views.reference import References
from lightning_hwtune.views.replicates import replicate_summary

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "PROMOTED",
    "best_entries",
    "best_entry",
    "best_frame",
    "front_entries",
    "front_frame",
    "n_retries",
    "point_entry",
    "rung_words",
    "rung_words_of",
    "shown_trials",
    "trial_entries",
    "trials_frame",
    "with_checkpoints",
]

BAD_ENDS = (Outcome.ERROR, Outcome.LOST, Outcome.OUT_OF_MEMORY)
_EARLY = "ended early"
_SECONDS_AT = "seconds_at"
_LIMIT = "max_per_device_batch"
PROMOTED = "promoted"
"""The word for a trial that a rung promoted, at once or later."""


def front_entries(state: StudyFacts, at: str = "full") -> list[dict[str, Any]]:
    """Returns the front as `{trial_id, config, devices, objectives, epochs, checkpoint}`, best first objective first.

    The key for the resource is the study's unit: `epochs`, `steps` or `samples`. `checkpoint` is the model that was
    measured or, for a fully trained trial, the one at its end. It is None if there is no such file, even if the trial
    has another checkpoint. With a measured objective, `probability` says how likely the member is on the front in spite
    of the noise of measured times, and `within_noise` marks a member that is not certain (`views.front_confidence`).
    If the study has replicates, `replicates` has those of the member (None for none): `complete`, `failed`, `open`, and
    the objectives' `mean` and `std`. If a trial of the study has changed its devices, `reference` says at which number
    of devices the seconds of the member are given (`views.reference`); None for the number that it trained on. What is
    kept besides (`test`, `test_error`, `notes`, `logged`): see `views.kept_values.kept_keys`.

    Args:
        at: "full": fully trained trials. "rung": one front per rung level, highest first, with the key `rung`. "any":
            every trial's last measurement, with the key `partial`.

    Raises:
        ArgumentError: `at` has another value.
    """
    points = front_points(state, at)
    references = References(state)
    entries = [_front_entry(state, point, at, references) for point in points]
    probabilities = certainties(state, at, points)
    for entry, probability in zip(entries, probabilities or (), strict=False):
        entry |= {"probability": probability, "within_noise": probability < CERTAIN_FROM}
    return entries


def _front_entry(state: StudyFacts, point: Point, at: str, references: References) -> dict[str, Any]:
    trial, measurement, unit = point.trial, point.measurement, state.ladder.unit
    entry: dict[str, Any] = {
        "trial_id": trial.trial_id,
        "config": dict(trial.config),
        "devices": trial.num_devices,
        "objectives": {name: measurement.values[name] for name in state.spec.objectives.names},
        **constraint_keys(state, measurement),
        **references.keys(trial, measurement.resource),
        **({"replicates": replicate_summary(state, trial.trial_id)} if state.replicates else {}),
        unit: measurement.resource,
        **kept_keys(trial),
        "checkpoint": _checkpoint(point),
    }
    if at == "rung":
        entry["rung"] = point.rung
    if at == "any":
        entry["partial"] = point.is_partial
    return entry


def _checkpoint(point: Point) -> str | None:
    """Returns the path of the model that was measured; for a best value, that of the report with this value.

    The last validation of a fully trained trial may come some epochs, steps or samples before its end.
    """
    trial, measurement, saved = point.trial, point.measurement, point.trial.checkpoint
    if trial.best_of:
        best, at = trial.best_checkpoint, trial.best_at(measurement.resource)
        return best.path if best is not None and best.resource == at else None
    if saved is None:
        return None
    is_end = not point.is_partial and measurement is trial.last and saved.resource > measurement.resource
    return saved.path if is_end or saved.resource == measurement.resource else None


def best_entry(state: StudyFacts) -> dict[str, Any] | None:
    """Returns the fully trained trial that is best in the first objective, as in `front_entries`, or None.

    Ties are broken by the next objectives, then by trial id. If all of them violate a constraint, it is the one with
    the least violation; the entry's `infeasible` says so.
    """
    points = candidates(state, "full")
    front = non_dominated(state, points)
    best = front[0] if front else least_violating(state, points)
    return point_entry(state, best) if best is not None else None


def point_entry(state: StudyFacts, point: Point) -> dict[str, Any]:
    """Returns a fully trained point as in `front_entries`."""
    return _front_entry(state, point, "full", References(state))


def front_frame(state: StudyFacts, at: str = "full") -> pd.DataFrame:
    """Returns the front: trial, objectives, parameters, devices, epochs (or the study's unit), checkpoint.

    With at="rung" the first column is `rung`; with at="any" there is a column `partial`. With a measured objective, the
    columns `probability` and `within_noise` come before the checkpoint, and `seconds_at` if a trial of the study has
    changed its devices: the number of devices at which its seconds are given, and why. See `front_entries`. The column
    of the device parameter is `devices`. A parameter with the name of another column is called `config.<name>`.

    Raises:
        ArgumentError: `at` has another value.
    """
    return _frame(state, front_entries(state, at), at)


def best_frame(state: StudyFacts) -> pd.DataFrame:
    """Returns `best_entry` as a front with one row, or with none if no trial is fully trained."""
    return _frame(state, best_entries(state), "full")


def best_entries(state: StudyFacts) -> list[dict[str, Any]]:
    """Returns `best_entry` in a list, with all that the front says of it; an empty list if no trial is fully trained.

    The best trial is not on the front if it violates a constraint.
    """
    best = best_entry(state)
    if best is None:
        return []
    return [entry for entry in front_entries(state) if entry["trial_id"] == best["trial_id"]] or [best]


def _frame(state: StudyFacts, entries: Sequence[Mapping[str, Any]], at: str) -> pd.DataFrame:
    import pandas as pd

    unit, first = state.ladder.unit, ["rung"] if at == "rung" else []
    is_noisy = any(item.is_noisy for item in state.spec.objectives)
    confidence = ["probability", "within_noise"] if is_noisy else []
    references = References(state)
    keys, rest = [*first, "trial"], ["devices", unit, *(["partial"] if at == "any" else []), *confidence]
    rest += [_SECONDS_AT] if references.are_any else []
    kept = kept_columns(state.trials[entry["trial_id"]] for entry in entries)
    columns = [*keys, *_values(state, [*keys, *rest], {}, {}), *rest, *kept, "checkpoint"]
    rows = []
    for entry in entries:
        values = _values(state, [*keys, *rest], entry, entry["config"])
        values |= kept_cells(state.trials[entry["trial_id"]])
        seconds_at = references.text(state.trials[entry["trial_id"]], entry[unit]) or None
        rows.append({**entry, "trial": entry["trial_id"], **values, _SECONDS_AT: seconds_at})
    frame = pd.DataFrame([{name: row.get(name) for name in columns} for row in rows], columns=columns)
    frame = _with_none(frame, rows, rest[-1:] if references.are_any else [])
    return with_checkpoints(_with_options(state, frame, rows), [row["checkpoint"] for row in rows])


def with_checkpoints(frame: pd.DataFrame, paths: Sequence[str | None]) -> pd.DataFrame:
    """Returns the front with these checkpoints, one per row; None is kept, where pandas would make it NaN."""
    import pandas as pd

    return frame.assign(checkpoint=pd.Series(paths, index=frame.index, dtype=object))


def _values(
    state: StudyFacts, taken: Iterable[str], entry: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the columns of the objectives, constraints and parameters, with names that no other column has."""
    names = {*taken, "checkpoint", *_TRIAL_COLUMNS}
    row: dict[str, Any] = {}
    for prefix, keys, values in (
        ("objective", state.spec.objectives.names, entry.get("objectives", {})),
        ("constraint", _constraint_names(state), entry.get("constraints", {})),
        ("config", [key for key in state.spec.space if key != state.spec.space.devices_key], config),
    ):
        for key in keys:
            row[f"{prefix}.{key}" if key in names or key in row else key] = values.get(key)
    return row


def _with_options(state: StudyFacts, frame: pd.DataFrame, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Returns the frame with unchanged options, and None for a parameter that a trial does not have.

    Otherwise pandas would convert an integer to a float if there is a None.
    """
    import pandas as pd

    for key, parameter in state.spec.space.items():
        column = f"config.{key}" if f"config.{key}" in frame else key
        has_none = parameter.when is not None or (isinstance(parameter, Choice) and not _is_uniform(parameter))
        if has_none and column in frame:
            frame = frame.assign(**{column: pd.Series([row[column] for row in rows], frame.index, dtype=object)})
    return frame


def _is_uniform(parameter: Choice) -> bool:
    """Return whether one pandas dtype can store all options unchanged."""
    kinds = {type(item) for item in parameter.options}
    return kinds <= {int, float} or kinds in ({str}, {bool})


def _constraint_names(state: StudyFacts) -> list[str]:
    """Returns the names of the constraints that are not also objectives."""
    objectives = state.spec.objectives
    return [item.name for item in objectives.constraints if item.name not in objectives.names]


_TRIAL_COLUMNS = ("trial", "state", "devices", "segments", "infeasible", "rungs", "replicate_of", "refit", "retries",
                  "failure", _LIMIT, _SECONDS_AT)  # fmt: skip


def trial_entries(state: StudyFacts, trial_ids: Collection[int] | None = None) -> list[dict[str, Any]]:
    """Returns every trial, or those with these ids, as plain data.

    `objectives` are from its last measurement, and `rungs` has the verdicts. The key for the resource of that
    measurement is the study's unit: `epochs`, `steps` or `samples`. `checkpoint` is the newest checkpoint, from which
    the trial would resume; it may be older than the measurement. `ended_early`: whether the trial's own code, such as
    an EarlyStopping, ended the training before the horizon. `replicate_of`: the trial that it repeats with another
    seed; None for a trial of the search. `refit`: from where a refit of that trial began, "scratch" or "checkpoint".
    `reference`: see `front_entries`. `test`, `test_error`, `notes`, `logged`: see
    `views.kept_values.kept_keys`.
    """
    trials, segments = _chosen(state, trial_ids)
    retries, words, references = n_retries(state, segments), _words(state, trials, segments), References(state)
    return [
        {
            "trial_id": trial.trial_id,
            "state": trial.state.value,
            state.ladder.unit: trial.resource,
            "target": trial.target,
            "devices": trial.num_devices,
            _LIMIT: trial.max_per_device_batch,
            "segments": trial.segment,
            "objectives": {
                name: trial.last.values[name] if trial.last else None for name in state.spec.objectives.names
            },
            **constraint_keys(state, trial.last),
            **references.keys(trial),
            "config": dict(trial.config),
            "bracket": trial.bracket,
            "rungs": {str(level): word for level, word in words[trial.trial_id].items()},
            "ended_early": ended_early(trial, state.ladder.top),
            "retries": retries.get(trial.trial_id, 0),
            "failure": first_line(trial.error),
            "replicate_of": trial.replicate_of,
            "refit": trial.refit,
            **kept_keys(trial),
            "checkpoint": trial.checkpoint.path if trial.checkpoint else None,
        }
        for trial in trials
    ]


def _chosen(state: StudyFacts, trial_ids: Collection[int] | None) -> tuple[list[TrialRecord], list[Segment]]:
    """Returns the trials with these ids, by id, and their segments; None for all."""
    if trial_ids is None:
        return state.trials, state.segments
    ids = frozenset(trial_ids)
    return [state.trials[index] for index in sorted(ids)], [item for item in state.segments if item.trial_id in ids]


def trials_frame(state: StudyFacts) -> pd.DataFrame:
    """Returns one row per trial: state, epochs, devices, segments, objectives, parameters, rungs, retries, failure.

    A study with constraints also has the columns of their values, and `infeasible`: the violated bounds, with amounts.
    What is kept besides has the last columns, `test/...`, `note/...` and `logged/...` (`views.kept_values`).
    A study with replicates has the column `replicate_of`; it is empty for a trial of the search. If a trial has changed
    its devices, there is the column `seconds_at`: the number of devices at which its seconds are given, and why.
    If a trial has run out of memory and continues with smaller batches, there is the column `max_per_device_batch`: the
    most samples per device and batch.
    """
    import pandas as pd

    unit, fixed, references = state.ladder.unit, _fixed(state), References(state)
    rows = []
    for entry in trial_entries(state):
        row = {"trial": entry["trial_id"], **{key: entry[key] for key in fixed[1:]}}
        row |= _values(state, row, entry, entry["config"])
        row["rungs"] = _rungs_text(entry, unit)
        row["infeasible"] = infeasible_text(state, state.trials[entry["trial_id"]])
        row[_LIMIT] = entry[_LIMIT]
        row[_SECONDS_AT] = references.text(state.trials[entry["trial_id"]]) or None
        row |= kept_cells(state.trials[entry["trial_id"]])
        rows.append(row | {key: entry[key] for key in ("retries", "failure", "replicate_of", "refit")})
    infeasible = ["infeasible"] if state.spec.objectives.is_constrained else []
    replicate_of = ["replicate_of"] if state.replicates or state.refits else []
    replicate_of += ["refit"] if state.refits else []
    seconds_at = [_SECONDS_AT] if references.are_any else []
    limits = [_LIMIT] if any(trial.max_per_device_batch for trial in state.trials) else []
    named = [*fixed, *_values(state, fixed, {}, {}), *infeasible, *limits, *seconds_at]
    columns = [*named, "rungs", *replicate_of, "retries", "failure", *kept_columns(state.trials)]
    frame = _with_options(state, pd.DataFrame(rows, columns=columns), rows)
    return _with_none(frame, rows, [*replicate_of, *limits, *seconds_at])


def _with_none(frame: pd.DataFrame, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> pd.DataFrame:
    """Returns the frame with None in these columns where there is nothing, which pandas would make NaN."""
    import pandas as pd

    return frame.assign(**{name: pd.Series([row[name] for row in rows], frame.index, dtype=object) for name in names})


def _fixed(state: StudyFacts) -> tuple[str, ...]:
    """Returns the columns that the trials of every study have first."""
    return ("trial", "state", state.ladder.unit, "devices", "segments")


def shown_trials(state: StudyFacts) -> pd.DataFrame:
    """Returns `trials_frame` for people: None, an empty cell, instead of NaN where a trial has not measured a value."""
    import pandas as pd

    frame, measured = trials_frame(state), [trial.last is not None for trial in state.trials]
    if all(measured):
        return frame
    marks = {"objectives": dict.fromkeys(state.spec.objectives.names, True),
             "constraints": dict.fromkeys(_constraint_names(state), True)}  # fmt: skip
    columns = [name for name, is_value in _values(state, _fixed(state), marks, {}).items() if is_value]
    cells = {name: [cell if has else None for cell, has in zip(frame[name], measured, strict=True)] for name in columns}
    return frame.assign(**{name: pd.Series(column, dtype=object) for name, column in cells.items()})


def rung_words(
    trial: TrialRecord, max_resource: int, *, is_first: bool = False, left: Mapping[int, str] | None = None
) -> dict[int, str]:
    """Returns the verdict on a trial at each rung: promoted, passed, paused, stopped, completed, or "ended early".

    If a trial's own code ended it early, the higher rungs compare its last values.

    Args:
        is_first: whether it is one of the first trials, which pass all rungs without a decision.
        left: the rungs that it left although none promoted it, each with the rule: that of finishers, which train to
            the end, or that of survivors, which the next rung judges again.
    """
    words, left = dict[int, str](), left or {}
    finished_from = max((level for level, rule in left.items() if rule == Rule.FINISHER), default=math.inf)
    for level, kind in sorted(trial.decided.items()):
        if kind == VerdictKind.STOP and level > trial.resource and ended_early(trial, max_resource):
            words[level] = _EARLY
        elif kind == VerdictKind.STOP:
            is_complete = level >= max_resource and trial.state is not TrialState.STOPPED
            words[level] = "completed" if is_complete or trial.state is TrialState.COMPLETED else "stopped"
        elif kind == VerdictKind.PAUSE:
            words[level] = PROMOTED if trial.target > level and level not in left else "paused"
        else:
            words[level] = "passed" if is_first or level > finished_from else PROMOTED
    return words


def rung_words_of(state: StudyFacts) -> list[dict[int, str]]:
    """Returns `rung_words` of every trial, by trial id."""
    return list(_words(state, state.trials, state.segments).values())


def _words(state: StudyFacts, trials: Iterable[TrialRecord], segments: Iterable[Segment]) -> dict[int, dict[int, str]]:
    """Returns `rung_words` of these trials, by trial id, from their segments."""
    left: dict[int, dict[int, str]] = {}
    for segment in segments:
        if segment.promoted_from is not None and segment.rule in (Rule.FINISHER, Rule.SURVIVOR):
            left.setdefault(segment.trial_id, {})[segment.promoted_from] = segment.rule
    top, first = state.ladder.top, state.to_end
    return {
        trial.trial_id: rung_words(trial, top, is_first=trial.trial_id in first, left=left.get(trial.trial_id))
        for trial in trials
    }


def _rungs_text(entry: Mapping[str, Any], unit: str) -> str:
    """Returns "1 promoted, 3 paused", or "1 promoted, ended by its own code at 8"."""
    parts = [f"{level} {word}" for level, word in entry["rungs"].items() if word != _EARLY]
    return ", ".join([*parts, *([f"ended by its own code at {entry[unit]}"] if entry["ended_early"] else [])])


def n_retries(state: StudyFacts, segments: Iterable[Segment] | None = None) -> dict[int, int]:
    """Returns, by trial id, how many segments were or will be repeated because they ended with an error.

    Args:
        segments: the segments of the trials in question; None for all.
    """
    counts: dict[int, int] = {}
    for segment in state.segments if segments is None else segments:
        trial = state.trials[segment.trial_id]
        is_last_word = segment.number == trial.segment and trial.state.is_final
        if segment.outcome in BAD_ENDS and not is_last_word:
            counts[trial.trial_id] = counts.get(trial.trial_id, 0) + 1
    return counts
