"""One report of a segment: the ranks combine their values, rank 0 asks the engine, and all ranks get the same answer.

An error on rank 0 is sent to the other ranks before it is raised, so that none of them waits for a broadcast that never
comes. A value that is missing is missing on every rank.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.errors import MetricError, nearest, shown
from lightning_hwtune.training.across_ranks import CombinedValues, RankValues, Share, as_number, combine
from lightning_hwtune.training.channel import Imported, Probe, Report, VerdictMessage
from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.import_times import new_library_times
from lightning_hwtune.training.process_group import broadcast, gather
from lightning_hwtune.training.quantities import own_quantities

__all__ = ["combined_values", "exchange", "missing_objective", "report_by_hand"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The message that rank 0 sends to the other ranks."""

    kind: str  # the kind of a verdict, or "abort"
    text: str
    standing: tuple[int, int] | None = None
    save: bool = False


def combined_values(segment: ActiveSegment, logged: RankValues) -> CombinedValues:
    """Returns the combined values of all ranks. All ranks must call it, even those that logged nothing."""
    if own := own_quantities(segment):
        logged = dataclasses.replace(logged, shares={**logged.shares, **own})
    with segment.clock.paused():  # the ranks wait for the slowest here
        combined = combine(gather(logged), segment.order.across_ranks)
    if averaged := [name for name in combined.averaged if name in segment.order.metrics]:
        names = ", ".join(map(repr, averaged))
        segment.note(
            f"the ranks have different values of {names}: the study uses their mean, weighted by the samples that "
            "each rank validated. A mean of ratios is not the ratio over the whole set. For exact values, log with "
            "sync_dist=True or a torchmetrics object, or choose another rule with `Metric(..., across_ranks=...)`.",
            once_per="study", topic="mean across ranks",
        )  # fmt: skip
    return combined


def exchange(
    segment: ActiveSegment,
    resource: int,
    values: Mapping[str, float],
    probe: Probe | None = None,
    *,
    is_inside: bool = False,
) -> VerdictMessage:
    """Reports `values` at `resource` from rank 0, with the clock stopped; returns the verdict on every rank.

    Args:
        values: the objectives, and the other numbers that the training has logged.
        is_inside: whether the report comes from inside an epoch, where a trial can be stopped but not paused.

    Raises:
        ConnectionError: the engine is gone, or rank 0 could not report; raised on every rank.
        TrialError: this process is a fork of the process that trains the segment.
    """
    segment.require_this_process()
    segment.clock.stop()
    wanted = {*segment.order.metrics, *segment.order.measured}
    metrics = {name: value for name, value in values.items() if name in wanted}
    report = Report(resource, metrics, segment.clock.seconds, probe, is_inside, _others(values, wanted))
    answer = broadcast(_ask(segment, report) if segment.rank == 0 else Answer("abort", ""))
    if answer.kind == "abort":
        raise ConnectionError(f"rank 0 could not report: {answer.text}")
    verdict = VerdictMessage(VerdictKind(answer.kind), answer.text, answer.standing, answer.save)
    segment.resource, segment.measured = resource, metrics
    if verdict.kind == VerdictKind.CONTINUE:
        segment.clock.start()
    else:
        segment.verdict = verdict
    segment.advance(is_training=True)
    return verdict


def _others(values: Mapping[str, float], wanted: Collection[str]) -> dict[str, float]:
    """Returns the values that are not objectives, each once: Lightning logs "loss" also as "loss_step"."""
    names = [name for name in values if name not in wanted]
    bases = {name: name.removesuffix("_step").removesuffix("_epoch") for name in names}
    return {name: values[name] for name in names if bases[name] == name or bases[name] not in values}


def report_by_hand(segment: ActiveSegment, resource: int, values: Mapping[str, object]) -> VerdictMessage:
    """Reports the values of a training loop that the user wrote; every rank calls it, with or without values.

    Raises:
        MetricError: an objective has no value, or a value that is not a number; raised on every rank.
        ConnectionError: as for `exchange`.
    """
    wanted = segment.order.metrics
    numbers = {name: as_number(value) for name, value in values.items()}
    combined = combined_values(
        segment,
        RankValues(
            shares={name: Share(value) for name, value in numbers.items() if value is not None},
            names=frozenset(values),
            unusable={
                name: shown(values[name])[:80] for name, value in numbers.items() if value is None and name in wanted
            },
        ),
    )
    missing = [name for name in wanted if name not in combined.values]
    if missing:
        raise missing_objective(missing[0], combined, "in this report", "Pass every objective in each report.")
    return exchange(segment, resource, combined.values)


def missing_objective(name: str, combined: CombinedValues, where: str, hint: str) -> MetricError:
    """Returns the error for an objective without a value: what was logged instead, or which names were logged.

    Args:
        where: where it should have been logged, such as "in epoch 3".
    """
    if name in combined.unusable:
        return MetricError(f"the objective {name!r} must be a single number; {combined.unusable[name]} was logged")
    there = ", ".join(map(repr, sorted(combined.names))) or "none"
    if name in combined.older:
        return MetricError(f"the objective {name!r} was logged before, but not {where}; logged names: {there}. {hint}")
    near = nearest(name, combined.names) or "."
    return MetricError(f"the objective {name!r} was never logged; logged names: {there}{near} {hint}")


def _ask(segment: ActiveSegment, report: Report) -> Answer:
    """Returns the engine's answer, or an "abort" with the error."""
    try:
        if segment.order.probe_batches is None and (libraries := new_library_times()):
            segment.channel.send(Imported(libraries))
        verdict = segment.channel.report(report)
    except Exception as error:
        return Answer("abort", f"{type(error).__name__}: {error}")
    return Answer(verdict.kind, verdict.reason, verdict.standing, verdict.save)
