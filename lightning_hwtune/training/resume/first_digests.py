"""What the values of a fit were at its beginning, and at the beginning of the trial, by their digests.

So a value is saved only if the training has changed it, and restored only if the resumed training has the value that a
new training has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

__all__ = ["FirstDigests"]

_TIMES = 2  # before the fit and before the first epoch; values may change between both
_ABSENT = ""


@final
class FirstDigests:
    """The digests of the values of one fit, by their keys."""

    def __init__(self) -> None:
        self._begun: list[Mapping[str, str]] = []  # at the beginning of this fit
        self._first: dict[str, list[str]] = {}  # at the beginning of the trial, of the values that were restored
        self._before_check: Mapping[str, str] = {}  # of all values
        self._unchecked: dict[str, str] = {}  # before the sanity check, of the values that it changed

    @property
    def is_complete(self) -> bool:
        """Whether the digests of both times are noted."""
        return len(self._begun) == _TIMES

    @property
    def is_empty(self) -> bool:
        """Whether none is noted yet."""
        return not self._begun

    def note(self, digests: Mapping[str, str]) -> None:
        """Notes the digests of all values at the next of both times."""
        self._begun.append(digests)

    def check_begins(self, digests: Mapping[str, str]) -> None:
        """Notes the digests of all values before the sanity check, which a resumed fit does not have."""
        self._before_check = digests

    def check_ended(self, after: Mapping[str, str]) -> None:
        """Notes which values the sanity check has changed, by the digests of all values."""
        before, self._before_check = self._before_check, {}
        changed = (key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        self._unchecked = {key: before.get(key, _ABSENT) for key in changed}

    def of(self, key: str) -> list[str]:
        """Returns the digests of a value at the beginning of the trial; last that with which a resumed fit begins."""
        if key in self._first:
            return self._first[key]
        begun = [begun.get(key, _ABSENT) for begun in self._begun]
        return [*begun, self._unchecked[key]] if key in self._unchecked else begun

    def remember(self, saved: Mapping[str, Any]) -> None:
        """Takes over what was saved as `first`, as `of` had returned it."""
        self._first = {key: item["first"] for key, item in saved.items()}

    def is_untouched(self, key: str) -> bool:
        """Return whether a value of this fit began as in a new training, so that user code has not restored it."""
        first = self._first.get(key, ())
        return any(begun.get(key, _ABSENT) in first for begun in self._begun)
