"""Loggers in a whole study, of a script that does not mention it and gives all trials one place for their logs."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))
from study_bench import of_kind, run, small_study

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev

pytestmark = pytest.mark.training


def test_every_trial_has_one_folder_with_all_its_epochs_and_ranks(tmp_path: Path) -> None:
    def train(trial: hwt.Trial) -> None:
        import lightning.pytorch as L
        from lightning.pytorch.loggers import CSVLogger

        from datamodules import DigitsDataModule
        from models import DigitsMLP

        trainer = L.Trainer(
            max_epochs=9, accelerator="cpu", logger=CSVLogger(tmp_path / "logs"), enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        trainer.fit(DigitsMLP(lr=trial["lr"]), DigitsDataModule(batch_size=256))

    space = hwt.SearchSpace(lr=hwt.Float(1e-4, 1e-1, log=True))
    study = small_study(
        tmp_path, space=space, objectives=[hwt.Metric("val_error", "min")], pool=hwt.Pool("cpu", devices=1)
    )
    run(study, train, max_trials=6)
    assert any(segment.number > 1 and segment.resource > 0 for segment in study.state().segments)
    folders = {}
    for folder in (tmp_path / "logs" / "lightning_logs").iterdir():
        told = yaml.safe_load((folder / "hparams.yaml").read_text())["hwtune"]
        folders[told["trial"]] = folder
        assert told["config"] == study.state().trials[told["trial"]].config
    assert len(list((tmp_path / "logs" / "lightning_logs").iterdir())) == len(folders) == 6
    for trial in study.state().trials:
        with (folders[trial.trial_id] / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        epochs = [int(row["epoch"]) + 1 for row in rows if row["val_error"]]
        assert epochs == [measurement.resource for measurement in trial.measurements]
        decided = {int(float(row["hwtune/rung"])): row for row in rows if row["hwtune/rung"]}
        assert set(decided) == {1, 3, 9} & set(epochs)
        for event in of_kind(study, ev.Reported):
            if event.trial_id == trial.trial_id and event.level in (1, 3) and "rank " in event.reason:
                rank, size = (int(float(decided[event.level][f"hwtune/{name}"])) for name in ("rank", "rung_size"))
                assert event.reason.startswith(f"rank {rank} of {size} at rung {event.level}")
