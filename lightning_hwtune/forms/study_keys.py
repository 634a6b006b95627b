"""The keys of a study file: one table for study files, the Hydra node and the docs.

The limits and options of a run are among them; `forms.run_options` has their table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_hwtune.forms.containers import mapping, sequence
from lightning_hwtune.forms.kinds import one_of, optional, text
from lightning_hwtune.forms.run_options import RUN_OPTIONS
from lightning_hwtune.forms.settings import NEEDED, Setting
from lightning_hwtune.forms.table import FORMS

__all__ = ["FILE_KEYS"]

_STUDY = FORMS["Study"]

FILE_KEYS: Mapping[str, Setting] = {
    "study": Setting(
        NEEDED, _STUDY["name"], "The study's name: its folder under `dir`. A study that exists there is continued.", str
    ),
    "train": Setting(
        NEEDED,
        text("an import path such as 'models.digits_study:train'"),
        "Import path of the training function, `package.module:function`; it takes a `Trial`. The module may be in "
        "the working directory.",
        str,
    ),
    "space": Setting(
        NEEDED,
        mapping("a mapping from the name of each parameter to its kind and range"),
        "The parameters: name to kind and range.",
    ),
    "objectives": Setting(
        NEEDED,
        sequence("a list such as [{metric: val_loss, mode: min}, train_s]"),
        "What is optimised, such as `[{metric: val_loss, mode: min}, train_s]`. The first one breaks ties and names "
        "the best trial.",
    ),
    "constraints": Setting(
        [],
        sequence("a list such as [{name: params, at_most: 1000000}]"),
        "Bounds on quantities that are not objectives, such as `[{name: params, at_most: 1000000}]`. Bounds of metrics "
        "are given with the objective: `{metric: val_error, mode: min, at_most: 0.2}`.",
    ),
    "scheduler": Setting(
        None,
        optional(mapping("a mapping such as {name: asha, max_epochs: 27}, or a name", or_text=True)),
        "The rule that pauses, promotes and stops trials: a name, or `name` and its options, such as "
        "`{name: asha, max_epochs: 27}`. None: `asha`, with the full training from one of the next three keys.",
    ),
    "max_epochs": Setting(
        None, _STUDY["max_epochs"], "The full training in epochs, if `scheduler` is None.", int | None
    ),
    "max_steps": Setting(None, _STUDY["max_steps"], "The full training in steps, if `scheduler` is None.", int | None),
    "max_samples": Setting(
        None, _STUDY["max_samples"], "The full training in samples, if `scheduler` is None.", int | None
    ),
    "searcher": Setting(
        "tpe",
        mapping("a mapping such as {name: grid}, or a name", or_text=True),
        "Where configurations come from: a name, or `name` and its options, such as "
        "`{name: grid, points_per_float: 3}`.",
    ),
    "prior": Setting(
        None,
        optional(one_of("auto")),
        '"auto": configurations are drawn from what was learned from the finished studies in `dir` that share '
        "parameters and have the same objectives. It replaces `searcher`.",
        str | None,
    ),
    "pool": Setting(
        {},
        mapping("a mapping such as {accelerator: cpu, devices: 2}"),
        "The devices of this host and their price, such as `{devices: 4, usd_per_device_hour: 2.5}`.",
        dict[str, Any],
    ),
    "allocation": Setting(
        None,
        optional(mapping("a mapping such as {name: fixed, devices: 2}, or a name", or_text=True)),
        "The policy that chooses the devices of each trial: a name, or `name` and its options, such as "
        "`{name: fixed, devices: 2}`. None: the value of the `num_devices` parameter or, without one, a single device.",
    ),
    "seed": Setting(
        0,
        _STUDY["seed"],
        "Seed of all random draws. The same seed and the same reports give the same decisions.",
        int,
    ),
    "batch": Setting(
        "global",
        _STUDY["batch"],
        '"global": a trial\'s devices share its batch size; sizes that are not divisible by the number of devices are '
        'never drawn. "per_device": every device gets the whole batch size.',
        str,
    ),
    **{name: item for name, item in RUN_OPTIONS.items() if item.in_file},
    "max_retries": Setting(
        1,
        _STUDY["max_retries"],
        "How often a trial is retried from its last checkpoint before it counts as failed.",
        int,
    ),
    "max_failures": Setting(3, _STUDY["max_failures"], "Number of failed trials that ends the study.", int),
    "disk_budget": Setting(
        "20GB",
        _STUDY["disk_budget"],
        'Maximum size of all checkpoints together, in bytes or as text such as "500MB". None: unlimited.',
        int | str | None,
    ),
    "enqueue": Setting(
        [],
        sequence("a list of configurations, each a mapping with every parameter"),
        "Configurations to try before those of the searcher: a list of mappings, each with all its parameters.",
    ),
    "dir": Setting("hwtune", _STUDY["dir"], "Folder of the studies, from the working directory.", str),
    "storage": Setting(
        None,
        _STUDY["storage"],
        "SQLAlchemy URL of a database that replaces the study's own SQLite file.",
        str | None,
    ),
}
"""Key -> setting, in the order of the docs."""
