"""Events as single lines for people who watch a study: starts, pauses, resumes and ends, but not every epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import RenderableType
from rich.text import Text

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.decisions import Rule, VerdictKind
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.pool import NODE, Pool
from lightning_hwtune.core.pace import Pace
from lightning_hwtune.core.record import FIRST_ERROR, Outcome, TrialState
from lightning_hwtune.core.replication import Replication
from lightning_hwtune.core.schedulers import call_text, scheduler_from_settings
from lightning_hwtune.core.searchers import ParetoPrior
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import first_line
from lightning_hwtune.names.spelling import spelled
from lightning_hwtune.views.amounts import (
    batch_limit_text,
    config_text,
    counted,
    devices_text,
    duration,
    money,
    share,
    size,
    trials_text,
)
from lightning_hwtune.views.forecast import PaceFacts, checked_pace, full_trainings_text, start_ups, time_left_s
from lightning_hwtune.views.front_points import ended_early
from lightning_hwtune.views.infeasible import constraints_text, infeasible_text
from lightning_hwtune.views.ladder import ladder_of
from lightning_hwtune.views.reference import References, report_reference_text
from lightning_hwtune.views.replicates import replicate_counts
from lightning_hwtune.views.status import n_epochs_full, n_epochs_repeated, n_epochs_spent, rung_forecast
from lightning_hwtune.views.story import repeated_text, stage_text, values_text
from lightning_hwtune.views.terminal import rung_table

__all__ = [
    "CHECKING",
    "CHECKING_AGAIN",
    "IMPORTING",
    "CheckFacts",
    "Line",
    "PayloadFacts",
    "announce",
    "checked",
    "forecast",
    "opening",
    "totals",
]

CHECKING = Text("checking the training function on shortened epochs, in separate processes; usually 10 to 30 s ...")
CHECKING_AGAIN = Text(
    "no trial has reported yet, so the training function is checked again, which also gives the forecast ..."
)
IMPORTING = Text("importing the training's libraries before the first trial; usually some seconds ...")
_HEAVY_BYTES = 10_000_000
_SLOW_IMPORT_S = 0.2
_MAX_IMPORTS = 4


class PayloadFacts(Protocol):
    """What is printed about the training function that is sent to the segments; see `engine.payload.Payload`."""

    @property
    def n_bytes(self) -> int: ...
    @property
    def largest(self) -> tuple[str, int] | None: ...


class CheckFacts(PaceFacts, Protocol):
    """What is printed about a check; see `engine.check.Check`."""

    @property
    def num_devices(self) -> int: ...
    @property
    def logged(self) -> tuple[str, ...]: ...
    @property
    def epoch_s(self) -> float: ...
    @property
    def checkpoint_bytes(self) -> int: ...
    @property
    def gpu_bytes(self) -> int: ...
    @property
    def wall_s(self) -> float: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def imports(self) -> tuple[tuple[str, float], ...]: ...


@dataclass(frozen=True, slots=True)
class Line:
    """A line about an event. An urgent line is also printed when the panel is used."""

    text: str
    is_urgent: bool = False


def opening(
    state: StudyState, folder: Path, payload: PayloadFacts | None, *, is_checked: bool, is_over: bool = False
) -> Iterator[RenderableType]:
    """Yields what is printed before anything trains: the folder, the objectives, the limits, the rungs.

    Args:
        is_over: whether nothing is left to train. Then only the folder is printed, and what is missing in it.
    """
    spec = state.spec
    yield Text(f"study {spec.name} in {folder}", style="bold")
    yield from _too_low(state)
    if is_over:
        yield from _missing_checkpoints(state, folder)
        return
    objectives = ", ".join(f"{item.name} ({item.mode})" for item in spec.objectives)
    price = f" at {money(spec.pool.usd_per_device_hour)} an hour each" if spec.pool.usd_per_device_hour else ""
    if spec.pool.has_several_kinds:
        price = f" on {_kinds(spec.pool, has_price=spec.has_price)}"
    elif (instance := spec.pool.instance) is not None and not spec.has_price:
        price = f" on {counted(spec.pool.n_nodes, 'nodes')}"
    elif instance is not None:
        machines = (
            f"one {instance.name}, at"
            if spec.pool.n_nodes == 1
            else f"{spec.pool.n_nodes} nodes ({instance.name}), each at"
        )
        price = f" on {machines} {money(instance.usd_per_hour)} an hour" + (" in all" if spec.pool.n_nodes == 1 else "")
    packed = f", each shared by {counted(state.per_device, 'trials')}" if state.per_device > 1 else ""
    pool = f"{counted(spec.pool.size, f'{spec.pool.accelerator} devices')}{price}{packed}"
    yield Text(f"objectives: {objectives}; {counted(len(spec.space), 'parameters')}; pool of {pool}")
    if bounds := constraints_text(state):
        yield Text(f"constraints: {bounds}")
    if isinstance(spec.searcher, ParetoPrior):
        learned = ", ".join(f"{task.name} ({counted(len(task), 'trials')})" for task in spec.searcher.tasks)
        yield Text(f"prior learned from {learned}")
    yield Text(f"limits: {_limits(state)}")
    if state.is_replicating:
        yield Text(_replication(state))
    elif not spec.has_open_ladder:  # otherwise it is chosen after the check
        yield from _rungs(state)
    if not is_checked and not state.is_replicating:  # otherwise it is printed after the check
        yield from _about_ladder(state)
    yield from _missing_checkpoints(state, folder)
    if not is_checked and not state.trials:
        yield Text("no check and no forecast before the first trial; the time left is printed once a segment has ended")
    if payload is not None and payload.n_bytes > _HEAVY_BYTES:
        largest = f", most of it `{payload.largest[0]}` ({size(payload.largest[1])})" if payload.largest else ""
        text = f"the training function carries {size(payload.n_bytes)}{largest}: every segment loads it again. "
        yield Text(f"{text}Load data inside the function instead.", style="yellow")


def _kinds(pool: Pool, *, has_price: bool) -> str:
    """Returns the kinds of nodes of a pool, in words."""
    found = []
    for kind in pool.kinds:
        name = "" if kind.type.name == NODE else f" ({kind.type.name})"
        price = f", each at {money(kind.type.price(spot=pool.spot))} an hour" if has_price else ""
        found.append(f"{counted(kind.count, 'nodes')} with {counted(kind.n_devices, 'devices')}{name}{price}")
    return "; ".join(found)


def _too_low(state: StudyFacts) -> Iterator[Text]:
    """Yields a note if `max_trials` is below the number of trials that have begun."""
    n_begun, most = len(state.searched), state.limits.max_trials
    if most is not None and n_begun > most and not state.is_replicating:
        text = f"note: `max_trials` is {most}, below the {counted(n_begun, 'trials')} that have begun"
        yield Text(f"{spelled(text)}: no new trial begins", style="yellow")


def _rungs(state: StudyState) -> Iterator[RenderableType]:
    """Yields the rungs with the expected number of trials, if the number of trials is limited."""
    n_trials, n_finishers = state.limits.max_trials, state.limits.n_finishers
    if n_trials is not None:
        yield from rung_table(state.spec.scheduler, n_trials, n_finishers, state.n_first_planned).renderables


def _replication(state: StudyFacts) -> str:
    """Returns what a session trains again."""
    assert state.session is not None
    wanted = Replication.from_dict(state.session.replication)
    of = "trial" if len(wanted.trials) == 1 else "trials"
    names = ", ".join(map(str, wanted.trials))
    if wanted.refit:
        begin = "from scratch" if wanted.refit == "scratch" else "with the weights of its checkpoint"
        return f"refit of trial {wanted.trials[0]}, {begin}"
    return f"replicates: {of} {names}, each with {counted(wanted.seeds, 'seeds')}; {wanted.n_missing(state)} to go"


def _about_ladder(state: StudyState) -> Iterator[Text]:
    """Yields how the ladder was chosen, or what is weak about the user's; only in the session that begins with it."""
    if state.trials or (state.chosen is not None and not _is_chosen_now(state)):
        return
    words, with_first = ladder_of(state.spec, state.limits, state.chosen), state.limits.max_trials is None
    yield from (Text(spelled(line)) for line in words.lines(with_first=with_first))


def _is_chosen_now(state: StudyFacts) -> bool:
    """Return whether the ladder was chosen in the newest session."""
    return state.chosen is not None and state.session is not None and state.chosen.at >= state.session.at


def _missing_checkpoints(state: StudyFacts, folder: Path) -> Iterator[Text]:
    """Yields a note if the folder lacks checkpoints, as after a move to another folder with the log in a database."""
    paths = state.known_checkpoints()
    missing = sum(not (folder / path).exists() for path in paths)
    if missing:
        n_all = counted(len(paths), "checkpoints")
        yield Text(
            f"note: this folder lacks {missing} of the study's {n_all}, which may be where the study was run before. "
            "Copy its `trials` here before you continue. Otherwise, these trials start from scratch if they are "
            "promoted, and the front has no checkpoint for them",
            style="yellow",
        )


def _limits(state: StudyFacts) -> str:
    limits, exist = state.limits, len(state.searched)
    parts = []
    if limits.max_trials is not None:
        to_go = max(limits.max_trials - exist, 0)
        parts.append(f"{counted(limits.max_trials, 'trials')} ({exist} begun, {to_go} to go)")
    if limits.max_time_s is not None:
        parts.append(f"{duration(limits.max_time_s)} in all ({duration(state.wall_s(state.last_at))} used)")
    if limits.max_cost_usd is not None:
        parts.append(f"{money(limits.max_cost_usd)} in all ({money(state.billed_usd(state.last_at))} spent)")
    return ", ".join(parts) or "none"


def checked(state: StudyState, check: CheckFacts) -> Iterator[RenderableType]:
    """Yields the results of the check, and the forecast for the study based on them."""
    devices = counted(check.num_devices, "devices")
    pace = f", {duration(check.epoch_s)} an epoch on {devices}" if math.isfinite(check.epoch_s) else ""
    saved = f", checkpoints of {size(check.checkpoint_bytes)}" if check.checkpoint_bytes else ""
    memory = f", {size(check.gpu_bytes)} of GPU memory per device" if check.gpu_bytes else ""
    yield Text(f"checked in {duration(check.wall_s)}: logs {', '.join(check.logged)}{pace}{saved}{memory}")
    if _is_chosen_now(state):  # otherwise the rungs were printed before the check
        yield from _rungs(state)
    yield from _about_ladder(state)
    yield from forecast(state, checked_pace(check), check.wall_s)
    yield from _slow_start(state, check)
    for note in check.notes:
        yield Text(f"note: {note}")


def forecast(state: StudyState, pace: Pace | None = None, passed_s: float = 0.0) -> Iterator[Text]:
    """Yields how long the rest of the study and the whole study will take; nothing if that is unknown.

    Args:
        pace: as measured by a check that has just ended; None: as measured by the study itself.
        passed_s: the seconds since the newest event, which a check or imports took. They are part of the study's time.
    """
    spent_s = state.wall_s(state.last_at) + passed_s
    left_s = time_left_s(state, state.last_at, pace)
    if state.limits.max_time_s is not None:
        left_s = min(left_s, max(state.limits.max_time_s - spent_s, 0.0))
    if left_s > 0:
        with_check = " with the check" if pace is not None else ""
        whole = f"{duration(spent_s + left_s)} in all{with_check}"
        yield Text(f"forecast: about {duration(left_s)} left on this pool, start-ups of segments included; {whole}")
    if text := full_trainings_text(state, pace, passed_s):
        yield Text(text)


def _slow_start(state: StudyState, check: CheckFacts) -> Iterator[Text]:
    """Yields lines if start-ups take a large part of the study, and if imports take a large part of a start-up."""
    pace = checked_pace(check)
    found = start_ups(state, pace) if pace is not None else None
    if pace is not None and found is not None:
        first_s = pace.epoch_s * state.spec.scheduler.levels[0]
        advice = spelled(_first_rung_advice(state, pace, found.first_rung)) if found.first_rung is not None else ""
        yield Text(
            f"note: a segment takes {duration(pace.startup_s)} to start, longer than the {duration(first_s)} of "
            f"training to the first rung: start-ups will be about {share(found.share, 1.0)} of the study{advice}"
        )
    slow = [(name, seconds) for name, seconds in check.imports if seconds >= _SLOW_IMPORT_S][:_MAX_IMPORTS]
    if slow:
        names = ", ".join(f"{name} {duration(seconds)}" for name, seconds in slow)
        modules = ", ".join(repr(name) for name, _ in slow)
        what = "it" if len(slow) == 1 else "them"
        advice = spelled(f"`preload=[{modules}]` imports {what} once for all segments")
        yield Text(f"note: each segment imports {names}: {advice}")


def _first_rung_advice(state: StudyState, pace: Pace, first_rung: int) -> str:
    """Returns how much a later first rung saves, and how much more training it needs."""
    scheduler, n_trials, n_finishers = state.spec.scheduler, state.limits.max_trials or 0, state.limits.n_finishers
    settings = {**scheduler.settings(), "first_rung": first_rung}
    now = rung_forecast(scheduler, n_trials, n_finishers)["epochs"]
    then = rung_forecast(scheduler_from_settings(settings), n_trials, n_finishers)["epochs"]
    more_s = (then - now) * pace.epoch_s
    return (
        f"; `{call_text(settings)}` halves that share, but trains longer: about {counted(then, scheduler.unit)} "
        f"instead of {now}, {duration(more_s)} more of device time"
    )


def totals(state: StudyFacts, now: float, left_s: float = math.nan) -> str:
    """Returns the study in one line: trials, fully trained ones, time, time left if known, epochs, cost, failures."""
    limits = state.limits
    n_begun, most = len(state.searched), limits.max_trials
    spent, repeated = n_epochs_spent(state), n_epochs_repeated(state)
    again = f", {repeated} repeated" if repeated else ""
    full = n_epochs_full(state) if limits.max_trials is not None else 0
    time_s = duration(state.wall_s(now))
    if limits.max_time_s is not None:
        time_s += f" of {duration(limits.max_time_s)}"
    if state.waits_for_nodes:
        time_s += " so far, waiting for a node"
    elif math.isfinite(left_s):
        time_s += f" so far, about {duration(left_s)} left" if left_s >= 1.0 else " so far, almost done"
    parts = [
        trials_text(n_begun, most),
        f"{state.n_full} fully trained",
        time_s,
    ]
    if state.ladder.top > 1:  # otherwise each trial reports once, at its end, which need not be that of an epoch
        part = f" ({share(spent - repeated, full)} of the {full} for full training)" if full else ""
        parts.append(f"{counted(spent, state.ladder.unit)}{again}{part}")
    if state.spec.has_price:
        parts.append(money(state.billed_usd(now)))
    if n_infeasible := state.n_full - state.n_feasible:
        parts[1] += f" ({n_infeasible} infeasible)"
    if state.n_failed:
        parts.append(f"{state.n_failed} failed")
    if state.is_replicating:
        parts[:2] = [_replicates(state)]
    return " · ".join(parts)


def _replicates(state: StudyFacts) -> str:
    assert state.session is not None
    if (wanted := Replication.from_dict(state.session.replication)).refit:
        return f"{counted(wanted.n_missing(state), 'refits')} to go"
    counts = replicate_counts(state)
    failed = f", {counts['replicates_failed']} failed" if counts["replicates_failed"] else ""
    complete = counted(counts["replicates_complete"], "replicates")
    return f"{complete} complete{failed}, {counts['replicates_to_go']} to go"


def announce(state: StudyFacts, events: Sequence[ev.Event], *, is_asked: bool = False) -> Iterator[Line]:
    """Yields the lines for events that were written together. They are already part of `state`.

    Args:
        is_asked: whether the user's own loop asks for the trials; then the lines advise arguments of `study.ask`.
    """
    created = {event.trial_id: event for event in events if isinstance(event, ev.TrialCreated)}
    for event in events:
        if isinstance(event, ev.SegmentStarted):
            yield _started(state, event, created.get(event.trial_id))
        elif isinstance(event, ev.SegmentEnded):
            line = _ended(state, event, is_asked=is_asked)
            if line is not None:
                yield line
        elif type(event) in _TELL:
            line = _TELL[type(event)](state, event)
            if line is not None:
                yield line


def _started(state: StudyFacts, event: ev.SegmentStarted, created: ev.TrialCreated | None) -> Line:
    devices = devices_text(event.allocation)
    if created is not None and created.replicate_of is not None:
        return Line(f"trial {event.trial_id} starts on {devices}: {created.reason}")
    if created is not None:
        return Line(f"trial {event.trial_id} starts on {devices}: {config_text(created.config)}")
    begun = f"resumes at {_resource(state, event.resource)}" if event.checkpoint else "starts again from scratch"
    return Line(f"trial {event.trial_id} {begun} on {devices}: {event.reason}")


def _reported(state: StudyFacts, event: ev.Reported) -> Line | None:
    if event.verdict == VerdictKind.CONTINUE:
        if event.level is None or event.rule == Rule.CLEARED:
            return None
        verdict = f"continues at rung {event.level}"
    elif event.verdict == VerdictKind.PAUSE:
        verdict = f"pauses at {_resource(state, event.resource)}"
    elif event.rule in (Rule.CONSTRAINT, Rule.ASKED):
        verdict = f"ends at {_resource(state, event.resource)}"
    elif event.resource < state.ladder.top:
        verdict = f"is stopped at rung {event.level}"
    else:
        return None
    values = values_text(state.spec.objectives, event.values) + report_reference_text(state, event)
    return Line(f"trial {event.trial_id} {verdict}: {values}; {event.reason}")


def _ended(state: StudyFacts, event: ev.SegmentEnded, *, is_asked: bool) -> Line | None:
    name, error = f"trial {event.trial_id}", first_line(event.error)
    if event.state == TrialState.COMPLETED:
        trial, full = state.trials[event.trial_id], state.ladder.top
        last = trial.last
        values = f", {values_text(state.spec.objectives, last.values)}" if last else ""
        reached = _resource(state, last.resource) if last and full > 1 else "its end"
        early = f" of {full}, where its own code ended the training" if ended_early(trial, full) else ""
        if trial.num_devices != trial.reference_devices and (seconds_at := References(state).text(trial)):
            values += f"; seconds at {seconds_at}"
        violated = infeasible_text(state, trial)
        values += f"; infeasible: {violated}" if violated else ""
        return Line(f"{name} is complete at {reached}{early}{values}", is_urgent=True)
    if event.state == TrialState.FAILED:
        return Line(f"{name} failed: {error}", is_urgent=True)
    if event.state == TrialState.OUT_OF_MEMORY:
        text = f"{name} runs out of memory on every device count that the search space allows: {error}"
        return Line(text, is_urgent=True)
    if event.state == TrialState.STOPPED:
        return None
    if event.error.startswith(FIRST_ERROR):
        why = first_line(event.error.removeprefix(f"{FIRST_ERROR}:\n"))
        return Line(f"{name} {FIRST_ERROR}: {why}; it starts again when the study is run again", is_urgent=True)
    if event.outcome in (Outcome.INTERRUPTED, Outcome.NODE_LOST):
        return _interrupted(state, event, error, is_asked=is_asked)
    if event.outcome != Outcome.DONE:
        is_moved = event.outcome == Outcome.OUT_OF_MEMORY
        more = f" on {devices_text(event.next_allocation)}{_limited(event)}" if is_moved else ""
        return Line(f"{name} will be retried{more}: {error or event.outcome}", is_urgent=True)
    return None


def _limited(event: ev.SegmentEnded) -> str:
    text = batch_limit_text(event.max_per_device_batch)
    return f", with {text}" if text else ""


def _interrupted(state: StudyFacts, event: ev.SegmentEnded, error: str, *, is_asked: bool) -> Line:
    """Returns a line about where an interrupted trial continues, and what it trains again."""
    trial = state.trials[event.trial_id]
    why = f": {error}" if error else ""
    place = f"continue from {_resource(state, trial.checkpoint.resource)}" if trial.checkpoint else "start from scratch"
    again = repeated_text(state, trial)
    saves = "`study.ask(save_every=1)`" if is_asked else spelled("`save_every=1`")
    more = f"; {again}. {saves} saves each epoch" if again else ""
    return Line(f"trial {trial.trial_id} is interrupted{why}; it will {place}{more}", is_urgent=bool(again))


def _removed(state: StudyFacts, event: ev.CheckpointRemoved) -> Line | None:
    return None if event.reason == "superseded" else Line(f"trial {event.trial_id} lost its checkpoint: {event.reason}")


def _noted(state: StudyFacts, event: ev.Noted) -> Line:
    return Line(event.text if event.trial_id is None else f"trial {event.trial_id}: {event.text}")


def _packed(state: StudyFacts, event: ev.PackingChosen) -> Line:
    return Line(event.reason)


def _staged(state: StudyFacts, event: ev.StagePlanned) -> Line:
    return Line(stage_text(state, event))


def _stopped(state: StudyFacts, event: ev.TrialStopped) -> Line:
    return Line(f"trial {event.trial_id} is stopped for good: {event.reason}", is_urgent=True)


def _closed(state: StudyFacts, event: ev.SessionClosed) -> Line:
    reason = f" ({event.reason})" if event.reason else ""
    return Line(f"study {state.spec.name} is {event.state}{reason}: {totals(state, event.at)}", is_urgent=True)


_TELL: Mapping[type[ev.Event], Callable[[StudyFacts, Any], Line | None]] = {
    ev.Reported: _reported,
    ev.CheckpointRemoved: _removed,
    ev.Noted: _noted,
    ev.PackingChosen: _packed,
    ev.StagePlanned: _staged,
    ev.SessionClosed: _closed,
    ev.TrialStopped: _stopped,
}


def _resource(state: StudyFacts, resource: int) -> str:
    return f"{state.ladder.unit.removesuffix('s')} {resource}"
