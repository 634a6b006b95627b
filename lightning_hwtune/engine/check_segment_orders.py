"""The trainings of a check: configurations that the study would try, on its smallest and its largest device count."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_hwtune.core.searchers import History
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.engine.segment_orders import segment_order
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.training.channel import SegmentOrder

__all__ = ["check_configs", "check_segment_order"]

_BATCHES = 2
_DRAWS = 64


def check_configs(spec: StudySpec) -> list[Mapping[str, Any]]:
    """Returns the searcher's first draw for the smallest device count, and for the largest one if they differ.

    If none of the draws has one of these counts, that count gets the first draw with its number of devices replaced.
    """
    history = History([], spec.objectives)
    first = spec.searcher.propose(spec.space, 0, spec.seed, history) or {}
    wanted = sorted({min(spec.allocator.counts), max(spec.allocator.counts)})
    found: dict[int, Mapping[str, Any]] = {}
    for draw in range(_DRAWS):
        if len(found) == len(wanted):
            break
        config = first if draw == 0 else spec.searcher.propose(spec.space, draw, spec.seed, history)
        if config is None:
            break
        count = spec.allocator.first(config).devices
        if count in wanted:
            found.setdefault(count, config)
    for count in wanted:
        if count not in found and spec.space.devices_key is not None:
            config = {**first, spec.space.devices_key: count}
            try:
                found[count] = spec.space.validate(config)
            except ArgumentError:  # the batch size of the first draw is not divisible by this count
                continue
    return [found[count] for count in wanted if count in found] or [first]


def check_segment_order(
    spec: StudySpec, config: Mapping[str, Any], folder: Path, resumes: tuple[int, str] | None = None
) -> SegmentOrder:
    """Returns the order for one segment of a check.

    Args:
        folder: the trial's folder.
        resumes: resource and path of the checkpoint to resume from. The segment is then the trial's second one.
    """
    return segment_order(
        spec,
        trial_id=0,
        segment=1 if resumes is None else 2,
        config=config,
        seed=spec.seed,
        slots=tuple(range(spec.allocator.first(config).devices)),
        folder=folder.resolve(),
        resource=0 if resumes is None else resumes[0],
        checkpoint=None if resumes is None else resumes[1],
        probe_batches=_BATCHES,
    )
