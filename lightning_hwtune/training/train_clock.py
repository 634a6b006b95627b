"""The stopwatch of useful training time, which a pause must not increase.

Work that a process does once is not part of the training, and every resumed segment would do it again. So:

- Imports never count. `import_times` measures them, wherever they happen.
- `torch.compile` counts in the trial's first segment, and never in a resumed one.
- The first batch of a resumed segment, both in training and in validation, counts at most as long as the first batch of
  an epoch usually takes in this trial. The usual wait for it is the shortest such wait so far. The usual step on it is
  the shortest such step, or the median of the segment's other steps if that is longer. If a device tunes its kernels in
  the first step of a process, only steps that were not the first of a process are considered usual.

Slow batches that belong to the training count in full. In a trial's first segment, every batch counts as it was
measured. If the first batch of every epoch is slow, then its usual time is long. Time that does not count here is still
part of the study's cost.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final

from lightning_hwtune.training.energy import EnergyMeter
from lightning_hwtune.training.import_times import compile_s, import_s

__all__ = ["TrainClock"]

_KEPT = 1000  # the largest number of durations of which the median is taken
_TRAINING, _VALIDATION = "training", "validation"
_PARTS = ("wait", "step")


@dataclass(slots=True)
class _Laps:
    """The seconds of one part (wait or step) of the batches of one segment.

    Attributes:
        first: the seconds of the segment's first batch; None before it.
        epoch_s: the shortest seconds of an epoch's first batch, without the segment's first epoch.
        others: the seconds of the other batches, up to a limit.
        earlier_first_s: the shortest `first` of an earlier segment.
        earlier_epoch_s: the shortest `epoch_s` of an earlier segment.
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
        """Returns the usual seconds of a first batch; infinity if nothing is known."""
        known = min(self.epoch_s, self.earlier_epoch_s)
        if not is_step:
            return min(known, self.earlier_first_s)
        if math.isinf(known) and not (tunes and self.others):
            known = self.earlier_first_s
        return max(self.median_s, 0.0 if math.isinf(known) and self.others else known)


@final
class TrainClock:
    """Measures training and validation; restoring, reporting and saving do not count.

    Args:
        is_resumed: whether the segment continues a trial.
        tunes: whether the device tunes its kernels in the first step of a process.
        now: the seconds of a monotonic clock.
        imports: the seconds that this thread has spent on imports so far.
        compiling: the seconds that compilation has taken so far.
        meter: counts energy while the clock runs; None for no meter.
    """

    def __init__(
        self,
        *,
        is_resumed: bool = False,
        tunes: bool = False,
        now: Callable[[], float] = time.perf_counter,
        imports: Callable[[], float] = import_s,
        compiling: Callable[[], float] = compile_s,
        meter: EnergyMeter | None = None,
    ) -> None:
        self._is_resumed, self._tunes, self._meter = is_resumed, tunes, meter
        self._now, self._imports, self._compiling = now, imports, compiling
        self._total_s = self._returned_s = self._epoch_at = 0.0
        self._since: float | None = None
        self._started_at: float | None = None
        self._left_out_at = 0.0
        self._mark = (now(), self._left_out())
        self._laps = {(stage, part): _Laps() for stage in (_TRAINING, _VALIDATION) for part in _PARTS}
        self._lap: tuple[tuple[str, str], float] | None = None
        self._is_first_of_epoch = False

    # ------------------------------------------------------------------ start and stop

    def start(self, *, at_mark: bool = False) -> None:
        """Starts the clock, now or at the time of the last `mark`; no effect if it is running."""
        if self._since is None:
            if self._meter is not None:
                self._meter.start()
            self._since, self._left_out_at = self._mark if at_mark else (self._now(), self._left_out())
        if self._started_at is None:
            self._started_at = self._since

    @property
    def age_s(self) -> float:
        """Seconds since the first start; 0 before that."""
        return 0.0 if self._started_at is None else self._now() - self._started_at

    def mark(self) -> None:
        """Stores the current time, so that a later `start(at_mark=True)` can start the clock there."""
        self._mark = (self._now(), self._left_out())

    def stop(self) -> None:
        """Stops the clock; no effect if it is stopped."""
        self._total_s, self._since = self._elapsed(), None
        if self._meter is not None:
            self._meter.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stops the clock inside the block; starts it again afterwards if it was running."""
        ran = self._since is not None
        self.stop()
        try:
            yield
        finally:
            if ran:
                self.start()

    @property
    def seconds(self) -> float:
        """The seconds that count; the value never decreases."""
        self._returned_s = max(self._returned_s, self._elapsed() - self._excess())
        return self._returned_s

    def _elapsed(self) -> float:
        """Returns the seconds that the clock ran, without imports and, in a resumed segment, without compilation."""
        if self._since is None:
            return self._total_s
        return self._total_s + max(self._now() - self._since - (self._left_out() - self._left_out_at), 0.0)

    def _left_out(self) -> float:
        return self._imports() + (self._compiling() if self._is_resumed else 0.0)

    def _excess(self) -> float:
        """Returns by how many seconds the first batches of a resumed segment exceeded their usual time."""
        if not self._is_resumed:
            return 0.0
        return sum(
            max(laps.first - laps.usual_s(is_step=part == "step", tunes=self._tunes), 0.0)
            for (_, part), laps in self._laps.items()
            if laps.first is not None
        )

    # ------------------------------------------------------------------ laps

    def epoch_began(self) -> None:
        """A training epoch began and waits for its first batch."""
        self._epoch_at = self._elapsed()
        self._begin(_TRAINING, "wait", is_first_of_epoch=True)

    def step_began(self) -> None:
        """A training batch has arrived."""
        self._begin(_TRAINING, "step")

    def step_ended(self) -> None:
        """A training batch is done; the wait for the next one begins."""
        self._begin(_TRAINING, "wait")

    def validation_began(self) -> None:
        """A validation began and waits for its first batch."""
        self._begin(_VALIDATION, "wait", is_first_of_epoch=True)

    def validation_step_began(self) -> None:
        """A validation batch has arrived."""
        self._begin(_VALIDATION, "step")

    def validation_step_ended(self) -> None:
        """A validation batch is done; the wait for the next one begins."""
        self._begin(_VALIDATION, "wait")

    def between(self) -> None:
        """The time that follows does not belong to a batch."""
        self._end(is_whole=False)

    def _begin(self, stage: str, part: str, *, is_first_of_epoch: bool = False) -> None:
        self._end(is_whole=part == "step")
        self._is_first_of_epoch = self._is_first_of_epoch or is_first_of_epoch
        if self._since is not None:
            self._lap = ((stage, part), self._uncompiled())

    def _end(self, *, is_whole: bool) -> None:
        """Ends the current lap. A wait counts only if a batch arrived, not if the loader was at its end."""
        if self._lap is None:
            return
        (key, begun), self._lap = self._lap, None
        if key[1] == "step" or is_whole:
            self._laps[key].add(self._uncompiled() - begun, self._is_first_of_epoch)
        if key[1] == "step":
            self._is_first_of_epoch = False

    def _uncompiled(self) -> float:
        return self._elapsed() - (0.0 if self._is_resumed else self._compiling())

    # ------------------------------------------------------------------ state over segments

    def memory(self) -> dict[str, Any]:
        """Returns the data that later segments of the trial need, for the checkpoint; plain values."""
        return {
            f"{stage} {part}": (
                min(laps.earlier_first_s, math.inf if laps.first is None else laps.first),
                min(laps.earlier_epoch_s, laps.epoch_s),
            )
            for (stage, part), laps in self._laps.items()
        }

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Restores the data of an earlier segment; a checkpoint of an older version may have none."""
        for (stage, part), laps in self._laps.items():
            laps.earlier_first_s, laps.earlier_epoch_s = memory.get(f"{stage} {part}", (math.inf, math.inf))

    # ------------------------------------------------------------------ for a check

    def batches_s(self) -> tuple[float, ...]:
        """Returns the seconds of each training batch with the wait for it, without the first of each epoch."""
        waits, steps = (self._laps[_TRAINING, part].others for part in _PARTS)
        return tuple(wait + step for wait, step in zip(waits, steps, strict=False))

    def epoch_s(self, n_training: float, n_validation: float) -> float:
        """Returns the seconds of the current epoch if it had this many further batches; NaN if unknown."""
        batch_s = {
            stage: sum(self._laps[stage, part].median_s for part in _PARTS) for stage in (_TRAINING, _VALIDATION)
        }
        more_s = sum(n * batch_s[stage] for stage, n in ((_TRAINING, n_training), (_VALIDATION, n_validation)) if n)
        return self._elapsed() - self._epoch_at + more_s
