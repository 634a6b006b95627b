"""Any sampler of Optuna as a searcher; needs the package optuna.

Akiba, Sano, Yanase, Ohta and Koyama, "Optuna: a next-generation hyperparameter optimization framework", KDD 2019. The
module `optuna_study` describes what a sampler sees of the study, and `optuna_space` in which terms.

- Each draw has a new sampler object, whose seed depends on the study's seed and on the draw. So a proposal depends on
  the trials alone, and is the same after a restart. A sampler that cannot be seeded is not repeatable.
- A trial that no rung has judged yet is running, and a TPE has a constant liar for it.
- A suggestion whose batch size is not divisible by the number of devices, or that repeats a configuration where no
  configuration may be drawn twice, is drawn again. After some attempts, a random new configuration takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.parameters.options import plain_option
from lightning_hwtune.core.record import Measurement, TrialRecord, TrialState
from lightning_hwtune.core.searchers.base import History, Searcher
from lightning_hwtune.core.searchers.new_configs import Untried
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError, MissingDependencyError
from lightning_hwtune.forms import checked_call

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from lightning_hwtune.searchers.optuna_study import SampledStudy

__all__ = ["OptunaSampler", "form_of"]

_ATTEMPTS = 20  # suggestions per draw, until one may be drawn
_ONE_NUMBER = SearchSpace(x=Float(0, 1))
_SEVERAL = "Samplers for several objectives are TPESampler, NSGAIISampler, NSGAIIISampler and GPSampler."


@final
@dataclass(frozen=True, slots=True, init=False)
class OptunaSampler(Searcher):
    """Draws what a sampler of Optuna suggests.

    Args:
        sampler: the sampler's name in `optuna.samplers`, or the import path of another one, as "my_module:MySampler".
        options: its keyword arguments, as plain data; None for its defaults. The study sets the seed.

    Examples:
        >>> hwt.OptunaSampler("TPESampler", {"n_startup_trials": 20}).settings()
        {'name': 'optuna', 'sampler': 'TPESampler', 'options': {'n_startup_trials': 20}}
    """

    sampler: str
    options: Mapping[str, Any] | None
    name: ClassVar[str] = "optuna"

    @checked_call("OptunaSampler", prefix="OptunaSampler.")
    def __init__(self, sampler: str, options: Mapping[str, Any] | None = None) -> None:
        if not isinstance(sampler, str):
            allowed = "the name of a sampler, such as 'CmaEsSampler'"
            raise ArgumentError("OptunaSampler.sampler", sampler, allowed, hint=form_of(sampler, options))
        object.__setattr__(self, "sampler", str.__str__(sampler))
        object.__setattr__(self, "options", None if options is None else _plain(sampler, options))
        samplers, given = _samplers(), self.options or {}
        cls = samplers.sampler_class(self.sampler)
        samplers.check_options(cls, given)
        samplers.made(cls, given, seed=0)

    def check(self, space: SearchSpace) -> None:
        """Refuses a space that the sampler cannot search.

        Raises:
            ArgumentError: this is the case; the message has what the sampler says.
        """
        try:
            self._try(space, 1)
        except _Raised as raised:
            allowed = f"a space that {self.sampler} can search"
            raise ArgumentError("space", space, allowed, hint=raised.text) from raised

    def check_objectives(self, objectives: Objectives) -> None:
        """Refuses more objectives than the sampler supports.

        Raises:
            ArgumentError: this is the case; the message has what the sampler says.
        """
        try:
            self._try(_ONE_NUMBER, len(objectives))
        except _Raised as raised:
            hint = raised.text if len(objectives) == 1 else f"{raised.text} {_SEVERAL}"
            allowed = f"objectives that {self.sampler} can work with"
            raise ArgumentError("objectives", list(objectives.names), allowed, hint=hint) from raised

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw` after these trials; None once a small finite space is exhausted."""
        untried = history.once(self, lambda: Untried.of(space, None, history.trials, history.memory))
        study, rng = self._study(space, seed, history), stream(seed, self.name, draw)
        for _ in range(_ATTEMPTS):
            config = study.ask(study.sampler(rng), history)
            if untried.may_draw(config):
                return config
        return untried.one(rng)

    def _study(self, space: SearchSpace, seed: int, history: History) -> SampledStudy:
        """Returns the study that the sampler sees, which the history's memory keeps."""
        from lightning_hwtune.searchers.optuna_study import SampledStudy

        samplers = _samplers()
        cls, given = samplers.sampler_class(self.sampler), self.options or {}
        n, is_constrained = len(history.objectives), bool(history.objectives.bounds)

        def sampler(rng: np.random.Generator) -> BaseSampler:
            found: BaseSampler = samplers.made(
                cls, given, int(rng.integers(2**31)), seed, is_constrained=is_constrained
            )
            return found

        known: dict[tuple[SearchSpace, int], SampledStudy] = history.memory.kept(self, dict)
        if (space, seed) not in known:
            known[space, seed] = SampledStudy(space, seed, n, sampler, writes=samplers.writes(cls))
        return known[space, seed]

    def _try(self, space: SearchSpace, n_objectives: int) -> None:
        """Asks the sampler for the first and the third trial of a study.

        Raises:
            _Raised: the sampler raises an error. MissingDependencyError: it needs another library.
        """
        metrics = Objectives([Metric(f"loss_{place}", "min") for place in range(n_objectives)])
        try:
            for n_trials in (0, 2):
                self.propose(space, n_trials, 0, _judged(space, metrics, n_trials))
        except ImportError as error:
            samplers = _samplers()
            raise samplers.missing_library(samplers.sampler_class(self.sampler), error) from error
        except Exception as error:  # whatever the sampler raises
            raise _Raised(f"{self.sampler} raises {type(error).__name__}: {error}") from error


class _Raised(Exception):
    """An error of a sampler, with its text."""

    def __init__(self, text: str) -> None:
        self.text = text


def _judged(space: SearchSpace, objectives: Objectives, n_trials: int) -> History:
    """Returns a history of random trials."""
    records = []
    for draw in range(n_trials):
        record = TrialRecord(draw, space.sample(stream(0, "check", draw)), 0, 0, 1, 0.0, draw=draw)
        record.measurements = [Measurement(1, dict.fromkeys(objectives.names, float(draw)), 1.0, 1.0)]
        record.decided, record.state = {1: "stop"}, TrialState.COMPLETED
        records.append(record)
    return History(records, objectives)


def _samplers() -> ModuleType:
    """Returns the module that imports Optuna.

    Raises:
        MissingDependencyError: Optuna is not installed.
    """
    try:
        from lightning_hwtune.searchers import optuna_samplers
    except ImportError as error:
        text = "OptunaSampler needs optuna: pip install 'lightning_hwtune[optuna]'"
        raise MissingDependencyError(text) from error
    return optuna_samplers


def form_of(given: object, options: Mapping[str, Any] | None = None) -> str:
    """Returns how to use a sampler of Optuna that is given as an object or a class; "" for anything else."""
    cls = given if isinstance(given, type) else type(given)
    if not any(base.__module__.startswith("optuna.samplers") for base in cls.__mro__):
        return ""
    arguments = repr(dict(options)) if options else "{...}"
    form = f"Write OptunaSampler({cls.__name__!r}, {arguments}) with the keyword arguments of the sampler"
    return f"{form}: the study stores them, so that it can be continued."


def _plain(sampler: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments as plain data."""
    found = {}
    for name, value in options.items():
        try:
            found[name] = plain_option(value, f"OptunaSampler.options[{name!r}]")
        except ArgumentError as error:
            hint = f"The study stores the arguments of {sampler} as plain data, so that another process can make it. "
            hint += "An object or a function cannot be stored."
            raise ArgumentError(error.argument, value, error.allowed, hint=hint) from None
    return found
