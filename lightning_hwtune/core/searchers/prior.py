"""The Pareto prior: draws new configurations from the regions in which earlier tasks had their fronts.

It follows Salinas, Perrone, Cruchant and Archambeau, "A multi-objective perspective on jointly tuning hardware and
hyperparameters", 2021 (arXiv 2106.05680), section 3. Their estimator is not published. This one uses copula Thompson
sampling (Salinas, Shen and Perrone, ICML 2020, arXiv 1909.13595), separately for each objective. The losses of each
earlier task become scores (`copula`), and each task has its own model (`earlier`, `surrogate`). A batch of draws shares
one sample: `_PICKS` of the tasks are picked, each provides one function that could be its true one, and the mean of
these functions scores random candidates. A sample thus assumes that the new task resembles a few earlier ones. Noise
drawn separately for each candidate would instead favour the luckiest candidates. The batch takes the first candidates
by fronts, farthest-first within a front (`ranking.order`). If a uniform draw is measured while a batch is in progress,
the rest of the batch changes.

Trust (`trust`). A fixed share of the draws is uniform, chosen by the number of the draw, whatever has been learned. Two
of the first four draws are uniform as well. These draws test the prior: tasks that rank them well are picked more
often. Each objective has a weight w: its score is w times the sample plus sqrt(1 - w^2) times normal noise with the
sample's spread, so a prior of weight 0 is a random draw. The prior's own draws do not count for this, because they have
a restricted range, in which a good prior looks bad.

A prior without information, from a single point or from constant losses, leaves the draws random.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypedDict, Unpack, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.core.ranking.order import total_order
from lightning_hwtune.core.searchers.base import History, Searcher
from lightning_hwtune.core.searchers.copula import chained_scores
from lightning_hwtune.core.searchers.earlier_studies import (
    EarlierTask,
    Lesson,
    n_combinations,
    shared_names,
    usable_rows,
)
from lightning_hwtune.core.searchers.new_configs import Untried, config_key, listed_configs
from lightning_hwtune.core.searchers.surrogate import needs_trees, require_scikit_learn
from lightning_hwtune.core.searchers.trust import picked_tasks, weights_of
from lightning_hwtune.core.space import MAX_COMBINATIONS, SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import Form, checked_call, elements, integer, one_of, reading

__all__ = ["EarlierStudy", "EarlierTable", "ParetoPrior"]

Floats = npt.NDArray[np.float64]

_MAX_TASKS = 10_000
_EARLY = (1, 3)  # draws that are uniform, so that a misleading prior is found early
_PICKS = 4  # tasks behind one sample: fewer lose what tasks have in common, more lose where they differ


class PriorOptions(TypedDict, total=False):
    """The options that `ParetoPrior.from_studies` and `from_table` pass to the class."""

    uniform: float
    batch: int
    candidates: int
    guarded: bool
    configs: Sequence[Mapping[str, Any]] | None


class EarlierStudy(Protocol):
    """A study to learn from, such as `hwt.Study`."""

    @property
    def name(self) -> str:
        """The study's name."""

    @property
    def spec(self) -> Any:
        """Its `StudySpec`."""

    def state(self) -> Any:
        """Returns its `StudyState`."""


class EarlierTable(Protocol):
    """A table of learning curves: `simulation.tables.Table`."""

    @property
    def name(self) -> str:
        """The table's name."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of its tasks."""

    @property
    def configs(self) -> tuple[Mapping[str, Any], ...]:
        """Its configurations, in the order of the rows of each curve."""

    @property
    def objectives(self) -> Objectives:
        """The objectives of its curves, in the order of their columns."""

    def curves(self, task: str) -> Any:
        """Returns the curves of a task, with `losses` of shape `(n_configs, n_resources, n_objectives)`."""


@final
@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class ParetoPrior(Searcher):
    """Draws from the regions in which earlier tasks had their fronts, and at random as far as the tasks mislead.

    Args:
        tasks: at least one; each an `EarlierTask` or its plain form.
        objectives: the objectives of the tasks' losses, in the order of their columns; `Objectives` or its plain form.
            A study may have some of them, in any order.
        uniform: the share of draws that stays uniform; 0 for none, and therefore full trust at all times.
        batch: the number of draws that share one sample of scores.
        candidates: the number of random configurations from which a batch chooses.
        guarded: False for full trust in all tasks at all times, for comparisons.
        configs: draw only from this list, each once; None for the whole space.

    Examples:
        >>> task = {"name": "earlier", "values": {"lr": [0.1, 0.01]}, "losses": [[0.9], [0.2]]}
        >>> hwt.ParetoPrior([task], [{"name": "val_loss", "mode": "min"}])
        <ParetoPrior from earlier (2)>
    """

    tasks: tuple[EarlierTask, ...]
    objectives: Objectives
    uniform: float
    batch: int
    candidates: int
    guarded: bool
    configs: tuple[Mapping[str, Any], ...] | None
    digest: str
    name: ClassVar[str] = "prior"
    keeps_front: ClassVar[bool] = True  # otherwise most of its draws would be stopped for good

    @checked_call("ParetoPrior", prefix="ParetoPrior.")
    def __init__(
        self,
        tasks: Sequence[EarlierTask | Mapping[str, Any]],
        objectives: Objectives | Sequence[Mapping[str, str]],
        *,
        uniform: float = 0.15,
        batch: int = 4,
        candidates: int = 512,
        guarded: bool = True,
        configs: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        listed = _TASKS.read("ParetoPrior.tasks", tasks)
        if not listed:
            raise ArgumentError("ParetoPrior.tasks", tasks, _TASKS.allowed, hint=_TASKS.hint)
        fields: dict[str, Any] = {
            "tasks": tuple(EarlierTask.read(task) for task in listed),
            "objectives": objectives if isinstance(objectives, Objectives) else Objectives.from_dict(objectives),
            "uniform": uniform,
            "batch": batch,
            "candidates": candidates,
            "guarded": guarded,
            "configs": listed_configs("ParetoPrior.configs", configs),
        }
        for field, value in fields.items():
            object.__setattr__(self, field, value)
        for task in self.tasks:
            if {len(row) for row in task.losses} != {len(self.objectives)}:
                raise ArgumentError(f"task {task.name!r}", task.losses[0], f"losses for {self.objectives.names}")
        text = json.dumps(self.settings(), sort_keys=True)
        object.__setattr__(self, "digest", hashlib.blake2b(text.encode(), digest_size=16).hexdigest())

    @classmethod
    @checked_call("ParetoPrior.from_studies")
    def from_studies(
        cls, *studies: EarlierStudy, objectives: Sequence[str] | None = None, **options: Unpack[PriorOptions]
    ) -> Self:
        """Learns from studies, such as `Study.load("digits")`; those without a judged trial are skipped.

        A trial counts with its results at the highest level that it reached (`copula.chained_scores`).

        Args:
            objectives: the names of the objectives; None for those of the first study.
            options: arguments of the class.

        Raises:
            ArgumentError: a study lacks an objective or has its opposite direction, or no study has a judged trial.
        """
        for study in studies or (None,):
            allowed = "at least one study, such as Study.load('digits')"
            with reading("studies", study, allowed):
                if isinstance(study, type) or not all(hasattr(study, name) for name in ("name", "spec", "state")):
                    raise ArgumentError("studies", study, allowed)
        wanted = _chosen(studies[0].name, studies[0].spec.objectives, objectives)
        tasks = []
        for study in studies:
            own = _chosen(study.name, study.spec.objectives, wanted.names)
            _require_same(study.name, own, wanted)
            trials, scores = chained_scores(study.state().trials, own)
            if trials:
                tasks.append(EarlierTask.of(study.name, [trial.config for trial in trials], scores))
        if not tasks:
            raise ArgumentError(
                "studies", [study.name for study in studies], "studies in which a trial has reached a rung"
            )
        return cls(tasks, wanted, **options)

    @classmethod
    @checked_call("ParetoPrior.from_table")
    def from_table(
        cls,
        table: EarlierTable,
        tasks: Sequence[str] | None = None,
        *,
        objectives: Sequence[str] | None = None,
        rows: Sequence[int] | None = None,
        resource: int | None = None,
        **options: Unpack[PriorOptions],
    ) -> Self:
        """Learns from a table of learning curves, such as `Table.load("lcbench-surrogate")`.

        Args:
            tasks, objectives: their names; None for all. rows: the indices of the configurations to use; None for all.
            resource: the resource at which they are compared; None for the last one.

        Raises:
            ArgumentError: the table does not have such a task, objective or resource.
        """
        allowed = "a table of learning curves such as Table.load('lcbench-surrogate')"
        with reading("table", table, allowed):
            needed = ("name", "tasks", "configs", "objectives", "curves")
            if isinstance(table, type) or not all(hasattr(table, name) for name in needed):
                raise ArgumentError("table", table, allowed)
        known = one_of(*table.tasks).but(f"one of {', '.join(table.tasks)}")
        of_tasks = list(table.tasks) if tasks is None else _listed("tasks", tasks, known)
        row = integer(0, len(table.configs) - 1)
        kept = list(range(len(table.configs))) if rows is None else _listed("rows", rows, row, each_once=False)
        wanted = _chosen(table.name, table.objectives, objectives)
        columns = [table.objectives.names.index(name) for name in wanted.names]
        learned = []
        for task in of_tasks:
            losses = table.curves(task).losses
            last = resource or losses.shape[1]
            if last > losses.shape[1]:
                raise ArgumentError("resource", resource, f"an integer from 1 to {losses.shape[1]}")
            configs = [table.configs[row] for row in kept]
            learned.append(EarlierTask.of(f"{table.name}/{task}", configs, losses[kept, last - 1][:, columns]))
        return cls(learned, wanted, **options)

    def check(self, space: SearchSpace) -> None:
        """Refuses a space that shares no parameter or point with the tasks, or in which no batch size is divisible.

        Raises:
            ArgumentError: the space is refused; the message says why.
            MissingDependencyError: scikit-learn is needed but not installed.
        """
        _ = space.rejected_share
        usable_rows(self.tasks, space)
        if needs_trees(n_combinations(space, shared_names(self.tasks, space))):
            require_scikit_learn()
        for config in self.configs or ():
            space.validate(config)

    def check_objectives(self, objectives: Objectives) -> None:
        """Refuses an objective that the tasks lack or have with the opposite direction.

        Raises:
            ArgumentError: there is such an objective; the message says which.
        """
        _require_same("prior", _chosen("prior", self.objectives, objectives.names), objectives)

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw` after these trials; None once a list or a small finite space is exhausted."""
        untried = Untried.of(space, self.configs, history.trials)
        if self.is_uniform(draw, seed):
            return untried.one(stream(seed, "prior-uniform", draw))
        first = draw - draw % self.batch
        members = {trial.draw: config_key(trial.config) for trial in history.trials if (trial.draw or 0) >= first}
        pending = sum(n not in members and not self.is_uniform(n, seed) for n in range(first, draw))
        taken = set(members.values())
        before = [trial for trial in history.trials if trial.draw is None or trial.draw < first]
        rng = stream(seed, "prior-batch", first)
        candidates = Untried.of(space, self.configs, before).some(rng, self.candidates)
        for config in self._by_fronts(candidates, space, seed, history, rng, pending + len(taken) + 1):
            if config_key(config) in taken:
                continue
            if pending == 0:
                return config
            pending -= 1
        return untried.one(rng)

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log, including everything that was learned from."""
        listed = {} if self.configs is None else {"configs": [dict(config) for config in self.configs]}
        return {
            "name": self.name,
            "tasks": [task.to_dict() for task in self.tasks],
            "objectives": self.objectives.to_dict(),
            "uniform": self.uniform,
            "batch": self.batch,
            "candidates": self.candidates,
            "guarded": self.guarded,
            **listed,
        }

    def is_uniform(self, draw: int, seed: int) -> bool:
        """Returns whether a draw is uniform: two early ones, and others evenly spread from a random start."""
        if draw in _EARLY and self.uniform > 0:
            return True
        start = _share_start(seed)
        return math.floor((draw + 1) * self.uniform + start) > math.floor(draw * self.uniform + start)

    def lesson(self, space: SearchSpace, objectives: Objectives) -> Lesson:
        """Returns what the tasks say about a space; computed only once."""
        return _lesson(self, space, objectives.names)

    def trust(self, space: SearchSpace, seed: int, history: History) -> Floats:
        """Returns the prior's weight for each objective, shape `(n_objectives,)`, from 0 to 1; see the module."""
        return weights_of(*self._evidence(space, seed, history))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParetoPrior) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        names = ", ".join(f"{task.name} ({len(task)})" for task in self.tasks)
        return f"<ParetoPrior from {names}>"

    def _by_fronts(
        self,
        candidates: list[dict[str, Any]],
        space: SearchSpace,
        seed: int,
        history: History,
        rng: np.random.Generator,
        n: int,
    ) -> list[dict[str, Any]]:
        """Returns the first `n` candidates, or a few more, in the order of one sample of their scores."""
        if not candidates:
            return []
        evidence, lesson = self._evidence(space, seed, history), self.lesson(space, history.objectives)
        sample = lesson.sample(candidates, picked_tasks(*evidence, _PICKS, rng), rng)
        weight, noise = weights_of(*evidence), sample.std(axis=0) * rng.standard_normal(sample.shape)
        scores = weight * sample + np.sqrt(1 - weight**2) * noise
        ranks = front_ranks(scores)
        last = np.sort(ranks)[min(n, len(ranks)) - 1]
        members = np.flatnonzero(ranks <= last)
        return [candidates[index] for index in members[total_order(scores[members], "farthest_first")]]

    def _evidence(self, space: SearchSpace, seed: int, history: History) -> tuple[Floats, Floats]:
        """Returns each task's predictions for the uniform draws, `(n_tasks, n, n_objectives)`, and their actual scores.

        Uses no draws if the prior is not guarded.
        """
        drawn = [
            trial
            for trial in history.trials
            if self.guarded and trial.draw is not None and self.is_uniform(trial.draw, seed)
        ]
        trials, seen = chained_scores(drawn, history.objectives)
        return self.lesson(space, history.objectives).expect_each([trial.config for trial in trials]), seen


@functools.lru_cache(maxsize=8)
def _lesson(prior: ParetoPrior, space: SearchSpace, names: tuple[str, ...]) -> Lesson:
    return Lesson(prior.tasks, space, [prior.objectives.names.index(name) for name in names])


@functools.lru_cache(maxsize=64)
def _share_start(seed: int) -> float:
    """Returns the start of the evenly spread uniform draws."""
    return float(stream(seed, "prior-share", 0).random())


_TASKS = elements("a list of at least one earlier task", _MAX_TASKS).but(
    "a list of at least one earlier task", "ParetoPrior.from_studies(...) and ParetoPrior.from_table(...) create them."
)


def _listed(argument: str, given: object, form: Form, *, each_once: bool = True) -> list[Any]:
    """Returns the items of a non-empty list.

    Raises:
        ArgumentError: the argument is not such a list, or an item does not have the form.
    """
    allowed = f"a list, or None for all; each is {form.allowed}"
    found = [form.read(argument, item) for item in elements(allowed, MAX_COMBINATIONS).read(argument, given)]
    if not found or (each_once and len(set(found)) < len(found)):
        raise ArgumentError(argument, found, f"at least one of the {argument}, each {argument.rstrip('s')} once")
    return found


def _chosen(where: str, objectives: Objectives, names: Sequence[str] | None) -> Objectives:
    """Returns the objectives with these names, in this order; None means all."""
    if names is None:
        return objectives
    form = one_of(*objectives.names).but(f"one of {', '.join(objectives.names)}, the objectives of {where!r}")
    chosen = _listed("objectives", names, form)
    return Objectives([objectives[objectives.names.index(name)] for name in chosen])


def _require_same(where: str, own: Objectives, wanted: Objectives) -> None:
    for mine, theirs in zip(own, wanted, strict=True):
        if mine.mode != theirs.mode:
            raise ArgumentError(
                "objectives", f"{theirs.name} ({theirs.mode})", f"{mine.name} ({mine.mode}), as in {where!r}"
            )
