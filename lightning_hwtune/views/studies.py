"""Several studies, one line each: the content of a folder or a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.views.amounts import number
from lightning_hwtune.views.status import study_state
from lightning_hwtune.views.tables import best_record

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["studies_frame", "study_record", "unreadable_record"]


def study_record(state: StudyFacts, *, is_driven: bool) -> dict[str, Any]:
    """Returns one study.

    Returns:
        study, state, trials, max_trials: as in `views.status.status_record`.
        best: for the trial that is best in the first objective, the values of all objectives; None before a trial is
            fully trained.
        infeasible: only if this trial violates constraints: name -> how far the value is beyond the bound.
        last_at: time of the newest event, in seconds since the Unix epoch.
        error: "" if the study can be read.
    """
    best = best_record(state)
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


def unreadable_record(name: str, error: Exception) -> dict[str, Any]:
    """Returns a record for a study that cannot be read, with the reason."""
    unknown = dict.fromkeys(("trials", "max_trials", "best", "last_at"))
    return {"study": name, "state": "unreadable", **unknown, "error": str(error)}


def studies_frame(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Returns the records as a frame for people: study, state, trials, best, last event."""
    import pandas as pd

    rows = [
        {
            "study": record["study"],
            "state": record["error"] or record["state"],
            "trials": _trials(record),
            "best": ", ".join(f"{name} {number(value)}" for name, value in (record["best"] or {}).items())
            + (f" (infeasible: {', '.join(record['infeasible'])})" if record.get("infeasible") else ""),
            "last event": _local(record["last_at"]),
        }
        for record in records
    ]
    return pd.DataFrame(rows, columns=["study", "state", "trials", "best", "last event"])


def _trials(record: Mapping[str, Any]) -> str:
    if record["trials"] is None:
        return ""
    limit = record["max_trials"]
    return f"{record['trials']} of {limit}" if limit else str(record["trials"])


def _local(at: float | None) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M") if at is not None else ""
