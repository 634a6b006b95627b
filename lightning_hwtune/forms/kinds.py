"""Kinds of values: each has a description of the allowed values, and converts such a value to plain Python.

NumPy numbers and 0-dimensional arrays or tensors count as the numbers that they contain. True and False are not
numbers. A float without a fraction, such as 1e3, counts as an integer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, final

from lightning_hwtune.errors import ArgumentError, HwTuneError, nearest, shown
from lightning_hwtune.text import is_line, is_name

__all__ = [
    "LARGEST",
    "Form",
    "Refused",
    "flag",
    "integer",
    "is_masked",
    "is_python_name",
    "number",
    "one_of",
    "optional",
    "or_auto",
    "or_text",
    "or_word",
    "path",
    "plain",
    "ratio",
    "reading",
    "text",
]

LARGEST = 2**53
"""The largest integer allowed for an argument, unless its form sets another; floats represent all up to it exactly."""

_MAX_PATH_BYTES, _MAX_NAME_BYTES = 4096, 255  # Linux limits: for a whole path, and for each name in it
_RATIO = re.compile(r"\d{1,15}(?:\.\d{0,20})?(?:[eE][+-]?\d{1,2})?(?:/\d{1,15})?", re.ASCII)


class Refused(Exception):
    """The value does not have the form; the text is a hint, or empty.

    `word` is the text that is not one of the `names`, if words are allowed: the value itself, or a part of it.
    """

    def __init__(self, hint: str = "", *, word: str = "", names: tuple[str, ...] = ()) -> None:
        super().__init__(hint)
        self.word, self.names = word, names


@final
@dataclass(frozen=True, slots=True)
class Form:
    """The allowed values of one argument.

    Attributes:
        kind: the kind of value in one or two words, for tables in the documentation.
        allowed: the full description for messages, e.g. "a positive integer".
        accept: returns the value as plain Python, or raises `Refused`.
        hint: advice for messages.
        schema: the same as a JSON schema, for editors; it may allow more.
    """

    kind: str
    allowed: str
    accept: Callable[[Any], Any]
    hint: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def read(self, argument: str, value: object) -> Any:
        """Returns the value as plain Python.

        Raises:
            ArgumentError: the value does not have this form.
        """
        try:
            with reading(argument, value, self.allowed):
                return self.accept(value)
        except Refused as refusal:
            near = nearest(refusal.word, refusal.names)
            hint = " ".join(filter(None, (str(refusal), self.hint)))
            raise ArgumentError(argument, value, f"{self.allowed}{near}", hint=hint) from None

    def but(self, allowed: str, hint: str = "") -> Form:
        """Returns the same form with another description."""
        return dataclasses.replace(self, allowed=allowed, hint=hint or self.hint)

    @property
    def may_be_none(self) -> bool:
        """Whether None is allowed."""
        return self.allowed.endswith("or None")


def plain(value: Any) -> Any:
    """Returns the Python value of a NumPy scalar or of a 0-dimensional array or tensor; other values unchanged."""
    np = sys.modules.get("numpy")  # a value of NumPy has imported it; Hydra reads these forms in apps without NumPy
    if np is not None and isinstance(value, np.floating):
        return float(value)
    if np is not None and isinstance(value, np.generic):
        return value.item()
    if hasattr(type(value), "ndim") and hasattr(type(value), "item") and not is_masked(value):
        return value.item() if value.ndim == 0 else value
    return value


def is_masked(value: Any) -> bool:
    """Return whether a value is a masked array of NumPy."""
    np = sys.modules.get("numpy")
    return np is not None and isinstance(value, np.ma.MaskedArray)


@contextlib.contextmanager
def reading(argument: str, value: object, allowed: str) -> Iterator[None]:
    """Turns errors of the value's own code while it is read, such as a failing `__eq__`, into an ArgumentError."""
    try:
        yield
    except (HwTuneError, Refused):
        raise
    except Exception as error:
        hint = f"Reading it raised {type(error).__name__}: {shown(error)}"
        raise ArgumentError(argument, value, allowed, hint=hint) from error


def integer(low: int, high: int = LARGEST) -> Form:
    """Integers from `low` to `high`."""
    usual = {0: "an integer, at least 0", 1: "a positive integer"}
    words = usual.get(low) if high == LARGEST else None

    def accept(value: Any) -> int:
        found = plain(value)
        if isinstance(found, float) and found.is_integer():
            found = int(found)
        if isinstance(found, bool) or not isinstance(found, int) or found < low:
            raise Refused
        if found > high:
            raise Refused("It is above 2**53." if words else "")
        return int(found)

    schema = {"type": "integer", "minimum": low, **({} if high == LARGEST else {"maximum": high})}
    return Form("integer", words or f"an integer from {low} to {high}", accept, schema=schema)


def number(low: float = -math.inf, high: float = math.inf, *, above: bool = False, below: bool = False) -> Form:
    """Finite numbers from `low` to `high`; `above` and `below` exclude the respective end."""
    ends = [f"{'above' if above else 'at least'} {low:g}"] if low > -math.inf else []
    ends += [f"{'below' if below else 'at most'} {high:g}"] if high < math.inf else []

    def accept(value: Any) -> float:
        found = plain(value)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise Refused(_unquoted(found))
        try:
            real = float(found) + 0.0  # turns -0.0 into 0.0: they are equal, but are written differently
        except OverflowError:
            raise Refused("It is too large for a float.") from None
        inside = (low < real if above else low <= real) and (real < high if below else real <= high)
        if not (math.isfinite(real) and inside):
            raise Refused
        return real

    schema: dict[str, Any] = {"type": "number"}
    if low > -math.inf:
        schema["exclusiveMinimum" if above else "minimum"] = low
    if high < math.inf:
        schema["exclusiveMaximum" if below else "maximum"] = high
    allowed = " ".join(["a finite number,", " and ".join(ends)]) if ends else "a finite number"
    return Form("number", allowed, accept, schema=schema)


def _unquoted(value: object) -> str:
    """Returns a hint for a text that is a number; otherwise an empty text."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return f"Write the number without quotes: {float(value):g}."
    return ""


def ratio(low: Fraction, high: Fraction) -> Form:
    """Exact ratios: numbers, or text such as "5/2". A float stands for the decimal number that it prints."""

    def accept(value: Any) -> Fraction:
        found = plain(value)
        if isinstance(found, bool) or not isinstance(found, int | float | str | Fraction):
            raise Refused
        text = found if isinstance(found, str) else repr(found) if isinstance(found, float) else None
        if text is not None and not _RATIO.fullmatch(text):
            raise Refused
        try:
            exact = Fraction(found if text is None else text)
        except (ValueError, ZeroDivisionError):
            raise Refused from None
        if not low <= exact <= high:
            raise Refused
        return exact

    schema = {"type": ["number", "string"], "minimum": float(low), "maximum": float(high)}
    return Form("number or text", f"a number from {float(low):g} to {float(high):g}", accept, schema=schema)


def flag() -> Form:
    """True and False."""

    def accept(value: Any) -> bool:
        found = plain(value)
        if not isinstance(found, bool):
            raise Refused
        return found

    return Form("true or false", "True or False", accept, schema={"type": "boolean"})


def text(allowed: str = "non-empty text", *, may_be_empty: bool = False) -> Form:
    """Text that can be stored and printed."""

    def accept(value: Any) -> str:
        if not isinstance(value, str) or not (value.strip() or (may_be_empty and value == "")):
            raise Refused
        plain_text = str.__str__(value)
        if not is_name(plain_text):
            raise Refused("It must be one line of visible characters, without control characters.")
        return plain_text

    schema = {"type": "string"} if may_be_empty else {"type": "string", "pattern": r"\S"}
    return Form("text", allowed, accept, schema=schema)


def is_python_name(text: str) -> bool:
    """Return whether a text is a dotted Python name."""
    return all(map(str.isidentifier, text.split(".")))


def one_of(*names: str, **renamed: str) -> Form:
    """One of these words; `renamed` maps other words to them."""

    def accept(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused
        if value not in names and value not in renamed:
            raise Refused(word=value, names=(*names, *renamed))
        return renamed.get(value, str.__str__(value))

    words = [*map(repr, names[:-1])]
    allowed = f"{', '.join(words)} or {names[-1]!r}" if words else repr(names[-1])
    return Form("text", allowed, accept, schema={"enum": [*names, *renamed]})


def path() -> Form:
    """Text or a path object that is a valid path in a file system; `~` at its start is the home folder."""

    def accept(value: Any) -> str:
        if not isinstance(value, str | os.PathLike):
            raise Refused
        found = os.fspath(value)
        try:
            names = found.encode() if isinstance(found, str) else None
        except UnicodeEncodeError:
            names = None
        if not names or not str(found).strip() or not is_line(str(found)):
            raise Refused
        if len(names) >= _MAX_PATH_BYTES or max(map(len, names.split(b"/"))) > _MAX_NAME_BYTES:
            raise Refused(f"A folder's name has at most {_MAX_NAME_BYTES} bytes.")
        return os.path.expanduser(str(found))

    allowed = "a folder: text such as 'hwtune', or a pathlib.Path"
    return Form("text", allowed, accept, schema={"type": "string", "pattern": r"\S"})


def optional(form: Form) -> Form:
    """The form, or None."""

    def accept(value: Any) -> Any:
        return None if value is None else form.accept(value)

    schema = {"anyOf": [form.schema, {"type": "null"}]}
    return dataclasses.replace(form, allowed=f"{form.allowed}, or None", accept=accept, schema=schema)


def or_auto(form: Form) -> Form:
    """The form, or the word "auto"."""
    return or_word("auto", form)


def or_text(form: Form) -> Form:
    """The form, or non-empty text, whose meaning depends on other arguments."""
    words = text()

    def accept(value: Any) -> Any:
        return words.accept(value) if isinstance(value, str) else form.accept(value)

    schema = {"anyOf": [form.schema, words.schema]}
    return dataclasses.replace(form, kind=f"{form.kind} or text", accept=accept, schema=schema)


def or_word(word: str, form: Form) -> Form:
    """The form, or this word."""

    def accept(value: Any) -> Any:
        if isinstance(value, str) and value == word:
            return word
        try:
            return form.accept(value)
        except Refused as refusal:
            given = value if isinstance(value, str) else refusal.word
            raise Refused(str(refusal), word=given, names=(word, *refusal.names)) from None

    kind = form.kind if "text" in form.kind else f"{form.kind} or text"
    joint = ", " if form.may_be_none else " or "
    schema = {"anyOf": [{"const": word}, form.schema]}
    return dataclasses.replace(form, kind=kind, allowed=f"{word!r}{joint}{form.allowed}", accept=accept, schema=schema)
