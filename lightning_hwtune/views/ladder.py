"""The ladder of a study in words: how it was chosen, or what is weak about the one that the user chose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.events import LadderChosen
from lightning_hwtune.core.ladder_choice import ladder_choice, weaknesses
from lightning_hwtune.core.spec import Limits, StudySpec

__all__ = ["LadderWords", "ladder_of"]


@final
@dataclass(frozen=True, slots=True)
class LadderWords:
    """A study with its complete ladder.

    Attributes:
        n_to_end: how many first trials train to the end without a pause.
        reason: how the ladder was chosen; "" if the user gave it.
        weaknesses: what is weak about the first rung that the user gave.
    """

    spec: StudySpec
    n_to_end: int
    reason: str
    weaknesses: tuple[str, ...]

    def lines(self, *, with_first: bool) -> Iterator[str]:
        """Yields the reason and the weaknesses as lines.

        Args:
            with_first: False where the table of the rungs has already named the first trials.
        """
        if self.reason:
            yield f"ladder: {self.reason if with_first else self.reason.partition('; ')[0]}"
        yield from (f"note: {text}" for text in self.weaknesses)


def ladder_of(spec: StudySpec, limits: Limits, chosen: LadderChosen | None = None) -> LadderWords:
    """Returns the ladder that a study has chosen, or the one that it would choose now."""
    if chosen is not None:
        settings, n_to_end, reason = chosen.settings, chosen.n_to_end, chosen.reason
    elif spec.has_open_ladder:
        choice = ladder_choice(spec, limits)
        settings, n_to_end, reason = choice.settings, choice.n_to_end, choice.reason
    else:
        settings, n_to_end, reason = {}, 0, ""
    whole = spec.completed(settings)
    return LadderWords(whole, n_to_end, reason, () if "first_rung" in settings else tuple(weaknesses(whole, limits)))
