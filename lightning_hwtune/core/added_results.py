"""Results from elsewhere: what a configuration reached in a training that this study did not run.

They are facts of the log, and searchers see them next to the study's own trials. They never enter a rung, a front or a
count of trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.record import Measurement, TrialRecord, TrialState
from lightning_hwtune.core.searchers.new_configs import config_key
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import integer, plain, reading

__all__ = ["added_record", "checked_result", "is_same_result", "judged_at"]

_NO_TRIAL = -1  # the id of a result that is not a trial


def checked_result(
    spec: StudySpec, config: Mapping[str, Any], values: Mapping[str, float], resource: int, now: float
) -> ev.ResultAdded:
    """Returns the event that records a result.

    Raises:
        ArgumentError: the configuration is not in the space, an objective has no number, or trials are not judged at
            this resource or before.
    """
    first, top = spec.scheduler.ladder.levels[0], spec.scheduler.ladder.top
    unit = spec.scheduler.ladder.unit
    resource = integer(first, top).but(f"{unit} from {first}, the first rung, to {top}").read("resource", resource)
    checked, numbers = spec.space.validate(config), {}
    names = spec.objectives.names
    allowed = f"a mapping with a number for each objective: {', '.join(names)}"
    with reading("values", values, allowed):
        if not isinstance(values, Mapping) or any(name not in values for name in names):
            raise ArgumentError("values", values, allowed)
        known = [name for name in spec.objectives.recorded if name in values]  # constraints may be missing
        for name in known:
            value = plain(values[name])
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ArgumentError(f"values[{name!r}]", values[name], "a number; NaN if the training diverged")
            numbers[name] = float(value)
    return ev.ResultAdded(at=now, config=checked, values=numbers, resource=resource)


def added_record(event: ev.ResultAdded, levels: Sequence[int]) -> TrialRecord:
    """Returns a result as a trial that the highest level up to its resource has judged."""
    seconds = event.values.get("train_s", 0.0)
    return TrialRecord(
        trial_id=_NO_TRIAL,
        config=event.config,
        seed=0,
        bracket=0,
        target=event.resource,
        created_at=event.at,
        state=TrialState.COMPLETED,
        measurements=[Measurement(event.resource, event.values, seconds, event.values.get("device_s", seconds))],
        decided=judged_at(event.resource, levels),
    )


def judged_at(resource: int, levels: Sequence[int]) -> dict[int, str]:
    """Returns the level at which a result up to this resource counts as judged."""
    return {max((level for level in levels if level <= resource), default=levels[0]): "added"}


def is_same_result(known: TrialRecord, new: ev.ResultAdded) -> bool:
    """Returns whether a result is known already."""
    (last,) = known.measurements
    texts = [config_key(config) for config in (known.config, new.config)]
    same_values = config_key(last.values) == config_key(new.values)  # NaN equals NaN here
    return last.resource == new.resource and texts[0] == texts[1] and same_values
