"""The disk budget in a study that is really decided, logged and stored; only the training is a formula."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Done, Resume, Start
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.core.schedulers import ASHA, RunToEnd
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import CheckpointError
from lightning_hwtune.host.file_trees import digest_of as digest
from lightning_hwtune.store.disk_budget import Standing, candidates
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog

N_BYTES = 10
SPEC = StudySpec(
    name="study",
    space=SearchSpace(error=Float(0.0, 1.0), size=Float(0.0, 1.0)),
    objectives=Objectives([Metric("error", "min"), Metric("size", "min")]),
    scheduler=ASHA(9, first_rung=1),
    searcher=Random(),
    pool=Pool("cpu", 1),
)


class Trainer:
    """Trains one segment after another as the engine would, with real files and the real order of log and deletion."""

    def __init__(self, files: StudyFiles, log: EventLog, max_trials: int, spec: StudySpec = SPEC) -> None:
        self.files, self.now, self.diverging = files, 0.0, {4}
        self.controller = Controller(StudyState(spec), log.append)
        self.controller.create(self.now)
        self.controller.open(Limits(max_trials=max_trials, finishers=2), self.now, "host", 1, "0")

    def train(self) -> bool:
        """One segment; False when nothing is left to do."""
        answer = self.controller.ask(self.now, 1)
        if isinstance(answer, Done):
            return False
        assert isinstance(answer, Start | Resume)
        segment = self.controller.begin(answer, [0], self.now)
        trial = self.controller.state.trials[answer.trial_id]
        verdict, epoch = "continue", segment.resource
        while verdict == "continue":
            epoch, self.now = epoch + 1, self.now + 1.0
            error = math.nan if trial.trial_id in self.diverging else trial.config["error"]
            metrics = {"error": error, "size": trial.config["size"]}
            verdict = self.controller.report(trial.trial_id, epoch, metrics, 1.0, self.now).kind
        self.save(trial.trial_id, segment.number, epoch)
        self.controller.tell(trial.trial_id, self.now, "done", world_size=1)
        return True

    def save(self, trial_id: int, segment: int, epoch: int) -> None:
        path = self.files.trial_dir(trial_id) / "checkpoints" / f"segment_{segment:02d}_epochs_{epoch}.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([trial_id]) * N_BYTES)
        old, relative = self.controller.state.trials[trial_id].checkpoint, self.files.relative(path)
        self.controller.saved(trial_id, relative, digest(path), N_BYTES, epoch, 1.0, self.now)
        if old is not None:
            self.remove(trial_id, old.path, "superseded")
        for victim in self.files.evictions(self.controller.state):
            self.remove(victim.trial_id, victim.path, victim.reason)
        self.after_save()

    def after_save(self) -> None:
        """What must hold whenever the budget has been seen to."""
        state = self.controller.state
        assert on_disk(self.files) == state.known_checkpoints()
        vouched = {trial.trial_id for trial in state.trials if trial.checkpoint is not None}
        front = slow_front(state)
        assert front <= vouched
        if self.files.budget_bytes is not None:
            n_kept = len(vouched & (front | state.waiting | set(state.running)))
            assert len(vouched) <= max(self.files.budget_bytes // N_BYTES, n_kept)

    def remove(self, trial_id: int, path: str, reason: str) -> None:
        self.controller.removed(trial_id, path, reason, self.now)
        assert self.files.delete(path)


def on_disk(files: StudyFiles) -> set[str]:
    return {files.relative(path) for path in files.root.glob("trials/*/checkpoints/*")}


def slow_front(state: StudyState) -> set[int]:
    """The front of the fully trained trials, by comparing all pairs."""
    full = {t.trial_id: t.last.values for t in state.trials if t.state is TrialState.COMPLETED and t.last is not None}

    def dominates(a: int, b: int) -> bool:
        pairs = [(full[a][name], full[b][name]) for name in ("error", "size")]
        return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)

    return {i for i in full if not any(dominates(j, i) for j in full)}


@pytest.mark.parametrize("budget_bytes", [1, 45, 120, None])
def test_a_study_within_its_disk_budget(tmp_path: Path, budget_bytes: int | None) -> None:
    files = StudyFiles(tmp_path, "study", budget_bytes=budget_bytes)
    files.create()
    with EventLog.open(files, create=True) as log:
        trainer = Trainer(files, log, max_trials=40)
        while trainer.train():
            pass
        state = trainer.controller.state
        assert len(slow_front(state)) >= 2
        removed = [event for _, event in log.read() if type(event).__name__ == "CheckpointRemoved"]
        n_evicted = sum(event.reason.startswith("disk budget") for event in removed)  # type: ignore[attr-defined]
    assert (n_evicted > 0) == (budget_bytes is not None)
    for trial in state.trials:
        if trial.checkpoint is not None:
            assert files.verify(trial.checkpoint).read_bytes() == bytes([trial.trial_id]) * N_BYTES


def test_standings(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path, "study")
    with EventLog.open(files, create=True) as log:
        trainer = Trainer(files, log, max_trials=20)
        state, seen = trainer.controller.state, set[Standing]()
        while trainer.train():
            order = [trial_id for trial_id, _ in state.race.finishers()]
            for candidate in candidates(state):
                trial = state.trials[candidate.trial_id]
                seen.add(candidate.standing)
                if candidate.standing is Standing.KEPT:
                    assert trial.trial_id in slow_front(state) | state.waiting
                elif candidate.standing is Standing.ENDED:
                    assert trial.state is TrialState.COMPLETED
                elif candidate.standing is Standing.UNPROMOTABLE:
                    assert trial.trial_id == 4
                else:
                    assert trial.state is TrialState.PAUSED
                    assert order[candidate.place] == trial.trial_id
        assert {c.trial_id for c in candidates(state)} == {t.trial_id for t in state.trials if t.checkpoint}
    assert seen >= {Standing.KEPT, Standing.UNPROMOTABLE, Standing.PAUSED}


def test_what_runs_or_is_cleared_to_go_on_is_kept(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path, "study", budget_bytes=1)
    with EventLog.open(files, create=True) as log:
        trainer = Trainer(files, log, max_trials=3)
        controller = trainer.controller
        while not any(trial.checkpoint and trial.resource >= 3 for trial in controller.state.trials):
            assert trainer.train()
        while True:
            answer = controller.ask(trainer.now, 1)
            if isinstance(answer, Resume) and controller.state.trials[answer.trial_id].checkpoint:
                break
            assert trainer.train()
        controller.begin(answer, [0], trainer.now)
        standing = {c.trial_id: c.standing for c in candidates(controller.state)}
        assert standing[answer.trial_id] is Standing.KEPT
        assert answer.trial_id not in {victim.trial_id for victim in files.evictions(controller.state)}
        controller.tell(answer.trial_id, trainer.now, "interrupted")
        assert controller.state.trials[answer.trial_id].state is TrialState.PAUSED
        standing = {c.trial_id: c.standing for c in candidates(controller.state)}
        assert standing[answer.trial_id] is Standing.KEPT


def test_a_value_that_is_not_finite_is_on_no_front(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path, "study")
    spec = dataclasses.replace(SPEC, scheduler=RunToEnd(max_epochs=2))
    with EventLog.open(files, create=True) as log:
        trainer = Trainer(files, log, max_trials=5, spec=spec)
        trainer.diverging = {0, 4}
        assert trainer.train()
        assert [c.standing for c in candidates(trainer.controller.state)] == [Standing.ENDED]  # nothing dominates it
        while trainer.train():
            pass
        standing = {c.trial_id: c.standing for c in candidates(trainer.controller.state)}
    assert standing[0] is standing[4] is Standing.ENDED
    assert {i for i, s in standing.items() if s is Standing.KEPT} == slow_front(trainer.controller.state) - {0, 4}


def test_a_kill_between_log_and_deletion_leaves_a_file_that_the_sweep_takes(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path, "study")
    with EventLog.open(files, create=True) as log:
        trainer = Trainer(files, log, max_trials=4)
        for _ in range(4):
            assert trainer.train()
        state = trainer.controller.state
        gone = next(trial.checkpoint for trial in state.trials if trial.checkpoint is not None)
        trainer.controller.removed(0, gone.path, "disk budget: ...", trainer.now)  # the kill comes here
        assert gone.path in on_disk(files) - state.known_checkpoints()
        assert files.sweep(state) == [gone.path]
        assert on_disk(files) == state.known_checkpoints()
        with pytest.raises(CheckpointError):
            files.verify(gone)
