"""How a message writes a setting: in Python where it is made, in the words of the user's way in where it is shown.

Whoever makes a message writes a setting in backticks and in Python, such as `hang_timeout=None` or `RunToEnd()`. The
command or app through which the user runs a study says how it writes settings, for as long as it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

__all__ = ["Spell", "spell_by", "spelled"]

Spell = Callable[[str], str]
"""Returns a text with its settings written in another way."""

_current: ContextVar[Spell] = ContextVar("spell", default=str)


def spelled(text: str) -> str:
    """Returns a text with its settings as the present way in writes them; Python unless one was named."""
    return _current.get()(text)


def spell_by(spell: Spell) -> None:
    """Names the way in of everything that is shown in the present context; see `contextvars`."""
    _current.set(spell)
