"""The call of each argument and the place of each key, for messages about one that stands in the wrong place."""

from __future__ import annotations

from collections.abc import Mapping

from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.forms.table import FORMS

__all__ = ["FILE_PLACES", "OWNERS"]

_PARTS = {
    "Float": "of a parameter, under `space`",
    "Metric": "of a metric, under `objectives`",
    "Pool": "under `pool`",
    "OptunaSampler": "under `searcher`",
    "Evolution": "under `searcher`",
    "GP": "under `searcher`",
    "TPE": "under `searcher`",
    "MedianStopping": "under `scheduler`",
    "ASHA": "under `scheduler`",
}
_UNCLEAR = ("options", "type")  # arguments of several calls, with different meanings
_STUDY = ("space", "objectives", "constraints", "scheduler", "searcher", "pool", "allocation")
_CALLS = {
    **{argument: f"{call}(...)" for call in _PARTS for argument in FORMS[call]},
    **dict.fromkeys((*_STUDY, *FORMS["Study"]), "Study(...)"),
    **dict.fromkeys(FORMS["Study.run"], "study.run(...)"),
}

OWNERS: Mapping[str, str] = {key: f"`{key}` of {call}" for key, call in _CALLS.items() if key not in _UNCLEAR}
"""Argument -> the argument with the call that users pass it to, as Python code."""

FILE_PLACES: Mapping[str, str] = {
    **{
        key: f"`{key}` {place}"
        for call, place in _PARTS.items()
        for key in FORMS[call]
        if key not in (*_UNCLEAR, "name")
    },
    **{key: f"`{key}` of the study" for key in FILE_KEYS},
}
"""Key of a study file or of one of its parts -> the key with the place where it is set."""
