"""`Study.replicate` and `hwtune replicate`: finalists are trained again with other seeds."""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
from pathlib import Path
from typing import Any

import pytest
import study_functions
from study_bench import check_log, run, run_script, small_study
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.errors import ArgumentError, StudyNotFoundError, UnknownArgumentError
from lightning_hwtune.views.replicates import replicates_hint

QUIET: dict[str, Any] = {"progress": False, "executor": "inline"}


def made(folder: Path, train: Any = study_functions.seeded, **changes: Any) -> hwt.Study:
    """A study whose search has ended, with two fully trained trials."""
    study = small_study(folder, **{"pool": hwt.Pool("cpu", devices=1), **changes})
    return run(study, train, max_trials=4, finishers=2, executor="inline")


def hwtune(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(app, [*words, "--dir", str(folder)])


@pytest.mark.training
def test_the_front_is_trained_again_and_shown_with_mean_and_spread(tmp_path: Path) -> None:
    study = made(tmp_path)
    front, trials = study.front(), study.trials()
    best = int(front["trial"][0])
    frame = study.replicate(**QUIET)
    assert frame.columns.tolist() == ["trial", "replicates", "failed", "open", "error", "error_mean", "error_std"]
    (row,) = frame.to_dict("records")
    again = [trial for trial in study.state().replicates if trial.replicate_of == best]
    errors = [trial.last.values["error"] for trial in again if trial.last is not None]
    assert len(set(errors)) == 3
    assert row["error"] == front["error"][0]
    assert row["error_mean"] == pytest.approx(statistics.fmean(errors))
    assert row["error_std"] == pytest.approx(statistics.stdev(errors))
    assert (row["trial"], row["replicates"], row["failed"], row["open"]) == (best, 3, 0, 0)
    # nothing else has changed
    assert study.front()[front.columns].equals(front)
    assert study.best.trial_id == best
    assert study.trials()["replicate_of"].tolist() == [None] * len(trials) + [best] * 3
    assert check_log(study).n_full == 2
    assert hwt.Study.load("study", tmp_path).replicates().equals(frame)


@pytest.mark.training
def test_finalists_are_given_in_any_form(tmp_path: Path) -> None:
    study = made(tmp_path)
    front = study.front()
    best = int(front["trial"][0])
    forms: list[Any] = [[best, best], front, front["trial"], study.best, best, front["trial"].to_numpy(), [study.best]]
    for front in forms:
        frame = study.replicate(front, seeds=1, **QUIET)
        assert frame["trial"].tolist() == [best]
        assert frame["replicates"].tolist() == [1]
        assert math.isnan(frame["error_std"][0])


@pytest.mark.training
def test_other_finalists_are_refused(tmp_path: Path) -> None:
    study = made(tmp_path)
    n_events = len(study.events())
    wrong: list[Any] = ["4", [True], 1.5, [0.5], {"trial": 1}]
    for front in wrong:
        with pytest.raises(ArgumentError, match="trial numbers"):
            study.replicate(front, **QUIET)
    with pytest.raises(ArgumentError, match="the column `trial`"):
        study.replicate(study.front().drop(columns="trial"), **QUIET)
    assert len(study.events()) == n_events


@pytest.mark.training
def test_a_search_that_has_not_ended_is_refused_with_what_to_do(tmp_path: Path) -> None:
    study = small_study(tmp_path, pool=hwt.Pool("cpu", devices=1))
    with pytest.raises(StudyNotFoundError, match="run it first"):
        study.replicate(**QUIET)

    def train(trial: hwt.Trial) -> None:
        if trial.id == 3:
            raise KeyboardInterrupt
        study_functions.seeded(trial)

    with pytest.raises(KeyboardInterrupt):
        run(study, train, max_trials=6, executor="inline")
    with pytest.raises(ArgumentError, match=r"search has ended.*`max_trials=4` ends it"):
        study.replicate(**QUIET)
    run(study, study_functions.seeded, max_trials=4, executor="inline")
    assert study.replicate(seeds=1, **QUIET)["replicates"].tolist() == [1]


@pytest.mark.training
def test_used_time_is_refused_and_a_higher_limit_is_enough(tmp_path: Path) -> None:
    study = small_study(tmp_path, pool=hwt.Pool("cpu", devices=1))
    run(study, study_functions.seeded, max_trials=4, executor="inline")
    with pytest.raises(ArgumentError, match=r"`max_time`.*give a higher total"):
        study.replicate(max_time=0.001, **QUIET)
    assert study.replicate(seeds=1, max_time="1h", **QUIET)["replicates"].tolist() == [1]
    assert study.state().search_limits.max_time_s is None
    with pytest.raises(UnknownArgumentError, match="max_trials"):
        study.replicate(max_trials=3, **QUIET)  # type: ignore[call-arg]


@pytest.mark.training
def test_results_from_elsewhere_and_queued_configurations_do_not_change_the_limits(tmp_path: Path) -> None:
    study = made(tmp_path)
    study.add({"x": 0.5}, {"error": 0.4})
    assert study.state().limits.max_trials == 4
    assert study.replicate(seeds=1, **QUIET)["replicates"].tolist() == [1]
    study.enqueue({"x": 0.25})
    assert study.state().limits.max_trials == 4


@pytest.mark.training
def test_failed_and_diverged_replicates_are_shown_as_such(tmp_path: Path) -> None:
    study = made(tmp_path, max_retries=0)
    n_searched = len(study.trials())

    def train(trial: hwt.Trial) -> None:
        if trial.id == n_searched:
            raise ValueError("no luck with this seed")
        for epoch in range(1, 10):
            trial.report(epoch, error=math.nan if trial.id == n_searched + 1 else 0.5)
        trial.save(9)

    frame = study.replicate(train=train, **QUIET)
    (row,) = frame.to_dict("records")
    assert (row["replicates"], row["failed"]) == (2, 1)
    assert math.isnan(row["error_mean"])
    assert study.state().n_failed == 0
    assert "no luck" in study.trials()["failure"][n_searched]
    assert "It failed: ValueError: no luck" in study.why(n_searched)
    assert f"replicate of trial {row['trial']}" in study.why(n_searched)
    assert "2 replicates with other seeds, 1 failed: error nan" in study.why(row["trial"])


@pytest.mark.training
def test_training_code_with_its_own_seed_is_noticed(tmp_path: Path) -> None:
    study = made(tmp_path, study_functions.plain)
    study.replicate(seeds=2, **QUIET)
    assert "have exactly the values of the trial itself" in replicates_hint(study.state())
    other = made(tmp_path / "other")
    other.replicate(seeds=2, **QUIET)
    assert replicates_hint(other.state()) == ""


@pytest.mark.training
def test_the_search_continues_as_without_replicates(tmp_path: Path) -> None:
    with_, without = made(tmp_path / "a", seed=5), made(tmp_path / "b", seed=5)
    with_.replicate(seeds=2, **QUIET)
    for study in (with_, without):
        run(study, study_functions.seeded, max_trials=9, finishers=2, executor="inline")
    found = [
        [(trial.config, trial.seed, trial.resource, trial.state, trial.decided) for trial in study.state().searched]
        for study in (with_, without)
    ]
    assert found[0] == found[1]
    assert with_.front()["x"].tolist() == without.front()["x"].tolist()
    status = json.loads(hwtune(tmp_path / "a", "status", "--format", "json").stdout)
    assert (status["trials"], status["replicates"], status["replicates_complete"]) == (9, 2, 2)
    plain = json.loads(hwtune(tmp_path / "b", "status", "--format", "json").stdout)
    assert status["epochs_spent"] == plain["epochs_spent"]
    assert "replicates" not in plain


KILLED = """
    import os, signal
    from pathlib import Path
    import lightning_hwtune as hwt
    import study_functions
    from study_bench import run, small_study

    def train(trial):
        for epoch in study_functions.epochs(trial):
            if trial.id == 5 and epoch == 7 and not Path("killed").exists():
                Path("killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if not study_functions.report(trial, epoch, study_functions.error_of(trial, epoch) + trial.seed % 9 / 1e3):
                break
            if epoch == 5:
                trial.save(epoch)

    study = small_study(Path("."), pool=hwt.Pool("cpu", devices=1))
    run(study, train, max_trials=4, finishers=1, executor="inline")
    print(study.replicate(executor="inline", progress=False, save_every=1).to_json())
"""


@pytest.mark.training
def test_a_killed_replication_is_continued_by_the_same_script(tmp_path: Path) -> None:
    first = run_script(tmp_path, KILLED)
    assert first.returncode == -signal.SIGKILL, first.stderr
    killed = hwt.Study.load("study", tmp_path)
    (trial,) = [trial for trial in killed.state().trials if trial.state is TrialState.RUNNING]
    assert trial.is_replicate
    n_replicates, seeds = len(killed.state().replicates), [trial.seed for trial in killed.state().replicates]
    second = run_script(tmp_path, KILLED)
    assert second.returncode == 0, second.stderr
    study = hwt.Study.load("study", tmp_path)
    state = check_log(study)
    assert len(state.replicates) == 3 > n_replicates
    assert [trial.seed for trial in state.replicates][:n_replicates] == seeds
    assert all(trial.state is TrialState.COMPLETED for trial in state.replicates)
    again = [segment for segment in state.segments if segment.trial_id == trial.trial_id]
    assert [segment.resource for segment in again] == [0, 5]  # from its checkpoint
    assert json.loads(second.stdout.splitlines()[-1])["replicates"]["0"] == 3
    assert study.replicates()["replicates"].tolist() == [3]


FILE = """
study: of_file
train: study_functions:seeded
space: {x: {type: float, low: 0.0, high: 1.0}}
objectives: [{metric: error, mode: min}]
scheduler: {name: asha, first_rung: 1, max_epochs: 9}
pool: {accelerator: cpu, devices: 2}
max_trials: 4
finishers: 2
check: false
"""


@pytest.mark.training
@pytest.mark.slow
def test_the_command_replicates_a_study_file_and_a_stored_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    Path("study.yaml").write_text(FILE)
    ran = hwtune(tmp_path, "run", "study.yaml", "-q")
    assert ran.exit_code == 0, ran.output
    study = hwt.Study.load("of_file", tmp_path)
    first, second = sorted(study.state().full)[:2]
    shown = hwtune(tmp_path, "replicate", "study.yaml", "--seeds", "1", "--trials", str(first), str(second))
    assert shown.exit_code == 0, shown.output
    assert f"replicates: trials {first}, {second}, each with 1 seed; 2 to go" in shown.output
    assert "replicates of of_file, with other seeds" in shown.output
    again = hwtune(tmp_path, "replicate", "of_file", str(first), "--seeds", "2", "--format", "json")
    assert again.exit_code == 0, again.output
    records = {record["trial_id"]: record for record in json.loads(again.stdout)}
    assert [records[first]["complete"], records[second]["complete"]] == [2, 1]
    front = json.loads(hwtune(tmp_path, "front", "--format", "json").stdout)
    assert [record["trial_id"] for record in front] == study.front()["trial"].tolist()
    assert all((record["replicates"] or {}).get("complete") for record in front)
    exported = hwtune(tmp_path, "export")
    assert exported.exit_code == 0
    assert json.loads((tmp_path / "of_file/export/replicates.json").read_text())[0]["mean"]["error"] > 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["no_study"], "no study 'no_study'"),
        (["missing.yaml"], "there is no file 'missing.yaml'"),
        (["no_study", "--trials", "a"], "--trials is 'a'"),
        (["no_study", "max_trials=3"], "is not a file"),
        (["no_study", "--seeds", "0"], "--seeds"),
    ],
)
def test_wrong_commands_are_refused(tmp_path: Path, words: list[str], text: str) -> None:
    result = hwtune(tmp_path, "replicate", *words)
    assert result.exit_code in (1, 2)
    assert text in result.output


@pytest.mark.training
def test_a_study_without_a_stored_function_says_so(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(ArgumentError, match=r"`train`.*the training function of the study.*ask and tell"):
        hwt.Study.load("study", tmp_path).replicate(**QUIET)
