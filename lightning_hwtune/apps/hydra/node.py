"""The node `hydra.sweeper`: its keys, their defaults and meanings, and the classes that Hydra reads.

Hydra imports this module whenever an app starts, so it imports nothing slow. Keys of study files come from their
table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lightning_hwtune.forms.containers import mapping
from lightning_hwtune.forms.kinds import Form, integer, number, optional, or_word, plain, text
from lightning_hwtune.forms.settings import Setting
from lightning_hwtune.forms.study_keys import FILE_KEYS

__all__ = ["ELSEWHERE", "HWTUNE_KEYS", "NOT_IN_HWTUNE", "STUDY_KEYS", "SWEEPER_KEYS", "HwtuneConf", "HwtuneSweeperConf"]

ELSEWHERE: Mapping[str, str] = {
    "study": "study_name",
    "max_trials": "n_trials",
    "max_parallel": "n_jobs",
    "storage": "storage",
}
"""Keys of study files that are keys of the Optuna sweeper under this name."""

_ABSENT = {"train", "space"}  # the app trains; the overrides are the space


def _n_jobs(value: Any) -> int | None:
    return None if value is None or plain(value) == -1 else integer(1).accept(value)


def _any(value: Any) -> Any:
    return value  # `monitored_metric.directions` reads it


def _of_file(key: str, doc: str, form: Form | None = None, default: Any = None) -> Setting:
    """A key of study files that has another meaning or default here."""
    return dataclasses.replace(FILE_KEYS[key], default=default, form=form or FILE_KEYS[key].form, doc=doc)


_CHANGED: Mapping[str, Setting] = {
    "objectives": _of_file(
        "objectives",
        "What is optimised, such as `[{metric: val/loss, mode: min}, train_s]`. None: the metric that the app's "
        'callbacks monitor. "returned": the values that the app\'s main returns.',
        or_word("returned", optional(FILE_KEYS["objectives"].form)),
    ),
    "scheduler": _of_file(
        "scheduler",
        "The rule that pauses, promotes and stops trials, such as `{name: asha, eta: 3}`. None: `asha` or, if no "
        "metric is known, no early stopping.",
    ),
    "max_epochs": _of_file(
        "max_epochs",
        "The full training in epochs, if `scheduler` is None. None: the app's own horizon, see `max_epochs_key`.",
    ),
}
_APP_KEY = text("a key of the app such as 'trainer.devices'")

STUDY_KEYS: Mapping[str, Setting] = {
    key: _CHANGED.get(key, item) for key, item in FILE_KEYS.items() if key not in {*ELSEWHERE, *_ABSENT}
}
"""The keys of `hydra.sweeper.hwtune` that study files have, too."""

HWTUNE_KEYS: Mapping[str, Setting] = {
    **STUDY_KEYS,
    "ckpt_path_key": Setting(
        None,
        optional(_APP_KEY),
        "The app's key for the checkpoint to resume from. None: the checkpoint is restored without the app's help.",
        str | None,
    ),
    "devices_key": Setting("trainer.devices", _APP_KEY, "The app's key for the number of devices.", str),
    "batch_size_key": Setting(
        None,
        optional(_APP_KEY),
        "The app's key for the batch size of one device's loader; its value is divided among the trial's devices.",
        str | None,
    ),
    "max_epochs_key": Setting(
        "trainer.max_epochs", _APP_KEY, "The app's key for the length of a full training, in epochs.", str
    ),
}
"""The keys of `hydra.sweeper.hwtune`."""

SWEEPER_KEYS: Mapping[str, Setting] = {
    "direction": Setting(
        None,
        Form("text or list", "minimize, maximize, a list of them, or None", _any),
        '"minimize", "maximize", or a list with one of them per returned value. None: the direction of the app\'s own '
        "monitor.",
    ),
    "storage": dataclasses.replace(
        FILE_KEYS["storage"], annotation=Any
    ),  # Optuna's may be a mapping; its form refuses it
    "study_name": Setting(
        None,
        optional(text()),
        "The study's name; the same name continues the study. None: made from the job's name and the searched "
        "parameters.",
        str | None,
    ),
    "n_trials": dataclasses.replace(FILE_KEYS["max_trials"], default=20, form=integer(1), annotation=int),
    "n_jobs": dataclasses.replace(
        FILE_KEYS["max_parallel"], form=Form("integer", "a positive integer, -1 or None", _n_jobs)
    ),
    "max_failure_rate": Setting(
        None,
        optional(number(0, 1)),
        "Fraction that may fail of all trials that the study has or may still get (`n_trials`). None: "
        "`hwtune.max_failures`, which also takes precedence if it is given.",
        float | None,
    ),
    "params": Setting(
        None,
        optional(mapping("a mapping from keys to overrides")),
        "The search space: maps each key to an override, as on the command line.",
    ),
    "custom_search_space": Setting(
        None,
        optional(text("an import path such as 'package.module.function'")),
        "Import path of a function (config, trial) that suggests further parameters.",
        str | None,
    ),
}
"""The keys of `hydra.sweeper`, which are those of the Optuna sweeper, except those without effect."""

NOT_IN_HWTUNE: Mapping[str, str] = {
    **{key: f"set `hydra.sweeper.{key}`" for key in SWEEPER_KEYS},
    **{key: f"set `hydra.sweeper.{name}`" for key, name in ELSEWHERE.items()},
    "train": "the app itself is the training function",
    "space": "write the search space as overrides, such as model.lr='interval(1e-4, 1e-1)', or set "
    "`hydra.sweeper.params`",
}
"""Keys that users look for in `hydra.sweeper.hwtune`, and what to do instead."""

_IGNORED = ("sampler", "search_space")


def _type(item: Setting) -> Any:
    """Returns the type of a key for OmegaConf, which knows plain types, lists and mappings."""
    if isinstance(item.default, list | tuple):
        return list[Any]
    if isinstance(item.default, dict):
        return dict[str, Any]
    return item.annotation if item.type is not None else Any


def _fields(keys: Mapping[str, Setting]) -> list[tuple[str, Any, Any]]:
    fields = []
    for key, item in keys.items():
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        is_new = isinstance(default, list | dict)
        made = dataclasses.field(default_factory=default.copy) if is_new else dataclasses.field(default=default)
        fields.append((key, _type(item), made))
    return fields


def _node(name: str, fields: list[tuple[str, Any, Any]]) -> type:
    made = dataclasses.make_dataclass(name, fields)
    made.__module__ = __name__  # a launcher pickles the configuration, by the place of its class
    return made


HwtuneConf: Any = _node("HwtuneConf", _fields(HWTUNE_KEYS))
"""The keys that only this sweeper has. Keys from study files keep their names, meanings and defaults."""

HwtuneSweeperConf: Any = _node(
    "HwtuneSweeperConf",
    [
        ("defaults", list[Any], dataclasses.field(default_factory=lambda: [{"sampler": None}])),
        ("_target_", str, "hydra_plugins.hwtune_sweeper.HwtuneSweeper"),
        ("_recursive_", bool, False),
        *_fields(SWEEPER_KEYS),
        *((name, Any, None) for name in _IGNORED),
        ("hwtune", HwtuneConf, dataclasses.field(default_factory=HwtuneConf)),
    ],
)
"""The node `hydra.sweeper`: the keys of the Optuna sweeper, and `hwtune`."""
