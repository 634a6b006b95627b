"""The allowed values of every argument: one table for Python keywords, study files and the Hydra node."""

from __future__ import annotations

from lightning_hwtune.forms.calls import checked_call, checked_class
from lightning_hwtune.forms.containers import elements, entries
from lightning_hwtune.forms.kinds import Form, integer, one_of, plain, reading
from lightning_hwtune.forms.quantities import format_bytes, parse_bytes, parse_duration
from lightning_hwtune.forms.table import FORMS

__all__ = [
    "FORMS",
    "Form",
    "checked_call",
    "checked_class",
    "elements",
    "entries",
    "format_bytes",
    "integer",
    "one_of",
    "parse_bytes",
    "parse_duration",
    "plain",
    "reading",
]
