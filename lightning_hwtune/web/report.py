"""A study as one file to send or to attach: the whole page with its data, or a summary in Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.errors import MissingDependencyError
from lightning_hwtune.stored_study import StoredStudy
from lightning_hwtune.text import counted
from lightning_hwtune.views.amounts import duration, number
from lightning_hwtune.views.export import json_text
from lightning_hwtune.views.kept_parameters import KeptParameters
from lightning_hwtune.views.prior_facts import has_prior
from lightning_hwtune.views.story import why
from lightning_hwtune.views.study_location import located
from lightning_hwtune.web.files import single_page
from lightning_hwtune.web.watched import Watched, front_answer

__all__ = ["MOST_STORIES", "markdown", "report_page"]

MOST_STORIES = 2000
"""Of a larger study, the file has the stories of the front, then of fully trained trials, then of the first ones."""
_KINDS = ("trials", "curves", "segments")
_MOST_ROWS = 20


def report_page(chosen: StoredStudy, *, reload_s: int | None = None) -> str:
    """Returns the page of `hwtune serve` with the data of one study, as HTML that needs no server and no network.

    Args:
        reload_s: after so many seconds, the browser opens the file again; None for a file that is final.
    """
    watched = Watched(chosen)
    watched.refresh()
    overview = watched.overview(_KINDS)
    stories = json_text(_stories(chosen, json.loads(overview)["front"]["front"]), indent=None)
    importance = json_text(_unless_missing(chosen, chosen.importance), indent=None)
    prior = json_text(_unless_missing(chosen, chosen.prior) if has_prior(chosen.state()) else None, indent=None)
    rest = f'"stories":{stories},"importance":{importance},"prior":{prior}'
    return single_page(f"{overview[:-1]},{rest}}}", reload_s=reload_s)


def _unless_missing(chosen: StoredStudy, ask: Callable[[], Any]) -> Any:
    """Returns an answer; None without scikit-learn, and for a study that is too large."""
    if len(chosen.state().trials) > MOST_STORIES:
        return None
    try:
        return ask()
    except MissingDependencyError:
        return None


def _stories(chosen: StoredStudy, front: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    state = chosen.state()
    told = _told(state, [entry["trial_id"] for entry in front])
    events: dict[int, list[ev.Event]] = {trial_id: [] for trial_id in told}
    for event in chosen.reader.events():
        trial_id = getattr(event, "trial_id", None)
        if trial_id in events:
            events[trial_id].append(event)
    place = chosen.study.dir, chosen.storage
    kept = KeptParameters(state)
    return {trial_id: located(why(state, events[trial_id], trial_id, kept), *place) for trial_id in told}


def _told(state: StudyFacts, front: Sequence[int]) -> list[int]:
    """Returns the trials whose stories are in the file, the most wanted first."""
    wanted = dict.fromkeys([*front, *sorted(state.full), *range(len(state.trials))])
    return list(wanted)[:MOST_STORIES]


def markdown(chosen: StoredStudy) -> str:
    """Returns a summary for a pull request: what the study did, its front, and the recommended trial."""
    status, answer, spec = chosen.status(), front_answer(chosen), chosen.state().spec
    front, unit = answer["front"], status["unit"]
    limit = f" of at most {status['max_trials']}" if status["max_trials"] else ""
    lines = [f"### Study {_cell(status['study'])}: {status['state']}", ""]
    lines += [
        f"- {counted(status['trials'], 'trials')}{limit}: {status['fully_trained']} fully trained, "
        f"{status['failed']} failed",
        f"- {counted(status['epochs_spent'], unit)} trained; full training of all takes {status['epochs_full']}",
        f"- {duration(status['wall_s'])} on {spec.pool.size} {spec.pool.accelerator}"
        + (f", {status['cost_usd']:.4g} USD" if status["cost_usd"] is not None else ""),
    ]
    if answer["recommended"] is not None:
        found = answer["recommended"]
        lines.append(f"- recommended: trial {found['trial_id']}, because {_cell(found['reason'])}")
    if not front:
        return "\n".join([*lines, "", "No trial is fully trained yet, so the front is empty.", ""])
    parameters = [name for name in spec.space if name != spec.space.devices_key]
    head = ["trial", *spec.objectives.names, "devices", *parameters]
    lines += ["", f"| {' | '.join(map(_cell, head))} |", f"|{'---|' * len(head)}"]
    for entry in front[:_MOST_ROWS]:
        cells = [entry["trial_id"], *entry["objectives"].values(), entry["devices"]]
        cells += [entry["config"].get(name) for name in parameters]
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    if len(front) > _MOST_ROWS:
        lines += ["", f"{len(front) - _MOST_ROWS} more of the front are left out."]
    return "\n".join([*lines, ""])


def _cell(value: object) -> str:
    """Returns the text of a cell; a character with a meaning in Markdown or HTML is escaped."""
    if value is None:
        return ""
    text = number(value) if isinstance(value, float) else str(value)
    for mark in "\\`*_|<>[]":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
