"""Evolution by pymoo: whose children are drawn, and that a study can be continued."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from every_kind import KINDS

import lightning_hwtune as hwt
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.searchers import SEARCHER_REGISTRY, History, Random
from lightning_hwtune.core.searchers.copula import chained_scores
from lightning_hwtune.core.searchers.memory import Memory
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.searchers.evolution import _n_partitions
from lightning_hwtune.searchers.genes import Genes
from lightning_hwtune.testing import check_searcher
from lightning_hwtune.testing.searcher_contract import killed_study_draws_alike, same_draw_is_the_same

ONE, TWO = Objectives([Metric("a", "min")]), Objectives([Metric("a", "min"), Metric("b", "min")])
CUBE = SearchSpace({f"x{i}": Float(0, 1) for i in range(4)})


def judged(number: int, config: dict[str, Any], values: dict[str, float]) -> TrialRecord:
    record = TrialRecord(number, config, 0, 0, 1, 0.0, draw=number)
    record.measurements, record.decided = [Measurement(1, values, 1.0, 1.0)], {1: "stop"}
    return record


def run(searcher: Any, space: SearchSpace, objectives: Objectives, n: int, values: Any, seed: int = 0) -> Any:
    """The trials of a study that trains one after the other."""
    trials, memory = list[TrialRecord](), Memory()
    for draw in range(n):
        config = searcher.propose(space, draw, seed, History(trials, objectives, memory=memory))
        if config is None:
            break
        trials.append(judged(draw, config, values(config)))
    return trials


def sphere(config: dict[str, Any]) -> dict[str, float]:
    return {"a": sum((x - 0.3) ** 2 for x in config.values())}


def lines(config: dict[str, Any]) -> dict[str, float]:
    """Two objectives whose front is where all but x0 are 0."""
    rest = sum(config[f"x{i}"] for i in range(1, 4))
    return {"a": config["x0"] + rest, "b": 1 - config["x0"] + rest}


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"algorithm": "nsga"}, "'nsga2'"),
            ({"algorithm": "NSGA-II"}, "nsga2"),
            ({"population": 1}, "Evolution.population"),
            ({"population": 2.5}, "Evolution.population"),
            ({"pop_size": 20}, "population"),
        ],
    )
    def test_wrong_arguments(self, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises((ArgumentError, hwt.UnknownArgumentError), match=says):
            hwt.Evolution(**arguments)

    def test_objectives_that_do_not_fit_nsga3(self) -> None:
        with pytest.raises(ArgumentError, match="'nsga2' with one objective"):
            hwt.Evolution("nsga3").check_objectives(ONE)
        five = Objectives([Metric(f"m{i}", "min") for i in range(5)])
        with pytest.raises(ArgumentError, match="at least 5"):
            hwt.Evolution("nsga3", population=4).check_objectives(five)
        hwt.Evolution("nsga3", population=5).check_objectives(five)
        hwt.Evolution("nsga2", population=2).check_objectives(five)


def test_the_log_has_a_short_name() -> None:
    searcher = hwt.Evolution("nsga3", population=12)
    stored = json.loads(json.dumps(SEARCHER_REGISTRY.stored(searcher)))
    assert stored == {"name": "evolution", "algorithm": "nsga3", "population": 12}
    assert SEARCHER_REGISTRY.rebuilt(stored) == searcher


def test_every_configuration_survives_the_translation() -> None:
    genes, rng = Genes(KINDS), np.random.default_rng(0)
    for _ in range(200):
        config = KINDS.sample(rng)
        again = genes.config(genes.of(config, rng))
        for name in ("lr", "momentum"):
            assert again.pop(name, 0.0) == pytest.approx(config.pop(name, 0.0))
        assert again == config
    assert "constant" not in genes.variables


@pytest.mark.parametrize("space", [CUBE, KINDS], ids=["cube", "kinds"])
def test_the_first_generation_is_random(space: SearchSpace) -> None:
    searcher = hwt.Evolution(population=5)
    trials = [judged(i, Random().propose(space, i, 1, History([], ONE)) or {}, {"a": float(i)}) for i in range(4)]
    drawn = searcher.propose(space, 4, 1, History(trials, ONE))
    assert drawn == Random().propose(space, 4, 1, History(trials, ONE))
    running = TrialRecord(4, drawn or {}, 0, 0, 1, 0.0, draw=4)
    assert searcher.propose(space, 5, 1, History([*trials, running], ONE)) == Random().propose(
        space, 5, 1, History([], ONE)
    )
    fifth = judged(4, drawn or {}, {"a": 4.0})
    child = searcher.propose(space, 5, 1, History([*trials, fifth], ONE))
    assert child != Random().propose(space, 5, 1, History([], ONE))


@pytest.mark.parametrize(("algorithm", "population"), [("nsga2", 6), ("nsga3", 6)])
def test_children_take_after_the_best_and_not_after_others(algorithm: str, population: int) -> None:
    """The good trials agree in a choice and in a number; children of pymoo's mating only rarely differ."""
    space = SearchSpace(kind=Choice(["a", "b", "c", "d"]), x=Float(0, 1), y=Float(0, 1))
    trials = []
    for i in range(30):
        is_good = i % 5 == 0
        config = {"kind": "c" if is_good else "abd"[i % 3], "x": 0.9 if is_good else i / 60, "y": i / 30}
        trials.append(judged(i, config, {"a": i / 100 if is_good else 5 + i, "b": -i / 100 if is_good else 5 + i}))
    searcher = hwt.Evolution(algorithm, population)
    drawn = [searcher.propose(space, draw, 0, History(trials, TWO)) for draw in range(30, 70)]
    assert sum(config["kind"] == "c" for config in drawn if config) > 20  # 10 at random; a third of the genes mutate
    assert sum(abs(config["x"] - 0.9) < 0.1 for config in drawn if config) > 20


def test_violators_are_parents_only_if_there_are_too_few_others() -> None:
    objectives = Objectives([Metric("a", "min", at_most=10.0)])
    space = SearchSpace(kind=Choice(["good", "bad"]), x=Float(0, 1))

    def history(n_feasible: int) -> History:
        rows = [("good", 9.0)] * n_feasible + [("bad", 11.0 + i) for i in range(12)]
        trials = [judged(i, {"kind": kind, "x": i / 30}, {"a": value}) for i, (kind, value) in enumerate(rows)]
        return History(trials, objectives)

    searcher = hwt.Evolution(population=6)
    drawn = [searcher.propose(space, draw, 0, history(6)) or {} for draw in range(20, 50)]
    assert sum(config["kind"] == "good" for config in drawn) > 18
    few = [searcher.propose(space, draw, 0, history(0)) or {} for draw in range(20, 50)]
    assert sum(config["kind"] == "bad" for config in few) > 18


@pytest.mark.parametrize("space", [CUBE, KINDS], ids=["cube", "kinds"])
def test_no_known_configuration_is_drawn_again(space: SearchSpace) -> None:
    def values(config: dict[str, Any]) -> dict[str, float]:
        return {"a": float(space.encode(config)[0]), "b": float(space.encode(config)[-1])}

    trials = run(hwt.Evolution(population=4), space, TWO, 40, values)
    texts = [json.dumps(record.config) for record in trials]
    assert len(set(texts)) == 40
    assert all(space.validate(record.config) == record.config for record in trials)


def test_a_finite_space_is_gone_through_once() -> None:
    space = SearchSpace(width=Int(1, 4), kind=Choice(["a", "b"], when={"width": [1, 2]}), only=Choice([7]))
    trials = run(hwt.Evolution(population=2), space, ONE, 50, lambda config: {"a": float(config["width"])})
    assert sorted(json.dumps(t.config) for t in trials) == sorted(json.dumps(config) for config in space.grid())


def test_a_space_of_constants_has_one_configuration() -> None:
    space = SearchSpace(only=Choice([7]), other=Choice(["x"]))
    assert len(run(hwt.Evolution(population=2), space, ONE, 5, lambda config: {"a": 1.0})) == 1


def front_distance(trials: Sequence[TrialRecord]) -> float:
    """Distance of the front of `lines` from the trials, in the mean over it."""
    points = np.array([list(lines(dict(record.config)).values()) for record in trials])
    front = np.array([[share, 1 - share] for share in np.linspace(0, 1, 21)])
    return float(np.mean([np.linalg.norm(points - point, axis=1).min() for point in front]))


def test_it_is_ahead_of_random_draws() -> None:
    def best(searcher: Any, seed: int) -> float:
        trials = run(searcher, CUBE, ONE, 150, sphere, seed)
        return float(min(record.measurements[0].values["a"] for record in trials))

    evolved = [best(hwt.Evolution(population=10), seed) for seed in range(3)]
    assert np.median(evolved) < min(best(Random(), seed) for seed in range(3)) / 3
    for algorithm in ("nsga2", "nsga3"):
        trials = run(hwt.Evolution(algorithm), CUBE, TWO, 100, lines)
        assert front_distance(trials) < front_distance(run(Random(), CUBE, TWO, 100, lines)) / 2


@pytest.mark.parametrize(
    ("n_objectives", "size", "n"), [(2, 20, 19), (3, 20, 4), (3, 21, 5), (5, 5, 1), (5, 14, 1), (5, 15, 2)]
)
def test_reference_directions_are_as_many_as_the_population_allows(n_objectives: int, size: int, n: int) -> None:
    from pymoo.util.ref_dirs import get_reference_directions

    assert _n_partitions(n_objectives, size) == n
    assert len(get_reference_directions("das-dennis", n_objectives, n_partitions=n)) <= size
    assert len(get_reference_directions("das-dennis", n_objectives, n_partitions=n + 1)) > size


def test_many_objectives() -> None:
    objectives = Objectives([Metric(f"m{i}", "min") for i in range(5)])
    trials = run(
        hwt.Evolution("nsga3", 15),
        CUBE,
        objectives,
        40,
        lambda c: {f"m{i}": abs(c["x0"] - i / 4) + c["x1"] for i in range(5)},
    )
    early, late = (np.median([t.config["x1"] for t in part]) for part in (trials[:15], trials[25:]))
    assert late < early / 2


def test_later_rungs_decide_who_survives() -> None:
    trials = [judged(i, {f"x{k}": i / 12 for k in range(4)}, {"a": float(i)}) for i in range(12)]
    for record, loss in zip(trials[:6], (9, 8, 7, 6, 5, 4), strict=True):  # the first rung had them in another order
        record.add(Measurement(3, {"a": float(loss)}, 1.0, 1.0))
        record.decided[3] = "pause"
    kept, scores = chained_scores(trials, ONE)
    best = [kept[place].trial_id for place in np.argsort(scores[:, 0])[:3]]
    assert best == [5, 4, 3]
    history = History(trials, ONE)
    _, parents = hwt.Evolution(population=3)._learned(CUBE, history)
    assert parents is not None
    assert sorted(individual.X["x0"] for individual in parents._algorithm.pop) == pytest.approx(
        [3 / 12, 4 / 12, 5 / 12]
    )


def test_a_trial_that_violates_a_bound_at_a_later_rung_does_not_survive() -> None:
    objectives = Objectives([Metric("a", "min", at_most=5.0)])
    trials = [judged(i, {f"x{k}": i / 8 for k in range(4)}, {"a": i / 2}) for i in range(8)]
    for record, loss in zip(trials[:3], (6.0, 0.3, 0.2), strict=True):  # the best of the first rung gets worse
        record.add(Measurement(3, {"a": loss}, 1.0, 1.0))
        record.decided[3] = "pause"
    _, parents = hwt.Evolution(population=7)._learned(CUBE, History(trials, objectives))
    assert parents is not None
    assert sorted(individual.X["x0"] for individual in parents._algorithm.pop) == [i / 8 for i in range(1, 8)]


@pytest.mark.slow
def test_the_shipped_suite_holds() -> None:
    space = SearchSpace(
        layers=Int(1, 4, log=True, when={"kind": "a"}), kind=Choice(["a", "b"]), x=Int(1, 3), devices=NumDevices(1, 2)
    )
    check_searcher(hwt.Evolution(population=4), space, [Metric("error", "min"), TrainSeconds()])


@pytest.mark.slow
def test_a_killed_study_draws_alike_with_nsga3() -> None:
    objectives = Objectives([Metric("error", "min"), TrainSeconds()])
    searcher = hwt.Evolution("nsga3", population=4)
    killed_study_draws_alike(searcher, KINDS, objectives)
    same_draw_is_the_same(searcher, KINDS, objectives)
