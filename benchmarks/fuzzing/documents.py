"""Study files, their overrides on the command line, and the node of the Hydra sweeper."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.constructors import Input, Refused
from benchmarks.fuzzing.values import Kind, Random, flag, integer, number, one_of, optional, plain

__all__ = ["hydra_node", "study_file"]

BASE: Mapping[str, Any] = {
    "study": "digits",
    "train": "json:dumps",
    "space": {
        "lr": {"type": "float", "low": 0.001, "high": 0.1, "log": True},
        "width": {"type": "int", "low": 8, "high": 32, "step": 8},
        "layers": {"type": "choice", "options": [[8], [8, 8], None, {"a": 1}]},
    },
    "objectives": [{"metric": "val_loss", "mode": "min"}, "train_s"],
    "scheduler": {"name": "asha", "max_epochs": 9, "eta": 3},
    "searcher": {"name": "tpe", "good": 0.2},
    "pool": {"accelerator": "cpu", "devices": 1},
    "max_trials": 4,
}
POSITIVE, COUNT = integer(1), integer(0)
_NEVER = Kind(lambda r: "x", lambda value: False)

PATHS: Mapping[str, Kind] = {
    "study": Kind(
        lambda r: "digits_2",
        lambda v: isinstance(v, str) and len(v) <= 200 and re.fullmatch(r"\w([\w .+=@-]*[\w+=@-])?", v) is not None,
    ),
    "train": Kind(lambda r: "a.b:c", lambda v: v == "a.b:c" if isinstance(v, str) else False),
    "space": _NEVER,
    "space.lr": _NEVER,
    "space.lr.type": _NEVER,
    "space.lr.low": Kind(lambda r: 0.01, lambda v: _is_number(v) and 0 < float(v) < 0.1),
    "space.lr.high": Kind(lambda r: 1.0, lambda v: _is_number(v) and float(v) > 0.001),
    "space.lr.log": flag(),
    "space.width.step": Kind(lambda r: 4, lambda v: _is_number(v) and float(v) in (1, 2, 3, 4, 6, 8, 12, 24)),
    "space.layers.options": Kind(
        lambda r: ["a", 1, None], lambda v: v in (["a", 1, None], [1], ["a"], [None], [[]], ["5"])
    ),
    "objectives": _NEVER,
    "objectives.0": Kind(lambda r: "cost", lambda v: False),
    "objectives.0.mode": one_of("min", "max", "minimize", "maximize"),
    "scheduler": _NEVER,
    "scheduler.name": one_of("asha", "successive_halving", "hyperband"),
    "scheduler.max_epochs": POSITIVE,
    "scheduler.eta": Kind(lambda r: "5/2", lambda v: (_is_number(v) and 1.1 <= float(v) <= 1e6) or v == "5/2"),
    "searcher": one_of("random", "sobol", "tpe", "grid"),
    "searcher.good": number(0, 1, below=True),
    "pool": Kind(lambda r: {}, lambda v: v == {}),
    "pool.devices": Kind(
        lambda r: "auto", lambda v: v == "auto" if isinstance(v, str) else integer(1, 8192).is_sensible(v)
    ),
    "pool.usd_per_device_hour": optional(number(0, 1e6)),
    "seed": integer(0, 2**64 - 1),
    "batch": one_of("global", "per_device"),
    "max_trials": optional(POSITIVE),
    "max_time": Kind(
        lambda r: "8h",
        lambda v: (
            v is None or v in ("8h", "90s", "5", "1h1h1h")
            if isinstance(v, str | None)
            else number(0, above=True).is_sensible(v)
        ),
    ),
    "max_cost": optional(_NEVER),
    "max_parallel": optional(POSITIVE),
    "finishers": Kind(lambda r: 2, lambda v: v == "auto" if isinstance(v, str) else COUNT.is_sensible(v)),
    "save_every": optional(POSITIVE),
    "max_retries": COUNT,
    "max_failures": POSITIVE,
    "disk_budget": Kind(
        lambda r: "5GB",
        lambda v: v is None or v in ("5GB", "20GB", "5") if isinstance(v, str | None) else POSITIVE.is_sensible(v),
    ),
    "enqueue": Kind(lambda r: [], lambda v: v == []),
    "preload": Kind(lambda r: ["json"], lambda v: v in ([], ["json"], ["a"])),
    "executor": one_of("local", "inline"),
    "dir": Kind(
        lambda r: "studies",
        lambda v: isinstance(v, str) and 0 < len(v) < 200 and "$" not in v and v.isprintable() and v != " ",
    ),
    "max_epochs": optional(_NEVER),  # there is a scheduler
    "n_trials": _NEVER,
    "nothing": _NEVER,
    "scheduler.reduction_factor": _NEVER,
    "scheduler.nothing": _NEVER,
    "searcher.n_startup": _NEVER,
    "space.lr.step": _NEVER,
}
"""Key -> its allowed values, with the rest of `BASE` unchanged."""

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 2**31, 2**64, 10**400, 0.5, -2.5, 1e308, 3.0, "", " ", "x", "5", "1e3", "auto",
    "min",
    "8h", "90s", "1h1h1h", "-5min", "20GB", "a" * 5000, "ü", "a\tb", [], [1], ["a"], [None], [[]], ["5"], {}, {"a": 1},
    {"name": "asha"}, {"name": None}, [{"a": [1]}], "${nowhere}", "${oc.env:NOWHERE_AT_ALL}", "${seed", "${study}",
    "5/2",
)  # fmt: skip
_RAW = (
    "study: [", "{", "- a\n", "study: a\nstudy: b\n", "a: &a [*a]\n", "a: &a\n  b: *a\n", "[" * 3000, "{a: " * 2000,
    "? [1, 2]\n: 3\n", "1: 2\n", "null\n", "'\n", "\x00", "study: !!python/object:os.system {}\n",
    "%YAML 9.9\n---\na: b\n",
    "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\n", "study: .nan\n", "study: 2020-01-01\n",
    "\ufeffstudy: x\n", "# x\n" * 1_000_000, "preload: [" + "a," * 500_000 + "a]\n", "seed: " + "9" * 5_000_000,
    "a: " + "9" * 5000 + "\n", "a: 0x" + "f" * 5000 + "\n", "a: 1:" + "2:" * 3000 + "3\n", "<<: 3\n", "<<: *a\n",
    "a: !!int x\n", "a: !!binary '%'\n",
    "a: !!timestamp 2020-99-99\n", "a: 9999-99-99\n", "\udcff",
)  # fmt: skip


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return False
    return number(-math.inf).is_sensible(value)


def _changed(rng: Random, paths: Mapping[str, Kind], base: Mapping[str, Any]) -> tuple[str, dict[str, Any], bool]:
    """Returns one path with a new value: what changed, the document, and whether it is sensible."""
    data = copy.deepcopy(dict(base))
    path = rng.choice(list(paths))
    value = plain(paths[path].draw(rng)) if rng.random() < 0.3 else copy.deepcopy(rng.choice(_VALUES))
    node: Any = data
    *parents, last = path.split(".")
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
        if not isinstance(node, dict | list):
            return path, data, False
    if isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value
    return f"{path}={str(value)[:80]!r}", data, paths[path].is_sensible(value)


def study_file(rng: Random, folder: Path) -> Input:
    """A study file with one unusual value or text, or a sensible file with an unusual override."""
    from lightning_hwtune.settings import StudySettings

    path = folder / f"{rng.getrandbits(60):x}.yaml"
    roll, overrides, sensible = rng.random(), [], False
    if roll < 0.15:
        text = rng.choice(_RAW)
        what = f"file {text[:40]!r}"
    elif roll < 0.75:
        what, data, sensible = _changed(rng, PATHS, BASE)
        text = json.dumps(data, default=plain)
    else:
        text, overrides = json.dumps(BASE, default=plain), [_override(rng)]
        what = f"override {overrides[0][:80]!r}"
        sensible = True if overrides[0] in _GOOD_OVERRIDES else False if overrides[0] in _ODD_OVERRIDES else None
    path.write_bytes(text.encode("utf-8", "surrogateescape"))

    def call() -> Any:
        settings = StudySettings.load(path, overrides)
        return settings.study_kwargs(), settings.limits()

    return what, call, sensible


_GOOD_OVERRIDES = (
    "max_trials=9",
    "+seed=3",
    "~searcher",
    "scheduler.eta=4",
    "space.lr.low=1e-5",
    "pool.devices=auto",
    "scheduler={name:asha,max_epochs:9}",
)
_ODD_OVERRIDES = (
    "=", "a", "~", "+", "++", "max_trials=", "max_trials=a=b", "max_trials=[1", "max_trials=1,2", "~nothing",
    "max_trials=range(1,3)",
    "objectives.9=1", "objectives.x=1", "space..lr=1", ".=1", "study.x=1", "a@b=c", "space.lr=${x}", "max_trials='",
    "\x00=1", "a" * 3000 + "=1",
    "+space.new=3", "scheduler=true", "scheduler=[1]", "scheduler={name:asha,max_epochs:9}", "n_trials=3",
    "hydra.x=1", "max_trials=" + "[" * 500,
    "seed=" + "9" * 5000, "~max_trials=5", "+max_trials=5", "$x=1", "max_trials=${max_trials}",
)  # fmt: skip


def _override(rng: Random) -> str:
    if rng.random() < 0.3:
        return rng.choice(_GOOD_OVERRIDES)
    if rng.random() < 0.5:
        return rng.choice(_ODD_OVERRIDES).replace("\udcff", "?")
    sign, value = rng.choice(["", "+", "++", "~"]), rng.choice(["", "[", "{", "null", "true", "{a:1}", "'"])
    return f"{sign}{rng.choice(list(PATHS))}={value}"


_GOOD_SWEEPS = ("range(0,1000000000)", "range(5,0,-2)", "choice(1,2)", "int(interval(0,10))", "range(0,1,0.25)")
_SWEEPS = (
    "choice()", "choice(1,1.0)", "choice(nan,1)", "interval(1,1)", "interval(2,1)", "interval(nan,1)", "range(0,10,0)",
    "range(0,1,1e-9)", "range(0.0,1e9,1)", "range(0,nan)", "range(0,inf)", "range(0,3,1e-300)",
    "shuffle(range(0,1000000000))", "tag(log,interval(0,1))", "interval(1e400,2)", "choice(a", "[" * 3000 + "]" * 3000,
    "choice(" + "1," * 50_000 + "2)",
)  # fmt: skip


def hydra_node(rng: Random, folder: Path) -> Input:
    """The node of the sweeper with one unusual value."""
    from hydra_plugins.hwtune_sweeper import HwtuneSweeperConf
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from lightning_hwtune.apps.hydra.search import read_search
    from lightning_hwtune.apps.hydra.settings import SweepSettings
    from lightning_hwtune.apps.trainer_settings import Horizon
    from lightning_hwtune.core.space import Float, SearchSpace

    if rng.random() < 0.15:
        text = rng.choice([*_SWEEPS, *_GOOD_SWEEPS])
        by_params, is_good = rng.random() < 0.5, text in _GOOD_SWEEPS
        given = ({"x": text}, []) if by_params else ({}, [f"x={text}"])
        return f"sweep {text[:60]!r}", lambda: read_search(*given), is_good
    what, data, sensible = _changed(
        rng, NODE, {"n_trials": 4, "hwtune": {"pool": {"devices": 1, "accelerator": "cpu"}}}
    )
    base = OmegaConf.to_container(OmegaConf.structured(HwtuneSweeperConf))
    assert isinstance(base, dict)
    given = data.pop("hwtune", None)
    node: dict[Any, Any] = {**base, **data}
    node["hwtune"] = {**base["hwtune"], **given} if isinstance(given, dict) else given

    def call() -> Any:
        try:
            config = OmegaConf.create(node)
        except OmegaConfBaseException:  # Hydra itself refuses to compose this
            raise Refused from None
        settings = SweepSettings.of(config)
        scheduler = settings.scheduler(Horizon(9, None)) or {"name": "run_to_end", "max_epochs": 9}
        objectives = settings.objectives([])[0] or settings.value_objectives()
        study = settings.study("job", SearchSpace(x=Float(0, 1)), objectives, scheduler)
        return study.study_kwargs(), study.limits()

    return f"node {what}", call, sensible


_NAMES = ("mine", "x", "5", "auto", "min", "8h", "1e3", "90s", "1h1h1h", "20GB", "ü")
_HWTUNE_KEYS = (
    "searcher",
    "pool",
    "pool.devices",
    "seed",
    "batch",
    "max_time",
    "max_cost",
    "finishers",
    "save_every",
    "max_retries",
    "max_failures",
    "disk_budget",
    "enqueue",
    "preload",
    "dir",
    "nothing",
)


def _among(*values: Any) -> Kind:
    return Kind(lambda r: r.choice(values), lambda value: value in values)


def _is_n_jobs(value: Any) -> bool:
    return value is None or (not isinstance(value, list | dict) and (value == -1 or POSITIVE.is_sensible(value)))


_METRIC = [{"metric": "a", "mode": "min"}]
NODE: Mapping[str, Kind] = {
    "n_trials": POSITIVE,
    "n_jobs": Kind(lambda r: -1, _is_n_jobs),
    "direction": _among(None, "minimize", "maximize", "min", "max", ["minimize"], ["min"]),
    "storage": Kind(lambda r: None, lambda v: None if isinstance(v, str) and v.strip() else v is None),
    "study_name": _among(None, *_NAMES),
    "max_failure_rate": optional(number(0, 1)),
    "params": Kind(lambda r: {"x": "interval(0, 1)"}, lambda v: v is None or isinstance(v, dict)),
    "hwtune": _among({}, None),
    "hwtune.objectives": _among(_METRIC, [], None),
    "hwtune.scheduler": _among("asha", {"name": "asha"}, None, "", {}),
    "hwtune.max_epochs": _among(9, None),
    **{f"hwtune.{key}": PATHS[key] for key in _HWTUNE_KEYS},
}
