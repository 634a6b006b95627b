"""What one call of the app gives a trial: the value that `main` returned, an error, or an exit.

A metric that is logged is compared by its logged values, both at the rungs and at the end, so that one quantity is
compared everywhere. The value that `main` returns is the measurement only if nothing else is known about a trial. Which
errors count is defined in `training.segment_end`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from lightning_hwtune.apps.hydra.job_callback import AppCall
from lightning_hwtune.apps.script_call import ended_by_exit
from lightning_hwtune.core.objectives import Metric
from lightning_hwtune.errors import ArgumentError, first_line
from lightning_hwtune.training.across_ranks import as_number
from lightning_hwtune.training.channel import Probe, Report
from lightning_hwtune.training.context import ActiveSegment, Hints
from lightning_hwtune.training.quantities import own_quantities
from lightning_hwtune.training.trial import Trial

__all__ = ["Ending"]

_OTHER_VALUE = (
    "To use the best value so far, give the objective `best: true`; to use another value, log it and name it as the "
    "objective"
)
_ROUNDING = 1e-5  # differences from single precision, printing, or another order of averaging
_NOT_FINITE = "in the shortened training of the check the app returned {values}; a trial with such a value ranks last"
_RAISED = (
    "the app failed after the shortened training of the check ({error}), so its return value is checked at the end of "
    "the first trial"
)
_NO_VALUE = (
    "Return it from the function that hydra.main decorates, and raise errors instead of returning nothing. If the app "
    "logs the value, leave main as it is and name the metric: "
    "'hydra.sweeper.hwtune.objectives=[{metric: val_loss, mode: min}]'"
)


@final
@dataclass(frozen=True, slots=True)
class Ending:
    """The rules for the end of the app.

    Attributes:
        names: the objectives that `main` returns, in order.
        is_judged_by_value: True if only the returned value is known about a trial.
        hints: advice in terms of the app's keys.
        best: metrics for which the best value so far counts; a segment does not know that value.
    """

    names: tuple[str, ...]
    is_judged_by_value: bool = False
    hints: Hints = field(default_factory=Hints)
    best: tuple[Metric, ...] = ()

    def guard(self, trial: Trial, segment: ActiveSegment, returned: AppCall, call: Callable[[], None]) -> None:
        """Calls the app, and processes what it returns.

        Raises:
            Exception: the app's own error. An exit with a status other than 0 becomes a TrialError.
        """
        segment.hints = self.hints
        if self.is_judged_by_value:
            trial.manual_reports()
            segment.shortens_fits = True
        try:
            if ended_by_exit("the app", call) and not returned.is_there:
                segment.note("the app called sys.exit, so it returned no value", once_per="study")
        except Exception as error:
            if not segment.has_shortened:
                raise
            self._give_up(segment, error)
            return
        if segment.rank == 0 and segment.failure is None:
            self._take_value(segment, returned)

    def _take_value(self, segment: ActiveSegment, returned: AppCall) -> None:
        """Use what `main` returned: as the measurement if nothing is logged, otherwise only for comparison."""
        has_value = returned.is_there and returned.value is not None
        if segment.order.probe_batches is not None and not self.is_judged_by_value:
            if isinstance(returned.value, tuple | list):  # two batches show only how many values there are
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
        """Report the values of a whole trial or, in a check, the values that a shortened one returns."""
        segment.resource = segment.order.max_resource
        segment.clock.stop()
        probe = None
        if segment.order.probe_batches is not None:
            probe = Probe(tuple(values), math.nan, startup_s=segment.startup_s)
            if not all(map(math.isfinite, values.values())):
                segment.note(_NOT_FINITE.format(values=dict(values)), once_per="study", topic="returned in the check")
        own = {name: share.value for name, share in own_quantities(segment).items()}
        segment.channel.report(Report(segment.resource, {**values, **own}, segment.clock.seconds, probe))

    def _give_up(self, segment: ActiveSegment, error: Exception) -> None:
        """End a check whose app fails after a fit that only the check shortened, because a whole trial may not fail."""
        text = f"{type(error).__name__}: {first_line(str(error))}"
        segment.note(_RAISED.format(error=text), once_per="study", topic="returned in the check")
        if segment.rank == 0:
            self._report(segment, dict.fromkeys(self.names, math.nan))

    def _check_number(self, segment: ActiveSegment, value: Any) -> None:
        """Checks that the app returns as many values as the study has objectives; fails the check otherwise."""
        try:
            self._values(value)
        except ArgumentError as error:
            segment.fail(error)  # counts even if the check paused before
            raise

    def _values(self, value: Any) -> Mapping[str, float]:
        """Returns the objectives' values by name.

        Raises:
            ArgumentError: there are more or fewer values than objectives, or a value is not a number.
        """
        items = list(value) if isinstance(value, tuple | list) else [value]
        numbers = [number for item in items if (number := as_number(item)) is not None]
        if not len(numbers) == len(items) == len(self.names):
            raise ArgumentError("the value that the app returned", value, self.wanted)
        return dict(zip(self.names, numbers, strict=True))

    @property
    def wanted(self) -> str:
        """Description of what the app should return."""
        if len(self.names) == 1:
            return f"one number, {self.names[0]}"
        return f"a tuple of {len(self.names)} numbers: {', '.join(self.names)}"


def _compare(segment: ActiveSegment, returned: Mapping[str, float]) -> None:
    """Add a note (once per study) if the app returns another value than it logs under the objective's name.

    The logged value counts: the rungs compare it, and it is the value of the trial's checkpoint.
    """
    for name, value in returned.items():
        logged = segment.measured.get(name, value)
        is_same = math.isclose(value, logged, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
        if not (is_same or (math.isnan(value) and math.isnan(logged))):
            text = f"the app returned {value:.6g} for {name}, but the last logged value is {logged:.6g} (trial "
            text += f"{segment.order.trial_id}). The logged value counts, because the rungs compare it"
            segment.note(f"{text}. {_OTHER_VALUE}", once_per="study", topic=f"returned {name}")
