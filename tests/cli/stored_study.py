"""A stored study for questions from the command line: real controller, log and files; the training is a formula."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lightning_hwtune.core.decisions import Done, Resume, Start
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.engine.session import Session
from lightning_hwtune.host.file_trees import digest_of as digest
from lightning_hwtune.store.files import StudyFiles

CHECKPOINT = b"weights"


class StepClock:
    """A clock that the study moves."""

    def __init__(self) -> None:
        self.at = 1_700_000_000.0

    def now(self) -> float:
        return self.at


def store(
    folder: Path,
    name: str = "digits",
    n_trials: int = 9,
    *,
    diverging: Collection[int] = (),
    failing: Collection[int] = (),
    finishers: int | str = 2,
    **changes: Any,
) -> StudyFiles:
    """Trains a study one segment after the other, an epoch a second on one device; returns its files."""
    parts: dict[str, Any] = {
        "space": SearchSpace(lr=Float(1e-3, 1e-1, log=True), devices=NumDevices(1, 2)),
        "objectives": Objectives([Metric("error", "min"), TrainSeconds(), Cost()]),
        "scheduler": ASHA(max_epochs=9, first_rung=1),
        "searcher": Random(),
        "pool": Pool("cpu", 2, usd_per_device_hour=3.6),
    }
    spec = StudySpec(name=name, **(parts | changes))
    files, clock = StudyFiles(folder, name), StepClock()
    with Session(spec, files, Limits(max_trials=n_trials, finishers=finishers), clock=clock) as session:
        while isinstance(answer := session.controller.ask(clock.now(), 2), Start | Resume):
            if answer.trial_id in failing:
                _fail(session, clock, answer)
            else:
                _train(session, files, clock, answer, diverging)
        assert isinstance(answer, Done)
        session.finish(answer)
    return files


def _train(
    session: Session, files: StudyFiles, clock: StepClock, decision: Start | Resume, diverging: Collection[int]
) -> None:
    controller = session.controller
    segment = controller.begin(decision, tuple(range(decision.num_devices)), clock.now())
    trial = controller.state.trials[segment.trial_id]
    epoch, train_s, kind = segment.resource, 0.0, "continue"
    while kind == "continue":
        epoch += 1
        train_s += 1.0 / segment.num_devices
        clock.at += 1.0 / segment.num_devices
        error = math.nan if trial.trial_id in diverging else abs(trial.config["lr"] - 0.01) + 1 / epoch
        kind = controller.report(trial.trial_id, epoch, {"error": error}, train_s, clock.now()).kind
    folder = files.trial_dir(trial.trial_id)
    path = _write(folder / "checkpoints" / f"segment_{segment.number:02d}_epochs_{epoch}.ckpt", CHECKPOINT)
    n_bytes = len(CHECKPOINT)
    controller.saved(trial.trial_id, files.relative(path), digest(path), n_bytes, epoch, train_s, clock.now())
    _write(folder / "logs" / f"segment_{segment.number:02d}_rank_0.log", f"trained to {epoch}\n".encode())
    controller.tell(trial.trial_id, clock.now(), "done", world_size=segment.num_devices)


def _fail(session: Session, clock: StepClock, decision: Start | Resume) -> None:
    session.controller.begin(decision, tuple(range(decision.num_devices)), clock.now())
    clock.at += 1.0
    session.controller.tell(decision.trial_id, clock.now(), "error", error="RuntimeError: a cosmic ray")


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
