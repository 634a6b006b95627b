"""After the search: checkpoints are tested, and what a training notes and logs is kept as columns."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import study_functions
import torch
from study_bench import check_log, run, run_script, small_study
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.facts_data import facts_from_data, facts_to_data
from lightning_hwtune.errors import ArgumentError, StudyNotFoundError, TrialError
from lightning_hwtune.training.checkpoint_test import named_numbers

QUIET: dict[str, Any] = {"progress": False}
ONE = hwt.Pool("cpu", devices=1)


def searched(folder: Path, train: Any = study_functions.seeded, **changes: Any) -> hwt.Study:
    """A study whose search has ended, with two fully trained trials."""
    return run(small_study(folder, pool=ONE, **changes), train, max_trials=4, finishers=2, executor="inline")


def hwtune(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(app, [*words, "--dir", str(folder)])


# ---------------------------------------------------------------------- noted and logged values


def noting(trial: hwt.Trial) -> None:
    trial.note("kind", "first")
    trial.note("kind", "small" if trial["x"] < 0.5 else "large")
    trial.note("n", torch.tensor(3))
    trial.note("is_good", True)
    for epoch in range((trial.load() or 0) + 1, 10):
        verdict = trial.report(epoch, error=trial["x"] + 1 / epoch, other=10 * epoch, text="no number")
        if verdict.kind != "continue":
            trial.save(epoch)
            return


@pytest.mark.training
def test_noted_and_logged_values_are_columns(tmp_path: Path) -> None:
    study = searched(tmp_path, noting)
    frame = study.trials()
    for trial, x, kind, n, is_good in zip(
        frame["trial"], frame["x"], frame["note/kind"], frame["note/n"], frame["note/is_good"], strict=True
    ):
        assert (kind, n, is_good) == ("small" if x < 0.5 else "large", 3, True), trial
    # at the newest rung, or at the end
    assert (frame["logged/other"] == 10 * frame["epochs"]).all()
    assert "logged/text" not in frame.columns
    front = study.front()
    assert front["logged/other"].tolist() == [90.0] * len(front)
    assert "logged/other" in repr(front).splitlines()[-1]  # named, not shown
    entries = json.loads(hwtune(tmp_path, "trials", "--format", "json").stdout)
    assert entries[0]["notes"]["n"] == 3
    assert entries[0]["logged"] == {"other": 10 * entries[0]["epochs"]}
    # the events between rungs are as small as before
    reports = [event for event in study.events() if isinstance(event, ev.Reported)]
    assert {bool(event.logged) for event in reports if event.level is None and event.resource < 9} == {False}
    check_log(study)


@pytest.mark.training
def test_columns_are_chosen(tmp_path: Path) -> None:
    study = searched(tmp_path, noting)
    table = hwtune(tmp_path, "trials").stdout
    assert "note/kind" in table
    assert "logged/other" not in table
    table = hwtune(tmp_path, "trials", "--columns", "trial,logged/other").stdout
    assert "logged/other" in table
    assert "error" not in table
    rows = json.loads(hwtune(tmp_path, "trials", "--columns", "trial, note/n", "--format", "json").stdout)
    assert rows == [{"trial": trial, "note/n": 3} for trial in study.trials()["trial"]]
    wrong = hwtune(tmp_path, "trials", "--columns", "note/m")
    assert wrong.exit_code == 1
    assert "note/n" in wrong.output


@pytest.mark.training
def test_wrong_notes_are_refused(tmp_path: Path) -> None:
    study = small_study(tmp_path, pool=ONE)
    trial = study.ask(max_trials=1, progress=False)
    assert trial is not None
    for value in ([1], {"a": 1}, object()):
        with pytest.raises(ArgumentError, match="a number, True or False, text, or None"):
            trial.note("key", value)  # type: ignore[arg-type]
    for key in ("", "a\nb", "k" * 101):
        with pytest.raises(ArgumentError, match="`key`"):
            trial.note(key, 1)
    trial.note("nothing", None)
    study.close()
    assert study.state().trials[0].noted == {"nothing": None}


class Noisy(pl.LightningModule):
    """Logs an objective, another value per step and epoch, and one on the parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = self.layer(batch[0]).square().mean()
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("error", self.layer(batch[0]).abs().mean())

    def test_step(self, batch: Any, index: int) -> None:
        self.log("accuracy", self.layer.weight.abs().sum())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def loader() -> Any:
    generator = torch.Generator().manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(8, 2, generator=generator))
    return torch.utils.data.DataLoader(data, 4)


@pytest.mark.training
def test_what_a_module_logs_is_kept_once(tmp_path: Path) -> None:
    def train(trial: hwt.Trial) -> None:
        trial.fit(Noisy(), loader(), loader(), enable_checkpointing=False)

    study = searched(tmp_path, train)
    trial = study.state().trials[0]
    assert list(trial.logged) == ["train_loss"]  # not train_loss_step and train_loss_epoch, too
    assert math.isfinite(trial.logged["train_loss"])


def test_a_training_that_logs_hundreds_of_numbers_keeps_some_of_them(tmp_path: Path) -> None:
    def train(trial: hwt.Trial) -> None:
        trial.report(1, error=1.0, **{f"number_{index}": index for index in range(150)})

    study = hwt.Study("many", {"x": hwt.Float(0, 1)}, [hwt.Metric("error", "min")], max_epochs=1, dir=tmp_path)
    run(study, train, max_trials=1, executor="inline")
    assert len(study.state().trials[0].logged) == 100
    assert [note.text for note in study.state().notes if "50 numbers" in note.text]


# ---------------------------------------------------------------------- tests of checkpoints


def weights(trial: hwt.Trial) -> dict[str, float]:
    return {"epochs": trial.load()}


@pytest.mark.training
def test_the_front_is_tested_in_fresh_processes_and_shown(tmp_path: Path) -> None:
    study = searched(tmp_path)
    closed, own = study.state().closed, os.getpid()

    def accuracy(trial: hwt.Trial) -> dict[str, float]:
        return {"epochs": float(trial.load()), "is_own": float(os.getpid() == own), "x": trial["x"]}

    frame = study.test(accuracy, **QUIET)
    front = study.front()
    assert frame["trial"].tolist() == front["trial"].tolist()
    assert frame["test/epochs"].tolist() == [9.0] * len(front)
    assert frame["test/is_own"].tolist() == [0.0] * len(front)
    assert front["test/x"].tolist() == front["x"].tolist()
    # stored, and shown everywhere
    again = hwt.Study.load("study", tmp_path)
    assert again.front()["test/x"].tolist() == front["x"].tolist()
    assert "test/epochs" in hwtune(tmp_path, "front").stdout
    assert "test/epochs" in hwtune(tmp_path, "trials").stdout
    entry = json.loads(hwtune(tmp_path, "front", "--format", "json").stdout)[0]
    assert entry["test"]["epochs"] == 9.0
    assert hwtune(tmp_path, "export", "--out", str(tmp_path / "out")).exit_code == 0
    assert "test/epochs" in (tmp_path / "out" / "front.csv").read_text()
    # the study has ended as before
    end = study.state().closed
    assert closed is not None
    assert end is not None
    assert (end.state, end.reason) == (closed.state, closed.reason)
    assert not (study.dir / "scratch" / "test").exists()
    state = check_log(study)
    copied = facts_from_data(state.spec, json.loads(json.dumps(facts_to_data(state))))
    assert [trial.tested for trial in copied.trials] == [trial.tested for trial in state.trials]


@pytest.mark.training
def test_a_failing_test_is_told_and_the_others_go_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = searched(tmp_path)
    full = study.trials().query("state == 'completed'")["trial"].tolist()
    assert len(full) == 2
    bad, marker = full[0], tmp_path / "repaired"

    def half(trial: hwt.Trial) -> dict[str, float]:
        with (marker.parent / f"count_{trial.id}").open("a") as file:
            file.write("x")
        if trial.id == bad and not marker.exists():
            raise ValueError("no test data")
        return {"accuracy": 0.5}

    frame = study.test(half, full)
    assert "trial" in capfd.readouterr().out
    assert frame["failure"].tolist() == ["ValueError: no test data", ""]
    assert frame["test/accuracy"].tolist()[1] == 0.5
    assert study.trials()["test/accuracy"].notna().sum() == 1
    # the same call tests what is missing, and `again` all
    marker.touch()
    assert study.test(half, full, **QUIET)["test/accuracy"].tolist() == [0.5, 0.5]
    counts = [len((tmp_path / f"count_{trial}").read_text()) for trial in full]
    assert counts == [2, 1]
    # a repetition that fails leaves the result, and the next test repeats it
    marker.unlink()
    frame = study.test(half, full, again=True, **QUIET)
    assert frame["test/accuracy"].tolist() == [0.5, 0.5]
    assert frame["failure"].tolist() == ["ValueError: no test data", ""]
    assert "its checkpoint was tested" in study.why(bad)
    marker.touch()
    assert study.test(half, full, **QUIET)["failure"].tolist() == ["", ""]
    study.test(half, full, again=True, **QUIET)
    assert [len((tmp_path / f"count_{trial}").read_text()) for trial in full] == [5, 3]


@pytest.mark.training
def test_a_killed_test_continues_with_what_is_missing(tmp_path: Path) -> None:
    study = searched(tmp_path)
    full = study.trials().query("state == 'completed'")["trial"].tolist()
    script = """
import os, signal
import lightning_hwtune as hwt

parent = os.getpid()

def test(trial):
    if trial.id == SECOND and not os.path.exists("second"):
        open("second", "w").close()
        os.kill(parent, signal.SIGKILL)
        signal.pause()
    open(f"tested_{trial.id}", "a").write("x")
    return {"accuracy": 1.0}

hwt.Study.load("study", FOLDER).test(test, FULL, progress=False)
"""
    for name, value in {"SECOND": full[1], "FOLDER": str(tmp_path), "FULL": full}.items():
        script = script.replace(name, repr(value))
    assert run_script(tmp_path, script).returncode == -signal.SIGKILL
    assert [study.state().trials[trial].tested for trial in full] == [{"accuracy": 1.0}, {}]
    assert run_script(tmp_path, script).returncode == 0
    assert [study.state().trials[trial].tested for trial in full] == [{"accuracy": 1.0}] * 2
    assert (tmp_path / f"tested_{full[0]}").read_text() == "x"
    check_log(study)


@pytest.mark.training
def test_a_checkpoint_that_changed_is_not_tested(tmp_path: Path) -> None:
    study = searched(tmp_path)
    best = study.best
    assert best.checkpoint is not None
    best.checkpoint.write_bytes(b"x" * best.checkpoint.stat().st_size)
    frame = study.test(weights, best, **QUIET)
    assert "digest" in frame["failure"][0]


@pytest.mark.training
def test_what_cannot_be_tested_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyNotFoundError, match="run it first"):
        small_study(tmp_path).test(weights)
    study = searched(tmp_path)
    n_events = len(study.events())
    for trials in ("4", [True], {"trial": 1}):
        with pytest.raises(ArgumentError, match=r"`trials`.*trial numbers"):
            study.test(weights, trials)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"`trials` is 99.*0 to 3"):
        study.test(weights, [99])
    with pytest.raises(ArgumentError, match="`function`"):
        study.test(5)  # type: ignore[arg-type]
    assert len(study.events()) == n_events


@pytest.mark.training
def test_a_lightning_module_is_tested_without_touching_its_metrics(tmp_path: Path) -> None:
    def train(trial: hwt.Trial) -> None:
        trial.fit(Noisy(), loader(), loader())

    def test(trial: hwt.Trial) -> Any:
        model = Noisy.load_from_checkpoint(str(trial.ckpt_path))
        return trial.trainer().test(model, loader(), verbose=False)

    study = run(small_study(tmp_path, pool=ONE), train, max_trials=2, finishers=1)
    best = study.best
    before = (study.dir / "trials" / f"{best.trial_id:03d}" / "metrics.csv").read_bytes()
    frame = study.test(test, best, **QUIET)
    assert best.checkpoint is not None
    saved = torch.load(best.checkpoint, weights_only=False)["state_dict"]
    assert frame["test/accuracy"][0] == pytest.approx(float(saved["layer.weight"].abs().sum()))
    assert (study.dir / "trials" / f"{best.trial_id:03d}" / "metrics.csv").read_bytes() == before


@pytest.mark.training
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = searched(tmp_path)
    (tmp_path / "my_tests.py").write_text("def epochs(trial):\n    return {'epochs': trial.load()}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    done = hwtune(tmp_path, "test", "my_tests:epochs", "--format", "json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)
    assert row == {"trial": study.best.trial_id, "test/epochs": 9.0, "failure": ""}
    assert "test/epochs" in hwtune(tmp_path, "test", "my_tests:epochs").stdout
    assert hwtune(tmp_path, "test", "my_tests:nothing").exit_code == 1


@pytest.mark.training
def test_the_command_says_what_it_does_not_test_and_how_to_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = searched(tmp_path)
    good = "def good(trial):\n    return {'a': 1}\n"
    (tmp_path / "two_tests.py").write_text(good + good.replace("good", "bad").replace("1", "2"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    best = str(study.best.trial_id)
    assert "not tested" not in hwtune(tmp_path, "test", "two_tests:good", best).stdout
    said = f"not tested: trial {best} already has the results of two_tests:good. To test again: again=True, or --again."
    assert said in hwtune(tmp_path, "test", "two_tests:bad", best).stdout
    assert "not tested" not in hwtune(tmp_path, "test", "two_tests:bad", best, "--again").stdout
    state = study.state()
    copied = facts_from_data(state.spec, json.loads(json.dumps(facts_to_data(state))))
    assert copied.trials[int(best)].tested_by == "two_tests:bad"

    def interrupt(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lightning_hwtune.study_run.run_tests", interrupt)
    stopped = hwtune(tmp_path, "test", "two_tests:bad", best, "--again")
    assert stopped.exit_code == 130
    assert "To test what is missing, do the same again:\n" in stopped.stderr
    assert f" test two_tests:bad {best} --again --dir " in stopped.stderr


@pytest.mark.slow
@pytest.mark.training
def test_an_interrupt_in_the_middle_of_the_tests_keeps_those_that_are_complete(tmp_path: Path) -> None:
    study = searched(tmp_path)
    (tmp_path / "my_tests.py").write_text(
        "import time\n\ndef second(trial):\n    time.sleep(600 * (trial.id != FIRST))\n    return {'a': 1}\n".replace(
            "FIRST", str(study.best.trial_id)
        )
    )
    others = [trial.trial_id for trial in study.state().trials if trial.trial_id != study.best.trial_id]
    other = next(number for number in others if study.state().trials[number].measured_checkpoint is not None)
    words = ["-m", "lightning_hwtune", "test", "my_tests:second", str(study.best.trial_id), str(other)]
    command = [sys.executable, "-u", *words, "--dir", str(study.dir.parent)]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"trial {study.best.trial_id}: a 1\n"
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "To test what is missing, do the same again:" in said
    tested = {trial.trial_id: dict(trial.tested) for trial in study.state().trials if trial.tested}
    assert tested == {study.best.trial_id: {"a": 1.0}}


@pytest.mark.parametrize("found", [None, 3, [], {}, {"a": "text"}, {1: 2.0}, "text"])
def test_other_results_of_a_test_are_refused(found: Any) -> None:
    with pytest.raises(TrialError, match="the test function returned"):
        named_numbers(found)


def test_results_of_several_loaders_are_joined() -> None:
    assert named_numbers([{"a/0": 1}, {"a/1": torch.tensor(2.0)}]) == {"a/0": 1.0, "a/1": 2.0}
