"""The history of one trial, from the log: one line per event, each decision with its reason, numbers and rule."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.decisions import Rule, VerdictKind
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.record import Outcome, TrialRecord, TrialState
from lightning_hwtune.errors import first_line
from lightning_hwtune.views.amounts import (
    amount,
    batch_limit_text,
    config_text,
    counted,
    devices_text,
    duration,
    size,
    unit_of,
)
from lightning_hwtune.views.best_epochs import better_before
from lightning_hwtune.views.front_points import candidates, ended_early
from lightning_hwtune.views.infeasible import infeasible_text
from lightning_hwtune.views.kept_parameters import KeptParameters
from lightning_hwtune.views.reference import report_reference_text
from lightning_hwtune.views.replicates import replicates_text

__all__ = ["repeated_text", "stage_text", "values_text", "why"]


def why(
    state: StudyFacts, events: Iterable[ev.Event], trial_id: int, kept_parameters: KeptParameters | None = None
) -> str:
    """Returns what happened to a trial and why. Times count from its creation.

    Epochs between two rungs share a line. Checkpoints that were replaced by newer ones are not mentioned. Notes about
    the whole study come at the end.

    Args:
        kept_parameters: of this state, for the stories of many trials; None: they are collected for this one.
    """
    trial = state.trials[trial_id]
    replicates = replicates_text(state, trial)
    own = [event for event in events if getattr(event, "trial_id", None) == trial_id]
    planned = (stage for stage in state.stages if stage.reached in trial.decided)
    own = list(heapq.merge(own, planned, key=lambda event: event.at))
    lines = list(_lines(state, own, kept_parameters or KeptParameters(state)))
    width = max((len(time) for time, _ in lines), default=0)
    story = [f"  {time:>{width}}  {text}" for time, text in lines]
    end = " ".join(filter(None, (_end(state, trial), replicates)))
    return "\n".join([*_head(state, trial), "", *story, "", end, *_study_notes(state)])


def values_text(objectives: Objectives, values: Mapping[str, float]) -> str:
    """Returns "val_error 0.031, train_s 12.4", with the values of constraints last."""
    shown = [f"{item.name} {amount(values[item.name], unit_of(item))}" for item in objectives]
    others = [item for item in objectives.constraints if item.name not in objectives.names and item.name in values]
    return ", ".join([*shown, *(f"{item.name} {_amount_of(item, values[item.name])}" for item in others)])


def _amount_of(item: Constraint, value: float) -> str:
    """Returns the value of a constraint; only the name of a measured amount of bytes does not tell its unit."""
    return size(value) if item.unit == "B" and math.isfinite(value) else amount(value, "")


def repeated_text(state: StudyFacts, trial: TrialRecord) -> str:
    """Returns "epochs 4 to 7 are trained again" for what was trained after the newest checkpoint; empty if nothing."""
    saved = trial.checkpoint.resource if trial.checkpoint is not None else 0
    if trial.resource <= saved:
        return ""
    verb = "is" if trial.resource == saved + 1 else "are"
    return f"{state.ladder.unit.span(saved, trial.resource)} {verb} trained again"


def _head(state: StudyFacts, trial: TrialRecord) -> list[str]:
    ladder = state.ladder
    return [
        f"trial {trial.trial_id} is {trial.state}: {trial.resource} of {counted(ladder.top, ladder.unit)}, "
        f"{counted(trial.segment, 'segments')}, {counted(trial.num_devices, 'devices')}",
        f"  {config_text(trial.config)}",
    ]


def _lines(state: StudyFacts, events: Sequence[ev.Event], kept: KeptParameters) -> Iterator[tuple[str, str]]:
    """Yields pairs of time and text; consecutive reports without a decision are merged."""
    for key, group in groupby(events, key=_folding):
        members = list(group)
        if isinstance(key, tuple):
            text = _quiet_reports(state, members)
        else:
            text = "\n".join(filter(None, (_text(state, event, kept) for event in members)))
        if text:
            yield f"+{duration(members[-1].at - events[0].at)}", text


def _text(state: StudyFacts, event: ev.Event, kept: KeptParameters) -> str:
    if isinstance(event, ev.TrialCreated):
        return _created(state, event, kept)
    return _TEXT_OF[type(event)](state, event)


def _folding(event: ev.Event) -> tuple[int, str] | int:
    """Returns a key that is equal for events that share a line."""
    if isinstance(event, ev.Reported) and event.level is None and event.verdict == VerdictKind.CONTINUE:
        return event.segment, event.rule
    return id(event)


def _quiet_reports(state: StudyFacts, reports: Sequence[Any]) -> str:
    first, last = reports[0], reports[-1]
    unit = state.ladder.unit.removesuffix("s")
    verb = "trained again" if last.rule == Rule.REPEATED else "trained"
    reference = report_reference_text(state, last)
    if first is last:
        values = values_text(state.spec.objectives, last.values)
        return f"{unit} {last.resource} {verb}: {values}{reference} [{last.rule}]"
    pairs = [(item, first.values[item.name], last.values[item.name]) for item in state.spec.objectives]
    changes = ", ".join(f"{item.name} {amount(a, '')} to {amount(b, unit_of(item))}" for item, a, b in pairs)
    return f"{unit}s {first.resource} to {last.resource} {verb}: {changes}{reference} [{last.rule}]"


def _created(state: StudyFacts, event: ev.TrialCreated, kept: KeptParameters) -> str:
    bracket = f", bracket {event.bracket}" if event.bracket else ""
    to = state.ladder.top if event.trial_id in state.to_end else event.target
    return f"created: {event.reason}{kept.text(event)}; seed {event.seed}{bracket}; {_allowed(state, to)}"


def _waits(state: StudyFacts, event: ev.DevicesReserved) -> str:
    n_devices = event.allocation.devices if event.allocation else 0
    return f"waits for {counted(n_devices, 'devices')}, which are reserved as they become free: {event.reason}"


def _started(state: StudyFacts, event: ev.SegmentStarted) -> str:
    slots = ", ".join(str(slot) for slot in event.slots)
    begun = f"from the checkpoint of {_resource(state, event.resource)}" if event.checkpoint else "from scratch"
    text = f"segment {event.segment} on {devices_text(event.allocation)} ({slots}), {begun}"
    text += f"; {_allowed(state, event.target)}"
    if event.segment == 1:
        return text
    rung = event.promoted_from
    if event.rule == Rule.FINISHER:
        why_now = "finishes"
    elif rung is None or event.rule == Rule.SURVIVOR:
        why_now = "continues"
    else:
        why_now = f"promoted from rung {rung}"
    return f"{text}; {why_now}: {event.reason} [{event.rule}]"


def _reported(state: StudyFacts, event: ev.Reported) -> str:
    values = values_text(state.spec.objectives, event.values) + report_reference_text(state, event)
    where = f" at rung {event.level}" if event.level is not None and event.resource >= event.level else ""
    if event.verdict == VerdictKind.CONTINUE:
        verdict = f"continues{where}"
    elif event.verdict == VerdictKind.PAUSE:
        verdict = f"paused{where}"
    else:
        verdict = "reached the end" if event.resource >= state.ladder.top else f"stopped{where}"
    unit = state.ladder.unit.removesuffix("s")
    return f"{unit} {event.resource}: {values}; {verdict}: {event.reason} [{event.rule}]"


def _saved(state: StudyFacts, event: ev.CheckpointSaved) -> str:
    return f"checkpoint of {_resource(state, event.resource)} saved, {size(event.n_bytes)}: {event.path}"


def _removed(state: StudyFacts, event: ev.CheckpointRemoved) -> str:
    return "" if event.reason == "superseded" else f"checkpoint removed: {event.reason} ({event.path})"


def _ended(state: StudyFacts, event: ev.SegmentEnded) -> str:
    ranks = f" on {counted(event.world_size, 'ranks')}" if event.world_size else ""
    text = f"segment {event.segment} ended after {duration(event.wall_s)}{ranks}: {event.outcome}"
    error = first_line(event.error)
    text += f", {error}" if error else ""
    ending = TrialState(event.state)
    is_moved = event.outcome == Outcome.OUT_OF_MEMORY
    limit = batch_limit_text(event.max_per_device_batch)
    more = f", with {devices_text(event.next_allocation)}{f' and {limit}' if limit else ''} next" if is_moved else ""
    trial, full = state.trials[event.trial_id], state.ladder.top
    if ending is TrialState.COMPLETED and ended_early(trial, full):
        early = f"its own code, such as EarlyStopping, ended the training at {trial.resource} of {full}"
        return f"{text}; {early}; the trial is {ending}"
    return f"{text}; the trial is {ending}{more if not ending.is_final else ''}"


def stage_text(state: StudyFacts, event: ev.StagePlanned) -> str:
    """Returns the plan of a stage in words."""
    begin = f"rung {event.reached}" if event.reached else "the beginning"
    return f"stage from {begin}: {event.reason}"


def _stopped(state: StudyFacts, event: ev.TrialStopped) -> str:
    return f"stopped for good: {event.reason} [{Rule.ASKED}]"


def _noted(state: StudyFacts, event: ev.Noted) -> str:
    return f"note: {event.text}"


def _value_noted(state: StudyFacts, event: ev.ValueNoted) -> str:
    return f"noted by the training: {event.key} is {event.value}"


def _tested(state: StudyFacts, event: ev.Tested) -> str:
    by = f" by {event.function}" if event.function else ""
    if event.error:
        return f"its checkpoint was tested{by}: {first_line(event.error)}"
    found = ", ".join(f"{name} {amount(value, '')}" for name, value in event.values.items())
    return f"its checkpoint was tested{by}: {found}"


_TEXT_OF: Mapping[type[ev.Event], Callable[[StudyFacts, Any], str]] = {
    ev.DevicesReserved: _waits,
    ev.SegmentStarted: _started,
    ev.Reported: _reported,
    ev.CheckpointSaved: _saved,
    ev.CheckpointRemoved: _removed,
    ev.SegmentEnded: _ended,
    ev.StagePlanned: stage_text,
    ev.TrialStopped: _stopped,
    ev.Noted: _noted,
    ev.ValueNoted: _value_noted,
    ev.Tested: _tested,
}
"""The text of each event of a trial."""


def _resource(state: StudyFacts, resource: int) -> str:
    return f"{state.ladder.unit.removesuffix('s')} {resource}"


def _allowed(state: StudyFacts, target: int) -> str:
    """Returns how far a trial may train; at a rung, a decision may let it continue, or may end it before."""
    if target >= state.ladder.top:
        return f"may train to the end, {_resource(state, target)}"
    return f"may train to {_resource(state, target)} before the next decision"


def _end(state: StudyFacts, trial: TrialRecord) -> str:
    """Returns a sentence about the trial's current state."""
    if trial.is_replicate and trial.state in (TrialState.COMPLETED, TrialState.PAUSED, TrialState.WAITING):
        is_open = trial.state is not TrialState.COMPLETED
        return "The command `hwtune replicate` continues it." if is_open else "It is fully trained."
    if trial.state is TrialState.COMPLETED:
        better = better_before(state, trial)
        before = (
            f" Its last value counts, though it was better before: {better.text(state.ladder.unit)}." if better else ""
        )
        return f"{_standing(state, trial)}{before}"
    if trial.last is not None and (violated := infeasible_text(state, trial)) and not trial.state.is_final:
        return f"{_next(state, trial)} By its last values it is infeasible: {violated}."
    return _next(state, trial)


def _next(state: StudyFacts, trial: TrialRecord) -> str:
    """Returns a sentence about a trial that is not fully trained."""
    if trial.state is TrialState.FAILED:
        return f"It failed: {first_line(trial.error)}. The whole traceback is in its logs."
    if trial.state is TrialState.OUT_OF_MEMORY:
        return "It ran out of memory on every device count that the search space allows."
    if trial.state is TrialState.STOPPED:
        if trial.stopped_because:
            return f"It was stopped for good: {trial.stopped_because}."
        violated = infeasible_text(state, trial)
        return f"It was stopped for good. It is infeasible: {violated}." if violated else "It was stopped for good."
    if trial.state is TrialState.RUNNING:
        return f"It is training, and {_allowed(state, trial.target)}."
    if trial.trial_id in state.waiting:
        again = repeated_text(state, trial)
        is_trained = trial.last is not None and trial.last.resource >= state.ladder.top
        if is_trained and not again and not trial.is_replicate:
            return "It has trained to the end, but its last segment was interrupted: it starts once more, only to end."
        is_open = state.closed is None
        waits = "waits for devices" if is_open else "waits until the study runs again and devices are free"
        return f"It {waits}, and {_allowed(state, trial.target)}{f'; {again}' if again else ''}."
    if state.closed is not None and state.closed.state == ev.SessionState.FINISHED:
        return "It was not promoted before the study ended. With more trials, the study may still promote it."
    return "It continues if a rung promotes it, or as a finisher."


def _study_notes(state: StudyFacts) -> list[str]:
    """Returns the notes that apply to every trial."""
    notes = [f"  {note.text}" for note in state.notes if note.trial_id is None]
    return ["", "Notes about the whole study:", *notes] if notes else []


def _standing(state: StudyFacts, trial: TrialRecord) -> str:
    """Returns whether a fully trained trial is on the front and, if not, which trials dominate it."""
    objectives = state.spec.objectives
    values = {p.trial.trial_id: p.measurement.values for p in candidates(state, "full")}
    losses = {trial_id: objectives.loss(known) for trial_id, known in values.items()}
    mine = losses.get(trial.trial_id)
    if mine is None or not np.isfinite(mine).all():
        return "It is fully trained, but not on the front, because a value is not finite."
    if violated := infeasible_text(state, trial):
        return f"It is fully trained, but not on the front, because it is infeasible: {violated}."
    better = [i for i, loss in losses.items() if (loss <= mine).all() and (loss < mine).any()]
    if not better:
        return f"It is on the front of {counted(len(losses), 'fully trained trials')}."
    names = ", ".join(str(i) for i in better)
    text = f"It is fully trained but not on the front: dominated by trial{'s' if len(better) > 1 else ''} {names}."
    exact = objectives.exact
    if all((exact.loss(values[i]) <= exact.loss(values[trial.trial_id])).all() for i in better):
        return text
    return f"{text} Values that are closer than the `resolution` of their objective count as equal."
