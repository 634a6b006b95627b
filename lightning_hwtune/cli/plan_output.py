"""What `hwtune plan` writes: one row per policy, the stages of the chosen plan, and the same as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_hwtune.cli.output import rows_frame

if TYPE_CHECKING:
    from rich.console import Console

    from lightning_hwtune.planning.comparison import Comparison, Option

__all__ = ["plan_document", "plan_rows", "print_plans", "shown_row"]


def plan_rows(found: Comparison) -> list[dict[str, Any]]:
    """Returns one row per option, without its stages."""
    chosen = found.chosen
    return [
        {key: value for key, value in option.to_dict().items() if key != "stages"}
        | {"within_limits": found.wish.meets(option), "chosen": option is chosen}
        for option in found.shown
    ]


def plan_document(found: Comparison, notes: Sequence[str]) -> Mapping[str, Any]:
    """Returns all options with their stages, the chosen one, and what would fit if there is none."""
    wish, chosen = found.wish, found.chosen
    return {
        "deadline_s": None if wish.deadline_s == math.inf else wish.deadline_s,
        "budget_usd": None if wish.budget_usd == math.inf else wish.budget_usd,
        "plans": [
            {**option.to_dict(), "within_limits": wish.meets(option), "chosen": option is chosen}
            for option in found.shown
        ],
        "chosen": None if chosen is None else chosen.to_dict(),
        "relaxed": found.relaxed,
        "notes": list(notes),
    }


def print_plans(out: Console, found: Comparison, notes: Sequence[str]) -> None:
    """Prints the table, and the stages of the chosen plan."""
    from lightning_hwtune.views.terminal import print_frame

    chosen = found.chosen
    print_frame(out, rows_frame([_row(found, option, chosen) for option in found.shown]), "predicted")
    if chosen is not None and chosen.nodes:
        out.print("stages of the chosen plan:", markup=False)
        print_frame(out, rows_frame([_stage_row(stage) for stage in chosen.to_dict()["stages"]]))
    for note in notes:
        out.print(f"note: {note}", markup=False, soft_wrap=True)


def shown_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row of predicted and actual amounts as text, with "-" for what is unknown."""
    from lightning_hwtune.views.amounts import duration, money

    def write(value: float) -> str:
        return duration(value) if row["unit"] == "seconds" else money(value) if row["unit"] == "usd" else f"{value:g}"

    between = "-" if row["least"] is None else f"{write(row['least'])} to {write(row['most'])}"
    amounts = {name: "-" if row[name] is None else write(row[name]) for name in ("predicted", "actual")}
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}"
    return {
        "": row["name"],
        "predicted": amounts["predicted"],
        "range": between,
        "actual": amounts["actual"],
        "actual / predicted": ratio,
    }


def _stage_row(stage: Mapping[str, Any]) -> dict[str, Any]:
    from lightning_hwtune.views.amounts import duration

    times = {name: duration(stage[f"{name}_s"]) for name in ("begins", "ends")}
    return {**{name: stage[name] for name in ("trials", "units", "nodes", "devices")}, **times}


def _range(middle_s: float, least_s: float, most_s: float) -> str:
    """Returns the range of a time relative to the predicted one: "-6 % to +33 %"."""
    return " to ".join(f"{100 * (bound_s / middle_s - 1):+.0f} %" for bound_s in (least_s, most_s))


def _row(found: Comparison, option: Option, chosen: Option | None) -> dict[str, Any]:
    from lightning_hwtune.views.amounts import duration, money

    mark = "chosen" if option is chosen else "" if found.wish.meets(option) else "exceeds a limit"
    between = option.spread
    return {
        "policy": option.policy,
        "trials": option.trials,
        "devices per trial": option.devices,
        "nodes": option.nodes,
        "time": duration(option.seconds),
        "range": "-" if between is None else _range(option.seconds, between.least_s, between.most_s),
        "cost": "-" if option.usd is None else money(option.usd),
        "": mark,
    }
