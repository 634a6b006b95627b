"""Multiruns of an app that only returns a value: the Optuna sweeper's habits, and the bad days."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from sweeps import PLAIN, load, start, sweep

from lightning_hwtune.core.record import TrialState

pytestmark = pytest.mark.training
ONE_CPU = "hydra.sweeper.hwtune.pool={accelerator: cpu, devices: 1}"
TWO_CPUS = "hydra.sweeper.hwtune.pool={accelerator: cpu, devices: 2}"
FAULTS = ["none", "raise", "exit_with_3", "exit_with_0", "ask", "kill", "swallow", "tuple"]


def test_an_app_that_returns_a_value_is_tuned_and_continued(tmp_path: Path) -> None:
    command = ["+x=interval(-5,5)", "+y=choice(0,1)", "hydra.sweeper.study_name=square", ONE_CPU, "hydra.sweep.dir=out"]
    first = sweep(PLAIN, [*command, "hydra.sweeper.n_trials=3"], tmp_path)
    assert "0 of 3 trials begun, 3 to go" in first
    assert "no trial can be stopped early" in first
    assert "the app is not checked beforehand; it must return one number, value" in first
    second = sweep(PLAIN, [*command, "hydra.sweeper.n_trials=5", "hydra.sweep.dir=other"], tmp_path)
    assert "3 of 5 trials begun, 2 to go" in second
    assert not (tmp_path / "other").exists()
    trials = load("square", tmp_path).state().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETED] * 5
    values = [trial.config["x"] ** 2 + trial.config["y"] for trial in trials]
    assert [trial.last.values["value"] for trial in trials if trial.last] == values
    results = OmegaConf.load(tmp_path / "out" / "optimization_results.yaml")
    assert results.best_value == min(values)
    for number in range(5):
        saved = OmegaConf.load(tmp_path / "out" / f"trial_{number:03d}" / ".hydra" / "config.yaml")
        assert saved.x == trials[number].config["x"]
    changed = start(PLAIN, [*command, "+x=interval(-5,6)", "hydra.sweeper.n_trials=5"], tmp_path)
    assert changed.returncode == 1
    assert "space.x: stored Float(-5.0, 5.0), given Float(-5.0, 6.0)" in changed.stdout
    assert "Traceback" not in changed.stdout
    taken = start(PLAIN, [*command, "hydra.sweeper.study_name=other"], tmp_path)
    assert taken.returncode == 1
    assert "hydra.sweep.dir" in taken.stdout


def test_each_way_to_misbehave_is_told_and_the_sweep_goes_on(tmp_path: Path) -> None:
    enqueued = ", ".join(f"{{fault: {fault}}}" for fault in FAULTS)
    output = sweep(
        PLAIN,
        [
            f"+fault=choice({','.join(FAULTS)})",
            "hydra.sweeper.study_name=faults",
            f"hydra.sweeper.n_trials={len(FAULTS)}",
            "hydra.sweeper.max_failure_rate=1.0",
            f"hydra.sweeper.hwtune.enqueue=[{enqueued}]",
            "hydra.sweeper.hwtune.max_retries=0",
            ONE_CPU,
        ],
        tmp_path,
    )
    told = {trial.config["fault"]: (trial.state, trial.error) for trial in load("faults", tmp_path).state().trials}
    assert told.pop("none") == (TrialState.COMPLETED, "")
    assert {state for state, _ in told.values()} == {TrialState.FAILED}
    for fault, words in {
        "raise": "ValueError: the data are not there",
        "exit_with_3": "sys.exit(3)",
        "exit_with_0": "one number, value",
        "ask": "EOFError",
        "kill": "SIGKILL",
        "swallow": "raise errors instead of returning nothing",
        "tuple": "one number, value",
    }.items():
        assert words in told[fault][1], fault
    assert "results: " in output


def test_a_failing_first_trial_ends_the_sweep_with_its_traceback(tmp_path: Path) -> None:
    done = start(PLAIN, ["+x=interval(0,1)", "+fault=raise", ONE_CPU], tmp_path)
    assert done.returncode == 1
    assert "ValueError: the data are not there" in done.stdout


def test_too_many_failures_end_the_sweep_with_what_was_found(tmp_path: Path) -> None:
    overrides = [
        "+fault=choice(none,raise)",
        "hydra.sweeper.hwtune.enqueue=[{fault: none}, {fault: raise}]",
        "hydra.sweeper.hwtune.max_retries=0",
        "hydra.sweeper.max_failure_rate=0.0",
        "hydra.sweep.dir=out",
        ONE_CPU,
    ]
    done = start(PLAIN, overrides, tmp_path)
    assert done.returncode == 1
    assert "max_failures" in done.stdout
    assert "Traceback" not in done.stdout
    assert OmegaConf.load(tmp_path / "out" / "optimization_results.yaml").best_params.fault == "none"


def test_batch_sizes_that_do_not_divide_are_not_drawn_whatever_their_key(tmp_path: Path) -> None:
    command = ["+x=choice(3,4)", "+trainer.devices=choice(1,2)", "hydra.sweeper.hwtune.batch_size_key=x", TWO_CPUS]
    grid = ["hydra.sweeper.hwtune.searcher=grid", "hydra.sweeper.study_name=sizes", "hydra.sweeper.n_trials=4"]
    sweep(PLAIN, [*command, *grid], tmp_path)
    trials = load("sizes", tmp_path).state().trials
    values = {tuple(trial.config.values()): trial.last and trial.last.values["value"] for trial in trials}
    assert values == {(3, 1): 9, (4, 1): 16, (4, 2): 4}


def test_a_batch_size_that_follows_a_searched_key_is_each_trials_own(tmp_path: Path) -> None:
    followed = ["+bs=choice(2,4)", "+data.batch_size=${bs}", "+x=${data.batch_size}", "+trainer.devices=2", TWO_CPUS]
    grid = ["hydra.sweeper.hwtune.searcher=grid", "hydra.sweeper.n_trials=2", "hydra.sweep.dir=out"]
    output = sweep(PLAIN, [*followed, *grid, "hydra.sweeper.hwtune.batch_size_key=data.batch_size"], tmp_path)
    trials = load("app-bs", tmp_path).state().trials
    assert {trial.config["bs"]: trial.last and trial.last.values["value"] for trial in trials} == {2: 1, 4: 4}
    for trial in trials:
        saved = OmegaConf.load(tmp_path / "out" / f"trial_{trial.trial_id:03d}" / ".hydra" / "config.yaml")
        assert saved.data.batch_size == trial.config["bs"] // 2
    assert "neither time nor cost" not in output, "one number of devices is not searched"


def test_the_number_of_devices_may_be_new_to_the_app(tmp_path: Path) -> None:
    command = ["+x=interval(0,1)", "+trainer.devices=2", "hydra.sweeper.study_name=two", "hydra.sweeper.n_trials=1"]
    sweep(PLAIN, [*command, TWO_CPUS], tmp_path)
    [trial] = load("two", tmp_path).state().trials
    assert (trial.state, trial.num_devices) == (TrialState.COMPLETED, 2)


@pytest.mark.parametrize(
    ("overrides", "environment", "words"),
    [
        (["+x=1"], {}, "at least one searched parameter"),
        (["+x=interval(0,1)", "hydra.sweeper.hwtune.objectivs=[]"], {}, "objectives"),
        (["hydra.sweeper.params={+x: 'intervall(0, 1)'}"], {}, "intervall"),
        (["+x=interval(0,1)", "hydra.sweeper.n_trials=0"], {}, "n_trials"),
        (
            [
                "+x=interval(0,1)",
                "+bs=3",
                "+trainer.devices=choice(1,2)",
                TWO_CPUS,
                "hydra.sweeper.hwtune.batch_size_key=bs",
            ],
            {},
            "`bs` is 3; allowed: a positive multiple of 1 and of 2",
        ),
        (
            ["+trainer.max_epochs=choice(5,10)", "hydra.sweeper.hwtune.objectives=[{metric: loss, mode: min}]"],
            {},
            "one value, the full training of all trials. Set trainer.max_epochs to the length",
        ),
        (
            [
                "+trainer.max_epochs=${multiply}",
                "+multiply=choice(5,10)",
                "hydra.sweeper.hwtune.objectives=[{metric: loss, mode: min}]",
            ],
            {},
            "10 with multiply=10, 5 with multiply=5",
        ),
        (["+trainer.devices=${n}", "+n=choice(1,2)", TWO_CPUS], {}, "`trainer.devices` is '2 with n=2, 1 with n=1'"),
        (
            [
                "+x=interval(0,1)",
                "hydra.sweeper.direction=maximize",
                "+stop={_target_: EarlyStopping, monitor: loss}",
                "+trainer.max_epochs=3",
            ],
            {},
            "minimize, since the app's stop monitors loss (min)",
        ),
        (
            ["+x=interval(0,1)", "hydra.sweeper.hwtune.objectives=[{metric: loss, mode: min}]"],
            {},
            "The app has no trainer.max_epochs",
        ),
        (["+x=interval(0,1)"], {"LOCAL_RANK": "1", "RANK": "1"}, "not a rank of a group"),
    ],
)
def test_what_cannot_be_swept_is_told_before_anything_is_made(
    overrides: list[str], environment: dict[str, str], words: str, tmp_path: Path
) -> None:
    done = start(PLAIN, overrides, tmp_path, environment=environment)
    assert done.returncode == 1
    assert words in done.stdout
    assert "Traceback" not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_app_does_not_get_the_override_of_a_parameter_whose_condition_does_not_hold(tmp_path: Path) -> None:
    command = ["+kind=choice(a,b)", '+x=tag("kind=b", interval(1,5))', "hydra.sweeper.n_trials=4", ONE_CPU]
    sweep(PLAIN, [*command, "hydra.sweeper.study_name=kinds", "hydra.sweep.dir=out"], tmp_path)
    trials = load("kinds", tmp_path).state().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETED] * 4
    assert sum(trial.config == {"kind": "a"} for trial in trials) == 1  # it has no other values, so it is tried once
    for trial in trials:
        saved = OmegaConf.load(tmp_path / "out" / f"trial_{trial.trial_id:03d}" / ".hydra" / "config.yaml")
        assert saved == trial.config
        assert trial.last is not None
        assert trial.last.values["value"] == trial.config.get("x", 0.0) ** 2
