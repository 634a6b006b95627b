"""Evolution: NSGA-II and NSGA-III of pymoo, asked for one child at a time.

Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002; Deb and Jain,
"An evolutionary many-objective optimization algorithm using reference-point-based nondominated sorting approach",
2014; in the implementation of Blank and Deb, "pymoo: multi-objective optimization in Python", IEEE Access 2020.
Differences from the papers:

- There is no barrier between generations, since trials end at any time. The parents of a child are the survivors of
  *all* trials that a rung has judged by then: pymoo gets the first `population` of them as its first generation,
  and all others as its second. So a child may have parents that were judged a moment ago, and a trial that is running
  delays nothing. Until `population` trials are judged, draws are random.
- Trials of all rungs count (`copula.chained_scores`), and the scores are what is minimised.
- Violators of a bound have scores behind all others, in the order of their violation. So the fronts are those of
  constraint domination, as in the papers.
- A gene mutates with probability 1 / (number of genes), whatever its kind.
- Children that repeat a known configuration, or whose batch size is not divisible by the number of devices, are left
  out. An absent parameter has a random gene.

A proposal depends on the trials, the seed and the number of the draw. Another release of pymoo may give other children.
Cost of a proposal: O(trials^2) for the fronts, once per change of the history.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import comb
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.searchers.base import History, Searcher
from lightning_hwtune.core.searchers.copula import chained, light_scores, violators_behind
from lightning_hwtune.core.searchers.new_configs import Untried, config_key
from lightning_hwtune.core.searchers.random import Random
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class
from lightning_hwtune.searchers.genes import Genes

__all__ = ["Evolution"]

_N_CHILDREN = 8  # per attempt
_ATTEMPTS = 10


@checked_class()
@final
@dataclass(frozen=True, slots=True)
class Evolution(Searcher):
    """Draws children of the best trials; at random until enough trials are judged.

    Args:
        algorithm: "nsga2", or "nsga3", which spreads better over three and more objectives.
        population: the number of parents. Children are drawn once this many trials are judged.

    Examples:
        >>> from lightning_hwtune.core.objectives import Objectives
        >>> history = hwt.History([], Objectives([hwt.Metric("val_loss", "min")]))
        >>> space, searcher = hwt.SearchSpace(optimizer=hwt.Choice(["adam", "sgd"])), hwt.Evolution(population=10)
        >>> searcher.propose(space, 0, seed=0, history=history)["optimizer"] in ["adam", "sgd"]
        True
    """

    algorithm: str = "nsga2"
    population: int = 20
    name: ClassVar[str] = "evolution"
    uses_expert: ClassVar[bool] = True

    def check_objectives(self, objectives: Objectives) -> None:
        """Refuses one objective with NSGA-III, and a population that is too small for its reference directions.

        Raises:
            ArgumentError: one of these is the case.
        """
        n = len(objectives)
        if self.algorithm == "nsga3" and n == 1:
            raise ArgumentError(
                "Evolution.algorithm", self.algorithm, "'nsga2' with one objective", hint="NSGA-III needs several."
            )
        if self.algorithm == "nsga3" and self.population < n:
            allowed = f"at least {n} with 'nsga3', one per objective"
            raise ArgumentError("Evolution.population", self.population, allowed)

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns draw number `draw` after these trials; None once a small finite space is exhausted."""
        untried, parents = history.once(self, lambda: self._learned(space, history))
        if parents is None:
            return Random().propose(space, draw, seed, history)
        rng = stream(seed, self.name, draw)
        found = next((child for child in parents.children(rng) if untried.may_draw(child)), None)
        return untried.one(rng) if found is None else found

    def _learned(self, space: SearchSpace, history: History) -> tuple[Untried, _Parents | None]:
        untried = Untried.of(space, None, history.trials, history.memory)
        results, objectives = history.results, history.objectives
        rungs = history.memory.rungs(results, objectives)
        scores = chained(rungs, len(results), len(objectives), light_scores)
        places = np.flatnonzero(~np.isnan(scores[:, 0])).tolist()
        genes = Genes(space)
        if len(places) < self.population or not genes.variables:
            return untried, None
        judged = [results[place] for place in places]
        values = violators_behind(judged, objectives, scores[places])
        rng = stream(0, "evolution-absent", 0)
        rows = [genes.of(trial.config, rng) for trial in judged]
        tried = history.memory.keys(history.trials)
        parents = _Parents(self.algorithm, self.population, genes, rows, values, tried)
        return untried, parents


@final
class _Parents:
    """The survivors of the judged trials, from which pymoo makes children.

    Args:
        rows: the genes of the judged trials. values: minimised, shape `(n, n_objectives)`.
        tried: the keys of configurations that have a trial.
    """

    def __init__(
        self,
        algorithm: str,
        size: int,
        genes: Genes,
        rows: list[dict[str, Any]],
        values: npt.NDArray[np.float64],
        tried: frozenset[str],
    ) -> None:
        self._genes, self._tried = genes, tried
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # pymoo changes the filters of warnings
            self._algorithm = _algorithm(algorithm, size, genes, values.shape[1])
            for part in (slice(0, size), slice(size, None)):
                if len(rows[part]):
                    self._algorithm.tell(infills=_individuals(rows[part], values[part]))

    def children(self, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Returns configurations that no trial has, made with these random numbers; perhaps none."""
        for _ in range(_ATTEMPTS):
            self._algorithm.random_state = rng
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                asked = self._algorithm.ask()
            configs = [self._genes.config(child.X) for child in asked]
            found = [config for config in configs if config_key(config) not in self._tried]
            if any(map(self._genes.space.allows, found)):
                return found
        return []


def _algorithm(name: str, size: int, genes: Genes, n_objectives: int) -> Any:
    """Returns an algorithm of pymoo that waits for its first generation."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.algorithms.moo.nsga3 import NSGA3
    from pymoo.core.duplicate import NoDuplicateElimination
    from pymoo.core.mixed import MixedVariableMating
    from pymoo.core.problem import Problem
    from pymoo.core.termination import NoTermination
    from pymoo.core.variable import Choice, Integer, Real
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.mutation.rm import ChoiceRandomMutation
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.selection.tournament import TournamentSelection
    from pymoo.util.ref_dirs import get_reference_directions

    none, share = NoDuplicateElimination(), 1 / len(genes.variables)  # pymoo's own share counts one kind of gene alone
    mutation = {
        Real: PM(prob=1.0, prob_var=share),
        Integer: PM(prob=1.0, prob_var=share, vtype=float, repair=RoundingRepair()),
        Choice: ChoiceRandomMutation(prob=1.0, prob_var=share),
    }
    selection = TournamentSelection(func_comp=_tournament)
    mating = MixedVariableMating(selection=selection, mutation=mutation, eliminate_duplicates=none)
    options = {"pop_size": size, "n_offsprings": _N_CHILDREN, "mating": mating, "eliminate_duplicates": none}
    if name == "nsga3":
        directions = get_reference_directions(
            "das-dennis", n_objectives, n_partitions=_n_partitions(n_objectives, size)
        )
        found = NSGA3(directions, **options)
    else:
        found = NSGA2(**options)
    problem = Problem(vars=genes.variables, n_obj=n_objectives)
    return found.setup(problem, termination=NoTermination(), seed=0, output=None)


def _n_partitions(n_objectives: int, size: int) -> int:
    """Returns the most partitions for which there are at most `size` reference directions."""
    n = 1
    while comb(n + n_objectives, n_objectives - 1) <= size:
        n += 1
    return n


def _individuals(rows: list[dict[str, Any]], values: npt.NDArray[np.float64]) -> Any:
    from pymoo.core.population import Population

    return Population.new(X=rows, F=values)


def _tournament(pop: Any, pairs: npt.NDArray[np.int64], random_state: np.random.Generator, **_: Any) -> Any:
    """Returns the winner of each pair, shape `(n_pairs, 1)`: by front, then the less crowded one, then either."""
    winners = []
    for one, other in pairs.tolist():
        keys = [(*_standing(pop[place]), random_state.random()) for place in (one, other)]
        winners.append(one if keys[0] <= keys[1] else other)
    return np.array(winners)[:, None]


def _standing(individual: Any) -> tuple[float, float]:
    crowding = individual.get("crowding")
    return float(individual.get("rank")), 0.0 if crowding is None else -float(crowding)
