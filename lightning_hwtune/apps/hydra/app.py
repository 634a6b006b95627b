"""The user's Hydra app as a training function: one call is one segment of a trial, in its own process.

The app is started as its user starts it, with the trial's overrides appended. It needs no code for the study: the
callback that Lightning attaches to its Trainer reports, pauses and resumes. The value that `main` returns is read at
the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lightning_hwtune.apps.batch_share import batch_share
from lightning_hwtune.apps.hydra.batch_size import BatchSize
from lightning_hwtune.apps.hydra.call_end import Ending
from lightning_hwtune.apps.hydra.command import Command
from lightning_hwtune.apps.hydra.job_callback import TARGET, RefusedJob, expect
from lightning_hwtune.apps.hydra.search import Search, quoted
from lightning_hwtune.apps.script_call import segment_of_app
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.training.channel import SegmentOrder
from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.trial import Trial

__all__ = ["AppOverrides", "HydraApp", "JobDirs"]

_JOB_DIR = "job_dir.txt"


@final
@dataclass(frozen=True, slots=True)
class JobDirs:
    """The directories of the trials: one per trial, the same in all of its segments.

    Attributes:
        sweep_dir: absolute path of the sweep's directory.
        has_own_subdir: whether the app's configuration names the trials' directories (`hydra.sweep.subdir`).
        output_subdir: the value of `hydra.output_subdir`, where Hydra writes a job's configuration; None = not written.
        job_name: the value of `hydra.job.name`.
    """

    sweep_dir: str
    has_own_subdir: bool
    output_subdir: str | None
    job_name: str

    def overrides(self, segment: ActiveSegment) -> list[str]:
        """Returns Hydra's own overrides for a rank of a segment."""
        order = segment.order
        if order.probe_batches is not None:
            run_dir = str(Path(order.trial_dir) / "job")
        else:
            run_dir = f"{self.sweep_dir}/{self.name(order) or '${hydra.sweep.subdir}'}"
        given = {
            "hydra.mode": "RUN",
            "hydra.run.dir": quoted(run_dir),
            "hydra.sweep.dir": quoted(self.sweep_dir),
            "hydra.job.num": str(order.trial_id),
            "hydra.job.id": str(order.trial_id),
            "hydra.output_subdir": self.config_subdir(order) if segment.rank == 0 else "null",
            "++hydra.callbacks.hwtune._target_": TARGET,
        }
        if segment.rank:
            given["hydra.job.name"] = quoted(f"{self.job_name}_rank_{segment.rank}")
        return [f"{key}={value}" for key, value in given.items()]

    def config_subdir(self, order: SegmentOrder) -> str:
        """Returns the value of `hydra.output_subdir`: each segment's configuration is written to its own folder."""
        if self.output_subdir is None:
            return "null"
        return quoted(self.output_subdir if order.segment == 1 else f"{self.output_subdir}/segment_{order.segment:02d}")

    def name(self, order: SegmentOrder) -> str | None:
        """Returns the trial's directory relative to the sweep's; None until the app's configuration has named it."""
        if not self.has_own_subdir:
            return f"trial_{order.trial_id:03d}"
        note = self.note(order)
        return note.read_text(encoding="utf-8") if note.exists() else None

    @staticmethod
    def note(order: SegmentOrder) -> Path:
        """Returns the file that stores the name that the app's configuration gave to a trial's directory."""
        return Path(order.trial_dir) / _JOB_DIR


@final
@dataclass(frozen=True, slots=True)
class AppOverrides:
    """Expresses a segment as overrides of the app.

    Attributes:
        search: the search that the configuration comes from.
        ckpt_path_key: the app's key for the path of a checkpoint. None: the checkpoint is restored without the app's
            help.
        devices_key: the app's key for the number of devices, which an allocation policy may choose.
        seed_key: the app's key for its seed, which a replicate changes; None if it has none, or if it is searched.
    """

    search: Search
    ckpt_path_key: str | None = None
    devices_key: str = "trainer.devices"
    seed_key: str | None = None

    def alone(self, config: Mapping[str, Any], num_devices: int) -> list[str]:
        """Returns the overrides for a training of a configuration from scratch."""
        overrides = self.search.overrides(config)
        if num_devices > 1 and self.devices_key not in self.search.parameters:
            overrides.append(f"++{self.devices_key}={num_devices}")
        return overrides

    def of(self, order: SegmentOrder) -> list[str]:
        """Return the overrides for a segment."""
        overrides = self.alone(order.config, order.num_devices)
        if self.ckpt_path_key is not None and order.checkpoint is not None:
            overrides.append(f"++{self.ckpt_path_key}={quoted(order.checkpoint)}")
        if self.seed_key is not None and order.is_replicate:
            overrides.append(f"++{self.seed_key}={order.seed}")
        return overrides


@final
@dataclass(frozen=True, slots=True)
class HydraApp:
    """A training function that starts the app.

    Attributes:
        command: how to start the app.
        hydra: overrides of Hydra's own node that the user gave.
        overrides: the overrides of a segment.
        dirs: the directories in which the app works.
        ending: how to interpret the end of the app.
        batch_size_key: the app's key for the batch size of one device's loader. None: the app divides its batch size
            itself, or each device gets all of it.
    """

    command: Command
    hydra: tuple[str, ...]
    overrides: AppOverrides
    dirs: JobDirs
    ending: Ending
    batch_size_key: str | None = None

    def alone(self, trial: TrialRecord, folder: Path) -> list[str]:
        """Returns the arguments of `python` that train a trial without the study, from scratch to the end.

        A batch size that the devices share is divided only if the configuration of the trial has it.
        """
        overrides = self.overrides.alone(trial.config, trial.num_devices)
        key = self.batch_size_key
        if key is not None and trial.num_devices > 1 and key in trial.config:
            overrides.append(f"++{key}={batch_share(key, trial.config[key], trial.num_devices)}")
        start = ["-m", self.command.target] if self.command.is_module else [self.command.target]
        return [*start, *self.command.flags, *overrides]

    def __call__(self, trial: Trial) -> None:
        """Runs one segment of the trial."""
        segment = segment_of_app()
        takes_note = self.dirs.has_own_subdir and segment.rank == 0 and segment.order.probe_batches is None
        batch_size = BatchSize.of(self.batch_size_key, segment)
        returned = expect(self.dirs.note(segment.order) if takes_note else None, batch_size)
        segment.folders = (Path(self.dirs.sweep_dir),)
        segment.resumes_by_argument = self.overrides.ckpt_path_key is not None
        overrides = [*self.hydra, *self.overrides.of(segment.order), *self.dirs.overrides(segment)]
        self.ending.guard(trial, segment, returned, lambda: self._start(overrides))

    def _start(self, overrides: list[str]) -> None:
        try:
            self.command(overrides)
        except RefusedJob as refused:
            raise refused.error from None
