"""A study as data: the content of a study file, checked, and the arguments of `Study` and `Study.run` in it.

`forms.study_keys` has the table of keys, with their defaults and meanings.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

from lightning_hwtune.core.hardware.allocator import Allocator
from lightning_hwtune.core.hardware.instances import expanded
from lightning_hwtune.core.hardware.policies import POLICY_REGISTRY, allocation_for
from lightning_hwtune.core.hardware.policy import AllocationPolicy
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.schedulers import SCHEDULER_REGISTRY, scheduler_or_horizon, with_horizon
from lightning_hwtune.core.searchers import Searcher, default_searcher
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.engine.payload import ImportedFunction
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import parse_bytes
from lightning_hwtune.forms.owners import FILE_PLACES
from lightning_hwtune.forms.run_options import LIMITS, RUN_OPTIONS, RunOptions
from lightning_hwtune.forms.settings import NEEDED
from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.names import refuse_unknown_keys
from lightning_hwtune.settings.overrides import apply_overrides, parse_overrides
from lightning_hwtune.settings.places import in_file, keyed, renamed
from lightning_hwtune.settings.plain_data import plain_data, read_yaml
from lightning_hwtune.settings.run_rules import check_run, limits_of
from lightning_hwtune.settings.study_parts import (
    FILE_SEARCHERS,
    build,
    check_point,
    constraint,
    named,
    objective,
)
from lightning_hwtune.store.files import StudyFiles

__all__ = ["StudySettings", "read_study_file"]

_IMPORT_PATH = re.compile(r"\w+(\.\w+)*:\w+")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StudySettings:
    """The content of a study file, in plain form. Names and defaults are those of `Study` and `Study.run`.

    `given` has the keys that the file gives. A study that has begun keeps its stored values for the others.

    Raises:
        ArgumentError, UnknownArgumentError: a value or a name is not allowed; the message contains the key.
    """

    study: str
    train: str
    space: Mapping[str, Any]
    objectives: Sequence[Any]
    constraints: Sequence[Any]
    scheduler: Mapping[str, Any] | str | None
    max_epochs: int | None
    max_steps: int | None
    max_samples: int | None
    searcher: Mapping[str, Any] | str
    prior: str | None
    pool: Mapping[str, Any]
    allocation: Mapping[str, Any] | str | None
    seed: int
    batch: str
    max_retries: int
    max_failures: int
    disk_budget: int | str | None
    enqueue: Sequence[Any]
    dir: str
    storage: str | None
    run: RunOptions
    given: frozenset[str] = frozenset(FILE_KEYS)

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            if item.name in FILE_KEYS:
                value = FILE_KEYS[item.name].form.read(item.name, getattr(self, item.name))
                object.__setattr__(self, item.name, value)
        object.__setattr__(self, "run", {key: FILE_KEYS[key].form.read(key, value) for key, value in self.run.items()})
        if not _IMPORT_PATH.fullmatch(self.train):
            raise ArgumentError("train", self.train, "an import path such as 'models.digits_study:train'")
        if self.prior is not None and self.searcher != FILE_KEYS["searcher"].default:
            raise ArgumentError("prior", self.prior, "null if `searcher` is given, because a prior is a searcher, too")
        with keyed(self.space):
            self._check_parts()

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Reads a study file (YAML with OmegaConf interpolations) and applies Hydra-style overrides to it.

        Raises:
            ArgumentError, UnknownArgumentError: the file cannot be read, or something in it or in an override is not
                allowed; the message contains the file and the key.
        """
        data = read_study_file(path)
        apply_overrides(data, parse_overrides(overrides), FILE_KEYS)
        return cls.from_file_data(path, data)

    @classmethod
    def from_file_data(cls, path: str | Path, data: Mapping[str, Any]) -> Self:
        """Returns the settings from a file's plain data, whose interpolations are resolved.

        Raises:
            ArgumentError, UnknownArgumentError: as for `from_dict`; the message also contains the file.
        """
        with in_file(path):
            return cls.from_dict(plain_data(data, ""))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Returns the settings from plain data.

        Raises:
            ArgumentError, UnknownArgumentError: as for the class, or a key is unknown or missing.
        """
        refuse_unknown_keys("", data, FILE_KEYS, places=FILE_PLACES)
        for key, item in FILE_KEYS.items():
            if key not in data and item.default is NEEDED:
                raise ArgumentError(key, None, f"{item.form.allowed}; every study needs it")
        values = {key: data[key] if key in data else item.new() for key, item in FILE_KEYS.items()}
        return cls(**_split(values), given=frozenset(data))

    def replaced(self, given: Mapping[str, Any]) -> Self:
        """Returns the settings with other values for these keys; None keeps a value.

        Raises:
            ArgumentError: as for the class.
        """
        own = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        changes = {key: value for key, value in given.items() if value is not None}
        known = own.pop("given") | changes.keys()
        return type(self)(**_split({**own, **own.pop("run"), **changes}), given=known)

    @contextlib.contextmanager
    def located(self, path: str | Path) -> Iterator[None]:
        """Adds the file and its key to errors that `Study` raises on this host."""
        with in_file(path), keyed(self.space):
            yield

    def study_kwargs(self) -> dict[str, Any]:
        """Returns the keyword arguments of `Study`."""
        return {
            "name": self.study,
            "space": self._space(),
            "objectives": self._objectives(),
            "constraints": tuple(constraint(item) for item in self.constraints),
            **self._scheduler_and_horizon(),
            "searcher": None if self.prior is not None else self._searcher(),
            "prior": self.prior,
            "pool": build("pool", Pool, self.pool),
            "allocation": self._allocation(),
            "dir": self.dir,
            "storage": self.storage,
            "seed": self.seed,
            "batch": self.batch,
            "disk_budget": self.disk_budget,
            "max_retries": self.max_retries,
            "max_failures": self.max_failures,
        }

    def given_study_kwargs(self) -> dict[str, Any]:
        """Returns the keyword arguments of `Study` that the file gives."""
        given = {"name", *self.given}
        return {key: value for key, value in self.study_kwargs().items() if key in given}

    def run_kwargs(self) -> dict[str, Any]:
        """Returns the keyword arguments of `Study.run`, including `train`, without the limits that the file omits.

        Raises:
            ArgumentError: the module of the training function does not exist.
        """
        options = {key: value for key, value in self.run.items() if key in self.given or key not in LIMITS}
        return {"train": ImportedFunction(self.train), **options}

    def limits(self) -> Limits:
        """Returns the limits of the whole study."""
        return limits_of(self.run)

    def _check_parts(self) -> None:
        """Refuses everything that can be refused without the host; devices are counted when the study is built."""
        StudyFiles(Path(self.dir), self.study, budget_bytes=parse_bytes(self.disk_budget))
        spec = self.spec()
        check_run(spec, self.limits(), executor=self.run["executor"], hang_timeout=self.run["hang_timeout"])
        for index, config in enumerate(self.enqueue):
            check_point(f"enqueue.{index}", config, spec.space)

    def spec(self) -> StudySpec:
        """Returns the study's settings without the host: "auto" devices become the most that one trial may have."""
        built = self.study_kwargs()
        space, pool = built["space"], built["pool"]
        if self.batch == "per_device":
            space = space.constrained(None)
        if pool.nodes == "auto":
            pool = dataclasses.replace(pool, nodes=1)
        if pool.devices == "auto":
            alone = dataclasses.replace(pool, devices=1)
            policy = built["allocation"] or allocation_for(space)
            pool = dataclasses.replace(pool, devices=max(Allocator(policy, space, alone).counts))
        scheduler = scheduler_or_horizon(built["scheduler"], {name: built[name] for name in self._horizon()})
        parts = {
            "space": space,
            "pool": pool,
            "searcher": built["searcher"] or default_searcher(),
            "scheduler": scheduler,
        }
        parts["objectives"] = Objectives(built["objectives"], built["constraints"])
        return StudySpec(**{item.name: {**built, **parts}[item.name] for item in dataclasses.fields(StudySpec)})

    def _space(self) -> SearchSpace:
        with renamed(lambda name: "space" if name == "SearchSpace" else f"space.{name}"):
            return SearchSpace.from_dict({name: _with_facts(name, form) for name, form in self.space.items()})

    def _objectives(self) -> Objectives:
        return Objectives([objective(item) for item in self.objectives])

    def _scheduler_and_horizon(self) -> dict[str, Any]:
        """Returns the arguments of `Study`; a scheduler takes over a full training that is given next to it."""
        horizon = self._horizon()
        if self.scheduler is None:
            return {"scheduler": None, **horizon}
        form, left = with_horizon(self.scheduler, horizon)
        return {"scheduler": named("scheduler", SCHEDULER_REGISTRY, form), **dict.fromkeys(horizon), **left}

    def _allocation(self) -> AllocationPolicy | None:
        return None if self.allocation is None else named("allocation", POLICY_REGISTRY, self.allocation)

    def _horizon(self) -> dict[str, int | None]:
        return {"max_epochs": self.max_epochs, "max_steps": self.max_steps, "max_samples": self.max_samples}

    def _searcher(self) -> Searcher:
        return named("searcher", FILE_SEARCHERS, self.searcher)


def _with_facts(name: str, form: Any) -> Any:
    """Returns the form of a parameter; one of instance types gets what the catalogue says about them."""
    return expanded(name, form) if isinstance(form, Mapping) and form.get("type") == "instance" else form


def _split(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of all keys as arguments of `StudySettings`."""
    run = {key: value for key, value in values.items() if key in RUN_OPTIONS}
    return {**{key: value for key, value in values.items() if key not in run}, "run": run}


def read_study_file(path: str | Path) -> dict[str, Any]:
    """Returns a YAML file's plain data, with unresolved interpolations.

    Raises:
        ArgumentError: the file cannot be read, or is not a YAML mapping.
    """
    return read_yaml(path, f"a YAML mapping with the keys {', '.join(FILE_KEYS)}")
