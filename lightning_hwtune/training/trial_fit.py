"""Whether a training function trains with `trial.fit`: then other Trainers' fits in it are not the trial's.

That must be known before the first fit, which may be a pretraining. So it is read from the function's code.
"""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

__all__ = ["calls_fit"]


def calls_fit(train: Callable[..., Any]) -> bool:
    """Return whether a function's own code has `trial.fit`, whatever its first parameter is called."""
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
    """Yields a code and those of the functions inside it."""
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
