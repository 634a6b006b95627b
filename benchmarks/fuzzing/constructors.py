"""The constructors of the Python interface."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import lightning_hwtune as hwt
from benchmarks.fuzzing.values import (
    Kind,
    Random,
    choice_options,
    flag,
    hostile,
    integer,
    is_option,
    named,
    number,
    one_of,
    option_identity,
    optional,
    plain,
)

__all__ = ["Input", "Refused", "arguments", "constructor", "is_auto", "shown"]

Input = tuple[str, Callable[[], Any], bool | None]
"""A description, the call, and whether it is sensible; None where the rule does not say."""

POSITIVE, COUNT = integer(1), integer(0)
HORIZON = {"max_epochs": optional(integer(1))}
UNKNOWN = (
    "step",
    "n_trials",
    "direction",
    "sampler",
    "foo",
    "max_t",
    "grace_period",
    "choices",
    "n_startup",
    "gpus",
    "",
)


class Refused(Exception):
    """A message that does not come from the package: of a command, with a status, or of Hydra."""


def _is_eta(value: Any) -> bool:
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, int | float | str | Fraction):
        return False
    if isinstance(found, str) and not re.fullmatch(r"[\d./]{1,30}(e\d\d?)?", found, re.ASCII):
        return False
    try:
        return Fraction(11, 10) <= Fraction(found if isinstance(found, int | Fraction) else str(found)) <= 10**6
    except (ValueError, ZeroDivisionError, OverflowError):
        return False


def _is_within(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    kinds = ("farthest_first", "hypervolume_contribution", "crowding", "weighted", "front_then_sum", "spread")
    return value in kinds or value.startswith(("weighted:", "objective:"))


ETA = Kind(lambda r: r.choice([2, 3, 2.5, "5/2", Fraction(3), np.int64(4)]), _is_eta)
WITHIN = Kind(lambda r: r.choice(["farthest_first", "crowding", "weighted:2,1", "objective:loss"]), _is_within)
LADDER = {"max_epochs": Kind(lambda r: r.choice([27, 81]), POSITIVE.is_sensible), "first_rung": POSITIVE, "eta": ETA}
LADDER["within"] = WITHIN
DEVICES = Kind(lambda r: r.choice(["auto", 1, 2, 4]), lambda v: is_auto(v) or integer(1, 8192).is_sensible(v))
NUMBER = number(-math.inf)
INT = integer(-(2**40), 2**40)

CALLS: Mapping[str, Mapping[str, Kind]] = {
    "Float": {"low": NUMBER, "high": NUMBER, "log": flag()},
    "Int": {"low": INT, "high": INT, "log": flag(), "step": POSITIVE},
    "Metric": {
        "name": named(),
        "mode": one_of("min", "max", "minimize", "maximize"),
        "unit": Kind(lambda r: r.choice(["", "s"]), lambda v: isinstance(v, str) and (v == "" or _is_text(v))),
    },
    "Pool": {
        "accelerator": one_of("auto", "cpu", "gpu", "cuda"),
        "devices": DEVICES,
        "usd_per_device_hour": optional(number(0, 1e6)),
        "threads_per_device": integer(1, 8192),
    },
    "ASHA": {**LADDER, "brackets": POSITIVE, "type": one_of("promotion", "stopping"), "strict": flag()},
    "PASHA": {**LADDER, "quota": one_of("floor", "quantile")},
    "Hyperband": {**LADDER, "brackets": optional(POSITIVE), "type": one_of("synchronous", "asynchronous")},
    "SuccessiveHalving": {**LADDER, "bracket_size": optional(POSITIVE)},
    "MedianStopping": {"max_epochs": POSITIVE, "first_rung": POSITIVE, "every": POSITIVE, "min_trials": POSITIVE},
    "RunToEnd": {"max_epochs": POSITIVE},
    "Grid": {"points_per_float": integer(2, 10**6)},
    "TPE": {
        "good": number(0, 1, below=True),
        "random": number(0, 1, below=True),
        "candidates": integer(1, 10**5),
        "min_points": optional(POSITIVE),
        "rungs": one_of("highest", "all"),
    },
    "Random": {},
    "Sobol": {},
    "TrainSeconds": {},
}


def is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def _is_text(value: Any) -> bool:
    return named().is_sensible(value.strip()) if isinstance(value, str) else False


def arguments(rng: Random, kinds: Mapping[str, Kind], share: float) -> tuple[dict[str, Any], bool]:
    """Returns arguments, some of them hostile, and whether each one alone is sensible."""
    given = {
        name: kind.any(rng, share) for name, kind in kinds.items() if rng.random() < 0.8 or name in ("low", "high")
    }
    if rng.random() < 0.06:
        given[rng.choice(UNKNOWN)] = 1
    return given, all(name in kinds and kinds[name].is_sensible(value) for name, value in given.items())


def constructor(rng: Random, folder: Path) -> Input:
    """A constructor with random arguments."""
    roll = rng.random()
    if roll < 0.16:
        options = choice_options(rng)
        given = [options] if rng.random() < 0.9 else ["a", "b"]
        return (
            f"Choice({shown(given)})",
            lambda: _used(hwt.Choice(*given)),
            _are_options(options) if len(given) == 1 else False,
        )
    if roll < 0.22:
        counts = [integer(1, 8192).any(rng, 0.3) for _ in range(rng.randrange(4))]
        sensible = bool(counts) and all(map(integer(1, 8192).is_sensible, counts)) and _distinct(counts)
        return f"NumDevices({shown(counts)})", lambda: hwt.NumDevices(*counts), sensible
    if roll < 0.3:
        names = [key if isinstance(key := named().any(rng, 0.3), str | int | float | None) else "x" for _ in range(2)]
        space = {name: _parameter(rng) for name in names} if rng.random() < 0.9 else hostile(rng)
        return f"SearchSpace({shown(space)})", lambda: hwt.SearchSpace(space), _is_space(space)
    if roll < 0.34:
        given = [hostile(rng) for _ in range(rng.randrange(3))]
        return f"from_studies({shown(given)})", lambda: hwt.ParetoPrior.from_studies(*given), False
    name = rng.choice(list(CALLS))
    given, sensible = arguments(rng, CALLS[name], 0.35)
    return f"{name}({shown(given)})", lambda: repr(getattr(hwt, name)(**given)), sensible and _fits(name, given)


def _parameter(rng: Random) -> Any:
    return rng.choice([hwt.Float(0, 1), hwt.Int(1, 4), hwt.Choice(["a", 1]), hostile(rng)])


def _is_space(space: Any) -> bool:
    if not isinstance(space, Mapping) or not space:
        return False
    kinds = (hwt.Float, hwt.Int, hwt.Choice, hwt.NumDevices)
    return all(named().is_sensible(name) and isinstance(item, kinds) for name, item in space.items())


def _distinct(values: list[Any]) -> bool:
    return len({int(plain(value)) for value in values}) == len(values)


def _are_options(options: Any) -> bool | None:
    if hasattr(options, "__next__"):  # reading an iterator would use it up
        return None
    if isinstance(options, range):
        return 0 < len(options) <= 10**6
    if isinstance(options, np.ma.MaskedArray):  # masked elements are not options
        return False
    if isinstance(options, np.ndarray):
        options = options.tolist() if options.ndim else None
    if not isinstance(options, list | tuple) or not options or not all(map(is_option, options)):
        return False
    seen = [option_identity(item) for item in options]
    return not any(one == other for one, other in itertools.combinations(seen, 2))


def _used(choice: hwt.Choice) -> Any:
    """Returns a configuration of a space with this choice, after all steps that a study applies to it."""
    space = hwt.SearchSpace(c=choice, x=hwt.Float(0, 1))
    config = space.sample(np.random.default_rng(0))
    return space.decode(space.encode(space.validate(config))), hash(space), repr(space), space.to_dict()


def _fits(name: str, given: Mapping[str, Any]) -> bool | None:
    """Whether arguments that are sensible one by one are also sensible together."""
    if name in ("Float", "Int"):
        if "low" not in given or "high" not in given:
            return False
        low, high, is_log = plain(given["low"]), plain(given["high"]), bool(given.get("log", False))
        step = int(plain(given.get("step", 1)))
        is_range = low < high and (not is_log or (low > 0 and step == 1)) and math.isfinite(float(high) - float(low))
        return is_range and (name == "Float" or (high - low) % step == 0)
    if name == "Metric":
        return {"name", "mode"} <= set(given) and given["name"] not in ("train_s", "device_s", "cost_usd")
    if name in ("ASHA", "PASHA", "Hyperband", "SuccessiveHalving", "MedianStopping", "RunToEnd"):
        return False if given.get("max_epochs") is None else _fits_ladder(name, given)
    return True


def _fits_ladder(name: str, given: Mapping[str, Any]) -> bool | None:
    """The same for rungs; None if it depends on them: three for PASHA, one per bracket, the terms of `within`."""
    last, first = plain(given["max_epochs"]), plain(given.get("first_rung", 1))
    if first > last or (name == "MedianStopping" and (last - first) / plain(given.get("every", 1)) > 99_999):
        return False
    if name in ("MedianStopping", "RunToEnd"):
        return True
    usual = given.get("within", "crowding") == "crowding" and given.get("brackets") in (None, 1)
    return True if usual and name != "PASHA" and not bool(given.get("strict", False)) else None


def shown(value: Any) -> str:
    try:
        return repr(value)[:300]
    except Exception as error:
        return f"<{type(value).__name__} without a repr: {type(error).__name__}>"
