"""A study as data: the keys of a study file, their meaning, and the parts that they build.

Each key is documented in its field's metadata; `docs/study-file.md` is generated from it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar, final

from lightning_hwtune.core.hardware.policies import allocation_for
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, DeviceSeconds, Metric, Objective, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import SCHEDULER_REGISTRY, SCHEDULERS, Scheduler, scheduler_or_horizon
from lightning_hwtune.core.searchers import TPE, Grid, Random, Searcher, Sobol
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.engine.payload import ImportedFunction
from lightning_hwtune.errors import ArgumentError, RenamedArgumentError, nearest
from lightning_hwtune.forms import FORMS, Form, parse_bytes, parse_duration
from lightning_hwtune.names import refuse_unknown_keys
from lightning_hwtune.plugins import Registry
from lightning_hwtune.settings.overrides import apply_overrides, parse_overrides
from lightning_hwtune.settings.plain_data import plain_data, read_yaml
from lightning_hwtune.settings.run_rules import check_run
from lightning_hwtune.store.files import StudyFiles

__all__ = [
    "FILE_FORMS",
    "FILE_SEARCHERS",
    "SCHEDULERS",
    "SEARCHERS",
    "StudySettings",
    "in_file",
    "options",
    "read_study_file",
]

SEARCHERS: Mapping[str, type[Searcher]] = {cls.name: cls for cls in (Random, Sobol, Grid, TPE)}
"""Name in study files -> class."""

FILE_SEARCHERS = Registry[Searcher]("searcher", "hwtune.searchers", Searcher, SEARCHERS)

_IMPORT_PATH = re.compile(r"\w+(\.\w+)*:\w+")
_MEASURED: Mapping[str, Callable[[], Objective]] = {cls.name: cls for cls in (TrainSeconds, DeviceSeconds, Cost)}
_KEYS: Mapping[str, str] = {
    "name": "study",
    "grid": "searcher",
    "within": "scheduler.within",
    "Pool.devices": "pool.devices",
}
FILE_FORMS: Mapping[str, Form] = {
    **FORMS["Study"],
    **FORMS["Study.run"],
    **FORMS["file"],
    "study": FORMS["Study"]["name"],
}
_T = TypeVar("_T")


def _key(doc: str, default: Any = dataclasses.MISSING) -> Any:
    """A key of the study file. Its allowed values are in the table of forms."""
    metadata = {"doc": doc}
    if isinstance(default, dict | list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StudySettings:
    """The content of a study file, in plain form. Names and defaults are those of `Study` and `Study.run`.

    Raises:
        ArgumentError, RenamedArgumentError: a value or a name is not allowed; the message contains the key.
    """

    study: str = _key("The study's name: its folder under `dir`. A study that exists there is continued.")
    train: str = _key(
        "Import path of the training function, `package.module:function`; it takes a `Trial`. The working directory "
        "can be imported from.",
    )
    space: Mapping[str, Any] = _key("The parameters: name to kind and range, see below.")
    objectives: Sequence[Any] = _key(
        "What is optimised, see below. The first one breaks ties and names the best trial."
    )
    scheduler: Mapping[str, Any] | str | None = _key(
        "The rule that pauses, promotes and stops trials: `name` and its options, see below; null = `asha`, with the "
        "full training from one of the next three keys.",
        None,
    )
    max_epochs: int | None = _key("The full training in epochs, if `scheduler` is null.", None)
    max_steps: int | None = _key("The same in steps.", None)
    max_samples: int | None = _key("The same in samples.", None)
    searcher: Mapping[str, Any] | str = _key(
        "Where configurations come from: `name` and its options, see below.", "random"
    )
    prior: str | None = _key(
        "`auto`: configurations are drawn from what was learned from the finished studies in `dir` that share "
        "parameters and have the same objectives. It replaces `searcher`.",
        None,
    )
    pool: Mapping[str, Any] = _key("The devices of this host and their price, see below.", {})
    seed: int = _key("Seed of all random draws. The same seed and the same reports give the same decisions.", 0)
    batch: str = _key(
        "`global`: a trial's devices share its batch size; sizes that the number of devices does not divide are never "
        "drawn. `per_device`: every device gets the whole batch size.",
        "global",
    )
    max_trials: int | None = _key("Maximum number of trials in total, over all runs of the study.", None)
    max_time: float | str | None = _key(
        "Maximum time in total, over all runs of the study: seconds, or `90s`, `10min`, `8h`.", None
    )
    max_cost: float | None = _key("Maximum cost of the study in US dollars, including start-ups and lost work.", None)
    max_parallel: int | None = _key(
        "Maximum number of trials that train at the same time; null = as many as the pool has devices for.", None
    )
    finishers: int | str = _key(
        "Fully trained trials that the study should end with, so that its front offers a choice. `auto`: one for a "
        "single objective; for several, trials / eta rounded up, at most 4.",
        "auto",
    )
    save_every: int | None = _key(
        "Epochs between checkpoints of a trial that trains without a pause; a crash loses at most this many epochs. "
        "null = a trial saves when it pauses and at its end.",
        None,
    )
    hang_timeout: float | str | None = _key(
        "How long a segment may make no progress (no batch, no report, no checkpoint) before it is ended and repeated: "
        "seconds, or `90s`, `10min`, `8h`. `auto`: from its first batch on, ten times the trial's slowest stretch, at "
        "least 30 minutes. null = no limit.",
        "auto",
    )
    max_retries: int = _key("How often a trial is retried from its last checkpoint before it counts as failed.", 1)
    max_failures: int = _key("Number of failed trials that ends the study.", 3)
    disk_budget: int | str | None = _key(
        "Maximum size of all checkpoints together, e.g. `500MB`; null = unlimited.", "20GB"
    )
    enqueue: Sequence[Any] = _key(
        "Configurations to try before those of the searcher: a list of mappings, each with all parameters.",
        [],
    )
    preload: Sequence[str] = _key(
        "Modules that are imported once instead of in every segment, such as the one with the training function. They "
        "must run no tensor operation when imported.",
        [],
    )
    executor: str = _key(
        "`local`: a fresh process for each rank. `inline`: in the command's own process, on one device. "
        "Or the import path of another executor, such as `my_executor:MyExecutor`.",
        "local",
    )
    dir: str = _key("Folder of the studies, from the working directory.", "hwtune")
    storage: str | None = _key("SQLAlchemy URL of a database that replaces the study's own SQLite file.", None)

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            object.__setattr__(self, item.name, FILE_FORMS[item.name].read(item.name, getattr(self, item.name)))
        if not _IMPORT_PATH.fullmatch(self.train):
            raise ArgumentError("train", self.train, "an import path such as 'models.digits_study:train'")
        if self.prior is not None and self.searcher != "random":
            raise ArgumentError("prior", self.prior, "null, because `searcher` is set and a prior would replace it")
        with _keyed(self.space):
            self._check_parts()

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Reads a study file (YAML with OmegaConf interpolations) and applies Hydra-style overrides to it.

        Raises:
            ArgumentError, RenamedArgumentError: the file cannot be read, or something in it or in an override is not
                allowed; the message contains the file and the key.
        """
        data = read_study_file(path)
        apply_overrides(data, parse_overrides(overrides), cls.keys())
        return cls.from_file_data(path, data)

    @classmethod
    def from_file_data(cls, path: str | Path, data: Mapping[str, Any]) -> Self:
        """Returns the settings from a file's plain data, whose interpolations are resolved.

        Raises:
            ArgumentError, RenamedArgumentError: as for `from_dict`; the message also contains the file.
        """
        with in_file(path):
            return cls.from_dict(plain_data(data, ""))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Returns the settings from plain data.

        Raises:
            ArgumentError, RenamedArgumentError: as for the class; also if a key is unknown or missing.
        """
        refuse_unknown_keys("", data, cls.keys())
        for item in dataclasses.fields(cls):
            has_default = item.default is not dataclasses.MISSING or item.default_factory is not dataclasses.MISSING
            if item.name not in data and not has_default:
                raise ArgumentError(item.name, None, f"{FILE_FORMS[item.name].allowed}; every study needs it")
        return cls(**data)

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        """Returns the keys that a study file may have."""
        return tuple(item.name for item in dataclasses.fields(cls))

    @contextlib.contextmanager
    def located(self, path: str | Path) -> Iterator[None]:
        """Adds the file and its key to errors that `Study` raises on this host."""
        with in_file(path), _keyed(self.space):
            yield

    def study_kwargs(self) -> dict[str, Any]:
        """Returns the keyword arguments of `Study`."""
        return {
            "name": self.study,
            "space": self._space(),
            "objectives": self._objectives(),
            "scheduler": None if self.scheduler is None else self._scheduler(self.scheduler),
            **self._horizon(),
            "searcher": None if self.prior is not None else self._searcher(),
            "prior": self.prior,
            "pool": _build("pool", Pool, self.pool),
            "dir": self.dir,
            "storage": self.storage,
            "seed": self.seed,
            "batch": self.batch,
            "disk_budget": self.disk_budget,
            "max_retries": self.max_retries,
            "max_failures": self.max_failures,
        }

    def run_kwargs(self) -> dict[str, Any]:
        """Returns the keyword arguments of `Study.run`, including `train`.

        Raises:
            ArgumentError: the module of the training function does not exist.
        """
        return {
            "train": ImportedFunction(self.train),
            "max_trials": self.max_trials,
            "max_time": self.max_time,
            "max_cost": self.max_cost,
            "max_parallel": self.max_parallel,
            "finishers": self.finishers,
            "save_every": self.save_every,
            "hang_timeout": self.hang_timeout,
            "executor": self.executor,
            "preload": tuple(self.preload),
        }

    def limits(self) -> Limits:
        """Returns the limits of the whole study. The inline executor trains one trial at a time."""
        max_parallel = 1 if self.executor == "inline" else self.max_parallel
        time_s = parse_duration("max_time", self.max_time)
        return Limits(self.max_trials, time_s, self.max_cost, max_parallel, self.finishers)

    def _check_parts(self) -> None:
        """Refuses everything that can be refused without the host; devices are counted when the study is built."""
        StudyFiles(Path(self.dir), self.study, budget_bytes=parse_bytes(self.disk_budget))
        spec = self.spec()
        check_run(spec, self.limits(), executor=self.executor, hang_timeout=self.hang_timeout)
        for index, config in enumerate(self.enqueue):
            _check_point(f"enqueue.{index}", config, spec.space)

    def spec(self) -> StudySpec:
        """Returns the study's settings without the host: "auto" devices become the most that one trial may have."""
        built = self.study_kwargs()
        space, pool = built["space"], built["pool"]
        if self.batch == "per_device":
            space = space.constrained(None)
        if pool.devices == "auto":
            pool = dataclasses.replace(pool, devices=max(allocation_for(space).counts))
        scheduler = scheduler_or_horizon(built["scheduler"], **self._horizon())
        parts = {"space": space, "pool": pool, "searcher": built["searcher"] or Random(), "scheduler": scheduler}
        return StudySpec(**{item.name: {**built, **parts}[item.name] for item in dataclasses.fields(StudySpec)})

    def _space(self) -> SearchSpace:
        with _renamed(lambda name: "space" if name == "SearchSpace" else f"space.{name}"):
            return SearchSpace.from_dict(self.space)

    def _objectives(self) -> Objectives:
        return Objectives([_objective(item) for item in self.objectives])

    def _scheduler(self, form: Mapping[str, Any] | str) -> Scheduler:
        return _named("scheduler", SCHEDULER_REGISTRY, form)

    def _horizon(self) -> dict[str, int | None]:
        return {"max_epochs": self.max_epochs, "max_steps": self.max_steps, "max_samples": self.max_samples}

    def _searcher(self) -> Searcher:
        return _named("searcher", FILE_SEARCHERS, self.searcher)


def options(cls: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the options of a part in a study file: name -> parameter of its class."""
    return dict(inspect.signature(cls).parameters)


def _build(key: str, cls: Callable[..., _T], given: Mapping[str, Any]) -> _T:
    """Creates a part; adds its key to the errors that it raises."""
    refuse_unknown_keys(f"{key}.", given, options(cls))
    with _located(f"{key}."):
        return cls(**given)


def _named(key: str, registry: Registry[_T], given: Mapping[str, Any] | str) -> _T:
    """Creates the part with the given `name`; plain text is a name without options."""
    form = {"name": given} if isinstance(given, str) else dict(given)
    name = form.pop("name", None)
    if name is None and form.get("type") in registry.own:
        raise ArgumentError(f"{key}.name", name, ", ".join(registry.names), hint=f"Write `name: {form['type']}`.")
    return _build(key, registry.find(name, f"{key}.name"), form)


def _objective(item: object) -> Objective:
    """Reads one entry of `objectives`."""
    allowed = f"{{metric: val_loss, mode: min}}, or one of {', '.join(_MEASURED)}"
    if isinstance(item, str):
        if item in _MEASURED:
            return _MEASURED[item]()
        near = nearest(item, _MEASURED).removeprefix("; ")
        raise ArgumentError("objectives", item, allowed, hint=f"A metric needs a direction. {near}".strip())
    form = _check_mapping("objectives", item, allowed)
    if "name" in form:
        raise RenamedArgumentError("objectives.name", f"write {{metric: {form['name']}, mode: min}}")
    refuse_unknown_keys("objectives.", form, ("metric", "mode", "unit", "across_ranks", "best"))
    missing = [name for name in ("metric", "mode") if name not in form]
    if missing:
        raise ArgumentError("objectives", dict(form), allowed, hint=f"`{missing[0]}` is missing.")
    with _located("objectives."):
        given = {key: form[key] for key in ("unit", "across_ranks", "best") if form.get(key) is not None}
        return Metric(form["metric"], form["mode"], **given)


def _check_point(key: str, config: Any, space: SearchSpace) -> None:
    """Refuses a configuration that is not in the search space."""
    with _renamed(lambda name: f"{key}.{name}" if name in space else key):
        space.validate(config)


def _check_mapping(key: str, value: object, allowed: str = "mappings from names to values") -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ArgumentError(key, value, allowed)
    return value


def in_file(path: str | Path) -> contextlib.AbstractContextManager[None]:
    """Returns a context that adds the file's path to errors about arguments."""
    return _located(f"{path}: ")


def _located(prefix: str) -> contextlib.AbstractContextManager[None]:
    """Adds a prefix to the argument's name in errors about arguments."""
    is_part = prefix.endswith(".")
    return _renamed(lambda name: f"{prefix}{name.rpartition('.')[2] if is_part else name}")


def _keyed(space: Collection[str]) -> contextlib.AbstractContextManager[None]:
    """Replaces the names of Python arguments by keys of the study file in errors."""
    keys = StudySettings.keys()
    return _renamed(lambda name: f"space.{name}" if name in space and name not in keys else _KEYS.get(name, name))


@contextlib.contextmanager
def _renamed(as_name: Callable[[str], str]) -> Iterator[None]:
    """Changes the name of the argument in errors about arguments."""
    try:
        yield
    except ArgumentError as error:
        allowed = error.allowed.replace("or None", "or null")
        raise ArgumentError(as_name(error.argument), error.received, allowed, hint=error.hint) from None
    except RenamedArgumentError as error:
        raise RenamedArgumentError(as_name(error.given), error.here) from None


def read_study_file(path: str | Path) -> dict[str, Any]:
    """Returns a YAML file's plain data, with unresolved interpolations.

    Raises:
        ArgumentError: the file cannot be read, or is not a YAML mapping.
    """
    return read_yaml(path, f"a YAML mapping with the keys {', '.join(StudySettings.keys())}")
