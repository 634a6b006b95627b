"""A study, its methods and its trials, and attributes of other tools."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import lightning_hwtune as hwt
from benchmarks.fuzzing.constructors import COUNT, POSITIVE, Input, arguments, is_auto, shown
from benchmarks.fuzzing.values import (
    Kind,
    Random,
    flag,
    hostile,
    integer,
    number,
    one_of,
    optional,
    plain,
)

__all__ = ["is_real", "study_call"]

_HABITS = {
    "study": (
        "optimize",
        "best_params",
        "best_trials",
        "best_value",
        "trials_dataframe",
        "enqueue_trial",
        "fit",
        "search",
        "get_best_parameters",
        "get_next_trial",
        "complete_trial",
        "sweep",
        "tuning_status",
    ),
    "trial": (
        "config_id",
        "trial_params",
        "arm",
        "finish",
        "suggest_float",
        "suggest_int",
        "should_prune",
        "params",
        "number",
        "set_user_attr",
        "log",
    ),
    "module": (
        "create_study",
        "tune",
        "Tuner",
        "loguniform",
        "TPESampler",
        "load_study",
        "TrialPruned",
        "choice",
        "AxClient",
        "sweep",
        "agent",
        "report",
        "Reporter",
        "StoppingCriterion",
        "BayesianOptimization",
    ),
}


class _Began(Exception):
    """A run was accepted and reached the training."""


class _Executor:
    """Takes the place of processes: an input that gets here was accepted."""

    def wait(self, *_: Any) -> Any:
        raise _Began

    start = end = close = wait

    def __getattr__(self, name: str) -> Any:
        raise _Began


STUDY: Mapping[str, Kind] = {
    "seed": integer(0, 2**64 - 1),
    "batch": one_of("global", "per_device"),
    "disk_budget": Kind(lambda r: r.choice([None, "20GB", 10**9]), lambda v: v is None or _is_bytes(v)),
    "max_retries": COUNT,
    "max_failures": POSITIVE,
    "dir": Kind(lambda r: r.choice(["studies", Path("studies")]), lambda v: _is_folder(v)),
    "prior": Kind(lambda r: None, lambda v: v is None or v == "auto" if isinstance(v, str | None) else False),
    "max_epochs": optional(POSITIVE),
    "storage": Kind(lambda r: None, lambda v: v is None),
    "pool": Kind(lambda r: r.choice([None, hwt.Pool("cpu", 1)]), lambda v: v is None or isinstance(v, hwt.Pool)),
    "searcher": Kind(lambda r: r.choice([None, hwt.TPE()]), lambda v: v is None or isinstance(v, hwt.Random | hwt.TPE)),
}
RUN: Mapping[str, Kind] = {
    "max_trials": optional(POSITIVE),
    "max_time": Kind(lambda r: r.choice([None, "8h", 60]), lambda v: v is None or _is_duration(v)),
    "max_cost": Kind(lambda r: None, lambda v: v is None),
    "max_parallel": optional(POSITIVE),
    "finishers": Kind(lambda r: r.choice([0, 1, "auto"]), lambda v: is_auto(v) or COUNT.is_sensible(v)),
    "save_every": optional(POSITIVE),
    "check": flag(),
    "progress": flag(),
    "preload": Kind(lambda r: r.choice([(), ["json"]]), lambda v: _are_modules(v)),
    "hang_timeout": Kind(lambda r: "auto", lambda v: v is None or is_auto(v) or _is_duration(v)),
}


def _is_duration(value: Any) -> bool:
    found = plain(value)
    if isinstance(found, str):
        return found in ("8h", "90s", "5", "1h1h1h")
    if hasattr(found, "total_seconds"):
        found = found.total_seconds()
    return number(0, above=True).is_sensible(found)


def _is_bytes(value: Any) -> bool:
    return value in ("20GB", "5") if isinstance(value, str) else integer(1).is_sensible(value)


def _is_folder(value: Any) -> bool:
    if not isinstance(value, str | os.PathLike) or str(value) == "":
        return False
    text = str(value)
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text) and len(text.encode()) < 255


def _are_modules(value: Any) -> bool:
    if isinstance(value, str | bytes | bytearray | memoryview | Mapping):
        return False
    if hasattr(value, "__next__"):  # reading it would use it up; the iterators that are drawn contain no names
        return False
    try:
        names = list(itertools.islice(value, 100))
    except TypeError:
        return False
    return all(isinstance(n, str) and all(map(str.isidentifier, n.split("."))) for n in names)


def _study(folder: Path, name: str = "study", **changes: Any) -> hwt.Study:
    settings: dict[str, Any] = {"dir": folder, "scheduler": hwt.ASHA(9), "pool": hwt.Pool("cpu", 1), **changes}
    return hwt.Study(name, {"x": hwt.Float(0, 1)}, [hwt.Metric("loss", "min")], **settings)


def study_call(rng: Random, folder: Path) -> Input:
    """A call of a study, its trials, or the module."""
    kind = rng.choice(["make", "make", "run", "run", "report", "report", "ask", "read", "enqueue", "trial", "name"])
    return _STUDY_CALLS[kind](rng, folder / f"{rng.getrandbits(60):x}")


def _make(rng: Random, folder: Path) -> Input:
    given, sensible = arguments(rng, STUDY, 0.15)
    given = (
        {**given, "dir": given["dir"]} if "dir" in given and not _is_folder(given["dir"]) else {**given, "dir": folder}
    )
    horizon = given.get("max_epochs") is not None
    scheduler = (
        {} if horizon and rng.random() < 0.7 else {"scheduler": rng.choice([hwt.ASHA(9), hwt.ASHA(9), hostile(rng)])}
    )
    sensible = (
        sensible and (horizon != bool(scheduler)) and isinstance(scheduler.get("scheduler", hwt.ASHA(9)), hwt.ASHA)
    )
    sensible = sensible and (given.get("prior") is None or given.get("searcher") is None)
    name = rng.choice(["study", "study", "study", hostile(rng)])
    ok = isinstance(name, str) and name in (
        "study",
        "x",
        "5",
        "1e3",
        "nan",
        "None",
        "true",
        "auto",
        "min",
        "gpu",
        "asha",
        "random",
        "ü漢字",
        "8h",
        "90s",
        "20GB",
        "0B",
        "1e400",
        "١٢",
        "inf",
        "²",
    )
    call = lambda: hwt.Study(name, {"x": hwt.Float(0, 1)}, [hwt.Metric("loss", "min")], **{**given, **scheduler})  # noqa: E731
    return (
        f"Study({shown(name)}, {shown({**given, **scheduler})})",
        call,
        sensible and ok,
    )


def _run(rng: Random, folder: Path) -> Input:
    given, sensible = arguments(rng, RUN, 0.15)
    given.setdefault("max_trials", 2)
    executor = rng.choice([_Executor(), _Executor(), _Executor(), hostile(rng)])
    given["executor"] = executor
    is_ours = isinstance(executor, _Executor)

    def call() -> None:
        try:
            _study(folder).run(lambda trial: None, **given)
        except _Began:
            return

    with_hang = (
        given.get("hang_timeout", "auto") in ("auto", None)
        if isinstance(given.get("hang_timeout", "auto"), str | None)
        else False
    )
    has_limit = given["max_trials"] is not None or given.get("max_time") is not None
    return f"run({shown(given)})", call, sensible and is_ours and with_hang and has_limit


def _report(rng: Random, folder: Path) -> Input:
    resource = integer(1, 9).any(rng, 0.5)
    value = number(-math.inf).any(rng, 0.4)
    name = rng.choice(["loss", "loss", "loss", "other"])
    is_number = is_real(value)

    def call() -> Any:
        study = _study(folder)
        try:
            trial = study.ask(max_trials=1)
            return trial.report(resource, **{name: value})
        finally:
            study.close()

    sensible = integer(1, 9).is_sensible(resource) and is_number and name == "loss"
    return f"report({shown(resource)}, {name}={shown(value)})", call, sensible


def is_real(value: Any) -> bool:
    """Numbers, including exact ones and those that are not finite, because a loss may diverge."""
    found = plain(value)
    return isinstance(found, float | Decimal | Fraction) or number(-math.inf).is_sensible(found)


def _ask(rng: Random, folder: Path) -> Input:
    error = rng.choice([None, "boom", ValueError("x"), 0.5, [0.1], {"loss": 1}, hostile(rng)])
    limit = optional(POSITIVE).any(rng, 0.2)

    def call() -> Any:
        study = _study(folder)
        try:
            return study.tell(study.ask(max_trials=limit), error)
        finally:
            study.close()

    is_error = error is None or (isinstance(error, BaseException | str) and error != "")
    return f"ask({shown(limit)}), tell({shown(error)})", call, is_error and optional(POSITIVE).is_sensible(limit)


def _read(rng: Random, folder: Path) -> Input:
    method, kind = rng.choice(
        [
            ("front", one_of("full", "rung", "any")),
            ("plot", one_of("front", "curves", "timeline")),
            ("why", integer(0, 0)),
            ("logs", integer(0, 0)),
        ]
    )
    value = kind.any(rng, 0.7)

    def call() -> Any:
        study = _study(folder)
        study.enqueue({"x": 0.5})
        return getattr(study, method)(value)

    return f"{method}({shown(value)})", call, kind.is_sensible(value) and method in ("front", "plot")


def _enqueue(rng: Random, folder: Path) -> Input:
    value = number(0, 1).any(rng, 0.5)
    config = rng.choice([{"x": value}, {"x": value}, {"y": value}, {}, {"x": value, "y": 1}, hostile(rng)])
    sensible = isinstance(config, Mapping) and set(config) == {"x"} and number(0, 1).is_sensible(config["x"])
    return f"enqueue({shown(config)})", lambda: _study(folder).enqueue(config), sensible


def _trial(rng: Random, folder: Path) -> Input:
    per_device = rng.random() < 0.3
    key, size = hostile(rng) if rng.random() < 0.5 else "x", POSITIVE.any(rng, 0.5)
    by_key = rng.random() < 0.5

    def call() -> Any:
        study = _study(folder, batch="per_device" if per_device else "global")
        try:
            trial = study.ask(max_trials=1)
            return trial[key] if by_key else trial.per_device_batch_size(size)
        finally:
            study.close()

    is_known = isinstance(key, str) and key == "x"
    return f"trial[{shown(key)}] / batch {shown(size)}", call, is_known if by_key else POSITIVE.is_sensible(size)


def _name(rng: Random, folder: Path) -> Input:
    owner = rng.choice(list(_HABITS))
    name = rng.choice([*_HABITS[owner], "nothing_at_all", "frnt"])

    def call() -> Any:
        if owner == "module":
            return getattr(hwt, name)
        study = _study(folder)
        if owner == "study":
            return getattr(study, name)
        try:
            return getattr(study.ask(max_trials=1), name)
        finally:
            study.close()

    return f"{owner}.{name}", call, False


_STUDY_CALLS = {
    "make": _make, "run": _run, "report": _report, "ask": _ask, "read": _read, "enqueue": _enqueue, "trial": _trial,
    "name": _name,
}  # fmt: skip
