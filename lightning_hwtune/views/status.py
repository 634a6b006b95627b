"""The progress of a study in numbers, and a forecast of what a study will take before it begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning_hwtune.core.decisions import Rule
from lightning_hwtune.core.events import SessionState
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import FIRST_ERROR, TrialState
from lightning_hwtune.core.schedulers import Scheduler
from lightning_hwtune.views.forecast import TimeLeft
from lightning_hwtune.views.front_points import candidates, front_points
from lightning_hwtune.views.infeasible import least_text
from lightning_hwtune.views.ledger import idle_and_launch_usd, useful_usd
from lightning_hwtune.views.replicates import replicate_counts
from lightning_hwtune.views.tables import PROMOTED, n_retries, rung_words_of

__all__ = [
    "n_epochs_full",
    "n_epochs_repeated",
    "n_epochs_spent",
    "n_promotions",
    "rung_forecast",
    "status_entry",
    "study_state",
]

_UNKNOWN = TimeLeft()


def status_entry(
    state: StudyFacts, now: float, checkpoints_bytes: int, *, is_driven: bool = True, left: TimeLeft = _UNKNOWN
) -> dict[str, Any]:
    """Returns the progress of the study.

    Args:
        now: seconds since the Unix epoch, as in the log.
        checkpoints_bytes: total size of its checkpoint files on disk.
        is_driven: False if it is known that no process runs the study; its clock then stands still.
        left: forecast of the seconds until the study ends.

    Returns:
        state: "running", or how its last session ended ("finished", "paused", "interrupted", "failed").
        ladder: how the first rung and the first trials were chosen; "" if the user gave the ladder.
        reports_once: whether a trial reports only its end. The tables for people then count no epochs.
        epochs_spent: number of epochs (or steps, or samples: `unit`) that were trained, including repeated work.
        epochs_repeated: how many of these were trained again, because an interruption or an error had lost them.
        epochs_full: number that full training of all trials takes: of `max_trials`, or of the existing ones without it.
        promotions: how often a rung promoted a trial, at once or later. Trials that pass a rung without a decision do
            not count: the first trials, which train to the end without a pause, and finishers.
        promotions_at_once: how many of these trials continued without a pause, so that no segment resumed.
        resumed_segments: segments that began from a checkpoint.
        resumed_by: how many of these began for which reason: "promotion", "finisher", "devices" (the trial continued on
            other devices) or "interruption" (also after an error, a limit, or the end of a session).
        max_ranks_seen: the largest number of ranks that a segment had.
        failed: failed trials. failed_first: trials that failed before the study's first report, which ended the study;
            they do not count as failed, and start again when it is continued.
        retried: segments that were repeated because they ended with an error.
        time_left_s: forecast of the seconds until the study ends; None if it is not running or that is unknown.
        time_left_range_s: the range in which they are with a probability of 80 %, by the spread of the simulations that
            the forecast is made from; None without a forecast, and if it is not made from simulations.
        waits_for: only if nothing can train: "a node", if none of the nodes that come and go is ready.
        wall_s: time during which the study was run.
        device_s, cost_usd: the ledger, including start-ups and lost work; `cost_usd` is None without a price.
        idle_and_launch_usd: only if nodes were paid for: the part of `cost_usd` in which their devices ran no segment.
        useful_device_s, useful_cost_usd: the part of the ledger that led to measurements.
        reserved_devices: devices reserved for a waiting trial that needs more than are free; 0 if no trial waits.
        fully_trained: completed trials.
        front_size: completed trials that no other one dominates.
        added_results: results from elsewhere, from which searchers learn; none of them is a trial.
        replicates, replicates_complete, replicates_failed, replicates_to_go: only if the study has replicates; see
            `views.replicates.replicate_counts`. They count in no number of trials or epochs, but in the ledger.
        infeasible: only with constraints: trials whose last values violate one. infeasible_full: the fully trained ones
            among them. infeasible_least: which has the least violation, and its amount; "" if none is infeasible.
    """
    clock = now if is_driven else state.last_at
    has_price = state.spec.has_price
    has_forecast = is_driven and _has_forecast(state, left.left_s)
    useful_device_s = sum(trial.last.device_s for trial in state.trials if trial.last is not None)
    return {
        "study": state.spec.name,
        "state": study_state(state, is_driven),
        "reason": _reason(state, is_driven),
        "trials": len(state.searched),
        "max_trials": state.limits.max_trials,
        "ladder": state.chosen.reason if state.chosen is not None else "",
        "trials_by_state": {name.value: sum(trial.state is name for trial in state.searched) for name in TrialState},
        "unit": state.ladder.unit,
        "reports_once": state.ladder.top == 1,
        "epochs_spent": n_epochs_spent(state),
        "epochs_repeated": n_epochs_repeated(state),
        "epochs_full": n_epochs_full(state),
        "segments": len(state.segments),
        "running_segments": len(state.running),
        "promotions": n_promotions(state),
        "promotions_at_once": n_promotions(state) - _n_promotions_resumed(state),
        "resumed_by": _resumed_by(state),
        "resumed_segments": sum(segment.resource > 0 for segment in state.segments),
        "max_ranks_seen": max((segment.world_size for segment in state.segments), default=0),
        "failed": state.n_failed,
        "failed_first": [
            trial.trial_id
            for trial in state.searched
            if trial.error.startswith(FIRST_ERROR) and not trial.state.is_final and not trial.measurements
        ],
        "retried": sum(n_retries(state).values()),
        "checkpoints_bytes": checkpoints_bytes,
        "wall_s": state.wall_s(clock),
        "time_left_s": left.left_s if has_forecast else None,
        "time_left_range_s": list(left.range_s) if has_forecast and left.range_s else None,
        **({"waits_for": "a node"} if is_driven and state.waits_for_nodes else {}),
        "device_s": _device_s(state, clock),
        "useful_device_s": useful_device_s,
        "cost_usd": state.billed_usd(clock) if has_price else None,
        "useful_cost_usd": useful_usd(state) if has_price else None,
        **({"idle_and_launch_usd": idle_and_launch_usd(state, clock)} if state.nodes else {}),
        "fully_trained": state.n_full,
        "finishers": state.limits.finishers,
        "front_size": len(front_points(state)),
        **_infeasible(state),
        "added_results": len(state.added),
        **replicate_counts(state),
        "reserved_devices": state.reserved.num_devices if is_driven and state.running and state.reserved else 0,
    }


def _has_forecast(state: StudyFacts, left_s: float) -> bool:
    return state.closed is None and math.isfinite(left_s) and not state.waits_for_nodes


def _infeasible(state: StudyFacts) -> dict[str, Any]:
    """Returns the numbers of infeasible trials of a study with constraints."""
    if not state.spec.objectives.is_constrained:
        return {}
    n_trials = sum(state.violation(trial) > 0 for trial in state.searched)
    least = least_text(state, candidates(state, "any"))
    return {"infeasible": n_trials, "infeasible_full": state.n_full - state.n_feasible, "infeasible_least": least}


def study_state(state: StudyFacts, is_driven: bool) -> str:
    """Returns "running", or how the last session ended."""
    if state.closed is not None:
        return state.closed.state
    return "running" if is_driven else SessionState.INTERRUPTED


def _reason(state: StudyFacts, is_driven: bool) -> str:
    """Returns why the last session ended; empty while it runs."""
    if state.closed is not None:
        return state.closed.reason
    return "" if is_driven else "its process was killed, or the machine stopped"


def _device_s(state: StudyFacts, now: float) -> float:
    """Returns the device-seconds of the ledger: ended segments as billed, running ones until now."""
    return sum(segment.share * state.segment_s(segment, now) for segment in state.segments)


def n_epochs_spent(state: StudyFacts) -> int:
    """Returns how many epochs (or steps, or samples) the search has trained, including repeated work."""
    return sum(segment.epochs for segment in state.segments if not state.trials[segment.trial_id].is_replicate)


def n_epochs_repeated(state: StudyFacts) -> int:
    """Returns how many of these epochs were trained again, because an interruption or an error had lost them."""
    reached: dict[int, int] = {}
    for segment in state.segments:
        reached[segment.trial_id] = max(reached.get(segment.trial_id, 0), segment.reached)
    new = sum(count for trial_id, count in reached.items() if not state.trials[trial_id].is_replicate)
    return n_epochs_spent(state) - new


def n_epochs_full(state: StudyFacts) -> int:
    """Returns how many epochs full training of all trials takes, including those that `max_trials` still allows."""
    return max(state.limits.max_trials or 0, len(state.searched)) * state.ladder.top


def n_promotions(state: StudyFacts) -> int:
    """Returns how often a rung promoted a trial."""
    return sum(word == PROMOTED for words in rung_words_of(state) for word in words.values())


def _n_promotions_resumed(state: StudyFacts) -> int:
    """Returns how many promoted trials waited at their rung, and resumed from it."""
    resumed = {(segment.trial_id, segment.promoted_from) for segment in state.segments}
    words = enumerate(rung_words_of(state))
    return sum(word == PROMOTED and (i, level) in resumed for i, found in words for level, word in found.items())


def _resumed_by(state: StudyFacts) -> dict[str, int]:
    reasons: dict[str, str] = {Rule.FINISHER: "finisher", Rule.SURVIVOR: "finisher", Rule.DEVICES: "devices"}
    found = dict.fromkeys(("promotion", "finisher", "devices", "interruption"), 0)
    for segment in state.segments:
        if segment.resource > 0:
            usual = "promotion" if segment.promoted_from is not None else "interruption"
            found[reasons.get(segment.rule, usual)] += 1
    return found


def rung_forecast(scheduler: Scheduler, n_trials: int, finishers: int = 0, to_end: int = 0) -> Mapping[str, Any]:
    """Returns what `n_trials` trials are expected to take, calculated from the rungs.

    Args:
        finishers: number of fully trained trials that the study should end with, apart from the first trials. If the
            rungs give fewer, the missing ones are taken from the highest rung that still has trials, and are trained to
            the end from there.
        to_end: number of first trials that train to the end without a pause. They are expected to be among the promoted
            ones as often as others.

    Returns:
        rungs: for every level, ascending, `{rung, trials, finishers}`: how many trials train to this level, and how
            many of those that stayed there are trained to the end later.
        bound: how these numbers relate to the real ones: "at least", "at most", "about", or "" if they are exact.
            Failed trials, trials that end early, and repeated work are not taken into account.
        to_end: number of first trials that train to the end without a pause.
        epochs: total number, including finishers.
        epochs_full: number for full training of all trials.
        fully_trained: number of fully trained trials at the end.
    """
    top, to_end = scheduler.max_resource, min(to_end, n_trials)
    expected = [(level, n + _n_not_promoted(to_end, n, n_trials)) for level, n in scheduler.expected(n_trials)]
    staying = [n - after for (_, n), (_, after) in zip(expected, [*expected[1:], (top, 0)], strict=True)]
    epochs = sum(n * (level - below) for (level, n), (below, _) in zip(expected, [(0, 0), *expected], strict=False))
    n_full = expected[-1][1]
    due, taken = max(min(finishers, n_trials - to_end) - (n_full - to_end), 0), []
    for (level, _), n_staying in reversed(list(zip(expected[:-1], staying[:-1], strict=True))):
        taken.append(min(due, n_staying))
        due -= taken[-1]
        epochs += taken[-1] * (top - level)
    counts = [*reversed(taken), 0]
    return {
        "unit": scheduler.unit,
        "trials": n_trials,
        "rungs": [{"rung": level, "trials": n, "finishers": k} for (level, n), k in zip(expected, counts, strict=True)],
        "to_end": to_end,
        "bound": "" if epochs == n_trials * top and scheduler.bound == "at least" else scheduler.bound,
        "epochs": epochs,
        "epochs_full": n_trials * top,
        "fully_trained": n_full + sum(counts),
    }


def _n_not_promoted(to_end: int, n_expected: int, n_trials: int) -> int:
    """Returns how many of the first trials train to a level that `n_expected` of all trials are expected to reach."""
    return round(to_end * (1 - n_expected / n_trials)) if n_trials else 0
