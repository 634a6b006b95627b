"""Runs segments through a Hydra launcher that the user has chosen: in batches, one device per segment.

A launcher gets a batch of jobs and returns when all of them are done; nothing can be sent to them in between. So a
segment trains to its next rung, pauses there, and writes its messages to a file. The verdicts follow when the batch is
over. The jobs must share a file system with the sweep.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, final

from hydra.core.hydra_config import HydraConfig
from hydra.plugins.launcher import Launcher
from hydra.types import TaskFunction
from omegaconf import DictConfig, read_write

from lightning_hwtune.apps.hydra.app import AppOverrides, JobDirs
from lightning_hwtune.apps.hydra.call_end import Ending
from lightning_hwtune.apps.hydra.job_callback import AppCall
from lightning_hwtune.apps.hydra.leftover_programs import ORDER_VARIABLE, end_programs_of
from lightning_hwtune.apps.hydra.search import quoted
from lightning_hwtune.apps.hydra.sweep_process import SweepProcess
from lightning_hwtune.apps.script_call import segment_of_app
from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.core.objectives import Metric
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.executor import Abilities, Sink
from lightning_hwtune.store.files import write_whole
from lightning_hwtune.training.channel import Ended, Message, Note, Report, Saved, SegmentOrder, VerdictMessage
from lightning_hwtune.training.process.rank_main import run_segment
from lightning_hwtune.training.trial import Trial

__all__ = ["BatchTask", "Batches"]


@final
@dataclass(frozen=True, slots=True)
class BatchTask:
    """The task function for a launcher's jobs, each of which is a segment; pickled into the jobs.

    Attributes:
        task: the function under `hydra.main`.
        ending: how to interpret the end of the task.
        sweep: the process that waits for the job.
        resumes_by_argument: whether the app gets the path of its checkpoint as an override.
        import_path: where to find the app's own modules, because a launcher's process may not have the script's folder.
    """

    task: TaskFunction
    ending: Ending
    sweep: SweepProcess
    resumes_by_argument: bool
    import_path: tuple[str, ...] = ()

    def __call__(self, config: DictConfig) -> Any:
        """Trains the segment given in the job's environment; returns what the app returned."""
        sys.path += [folder for folder in self.import_path if folder not in sys.path]
        path = Path(os.environ[ORDER_VARIABLE])
        returned = AppCall()
        with self.sweep.watched(path), path.with_suffix(".messages").open("wb") as file:
            order: SegmentOrder = pickle.loads(path.read_bytes())
            _number(order.trial_id)
            channel = _FileChannel(order, file, self.ending.best[:1])
            channel.send(run_segment(lambda trial: self._train(trial, returned, config), order, channel))
        return returned.value

    def _train(self, trial: Trial, returned: AppCall, config: DictConfig) -> None:
        segment = segment_of_app()
        segment.resumes_by_argument = self.resumes_by_argument

        def call() -> None:
            returned.value, returned.is_there = self.task(config), True

        self.ending.guard(trial, segment, returned, call)


def _number(trial_id: int) -> None:
    """Sets the job's number to that of the trial. The launcher's own number counts the segments of one run."""
    job: Any = HydraConfig.get().job
    with read_write(job):
        job.num, job.id = trial_id, str(trial_id)


@final
class _FileChannel:
    """A segment's side of the channel: writes every message to a file, and answers reports itself.

    Args:
        best: metrics for which the checkpoint of the best report is kept. The best one of this segment is saved; the
            study keeps it if it is also the best of the trial.
    """

    def __init__(self, order: SegmentOrder, file: Any, best: Sequence[Metric] = ()) -> None:
        self._file, self._order, self._lock = file, order, threading.Lock()
        self._best = dict.fromkeys(best, math.nan)
        self._target = min((level for level in order.levels if level > order.resource), default=order.max_resource)

    def report(self, report: Report) -> VerdictMessage:
        """Writes a report; the answer lets the segment train to its next rung."""
        self.send(report)
        save = self._is_best(report)
        if report.resource >= self._order.max_resource:
            return VerdictMessage(VerdictKind.STOP, "trained to the end", save=save)
        if report.resource >= self._target and not report.is_inside:
            return VerdictMessage(
                VerdictKind.PAUSE, f"rung {self._target}: waits for the other trials of the batch", save=save
            )
        return VerdictMessage(VerdictKind.CONTINUE, f"on the way to rung {self._target}", save=save)

    def _is_best(self, report: Report) -> bool:
        """Return whether a report is the best one of this segment; remembers its value."""
        is_best = False
        for metric, best in self._best.items():
            self._best[metric] = metric.better(best, report.metrics[metric.name])
            is_best = is_best or (self._best[metric] != best and math.isfinite(self._best[metric]))
        return is_best

    def send(self, message: Message | Report) -> None:
        """Writes a complete message."""
        with self._lock:
            self._file.write(pickle.dumps(message))
            self._file.flush()


@final
class Batches:
    """An executor that passes all started segments to a launcher, as one batch.

    Args:
        launcher: a launcher that was set up with a `BatchTask`.
        overrides, dirs: those of the app's command line.
        first_name: takes a trial's overrides and number; returns the name that the app's configuration gives to its
            directory.
        folder: the folder for the orders and for the messages of the jobs.
    """

    abilities: ClassVar[Abilities] = Abilities(trains_here=False, max_devices=1)

    def __init__(
        self,
        launcher: Launcher,
        overrides: AppOverrides,
        dirs: JobDirs,
        first_name: Callable[[list[str], int], str],
        folder: Path,
    ) -> None:
        self._launcher, self._overrides, self._dirs = launcher, overrides, dirs
        self._first_name, self._folder = first_name, folder
        self._has_begun = False
        self._waiting: list[SegmentOrder] = []
        self._batch: list[SegmentOrder] = []
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._n_jobs = 0

    def start(self, order: SegmentOrder) -> None:
        """Adds a segment to the next batch. The launcher decides which device it gets."""
        self._waiting.append(order)

    def wait(self, sink: Sink, timeout_s: float) -> None:
        """Launches the waiting segments, or delivers the messages of a finished batch."""
        if not self._has_begun:  # the sweep has the lease now, so these orders are from a killed sweep
            self._take_back()
            self._has_begun = True
        if self._thread is None and self._waiting:
            self._batch, self._waiting = self._waiting, []
            jobs = [self._job(order) for order in self._batch]
            self._thread = threading.Thread(target=self._launch, args=(jobs,), name="hwtune-batch", daemon=True)
            self._thread.start()
        if self._thread is None:
            return
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._thread, batch, self._batch = None, self._batch, []
            for order in batch:
                self._deliver(sink, order)

    def end(self, trial_id: int, outcome: Outcome, why: str) -> None:
        """Does nothing: a launcher's job cannot be ended from here."""

    def close(self) -> None:
        """Drops waiting segments, withdraws launched ones, and ends the programs that jobs on this host started."""
        self._waiting.clear()
        self._take_back()

    def _take_back(self) -> None:
        for path in self._folder.glob("*.order"):
            path.unlink(missing_ok=True)
        end_programs_of(self._folder)

    def _job(self, order: SegmentOrder) -> list[str]:
        path = self._path(order)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(order))
        path.with_suffix(".messages").unlink(missing_ok=True)
        overrides = self._overrides.of(order)
        name = self._dirs.name(order)
        if name is None:
            name = self._first_name(overrides, order.trial_id)
            write_whole(self._dirs.note(order), name)
        return [
            *overrides,
            f"hydra.sweep.dir={quoted(self._dirs.sweep_dir)}",
            f"hydra.sweep.subdir={quoted(name)}",
            f"hydra.output_subdir={self._dirs.config_subdir(order)}",
            f"++hydra.job.env_set.{ORDER_VARIABLE}={quoted(str(path))}",
        ]

    def _path(self, order: SegmentOrder) -> Path:
        return self._folder / f"{order.trial_id:03d}_{order.segment:02d}.order"

    def _launch(self, jobs: list[list[str]]) -> None:
        self._error = None
        try:
            self._launcher.launch(jobs, initial_job_idx=self._n_jobs)
        except BaseException as error:
            self._error = error
        self._n_jobs += len(jobs)

    def _deliver(self, sink: Sink, order: SegmentOrder) -> None:
        """Passes one job's messages to the sink. A segment that paused and may continue counts as interrupted."""
        path = self._path(order).with_suffix(".messages")
        why = f"the launcher's job ended without a last message: {self._error}"
        verdict, ended = "", Ended(0, Outcome.LOST, why, 0, False)
        for message in _messages(path):
            if isinstance(message, Report):
                verdict = sink.reported(order.trial_id, order.segment, message).kind
            elif isinstance(message, Saved):
                sink.saved(order.trial_id, order.segment, message)
            elif isinstance(message, Note):
                sink.noted(order.trial_id, order.segment, message)
            elif isinstance(message, Ended):
                ended = message
        if ended.outcome == Outcome.DONE and not ended.reached_end and verdict == VerdictKind.CONTINUE:
            why = "the batch ended; a later batch resumes the trial"
            ended = replace(ended, outcome=Outcome.INTERRUPTED, error=why)
        if ended.outcome == Outcome.LOST:
            end_programs_of(self._path(order))
        for left in (path, self._path(order)):
            left.unlink(missing_ok=True)
        sink.ended(order.trial_id, order.segment, ended, 1)


def _messages(path: Path) -> Iterator[Any]:
    """Yields the complete messages that a job wrote."""
    with contextlib.suppress(FileNotFoundError, EOFError, pickle.UnpicklingError), path.open("rb") as file:
        while True:
            yield pickle.load(file)
