"""One report of a segment: rank 0 asks the engine, and every rank gets the same answer or the same error.

Whatever goes wrong on rank 0 is told to its peers before anything is raised, so that none of them waits for a
broadcast that never comes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lightning_hwtune.errors import MetricError, nearest
from lightning_hwtune.training.channel import Probe, Report, VerdictMessage
from lightning_hwtune.training.context import ActiveSegment

__all__ = ["Answer", "Broadcast", "exchange", "pick_metrics"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What rank 0 tells its peers."""

    kind: str  # a verdict's kind, or "missing" or "abort"
    text: str
    standing: tuple[int, int] | None = None


Broadcast = Callable[[Answer], Answer]
"""Returns rank 0's value on every rank."""


def exchange(
    segment: ActiveSegment,
    resource: int,
    logged: Mapping[str, float],
    broadcast: Broadcast,
    probe: Probe | None = None,
) -> VerdictMessage:
    """Reports `logged` at `resource` from rank 0, with the clock standing still; returns the verdict on every rank.

    Raises:
        MetricError: an objective is not among the values; on every rank.
        ConnectionError: the engine is gone, or rank 0 could not report; on every rank.
    """
    segment.clock.stop()
    answer = _ask(segment, resource, logged, probe) if segment.rank == 0 else Answer("abort", "")
    answer = broadcast(answer)
    if answer.kind == "missing":
        raise MetricError(answer.text)
    if answer.kind == "abort":
        raise ConnectionError(f"rank 0 could not report: {answer.text}")
    verdict = VerdictMessage(answer.kind, answer.text, answer.standing)
    segment.resource = resource
    if verdict.kind == "continue":
        segment.clock.start()
    else:
        segment.verdict = verdict
    segment.advance(is_training=True)
    return verdict


def pick_metrics(wanted: tuple[str, ...], logged: Mapping[str, float]) -> dict[str, float]:
    """Returns the wanted values.

    Raises:
        MetricError: one is missing; the message lists those that exist.
    """
    missing = [name for name in wanted if name not in logged]
    if missing:
        there = ", ".join(repr(name) for name in sorted(logged)) or "none at all"
        raise MetricError(
            f"the objective {missing[0]!r} was never logged; logged are {there}{nearest(missing[0], logged) or '.'} "
            "Log it in the validation (a value logged in the module's own `on_train_epoch_end` comes too late)."
        )
    return {name: float(logged[name]) for name in wanted}


def _ask(segment: ActiveSegment, resource: int, logged: Mapping[str, float], probe: Probe | None) -> Answer:
    """Returns the engine's answer, or what went wrong."""
    try:
        metrics = pick_metrics(segment.order.metrics, logged)
        verdict = segment.channel.report(Report(resource, metrics, segment.clock.seconds, probe))
    except MetricError as error:
        return Answer("missing", str(error))
    except Exception as error:
        return Answer("abort", f"{type(error).__name__}: {error}")
    return Answer(verdict.kind, verdict.reason, verdict.standing)
