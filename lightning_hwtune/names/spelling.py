"""How messages spell settings: as Python code where they are created, in the user's interface where they are shown.

Messages are created with settings in backticks as Python code, such as `hang_timeout=None` or `RunToEnd()`. The command
or app through which the user runs a study sets the spelling while it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

__all__ = ["Spell", "spell_by", "spelled"]

Spell = Callable[[str], str]
"""Returns a text with its settings in another spelling."""

_current: ContextVar[Spell] = ContextVar("spell", default=str)


def spelled(text: str) -> str:
    """Returns a text with its settings in the spelling of the current interface; Python by default."""
    return _current.get()(text)


def spell_by(spell: Spell) -> None:
    """Sets the spelling for everything shown in the current context; see `contextvars`."""
    _current.set(spell)
