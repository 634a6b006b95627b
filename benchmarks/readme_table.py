"""The table of README.md about what the toolkit gains, from the stored figures of `benchmarks/replay.py`.

`benchmarks/write_results.py` replaces what is between the two comments in README.md. It leaves README.md as it is while
the stored figures lack the arm with default settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["BEGIN", "END", "block", "replaced"]

BEGIN, END = "<!-- written by benchmarks/write_results.py -->", "<!-- end of what it writes -->"
DEFAULT = "as_it_comes"
_CHOSEN = {
    "asha_error": "ASHA on the error alone",
    "moasha": "ASHA on all three",
    "moasha_tpe": "the same with TPE",
    "prior_other": "with a prior from another network's studies",
    "prior_same": "with a prior from smaller and larger data sets",
}
"""Arm with chosen settings -> its name in the table."""

Document = Mapping[str, Any]


def replaced(text: str, document: Document) -> str:
    """Returns the text of README.md with the table of these figures; unchanged without the default arm.

    Raises:
        ValueError: the text lacks one of the two comments.
    """
    new = block(document)
    if new is None:
        return text
    before, found, rest = text.partition(f"{BEGIN}\n")
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"README.md lacks {BEGIN!r} or {END!r}")
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


def block(document: Document) -> str | None:
    """Returns the table, with the row of default settings first, and the tasks on which nothing was chosen."""
    arms = document["arms"]
    if DEFAULT not in arms:
        return None
    chosen = {arm: name for arm, name in _CHOSEN.items() if arm in arms}
    reserved = [name for name in document["curves"] if name != "all"]
    rows = [f"| **default settings** | {_row(arms[DEFAULT])} |"]
    rows += [f"| chosen settings: {name} | {_row(arms[arm])} |" for arm, name in chosen.items()]
    table = "\n".join(["| | sooner | for less money |", "|---|---|---|", *rows])
    tasks = _and([f"`{name}`" for name in reserved])
    of_default = _and([_speed(document["tasks"][name][DEFAULT]["time"]) for name in reserved])
    others = ", ".join(
        f"{name} {_and([_times(document['tasks'][task][arm]['time']) for task in reserved])}"
        for arm, name in chosen.items()
    )
    n_others = len(document["tasks"]) - len(reserved)
    return (
        f"{table}\n\n**No setting was chosen on {tasks}.** There, default settings are {of_default} sooner. The other "
        f"rows use settings that were chosen on the other {n_others} tasks. Their medians on these {len(reserved)} "
        f"tasks: {others}.{_older(document)}"
    )


def _older(document: Document) -> str:
    """Returns the sentence about rows that were measured earlier, if there are any."""
    if not document.get("older"):
        return ""
    return (
        f" The row of default settings was measured with {document['seeds']} seeds; the others are older than the "
        f"present default searcher and prior, with {document['older_seeds']} seeds."
    )


def _row(arm: Document) -> str:
    arrived = f", in {arm['arrived']:.0%} of runs".replace("%", " %") if arm["arrived"] < 1 else ""
    return f"{_speed(arm['time'])}{arrived} | {_times(arm['usd'])}"


def _speed(found: Document) -> str:
    return f"{_times(found)} [{found['low']:.1f}, {found['high']:.1f}]"


def _times(found: Document) -> str:
    return f"{found['median']:.1f}x"


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)
