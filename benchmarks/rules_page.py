"""The part of `docs/results.md` about single rules: PASHA, the prior, the time of a decision, the scaling model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.page_parts import shown, table

__all__ = ["decisions_details", "pasha_details", "scaling_details", "transfer_details"]

Document = Mapping[str, Any]


def decisions_details(document: Document) -> list[str]:
    """Returns microseconds of a decision, for every case."""
    keys = ("objectives", "shape", "n", "within", "mean_us", "p99_us", "moocore_us")
    rows = [[shown(row.get(key)) for key in keys] for row in document.get("decisions", [])]
    return [table(keys, rows)] if rows else []


def pasha_details(document: Document) -> list[str]:
    """Returns PASHA and the fixed cap, on tables and on the complete grid of the generator."""
    blocks = []
    for name, found in document.get("tables", {}).items():
        blocks += [f"**{name}**", _arms_table({arm: row for arm, row in found.items() if arm != "tasks"})]
    ladders = dict(document.get("synthetic", {}))
    noise = ladders.pop("measured_noise", None)
    if noise:
        found = ", ".join(f"{name} {shown(value)}" for name, value in noise.items())
        blocks.append(f"Noise of trimtuner's error curves, as a fraction of the range of a task: {found}.")
    for ladder, found in ladders.items():
        groups = ("settled", "settled_with_noiseless", "noiseless", "others")
        blocks += [f"**Synthetic curves, {ladder}**", *(_group(name, found[name]) for name in groups)]
        blocks.append(_grid_table(found["grid"]))
    for name, found in document.get("several", {}).items():
        blocks += [f"**Several objectives, {name}**", _arms_table({"MO-PASHA against MO-ASHA": found})]
    return blocks


def _group(name: str, arms: Document) -> str:
    return f"*{name.replace('_', ' ')}*\n\n{_arms_table(arms)}"


def _arms_table(arms: Document) -> str:
    keys = list(next(iter(arms.values())))
    return table(["arm", *keys], [[f"`{arm}`", *(_cell(row[key]) for key in keys)] for arm, row in arms.items()])


def _grid_table(cells: list[Document]) -> str:
    """Returns a row for each cell: its place, and speed-up and median loss of each arm."""
    places = [key for key, value in cells[0].items() if not isinstance(value, Mapping)]
    arms = [key for key, value in cells[0].items() if isinstance(value, Mapping)]
    head = [*places, *(f"`{arm}`: {what}" for arm in arms for what in ("speed-up", "loss"))]
    rows = [
        [
            *(_cell(cell[place]) for place in places),
            *(shown(cell[arm][key]) for arm in arms for key in ("speedup", "median_loss")),
        ]
        for cell in cells
    ]
    return table(head, rows)


def transfer_details(document: Document) -> list[str]:
    """Returns the gain of each prior over no prior, the ratio to the default searcher, and moved optima."""
    blocks = ["Gain in hypervolume over the same study without a prior, paired by seed; means over tasks."]
    keys = ("mean_gain", "interval_90", "tasks_worse_by_0.02", "worst")
    for kind in ("partial", "full"):
        found = {arm: row for arm, row in document[kind].items() if arm != "hypervolume_without"}
        budgets = list(next(iter(found.values())))
        head = ["arm", *(f"{key} {budget}".replace("_", " ") for budget in budgets for key in keys)]
        rows = [[f"`{arm}`", *(_cell(row[b][key]) for b in budgets for key in keys)] for arm, row in found.items()]
        without = ", ".join(f"{shown(value)} {at}" for at, value in document[kind]["hypervolume_without"].items())
        blocks += [f"**{kind}**; without a prior {without.replace('_', ' ')}:", table(head, rows)]
    return [*blocks, *_prior_over_default(document["prior_over_default"]), *_moved(document["moved"])]


def _prior_over_default(found: Document) -> list[str]:
    """Returns the partial hypervolume of the prior divided by that of the default searcher."""
    budgets = list(next(iter(found.values())))
    head = ["prior from", *(f"{key} {budget}".replace("_", " ") for budget in budgets for key in ("least", "median"))]
    rows = [
        [
            name,
            *(
                cell
                for b in budgets
                for cell in (f"{shown(row[b]['least'])} ({row[b]['task']})", shown(row[b]["median"]))
            ),
        ]
        for name, row in found.items()
    ]
    about = "Partial hypervolume with the prior, divided by that of the default searcher: over tasks, means over seeds."
    return [about, table(head, rows)]


def _moved(found: Document) -> list[str]:
    """Returns the best errors on a function whose optimum is not where the earlier tasks had it."""
    keys = list(next(iter(found.values()))["prior"])
    head = ["optimum", "searcher", *(key.replace("_", " ") for key in keys)]
    rows = [
        [moved.replace("_", " "), f"`{arm}`", *(shown(row[arm][key]) for key in keys)]
        for moved, row in found.items()
        for arm in ("prior", "random")
    ]
    about = "Best error after so many draws, and the median distance of the last 30 from the best learning rate:"
    return [about, table(head, rows)]


def scaling_details(document: Document) -> list[str]:
    """Returns the errors of each way to predict, for each application and each number of devices."""
    rows = document.get("parts", [])
    if not rows:
        return []
    said = "Median and 90th percentile of the relative error; the first lines of the script say what each way gets."
    return [said, table(list(rows[0]), [[_cell(value) for value in row.values()] for row in rows])]


def _cell(value: Any) -> str:
    return f"[{', '.join(map(shown, value))}]" if isinstance(value, list | tuple) else shown(value)
