"""Callbacks, loaders and data modules that several trials of one process use, and that a trial has changed.

A script may create such an object once, outside its training function. Then an `EarlyStopping` begins with the count of
the trial before, and a random generator continues where that trial stopped: values depend on the order of the trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.resume.attribute_values import digest, encoded
from lightning_hwtune.training.resume.generators import generator_states

__all__ = ["note_shared"]

_MAX = (10_000, 10 * 1000**2)  # items and bytes of a state that is compared
_first: WeakKeyDictionary[Any, tuple[str, int, dict[str, str]]] = WeakKeyDictionary()


def note_shared(roots: Mapping[str, Any], segment: ActiveSegment) -> None:
    """Notes that an object begins a new trial with the state that another trial left in it.

    Args:
        roots: the objects of the user.
        segment: the first segment of a trial, before its first epoch.
    """
    order = segment.order
    for place, owner in _owners(roots):
        now = _states(place, owner)
        try:
            study, trial_id, before = _first.setdefault(owner, (order.study, order.trial_id, now))
        except TypeError:  # it has no hash or cannot be referenced
            continue
        if (study, trial_id) != (order.study, order.trial_id) and before != now:
            kind = type(owner).__name__
            text = (
                f"a {kind} is used by several trials of this process, and a trial begins with what another one left in "
                "it: values depend on the order of the trials. Create it inside the training function, once per trial"
            )
            segment.note(text, once_per="study", topic=f"shared {kind}")


def _owners(roots: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, callback in roots["callbacks"].items():
        yield f"callbacks.{name}", callback
    for group in ("training", "validation"):
        for i, loader in enumerate(roots[group]):
            yield f"{group}.{i}", loader
    if roots["data"] is not None:
        yield "data", roots["data"]


def _states(place: str, owner: Any) -> dict[str, str]:
    """Returns the digests of an object's random generators, and of the counts of an early stopping."""
    found = {"generators": _digest(generator_states({"": owner}))}
    if place.startswith("callbacks.") and any(base.__name__ == "EarlyStopping" for base in type(owner).__mro__):
        found["state"] = _digest([getattr(owner, name, None) for name in ("wait_count", "stopped_epoch")])
    return found


def _digest(value: Any) -> str:
    try:
        return digest(encoded(value, list(_MAX)))
    except Exception:  # not comparable
        return ""
