"""Samplers of Optuna as searchers: what is refused, what a sampler sees, and that a study can be continued."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import Measurement, TrialRecord, TrialState
from lightning_hwtune.core.searchers import SEARCHER_REGISTRY, History
from lightning_hwtune.core.searchers.copula import chained_scores
from lightning_hwtune.core.searchers.memory import Memory
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.settings.study_settings import StudySettings
from lightning_hwtune.testing import check_searcher
from lightning_hwtune.testing.searcher_contract import history_of, killed_study_draws_alike, same_draw_is_the_same

optuna = pytest.importorskip("optuna")

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
sys.path.insert(0, str(Path(__file__).parent))
from every_kind import KINDS  # noqa: E402 - in this folder
from optuna_spies import Witness  # noqa: E402 - needs optuna
from study_driver import Driver, spec  # noqa: E402

from lightning_hwtune.searchers.optuna_space import OptunaSpace  # noqa: E402

ONE, TWO = Objectives([Metric("error", "min")]), Objectives([Metric("error", "min"), TrainSeconds()])
SMALL = SearchSpace(lr=Float(1e-4, 1e-1, log=True), kind=Choice(["a", "b"]))
FINITE = SearchSpace(width=Int(1, 3), kind=Choice(["a", "b"], when={"width": [1, 2]}))


def trial(
    number: int, config: dict[str, Any], losses: dict[int, float] | None = None, state: TrialState = TrialState.RUNNING
) -> TrialRecord:
    """A trial that was judged at these levels."""
    record = TrialRecord(number, config, 0, 0, 9, 0.0, state=state, draw=number)
    for level, loss in (losses or {}).items():
        record.add(Measurement(level, {"error": loss, "train_s": float(level)}, 1.0, 1.0))
        record.decided[level] = "pause"
    return record


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("given", "form"),
        [
            (optuna.samplers.TPESampler(seed=1), "OptunaSampler('TPESampler', {...})"),
            (optuna.samplers.NSGAIISampler, "OptunaSampler('NSGAIISampler', {...})"),
            (optuna.samplers.RandomSampler(), "OptunaSampler('RandomSampler', {...})"),
        ],
    )
    def test_an_object_or_a_class_with_the_form_to_write(self, given: Any, form: str) -> None:
        with pytest.raises(ArgumentError) as refused:
            hwt.OptunaSampler(given)
        assert form in str(refused.value)
        with pytest.raises(ArgumentError) as refused:
            hwt.Study("x", SMALL, TWO, max_epochs=3, searcher=given)
        assert form in str(refused.value)

    def test_an_object_keeps_the_given_options_in_the_form(self) -> None:
        with pytest.raises(ArgumentError, match=r"OptunaSampler\('TPESampler', \{'gamma': 2\}\)"):
            hwt.OptunaSampler(optuna.samplers.TPESampler(), {"gamma": 2})  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("CmaEs", "did you mean 'CmaEsSampler'"),
            ("tpe", "did you mean 'TPESampler'"),
            ("TPESample", "did you mean 'TPESampler'"),
            ("NSGAII", "did you mean 'NSGAII"),
            ("BaseSampler", "one of BruteForceSampler"),
            ("GridSampler", "Use Grid"),
            ("PartialFixedSampler", "another sampler as an object"),
            ("no_such_module:Sampler", "No module named"),
            ("json:JSONDecoder", "derives from BaseSampler"),
            ("", "one of BruteForceSampler"),
        ],
    )
    def test_a_name_that_is_unknown_or_of_no_use(self, name: str, says: str) -> None:
        with pytest.raises(ArgumentError, match=says):
            hwt.OptunaSampler(name)

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"gamma": lambda n: 1}, "cannot be stored"),
            ({"n_startup_trials": object()}, "cannot be stored"),
            ({"prior_weight": float("nan")}, r"options\['prior_weight'\]"),
            ({"n_startup": 3}, "did you mean 'n_startup_trials'"),
            ({"seed": 1}, "without 'seed'"),
            ({"constraints_func": None}, "without 'constraints_func'"),
            ({"n_ei_candidates": "many", "group": True, "multivariate": False}, "TPESampler accepts"),
        ],
    )
    def test_options_that_cannot_be_stored_or_are_not_accepted(self, options: dict[str, Any], says: str) -> None:
        with pytest.raises(ArgumentError, match=says):
            hwt.OptunaSampler("TPESampler", options)

    @pytest.mark.parametrize("options", [[], "x", 3])
    def test_options_that_are_not_a_mapping(self, options: Any) -> None:
        with pytest.raises(ArgumentError, match=r"OptunaSampler\.options"):
            hwt.OptunaSampler("TPESampler", options)

    def test_an_object_inside_the_options(self) -> None:
        with pytest.raises(ArgumentError, match="GPSampler as plain data"):
            hwt.OptunaSampler("GPSampler", {"independent_sampler": optuna.samplers.RandomSampler()})

    def test_several_objectives_where_the_sampler_has_one(self) -> None:
        searcher = hwt.OptunaSampler("optuna_spies:OneObjective")
        searcher.check_objectives(ONE)
        with pytest.raises(ArgumentError, match=r"multi-objective.*NSGAIISampler") as refused:
            hwt.Study("x", SMALL, TWO, max_epochs=3, searcher=searcher)
        assert refused.value.argument == "objectives"

    def test_a_space_that_the_sampler_cannot_search(self) -> None:
        searcher = hwt.OptunaSampler("BruteForceSampler")
        searcher.check(FINITE)
        with pytest.raises(ArgumentError, match="BruteForceSampler raises ValueError"):
            searcher.check(SMALL)


class TestSettings:
    def test_the_log_keeps_the_name_and_the_options(self) -> None:
        searcher = hwt.OptunaSampler("TPESampler", {"n_startup_trials": np.int64(3), "multivariate": True})
        stored = json.loads(json.dumps(SEARCHER_REGISTRY.stored(searcher)))
        options = {"n_startup_trials": 3, "multivariate": True}
        assert stored == {"name": "optuna", "sampler": "TPESampler", "options": options}
        assert SEARCHER_REGISTRY.rebuilt(stored) == searcher

    def test_a_sampler_of_the_user_is_named_by_its_path(self) -> None:
        searcher = hwt.OptunaSampler("optuna_spies:FirstValue", {"label": "x"})
        config = searcher.propose(SMALL, 0, 0, History([], ONE))
        assert config == {"lr": 1e-4, "kind": "a"}

    def test_a_study_file_has_the_same_form(self) -> None:
        form = {"name": "optuna", "sampler": "TPESampler", "options": {"n_startup_trials": 4}}
        file = {
            "study": "s",
            "train": "m:f",
            "space": SMALL.to_dict(),
            "objectives": [{"metric": "error", "mode": "min"}],
        }
        settings = StudySettings.from_dict({**file, "max_epochs": 3, "searcher": form})
        assert settings.study_kwargs()["searcher"] == hwt.OptunaSampler("TPESampler", {"n_startup_trials": 4})

    @pytest.mark.parametrize(
        ("form", "says"),
        [
            ("CmaEsSampler", r"\{name: optuna, sampler: CmaEsSampler\}"),
            ("OptunaSampler", r"\{name: optuna, sampler: CmaEsSampler\}"),
            ({"name": "TPESampler"}, r"\{name: optuna, sampler: TPESampler\}"),
            ({"name": "optuna"}, "`searcher.sampler`"),
            ({"name": "optuna", "sampler": "TPESampler", "n_startup_trials": 3}, "searcher.n_startup_trials"),
            ({"name": "optuna", "sampler": "TPESamplr"}, "`searcher.sampler`.*did you mean 'TPESampler'"),
            ({"name": "optuna", "sampler": "TPESampler", "options": {"gama": 1}}, "`searcher.options`.*'gamma'"),
        ],
    )
    def test_a_wrong_study_file_is_answered(self, form: Any, says: str) -> None:
        with pytest.raises((ArgumentError, hwt.UnknownArgumentError), match=says):
            hwt.Study("x", SMALL, TWO, max_epochs=3, searcher=form)


class TestTheSpace:
    def test_every_configuration_survives_the_translation(self) -> None:
        terms = OptunaSpace(KINDS)
        rng = np.random.default_rng(0)
        for _ in range(200):
            config = KINDS.sample(rng)
            params = terms.params(config)
            assert all(terms.distributions[name]._contains(params[name]) for name in params)
            assert terms.suggested(optuna.trial.FixedTrial(params)) == config
        assert "constant" not in terms.distributions

    @pytest.mark.parametrize("sampler", ["RandomSampler", "TPESampler", "QMCSampler", "NSGAIISampler"])
    def test_suggestions_are_in_the_space(self, sampler: str) -> None:
        searcher, history = hwt.OptunaSampler(sampler), history_of(KINDS, TWO, 14)
        drawn = [searcher.propose(KINDS, draw, 1, history) for draw in range(14, 22)]
        assert all(config is not None and KINDS.validate(config) == config for config in drawn)

    def test_a_parent_may_come_after_its_child(self) -> None:
        space = SearchSpace(
            c=Choice([1, 2], when={"b": 1}), b=Int(0, 1, when={"a": "x"}), a=Choice(["x", "y"]), d=Float(0, 1)
        )
        searcher = hwt.OptunaSampler("TPESampler", {"n_startup_trials": 2})
        for draw in range(8):
            config = searcher.propose(space, draw, 0, history_of(space, ONE, 6))
            assert config is not None
            assert space.validate(config) == config

    def test_a_finite_space_is_gone_through_once(self) -> None:
        searcher, trials = hwt.OptunaSampler("TPESampler", {"n_startup_trials": 2}), list[TrialRecord]()
        while (config := searcher.propose(FINITE, len(trials), 0, History(trials, ONE))) is not None:
            trials.append(trial(len(trials), config, {1: float(config["width"])}))
        assert sorted(json.dumps(t.config) for t in trials) == sorted(json.dumps(config) for config in FINITE.grid())
        assert searcher.propose(FINITE, len(trials) + 1, 0, History(trials, ONE)) is None


class TestWhatASamplerSees:
    def seen(self, trials: list[TrialRecord], objectives: Objectives, added: list[TrialRecord] | None = None) -> Any:
        """The trials of the last question."""
        Witness.asked.clear()
        searcher = hwt.OptunaSampler("optuna_spies:Witness")
        searcher.propose(SMALL, len(trials), 0, History(trials, objectives, added or []))
        return Witness.asked[-1]

    def test_judged_trials_are_complete_with_their_scores_over_all_rungs(self) -> None:
        losses = [{1: 0.9}, {1: 0.5, 3: 0.4}, {1: 0.6, 3: 0.2}, {1: float("nan")}]
        trials = [trial(i, {"lr": 0.01 * (i + 1), "kind": "b"}, item) for i, item in enumerate(losses)]
        seen = self.seen(trials, TWO)
        assert [item.state.name for item in seen] == ["COMPLETE"] * 4
        assert np.allclose([item.values for item in seen], chained_scores(trials, TWO)[1])
        assert [item.params for item in seen] == [{"lr": 0.01 * (i + 1), "kind": 1} for i in range(4)]

    def test_others_are_running_or_have_failed(self) -> None:
        config = {"lr": 0.01, "kind": "a"}
        unjudged = trial(1, config)
        unjudged.add(Measurement(1, {"error": 0.1, "train_s": 1.0}, 1.0, 1.0))
        trials = [
            trial(0, config, {1: 0.5}),
            unjudged,
            trial(2, config, state=TrialState.FAILED),
            trial(3, config, state=TrialState.OUT_OF_MEMORY),
            trial(4, config, state=TrialState.PAUSED),
        ]
        assert [t.state.name for t in self.seen(trials, ONE)] == ["COMPLETE", "RUNNING", "FAIL", "FAIL", "RUNNING"]

    def test_results_from_elsewhere_come_first(self) -> None:
        config = {"lr": 0.01, "kind": "a"}
        added = trial(0, {"lr": 0.02, "kind": "b"}, {1: 0.5})
        added.trial_id, added.draw = -1, None
        seen = self.seen([trial(0, config)], ONE, [added])
        assert [(item.state.name, item.params["lr"]) for item in seen] == [("COMPLETE", 0.02), ("RUNNING", 0.01)]

    def test_violations_are_constraints_and_come_last(self) -> None:
        objectives = Objectives([Metric("error", "min", at_most=0.5)])
        trials = [trial(i, {"lr": 0.01, "kind": "a"}, {1: loss}) for i, loss in enumerate([0.75, 0.4, 0.5, 1.0])]
        seen = self.seen(trials, objectives)
        assert [item.system_attrs["constraints"] for item in seen] == [[0.5], [0.0], [0.0], [1.0]]
        order = np.argsort([item.value for item in seen])
        assert order.tolist() == [1, 2, 0, 3]
        assert "constraints" not in self.seen(trials, ONE)[0].system_attrs

    def test_a_violation_at_a_later_rung_counts(self) -> None:
        objectives = Objectives([Metric("error", "min", at_most=0.5)])
        losses = [{1: 0.1, 3: 0.9}, {1: 0.2, 3: 0.15}, {1: 0.3}, {1: 0.4}, {1: 0.45}]
        trials = [trial(i, {"lr": 0.01, "kind": "a"}, item) for i, item in enumerate(losses)]
        seen = self.seen(trials, objectives)
        assert np.argsort([item.value for item in seen]).tolist() == [1, 2, 3, 4, 0]
        assert [item.system_attrs["constraints"][0] > 0 for item in seen] == [True] + [False] * 4

    def test_an_infinite_violation_is_a_number(self) -> None:
        objectives = Objectives(ONE, [Constraint("train_s", at_most=0.5)])
        first = trial(0, {"lr": 0.01, "kind": "a"}, {1: 0.1})
        first.measurements = [Measurement(1, {"error": 0.1, "train_s": float("inf")}, 1.0, 1.0)]
        assert self.seen([first], objectives)[0].system_attrs["constraints"] == [1e30]

    def test_an_earlier_question_is_repeated_with_what_was_known_then(self) -> None:
        config = {"lr": 0.01, "kind": "a"}
        trials = [trial(i, config, {1: 0.5}) for i in range(4)]
        for record, known in zip(trials, (2, 4, 3, 4), strict=True):
            record.known_from = {1: known}
        seen = self.seen(trials, ONE)
        # trials 0 and 1 began together; the result of 0 was known to 2, and that of 2 to 3
        assert [item.system_attrs["n_complete"] for item in seen] == [0, 0, 1, 2]

    def test_a_study_that_goes_on_asks_for_new_trials_only(self) -> None:
        searcher, memory, trials = hwt.OptunaSampler("optuna_spies:Witness"), Memory(), list[TrialRecord]()
        for draw in range(12):
            Witness.asked.clear()
            history = History(trials, ONE, memory=memory)
            config = searcher.propose(SMALL, draw, 0, history)
            assert len(Witness.asked) == min(draw, 1) + 1
            assert config == searcher.propose(SMALL, draw, 0, History(trials, ONE))  # as after a restart
            trials.append(trial(draw, config or {}, {1: float(draw)}))

    def test_a_result_that_changes_begins_again(self) -> None:
        searcher, memory = hwt.OptunaSampler("NSGAIISampler", {"population_size": 2}), Memory()
        trials = [trial(i, {"lr": 0.01 * (i + 1), "kind": "a"}, {1: float(i)}) for i in range(6)]
        searcher.propose(SMALL, 6, 0, History(trials, ONE, memory=memory))
        trials[0].measurements = [Measurement(1, {"error": 9.0, "train_s": 1.0}, 1.0, 1.0)]
        again = searcher.propose(SMALL, 6, 0, History(trials, ONE, memory=memory))
        assert again == searcher.propose(SMALL, 6, 0, History(trials, ONE))


class TestAStudy:
    @pytest.mark.slow
    def test_passes_the_shipped_suite(self) -> None:
        space = SearchSpace(
            width=Int(1, 3, when={"kind": "a"}),
            kind=Choice(["a", "b"]),
            batch_size=Choice([63, 64]),
            devices=NumDevices(1, 2),
        )
        check_searcher(hwt.OptunaSampler("NSGAIISampler", {"population_size": 3}), space, TWO)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("sampler", "options", "objectives"),
        [
            ("TPESampler", {"n_startup_trials": 3}, TWO),
            ("CmaEsSampler", {"sigma0": 0.3, "popsize": 4}, ONE),
            ("NSGAIIISampler", {"population_size": 3}, TWO),
            ("QMCSampler", {"scramble": True}, TWO),
            ("RandomSampler", None, TWO),
        ],
    )
    def test_continues_as_if_it_had_not_been_killed(self, sampler: str, options: Any, objectives: Any) -> None:
        if sampler == "CmaEsSampler":
            pytest.importorskip("cmaes")
        searcher = hwt.OptunaSampler(sampler, options)
        killed_study_draws_alike(searcher, SMALL, objectives)
        same_draw_is_the_same(searcher, SMALL, objectives)

    @pytest.mark.parametrize("sampler", ["NSGAIISampler", "TPESampler"])
    def test_on_several_devices_a_restart_changes_nothing(self, sampler: str) -> None:
        option = {"NSGAIISampler": "population_size", "TPESampler": "n_startup_trials"}[sampler]
        study = spec(searcher=hwt.OptunaSampler(sampler, {option: 3}), space=SMALL, objectives=TWO, devices=3)
        driver = Driver(study, Limits(max_trials=14), curve=lambda config, epoch: config["lr"] + 1 / epoch)
        driver.run()
        trials = driver.state.trials
        assert any(record.known_from[1] > record.trial_id + 1 for record in trials if 1 in record.known_from)
        searcher = study.searcher
        live = searcher.propose(
            SMALL, 14, study.seed, driver.controller._next_action.new_trials.history()
        )  # what the study has in memory
        assert live == searcher.propose(SMALL, 14, study.seed, History(trials, TWO))

    def test_learns(self) -> None:
        searcher, memory, trials = hwt.OptunaSampler("TPESampler"), Memory(), list[TrialRecord]()
        for draw in range(40):
            config = searcher.propose(SMALL, draw, 0, History(trials, ONE, memory=memory))
            assert config is not None
            loss = abs(np.log10(config["lr"]) + 2) + (config["kind"] == "a")
            trials.append(trial(draw, config, {1: loss}))
        late = [t for t in trials[20:] if t.config["kind"] == "b" and abs(np.log10(t.config["lr"]) + 2) < 0.5]
        assert len(late) >= 8  # one in six of 20 at random
