"""Text from outside, such as errors, notes and names, made safe for any store and terminal; counts with their noun."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_hwtune.errors import ArgumentError

__all__ = [
    "MAX_TEXT",
    "TO_CONTINUE",
    "TO_TEST_THE_REST",
    "brief",
    "check_text",
    "counted",
    "interrupted_text",
    "is_line",
    "is_name",
    "storable",
    "storable_data",
    "to_start_over",
    "without_colors",
]

MAX_TEXT = 20_000
"""Maximum number of characters kept of an error or a note; a deep traceback has a few thousand."""

TO_CONTINUE = "To continue, run the study again"
"""What every interface says of a study that can continue; the same script, command or notebook cell runs it again."""

TO_TEST_THE_REST = "To test what is missing, do the same again"
"""What every interface says of tests of checkpoints that were interrupted."""

_KEPT = frozenset("\n\t")
# controls and halves of surrogate pairs are not text; marks that reverse the text around them hide what it says
_BAD_CATEGORIES = frozenset({"Cc", "Cs"})
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_JOINERS = frozenset("\u200c\u200d")  # part of words in some scripts, and of emoji
_REVERSING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def counted(n: int | str, plural: str) -> str:
    """Returns "1 epoch" or "3 epochs": the number, or its text, with its noun, which is given in the plural."""
    return f"{n} {_singular(plural) if str(n) == '1' else plural}"


def interrupted_text(folder: object, to_continue: str = TO_CONTINUE) -> str:
    """Returns what is printed after Ctrl-C, in every interface: where the results are, and what continues the study."""
    return f"interrupted; what was reported is kept in {folder}. {to_continue}"


def brief(text: str, max_chars: int) -> str:
    """Returns a line of at most `max_chars` characters. A longer one ends after a word, with an ellipsis."""
    if len(text) <= max_chars:
        return text
    head = text[: max_chars - 3]  # a text without spaces is cut anywhere
    return f"{head.rpartition(' ')[0] or head[:-1]} ..."


def to_start_over(folder: Path, storage: str | None) -> str:
    """Returns what to do with a study that has no report yet and whose settings were wrong."""
    start, name = "Nothing was reported yet. To correct the study's settings,", "choose another name for the study."
    if storage is not None:  # its log is not in the folder
        return f"{start} {name}"
    return f"{start} delete it first (rm -r {shlex.quote(str(folder))}), or {name}"


def storable(text: str, max_chars: int | None = MAX_TEXT) -> str:
    r"""Returns a text that every store accepts and every terminal can show, escaped and shortened where needed.

    Lone surrogates, NUL and control characters become escapes such as `\udcff` and `\x1b`. The line breaks of all
    systems become line feeds. Tabs are kept. A long text loses its middle, because an error says at its end what
    happened and at its beginning where. Applying the function twice gives the same text as applying it once.

    Args:
        max_chars: the maximum length; None for no limit.
    """
    text = _shortened(text, max_chars)
    return text if text.isprintable() else _shortened("".join(map(_shown, _with_line_feeds(text))), max_chars)


def without_colors(text: str) -> str:
    """Returns a text without the codes that color it in a terminal, as some errors of torch have them."""
    return _COLOR.sub("", text)


def storable_data(data: Any) -> Any:
    """Returns plain data, as in JSON, with every text in it made storable. No text is shortened."""
    if isinstance(data, str):
        return storable(data, None)
    if isinstance(data, Mapping):
        return {storable_data(key): storable_data(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [storable_data(value) for value in data]
    return data


def check_text(argument: str, text: str) -> None:
    """Refuses a text that cannot be stored and shown unchanged.

    Raises:
        ArgumentError: the text has lone surrogates, NUL or control characters.
    """
    if storable(text, None) != text:
        hint = "Use a printable name here, and look the value up by that name in the training code."
        raise ArgumentError(argument, text, "text without control characters or lone surrogates", hint=hint)


def is_line(text: str) -> bool:
    """Returns whether a text is a single line that can be stored and printed unchanged."""
    return storable(text, None) == text and _KEPT.isdisjoint(text)


def is_name(text: str) -> bool:
    """Returns whether a text is a single line of visible characters, so that two different names never look alike."""
    seen = "".join(letter for letter in text if letter not in _JOINERS)
    return seen.isprintable() and bool(seen) == bool(text)


def _singular(plural: str) -> str:
    """Returns "epoch", "batch" or "retry" for the plural."""
    if plural.endswith("ies"):
        return plural.removesuffix("ies") + "y"
    return plural.removesuffix("es" if plural.endswith(("ches", "shes", "xes")) else "s")


def _shortened(text: str, max_chars: int | None) -> str:
    """Returns a text of at most `max_chars` characters; a line in its middle says how many were left out."""
    if max_chars is None or len(text) <= max_chars:
        return text
    gap = f"\n[... about {len(text) - max_chars:,} characters left out ...]\n"
    head = (max_chars - len(gap)) // 4
    return text[:head] + gap + text[len(text) - (max_chars - len(gap) - head) :]


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")


def _shown(character: str) -> str:
    if " " <= character <= "~" or character in _KEPT:
        return character
    is_bad = unicodedata.category(character) in _BAD_CATEGORIES or character in _REVERSING
    return character.encode("unicode_escape").decode() if is_bad else character
