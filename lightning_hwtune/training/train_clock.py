"""The stopwatch over useful training, which a pause must not make run longer.

What a process does once is not what the training takes, and every resumed segment would do it again. So:

- Imports never count. They are measured by `import_times`, wherever they happen.
- `torch.compile` counts in the trial's first segment, and never in a resumed one.
- The first batch of a resumed segment, training and validation alike, counts at most as much as a first batch of an
  epoch usually takes in this trial: the wait for it as the shortest such wait so far; the step on it as the shortest
  such step, or as the median of the segment's other steps if that is more. Where a device tunes its kernels in the
  first step of a process, only steps that were not the first of a process are taken for usual.

A first batch that really is slow stays in: nothing of a trial's first segment is replaced, and a batch that is slow at
the start of every epoch is usual. What does not count here is in the ledger all the same.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final

from lightning_hwtune.training.import_times import compile_s, import_s

__all__ = ["TrainClock"]

_KEPT = 1000  # durations that a median is taken of
_TRAINING, _VALIDATION = "training", "validation"
_PARTS = ("wait", "step")


@dataclass(slots=True)
class _Laps:
    """Seconds of one part of batches, in one segment.

    Attributes:
        first: of the segment's first batch; None before it. epoch_s: the shortest of an epoch's first batch, those
            of the segment's first epoch left out. others: of all other batches, as many as are kept.
        earlier_first_s: the shortest first lap of an earlier segment. earlier_epoch_s: `epoch_s` of those.
    """

    first: float | None = None
    epoch_s: float = math.inf
    others: list[float] = field(default_factory=list)
    earlier_first_s: float = math.inf
    earlier_epoch_s: float = math.inf

    def add(self, seconds: float, is_first_of_epoch: bool) -> None:
        if not is_first_of_epoch:
            if len(self.others) < _KEPT:
                self.others.append(seconds)
        elif self.first is None:
            self.first = seconds
        else:
            self.epoch_s = min(self.epoch_s, seconds)

    @property
    def median_s(self) -> float:
        return statistics.median(self.others) if self.others else 0.0

    def usual_s(self, *, is_step: bool, tunes: bool) -> float:
        """Returns what a first lap usually takes; infinity if nothing is known."""
        known = min(self.epoch_s, self.earlier_epoch_s)
        if not is_step:
            return min(known, self.earlier_first_s)
        if math.isinf(known) and not (tunes and self.others):
            known = self.earlier_first_s
        return max(self.median_s, 0.0 if math.isinf(known) and self.others else known)


@final
class TrainClock:
    """Validation counts; restoring, reporting and saving do not.

    Args:
        is_resumed: whether the segment continues a trial. tunes: whether a device tunes its kernels in a first step.
        now: seconds of a clock that never goes back. imports, compiling: seconds of this thread so far.
    """

    def __init__(
        self,
        *,
        is_resumed: bool = False,
        tunes: bool = False,
        now: Callable[[], float] = time.perf_counter,
        imports: Callable[[], float] = import_s,
        compiling: Callable[[], float] = compile_s,
    ) -> None:
        self._is_resumed, self._tunes = is_resumed, tunes
        self._now, self._imports, self._compiling = now, imports, compiling
        self._total_s = self._returned_s = self._epoch_at = 0.0
        self._since: float | None = None
        self._started_at: float | None = None
        self._left_out_at = 0.0
        self._mark = (now(), self._left_out())
        self._laps = {(stage, part): _Laps() for stage in (_TRAINING, _VALIDATION) for part in _PARTS}
        self._lap: tuple[tuple[str, str], float] | None = None
        self._is_first_of_epoch = False

    # ------------------------------------------------------------------ running

    def start(self, *, at_mark: bool = False) -> None:
        """Lets it run, from now or from the moment of the last `mark`; no effect if it runs."""
        if self._since is None:
            self._since, self._left_out_at = self._mark if at_mark else (self._now(), self._left_out())
        if self._started_at is None:
            self._started_at = self._since

    @property
    def age_s(self) -> float:
        """Seconds since it was started first; 0 before that."""
        return 0.0 if self._started_at is None else self._now() - self._started_at

    def mark(self) -> None:
        """Marks a moment from which it may turn out to have run."""
        self._mark = (self._now(), self._left_out())

    def stop(self) -> None:
        """Lets it stand still; no effect if it stands."""
        self._total_s, self._since = self._elapsed(), None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stands still meanwhile, and then runs on if it ran."""
        ran = self._since is not None
        self.stop()
        try:
            yield
        finally:
            if ran:
                self.start()

    @property
    def seconds(self) -> float:
        """Seconds that count; never less than it returned before."""
        self._returned_s = max(self._returned_s, self._elapsed() - self._excess())
        return self._returned_s

    def _elapsed(self) -> float:
        """Returns the seconds it ran, without imports and, in a resumed segment, without compiling."""
        if self._since is None:
            return self._total_s
        return self._total_s + max(self._now() - self._since - (self._left_out() - self._left_out_at), 0.0)

    def _left_out(self) -> float:
        return self._imports() + (self._compiling() if self._is_resumed else 0.0)

    def _excess(self) -> float:
        """Returns what the first batches of a resumed segment took beyond what is usual."""
        if not self._is_resumed:
            return 0.0
        return sum(
            max(laps.first - laps.usual_s(is_step=part == "step", tunes=self._tunes), 0.0)
            for (_, part), laps in self._laps.items()
            if laps.first is not None
        )

    # ------------------------------------------------------------------ laps

    def epoch_began(self) -> None:
        """A training epoch began; it waits for its first batch."""
        self._epoch_at = self._elapsed()
        self._begin(_TRAINING, "wait", is_first_of_epoch=True)

    def step_began(self) -> None:
        """A training batch is there."""
        self._begin(_TRAINING, "step")

    def step_ended(self) -> None:
        """A training batch is done; the next one may be waited for."""
        self._begin(_TRAINING, "wait")

    def validation_began(self) -> None:
        """A validation began; it waits for its first batch."""
        self._begin(_VALIDATION, "wait", is_first_of_epoch=True)

    def validation_step_began(self) -> None:
        """A validation batch is there."""
        self._begin(_VALIDATION, "step")

    def validation_step_ended(self) -> None:
        """A validation batch is done; the next one may be waited for."""
        self._begin(_VALIDATION, "wait")

    def between(self) -> None:
        """What follows belongs to no batch."""
        self._end(is_whole=False)

    def _begin(self, stage: str, part: str, *, is_first_of_epoch: bool = False) -> None:
        self._end(is_whole=part == "step")
        self._is_first_of_epoch = self._is_first_of_epoch or is_first_of_epoch
        if self._since is not None:
            self._lap = ((stage, part), self._uncompiled())

    def _end(self, *, is_whole: bool) -> None:
        """Ends the present lap. A wait is whole if a batch came, and not if the loader was at its end."""
        if self._lap is None:
            return
        (key, begun), self._lap = self._lap, None
        if key[1] == "step" or is_whole:
            self._laps[key].add(self._uncompiled() - begun, self._is_first_of_epoch)
        if key[1] == "step":
            self._is_first_of_epoch = False

    def _uncompiled(self) -> float:
        return self._elapsed() - (0.0 if self._is_resumed else self._compiling())

    # ------------------------------------------------------------------ what segments tell each other

    def memory(self) -> dict[str, Any]:
        """Returns what later segments of the trial should know, for their checkpoint; plain data."""
        return {
            f"{stage} {part}": (
                min(laps.earlier_first_s, math.inf if laps.first is None else laps.first),
                min(laps.earlier_epoch_s, laps.epoch_s),
            )
            for (stage, part), laps in self._laps.items()
        }

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Takes what an earlier segment left; nothing is known where an older version left nothing."""
        for (stage, part), laps in self._laps.items():
            laps.earlier_first_s, laps.earlier_epoch_s = memory.get(f"{stage} {part}", (math.inf, math.inf))

    # ------------------------------------------------------------------ for a check

    def epoch_s(self, n_training: float, n_validation: float) -> float:
        """Returns the seconds that the present epoch would have taken with so many further batches; NaN if unknown."""
        batch_s = {
            stage: sum(self._laps[stage, part].median_s for part in _PARTS) for stage in (_TRAINING, _VALIDATION)
        }
        more_s = sum(n * batch_s[stage] for stage, n in ((_TRAINING, n_training), (_VALIDATION, n_validation)) if n)
        return self._elapsed() - self._epoch_at + more_s
