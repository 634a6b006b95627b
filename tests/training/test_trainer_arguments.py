"""Arguments of the Trainer that the search space decides: passed on, checked, and not accepted from the user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from digits_training import DigitsData, DigitsNet
from rank_bench import Bench

from lightning_hwtune.training.rung_callback import RungCallback
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training
SEARCHED = {"strategy": "ddp_find_unused_parameters_true", "precision": "bf16-mixed", "accumulate_grad_batches": 2}


def _write_facts(trial: Trial) -> None:
    trainer = trial.fit(DigitsNet(), DigitsData(trial.per_device_batch_size(64)), limit_train_batches=4)
    strategy: Any = trainer.strategy
    facts = {
        "strategy": type(strategy).__name__,
        "unused": getattr(strategy, "_ddp_kwargs", {}).get("find_unused_parameters"),
        "precision": trainer.precision,
        "batches": trainer.accumulate_grad_batches,
        "batch": trial.per_device_batch_size(64),
        "steps": trainer.global_step,
    }
    if trainer.is_global_zero:
        (trial.dir / "facts.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(("n", "strategy", "batch"), [(2, "DDPStrategy", 16), (1, "SingleDeviceStrategy", 32)])
def test_the_trainer_gets_what_the_space_decides(
    bench: Bench, tmp_path: Path, n: int, strategy: str, batch: int
) -> None:
    searched = SEARCHED if n > 1 else {**SEARCHED, "strategy": "auto"}
    said = bench.segment(_write_facts, {1: "stop"}, num_devices=n, trainer=searched)
    assert [ended.outcome for ended in said.ended] == ["done"] * n
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["strategy"] == strategy
    assert facts["unused"] is (True if n > 1 else None)
    assert (facts["precision"], facts["batches"]) == ("bf16-mixed", 2)
    assert (facts["batch"], facts["steps"]) == (batch, 2)


@pytest.mark.parametrize(
    ("name", "value"), [("strategy", "ddp"), ("precision", "32-true"), ("accumulate_grad_batches", 2)]
)
def test_a_searched_argument_cannot_be_passed(bench: Bench, name: str, value: Any) -> None:
    def train(trial: Trial) -> None:
        trial.trainer(**{name: value})

    said = bench.segment(train, {}, trainer={name: value})
    assert "OwnedArgumentError" in said.ended[0].error
    assert name in said.ended[0].error


@pytest.mark.parametrize(("name", "value"), [("precision", "bf16-mixed"), ("accumulate_grad_batches", 2)])
def test_an_own_trainer_must_have_the_searched_argument(bench: Bench, name: str, value: Any) -> None:
    def train(trial: Trial, **given: Any) -> None:
        trainer = pl.Trainer(
            callbacks=[RungCallback()], max_epochs=4, accelerator="cpu", devices=1, logger=False,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, limit_train_batches=2,
            default_root_dir=trial.dir, **given,
        )  # fmt: skip
        trainer.fit(DigitsNet(), DigitsData(32))

    refused = bench.segment(train, {}, trainer={name: value})
    assert f"Trainer({name}=...)" in refused.ended[0].error
    assert "trial.fit" in refused.ended[0].error
    taken = bench.segment(lambda trial: train(trial, **{name: value}), {1: "stop"}, trainer={name: value})
    assert taken.ended[0].outcome == "done"
