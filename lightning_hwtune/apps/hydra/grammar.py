"""Errors of Hydra's parser of overrides, as messages that name the mistake: a misspelt function, nested sweeps."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator

from hydra.errors import HydraException

from lightning_hwtune.errors import ArgumentError, nearest

__all__ = ["FORMS", "naming_mistakes"]

FORMS = (
    "interval(a,b), int(interval(a,b)), range(a,b), choice(a,b), tag(log, interval(a,b)), shuffle(...), "
    'tag("optimizer=sgd", ...) for a condition, or one value'
)
"""The forms of a search, for messages."""

_FUNCTIONS = ("interval", "int", "range", "choice", "tag", "shuffle", "sort", "float", "str", "bool", "glob")
_LOG = "tag(log, interval(a,b))"
_HABITS = {
    **dict.fromkeys(("uniform", "float_range", "real"), "interval(a,b)"),
    **dict.fromkeys(("log", "loguniform", "log_uniform", "logspace", "reciprocal"), _LOG),
    **dict.fromkeys(("randint", "integer", "uniform_int"), "int(interval(a,b))"),
    **dict.fromkeys(("lograndint", "log_int"), "int(tag(log, interval(a,b)))"),
    **dict.fromkeys(("categorical", "grid_search", "grid", "values", "one_of", "list"), "choice(a,b)"),
}
_MAX_LETTERS, _MAX_DEPTH = 20_000, 30


@contextlib.contextmanager
def naming_mistakes(text: str) -> Iterator[None]:
    """Replaces the errors of Hydra's parser while an override is read.

    Raises:
        ArgumentError: the text is not an override; the message names the mistake.
    """
    try:
        _check_size(text)
        yield
    except (HydraException, ValueError, ArithmeticError, RecursionError) as error:
        if isinstance(error, ArgumentError):
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ArgumentError("hydra.sweeper.params", text, FORMS, hint=_hint(reason)) from None


def _check_size(text: str) -> None:
    """Refuses text for which Hydra's recursive parser would take more than a second or two.

    Raises:
        ValueError: the text is too long, or nested too deeply.
    """
    if len(text) > _MAX_LETTERS:
        text = f"an override has at most {_MAX_LETTERS:,} characters; use interval or range instead of a long list"
        raise ValueError(text)
    depths = itertools.accumulate((letter in "([{") - (letter in ")]}") for letter in text)
    if max(depths, default=0) > _MAX_DEPTH:
        raise ValueError(f"lists and mappings are nested more than {_MAX_DEPTH} deep")


def _hint(reason: str) -> str:
    """Returns what to change, given the reason of Hydra's parser."""
    if unknown := re.search(r"Unknown function '(.*)'", reason):
        name = unknown[1]
        form = _HABITS.get(name.lower())
        meant = f"; use {form}" if form else nearest(name.lower(), _FUNCTIONS)
        return f"There is no function {name!r}{meant}{'' if meant.endswith('?') else '.'}"
    if "Set[str]" in reason or "IntervalSweep is incompatible" in reason:  # a sweep where Hydra expects a plain value
        return "An interval, range or choice must be the whole value: not an item of a list or of another one."
    if "empty choice" in reason:
        return "choice() needs at least one option."
    return f"({reason})"
