"""The checks of meters, packing, profiles and strategies; see `checks` for what a check is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning_hwtune as hwt
from benchmarks.gpu import trainings as t
from lightning_hwtune.core.events import SegmentEnded, SegmentStarted
from lightning_hwtune.errors import ArgumentError, MissingDependencyError

__all__ = ["CHECKS", "CLAIMS", "LIMIT_S", "at_most", "packed_throughput"]

LIMIT_S = 165.0
"""Seconds for all checks."""
_COUNTS = (1, 2, 4, 8)
_N_TRIALS = 8
Facts = dict[str, Any]

CLAIMS = {
    "strategy_on_one_device": "A strategy and a precision of the search space reach the Trainer on one device",
    "profile": "A profile measures steps on one device",
    "energy_and_memory": "Energy and memory of a trial are measured, or it is said why not",
    "packed_throughput": "1, 2, 4 and 8 trials share one device, which is never given away twice",
}
"""Name of a check -> what it shows."""


def strategy_on_one_device(accelerator: str, folder: Path) -> Facts:
    """Each strategy of the search space trains on one device; FSDP only on GPUs."""
    names = ("auto", "fsdp") if accelerator == "gpu" else ("auto",)
    space = {"strategy": hwt.Strategy(*names), "precision": hwt.Precision("bf16-mixed")}
    study = _study("strategy", folder, hwt.Pool(accelerator, devices=1), searcher=hwt.Grid(), **space)
    study.run(t.strategy, max_trials=len(names), check=False, progress=False)
    seen = {facts["asked"]: (facts["strategy"], facts["precision"]) for facts in t.facts_of(study)}
    _require(set(seen) == set(names), "a strategy was not trained", seen)
    _require("fsdp" not in seen or "FSDP" in seen["fsdp"][0], "the strategy did not reach the Trainer", seen)
    _require(all(precision == "bf16-mixed" for _, precision in seen.values()), "the precision did not", seen)
    return {"strategies": {name: strategy for name, (strategy, _) in seen.items()}}


def profile(accelerator: str, folder: Path) -> Facts:
    """A profile of the digits on one device."""
    study = _study("profile", folder, hwt.Pool(accelerator, devices=1))
    found = study.profile(t.packed, devices=[1], steps=8, progress=False)
    _require(bool(found.points) and all(point.seconds > 0 for point in found.points), "nothing was measured", found)
    return {"step_s": round(found.points[0].seconds, 5)}


def energy_and_memory(accelerator: str, folder: Path) -> Facts:
    """A study whose objectives are energy and memory; without a meter, the reason of the refusal."""
    objectives = [hwt.Metric("val_loss", "min"), hwt.Energy(), hwt.PeakMemory()]
    study = _study("energy", folder, hwt.Pool(accelerator, devices=1), objectives=objectives)
    try:
        study.run(t.packed, max_trials=1, check=False, progress=False)
    except (ArgumentError, MissingDependencyError) as error:
        return {"energy_j": None, "why": str(error)[:200]}
    last = study.state().trials[0].last
    assert last is not None
    measured = {name: value for name, value in last.values.items() if name != "val_loss"}
    _require(all(value > 0 for value in measured.values()), "a meter counted nothing", measured)
    return {name: round(value, 3) for name, value in measured.items()}


def packed_throughput(
    accelerator: str, folder: Path, counts: tuple[int, ...] = _COUNTS, n_trials: int = _N_TRIALS
) -> Facts:
    """The same trials with 1, 2, 4 and 8 on one device: trials per minute, compared with one at a time."""
    rates = {}
    for count in counts:
        study = _study(f"packed-{count}", folder, hwt.Pool(accelerator, devices=1, per_device=count))
        study.run(t.packed, max_trials=n_trials, check=False, progress=False)
        events = list(study.events())
        started = [event for event in events if isinstance(event, SegmentStarted)]
        ended = [event for event in events if isinstance(event, SegmentEnded)]
        _require(all(event.outcome == "done" for event in ended), "a trial failed", [event.error for event in ended])
        shares = {event.allocation.per_device for event in started}
        _require(shares == {count}, f"expected shares of 1/{count}", shares)
        _require(at_most(events) <= count, f"more than {count} trials on one device", at_most(events))
        rates[count] = 60 * len(ended) / (max(event.at for event in ended) - min(event.at for event in started))
    alone = rates[counts[0]]
    return {
        "trials_per_minute": {str(count): round(rate, 1) for count, rate in rates.items()},
        "compared_with_one": {str(count): round(rate / alone, 2) for count, rate in rates.items()},
    }


def at_most(events: list[Any]) -> int:
    """Return how many segments trained at the same time, at most."""
    running, most = 0, 0
    for event in events:
        running += isinstance(event, SegmentStarted) - isinstance(event, SegmentEnded)
        most = max(most, running)
    return most


def _study(name: str, folder: Path, pool: hwt.Pool, **changes: Any) -> hwt.Study:
    known = {key: changes.pop(key) for key in ("objectives", "searcher") if key in changes}
    space = hwt.SearchSpace(lr=hwt.Choice([1e-3]) if "searcher" in known else hwt.Float(1e-3, 3e-2), **changes)
    objectives = known.pop("objectives", [hwt.Metric("val_loss", "min")])
    return hwt.Study(name, space, objectives, scheduler=hwt.RunToEnd(max_epochs=2), pool=pool, dir=folder, **known)


def _require(holds: bool, what: str, seen: object) -> None:
    if not holds:
        raise AssertionError(f"{what}: {seen}")


CHECKS: Mapping[str, tuple[Callable[[str, Path], Facts], float]] = {
    "strategy_on_one_device": (strategy_on_one_device, 40.0),
    "profile": (profile, 30.0),
    "energy_and_memory": (energy_and_memory, 30.0),
    "packed_throughput": (packed_throughput, 90.0),
}
"""Name -> the check, and the seconds it may take."""
