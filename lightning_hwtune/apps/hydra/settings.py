"""Reads the node `hydra.sweeper`: the settings of the sweep, expressed as settings of a study."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

from omegaconf import DictConfig

from lightning_hwtune.apps.hydra.directions import directions
from lightning_hwtune.apps.hydra.node import ELSEWHERE, HWTUNE_KEYS, NOT_IN_HWTUNE, STUDY_KEYS, SWEEPER_KEYS
from lightning_hwtune.apps.monitors import Monitor
from lightning_hwtune.apps.trainer_settings import HORIZONS, Horizon
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.schedulers import SCHEDULER_REGISTRY
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.errors import ArgumentError, RenamedArgumentError, nearest
from lightning_hwtune.forms.containers import mapping
from lightning_hwtune.forms.kinds import optional
from lightning_hwtune.forms.owners import FILE_PLACES
from lightning_hwtune.forms.settings import Setting
from lightning_hwtune.names import refuse_unknown_keys
from lightning_hwtune.settings import StudySettings, plain_data
from lightning_hwtune.settings.spelling import Spelling, as_override

__all__ = ["HYDRA_SPELLING", "SweepSettings", "max_steps_key"]

_OF_STUDY = tuple(key for key in STUDY_KEYS if key not in {"objectives", "scheduler", *HORIZONS})
_SCHEDULER = "asha"
_HYDRA = ("_target_", "_recursive_", "defaults", "hwtune")
_HWTUNE = optional(mapping("a mapping with keys such as objectives and scheduler"))
_RETURNED = "returned"  # value of `objectives`: only what the app returns counts
_TRAIN = "lightning_hwtune.apps.hydra.app:HydraApp"  # as a study file would name it


@final
@dataclass(frozen=True, slots=True)
class SweepSettings:
    """The node's values, checked as far as possible without the app.

    Attributes:
        node: the keys of the Optuna sweeper.
        own: the keys of `hwtune`.
        notes: lines to print for the user.
    """

    node: Mapping[str, Any]
    own: Mapping[str, Any]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, node: DictConfig) -> Self:
        """Reads the node.

        Raises:
            ArgumentError, UnknownArgumentError: a value is not allowed, or a key of `hwtune` is unknown.
        """
        data = _defaults(SWEEPER_KEYS) | plain_data(node, "hydra.sweeper")
        _read_forms("hydra.sweeper.", data, SWEEPER_KEYS)
        _HWTUNE.read("hydra.sweeper.hwtune", data.get("hwtune"))
        own = _defaults(HWTUNE_KEYS) | (data.get("hwtune") or {})
        refuse_unknown_keys("hydra.sweeper.hwtune.", own, HWTUNE_KEYS, NOT_IN_HWTUNE, FILE_PLACES)
        _read_forms("hydra.sweeper.hwtune.", own, HWTUNE_KEYS)
        others = {key: value for key, value in data.items() if key not in {*SWEEPER_KEYS, *_HYDRA}}
        ignored = [key for key, value in others.items() if value not in (None, {}, [])]
        for key in ignored:
            if key in HWTUNE_KEYS or key in ELSEWHERE:
                name = ELSEWHERE.get(key, f"hwtune.{key}")
                raise RenamedArgumentError(f"hydra.sweeper.{key}", f"set `hydra.sweeper.{name}`")
            if key not in _INSTEAD and (hint := nearest(key, SWEEPER_KEYS)):
                raise ArgumentError(f"hydra.sweeper.{key}", others[key], f"a key of the sweeper{hint}")
        notes = tuple(f"hydra.sweeper.{key} has no effect here{_INSTEAD.get(key, '')}" for key in ignored)
        return cls(data, own, notes)

    @property
    def params(self) -> Mapping[str, Any]:
        """The search space in the configuration."""
        return self.node.get("params") or {}

    @property
    def n_jobs(self) -> int | None:
        """Maximum number of trials at the same time; None = as many as the pool has room for."""
        given = self.node.get("n_jobs")
        return None if given in (None, -1) else given

    @property
    def defaults(self) -> frozenset[str]:
        """The arguments of `Study.run` that have the node's own default, so that the user has not given them."""
        return frozenset({"max_trials"} if self.node["n_trials"] == SWEEPER_KEYS["n_trials"].default else ())

    @property
    def modes(self) -> list[str]:
        """The direction of each value that the app returns."""
        return directions(self.node.get("direction"))

    def digest(
        self, space: SearchSpace, objectives: list[Any], scheduler: Mapping[str, Any], fixed: Sequence[str]
    ) -> str:
        """Return a digest that identifies the command, for a study that the user has not named.

        Args:
            fixed: the parts of the command line that all trials share: overrides, and flags that choose a
                configuration.
        """
        content = [space.to_dict(), objectives, dict(scheduler), list(fixed)]
        content += [self.own["constraints"]] if self.own.get("constraints") else []
        return hashlib.blake2b(json.dumps(content, default=str).encode(), digest_size=4).hexdigest()

    def name(self, default: str) -> str:
        """Return the study's name."""
        return str(self.node.get("study_name") or default)

    def study(
        self, name: str, space: SearchSpace, objectives: list[Any], scheduler: Mapping[str, Any], n_begun: int = 0
    ) -> StudySettings:
        """Return the sweep as the settings of a study.

        Args:
            name: the study's name if the user gave none.
            n_begun: the number of trials that the study has already. The fraction that may fail is one of all trials
                that it has or may still get, so a lower `n_trials` never fails a sweep that has ended well.
        """
        rate, n_trials = self.node.get("max_failure_rate"), self.node["n_trials"]
        own = {key: self.own[key] for key in _OF_STUDY if key in self.own and not _is_default(key, self.own[key])}
        judge: Mapping[str, Any] = {"scheduler": scheduler}
        if not self.own.get("scheduler") and scheduler.get("name") == _SCHEDULER:  # only the horizon is given
            judge = {key: value for key, value in scheduler.items() if key != "name"}
        n_jobs = {} if self.n_jobs is None else {"max_parallel": self.n_jobs}
        rated = {} if rate is None else {"max_failures": math.floor(rate * max(n_trials, n_begun)) + 1}
        return StudySettings.from_dict(
            {
                "study": self.name(name),
                "train": _TRAIN,
                "space": space.to_dict(),
                "objectives": objectives,
                "max_trials": n_trials,
                "storage": self.node.get("storage"),
                "dir": self.own["dir"],
                **judge,
                **n_jobs,
                **rated,
                **own,  # a given `max_failures` takes precedence over the fraction
            }
        )

    def objectives(self, watched: Sequence[Monitor]) -> tuple[list[Any], str]:
        """Return the objectives, which are empty if only the app's returned value counts, and the reason as text.

        Raises:
            ArgumentError: `direction` differs from that of every metric that the app monitors.
        """
        given = self.own.get("objectives")
        if given == _RETURNED:
            return [], "the return value of the app, from hydra.sweeper.hwtune.objectives"
        if given:
            return list(given), "from hydra.sweeper.hwtune.objectives"
        if isinstance(self.node.get("direction"), list) and len(self.modes) > 1:
            n_values = len(self.modes)
            return [], f"the app returns {n_values} values, and hydra.sweeper.hwtune.objectives names no metrics"
        if not watched:
            return [], "no ModelCheckpoint or EarlyStopping of the app monitors a metric"
        wanted = watched[0].mode if self.node.get("direction") is None else self.modes[0]
        for monitor in watched:
            if monitor.mode == wanted:
                objective = {"metric": monitor.metric, "mode": monitor.mode}
                return [objective], f"the monitor of the app's {monitor.where}"
        first = watched[0]
        hint = "Leave out direction, or name the metric that the app returns: "
        hint += f"hydra.sweeper.hwtune.objectives=[{{metric: ..., mode: {wanted}}}]. To compare only return values, "
        hint += f"without stopping trials early, set hydra.sweeper.hwtune.objectives={_RETURNED}."
        allowed = f"{first.mode}imize, since the app's {first.where} monitors {first.metric} ({first.mode})"
        raise ArgumentError("hydra.sweeper.direction", self.node["direction"], allowed, hint=hint)

    def check_directions(self, objectives: Objectives) -> None:
        """Refuses a `direction` that differs from that of the metrics, since returned values would be misread."""
        modes = [item.mode for item in objectives if not item.is_measured]
        if self.node.get("direction") is not None and self.modes != modes:
            names = ", ".join(f"{item.name} ({item.mode})" for item in objectives if not item.is_measured)
            hint = "Leave it out if the app returns the values of these metrics, in this order."
            allowed = f"the direction of {names}"
            raise ArgumentError("hydra.sweeper.direction", self.node["direction"], allowed, hint=hint)

    def value_objectives(self, watched: Sequence[Monitor] = ()) -> list[Any]:
        """Return objectives for the app's returned values, when only their direction is known.

        If no direction is given either, it is that of the metric that the app monitors.
        """
        modes = [watched[0].mode] if watched and self.node.get("direction") is None else self.modes
        names = ["value"] if len(modes) == 1 else [f"value_{index}" for index in range(len(modes))]
        return [{"metric": name, "mode": mode} for name, mode in zip(names, modes, strict=True)]

    def scheduler(self, horizon: Horizon) -> dict[str, Any] | None:
        """Returns the scheduler, with the app's own horizon; None if no horizon is known.

        Raises:
            ArgumentError: the scheduler and the app have different horizons.
        """
        given = self.own.get("scheduler") or _SCHEDULER
        horizons = {name: self.own[name] for name in HORIZONS if self.own.get(name) is not None}
        if horizons and self.own.get("scheduler"):
            [name, value] = next(iter(horizons.items()))
            allowed = f"null, since hydra.sweeper.hwtune.scheduler is given; set {name} there"
            raise ArgumentError(f"hydra.sweeper.hwtune.{name}", value, allowed)
        form = {"name": given} if isinstance(given, str) else dict(given)
        form |= horizons
        SCHEDULER_REGISTRY.find(form.get("name"), "hydra.sweeper.hwtune.scheduler.name")
        epochs_key = self.own["max_epochs_key"]
        keys = {"max_epochs": epochs_key, "max_steps": max_steps_key(epochs_key)}
        whole = horizon.scheduler(form, *keys.values())
        _refuse_other_horizon(whole or {}, {"max_epochs": horizon.epochs, "max_steps": horizon.steps}, keys)
        return whole


def _defaults(keys: Mapping[str, Setting]) -> dict[str, Any]:
    """Returns the default of each key: a configuration may delete keys of the node, or set the whole node to null."""
    found = {name: copy.deepcopy(setting.default) for name, setting in keys.items()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def max_steps_key(max_epochs_key: str) -> str:
    """Return the app's key for a horizon in steps, which is next to the key for epochs."""
    return f"{max_epochs_key.rpartition('.')[0]}.max_steps".lstrip(".")


def _refuse_other_horizon(
    scheduler: Mapping[str, Any], limits: Mapping[str, int | None], keys: Mapping[str, str]
) -> None:
    """Refuse a scheduler whose horizon the app's Trainer does not have.

    Raises:
        ArgumentError: the Trainer has another horizon, or one in another unit.
    """
    for name, limit in limits.items():
        wanted = scheduler.get(name)
        if limit is not None and wanted is not None and wanted != limit:
            hint = (
                f"The app trains to {keys[name]}, and its learning-rate schedules read it: set {keys[name]}={wanted}."
            )
            allowed = f"{limit}, the value of {keys[name]}"
            raise ArgumentError(f"hydra.sweeper.hwtune.scheduler.{name}", wanted, allowed, hint=hint)
        if limit is not None and wanted is None:
            unit = next(unit for unit in HORIZONS if scheduler.get(unit) is not None)
            allowed = f"-1, because hydra.sweeper.hwtune.scheduler has {unit}"
            raise ArgumentError(keys[name], limit, allowed, hint="Trials are compared in one unit.")


HYDRA_SPELLING = Spelling(
    as_override,
    prefix="hydra.sweeper.hwtune.",
    names={key: f"hydra.sweeper.{name}" for key, name in ELSEWHERE.items()},
    absent=("progress",),
)
"""How messages spell the settings of a sweep."""

_INSTEAD = {
    "sampler": ": set hydra.sweeper.hwtune.searcher instead, e.g. to {name: optuna, sampler: TPESampler}",
    "search_space": ": write it as `params`, e.g. model.lr: tag(log, interval(1e-4, 1e-1))",
    "pruner": ": set hydra.sweeper.hwtune.scheduler instead",
}


def _read_forms(where: str, data: dict[str, Any], keys: Mapping[str, Setting]) -> None:
    """Converts the values of these keys in place."""
    for name, item in keys.items():
        if name in data:
            data[name] = item.form.read(f"{where}{name}", data[name])


def _is_default(key: str, value: Any) -> bool:
    """Return whether a key has its default. Hydra's configuration does not say whether the user has set it."""
    setting = STUDY_KEYS[key]
    return bool(value in (setting.default, setting.form.read(key, setting.new())))
