"""The table: public call -> argument -> allowed values.

Arguments that are not in the table are checked by the call itself, and so are relations between arguments.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from lightning_hwtune.forms.containers import list_of_names, mapping, sequence
from lightning_hwtune.forms.kinds import (
    Form,
    Refused,
    flag,
    integer,
    number,
    one_of,
    optional,
    or_auto,
    or_word,
    path,
    plain,
    ratio,
    text,
)
from lightning_hwtune.forms.quantities import BYTES, DURATION

__all__ = ["FORMS", "MAX_DEVICES"]

MAX_DEVICES = 8192
"""Maximum number of devices, or of threads per device: the most CPU cores that Linux counts on one host."""

_EXECUTOR_METHODS = ("start", "wait", "end", "close")
_LARGEST_INT = 2**40  # above it, exp and log of a coordinate with 53 bits no longer distinguish neighbours
_MAX_CANDIDATES = 100_000  # more would take minutes per draw
_MAX_NAME = 500  # characters; names are used as headings of tables and keys of files
_MAX_PRICE = 1e6  # USD per device-hour
_MAX_SIMULATED_S = 1e9  # 30 years


def _seen_as(names: Mapping[str, str]) -> Form:
    own = tuple(dict.fromkeys(names.values()))
    return one_of(*own, **names)


def _executor(value: Any) -> Any:
    if isinstance(value, str):
        if ":" in value or "." in value:
            return value  # an import path, which is resolved when the study runs
        installed = importlib.metadata.entry_points(group="hwtune.executors")
        return one_of("local", "inline", *(entry.name for entry in installed)).accept(value)
    if not all(callable(getattr(type(value), name, None)) for name in _EXECUTOR_METHODS):
        raise Refused
    return value


def _error(value: Any) -> Any:
    if not isinstance(value, BaseException | str) or (isinstance(value, str) and not value.strip()):
        raise Refused(
            "Do not pass values to tell: log them in the training, or call trial.report(1, val_loss=0.5). "
            "Then call study.tell(trial)."
        )
    return value


def _n_jobs(value: Any) -> int | None:
    return None if value is None or plain(value) == -1 else integer(1).accept(value)


def _name(value: Any) -> str:
    name: str = text().accept(value)
    if name != name.strip() or len(name) > _MAX_NAME:
        raise Refused
    return name


_NAME = Form("text", f"a name of 1 to {_MAX_NAME} characters, without spaces at the start or end", _name)
_POSITIVE, _COUNT, _SHARE = integer(1), integer(0), number(0, 1, below=True)
_SHARE = _SHARE.but("a fraction, at least 0 and below 1")
_DEVICES = or_auto(integer(1, MAX_DEVICES).but(f"an integer from 1 to {MAX_DEVICES}: a count, not device indices"))
_DELAY = number(0, _MAX_SIMULATED_S).but("a number of seconds from 0 to 1e9")
_HORIZON = {name: optional(_POSITIVE) for name in ("max_epochs", "max_steps", "max_samples")}
_ETA = ratio(Fraction(11, 10), Fraction(10**6))  # below 1.1 a study has hundreds of rungs that stop almost no trial
_ETA = _ETA.but("a number from 1.1 to 1000000, e.g. 3: the best third is promoted")
_LADDER = {**_HORIZON, "first_rung": _POSITIVE, "eta": _ETA}
_WITHIN = text("the name of an order inside a front, such as 'hypervolume' or 'crowding'")
_BRACKETS = optional(_POSITIVE)
_STORE = {
    "name": text(),
    "dir": path(),
    "storage": optional(text("an SQLAlchemy URL such as 'sqlite:////path/to/studies.db'")),
    "disk_budget": BYTES,
}

_FILE: Mapping[str, Form] = {
    "train": text("an import path such as 'models.digits_study:train'"),
    "space": mapping("a mapping from the name of each parameter to its kind and range"),
    "objectives": sequence("a list such as [{metric: val_loss, mode: min}, train_s]"),
    "scheduler": optional(mapping("a mapping such as {name: asha, max_epochs: 27}, or a name", or_text=True)),
    "searcher": mapping("a mapping such as {name: tpe}, or a name", or_text=True),
    "prior": optional(one_of("auto")),
    "pool": mapping("a mapping such as {accelerator: cpu, devices: 2}"),
    "enqueue": sequence("a list of configurations, each a mapping with every parameter"),
}
_KEY = optional(text("a key of the app such as 'trainer.devices'"))

FORMS: Mapping[str, Mapping[str, Form]] = {
    "Float": {"low": number(), "high": number(), "log": flag()},
    "Int": {
        "low": integer(-_LARGEST_INT, _LARGEST_INT).but("an integer from -2**40 to 2**40"),
        "high": integer(-_LARGEST_INT, _LARGEST_INT).but("an integer from -2**40 to 2**40"),
        "log": flag(),
        "step": _POSITIVE,
    },
    "Choice": {"ordered": optional(flag())},
    "NumDevices": {
        "counts": integer(1, MAX_DEVICES).but(f"an integer from 1 to {MAX_DEVICES}: a count, not device indices")
    },
    "SearchSpace": {
        "name": _NAME.but(
            f"a name of 1 to {_MAX_NAME} characters, without spaces at the start or end, such as 'lr' or 'model.lr'"
        )
    },
    "Metric": {
        "name": _NAME.but(f"the name as logged, of 1 to {_MAX_NAME} characters, without spaces at the start or end"),
        "mode": _seen_as({"min": "min", "max": "max", "minimize": "min", "maximize": "max"}),
        "unit": text("text that is empty or has visible characters", may_be_empty=True),
        "across_ranks": one_of("mean", "max", "min", "sum", "rank0"),
        "best": flag(),
    },
    "Pool": {
        "accelerator": one_of("auto", "cpu", "gpu", cuda="gpu"),
        "devices": _DEVICES,
        "usd_per_device_hour": optional(number(0, _MAX_PRICE)).but(
            "a price from 0 to 1,000,000 in US dollars, or None"
        ),
        "threads_per_device": integer(1, MAX_DEVICES),
    },
    "ASHA": {
        **_LADDER,
        "brackets": _POSITIVE,
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
    "TPE": {
        "good": _SHARE,
        "random": _SHARE,
        "candidates": integer(1, _MAX_CANDIDATES),
        "min_points": optional(_POSITIVE),
        "rungs": one_of("highest", "all"),
    },
    "Table": {"name": path().but("the name of a table, or a folder that contains a table.json")},
    "SimulatedExecutor": {"start_s": _DELAY, "restore_s": _DELAY},
    "Failures": {"mean_s": number(0, _MAX_SIMULATED_S, above=True).but("a number of seconds above 0 and at most 1e9")},
    "EarlierTask": {"name": text()},
    "ParetoPrior": {
        "uniform": _SHARE,
        "batch": integer(1, _MAX_CANDIDATES),
        "candidates": integer(1, _MAX_CANDIDATES),
        "guarded": flag(),
    },
    "ParetoPrior.from_studies": {},
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
    "Study.check": {"preload": list_of_names("a list of module names such as ['torchvision']")},
    "Study.run": {
        "max_trials": optional(_POSITIVE),
        "max_time": DURATION,
        "max_cost": optional(number(0, above=True)).but("a positive number of US dollars, or None"),
        "max_parallel": optional(_POSITIVE),
        "finishers": or_auto(_COUNT),
        "hang_timeout": or_auto(DURATION),
        "save_every": optional(_POSITIVE).but("a positive integer, the epochs between checkpoints, or None"),
        "executor": Form(
            "text", "'local', 'inline', an import path, or an object with the methods of Executor", _executor
        ),
        "check": flag(),
        "progress": flag(),
        "preload": list_of_names("a list of module names such as ['torchvision']"),
    },
    "Study.ask": {"max_trials": optional(_POSITIVE), "finishers": or_auto(_COUNT), "progress": flag()},
    "Study.tell": {"error": optional(Form("error", "the exception that ended the segment, or its message", _error))},
    "Study.front": {"at": one_of("full", "rung", "any")},
    "Study.plot": {"what": one_of("front", "curves", "timeline")},
    "Study.why": {"trial_id": _COUNT},
    "Study.logs": {"trial_id": _COUNT},
    "Trial.report": {
        "resource": _POSITIVE.but(
            "a positive integer: the epochs (or steps, samples) trained so far", "After the first epoch report 1."
        ),
    },
    "Trial.per_device_batch_size": {"global_batch": _POSITIVE},
    "file": _FILE,
    "sweeper": {
        "storage": optional(_STORE["storage"]),
        "study_name": optional(text()),
        "n_trials": _POSITIVE,
        "n_jobs": Form("integer", "a positive integer, -1 or None", _n_jobs),
        "max_failure_rate": optional(number(0, 1)),
        "params": optional(mapping("a mapping from keys to overrides")),
        "custom_search_space": optional(text("an import path such as 'package.module.function'")),
        "hwtune": optional(mapping("a mapping with keys such as objectives and scheduler")),
    },
    "sweeper.hwtune": {
        "objectives": or_word("returned", optional(_FILE["objectives"])),
        "scheduler": _FILE["scheduler"],
        **_HORIZON,
        **dict.fromkeys(("ckpt_path_key", "batch_size_key"), _KEY),
        **dict.fromkeys(("devices_key", "max_epochs_key"), text("a key of the app such as 'trainer.devices'")),
    },
}
