"""Reports a broken rule of a contract."""

from __future__ import annotations

__all__ = ["demand"]


def demand(is_kept: bool, rule: str, *facts: object) -> None:
    """Raises an AssertionError with the rule and the facts if the rule is broken, even under `python -O`."""
    if not is_kept:
        raise AssertionError("\n  ".join([rule, *(str(fact) for fact in facts)]))
