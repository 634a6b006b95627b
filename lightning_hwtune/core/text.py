"""Foreign text, such as errors, notes and names, made fit for every store, file and terminal."""

from __future__ import annotations

import unicodedata

__all__ = ["MAX_TEXT", "is_printable", "shortened", "storable"]

MAX_TEXT = 20_000
"""Characters of an error or a note that are kept: a deep traceback has some thousands."""

_KEPT = frozenset("\n\t")
# no text, in the words of Unicode: controls, halves of surrogate pairs; or it reverses what stands around it
_BAD_CATEGORIES = frozenset({"Cc", "Cs"})
_REVERSING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def storable(text: str, max_chars: int = MAX_TEXT) -> str:
    r"""Returns a text that every store takes and every terminal shows: escaped where needed, and of bounded length.

    Lone surrogates, NUL and control characters become escapes such as `\udcff` and `\x1b`; line breaks of all systems
    become line feeds, and tabs stay. Of a long text the middle is left out, since an error says what happened at its
    end and where at its beginning. Applied twice it changes nothing more.
    """
    return shortened("".join(map(_shown, _lines(shortened(text, max_chars)))), max_chars)


def is_printable(text: str) -> bool:
    """Return whether a text, such as a name, is one line that needs no escapes."""
    return not any(_is_bad(character) or character in _KEPT for character in text)


def shortened(text: str, max_chars: int) -> str:
    """Returns a text of at most so many characters, with a line in place of what was left out of its middle."""
    if len(text) <= max_chars:
        return text
    gap = f"\n[... {len(text) - max_chars:,} characters or more left out ...]\n"
    head = (max_chars - len(gap)) // 4
    return text[:head] + gap + text[len(text) - (max_chars - len(gap) - head) :]


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")


def _shown(character: str) -> str:
    return character.encode("unicode_escape").decode() if _is_bad(character) else character


def _is_bad(character: str) -> bool:
    if character in _KEPT or " " <= character <= "~":
        return False
    return unicodedata.category(character) in _BAD_CATEGORIES or character in _REVERSING
