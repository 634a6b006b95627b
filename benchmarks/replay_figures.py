"""The statistics of `benchmarks/replay.py`: medians over paired seeds, and their bootstrap intervals.

A row is one replayed study: plain data with `task`, `seed`, `arm` and the values of `replay.measured`. Speed-ups
compare an arm with random full training; hypervolumes are compared with a peer at equal virtual time; always seed by
seed. All intervals are the 5th to 95th percentile of 2,000 bootstrap samples of the seeds, which are the same for all
tasks.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "against_peers",
    "ahead",
    "as_it_comes",
    "choices",
    "curves",
    "figures",
    "interval",
    "prior_losses",
    "speed_ups",
    "summary",
    "tasks_ahead",
]

Floats = npt.NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]

N_BOOTSTRAP = 2_000
_NO_LIMIT = 999.0  # the ratio to a hypervolume of 0, which JSON cannot store


def speed_ups(rows: Rows, arm: str, kind: str) -> dict[str, Floats]:
    """Returns task -> speed-up of each seed over random full training; 0 if the arm never reached the target."""
    base, own = _by_seed(rows, "random"), _by_seed(rows, arm)
    return {
        task: np.array([_speed_up(base[task][seed][kind], row[kind]) for seed, row in seeds.items()])
        for task, seeds in own.items()
    }


def _speed_up(base: float | None, own: float | None) -> float:
    """Random full training of the whole table always reaches it."""
    return 0.0 if own is None or base is None else base / own


def _by_seed(rows: Rows, arm: str) -> dict[str, dict[int, Mapping[str, Any]]]:
    """Returns task -> seed -> row of an arm."""
    found: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        if row["arm"] == arm:
            found.setdefault(row["task"], {})[row["seed"]] = row
    return found


def interval(by_task: Mapping[str, Floats]) -> dict[str, float]:
    """Returns the median over tasks of the medians over seeds, and its bootstrap interval."""
    matrix = np.stack(list(by_task.values()))
    rng = np.random.default_rng(0)
    samples = matrix[:, rng.integers(matrix.shape[1], size=(N_BOOTSTRAP, matrix.shape[1]))]
    medians = np.median(np.median(samples, axis=2), axis=0)
    low, high = np.percentile(medians, [5, 95])
    middle = np.median(np.median(matrix, axis=1))
    return {name: round(float(value), 3) for name, value in (("median", middle), ("low", low), ("high", high))}


def summary(rows: Rows) -> dict[str, Any]:
    """Returns each arm's speed-ups, fraction of runs that reach the target, and final full hypervolume."""
    found = {}
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        found[arm] = {
            "time": interval(speed_ups(rows, arm, "time_s")),
            "usd": interval(speed_ups(rows, arm, "usd")),
            "arrived": round(statistics.mean(row["time_s"] is not None for row in own), 3),
            "seeds": len({row["seed"] for row in own}),
            "full_arrived": round(statistics.mean(row.get("full_share") is not None for row in own), 3),
            "full_time": _median_share([row.get("full_share") for row in own]),
            "chosen_error": round(statistics.median(row.get("chosen_error", 0.0) for row in own), 4),
            "full_median": round(statistics.median(row["full"] for row in own), 4),
            "full_p10": round(float(np.percentile([row["full"] for row in own], 10)), 4),
        }
    return found


def _median_share(shares: Sequence[float | None]) -> float | None:
    """Returns the median, in which None is later than all others; None if it is the median."""
    found = float(np.median([np.inf if share is None else share for share in shares]))
    return round(found, 4) if np.isfinite(found) else None


def against_peers(rows: Rows, ours: str, peers: Iterable[str], place: int) -> dict[str, Any]:
    """Returns peer -> kind of hypervolume -> task -> ratio of ours to the peer's at equal virtual time.

    Args:
        place: index of the virtual time in each row's `partial_at` and `full_at`.
    """
    own = _by_seed(rows, ours)
    if not own:
        return {}
    return {
        peer: {
            kind: {
                task: interval(
                    {task: np.array([_ratio(own[task][s][kind][place], row[kind][place]) for s, row in seeds.items()])}
                )
                for task, seeds in _by_seed(rows, peer).items()
            }
            for kind in ("partial_at", "full_at")
        }
        for peer in peers
        if _by_seed(rows, peer)
    }


def _ratio(own: float, other: float) -> float:
    return min(own / other, _NO_LIMIT) if other > 0 else (_NO_LIMIT if own > 0 else 1.0)


def tasks_ahead(ratios: Mapping[str, Any], peers: Iterable[str], kind: str) -> int:
    """Returns on how many tasks the lower end of the interval is above 1 against each of these peers."""
    tasks = next(iter(ratios.values()))[kind]
    return sum(all(ratios[peer][kind][task]["low"] > 1 for peer in peers) for task in tasks)


def curves(rows: Rows) -> dict[str, dict[str, list[float]]]:
    """Returns arm -> kind -> hypervolume at each virtual time, the median over all runs."""
    arms = dict.fromkeys(row["arm"] for row in rows)
    return {
        arm: {
            kind: np.round(np.median([row[kind] for row in rows if row["arm"] == arm], axis=0), 4).tolist()
            for kind in ("partial_at", "full_at")
        }
        for arm in arms
    }


def choices(rows: Rows) -> dict[str, Any]:
    """Returns the other reading of the claim: the choice from ASHA on the error, against the tolerant choices."""
    single, several = _by_seed(rows, "asha_error"), _by_seed(rows, "moasha")
    by_task = {
        task: _choice([(single[task][seed]["chosen"], several[task][seed]["chosen"]) for seed in single[task]])
        for task in single
        if task in several
    }
    names = next(iter(by_task.values()), {})
    return {
        "tasks": by_task,
        "median": {name: _median(found[name] for found in by_task.values()) for name in names},
    }


def _choice(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, float]:
    """Returns medians over (chosen from ASHA on the error, chosen from MO-ASHA)."""
    return {
        "time": _median(s["least_error"][1] / m["fastest_near"][1] for s, m in pairs),
        "usd": _median(s["least_error"][2] / m["cheapest_near"][2] for s, m in pairs),
        "time_from_the_error_log": _median(s["least_error"][1] / s["fastest_near"][1] for s, _ in pairs),
        "usd_from_the_error_log": _median(s["least_error"][2] / s["cheapest_near"][2] for s, _ in pairs),
    }


def _median(values: Iterable[float]) -> float:
    """Returns the median, rounded for printing."""
    return round(statistics.median(values), 2)


def figures(rows: Rows, reserved: Sequence[str], ours: str, peers: Sequence[str], place: int) -> dict[str, float]:
    """Returns the headline numbers; those of arms and tasks that were not run are missing.

    Args:
        reserved: tasks that are also reported separately. ours, peers, place: as for `against_peers`.
    """
    overall, found = summary(rows), {}
    for suffix, arm in (("", "moasha"), ("_other", "prior_other"), ("_same", "prior_same")):
        if arm in overall:
            found[f"time_low{suffix}"] = overall[arm]["time"]["low"]
            found[f"usd_low{suffix}"] = overall[arm]["usd"]["low"]
        for task in reserved:
            own = [row for row in rows if row["task"] == task]
            if own and arm in overall:
                found[f"{task.replace('-', '')}_time{suffix}"] = summary(own)[arm]["time"]["median"]
    return found | prior_losses(rows) | ahead(rows, ours, peers, place)


def as_it_comes(rows: Rows, arm: str, reserved: Sequence[str], peers: Sequence[str], place: int) -> dict[str, float]:
    """Returns the lower ends of the speed-up of default settings, and on how many tasks they are ahead of each peer.

    Args:
        reserved: the tasks on which nothing was chosen; the overall figure is over the other ones, too.
    """
    own = _by_seed(rows, arm)
    if not own:
        return {}
    found = {f"{task.replace('-', '')}_as_it_comes": [task] for task in reserved if task in own}
    found["time_low_as_it_comes"] = list(own)
    speed = speed_ups(rows, arm, "time_s")
    lows = {name: interval({task: speed[task] for task in tasks})["low"] for name, tasks in found.items()}
    ratios = against_peers(rows, arm, peers, place)
    groups = {"optuna": "optuna", "neps": "neps", "synetune": "synetune_repaired"}
    counts = {
        f"ahead_{kind}_{name}": tasks_ahead(ratios, variants, f"{kind}_at")
        for kind in ("full", "partial")
        for name, start in groups.items()
        if (variants := [peer for peer in ratios if peer.startswith(start)])
    }
    return lows | counts


def ahead(rows: Rows, ours: str, peers: Sequence[str], place: int) -> dict[str, float]:
    """Returns on how many tasks we are ahead of each peer; for `optuna`, ahead of all its variants."""
    ratios = against_peers(rows, ours, peers, place)
    names = {peer: [peer] for peer in ratios} | {"optuna": [peer for peer in ratios if peer.startswith("optuna")]}
    return {
        f"tasks_ahead_of_{name}{suffix}": tasks_ahead(ratios, group, kind)
        for kind, suffix in (("partial_at", ""), ("full_at", "_full"))
        for name, group in names.items()
        if group
    }


def prior_losses(rows: Rows) -> dict[str, float]:
    """Returns what priors cost in final full hypervolume, relative to the same seed without one.

    The median over all runs with a prior, and the loss that one run in ten exceeds (the 10th percentile of the
    remaining hypervolume). Negative = a gain.
    """
    plain = {(row["task"], row["seed"]): row["full"] for row in rows if row["arm"] == "moasha"}
    losses = [
        1 - row["full"] / plain[row["task"], row["seed"]] for row in rows if row["arm"] in ("prior_other", "prior_same")
    ]
    if not losses:
        return {}
    return {
        "prior_hv_loss_median": round(float(np.median(losses)), 4),
        "prior_hv_loss_p10": round(float(np.percentile(losses, 90)), 4),
    }
