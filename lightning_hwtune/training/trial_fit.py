"""Which fit of a training function is the trial's: the first one, or the first one that is marked.

A fit is marked if its Trainer was given the callback: by `trial.fit`, `trial.trainer()`, or `RungCallback()` in a list.
In a function with such a fit, the fits of other Trainers are not the trial's; they are pretraining, for example. This
must be known before the first fit. The check of a new study finds it out, wherever the fit is called, and stores it as
a note in the study's log. Without a check, it is known only if the function's own code contains `trial.fit`.
"""

from __future__ import annotations

import dis
import functools
import inspect
import weakref
from collections.abc import Callable, Iterator
from types import CodeType
from typing import TYPE_CHECKING, Any, final

from lightning_hwtune.errors import ArgumentError

if TYPE_CHECKING:
    from lightning_hwtune.training.context import ActiveSegment

__all__ = ["COUNTED_FIT", "Weights", "calls_fit", "late_fit", "note_pretraining", "unmarked_fits"]

COUNTED_FIT = "the fit that counts"
"""The topic of the note in a study's log which says that only marked fits are the trials'."""

_PRETRAINING = (
    "a fit before the one that reports (trial.fit, or a Trainer with RungCallback()) is treated as a pretraining: it "
    "trains without reports, and again in each segment"
)


def note_pretraining(segment: ActiveSegment) -> None:
    """Send the note that an unmarked fit is not the trial's."""
    segment.note(_PRETRAINING, once_per="study", topic=COUNTED_FIT)


def late_fit() -> ArgumentError:
    """Return the error for a marked fit after an unmarked one that has reported."""
    return ArgumentError(
        "trial.fit", "called after the fit of another Trainer, which has reported", "only one fit that reports",
        hint="If the first fit is a pretraining, give its Trainer callbacks=[hwt.RungCallback(reports=False)]. If the "
        "first fit counts, give its Trainer callbacks=[hwt.RungCallback()], and use a plain Trainer for the later one.",
    )  # fmt: skip


def unmarked_fits() -> ArgumentError:
    """Return the error for two fits of the same weights in a check, if neither is marked as the trial's."""
    return ArgumentError(
        "fit", "called twice for the same weights, with Trainers that are not marked", "a mark on one of the Trainers",
        hint="Otherwise it is unknown which of them is the trial's. If the first fit is a pretraining, give its "
        "Trainer callbacks=[lightning_hwtune.RungCallback(reports=False)]. If the first fit counts, give its Trainer "
        "callbacks=[lightning_hwtune.RungCallback()].",
    )  # fmt: skip


@final
class Weights:
    """The parameters of a module that a fit has trained, without keeping them alive."""

    def __init__(self, module: Any) -> None:
        self._known = {id(parameter): weakref.ref(parameter) for parameter in module.parameters()}

    def are_in(self, module: Any) -> bool:
        """Return whether another module has at least one of these parameters."""
        return any(
            (known := self._known.get(id(parameter))) is not None and known() is parameter
            for parameter in module.parameters()
        )


def calls_fit(train: Callable[..., Any]) -> bool:
    """Return whether a function's own code contains `trial.fit`, whatever the name of its first parameter."""
    function = _plain(train)
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return False
    names = code.co_varnames[: code.co_argcount]
    names = names[1:] if inspect.ismethod(function) else names
    return bool(names) and any(_has_fit(part, names[0]) for part in _parts(code))


def _plain(train: Any) -> Any:
    """Returns the function behind partials, decorators and callable objects."""
    while isinstance(train, functools.partial) or hasattr(train, "__wrapped__"):
        train = train.func if isinstance(train, functools.partial) else train.__wrapped__
    return train if inspect.isroutine(train) else getattr(train, "__call__", train)  # noqa: B004 - the method itself


def _parts(code: CodeType) -> Iterator[CodeType]:
    """Yields a code object and those of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)


def _has_fit(code: CodeType, name: str) -> bool:
    """Return whether the attribute `fit` of the variable `name` is read."""
    before: Any = None
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and instruction.argval == "fit":
            loaded = before.argval if isinstance(before.argval, tuple) else (before.argval,)
            if before.opname.startswith("LOAD_") and loaded[-1] == name:
                return True
        before = instruction
    return False
