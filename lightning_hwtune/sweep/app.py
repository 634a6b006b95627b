"""The user's Hydra app as a training function: one call is one segment of a trial, in a process of its own.

The app is started as its user starts it, with the trial's overrides behind. It knows nothing of the study: the callback
that Lightning attaches to its Trainer reports, pauses and resumes, and what its `main` returns is the trial's last
word. That word counts only where the trial was trained to its end; between rungs it is no measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.sweep.command import Command
from lightning_hwtune.sweep.returned import TARGET, Returned, expect
from lightning_hwtune.sweep.search import Search, quoted
from lightning_hwtune.training.channel import Report
from lightning_hwtune.training.context import ActiveSegment, current_segment
from lightning_hwtune.training.trial import Trial

__all__ = ["BatchSize", "HydraApp", "JobDirs"]

_JOB_DIR = "job_dir.txt"


@final
@dataclass(frozen=True, slots=True)
class JobDirs:
    """Where trials have their directories: one each, the same in all segments.

    Attributes:
        sweep_dir: absolute. has_own_subdir: whether the app's configuration names them (`hydra.sweep.subdir`).
        output_subdir: where Hydra keeps a job's configuration, of `hydra.output_subdir`; None for nowhere.
        job_name: Hydra's, of `hydra.job.name`.
    """

    sweep_dir: str
    has_own_subdir: bool
    output_subdir: str | None
    job_name: str

    def overrides(self, segment: ActiveSegment) -> list[str]:
        """Returns Hydra's own overrides for a rank of a segment; the first rank alone writes a configuration."""
        order, subdir = segment.order, self.output_subdir
        if subdir is not None and order.segment > 1:
            subdir = f"{subdir}/segment_{order.segment:02d}"
        given = {
            "hydra.mode": "RUN",
            "hydra.run.dir": quoted(self._run_dir(segment)),
            "hydra.sweep.dir": quoted(self.sweep_dir),
            "hydra.job.num": str(order.trial_id),
            "hydra.job.id": str(order.trial_id),
            "hydra.output_subdir": "null" if subdir is None or segment.rank else quoted(subdir),
            "++hydra.callbacks.hwtune._target_": TARGET,
        }
        if segment.rank:
            given["hydra.job.name"] = quoted(f"{self.job_name}_rank_{segment.rank}")
        return [f"{key}={value}" for key, value in given.items()]

    def _run_dir(self, segment: ActiveSegment) -> str:
        order = segment.order
        if order.probe_batches is not None:
            return str(Path(order.trial_dir) / "job")
        note = Path(order.trial_dir) / _JOB_DIR
        if self.has_own_subdir:
            name = note.read_text(encoding="utf-8") if note.exists() else "${hydra.sweep.subdir}"
        else:
            name = f"trial_{order.trial_id:03d}"
        return f"{self.sweep_dir}/{name}"

    def note(self, segment: ActiveSegment) -> Path | None:
        """Returns the file that keeps the directory that the app's configuration gave the trial."""
        is_needed = self.has_own_subdir and segment.rank == 0 and segment.order.probe_batches is None
        return Path(segment.order.trial_dir) / _JOB_DIR if is_needed else None


@final
@dataclass(frozen=True, slots=True)
class BatchSize:
    """The app's key for the batch size of one device's loader. `fixed`: its value; None if it is searched."""

    key: str
    fixed: int | None

    def of(self, trial: Trial) -> int:
        """Returns each device's share of the global batch."""
        return trial.per_device_batch_size(trial[self.key] if self.fixed is None else self.fixed)


@final
@dataclass(frozen=True, slots=True)
class HydraApp:
    """A training function.

    Attributes:
        command: how the app is started. search: how a configuration is written as overrides.
        hydra: overrides of Hydra's own node that the user gave.
        dirs: where it works. names: the objectives that `main` returns, in order.
        is_judged_by_value: True if nothing but the returned value is known of a trial.
        ckpt_path_key: the app's key for a checkpoint; None: it is restored without the app's help.
        batch_size: of one device's loader, where the app counts so.
    """

    command: Command
    search: Search
    hydra: tuple[str, ...]
    dirs: JobDirs
    names: tuple[str, ...]
    is_judged_by_value: bool = False
    ckpt_path_key: str | None = None
    batch_size: BatchSize | None = None

    def __call__(self, trial: Trial) -> None:
        """Runs one segment of the trial."""
        segment = current_segment()
        if segment is None:
            raise RuntimeError("a Hydra app is run by a study only")
        if self.is_judged_by_value:
            trial.manual_reports()
        returned = expect(self.dirs.note(segment))
        segment.resumes_by_argument = self.ckpt_path_key is not None
        try:
            self.command(self._overrides(trial, segment))
        except SystemExit as stop:
            _take_exit(segment, stop, returned)
        except Exception as error:
            if not (segment.is_over and segment.is_trained):
                raise
            text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            segment.note(f"the app failed after the trial was paused or stopped, which changes nothing: {text}")
        if segment.failure is not None and not segment.is_trained:
            raise segment.failure  # the app has swallowed it
        self._take_value(segment, returned)

    def _overrides(self, trial: Trial, segment: ActiveSegment) -> list[str]:
        config = dict(trial.config)
        if self.batch_size is not None and self.batch_size.fixed is None:
            config[self.batch_size.key] = self.batch_size.of(trial)
        overrides = [*self.hydra, *self.search.overrides(config)]
        if self.batch_size is not None and self.batch_size.fixed is not None:
            overrides.append(f"{self.batch_size.key}={self.batch_size.of(trial)}")
        if self.ckpt_path_key is not None and trial.ckpt_path is not None:
            overrides.append(f"++{self.ckpt_path_key}={quoted(trial.ckpt_path)}")
        return [*overrides, *self.dirs.overrides(segment)]

    def _take_value(self, segment: ActiveSegment, returned: Returned) -> None:
        """Reports what `main` returned as the measurement of the end, unless the trial goes on another time."""
        if segment.rank or (segment.is_over and not segment.order.probe_batches):
            return
        has_value = returned.is_there and returned.value is not None
        if self.is_judged_by_value:
            if not has_value:
                raise ArgumentError("the value that the app returned", None, self._wanted(), hint=_NO_VALUE)
            segment.resource = segment.order.max_resource
        elif segment.order.probe_batches or segment.resource <= segment.order.resource or not has_value:
            if segment.order.probe_batches and isinstance(returned.value, tuple | list):
                self._values(returned.value)
            return
        values = self._values(returned.value)
        segment.clock.stop()
        segment.channel.report(Report(segment.resource, values, segment.clock.seconds))

    def _values(self, value: Any) -> Mapping[str, float]:
        """Returns the objectives' values by name.

        Raises:
            ArgumentError: another number of them, or no numbers.
        """
        values = list(value) if isinstance(value, tuple | list) else [value]
        try:
            numbers = [float(item) for item in values]
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) != len(self.names):
            raise ArgumentError("the value that the app returned", value, self._wanted())
        return dict(zip(self.names, numbers, strict=True))

    def _wanted(self) -> str:
        if len(self.names) == 1:
            return f"one number, {self.names[0]}"
        return f"a tuple of {len(self.names)} numbers: {', '.join(self.names)}"


_NO_VALUE = "Let the function under hydra.main return it, and raise what it cannot handle."


def _take_exit(segment: ActiveSegment, stop: SystemExit, returned: Returned) -> None:
    """Takes an exit of the app's own: with status 0 it is an end like any other, else an error."""
    if stop.code not in (0, None) and not (segment.is_over and segment.is_trained):
        raise RuntimeError(f"the app called sys.exit({stop.code!r})") from stop
    if not returned.is_there:
        segment.note("the app ended by sys.exit: nothing that it returns is known")
