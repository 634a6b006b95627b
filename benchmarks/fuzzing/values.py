"""Values of all kinds, and what each kind of argument may be.

The predicates define the meaning of an argument independently. They share nothing with the package, so that an error in
its table of forms does not become an error of the rule that tests it.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import io
import itertools
import math
import random
import re
from collections import UserString
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "LARGEST",
    "Kind",
    "choice_options",
    "flag",
    "hostile",
    "integer",
    "is_option",
    "json_value",
    "named",
    "number",
    "one_of",
    "option_identity",
    "optional",
    "plain",
]

LARGEST = 2**53
"""Larger integers are nonsense everywhere: floats, databases and people lose count."""

Random = random.Random


class Kind:
    """One kind of argument: how to draw a sensible value, and whether a given value is sensible."""

    def __init__(self, draw: Callable[[Random], Any], is_sensible: Callable[[Any], bool]) -> None:
        self.draw, self.is_sensible = draw, is_sensible

    def any(self, rng: Random, share: float = 0.5) -> Any:
        """Returns a sensible value, or a hostile one with this probability."""
        return hostile(rng) if rng.random() < share else self.draw(rng)


class Odd:
    """An object without any meaning."""


class Failing(Mapping[Any, Any]):
    """A mapping that raises an error in every operation."""

    ndim = property(lambda self: 1 / 0)

    def _fail(self, *_: Any) -> Any:
        raise RuntimeError("it fails")

    __getitem__ = __iter__ = __len__ = __eq__ = __float__ = __index__ = __fspath__ = _fail
    __hash__ = None  # type: ignore[assignment]


class Endless(Mapping[Any, Any]):
    """An endless mapping."""

    def __getitem__(self, key: Any) -> Any:
        return 1

    def __iter__(self) -> Any:
        return (f"k{i}" for i in itertools.count())

    def __len__(self) -> int:
        return 1


class Unprintable:
    """An object whose repr fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _itself() -> Any:
    value: list[Any] = [1]
    value.append(value)
    return value


_HOSTILE: Sequence[Callable[[Random], Any]] = (
    lambda r: None,
    lambda r: r.choice([True, False, np.True_, np.bool_(False)]),
    lambda r: r.choice([0, -1, -(10**6), 2**31, 2**53 + 1, 2**63, 2**64, 10**400, -(10**400), 10**5000]),
    lambda r: r.choice([0.5, -0.0, 1.5, 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf, 9.999, 1e400]),
    lambda r: r.choice(["", " ", "x", "5", "1e3", "nan", "None", "true", "auto", "min", "gpu", "asha", "random"]),
    lambda r: r.choice(
        ["ü漢字", "\udcff", "a\x00b", "\x1b[31m", "a\nb", "\u202eevil", "a" * 5_000, "../..", "/", "a/b"]
    ),
    lambda r: r.choice(["8h", "90s", "-5min", "1h1h1h", "20GB", "0B", "9" * 400 + "h", "1e400", "١٢", "inf", "²"]),
    lambda r: r.choice([b"", b"bytes", bytearray(b"x"), memoryview(b"abc")]),
    lambda r: r.choice(
        [[], [1], ["a"], [None], [[]], (), (1, 2), {}, {"a": 1}, {1: 2}, set(), {1, 2}, frozenset("ab")]
    ),
    lambda r: r.choice(
        [range(5), range(10**9), iter([1, 2]), itertools.count(), (i for i in range(3)), map(int, "12")]
    ),
    lambda r: r.choice([_nested(50), _nested(5_000), _itself()]),
    lambda r: r.choice(
        [decimal.Decimal("5"), decimal.Decimal("NaN"), fractions.Fraction(5, 2), 1j, datetime.date.today()]
    ),
    lambda r: r.choice(
        [datetime.timedelta(hours=1), datetime.timedelta(-1), datetime.timedelta.max, Path("x"), Path()]
    ),
    lambda r: r.choice(
        [np.int64(3), np.int8(-1), np.uint64(2**64 - 1), np.float32(0.5), np.float64("nan"), np.float16(1)]
    ),
    lambda r: r.choice([np.array(1), np.array(1.0), np.array("a"), np.array([1, 2]), np.zeros((2, 2)), np.array(None)]),
    lambda r: r.choice([np.datetime64("2020"), np.str_("a"), np.longdouble(2), np.array([]), np.ma.masked]),
    lambda r: r.choice(
        [np.ma.masked, np.ma.array([1, 2], mask=[1, 0]), "\u200b", "\ufeffloss", "1e999999999", "٣", "1_0"]
    ),
    lambda r: r.choice([Failing(), Endless(), [Failing()], [Endless()], {"a": Failing()}]),
    lambda r: r.choice([io.StringIO("a"), UserString("ab"), itertools.repeat("a"), itertools.repeat({"x": 1})]),
    lambda r: r.choice([object(), Odd(), Odd, int, print, len, lambda: 1, NotImplemented, ..., Unprintable(), type]),
    lambda r: r.choice([ValueError("x"), KeyboardInterrupt(), re.compile("a"), random, Random(0)]),
)


def hostile(rng: Random) -> Any:
    """Returns a value of any kind."""
    value = rng.choice(_HOSTILE)(rng)
    roll = rng.random()
    if roll < 0.06:
        return [value, hostile(rng)]
    if roll < 0.1:
        return {rng.choice(["a", "name", "type", "low", ""]): value}
    return value


def plain(value: Any) -> Any:
    """Returns the Python value of numpy scalars and of arrays without dimensions."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, np.ma.MaskedArray):  # masked elements are not values
        return value
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def integer(low: int, high: int = LARGEST) -> Kind:
    """Integers in a range; 3.0 is one, True is not."""

    def is_sensible(value: Any) -> bool:
        found = plain(value)
        if isinstance(found, bool) or not isinstance(found, int | float):
            return False
        return math.isfinite(found) and found == int(found) and low <= found <= high if abs(found) < 1e300 else False

    return Kind(lambda r: r.choice([low, low + 1, low + 2, low + 7, float(low + 2), np.int64(low + 3)]), is_sensible)


def number(low: float, high: float = math.inf, *, above: bool = False, below: bool = False) -> Kind:
    """Finite numbers in a range."""

    def is_sensible(value: Any) -> bool:
        found = plain(value)
        if isinstance(found, bool) or not isinstance(found, int | float):
            return False
        try:
            found = float(found)
        except OverflowError:
            return False
        inside = (low < found if above else low <= found) and (found < high if below else found <= high)
        return math.isfinite(found) and inside

    start = low if math.isfinite(low) else -1.0
    end = high if math.isfinite(high) else start + 10
    return Kind(
        lambda r: r.choice([start + (end - start) * r.uniform(0.05, 0.95), np.float64((start + end) / 2)]), is_sensible
    )


def one_of(*names: str) -> Kind:
    """One of these words."""
    return Kind(lambda r: r.choice(names), lambda value: isinstance(value, str) and str.__str__(value) in names)


def flag() -> Kind:
    """True and False."""
    return Kind(lambda r: r.choice([True, False, np.True_]), lambda value: isinstance(plain(value), bool))


def optional(kind: Kind) -> Kind:
    """The kind, or None."""
    return Kind(lambda r: r.choice([None, kind.draw(r)]), lambda value: value is None or kind.is_sensible(value))


def named(max_letters: int = 500) -> Kind:
    """One printable line."""

    def is_sensible(value: Any) -> bool:
        if not isinstance(value, str) or not 0 < len(value) <= max_letters or value != value.strip():
            return False
        return str.isprintable(value)

    return Kind(lambda r: r.choice(["loss", "val/acc", "model.lr", "größe", "x y"]), is_sensible)


def is_option(value: Any, depth: int = 0) -> bool:
    """Whether JSON can store a value: text, finite numbers, True, False, None, and lists and mappings of these."""
    found = plain(value)
    if found is None or isinstance(found, bool):
        return True
    if isinstance(found, str):
        return not any((ord(c) < 32 and c not in "\n\t") or 0xD800 <= ord(c) <= 0xDFFF or c == "\u202e" for c in found)
    if isinstance(found, int):
        return abs(found) < 2**63
    if isinstance(found, float):
        return math.isfinite(found)
    if depth > 20:
        return False
    if isinstance(found, list | tuple):
        return all(is_option(item, depth + 1) for item in found)
    if isinstance(found, Mapping) and not isinstance(found, Failing | Endless):
        return all(isinstance(k, str) and is_option(k) and is_option(v, depth + 1) for k, v in found.items())
    return False


def option_identity(value: Any) -> Any:
    """Returns the identity of an option: 1 and 1.0 are the same, 1 and True are not, a list and a tuple are."""
    found = plain(value)
    if isinstance(found, list | tuple):
        return ["list", *map(option_identity, found)]
    if isinstance(found, Mapping):
        return {"mapping": {key: option_identity(item) for key, item in found.items()}}
    return [isinstance(found, bool), found]


def json_value(rng: Random, depth: int = 0) -> Any:
    """Returns a random value that JSON can store."""
    roll = rng.random()
    if roll < 0.15 and depth < 3:
        return [json_value(rng, depth + 1) for _ in range(rng.randrange(3))]
    if roll < 0.25 and depth < 3:
        return {rng.choice("abc"): json_value(rng, depth + 1) for _ in range(rng.randrange(3))}
    return rng.choice([None, True, False, 0, 1, 2.5, -3, "a", "1", "", "ü", 1e300])


def choice_options(rng: Random) -> Any:
    """Returns options for a choice, sensible or not."""
    roll = rng.random()
    if roll < 0.2:
        return hostile(rng)
    items = [json_value(rng) if rng.random() < 0.8 else hostile(rng) for _ in range(rng.randrange(1, 5))]
    return items if roll < 0.8 else rng.choice([tuple, np.array])(items) if roll < 0.85 and _is_flat(items) else items


def _is_flat(items: Sequence[Any]) -> bool:
    return all(isinstance(item, int | float) and not isinstance(item, bool) and abs(item) < 2**60 for item in items)
