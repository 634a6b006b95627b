"""The Pareto prior: draws new configurations from the regions in which earlier tasks had their fronts.

It follows Salinas, Perrone, Cruchant and Archambeau, "A multi-objective perspective on jointly tuning hardware and
hyperparameters", 2021 (arXiv 2106.05680), section 3. Their estimator is not published. This one uses copula Thompson
sampling (Salinas, Shen and Perrone, ICML 2020, arXiv 1909.13595), separately for each objective. The losses of each
earlier task become scores (`copula`), and each task has its own model (`lesson`, `surrogate`). A batch of
draws shares one sample: for each objective `_PICKS` of the tasks are picked, each provides one function that could be
its true one, and the mean of these functions scores random candidates. A sample thus assumes that the new task
resembles a few earlier ones. Noise drawn separately for each candidate would instead favour the luckiest candidates.
The batch takes the first candidates by fronts, farthest-first within a front (`ranking.order`). If a trial is judged
while a batch is in progress, the rest of the batch changes.

The study's own trials correct the tasks (`trend`). As soon as there are `LEAST_OWN` of them, draws come from TPE, whose
Gaussian process then describes what the tasks do not explain. So the share of the study's own trials grows by itself,
objective by objective, and an optimum that has moved is found. With evidence="all" they are one more task instead: a
draw comes from TPE, which ignores the tasks, if they rank held-out results better (`trust.own_ranks_better`).

Trust (`trust`, `evidence`). A fixed share of the draws is uniform, chosen by the number of the draw, whatever has been
learned. The second draw is uniform as well. All judged trials test the prior by comparison with uniform ones: tasks
that rank them well are picked more often. Each objective has a weight. The greatest weight of a metric is the share of
draws that the tasks may decide. TPE makes the others, as in a study without a prior. Noise hides the other objectives
as far as they have less weight. Before there are results, the weight depends on how well the tasks predict each other,
or how well a single one predicts points that it does not know (`Lesson.belief`). So a study with a prior of few
configurations, or without information, is nearly one without a prior.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypedDict, Unpack, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.objectives import Objective, Objectives
from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.core.ranking.order import total_order
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.searchers.base import History, Searcher
from lightning_hwtune.core.searchers.earlier_studies import (
    EarlierTask,
    n_combinations,
    shared_names,
    usable_rows,
)
from lightning_hwtune.core.searchers.expert import expert_draw
from lightning_hwtune.core.searchers.lesson import USELESS, Lesson
from lightning_hwtune.core.searchers.new_configs import Untried, config_key, listed_configs
from lightning_hwtune.core.searchers.optuna_studies import tasks_of_optuna
from lightning_hwtune.core.searchers.prior_guide import LEAST_OWN, Guide
from lightning_hwtune.core.searchers.prior_sources import (
    EarlierStudy,
    EarlierTable,
    Frame,
    as_objectives,
    chosen_objectives,
    require_same_modes,
    tasks_of_frame,
    tasks_of_studies,
    tasks_of_table,
)
from lightning_hwtune.core.searchers.surrogate import needs_trees, require_scikit_learn
from lightning_hwtune.core.searchers.tpe import TPE
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_call, elements
from lightning_hwtune.text import counted

__all__ = ["ParetoPrior"]

Floats = npt.NDArray[np.float64]

_MAX_TASKS = 10_000
_EARLY = {"corrects": (1,), "all": (1,), "uniform": (1, 3)}
"""Evidence -> draws that are uniform, so that a misleading prior is found early."""
_SHOWN_DRAWS = 100  # of which `own_share` is the mean


class PriorOptions(TypedDict, total=False):
    """The options that `ParetoPrior.from_studies` and `from_table` pass to the class."""

    uniform: float
    batch: int
    candidates: int
    guarded: bool
    configs: Sequence[Mapping[str, Any]] | None
    gaussian: float
    evidence: str


@final
@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class ParetoPrior(Searcher):
    """Draws where earlier tasks had their fronts; the more the tasks mislead, the more it draws like `TPE`.

    Args:
        tasks: at least one; each an `EarlierTask` or its plain form.
        objectives: the objectives of the tasks' losses, in the order of their columns; `Objectives` or its plain form.
            A study may have some of them, in any order.
        uniform: the share of draws that stays uniform; 0 for none, so that no result changes the trust in the tasks.
        batch: the number of draws that share one sample of scores.
        candidates: the number of random configurations from which a batch chooses.
        guarded: False for full trust in all tasks at all times, for comparisons.
        configs: draw only from this list, each once; None for the whole space.
        gaussian: the share of the draws by the study's own trials for which a Gaussian process chooses; see `TPE`.
        evidence: "corrects" if the judged trials test the tasks and soon correct them. Studies that began earlier may
            have "all", if the trials only test them, or "uniform", if only uniform draws do and draws without trust are
            random.

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
    gaussian: float
    evidence: str
    digest: str
    name: ClassVar[str] = "prior"
    uses_expert: ClassVar[bool] = True
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
        gaussian: float = 0.9,
        evidence: str = "corrects",
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
            "gaussian": gaussian,
            "evidence": evidence,
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
        return cls(*tasks_of_studies(studies, objectives), **options)

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
        return cls(*tasks_of_table(table, tasks, objectives, rows, resource), **options)

    @classmethod
    @checked_call("ParetoPrior.from_frame")
    def from_frame(
        cls,
        frame: Frame,
        objectives: Objectives | Sequence[Objective | Mapping[str, str]] | Objective,
        *,
        task: str | None = None,
        parameters: Sequence[str] | None = None,
        name: str = "frame",
        **options: Unpack[PriorOptions],
    ) -> Self:
        """Learns from a data frame with one row per configuration, such as results of another tool.

        Args:
            objectives: the objectives, each in the column of its name, such as `[Metric("val_error", "min")]`. NaN
                means that the training diverged.
            task: the column that distinguishes several tasks; None if all rows belong to one.
            parameters: the columns of the parameters; None for all the others. Only those in the space of a study are
                used.
            name: the name of the task, shown in messages.

        Raises:
            ArgumentError: the frame does not have such a column, or an objective is not a number.
        """
        return cls(*tasks_of_frame(frame, objectives, task, parameters, name), **options)

    @classmethod
    @checked_call("ParetoPrior.from_optuna")
    def from_optuna(
        cls,
        storage: Any,
        objectives: Objectives | Sequence[Objective | Mapping[str, str]] | Objective,
        *,
        studies: Sequence[str] | None = None,
        **options: Unpack[PriorOptions],
    ) -> Self:
        """Learns from studies of Optuna, in which pruned trials count with the values that they reported.

        Args:
            storage: the URL of the storage, such as "sqlite:///optuna.db"; an Optuna storage; or one Optuna study.
            objectives: what the values of these studies are, in the order of their directions, such as
                `[Metric("val_error", "min")]`. Parameters are matched by the names that the Optuna study used.
            studies: their names; None for all in the storage.

        Raises:
            ArgumentError: there is no such study, the directions differ, or no trial has a value.
            MissingDependencyError: optuna is not installed.
        """
        return cls(*tasks_of_optuna(storage, studies, as_objectives(objectives)), **options)

    def check(self, space: SearchSpace) -> None:
        """Refuses a space that shares no parameter or point with the tasks.

        Raises:
            ArgumentError: the space is refused; the message says why.
            MissingDependencyError: scikit-learn is needed but not installed.
        """
        usable_rows(self.tasks, space)
        if needs_trees(n_combinations(space, shared_names(self.tasks, space))):
            require_scikit_learn()
        for config in self.configs or ():
            space.validate(config)

    def remark(self, space: SearchSpace) -> str:
        """Returns a warning if the tasks have too few configurations in this space to say anything."""
        n = sum(map(len, usable_rows(self.tasks, space)))
        if n > USELESS:
            return super(ParetoPrior, self).remark(space)
        known = counted(n, "configurations")
        return f"the prior knows only {known} in this space, which is too few to learn from, so it has no effect"

    def check_objectives(self, objectives: Objectives) -> None:
        """Refuses an objective that the tasks lack or have with the opposite direction.

        Raises:
            ArgumentError: there is such an objective; the message says which.
        """
        require_same_modes("prior", chosen_objectives("prior", self.objectives, objectives.names), objectives)

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw` after these trials; None once a list or a small finite space is exhausted."""
        untried = Untried.of(space, self.configs, history.trials, history.memory)
        if self.is_uniform(draw, seed):
            return untried.one(stream(seed, "prior-uniform", draw))
        if self.configs is None:
            expected = expert_draw(space, draw, seed, history)
            if expected is not None and untried.may_draw(expected):
                return expected
        guide = self._guide(space, seed, history)
        if guide.is_own(draw, seed):
            own = _own_searcher(self).proposal(space, draw, seed, history, guide.expectation)
            if own is not None and untried.may_draw(own):
                return own
            return untried.one(stream(seed, "prior-untried", draw))  # the first draws of TPE do not know the others
        first = draw - draw % self.batch
        members = {trial.draw: config_key(trial.config) for trial in history.trials if (trial.draw or 0) >= first}
        others = (n for n in range(first, draw) if n not in members)
        pending = sum(not (self.is_uniform(n, seed) or guide.is_own(n, seed)) for n in others)
        taken = set(members.values())
        before = [trial for trial in history.trials if trial.draw is None or trial.draw < first]
        rng = stream(seed, "prior-batch", first)
        candidates = Untried.of(space, self.configs, before, history.memory).some(rng, self.candidates)
        for config in self._by_fronts(candidates, guide, rng, pending + len(taken) + 1):
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
            "gaussian": self.gaussian,
            "evidence": self.evidence,
            **listed,
        }

    def is_uniform(self, draw: int, seed: int) -> bool:
        """Returns whether a draw is uniform: two early ones, and others evenly spread from a random start."""
        if draw in _EARLY[self.evidence] and self.uniform > 0:
            return True
        start = _share_start(seed)
        return math.floor((draw + 1) * self.uniform + start) > math.floor(draw * self.uniform + start)

    def lesson(self, space: SearchSpace, objectives: Objectives) -> Lesson:
        """Returns what the tasks say about a space; computed only once."""
        return _lesson(self, space, objectives.names)

    def trust(self, space: SearchSpace, seed: int, history: History) -> Floats:
        """Returns the prior's weight for each objective, shape `(n_objectives,)`, from 0 to 1; see the module."""
        return self._guide(space, seed, history).weights

    def own_share(self, space: SearchSpace, seed: int, history: History) -> float:
        """Returns the share of the next draws, uniform ones apart, that come from TPE."""
        guide, draws = self._guide(space, seed, history), range(_SHOWN_DRAWS)
        return sum(guide.is_own(draw, seed) for draw in draws) / len(draws)

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
        guide: Guide,
        rng: np.random.Generator,
        n: int,
    ) -> list[dict[str, Any]]:
        """Returns the first `n` candidates, or a few more, in the order of one sample of their scores."""
        if not candidates:
            return []
        scores = guide.sample(candidates, rng)
        ranks = front_ranks(scores)
        last = np.sort(ranks)[min(n, len(ranks)) - 1]
        members = np.flatnonzero(ranks <= last)
        return [candidates[index] for index in members[total_order(scores[members], "farthest_first")]]

    def _guide(self, space: SearchSpace, seed: int, history: History) -> Guide:
        def judged() -> Guide:
            lesson = self.lesson(space, history.objectives)
            if not self.guarded:
                return Guide.trusting(lesson)
            return Guide.of(lesson, space, history, is_uniform, kind=self.evidence)

        def is_uniform(trial: TrialRecord) -> bool:
            return trial.draw is not None and self.is_uniform(trial.draw, seed)

        return history.once(self, judged)


@functools.lru_cache(maxsize=8)
def _lesson(prior: ParetoPrior, space: SearchSpace, names: tuple[str, ...]) -> Lesson:
    return Lesson(prior.tasks, space, [prior.objectives.names.index(name) for name in names])


@functools.lru_cache(maxsize=8)
def _own_searcher(prior: ParetoPrior) -> TPE:
    """Returns the searcher of the draws that the study's own trials decide; a prior has its own uniform draws."""
    least = LEAST_OWN // 2 if prior.evidence == "corrects" else None
    return TPE(random=0.0, configs=prior.configs, gaussian=prior.gaussian, min_points=least)


@functools.lru_cache(maxsize=64)
def _share_start(seed: int) -> float:
    """Returns the start of the evenly spread uniform draws."""
    return float(stream(seed, "prior-share", 0).random())


_TASKS = elements("a list of at least one earlier task", _MAX_TASKS).but(
    "a list of at least one earlier task", "ParetoPrior.from_studies(...) and ParetoPrior.from_table(...) create them."
)
