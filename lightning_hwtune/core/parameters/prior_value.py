"""The value of a parameter that an expert would try first, as text and in study files."""

from __future__ import annotations

from typing import Any

from lightning_hwtune.core.parameters.options import Option, handed_out
from lightning_hwtune.errors import shown

__all__ = ["prior_form", "prior_text"]


def prior_form(prior: Option) -> dict[str, Any]:
    """Returns the key of a study file; none for None."""
    return {} if prior is None else {"prior": handed_out(prior)}


def prior_text(prior: Option) -> str:
    """Returns the argument as it is written in Python, after a comma; empty for None."""
    return "" if prior is None else f", prior={shown(prior)}"
