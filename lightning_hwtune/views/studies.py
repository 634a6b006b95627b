"""Several studies, one line each: the content of a folder or a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.views.amounts import number
from lightning_hwtune.views.status import study_state
from lightning_hwtune.views.tables import best_entry

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["studies_frame", "study_entry", "unreadable_entry"]


def study_entry(state: StudyFacts, *, is_driven: bool) -> dict[str, Any]:
    """Returns one study.

    Returns:
        study, state, trials, max_trials: as in `views.status.status_entry`.
        best: for the trial that is best in the first objective, the values of all objectives; None before a trial is
            fully trained.
        infeasible: only if this trial violates constraints: name -> how far the value is beyond the bound.
        last_at: time of the newest event, in seconds since the Unix epoch.
        error: "" if the study can be read.
    """
    best = best_entry(state)
    return {
        "study": state.spec.name,
        "state": study_state(state, is_driven),
        "trials": len(state.searched),
        "max_trials": state.limits.max_trials,
        "best": dict(best["objectives"]) if best is not None else None,
        **({"infeasible": best["infeasible"]} if best is not None and best.get("infeasible") else {}),
        "last_at": state.last_at,
        "error": "",
    }


def unreadable_entry(name: str, error: Exception) -> dict[str, Any]:
    """Returns an entry for a study that cannot be read, with the reason."""
    unknown = dict.fromkeys(("trials", "max_trials", "best", "last_at"))
    return {"study": name, "state": "unreadable", **unknown, "error": str(error)}


def studies_frame(entries: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Returns the entries as a frame for people: study, state, trials, best, last event."""
    import pandas as pd

    rows = [
        {
            "study": entry["study"],
            "state": entry["error"] or entry["state"],
            "trials": _trials(entry),
            "best": ", ".join(f"{name} {number(value)}" for name, value in (entry["best"] or {}).items())
            + (f" (infeasible: {', '.join(entry['infeasible'])})" if entry.get("infeasible") else ""),
            "last event": _local(entry["last_at"]),
        }
        for entry in entries
    ]
    return pd.DataFrame(rows, columns=["study", "state", "trials", "best", "last event"])


def _trials(entry: Mapping[str, Any]) -> str:
    if entry["trials"] is None:
        return ""
    limit = entry["max_trials"]
    return f"{entry['trials']} of {limit}" if limit and entry["trials"] <= limit else str(entry["trials"])


def _local(at: float | None) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M") if at is not None else ""
