"""The tags of a sweep: `log`, `int`, `float`, the value to try first, and conditions. Any other tag is refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from hydra.core.override_parser.types import IntervalSweep, RangeSweep, Sweep

from lightning_hwtune.errors import ArgumentError, nearest

__all__ = ["ALLOWED_TAGS", "Tags"]

ALLOWED_TAGS = 'log, int, float, "prior=VALUE", or a condition such as "optimizer=sgd"'
"""The tags, for messages."""

_LOG = "log"
_WORDS = (_LOG, "int", "float")
_PRIOR = "prior="
_ALIASES = {
    **dict.fromkeys(("loguniform", "log_uniform", "log-uniform", "logarithmic", "log_scale", "log10"), _LOG),
    **dict.fromkeys(("integer", "uniform_int"), "int"),
}
_INTERVAL = "tag(log, interval(a,b))"


@final
@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of one sweep.

    Attributes:
        is_log: whether values are uniform in the logarithm.
        is_int: whether a tag says that an interval has only integers.
        priors: those that name the value to try first.
        conditions: those that are overrides.
    """

    is_log: bool
    is_int: bool
    priors: list[str]
    conditions: list[str]

    @classmethod
    def of(cls, name: str, sweep: Sweep | None) -> Tags:
        """Returns the tags of the sweep of a key.

        Raises:
            ArgumentError: a tag is unknown, or this kind of sweep does not have it.
        """
        tags = sorted(sweep.tags) if sweep is not None else []
        words = [tag for tag in tags if "=" not in tag]
        for word in words:
            if word not in _WORDS:
                raise ArgumentError(f"{name}: tag", word, ALLOWED_TAGS, hint=_meant(word))
        if _LOG in words and not _has_scale(sweep):
            hint = f"All options of a list are equally likely, so leave `log` out, or write {_INTERVAL}."
            raise ArgumentError(f"{name}: tag", _LOG, "`log` with interval or range", hint=hint)
        numbers = [word for word in words if word != _LOG]
        if numbers and not isinstance(sweep, IntervalSweep):
            hint = f"Write {numbers[0]}(...) around the list or range."
            raise ArgumentError(f"{name}: tag", numbers[0], f"`{numbers[0]}` with interval", hint=hint)
        if len(numbers) > 1:
            raise ArgumentError(f"{name}: tag", numbers, "only one of int and float")
        priors, conditions = _divided(tag for tag in tags if "=" in tag)
        return cls(_LOG in words, numbers == ["int"], priors, conditions)


def _has_scale(sweep: Sweep | None) -> bool:
    return isinstance(sweep, IntervalSweep) or (isinstance(sweep, RangeSweep) and not sweep.shuffle)


def _divided(tags: Iterable[str]) -> tuple[list[str], list[str]]:
    priors: list[str] = []
    conditions: list[str] = []
    for tag in tags:
        (priors if tag.startswith(_PRIOR) else conditions).append(tag)
    return priors, conditions


def _meant(word: str) -> str:
    """Returns the tag that an unknown word probably means, as a hint."""
    lowered = word.strip().lower()
    known = _ALIASES.get(lowered) or (lowered if lowered in _WORDS else None)
    if known is None:
        known = nearest(lowered, _WORDS).removeprefix("; did you mean '").removesuffix("'?")
    if known:
        return f"Did you mean {known!r}?"
    key, _, value = lowered.partition(":")
    return f'A condition has an equals sign: "{key.strip()}={value.strip()}".' if value else ""
