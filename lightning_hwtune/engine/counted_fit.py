"""Which fit of a training function counts, as found out by a check.

The first fit counts, unless a later one is marked (see `training.trial_fit`). A segment fails if its first fit was the
wrong one: a marked fit came after it, or its horizon differs from the study's. The check then trains the segment again
and counts only marked fits. A note of that segment stores the result in the study's log.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.check_segment import CheckSegment
from lightning_hwtune.training.channel import SegmentOrder
from lightning_hwtune.training.trial_fit import COUNTED_FIT

__all__ = ["CountedFit"]


@final
@dataclass(slots=True)
class CountedFit:
    """What a check has found out so far: whether only marked fits count."""

    only_marked: bool = False

    def train(self, order: SegmentOrder, train: Callable[[SegmentOrder], CheckSegment]) -> CheckSegment:
        """Train an order, a second time if only marked fits may count; return the first result if both fail."""
        folder = Path(order.trial_dir)
        folder.mkdir(exist_ok=True)
        found = train(replace(order, only_marked_fits=self.only_marked))
        if self.only_marked or _is_good(found) or not any(note.topic == COUNTED_FIT for note in found.notes):
            return found
        shutil.rmtree(folder)
        folder.mkdir()
        again = train(replace(order, only_marked_fits=True))
        self.only_marked = _is_good(again)
        return again if self.only_marked else found


def _is_good(found: CheckSegment) -> bool:
    return bool(found.reports) and found.end is not None and found.end.outcome == Outcome.DONE
