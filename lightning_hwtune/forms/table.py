"""The table: public call -> argument -> allowed values.

Arguments that are not in the table are checked by the call itself, and so are relations between arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from lightning_hwtune.forms.containers import elements, mapping
from lightning_hwtune.forms.kinds import (
    Form,
    Refused,
    flag,
    integer,
    number,
    one_of,
    optional,
    or_auto,
    or_text,
    path,
    ratio,
    text,
)
from lightning_hwtune.forms.quantities import BYTES, DURATION
from lightning_hwtune.forms.run_options import ASK_OPTIONS, REPLICATE_OPTIONS, RUN_OPTIONS

__all__ = ["FORMS", "MAX_DEVICES"]

MAX_DEVICES = 8192
"""Maximum number of devices, or of threads per device: the most CPU cores that Linux counts on one host."""

_LARGEST_INT = 2**40  # above it, exp and log of a coordinate with 53 bits no longer distinguish neighbours
_MAX_CANDIDATES = 100_000  # more would take minutes per draw
_MAX_NAME = 500  # characters; names are used as headings of tables and keys of files
_MAX_PRICE = 1e6  # USD per device-hour
_MAX_SIMULATED_S = 1e9  # 30 years
_MAX_STEPS = 900  # of one measurement; the clock of a segment keeps 1000
_MAX_PLANNED_TRIALS, _MAX_NODES = 1_000_000, 256  # in one stage of a plan


def _accelerator(value: Any) -> Any:
    if isinstance(value, str) and value.strip().lower() in ("mps", "metal"):
        raise Refused(
            "Apple's GPU cannot be used in forked processes, and each trial trains in one. Use Pool('cpu') on a Mac."
        )
    return _ACCELERATOR.accept(value)


def _seen_as(names: Mapping[str, str]) -> Form:
    own = tuple(dict.fromkeys(names.values()))
    return one_of(*own, **names)


def _error(value: Any) -> Any:
    if not isinstance(value, BaseException | str) or (isinstance(value, str) and not value.strip()):
        raise Refused(
            "Do not pass values to tell: log them in the training, or call trial.report(1, val_loss=0.5). "
            "Then call study.tell(trial)."
        )
    return value


FIGURE_NAMES = (
    "front", "timeline", "curves", "ladder", "importance", "slices", "contour", "parallel", "rank", "hypervolume",
    "ledger",
)  # fmt: skip
"""What `Study.plot` can draw."""


_SPEEDS = "a mapping from numbers of devices to positive speeds, one of them for 1 device, such as {1: 1, 2: 1.9}"


def _device_speeds(value: Any) -> dict[str, float]:
    """Returns speeds relative to one device, by numbers of devices as text, which JSON can have as keys."""
    count, speed = integer(1, MAX_DEVICES), number(0, above=True)
    given = {int(key) if isinstance(key, str) and key.isdecimal() else key: speeds for key, speeds in value.items()}
    found = {count.accept(key): speed.accept(item) for key, item in given.items()}
    if 1 not in found:
        raise Refused("All speeds are compared with that of one device.")
    return {str(key): found[key] / found[1] for key in sorted(found)}


def _counts_per_stage(value: Any) -> tuple[int, ...]:
    one = integer(1, MAX_DEVICES)
    found = tuple(one.accept(count) for count in elements("", MAX_DEVICES).accept(value))
    if not found:
        raise Refused("It is empty.")
    return found


_COUNTS_PER_STAGE = Form(
    "list",
    "positive integers, one per stage, such as [1, 4, 12]",
    _counts_per_stage,
    schema={"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
)


def _device_counts(value: Any) -> list[int]:
    one = integer(1, MAX_DEVICES)
    found = [one.accept(count) for count in elements("", MAX_DEVICES).accept(value)]
    if not found or len(set(found)) < len(found):
        raise Refused("It is empty." if not found else "A number occurs twice.")
    return found


def _name(value: Any) -> str:
    name: str = text().accept(value)
    if name != name.strip() or len(name) > _MAX_NAME:
        raise Refused
    return name


_NAME = Form(
    "text",
    f"a name of 1 to {_MAX_NAME} characters, without spaces at the start or end",
    _name,
    schema={"type": "string"},
)
_ACCELERATOR = one_of("auto", "cpu", "gpu", cuda="gpu")
_WHEN = mapping("a mapping from another parameter to its value or values, such as {'optimizer': 'sgd'}")
_WHEN = optional(replace(_WHEN, schema={"type": "object", "minProperties": 1}))
_EXPECTED = optional(number()).but(
    "the value to try first, a number of the range, or None", "For a logarithmic scale use log=True."
)
_POSITIVE, _COUNT, _SHARE = integer(1), integer(0), number(0, 1, below=True)
_SHARE = _SHARE.but("a fraction, at least 0 and below 1")
_DEVICES = or_auto(integer(1, MAX_DEVICES).but(f"an integer from 1 to {MAX_DEVICES}: a count, not device indices"))
_DELAY = number(0, _MAX_SIMULATED_S).but("a number of seconds from 0 to 1e9")
_HORIZON = {name: optional(_POSITIVE) for name in ("max_epochs", "max_steps", "max_samples")}
_ETA = ratio(Fraction(11, 10), Fraction(10**6))  # below 1.1 a study has hundreds of rungs that stop almost no trial
_ETA = _ETA.but("a number from 1.1 to 1000000, such as 3, which promotes the best third")
_LADDER = {**_HORIZON, "first_rung": _POSITIVE, "eta": _ETA}
_WITHIN = text("the name of an order of a rung, such as 'hypervolume_contribution' or 'crowding'")
_BRACKETS = optional(_POSITIVE)
_RESOLUTION = number(0).but("a number, at least 0: differences below it do not count")
_RELATIVE = number(0, 1).but("a number from 0 to 1: 0.05 means that differences below 5 % do not count")
_BOUND = optional(or_text(number())).but("a finite number, or None; of a measured quantity also text such as '2GB'")
_INSTANCE = Form(
    "text or mapping",
    "the name of an instance type, an InstanceType or its arguments as a mapping, or None",
    lambda value: value,  # the pool reads it
    schema={"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "null"}]},
)
_NODE_COUNT = integer(1, MAX_DEVICES)


def _nodes(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        if not value:
            raise Refused("It is empty.")
        return elements("", MAX_DEVICES).accept(value)  # the pool reads them
    return _NODE_COUNT.accept(value)


_NODES = Form(
    "integer or list",
    f"an integer from 1 to {MAX_DEVICES}, or a list such as [{{count: 2, devices: 8}}, {{count: 4, devices: 4}}]",
    _nodes,
    schema={"anyOf": [_NODE_COUNT.schema, {"type": "array", "items": {"type": "object"}, "minItems": 1}]},
)
_STORE = {
    "name": text(),
    "dir": path(),
    "storage": optional(text("an SQLAlchemy URL such as 'sqlite:////path/to/studies.db'")),
    "disk_budget": BYTES,
}

FORMS: Mapping[str, Mapping[str, Form]] = {
    "Float": {"low": number(), "high": number(), "log": flag(), "when": _WHEN, "prior": _EXPECTED},
    "Int": {
        "low": integer(-_LARGEST_INT, _LARGEST_INT).but("an integer from -2**40 to 2**40"),
        "high": integer(-_LARGEST_INT, _LARGEST_INT).but("an integer from -2**40 to 2**40"),
        "log": flag(),
        "step": _POSITIVE,
        "when": _WHEN,
        "prior": _EXPECTED,
    },
    "Choice": {"ordered": optional(flag()), "when": _WHEN},
    "NumDevices": {
        "counts": integer(1, MAX_DEVICES).but(f"an integer from 1 to {MAX_DEVICES}: a count, not device indices")
    },
    "SearchSpace": {
        "name": _NAME.but(
            f"names of 1 to {_MAX_NAME} characters, without spaces at the start or end, such as 'lr' or 'model.lr'"
        )
    },
    "Metric": {
        "name": _NAME.but(f"the name as logged, of 1 to {_MAX_NAME} characters, without spaces at the start or end"),
        "mode": _seen_as({"min": "min", "max": "max", "minimize": "min", "maximize": "max"}),
        "unit": text("text that is empty or has visible characters", may_be_empty=True),
        "across_ranks": one_of("mean", "max", "min", "sum", "rank0"),
        "best": flag(),
        "resolution": _RESOLUTION,
        "at_most": optional(number()),
        "at_least": optional(number()),
    },
    "Constraint": {
        "name": _NAME.but(f"the name as logged, of 1 to {_MAX_NAME} characters, without spaces at the start or end"),
        "at_most": _BOUND,
        "at_least": _BOUND,
        "changes": flag(),
    },
    **{key: {"resolution": _RELATIVE} for key in ("TrainSeconds", "DeviceSeconds", "Cost", "Energy", "PeakMemory")},
    "Pool": {
        "accelerator": replace(_ACCELERATOR, accept=_accelerator),
        "devices": _DEVICES,
        "usd_per_device_hour": optional(number(0, _MAX_PRICE)).but(
            "a price from 0 to 1,000,000 in US dollars, or None"
        ),
        "threads_per_device": integer(1, MAX_DEVICES),
        "instance": _INSTANCE,
        "per_device": or_auto(integer(1, 64)).but("how many trials share one device, from 1 to 64, or 'auto'"),
        "spot": flag(),
        "nodes": or_auto(_NODES),
    },
    "Nodes": {
        "count": integer(1, MAX_DEVICES),
        "devices": optional(integer(1, MAX_DEVICES)),
        "instance": optional(_INSTANCE),
    },
    "InstanceType": {
        "name": _NAME,
        "usd_per_hour": number(0, _MAX_PRICE).but("a price from 0 to 1,000,000 in US dollars per hour"),
        "devices": integer(0, MAX_DEVICES).but(f"the number of accelerators, from 0 to {MAX_DEVICES}"),
        "accelerator": text("a name such as 'T4', or 'cpu'; empty text for 'gpu' or 'cpu'", may_be_empty=True),
        "memory_gib": optional(number(0, above=True)).but("the main memory in GiB, a number above 0, or None"),
        "vcpus": optional(integer(1, MAX_DEVICES)).but(f"the number of CPUs, from 1 to {MAX_DEVICES}, or None"),
        "provider": text("a name such as 'aws'"),
        "region": text("a name such as 'us-east-1', or empty text", may_be_empty=True),
        "usd_per_hour_spot": optional(number(0, _MAX_PRICE)).but(
            "the price as a spot instance, from 0 to 1,000,000 in US dollars per hour, or None"
        ),
        "source": text("where the price was found, or empty text", may_be_empty=True),
        "date": text("the date of the price, such as '2026-07-20', or empty text", may_be_empty=True),
    },
    "Catalogue.where": {
        "min_devices": optional(integer(0, MAX_DEVICES)).but(f"an integer from 0 to {MAX_DEVICES}, or None"),
        "max_usd_per_hour": optional(number(0)).but("a price in US dollars per hour, at least 0, or None"),
        **{name: optional(text()) for name in ("accelerator", "provider", "region")},
    },
    "BillingRule": {
        name: number(0, _MAX_SIMULATED_S).but("a number of seconds from 0 to 1e9")
        for name in ("quantum_s", "minimum_s", "free_if_lost_within_s")
    },
    "FixedAllocation": {"devices": integer(1, MAX_DEVICES).but(f"an integer from 1 to {MAX_DEVICES}")},
    "DeadlineAllocation": {
        "max_devices": optional(integer(1, MAX_DEVICES).but(f"an integer from 1 to {MAX_DEVICES}")),
    },
    "AdvisedAllocation": {
        "max_devices": optional(integer(1, MAX_DEVICES).but(f"an integer from 1 to {MAX_DEVICES}, or None")),
    },
    "PlannedAllocation": {
        "devices": _COUNTS_PER_STAGE,
        "nodes": optional(_COUNTS_PER_STAGE),
    },
    "SeerAllocation": {
        "max_devices": optional(integer(1, MAX_DEVICES).but(f"an integer from 1 to {MAX_DEVICES}, or None")),
        "unit_s": optional(number(0, _MAX_SIMULATED_S, above=True)),
        "speeds": optional(Form("mapping", _SPEEDS, _device_speeds, schema={"type": "object"})),
        "start_s": _DELAY,
    },
    "DoublingAllocation": {
        "devices": integer(1, MAX_DEVICES).but(f"an integer from 1 to {MAX_DEVICES}"),
        "max_devices": optional(integer(1, MAX_DEVICES).but(f"an integer from 1 to {MAX_DEVICES}")),
        "factor": integer(2, MAX_DEVICES).but(f"an integer from 2 to {MAX_DEVICES}"),
    },
    "ASHA": {
        **_LADDER,
        "first_rung": optional(_POSITIVE),
        "eta": optional(_ETA),
        "brackets": optional(_POSITIVE),
        "type": one_of("promotion", "stopping"),
        "strict": flag(),
        "keep_front": flag(),
        "within": _WITHIN,
    },
    "PASHA": {**_LADDER, "quota": one_of("floor", "quantile"), "within": _WITHIN},
    "SuccessiveHalving": {**_LADDER, "bracket_size": optional(_POSITIVE), "within": _WITHIN},
    "Hyperband": {
        **_LADDER,
        "brackets": _BRACKETS,
        "type": one_of("synchronous", "asynchronous"),
        "within": _WITHIN,
    },
    "MedianStopping": {**_HORIZON, "first_rung": _POSITIVE, "every": _POSITIVE, "min_trials": _POSITIVE},
    "RunToEnd": _HORIZON,
    "Grid": {"points_per_float": integer(2, 1_000_000)},
    "GP": {"start": integer(2, 1_000_000)},
    "TPE": {
        "good": _SHARE,
        "random": _SHARE,
        "candidates": integer(1, _MAX_CANDIDATES),
        "min_points": optional(_POSITIVE),
        "rungs": one_of("all", "highest"),
        "estimator": one_of("parzen", "bohb"),
        "gaussian": number(0, 1).but("a fraction from 0 to 1"),
    },
    "Evolution": {"algorithm": one_of("nsga2", "nsga3"), "population": integer(2, _MAX_CANDIDATES)},
    "OptunaSampler": {
        "sampler": Form("text", "the name of a sampler, such as 'CmaEsSampler'", lambda given: given),
        "options": optional(mapping("a mapping from the sampler's arguments to plain data")),
    },
    "Abilities": {
        **{name: optional(_POSITIVE) for name in ("max_devices", "max_segments")},
        **{name: flag() for name in ("trains_here", "starts_processes", "can_check", "limits_hangs")},
        **{name: flag() for name in ("needs_payload", "uses_fork_server")},
    },
    "Stage": {"trials": integer(1, _MAX_PLANNED_TRIALS), "units": number(0, _MAX_SIMULATED_S, above=True)},
    "Job": {"unit_s": number(0, _MAX_SIMULATED_S, above=True), "start_s": _DELAY},
    "NodeKind": {
        "devices": integer(1, MAX_DEVICES),
        "most": integer(1, _MAX_NODES),
        "usd_per_hour": number(0, _MAX_PRICE).but("a price from 0 to 1,000,000 in US dollars"),
        "launch_s": _DELAY,
    },
    "PoolStudy": {
        "trials": integer(1, _MAX_PLANNED_TRIALS),
        "devices": integer(1, MAX_DEVICES),
        "unit_s": number(0, _MAX_SIMULATED_S, above=True),
        **dict.fromkeys(("start_s", "restore_s"), _DELAY),
        "variation": number(1, 1000),
        "seeds": integer(1, 1000),
        "first_seed": _COUNT,
    },
    "Table": {"name": path().but("the name of a table, or a folder that contains a table.json")},
    "SimulatedExecutor": {"start_s": _DELAY, "restore_s": _DELAY},
    "Failures": {"mean_s": number(0, _MAX_SIMULATED_S, above=True).but("a number of seconds above 0 and at most 1e9")},
    "Speeds": {"spread": number(0, 10).but("the standard deviation of a logarithm, from 0 to 10")},
    "Cloud": {
        "launch_s": _DELAY,
        "launch_spread": number(0, 10).but("the standard deviation of a logarithm, from 0 to 10"),
        "lost_after_s": optional(number(0, _MAX_SIMULATED_S, above=True)).but(
            "a number of seconds above 0 and at most 1e9, or None"
        ),
        "never_share": number(0, 1).but("a fraction from 0 to 1"),
        "straggler_share": number(0, 1).but("a fraction from 0 to 1"),
        "straggler_factor": number(1, 1e6).but("a factor of at least 1"),
        "timeout_s": number(0, _MAX_SIMULATED_S, above=True).but("a number of seconds above 0 and at most 1e9"),
        "seed": integer(0, 2**64 - 1).but("an integer from 0 to 2**64 - 1"),
    },
    "RayCluster": {
        "address": optional(text("the address of a cluster of Ray, such as '10.0.0.1:6379', or None")),
        "per_node": optional(mapping("a mapping such as {'a100': 1}, or None")),
        "labels": optional(mapping("a mapping such as {'ray.io/accelerator-type': 'H100'}, or None")),
        "per_type": optional(mapping("a mapping such as {'p3.16xlarge': {'v100': 1}}, or None")),
        "timeout": DURATION,
    },
    "EarlierTask": {"name": text()},
    "ParetoPrior": {
        "uniform": _SHARE,
        "batch": integer(1, _MAX_CANDIDATES),
        "candidates": integer(1, _MAX_CANDIDATES),
        "guarded": flag(),
        "gaussian": number(0, 1).but("a fraction from 0 to 1"),
        "evidence": one_of("corrects", "all", "uniform"),
    },
    "ParetoPrior.from_studies": {},
    "ParetoPrior.from_optuna": {},
    "ParetoPrior.from_frame": {"task": optional(text()), "name": text()},
    "ParetoPrior.from_table": {"resource": optional(_POSITIVE)},
    "Study": {
        **_STORE,
        "seed": integer(0, 2**64 - 1).but("an integer from 0 to 2**64 - 1"),
        "batch": one_of("global", "per_device"),
        "prior": optional(one_of("auto")).but(
            "'auto' or None", "To choose the earlier studies yourself, use searcher=ParetoPrior.from_studies(...)."
        ),
        "max_retries": _COUNT,
        "max_failures": _POSITIVE,
        **_HORIZON,
    },
    "Result": {
        "trial_id": _COUNT,
        "config": mapping("a mapping from parameters to values"),
        "num_devices": _POSITIVE,
        "values": mapping("a mapping from objectives to values"),
        "epochs": _COUNT,
    },
    "Study.load": _STORE,
    "Study.check": {"preload": RUN_OPTIONS["preload"].form},
    "Study.profile": {
        "devices": optional(Form("list", "different numbers of devices such as [1, 2, 4], or None", _device_counts)),
        "steps": integer(1, _MAX_STEPS),
        "global_batch": optional(_POSITIVE),
        "preload": RUN_OPTIONS["preload"].form,
    },
    "Study.run": {name: item.form for name, item in RUN_OPTIONS.items()},
    "Study.ask": {name: item.form for name, item in ASK_OPTIONS.items()},
    "Study.replicate": {
        "seeds": integer(1).but("a positive integer: how many replicates each trial gets"),
        **{name: item.form for name, item in REPLICATE_OPTIONS.items()},
    },
    "Study.refit": {
        "from_checkpoint": flag(),
        "again": flag(),
        **{name: item.form for name, item in REPLICATE_OPTIONS.items()},
    },
    "Study.test": {"again": flag(), "progress": flag(), "preload": RUN_OPTIONS["preload"].form},
    "Study.add": {"resource": optional(_POSITIVE)},
    "Study.tell": {"error": optional(Form("error", "the exception that ended the segment, or its message", _error))},
    "Study.front": {"at": one_of("full", "rung", "any")},
    "Study.recommend": {},
    "Study.importance": {"objective": optional(text("the name of an objective")), "at": optional(_POSITIVE)},
    "Study.plot": {
        "what": one_of(*FIGURE_NAMES),
        "objective": optional(text("the name of an objective")),
        "at": optional(_POSITIVE),
        "parameters": optional(Form("list", "the names of two parameters", tuple)),
    },
    "Study.why": {"trial_id": _COUNT},
    "Study.logs": {"trial_id": _COUNT},
    "Trial.report": {
        "resource": _POSITIVE.but(
            "a positive integer: the epochs (or steps, samples) trained so far",
            "After the first epoch report 1: trial.report(1, val_loss=0.5).",
        ),
    },
    "Trial.note": {"key": text("text, the name of the value")},
    "Trial.per_device_batch_size": {"global_batch": _POSITIVE},
}
