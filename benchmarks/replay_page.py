"""The part of `docs/results.md` about `benchmarks/replay.py`, and its plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from benchmarks.page_parts import shown, spread, table
from lightning_hwtune.views.plots.canvas import DEVICE_COLORS, FAINT, INK, StudyFigure, tidy

__all__ = ["choose_details", "details", "figure", "fronts_details"]

Document = Mapping[str, Any]


def details(document: Document) -> list[str]:
    """Returns the arms, the reserved tasks, the peers and the paper's claim."""
    settings = document["settings"]
    percent = f"{settings['compare_at']:.0%}"
    blocks = [
        "Speed-up over random full training to 95 % of the partial hypervolume: the median over ten tasks of the "
        "medians over seeds, with a 90 % bootstrap interval over seeds. `full`: hypervolume of the configurations "
        "trained to the end, when the study is over, as a fraction of that of the table's front; the time to 95 % of "
        "it is a share of the time of training all to the end. `error`: the median of the least error of a "
        "configuration trained to the end, minus the error that the best 1 % of the table reach. A dash: not run to "
        "the end.",
        arms_table(document["arms"], settings["arms"]),
        "![Hypervolume over virtual time](images/replay.png)",
        f"**Task by task**, speed-up in virtual time. No setting was chosen on {_and(_reserved(document))}.",
        tasks_table(document),
    ]
    for arm, peers in document["peers"].items():
        if peers:
            text = f"**Peers.** Hypervolume of `{arm}` divided by that of the peer at equal virtual time: {percent} of "
            text += "the time of training all configurations to the end. A value is bold if the lower end of its "
            text += "interval is not above 1."
            blocks += [text, peers_table(peers, "partial_at")]
            blocks += ["The same for configurations trained to the end only:", peers_table(peers, "full_at")]
    if document.get("older"):
        text = ", ".join(f"`{arm}`" for arm in document["older"])
        blocks.append(f"Measured earlier, with {document['older_seeds']} seeds: {text}.")
    for arm, package in document["left_out"].items():
        blocks.append(f"`{arm}` was left out" + (f": no rows of `{package}` are kept." if package else "."))
    return [*blocks, *claim(document), *synthetic(document)]


def _reserved(document: Document) -> list[str]:
    return [name for name in document["curves"] if name != "all"]


def _and(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)


def arms_table(arms: Document, settings: Document) -> str:
    """Returns speed-ups and final hypervolumes."""
    rows = []
    for name, arm in arms.items():
        is_whole = "until" not in settings.get(name, {})
        cells = [shown(arm.get("seeds")), spread(arm["time"]), spread(arm["usd"]), f"{arm['arrived']:.0%}"]
        cells += [
            shown(arm.get(key)) for key in ("full_time", "full_arrived", "full_median", "full_p10", "chosen_error")
        ]
        rows.append([f"`{name}`", *(cells if is_whole else ["-"] * len(cells))])
    head = ["arm", "seeds", "time", "money", "arrive", "full: time to 95 %", "full: arrive"]
    return table([*head, "full, median", "full, 10th percentile", "error"], rows)


def tasks_table(document: Document) -> str:
    """Returns the speed-up in time of each task and of our arms."""
    arms = [name for name, arm in document["settings"]["arms"].items() if "peer" not in arm and name != "random"]
    arms = [name for name in arms if name in document["arms"]]
    rows = [[f"`{task}`", *(spread(found[arm]["time"]) for arm in arms)] for task, found in document["tasks"].items()]
    return table(["task", *(f"`{arm}`" for arm in arms)], rows)


def peers_table(peers: Document, kind: str) -> str:
    """Returns the ratio of hypervolumes for each task and peer."""
    tasks = next(iter(peers.values()))[kind]
    rows = []
    for task in tasks:
        cells = [peers[peer][kind][task] for peer in peers]
        rows.append([f"`{task}`", *(spread(c) if c["low"] > 1 else f"**{spread(c)}**" for c in cells)])
    return table(["task", *(f"`{peer}`" for peer in peers)], rows)


def claim(document: Document) -> list[str]:
    """Returns the paper's claim with both readings."""
    paper, choice = document["paper"], document["choice"]
    if not choice["tasks"]:
        return []
    head = ["task", "time", "money", "time, error's log alone", "money, error's log alone"]
    keys = ("time", "usd", "time_from_the_error_log", "usd_from_the_error_log")
    by_task = {**{f"`{task}`": found for task, found in choice["tasks"].items()}, "median": choice["median"]}
    return [
        f"**The claim of Salinas et al. (2021)** is {paper['time']}x in runtime and {paper['usd']}x in money. It can "
        "be read as the speed-up of the search, as in the tables above. Or it can be read as the costs of the chosen "
        "configuration, "
        "as in this table: the fastest (cheapest) one within 0.01 of the lowest error, compared with the one of lowest "
        "error that ASHA on the error alone chooses. The last two columns apply the same tolerance to that study's own "
        "log: their gain comes from the rule of choice, not from the search.",
        table(head, [[task, *(shown(found[key]) for key in keys)] for task, found in by_task.items()]),
    ]


def fronts_details(document: Document) -> list[str]:
    """Returns the figures of each group of tables."""
    keys = ("studies", "partial_time", "full_time", "arrive_full", "full_median", "full_p10", "chosen_error_p90")
    rows = []
    for name, found in document["groups"].items():
        cells = [found.get(key, found.get(f"{key}_{name}")) for key in keys]
        rows.append([name, *map(shown, cells)])
    return [
        f"Trials of a study: {document['trials']}. `partial_time` and `full_time` are the median times to 95 % of the "
        "hypervolume of all reports and of configurations trained to the end, as shares of the time of training all "
        "to the end; the other figures are described in `benchmarks/replay_fronts.py`.",
        table(["tables", *keys], rows),
    ]


def choose_details(document: Document) -> list[str]:
    """Returns the candidates for settings, one table per table of curves."""
    blocks = [
        "Speed-up over random full training to 95 % of the partial hypervolume: the median over tasks of the medians "
        "over seeds, with a 90 % bootstrap interval over seeds."
    ]
    for name, arms in document["tables"].items():
        blocks += [f"**{name}**", arms_table(arms, {})]
    return blocks


def synthetic(document: Document) -> list[str]:
    """Returns the same arms on the generator."""
    found = document["synthetic"]
    if not found:
        return []
    settings = document["settings"]["arms"]
    return ["**On the synthetic generator**, on which no setting was chosen:", arms_table(found["arms"], settings)]


def figure(document: Document) -> Figure:
    """Returns the median hypervolume of each arm over virtual time."""
    drawn = StudyFigure(figsize=(10, 4.2), layout="constrained")
    shares = document["settings"]["shares"]
    for axes, (kind, title) in zip(drawn.subplots(1, 2, sharey=True), _PANELS.items(), strict=True):
        found_by_arm = {
            n: found
            for n, found in document["curves"]["all"].items()
            if n != "defaults" and n in document["settings"]["arms"]
        }
        ours = [name for name in found_by_arm if "peer" not in document["settings"]["arms"][name]]
        for name, found in found_by_arm.items():
            until = document["settings"]["arms"][name].get("until", 1.0)
            n = sum(share <= until for share in shares)
            color = FAINT if name == "random" else DEVICE_COLORS[ours.index(name) - 1] if name in ours else INK
            style = "-" if name in ours else _PEER_STYLES[name.partition("_")[0]]
            width = 2.0 if name in ours else 1.0
            axes.plot(shares[:n], found[kind][:n], style, color=color, linewidth=width, label=name, alpha=0.9)
        axes.set_xscale("log")
        axes.set_xlabel("virtual time; 1 = all trained to the end")
        axes.set_title(title, loc="left", fontsize="medium")
        tidy(axes)
    drawn.axes[0].set_ylabel("hypervolume, higher is better")
    handles, labels = drawn.axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside right upper", frameon=False, fontsize="small")
    return drawn


_PANELS = {"partial_at": "every report", "full_at": "trained to the end"}
_PEER_STYLES = {"synetune": "--", "neps": ":", "optuna": "-."}
