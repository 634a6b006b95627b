"""The searcher `GP`: its contract, what it learns, what it refuses, and that it leaves torch as it was."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.searchers import History, Random, Sobol, searcher_from_settings
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
from lightning_hwtune.errors import ArgumentError, MissingDependencyError
from lightning_hwtune.searchers import gaussian_process
from lightning_hwtune.searchers.gaussian_process import GP, learned_places
from lightning_hwtune.settings import StudySettings
from lightning_hwtune.testing import check_searcher
from lightning_hwtune.testing.searcher_contract import killed_study_draws_alike

ONE = Objectives([Metric("error", "min")])
TWO = Objectives([Metric("error", "min"), TrainSeconds()])
UNIT = SearchSpace(x=Float(0, 1), y=Float(0, 1))
MIXED = SearchSpace(
    lr=Float(1e-4, 1e-1, log=True),
    optimizer=Choice(["adam", "sgd", "rmsprop"]),
    momentum=Float(0.5, 0.99, when={"optimizer": "sgd"}),
    nesterov=Choice([True, False], when={"optimizer": "sgd"}),
    batch_size=Choice([63, 64]),
    devices=NumDevices(1, 2),
)
FINITE = SearchSpace(width=Int(1, 2), kind=Choice(["a", "b", "c"]), devices=NumDevices(1, 2))

Values = Callable[[dict[str, Any]], dict[str, float]]


def judged(configs: list[dict[str, Any]], values: Values) -> list[TrialRecord]:
    trials = [TrialRecord(i, config, 0, 0, 1, 0.0, draw=i) for i, config in enumerate(configs)]
    for trial in trials:
        trial.measurements, trial.decided = [Measurement(1, values(dict(trial.config)), 1.0, 1.0)], {1: "stop"}
    return trials


def sampled(space: SearchSpace, n: int, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(n)]


def bowl(config: dict[str, Any]) -> dict[str, float]:
    return {"error": (config["x"] - 0.3) ** 2 + (config["y"] - 0.7) ** 2}


def drawn(trials: list[TrialRecord], space: SearchSpace = UNIT, objectives: Objectives = ONE, **changes: Any) -> Any:
    """Returns the next draw, for a new history."""
    return GP(**changes).propose(space, len(trials), 0, History(trials, objectives))


def searching(patch: pytest.MonkeyPatch, n_candidates: int, n_steps: int, n_samples: int) -> None:
    """Makes the search for the maximum shorter, which saves minutes here."""
    pytest.importorskip("botorch")
    from lightning_hwtune.searchers import gaussian_model

    for name, n in (("_N_ANYWHERE", n_candidates), ("_N_NEAR", n_candidates), ("_N_CLIMBED", 1)):
        patch.setattr(gaussian_process, name, n)
    for name, n in (("_MAX_FIT_STEPS", n_steps), ("_MAX_STEPS", n_steps), ("_N_SAMPLES", n_samples)):
        patch.setattr(gaussian_model, name, n)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """For rules that do not depend on how good a draw is."""
    searching(monkeypatch, n_candidates=8, n_steps=1, n_samples=8)


@pytest.fixture
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    searching(monkeypatch, n_candidates=64, n_steps=15, n_samples=32)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_the_shipped_suite_holds() -> None:
    check_searcher(GP(start=4), {"width": Int(1, 4, log=True), "kind": Choice(["a", "b", "c"])}, ONE)


@pytest.mark.usefixtures("quick")
class TestMixedSpace:
    """Parts of the shipped suite, on a space with conditions and device counts, and two objectives."""

    def test_draws_are_allowed_and_repeat_in_any_order(self) -> None:
        space = SearchSpace.from_dict(MIXED.to_dict())
        for goals in (TWO, Objectives(TWO, [Constraint("size", at_most=0.5)])):
            known = judged(
                sampled(MIXED, 9), lambda c: {"error": c["lr"], "train_s": 1 / c["lr"], "size": 100 * c["lr"]}
            )
            history, again = History(known, goals), History(list(known), goals)
            configs = [GP(start=4).propose(MIXED, draw, 7, history) for draw in range(9, 13)]
            assert [GP(start=4).propose(space, draw, 7, again) for draw in reversed(range(9, 13))] == configs[::-1]
            assert all(json.dumps(MIXED.validate(config or {})) == json.dumps(config) for config in configs)

    @pytest.mark.slow
    def test_a_killed_study_draws_alike(self) -> None:
        killed_study_draws_alike(GP(start=4), MIXED, ONE)


@pytest.mark.usefixtures("quick")
def test_a_finite_space_is_gone_through_once_and_then_ends() -> None:
    seen: list[str] = []
    trials: list[TrialRecord] = []
    while (config := drawn(trials, FINITE, start=4)) is not None:
        seen.append(json.dumps(config))
        trials = judged([*(dict(trial.config) for trial in trials), config], lambda c: {"error": c["width"] / 2})
    assert sorted(seen) == sorted(json.dumps(config) for config in FINITE.grid())


def test_the_first_draws_are_those_of_sobol() -> None:
    trials = judged(sampled(UNIT, 9), bowl)
    for known in ([], trials):
        expected = [Sobol().propose(UNIT, draw, 5, History(known, ONE)) for draw in range(4)]
        assert [GP().propose(UNIT, draw, 5, History(known, ONE)) for draw in range(4)] == expected


@pytest.mark.usefixtures("shorter")
class TestLearning:
    def test_a_minimum_is_found(self) -> None:
        trials = judged([config for config in sampled(UNIT, 20) if bowl(config)["error"] > 0.03], bowl)
        for _ in range(4):
            trials = judged([*(dict(trial.config) for trial in trials), drawn(trials)], bowl)
        assert min(bowl(dict(trial.config))["error"] for trial in trials) < 5e-3

    def test_the_best_of_options_integers_and_an_active_condition_is_found(self) -> None:
        space = SearchSpace(
            kind=Choice(["a", "b", "c"]), n=Int(1, 64, log=True), x=Float(0, 1, when={"kind": ["b", "c"]})
        )

        def values(config: dict[str, Any]) -> dict[str, float]:
            off = abs(np.log2(config["n"] / 8)) / 6 + abs(config.get("x", 0.0) - 0.25)
            return {"error": off + {"a": 1.0, "b": 0.0, "c": 0.5}[config["kind"]]}

        trials = judged(sampled(space, 15), values)
        draws = []
        for _ in range(4):
            draws.append(drawn(trials, space))
            trials = judged([*(dict(trial.config) for trial in trials), draws[-1]], values)
        assert [config["kind"] for config in draws].count("b") >= 3
        assert min(values(config)["error"] for config in draws) < 0.15

    def test_both_ends_of_a_front_are_tried(self) -> None:
        def values(config: dict[str, Any]) -> dict[str, float]:
            return {"error": config["x"] + config["y"], "train_s": 1.1 - config["x"] + config["y"]}

        trials = judged(sampled(UNIT, 12), values)
        draws = []
        for _ in range(4):
            draws.append(drawn(trials, objectives=TWO))
            trials = judged([*(dict(trial.config) for trial in trials), draws[-1]], values)
        assert max(config["y"] for config in draws) < 0.2
        assert np.ptp([config["x"] for config in draws]) > 0.3

    def test_draws_avoid_violators(self) -> None:
        goals = Objectives(ONE, [Constraint("size", at_most=0.5)])
        trials = judged(sampled(UNIT, 20), lambda config: {**bowl(config), "size": config["y"]})
        assert drawn(trials, objectives=goals)["y"] < 0.55
        assert drawn(trials)["y"] > 0.55

    def test_a_deeper_rung_decides_among_its_trials(self) -> None:
        """At the first rung the smallest x is best. The eight best are promoted, and there the largest x is best."""
        trials = judged(sampled(UNIT, 20), lambda config: {"error": config["x"]})
        for trial in sorted(trials, key=lambda trial: trial.config["x"])[:8]:
            trial.measurements.append(Measurement(3, {"error": -trial.config["x"]}, 1.0, 1.0))
            trial.decided[3] = "stop"
        deepest = max(trial.config["x"] for trial in trials if 3 in trial.decided)
        assert 0.5 * deepest < drawn(trials)["x"] < 1.5 * deepest

    def test_running_and_failed_trials_keep_draws_apart(self) -> None:
        trials = judged(sampled(UNIT, 12), bowl)
        at_once = []
        for _ in range(3):
            config = drawn(trials)
            at_once.append([config["x"], config["y"]])
            trials.append(TrialRecord(len(trials), config, 0, 0, 1, 0.0, draw=len(trials)))
        gaps = [np.abs(np.subtract(a, b)).max() for i, a in enumerate(at_once) for b in at_once[:i]]
        assert min(gaps) > 0.01

    @pytest.mark.parametrize("exploded", [1e12, float("nan")])
    @pytest.mark.parametrize("limit", [0.8, 0.6])
    def test_diverged_losses_do_no_harm(self, exploded: float, limit: float) -> None:
        trials = judged(sampled(UNIT, 20), lambda c: bowl(c) if c["x"] < limit else {"error": exploded})
        config = drawn(trials)
        assert np.hypot(config["x"] - 0.3, config["y"] - 0.7) < 0.4

    def test_the_same_configuration_many_times_is_no_error(self) -> None:
        trials = judged([{"x": 0.5, "y": 0.5}] * 12 + sampled(UNIT, 2), bowl)
        UNIT.validate(drawn(trials))

    def test_equal_losses_give_an_evenly_spread_draw(self) -> None:
        trials = judged(sampled(UNIT, 12), lambda config: {"error": 1.0})
        assert drawn(trials) == Sobol().propose(UNIT, 12, 0, History(trials, ONE))

    def test_two_judged_trials_are_enough_if_the_user_says_so(self) -> None:
        trials = judged(sampled(UNIT, 2), bowl)
        assert drawn(trials, start=2) != Sobol().propose(UNIT, 2, 0, History(trials, ONE))

    def test_the_expected_values_come_first(self) -> None:
        space = SearchSpace(lr=Float(1e-4, 1e-1, log=True, prior=3e-3), kind=Choice(["a", "b"], prior="b"))
        assert drawn([], space) == {"lr": 3e-3, "kind": "b"}


@pytest.mark.parametrize("n_objectives", [1, 3])
def test_the_model_learns_from_the_best_and_from_a_spread_of_the_others(n_objectives: int) -> None:
    scores = np.random.default_rng(0).normal(size=(1000, n_objectives))
    places = learned_places(scores)
    assert len(places) == len(set(places.tolist())) == 200
    dominated = [[(other <= row).all() and (other < row).any() for other in scores] for row in scores[places[:100]]]
    n_better = np.array(dominated).sum(axis=1)
    assert n_better[0] == 0
    if n_objectives == 1:
        assert n_better.tolist() == list(range(100))
    assert np.diff(places[100:]).max() < 20, "the others are not spread over the study"
    assert sorted(learned_places(scores[:150]).tolist()) == list(range(150))


# ---------------------------------------------------------------- what is refused, and without BoTorch


@pytest.mark.parametrize("n", [16, 20])
def test_too_many_parameters_are_refused_with_what_to_do(n: int, tmp_path: Path) -> None:
    space = {f"x{i}": Float(0, 1) for i in range(n)}
    with pytest.raises(ArgumentError, match=r"at most 15 parameters with GP\(\)\. .*Use TPE\(\)"):
        hwt.Study("wide", space, ONE, max_epochs=9, searcher="gp", dir=tmp_path)
    GP().check(SearchSpace(dict(list(space.items())[:15])))


def test_too_many_objectives_are_refused_with_what_to_do() -> None:
    goals = Objectives([Metric(f"m{i}", "min") for i in range(5)])
    with pytest.raises(ArgumentError, match=r"at most 4 objectives with GP\(\)\. .*Use TPE\(\)"):
        GP().check_objectives(goals)
    GP().check_objectives(Objectives(list(goals)[:4]))


@pytest.mark.parametrize("start", [0, 1, -3, 2.5, "ten", True])
def test_a_wrong_start_is_refused(start: Any) -> None:
    with pytest.raises(ArgumentError, match=r"`GP\.start`"):
        GP(start=start)


def without_botorch(patch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    patch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "botorch" else find(name, *more))


def train(trial: Any) -> None:
    for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
        if trial.report(epoch, error=bowl(trial.config)["error"] + 1 / epoch).kind != "continue":
            trial.save(epoch)
            return


def study(folder: Path, **changes: Any) -> hwt.Study:
    settings: dict[str, Any] = {"max_epochs": 3, "searcher": {"name": "gp", "start": 4}, "pool": hwt.Pool("cpu", 1)}
    return hwt.Study("bowl", UNIT, ONE, dir=folder, **settings | changes)


def run(of: hwt.Study, n: int) -> hwt.Study:
    return of.run(train, max_trials=n, executor="inline", check=False, progress=False)


def test_a_study_is_not_begun_without_botorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_botorch(monkeypatch)
    with pytest.raises(MissingDependencyError, match=r"pip install 'lightning_hwtune\[gp\]'"):
        study(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("shorter")
def test_a_study_runs_continues_and_is_read_without_botorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(study(tmp_path / "parts"), 5)
    continued = run(study(tmp_path / "parts"), 7)
    whole = run(study(tmp_path / "whole"), 7)
    configs = [[trial.config for trial in found.state().trials] for found in (continued, whole)]
    assert configs[0] == configs[1]
    assert configs[0][:4] == [Sobol().propose(UNIT, n, whole.spec.seed, History([], ONE)) for n in range(4)]
    assert continued.spec.to_dict()["searcher"] == {"name": "gp", "start": 4}
    assert any("repeats its draws on this machine" in note.text for note in continued.state().notes)
    without_botorch(monkeypatch)
    loaded = hwt.Study.load("bowl", dir=tmp_path / "parts")
    assert len(loaded.trials()) == 7
    with pytest.raises(MissingDependencyError, match="pip install"):
        run(loaded, 8)
    assert len(loaded.trials()) == 7


def test_settings_files_and_the_log_name_it_alike(tmp_path: Path) -> None:
    file = {"study": "s", "train": "a.b:c", "space": {"x": {"type": "float", "low": 0, "high": 1}}}
    file |= {"objectives": [{"metric": "error", "mode": "min"}], "max_epochs": 3}
    for form in ("gp", {"name": "gp", "start": 10}):
        assert StudySettings.from_dict({**file, "searcher": form}).study_kwargs()["searcher"] == hwt.GP()
    assert searcher_from_settings({"name": "gp", "start": 7}) == hwt.GP(start=7)
    assert searcher_from_settings({"name": "gp"}).settings() == {"name": "gp", "start": 10}


READING = """
import sys
import lightning_hwtune as hwt
from lightning_hwtune.core.searchers import History
space = hwt.SearchSpace(x=hwt.Float(0, 1))
study = hwt.Study("s", space, [hwt.Metric("error", "min")], max_epochs=3, searcher=hwt.GP())
hwt.GP().propose(space, 0, 0, History([], study.spec.objectives))
print({"torch", "botorch", "gpytorch"} & set(sys.modules))
"""


def test_neither_settings_nor_the_first_draws_import_torch(tmp_path: Path) -> None:
    pytest.importorskip("botorch")
    done = subprocess.run([sys.executable, "-c", READING], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


# ---------------------------------------------------------------- torch belongs to the training code


@contextmanager
def _half_precision(torch: Any) -> Iterator[None]:
    torch.set_default_dtype(torch.bfloat16)
    yield
    torch.set_default_dtype(torch.float32)


@contextmanager
def _other_device(torch: Any) -> Iterator[None]:
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@contextmanager
def _two_threads(torch: Any) -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(n_threads)


CALLERS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda torch: torch.enable_grad(),
    "no gradients": lambda torch: torch.no_grad(),
    "inference": lambda torch: torch.inference_mode(),
    "half precision": _half_precision,
    "another device": _other_device,
    "two threads": _two_threads,
}


@pytest.mark.usefixtures("shorter")
@pytest.mark.parametrize("caller", CALLERS)
def test_torch_stays_as_it_was_and_does_not_change_the_draw(caller: str) -> None:
    import torch
    from botorch.acquisition.multi_objective import logei

    def values(config: dict[str, Any]) -> dict[str, float]:
        return {**bowl(config), "train_s": config["x"]}

    def found() -> tuple[Any, ...]:
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()
        return *modes, torch.get_default_device(), torch.get_num_threads(), torch.get_rng_state().tolist()

    trials = judged(sampled(UNIT, 12), values)
    expected = drawn(trials, objectives=TWO)
    torch.manual_seed(11)
    with CALLERS[caller](torch):
        before = found()
        assert drawn(trials, objectives=TWO) == expected
        assert found() == before
    assert logei._C is None, "an extension was compiled"
    assert logei._load_attempted is False


@pytest.mark.usefixtures("shorter")
def test_random_draws_of_others_do_not_change_it() -> None:
    import torch

    trials = judged(sampled(UNIT, 12), bowl)
    expected = drawn(trials)
    torch.rand(5)
    np.random.default_rng().random()
    Random().propose(UNIT, 3, 0, History(trials, ONE))
    assert drawn(trials) == expected
