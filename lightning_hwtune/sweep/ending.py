"""What one call of the app gives a trial: the value that `main` returned, an error, or an exit.

A metric that is logged counts as logged, at the rungs and at the end: one quantity is compared everywhere. What `main`
returns is the measurement only where nothing else is known of a trial. Which errors count is the rule of
`training.segment_end`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from lightning_hwtune.core.objectives import Metric
from lightning_hwtune.errors import ArgumentError, first_line
from lightning_hwtune.sweep.returned import Returned
from lightning_hwtune.training.across_ranks import as_number
from lightning_hwtune.training.channel import Probe, Report
from lightning_hwtune.training.context import ActiveSegment, Hints
from lightning_hwtune.training.segment_end import interrupt_in
from lightning_hwtune.training.trial import Trial

__all__ = ["Ending"]

_OTHER_VALUE = "For the best value so far give the objective `best: true`; another value has to be logged and named"
_ROUNDING = 1e-5  # single precision, printed or averaged in another order
_NOT_FINITE = "after shortened training the app returned {values}: a trial that returns no finite number ranks last"
_RAISED = (
    "the app failed after training that the check had shortened ({error}), so what it returns is seen at the end of "
    "the first trial"
)
_NO_VALUE = "Let the function under hydra.main return it, and raise what it cannot handle."


@final
@dataclass(frozen=True, slots=True)
class Ending:
    """The rules.

    Attributes:
        names: the objectives that `main` returns, in order.
        is_judged_by_value: True if nothing but the returned value is known of a trial.
        hints: in the words of the app's keys.
        best: the metrics whose best value so far counts; a segment does not know it.
    """

    names: tuple[str, ...]
    is_judged_by_value: bool = False
    hints: Hints = field(default_factory=Hints)
    best: tuple[Metric, ...] = ()

    def guard(self, trial: Trial, segment: ActiveSegment, returned: Returned, call: Callable[[], None]) -> None:
        """Calls the app, and takes what it returns.

        Raises:
            Exception: what the app raised; an exit that is no good end is a RuntimeError.
        """
        segment.hints = self.hints
        if self.is_judged_by_value:
            trial.manual_reports()
            segment.shortens_fits = True
        try:
            call()
        except SystemExit as stop:
            _take_exit(segment, stop, returned)
        except Exception as error:
            if not segment.has_shortened:
                raise
            self._give_up(segment, error)
            return
        if segment.rank == 0 and segment.failure is None:
            self._take_value(segment, returned)

    def _take_value(self, segment: ActiveSegment, returned: Returned) -> None:
        """Take what `main` returned: the measurement where nothing is logged, else only compared with what was."""
        has_value = returned.is_there and returned.value is not None
        if segment.order.probe_batches is not None and not self.is_judged_by_value:
            if isinstance(returned.value, tuple | list):  # their number is all that two batches can tell
                self._check_number(segment, returned.value)
        elif self.is_judged_by_value:
            if not has_value:
                raise ArgumentError("the value that the app returned", None, self.wanted, hint=_NO_VALUE)
            self._report(segment, self._values(returned.value))
        elif has_value and not segment.is_over:
            values = self._values(returned.value)
            best = {metric.name for metric in self.best}
            _compare(segment, {name: value for name, value in values.items() if name not in best})

    def _report(self, segment: ActiveSegment, values: Mapping[str, float]) -> None:
        """Report what a whole trial was worth, or in a check what a shortened one returns."""
        segment.resource = segment.order.max_resource
        segment.clock.stop()
        probe = None
        if segment.order.probe_batches is not None:
            probe = Probe(tuple(values), math.nan, startup_s=segment.startup_s)
            if not all(map(math.isfinite, values.values())):
                segment.note(_NOT_FINITE.format(values=dict(values)), once_per="study", topic="returned in the check")
        segment.channel.report(Report(segment.resource, values, segment.clock.seconds, probe))

    def _give_up(self, segment: ActiveSegment, error: Exception) -> None:
        """End a check whose app fails after a fit that only the check has shortened: a whole trial may not."""
        text = f"{type(error).__name__}: {first_line(str(error))}"
        segment.note(_RAISED.format(error=text), once_per="study", topic="returned in the check")
        if segment.rank == 0:
            self._report(segment, dict.fromkeys(self.names, math.nan))

    def _check_number(self, segment: ActiveSegment, value: Any) -> None:
        """Does nothing if the app returns as many values as the study has objectives; else fails the check."""
        try:
            self._values(value)
        except ArgumentError as error:
            segment.fail(error)  # counts, although a check pauses before
            raise

    def _values(self, value: Any) -> Mapping[str, float]:
        """Returns the objectives' values by name.

        Raises:
            ArgumentError: another number of them, or no numbers.
        """
        items = list(value) if isinstance(value, tuple | list) else [value]
        numbers = [number for item in items if (number := as_number(item)) is not None]
        if not len(numbers) == len(items) == len(self.names):
            raise ArgumentError("the value that the app returned", value, self.wanted)
        return dict(zip(self.names, numbers, strict=True))

    @property
    def wanted(self) -> str:
        """What the app should return, in words."""
        if len(self.names) == 1:
            return f"one number, {self.names[0]}"
        return f"a tuple of {len(self.names)} numbers: {', '.join(self.names)}"


def _compare(segment: ActiveSegment, returned: Mapping[str, float]) -> None:
    """Say once in a study that the app returns another value than it logs under the objective's name.

    The logged one counts: it is what the rungs compare, and what the trial's checkpoint is worth.
    """
    for name, value in returned.items():
        logged = segment.measured.get(name, value)
        is_same = math.isclose(value, logged, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
        if not (is_same or (math.isnan(value) and math.isnan(logged))):
            text = f"the app returned {value:.6g} for {name}, but logged {logged:.6g} last (trial "
            text += f"{segment.order.trial_id}). The logged value counts, because the rungs compare it"
            segment.note(f"{text}. {_OTHER_VALUE}", once_per="study", topic=f"returned {name}")


def _take_exit(segment: ActiveSegment, stop: SystemExit, returned: Returned) -> None:
    """Takes an exit of the app's own: with status 0 it is an end like any other, else an error. Signals go through."""
    if interrupt_in(stop) is not None:
        raise stop
    if stop.code not in (0, None):
        raise RuntimeError(f"the app called sys.exit({stop.code!r})") from stop
    if not returned.is_there:
        segment.note("the app ended by sys.exit: nothing that it returns is known", once_per="study")
