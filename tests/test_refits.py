"""`Study.refit` and `hwtune refit`: the configuration of one trial is trained again, with another function."""

from __future__ import annotations

import json
import math
import os
import signal
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
from lightning_hwtune.core.facts_data import facts_from_data, facts_to_data
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.errors import ArgumentError, TrialError

QUIET: dict[str, Any] = {"progress": False, "executor": "inline"}
ONE = hwt.Pool("cpu", devices=1)


def searched(folder: Path, train: Any = study_functions.seeded, **changes: Any) -> hwt.Study:
    return run(small_study(folder, pool=ONE, **changes), train, max_trials=4, finishers=2, executor="inline")


def on_all_data(trial: hwt.Trial) -> None:
    """A training without a validation: it reports no objective."""
    for epoch in range((trial.load() or 0) + 1, 10):
        if trial.report(epoch, train_loss=1 / epoch).kind != "continue":
            trial.save(epoch)
            return
    trial.save(9)


def hwtune(folder: Path, *words: str) -> Any:
    return CliRunner().invoke(app, [*words, "--dir", str(folder)])


@pytest.mark.training
def test_one_configuration_is_trained_on_all_data_without_objectives(tmp_path: Path) -> None:
    study = searched(tmp_path)
    front, best = study.front(), study.best
    done = study.refit(best, on_all_data, **QUIET)
    assert done.trial_id == 4
    assert (done.config, done.epochs) == (best.config, 9)
    assert math.isnan(done.values["error"])
    assert done.checkpoint is not None
    assert done.checkpoint.is_file()
    state = check_log(study)
    assert (state.n_full, len(state.searched)) == (2, 4)
    assert study.front()[front.columns].equals(front)
    trials = study.trials()
    assert trials["replicate_of"].tolist() == [None] * 4 + [best.trial_id]
    assert trials["refit"].tolist() == [""] * 4 + ["scratch"]
    assert trials["logged/train_loss"].tolist()[4] == pytest.approx(1 / 9)
    assert len(study.replicates()) == 0
    assert "It is a refit of trial" in study.why(4)
    assert json.loads(hwtune(tmp_path, "trials", "--format", "json").stdout)[4]["refit"] == "scratch"
    assert hwtune(tmp_path, "status").exit_code == 0
    copied = facts_from_data(state.spec, json.loads(json.dumps(facts_to_data(state))))
    assert [trial.trial_id for trial in copied.refits] == [4]
    # the same call returns the result, `again` trains another one
    assert study.refit(best.trial_id, on_all_data, **QUIET).trial_id == 4
    assert study.refit(best, on_all_data, again=True, **QUIET).trial_id == 5
    # a search that continues never sees them, and replicates are counted apart
    run(study, study_functions.seeded, max_trials=6, executor="inline")
    assert study.replicate([best.trial_id], seeds=1, **QUIET)["replicates"].tolist() == [1]
    check_log(study)


class Mean(pl.LightningModule):
    """Learns the mean of its data."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(1))
        self.begin = torch.zeros(1)

    def on_train_start(self) -> None:
        self.begin = self.mean.detach().clone()
        self.log("begin", float(self.begin))

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return (self.mean - batch[0]).square().mean()

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("error", (self.mean - batch[0]).abs().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.3)


def fit_mean(trial: hwt.Trial) -> None:
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 1)), 4)
    early = pl.callbacks.EarlyStopping("error", stopping_threshold=0.1)
    trial.fit(Mean(), data, data, callbacks=[early])


def fit_all(trial: hwt.Trial) -> None:
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(8, 1)), 4)
    trial.fit(Mean(), data)


@pytest.mark.training
def test_a_refit_begins_with_the_weights_and_ends_where_the_trial_did(tmp_path: Path) -> None:
    study = run(small_study(tmp_path, pool=ONE), fit_mean, max_trials=1)
    best = study.best
    assert best.epochs < 9  # its own early stopping
    assert best.checkpoint is not None
    learned = float(torch.load(best.checkpoint, weights_only=False)["state_dict"]["mean"])
    scratch = study.refit(best, fit_all, progress=False)
    warm = study.refit(best, fit_all, from_checkpoint=True, progress=False)
    trials = study.state().trials
    assert [trials[done.trial_id].logged["begin"] for done in (scratch, warm)] == [0.0, pytest.approx(learned)]
    for done in (scratch, warm):
        assert (done.epochs, trials[done.trial_id].state) == (best.epochs, TrialState.COMPLETED)
        assert done.checkpoint is not None
    check_log(study)


@pytest.mark.training
def test_a_killed_refit_continues_from_its_checkpoint(tmp_path: Path) -> None:
    study = searched(tmp_path)
    script = """
import os, signal
import lightning_hwtune as hwt

def train(trial):
    for epoch in range((trial.load() or 0) + 1, 10):
        open("epochs", "a").write(f"{epoch} ")
        verdict = trial.report(epoch)
        trial.save(epoch)
        if epoch == 5 and not os.path.exists("once"):
            open("once", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)

print(hwt.Study.load("study", FOLDER).refit(TRIAL, train, progress=False, executor="inline").trial_id)
"""
    script = script.replace("FOLDER", repr(str(tmp_path))).replace("TRIAL", str(study.best.trial_id))
    assert run_script(tmp_path, script).returncode == -signal.SIGKILL
    done = run_script(tmp_path, script)
    assert (done.returncode, done.stdout.strip()) == (0, "4"), done.stderr
    assert (tmp_path / "epochs").read_text().split() == [str(epoch) for epoch in range(1, 10)]
    check_log(study)


@pytest.mark.training
def test_what_cannot_be_refitted_is_refused(tmp_path: Path) -> None:
    study = searched(tmp_path, max_retries=0)
    best = study.best
    stopped = next(trial for trial in study.state().trials if trial.state is not TrialState.COMPLETED)
    with pytest.raises(ArgumentError, match=f"Trial {stopped.trial_id} is"):
        study.refit(stopped.trial_id, on_all_data, **QUIET)
    with pytest.raises(ArgumentError, match="`trial`"):
        study.refit("best", on_all_data, **QUIET)  # type: ignore[arg-type]
    assert best.checkpoint is not None

    def failing(trial: hwt.Trial) -> None:
        raise ValueError("no data")

    with pytest.raises(TrialError, match=r"(?s)is failed.*no data"):
        study.refit(best, failing, **QUIET)
    assert study.refit(best, on_all_data, **QUIET).epochs == 9  # a corrected function
    assert os.path.exists(best.checkpoint)


@pytest.mark.training
@pytest.mark.slow
def test_the_command_trains_what_the_method_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = searched(tmp_path / "hwtune")
    best = study.best
    (tmp_path / "all_data.py").write_text(
        "def train(trial):\n"
        "    for epoch in range((trial.load() or 0) + 1, 10):\n"
        "        trial.report(epoch, train_loss=1 / epoch)\n"
        "        trial.save(epoch)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ["refit", str(best.trial_id), "all_data:train", "--dir", "hwtune"]
    found = CliRunner().invoke(app, [*words, "--format", "json"])
    assert found.exit_code == 0, found.output
    done = json.loads(found.stdout)
    assert (done["trial"], done["replicate_of"], done["refit"]) == (4, best.trial_id, "scratch")
    assert (done["epochs"], done["objectives"], done["config"]) == (9, {}, dict(best.config))
    assert Path(done["checkpoint"]).is_file()
    # a complete refit is shown again, and another one continues from the trial's weights
    table = CliRunner().invoke(app, [*words, "--quiet"])
    assert (table.exit_code, len(study.state().refits)) == (0, 1)
    assert f"refit of trial {best.trial_id}" in table.stdout
    other = CliRunner().invoke(app, [*words, "--from-checkpoint", "--format", "json"])
    assert other.exit_code == 0, other.output
    assert json.loads(other.stdout)["refit"] == "checkpoint"
    check_log(study)


@pytest.mark.training
def test_the_command_refuses_what_cannot_be_refitted(tmp_path: Path) -> None:
    study = searched(tmp_path)
    stopped = next(trial for trial in study.state().trials if trial.state is not TrialState.COMPLETED)
    for words, hint in {
        (str(stopped.trial_id),): "fully trained",
        ("77",): "77",
        (str(study.best.trial_id), "nowhere:train"): "no module 'nowhere'",
        (str(study.best.trial_id), "--max-time", "0.001"): "`--max-time`",
    }.items():
        found = hwtune(tmp_path, "refit", *words)
        assert found.exit_code == 1, found.output
        assert hint in " ".join(found.output.split())
