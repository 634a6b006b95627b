"""The time after which a segment that is alive but makes no progress is ended.

Progress is a training batch, a validation batch, a report or a saved checkpoint. The default limit applies from the
first training batch or report of a segment, because a download or a compilation may take any time. After that, a
period without progress may last 30 minutes, or ten times the slowest period of the same trial if that is longer.
"""

from __future__ import annotations

from typing import final

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.names.spelling import spelled

__all__ = ["AUTO", "HangLimit"]

AUTO = "auto"
_LEAST_S = 30 * 60.0
_TIMES_SLOWEST = 10


@final
class HangLimit:
    """The limit of one executor.

    Args:
        timeout_s: "auto" for the default above; a number of seconds, which also applies before the first batch; or
            None for no limit.

    Raises:
        ArgumentError: `timeout_s` is anything else.
    """

    def __init__(self, timeout_s: float | str | None = AUTO) -> None:
        is_number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool) and timeout_s > 0
        if timeout_s is not None and timeout_s != AUTO and not is_number:
            raise ArgumentError("hang_timeout", timeout_s, "a positive number of seconds, 'auto', or None for no limit")
        self._timeout_s = timeout_s
        self._slowest_s: dict[int, float] = {}

    def progressed(self, trial_id: int, stretch_s: float) -> None:
        """Records that a segment of this trial made progress after `stretch_s` seconds without any."""
        self._slowest_s[trial_id] = max(self.slowest_s(trial_id), stretch_s)

    def slowest_s(self, trial_id: int) -> float:
        """Returns the longest time between two steps of progress of this trial; 0 before the first."""
        return self._slowest_s.get(trial_id, 0.0)

    def limit_s(self, trial_id: int, has_trained: bool) -> float | None:
        """Returns for how many seconds a segment may make no progress; None for no limit.

        Args:
            has_trained: whether this segment has trained a batch or reported.
        """
        if not isinstance(self._timeout_s, str):
            return self._timeout_s
        return max(_LEAST_S, _TIMES_SLOWEST * self.slowest_s(trial_id)) if has_trained else None

    def text(self, trial_id: int, rank: int, still_s: float) -> str:
        """Returns the message for a segment that is ended, with the measured times."""
        text = f"rank {rank} made no progress for {_time(still_s)}"
        if not isinstance(self._timeout_s, str):
            return spelled(f"{text}; `hang_timeout` is {_time(self._timeout_s or 0.0)}")
        slowest_s = self.slowest_s(trial_id)
        return spelled(
            f"{text}; its longest earlier period without progress was {_time(slowest_s)}, and the limit is ten times "
            f"that, but at least {_time(_LEAST_S)} (`hang_timeout='auto'`)"
        )


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.0f} min"
