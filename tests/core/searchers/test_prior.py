"""The Pareto prior and its parts: scores, models, trust, spaces that only overlap, and what it refuses."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "schedulers"))
from started_race import started

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.continuation import kept_searcher
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.schedulers import ASHA, MedianStopping
from lightning_hwtune.core.searchers import TPE, History, ParetoPrior, Random, Searcher, searcher_from_settings
from lightning_hwtune.core.searchers.copula import chained_scores, copula_scores, winsor_margin
from lightning_hwtune.core.searchers.earlier_studies import EarlierTask
from lightning_hwtune.core.searchers.evidence import Evidence
from lightning_hwtune.core.searchers.left_out import left_out_predictions
from lightning_hwtune.core.searchers.lesson import Lesson
from lightning_hwtune.core.searchers.surrogate import Neighbours, Trees
from lightning_hwtune.core.searchers.trust import ENOUGH, ENOUGH_FOR_RANDOM, own_ranks_better, picked_tasks, weights_of
from lightning_hwtune.core.space import Choice, Float, Int, SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError, MissingDependencyError

ERROR, SIZE = Metric("error", "min"), Metric("size", "min")
BOTH = Objectives([ERROR, SIZE])
SPACE = SearchSpace(lr=Float(1e-4, 1e-1, log=True), width=Int(8, 64))
EMPTY = History([], BOTH)
Loss = Callable[[dict[str, Any]], Sequence[float]]


def loss(config: dict[str, Any]) -> list[float]:
    """Best at lr = 1e-3; a wide one is a little better and more expensive."""
    return [abs(math.log10(config["lr"]) + 3) - config["width"] / 640, float(config["width"])]


def task(
    name: str = "earlier",
    n: int = 80,
    of: Callable[[dict[str, Any]], Sequence[float]] = loss,
    space: SearchSpace = SPACE,
) -> EarlierTask:
    rng = np.random.default_rng(len(name))
    configs = [space.sample(rng) for _ in range(n)]
    return EarlierTask.of(name, configs, [of(config) for config in configs])


def trials_of(configs: Sequence[dict[str, Any]], draws: Sequence[int], of: Any = loss) -> list[TrialRecord]:
    trials = []
    for index, (config, draw) in enumerate(zip(configs, draws, strict=True)):
        trial = TrialRecord(index, config, 0, 0, 1, 0.0, draw=draw, decided={1: "pause"})
        trial.measurements = [Measurement(1, dict(zip(("error", "size"), of(config), strict=True)), 1.0, 1.0)]
        trials.append(trial)
    return trials


def study(prior: Searcher, n: int, of: Any = loss, seed: int = 0) -> list[TrialRecord]:
    """The trials of a study in which each draw is measured before the next."""
    trials: list[TrialRecord] = []
    for draw in range(n):
        config = prior.propose(SPACE, draw, seed, History(trials, BOTH))
        assert config is not None
        trials += trials_of([config], [draw], of)
    return trials


class TestScores:
    @given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30, unique=True))
    def test_are_normal_quantiles_of_ranks_cut_at_either_end(self, losses: list[float]) -> None:
        n = len(losses)
        delta = 1 / (4 * n**0.25 * math.sqrt(math.pi * math.log(n)))
        shares = [(sorted(losses).index(x) + 0.5) / n for x in losses]
        expected = stats.norm.ppf(np.clip(shares, min(delta, 0.5), 1 - min(delta, 0.5)))
        assert copula_scores(np.array(losses)[:, None])[:, 0] == pytest.approx(expected)

    @given(arrays(np.float64, (7, 2), elements=st.integers(-3, 3).map(float)))
    @pytest.mark.slow
    def test_turn_round_with_the_losses_and_ignore_monotone_changes(self, losses: np.ndarray[Any, Any]) -> None:
        scores = copula_scores(losses)
        assert copula_scores(-losses) == pytest.approx(-scores)
        assert copula_scores(np.exp(losses)) == pytest.approx(scores)
        assert copula_scores(losses[::-1])[::-1] == pytest.approx(scores)

    def test_of_a_constant_of_one_point_and_of_none(self) -> None:
        assert copula_scores([[2.0], [2.0], [2.0]]) == pytest.approx(np.zeros((3, 1)))
        assert copula_scores([[2.0, np.nan]]) == pytest.approx(np.zeros((1, 2)))
        assert copula_scores(np.empty((0, 2))).shape == (0, 2)

    def test_put_what_diverged_last(self) -> None:
        scores = copula_scores([[1.0], [np.nan], [5.0], [np.inf]])[:, 0]
        assert scores[1] == scores[3] > scores[2] > scores[0]

    def test_the_margin_shrinks_with_the_points(self) -> None:
        margins = [winsor_margin(n) for n in (1, 2, 3, 10, 1000)]
        assert margins == sorted(margins, reverse=True)
        assert margins[0] == 0.5
        assert margins[3] == pytest.approx(0.0523, abs=1e-4)


class TestChainedScores:
    def test_order_survivors_by_the_higher_level_and_leave_them_where_they_stood(self) -> None:
        trials = trials_of([{"lr": 1e-3, "width": 8}] * 9, range(9), lambda _: (0.0, 0.0))
        for index, trial in enumerate(trials):
            trial.measurements = [Measurement(1, {"error": float(index), "size": 1.0}, 1.0, 1.0)]
        for index in range(3):  # the first three continue, and their order is reversed
            trials[index].decided[3] = "pause"
            trials[index].measurements.append(Measurement(3, {"error": -float(index), "size": 3.0}, 3.0, 3.0))
        kept, scores = chained_scores(trials, BOTH)
        assert kept == trials
        at_first = copula_scores(np.arange(9.0)[:, None])[:, 0]
        assert scores[3:, 0] == pytest.approx(at_first[3:])
        assert scores[2, 0] < scores[1, 0] < scores[0, 0] < scores[3, 0]
        assert scores[:3, 0].mean() == pytest.approx(at_first[:3].mean())
        assert scores[:3, 0].std() == pytest.approx(at_first[:3].std())
        assert scores[:, 1] == pytest.approx(0)  # the objective never differs

    def test_leave_out_whom_no_level_judged(self) -> None:
        trials = trials_of([{"lr": 1e-3, "width": 8}] * 2, range(2))
        trials[0].decided = {}
        kept, scores = chained_scores(trials, BOTH)
        assert (kept, scores.shape) == (trials[1:], (1, 2))
        assert chained_scores([], BOTH)[1].shape == (0, 2)


class TestLesson:
    def test_trees_on_continuous_parameters_know_the_good_region(self) -> None:
        lesson = Lesson([task()], SPACE, [0, 1])
        assert isinstance(lesson.model, Trees)
        means, spreads = lesson.expect([{"lr": 1e-3, "width": 30}, {"lr": 9e-2, "width": 30}])
        assert means[0, 0] < -0.7 < 1 < means[1, 0]
        assert (spreads >= 0).all()

    def test_neighbours_on_a_small_grid_know_its_order(self) -> None:
        space = SearchSpace(kind=Choice(["a", "b", "c"]), batch=Choice([32, 64]))
        tasks = [task(name, 6 * 9, lambda c: [c["batch"] + 9.0 * (c["kind"] == "b")], space) for name in ("x", "yy")]
        lesson = Lesson(tasks, space, [0])
        assert isinstance(lesson.model, Neighbours)
        configs = list(space.grid())
        means, _ = lesson.expect(configs)
        truth = [config["batch"] + 9 * (config["kind"] == "b") for config in configs]
        assert stats.spearmanr(means[:, 0], truth).statistic > 0.95

    def test_neighbours_agree_with_a_plain_sum(self) -> None:
        rng = np.random.default_rng(0)
        points, scores, weights = rng.random((20, 3)), rng.random((20, 2)), rng.integers(1, 4, 20).astype(float)
        means = Neighbours(points, scores, weights).expect(points[:1] + 0.1)
        away = [sum((points[0] + 0.1 - point) ** 2) for point in points]
        ten = sorted(range(20), key=away.__getitem__)[:10]
        shares = np.array([weights[i] / (away[i] + 0.01) for i in ten])
        shares /= shares.sum()
        assert means[0] == pytest.approx(shares @ scores[ten])

    def test_spreads_are_how_far_the_tasks_disagree(self) -> None:
        other = task("another", of=lambda config: [-loss(config)[0], loss(config)[1]])
        lesson, configs = Lesson([task(), other], SPACE, [0, 1]), [{"lr": 1e-3, "width": 30}, {"lr": 9e-2, "width": 30}]
        each, (means, spreads) = lesson.expect_each(configs), lesson.expect(configs)
        assert each.shape == (2, 2, 2)
        assert each[0, 0, 0] < each[1, 0, 0]
        assert means == pytest.approx(each.mean(axis=0))
        assert spreads == pytest.approx(abs(each[0] - each[1]) / 2)

    @pytest.mark.parametrize("space", [SPACE, SearchSpace(lr=Choice([1e-4, 1e-3, 1e-2, 1e-1]), width=Int(8, 64))])
    def test_a_sample_is_a_function(self, space: SearchSpace) -> None:
        lesson = Lesson([task(space=space)], space, [0, 1])
        config, near = {"lr": 1e-2, "width": 30}, {"lr": 1e-2, "width": 31}
        samples = np.array(
            [lesson.sample([config, config, near], [[0], [0]], np.random.default_rng(k)) for k in range(100)]
        )
        assert (samples[:, 0] == samples[:, 1]).all()  # equal configurations get equal scores
        assert samples[:, 0, 0].std() > 0.02
        assert np.corrcoef(samples[:, 0, 0], samples[:, 2, 0])[0, 1] > 0.3  # near ones are in luck together
        assert samples.mean(axis=0) == pytest.approx(lesson.expect([config, config, near])[0], abs=0.15)
        again = lesson.sample([config, config, near], [[0], [0]], np.random.default_rng(7))
        assert (again == samples[7]).all()

    def test_of_spaces_that_overlap_uses_what_is_shared(self) -> None:
        other = SearchSpace(dropout=Float(0, 0.5), lr=Float(1e-3, 1.0, log=True))
        lesson = Lesson([task()], other, [0])
        assert lesson.shared == ("lr",)
        assert 0 < lesson.n_points["earlier"] < 80  # the points below the new range are left out
        means, _ = lesson.expect([{"dropout": 0.0, "lr": 1e-3}, {"dropout": 0.5, "lr": 1e-3}])
        assert means[0] == means[1]

    def test_refuses_tasks_without_a_shared_parameter_or_point(self) -> None:
        with pytest.raises(ArgumentError, match="share a parameter with the space: depth"):
            Lesson([task()], SearchSpace(depth=Int(1, 3)), [0])
        with pytest.raises(ArgumentError, match="inside the ranges of lr"):
            Lesson([task()], SearchSpace(lr=Float(1.0, 2.0)), [0])


class TestDraws:
    def test_lie_where_the_earlier_front_was(self) -> None:
        prior = ParetoPrior([task()], BOTH)
        trials = study(prior, 40)
        own = [trial for trial in trials if not prior.is_uniform(trial.draw or 0, 0)]
        assert np.median([abs(math.log10(trial.config["lr"]) + 3) for trial in own]) < 0.35  # at random 0.75
        assert prior.trust(SPACE, 0, History(trials, BOTH)).tolist() == [1.0, 1.0]

    def test_are_distinct(self) -> None:
        trials = study(ParetoPrior([task()], BOTH), 40)
        assert len({json.dumps(trial.config) for trial in trials}) == 40

    def test_of_a_batch_spread_over_the_front(self) -> None:
        prior = ParetoPrior(
            [task(of=lambda config: [loss(config)[0] - config["width"] / 32, config["width"]])], BOTH, uniform=0
        )
        widths = [trial.config["width"] for trial in study(prior, 24)]
        assert min(widths) < 15
        assert max(widths) > 40

    def test_of_a_batch_do_not_repeat_while_they_wait(self) -> None:
        prior = ParetoPrior([task()], BOTH, uniform=0)
        draws = [prior.propose(SPACE, draw, 0, EMPTY) for draw in range(4)]
        assert len({json.dumps(config) for config in draws}) == 4

    @given(uniform=st.floats(0, 0.9), seed=st.integers(0, 10**6), n=st.integers(1, 60))
    @settings(max_examples=30)
    def test_keep_the_share_of_uniform_ones(self, uniform: float, seed: int, n: int) -> None:
        prior = ParetoPrior([task(n=1)], BOTH, uniform=uniform)
        count = sum(prior.is_uniform(draw, seed) for draw in range(n))
        assert -1 - 1e-9 < count - uniform * n < 3 + 1e-9
        assert prior.is_uniform(1, seed) == (uniform > 0)

    @pytest.mark.slow
    def test_of_a_reversed_prior_come_from_the_study_itself(self) -> None:
        reversed_task = task(of=lambda config: [-x for x in loss(config)])
        guarded, unguarded = (ParetoPrior([reversed_task], BOTH, guarded=guarded) for guarded in (True, False))
        away = []
        for prior in (guarded, unguarded):
            trials = study(prior, 60)
            late = [t for t in trials[30:] if not prior.is_uniform(t.draw or 0, 0)]
            away.append(np.median([abs(math.log10(t.config["lr"]) + 3) for t in late]))
            trust = prior.trust(SPACE, 0, History(trials, BOTH))
            own = prior.own_share(SPACE, 0, History(trials, BOTH))
            assert (trust.tolist() == [1.0, 1.0]) == (prior is unguarded)
            assert own > 0.9 if prior is guarded else own == 0
        assert away[0] < 0.5 < 1.4 < away[1]  # at random 0.75

    @pytest.mark.slow
    @pytest.mark.parametrize("decades", [0.8, 1.6], ids=["near", "far"])
    def test_find_an_optimum_that_has_moved(self, decades: float) -> None:
        def moved(config: dict[str, Any]) -> list[float]:
            return [abs(math.log10(config["lr"]) + 3 - decades) - config["width"] / 640, float(config["width"])]

        prior = ParetoPrior([task()], BOTH)
        away = [abs(math.log10(trial.config["lr"]) + 3 - decades) for trial in study(prior, 60, moved)]
        assert np.median(away[40:]) < 0.4 < np.median(away[:8])
        assert min(away[:45]) < 0.3

    @pytest.mark.parametrize(("evidence", "least", "most"), [("corrects", 1.0, 1.0), ("all", 0.0, 0.6)])
    def test_of_six_judged_trials_on_correct_a_good_prior(self, evidence: str, least: float, most: float) -> None:
        """By the earlier rule, the tasks and the study's own trials compete for each draw, from ten trials on."""
        prior = ParetoPrior([task()], BOTH, evidence=evidence)
        few, enough = (History(study(Random(), n), BOTH) for n in (5, 20))
        assert prior.own_share(SPACE, 0, few) < 0.5
        assert least <= prior.own_share(SPACE, 0, enough) <= most

    def test_of_its_own_are_not_compared_with_each_other(self) -> None:
        prior = ParetoPrior([task()], BOTH)
        own = [draw for draw in range(40) if not prior.is_uniform(draw, 0)]
        configs = [Random().propose(SPACE, draw, 0, EMPTY) or {} for draw in own]
        trials = trials_of(configs, own, lambda config: [-x for x in loss(config)])
        assert prior.trust(SPACE, 0, History(trials, BOTH)).tolist() == [1.0, 1.0]

    @pytest.mark.parametrize("n_uniform", [1, 2, 4])
    def test_that_are_worse_than_uniform_ones_end_its_trust(self, n_uniform: int) -> None:
        """The few uniform trials hardly have a correlation among themselves."""
        reversed_task = task(of=lambda config: [-x for x in loss(config)])
        for earlier, weight in ((task(), 1.0), (reversed_task, 0.0)):
            prior = ParetoPrior([earlier], BOTH)
            draws = [draw for draw in range(60) if not prior.is_uniform(draw, 0)][:12]
            draws += [draw for draw in range(60) if prior.is_uniform(draw, 0)][:n_uniform]
            drawn = ((draw, prior.propose(SPACE, draw, 0, EMPTY)) for draw in draws)
            configs = [{"lr": 1e-2, "width": 36} if prior.is_uniform(draw, 0) else config for draw, config in drawn]
            trust = prior.trust(SPACE, 0, History(trials_of(configs, draws), BOTH))
            assert trust[0] == pytest.approx(weight, abs=0.5 if n_uniform == 1 else 0.0)

    def test_without_trust_are_those_of_a_study_without_a_prior(self) -> None:
        reversed_task = task(of=lambda config: [-x for x in loss(config)])
        prior, trials = ParetoPrior([reversed_task], BOTH), study(Random(), 20)
        history = History(trials, BOTH)
        assert prior.trust(SPACE, 0, history).tolist() == [0.0, 0.0]
        assert prior.own_share(SPACE, 0, history) == 1.0
        draw = next(draw for draw in range(20, 40) if not prior.is_uniform(draw, 0))
        expected = TPE(random=0.0).propose(SPACE, draw, 0, History(trials, BOTH))
        assert prior.propose(SPACE, draw, 0, history) == expected

    @pytest.mark.parametrize("of", [lambda c: [1.0, 1.0], lambda c: [math.nan, math.nan]], ids=["constant", "diverged"])
    def test_of_a_prior_that_knows_nothing_are_those_without_a_prior(self, of: Any) -> None:
        for earlier in (task(of=of), task(n=1), task(n=2)):
            prior = ParetoPrior([earlier], BOTH)
            assert prior.trust(SPACE, 0, EMPTY).tolist() == [0.0, 0.0]
            assert prior.own_share(SPACE, 0, EMPTY) == 1.0
            draws = [draw for draw in range(12) if not prior.is_uniform(draw, 0)]
            drawn = [prior.propose(SPACE, draw, 0, EMPTY) for draw in draws]
            assert drawn == [Random().propose(SPACE, draw, 0, EMPTY) for draw in draws]

    def test_of_a_prior_of_few_configurations_remain_those_without_a_prior(self) -> None:
        trials, own = study(Random(), 8), TPE(random=0.0, min_points=3)
        draws = [draw for draw in range(8, 14) if not ParetoPrior([task(n=5)], BOTH).is_uniform(draw, 0)]
        expected = [own.propose(SPACE, draw, 0, History(trials, BOTH)) for draw in draws]
        for n in (5, 80):
            prior = ParetoPrior([task(n=n)], BOTH)
            found = [prior.propose(SPACE, draw, 0, History(trials, BOTH)) for draw in draws]
            assert (found == expected) == (n == 5)

    @pytest.mark.slow
    def test_of_a_prior_that_knows_nothing_were_random_by_the_earlier_rule(self) -> None:
        prior = ParetoPrior([task(n=2)], BOTH, evidence="uniform", gaussian=0.0)
        shares = SPACE.encode_many(t.config for t in study(prior, 60, lambda config: [1.0, 2.0]))
        assert stats.kstest(shares[:, 0], "uniform").pvalue > 0.01
        assert prior.is_uniform(3, 0)

    @pytest.mark.parametrize("n", [3, 6, 10])
    def test_of_a_prior_of_few_configurations_stay_near_random(self, n: int) -> None:
        lessons = [Lesson([task("earlier" * k, n)], SPACE, [0, 1]) for k in range(1, 6)]
        assert np.mean([lesson.belief for lesson in lessons]) < 0.06
        assert Lesson([task()], SPACE, [0, 1]).belief.tolist() == pytest.approx([0.5, 0.5], abs=0.2)

    def test_of_one_objective_seek_its_best(self) -> None:
        only = Objectives([ERROR])
        prior = ParetoPrior([task()], BOTH, uniform=0)
        configs = [prior.propose(SPACE, draw, 0, History([], only)) or {} for draw in range(20)]
        assert np.median([abs(math.log10(config["lr"]) + 3) for config in configs]) < 0.35


def seen_by(n_tasks: int, n: int, wrong: Sequence[float], seed: int = 0) -> tuple[Any, Any]:
    """What was seen of `n` draws, and tasks that expect it; with noise, and turned round where `wrong` is -1."""
    rng = np.random.default_rng(seed)
    seen = rng.standard_normal((n, len(wrong)))
    return np.array(wrong) * seen + 0.5 * rng.standard_normal((n_tasks, n, len(wrong))), seen


BELIEF, METRICS = np.full(3, 0.5), (False, False, False)


def weights(expected: Any, seen: Any, *is_measured: bool) -> Any:
    return weights_of(
        Evidence(seen), expected.mean(axis=0), BELIEF[: seen.shape[1]], is_measured or METRICS[: seen.shape[1]]
    )


class TestTrust:
    @pytest.mark.parametrize("enough", [ENOUGH, ENOUGH_FOR_RANDOM])
    def test_follows_the_rank_correlations_of_one_and_of_all_objectives(self, enough: float) -> None:
        expected, seen = seen_by(3, 12, [0.0, 0.0, 0.0], seed=4)
        r = [stats.spearmanr(expected.mean(axis=0)[:, i], seen[:, i]).statistic for i in range(3)]
        pooled = (4 * 0.5 + 11 * sum(r)) / (4 + 33)
        estimates = [(8 * pooled + 11 * own) / 19 for own in r]
        found = weights_of(Evidence(seen), expected.mean(axis=0), BELIEF, METRICS, enough)
        assert found == pytest.approx([min(max(estimate / enough, 0), 1) for estimate in estimates])
        assert ((found > 0) & (found < 1)).any()

    @pytest.mark.parametrize(("evidence", "enough"), [("all", ENOUGH), ("uniform", ENOUGH_FOR_RANDOM)])
    def test_is_harder_to_win_where_the_other_draws_are_not_random(self, evidence: str, enough: float) -> None:
        prior = ParetoPrior([task("a", 14)], BOTH, evidence=evidence)
        belief = prior.lesson(SPACE, BOTH).belief
        assert (belief > 0).all()
        assert prior.trust(SPACE, 0, EMPTY) == pytest.approx(belief / enough)

    @given(n=st.integers(2, 40), seed=st.integers(0, 99))
    @settings(max_examples=30)
    def test_stays_with_a_good_prior_and_leaves_a_reversed_one(self, n: int, seed: int) -> None:
        assert (weights(*seen_by(5, n + 4, [1, 1], seed)) == 1).all()
        assert (weights(*seen_by(5, n + 4, [-1, -1], seed)) == 0).all()

    def test_tells_objectives_apart_in_time(self) -> None:
        assert weights(*seen_by(5, 30, [1, -1])).tolist() == [1.0, 0.0]

    @pytest.mark.parametrize("right", [[-1, 1], [-1, 1, 1], [1, -1]], ids=["time", "time and money", "a metric"])
    def test_of_a_metric_does_not_depend_on_time_and_money(self, right: list[float]) -> None:
        expected, seen = seen_by(5, 9, right)
        kinds = (False, *[True] * (len(right) - 1))
        alone = weights(expected[:, :, :1], seen[:, :1])
        assert weights(expected, seen, *kinds)[0] == alone[0] == (right[0] > 0)
        seen[:, 1:] = -seen[:, 1:]
        assert weights(expected, seen, *kinds)[0] == alone[0]

    def test_of_what_never_differs_is_that_of_the_others(self) -> None:
        expected, seen = seen_by(5, 9, [-1, 1])
        seen[:, 1] = 2.0
        assert weights(expected, seen).tolist() == [0.0, 0.0]
        assert weights(*seen_by(5, 1, [-1, -1])).tolist() == [1.0, 1.0]

    def test_before_the_first_result_is_what_the_tasks_lead_to_expect(self) -> None:
        none = np.empty((0, 2))
        for evidence in (Evidence(none), Evidence.of_draws(none, np.empty(0, dtype=bool))):
            assert weights_of(evidence, none, np.array([0.04, 0.0]), [False, False]) == pytest.approx(
                [0.04 / ENOUGH, 0.0]
            )

    def test_goes_to_the_trials_of_the_study_if_they_rank_better(self) -> None:
        rng, seen = np.random.default_rng(0), np.random.default_rng(1).standard_normal((20, 1))
        good, poor = seen + 0.1 * rng.standard_normal(seen.shape), rng.standard_normal(seen.shape)
        for own, earlier, share in ((good, poor, 1.0), (poor, good, 0.0), (good, np.zeros_like(seen), 1.0)):
            wins = [own_ranks_better(own, earlier, seen, np.random.default_rng(k)) for k in range(40)]
            assert np.mean(wins) == share
        assert not own_ranks_better(good[:2], poor[:2], seen[:2], rng)  # too few to compare

    @given(st.integers(0, 99), st.integers(2, 25), st.integers(1, 4))
    @settings(max_examples=20)
    def test_left_out_predictions_are_those_of_a_fit_without_the_point(self, seed: int, n: int, n_dims: int) -> None:
        rng = np.random.default_rng(seed)
        points, scores = rng.random((n, n_dims)), rng.standard_normal((n, 2))
        found = left_out_predictions(points, scores)
        assert found.shape == scores.shape
        changed = scores.copy()
        changed[0] += 5.0  # a point's own result does not enter its prediction
        assert left_out_predictions(points, changed)[0] == pytest.approx(found[0], abs=1e-4)

    def test_picks_tasks_that_order_the_draws_as_seen(self) -> None:
        _, seen = seen_by(6, 12, [1, 1])
        expected = np.stack([seen, -seen, 0 * seen, -seen])
        for evidence in (Evidence(seen), Evidence.of_draws(seen, np.arange(12) < 6)):
            for column in range(2):
                rng, each = np.random.default_rng(0), expected[:, :, column]
                assert set(picked_tasks(evidence, each, column, 40, rng)) == {0}
                assert set(picked_tasks(evidence, each[1:], column, 40, rng)) == {1}  # ignorant, not reversed

    @pytest.mark.parametrize("n", [0, 1, 2])
    def test_picks_any_task_before_it_has_seen_much(self, n: int) -> None:
        expected, seen = seen_by(6, n, [1, 1])
        assert len(set(picked_tasks(Evidence(seen), expected[:, :, 0], 0, 60, np.random.default_rng(0)))) == 6

    def test_picks_any_task_if_nothing_can_be_compared(self) -> None:
        expected, seen = seen_by(6, 12, [1, 1])
        evidence = Evidence.of_draws(seen, np.zeros(12, dtype=bool))
        assert len(set(picked_tasks(evidence, expected[:, :, 0], 0, 60, np.random.default_rng(0)))) == 6


class TestEvidence:
    @given(arrays(np.float64, (7, 2), elements=st.integers(0, 4).map(float)), st.integers(0, 2**7 - 1))
    @settings(max_examples=40)
    def test_agrees_with_a_loop_over_pairs(self, seen: np.ndarray[Any, Any], bits: int) -> None:
        is_uniform = np.array([bool(bits >> place & 1) for place in range(7)])
        expected = np.random.default_rng(bits).integers(0, 4, size=(7, 2)).astype(float)
        evidence = Evidence.of_draws(seen, is_uniform)
        pairs = [(i, j) for i in range(7) for j in range(i) if is_uniform[i] or is_uniform[j]]
        assert evidence.worth == pytest.approx(2 * len(pairs) / 7)
        found = evidence.correlations(expected)
        for column in range(2):
            signs = [[np.sign(of[i, column] - of[j, column]) for i, j in pairs] for of in (expected, seen)]
            norm = math.sqrt(np.abs(signs[0]).sum() * np.abs(signs[1]).sum())
            if norm:
                assert found[column] == pytest.approx(math.sin(math.pi / 2 * np.dot(*signs) / norm))
            else:
                assert math.isnan(found[column])

    @pytest.mark.parametrize("r", [-0.8, -0.3, 0.0, 0.5, 0.9])
    def test_is_on_the_scale_of_spearmans_correlation(self, r: float) -> None:
        rng = np.random.default_rng(0)
        seen = rng.standard_normal((400, 1))
        expected = r * seen + math.sqrt(1 - r**2) * rng.standard_normal((400, 1))
        every = Evidence.of_draws(seen, np.ones(400, dtype=bool))
        assert every.correlations(expected) == pytest.approx(Evidence(seen).correlations(expected), abs=0.04)
        assert every.worth == Evidence(seen).worth == 399

    def test_of_a_narrow_range_does_not_count_against_a_good_prior(self) -> None:
        """Its own draws are all good, and their order is chance; the uniform ones are worse, as it expects."""
        rng = np.random.default_rng(1)
        seen = np.concatenate([-2 + 0.1 * rng.standard_normal((20, 1)), rng.standard_normal((3, 1))])
        expected = np.concatenate([-2 - 0.1 * (seen[:20] + 2), [[0.0], [0.1], [-0.1]]])
        is_uniform = np.arange(23) >= 20
        assert Evidence.of_draws(seen, is_uniform).correlations(expected)[0] > 0.8
        assert Evidence.of_draws(seen, ~is_uniform).correlations(expected)[0] < 0.6  # own pairs would count against it

    @pytest.mark.parametrize("is_uniform", [[], [False] * 5, [True]])
    def test_without_a_pair_is_unknown(self, is_uniform: list[bool]) -> None:
        seen = np.arange(len(is_uniform), dtype=float)[:, None]
        evidence = Evidence.of_draws(seen, np.array(is_uniform, dtype=bool))
        assert evidence.worth == 0
        assert np.isnan(evidence.correlations(seen)).all()


class TestRefusals:
    def test_an_empty_prior(self) -> None:
        with pytest.raises(ArgumentError, match="at least one earlier task"):
            ParetoPrior([], BOTH)
        with pytest.raises(ArgumentError, match="at least one configuration"):
            EarlierTask.of("none", [], np.empty((0, 2)))

    def test_objectives_that_do_not_match(self) -> None:
        prior = ParetoPrior([task()], BOTH)
        prior.check_objectives(Objectives([SIZE]))
        with pytest.raises(
            ArgumentError, match=r"`objectives` is 'train_s'; allowed: one of error, size, the objectives of 'prior'"
        ):
            prior.check_objectives(Objectives([ERROR, TrainSeconds()]))
        with pytest.raises(ArgumentError, match=r"error \(max\)"):
            prior.check_objectives(Objectives([Metric("error", "max")]))
        with pytest.raises(ArgumentError, match="losses for"):
            ParetoPrior([task()], Objectives([ERROR]))

    def test_a_space_with_nothing_in_common(self) -> None:
        with pytest.raises(ArgumentError, match="share a parameter"):
            ParetoPrior([task()], BOTH).check(SearchSpace(depth=Int(1, 3)))

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"uniform": 1.0}, "uniform"),
            ({"batch": 0}, "batch"),
            ({"candidates": True}, "candidates"),
            ({"configs": []}, "configs"),
            ({"gaussian": 1.5}, "gaussian"),
            ({"evidence": "some"}, "evidence"),
        ],
    )
    def test_arguments_out_of_range(self, arguments: dict[str, Any], text: str) -> None:
        with pytest.raises(ArgumentError, match=rf"ParetoPrior\.{text}"):
            ParetoPrior([task()], BOTH, **arguments)

    def test_a_missing_scikit_learn_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
        with pytest.raises(MissingDependencyError, match=r"lightning_hwtune\[prior\]"):
            Trees(np.zeros((1, 1)), np.zeros((1, 1)), np.ones(1))


def test_settings_hold_all_that_was_learned() -> None:
    diverged = EarlierTask("diverged", {"lr": [1e-3, 1e-2], "width": [8, 9]}, [[math.nan, 1.0], [0.5, 2.0]])
    prior = ParetoPrior([task(), diverged], BOTH, candidates=64)
    again = searcher_from_settings(json.loads(json.dumps(prior.settings())))
    assert again == prior
    assert hash(again) == hash(prior)
    for draw in range(8):
        assert again.propose(SPACE, draw, 3, EMPTY) == prior.propose(SPACE, draw, 3, EMPTY)
    assert prior != ParetoPrior([task()], BOTH, candidates=64)


def test_stopping_keeps_front_members_for_a_prior() -> None:
    from study_driver import spec

    prior, objectives = ParetoPrior([task()], BOTH), Objectives([ERROR, SIZE])
    for searcher, scheduler, kept in (
        (prior, ASHA(9, type="stopping"), True),
        (prior, ASHA(9), False),
        (Random(), ASHA(9, type="stopping"), False),
    ):
        study = spec(scheduler=scheduler, searcher=searcher, space=SPACE, objectives=objectives, devices=1)
        assert getattr(StudyState(study).race, "_keeps_front", False) == kept
        assert study.scheduler is scheduler
    assert spec(scheduler=MedianStopping(9), searcher=prior, space=SPACE, objectives=objectives, devices=1)


def test_a_front_member_is_kept_and_others_are_stopped() -> None:
    plain, keeping = ASHA(9, type="stopping"), ASHA(9, type="stopping").keeping_front()
    for scheduler, kind in ((plain, "stop"), (keeping, "continue")):
        rungs = started(scheduler, 2)
        for trial_id in range(6):
            rungs.record(trial_id, 0, 1, np.array([float(trial_id), -float(trial_id)]), "continue")
        near = np.array([0.4, -0.6])  # not dominated, but close to another
        assert rungs.verdict(9, 0, 1, near).kind == kind
        assert rungs.verdict(9, 0, 1, np.array([9.0, 9.0])).kind == "stop"
    assert keeping.keeping_front() is keeping
    assert ASHA(9).keeping_front().settings() == ASHA(9).settings()


@pytest.mark.parametrize("kept", [{}, {"gaussian": 0.5}, {"evidence": "all"}, {"gaussian": 1.0, "evidence": "all"}])
@pytest.mark.parametrize("form", [1, 5])
def test_a_study_that_began_with_an_earlier_version_keeps_its_rules(kept: dict[str, Any], form: int) -> None:
    old = ParetoPrior([task(n=3)], BOTH).settings()
    stored = {key: value for key, value in old.items() if key not in ("gaussian", "evidence")} | kept
    data = {"type": "StudyCreated", "form": form, "at": 0.0, "study": "s", "spec": {"searcher": stored}}
    read = ev.from_dict(data)
    assert isinstance(read, ev.StudyCreated)
    assert read.spec["searcher"] == {"gaussian": 0.0, "evidence": "uniform", **stored}
    assert searcher_from_settings(read.spec["searcher"]).settings() == read.spec["searcher"]


@pytest.mark.parametrize("given", [{}, {"evidence": "all"}, {"gaussian": 0.9}, {"gaussian": 0.9, "evidence": "all"}])
def test_an_unchanged_script_continues_with_the_stored_rules(given: dict[str, Any]) -> None:
    began = ParetoPrior([task()], BOTH, gaussian=0.0, evidence="uniform")
    stored = StudySpec("s", SPACE, BOTH, ASHA(max_epochs=9), began, Pool("cpu", 1))
    kept = kept_searcher(stored, ParetoPrior([task()], BOTH, **given))
    assert kept == ParetoPrior([task()], BOTH, **({"gaussian": 0.0, "evidence": "uniform"} | given))
    assert (kept == began) == (not given)
