"""The messages between the ranks of a segment and the engine that drives them: plain data, both ends.

Rank 0 sends `Report` and waits for a `VerdictMessage`; it sends `Saved` when a checkpoint is complete. Every rank sends
`Started`, `Beat` and one last `Ended`. A training process knows this module, not who reads the messages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.report_places import ReportPlaces
from lightning_hwtune.text import storable

__all__ = [
    "Beat",
    "Channel",
    "Ended",
    "Message",
    "Note",
    "Probe",
    "RankTask",
    "Report",
    "Saved",
    "SegmentOrder",
    "Started",
    "VerdictMessage",
    "storable_message",
]


@dataclass(frozen=True, slots=True)
class SegmentOrder:
    """Everything a rank needs to train one segment.

    Attributes:
        study, trial_id, segment: who it is; segments count from 1.
        config: parameter name -> plain Python value.
        seed: for `seed_everything(seed, workers=True)` on all ranks before user code.
        num_devices, slots: how many devices, and their numbers in the pool.
        accelerator: "cpu" or "gpu", as Lightning's Trainer takes it.
        threads_per_device: torch threads of one rank.
        trial_dir: absolute path of the trial's folder; exists.
        resource: cumulative resource of `checkpoint`; 0 from scratch.
        checkpoint: absolute path to resume from, or None. The engine has verified its digest.
        unit: "epochs", "steps" or "samples". max_resource: the full horizon in that unit.
        levels: resources at which a verdict may be other than Continue (a rung must fall on a validated epoch).
        metrics: names that every report must hold.
        across_ranks: how the values of several ranks become one, see `Metric`; "mean" where it is silent.
        batch: "global" or "per_device": what the study's batch sizes mean.
        save_every: also save at every so many epochs; None = only at pauses and at the end.
        env: environment variables to set before user code (device mask, logger run ids).
        probe_batches: train and validate only so many batches and add a `Probe` to the report; None = really train.
        study_id: the study's, which stays when it is renamed; "" = it has none.
        config_digest: of the configuration without the devices that this segment was given; "" = of `config`.
        only_marked_fits: a fit is the trial's only where its Trainer was given the callback; see `training.trial_fit`.
    """

    study: str
    trial_id: int
    segment: int
    config: Mapping[str, Any]
    seed: int
    num_devices: int
    slots: tuple[int, ...]
    accelerator: str
    threads_per_device: int
    trial_dir: str
    resource: int
    checkpoint: str | None
    unit: str
    max_resource: int
    levels: tuple[int, ...]
    metrics: tuple[str, ...]
    batch: str = "global"
    save_every: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    probe_batches: int | None = None
    across_ranks: Mapping[str, str] = field(default_factory=dict)
    study_id: str = ""
    config_digest: str = ""
    only_marked_fits: bool = False


@dataclass(frozen=True, slots=True)
class RankTask:
    """The first message to a rank process: what it trains, and the place of the controller that it takes over.

    Attributes:
        order, rank: the segment, and which of its ranks this is.
        port: of the group's store on the loopback; 0 for a group of one.
        payload: a file of cloudpickle bytes: the training function.
        sys_path, argv, cwd, environ: of the controller, now; `cwd` is empty if it was deleted.
        socket_dir: folder with a short path for the sockets of what the rank starts.
    """

    order: SegmentOrder
    rank: int
    port: int
    payload: str
    sys_path: tuple[str, ...]
    argv: tuple[str, ...]
    cwd: str
    environ: Mapping[str, str]
    socket_dir: str


@dataclass(frozen=True, slots=True)
class Started:
    """A rank is about to run user code. `world_size` is sent again, real, by rank 0 once the process group stands."""

    rank: int
    pid: int
    world_size: int = 0


@dataclass(frozen=True, slots=True)
class Beat:
    """A rank lives. `progress` grows with every batch, validation step and save.

    `has_trained` is True from the segment's first training batch or report on.
    """

    rank: int
    progress: int
    has_trained: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """What a check wants to know.

    Attributes:
        logged: names of the values that the training logs.
        epoch_s: estimated seconds of a whole epoch; NaN if unknown.
        gpu_bytes: the most GPU memory that the training reserved so far; 0 on the CPU.
        places: where a training in steps or samples reports; None for a loop that reports by hand.
        startup_s: from the start of the process to the start of training; NaN if unknown.
        imports: modules that the process imported, and the seconds each took, those it caused included.
        libraries: installed ones among all that were imported, if a fork server may import them.
    """

    logged: tuple[str, ...]
    epoch_s: float
    gpu_bytes: int = 0
    places: ReportPlaces | None = None
    startup_s: float = math.nan
    imports: Mapping[str, float] = field(default_factory=dict)
    libraries: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """Metrics at a cumulative resource.

    Attributes:
        train_s: training seconds of this segment so far.
        probe: what a check asked for; with it, objectives that were not logged may be missing from `metrics`.
        is_inside: the report comes from inside an epoch, where a trial can stop but cannot pause.
    """

    resource: int
    metrics: Mapping[str, float]
    train_s: float
    probe: Probe | None = None
    is_inside: bool = False


@dataclass(frozen=True, slots=True)
class VerdictMessage:
    """The answer to a report: kind is "continue", "pause" or "stop".

    Attributes:
        standing: the rank in the rung, from 1, and among how many; None where no order was asked.
        save: a trial that continues is to save a checkpoint of this report, since its value is the best so far.
    """

    kind: str
    reason: str
    standing: tuple[int, int] | None = None
    save: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is complete: `path` absolute, `digest` BLAKE2b-256 in hex, `train_s` of this segment up to it.

    `weights` is a digest of the weights alone, in a check; empty elsewhere. `is_inside`: it is of a report inside an
    epoch, so no segment resumes from it. `is_end`: the training ended there by the user's own rule.
    """

    path: str
    digest: str
    n_bytes: int
    resource: int
    train_s: float
    weights: str = ""
    is_inside: bool = False
    is_end: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Something the user should read, e.g. that `min_epochs` was lifted.

    Attributes:
        once_per: "segment", or "study" for what does not depend on the trial: the study shows it once.
        topic: study notes of one topic are the same note, whatever their text; by default the text itself.
    """

    text: str
    once_per: str = "segment"
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """A rank's last word.

    Attributes:
        outcome: of a rank's own word DONE, ERROR or OUT_OF_MEMORY.
        error: the traceback; empty on DONE.
        resource: cumulative resource at the end.
        reached_end: user code returned without a verdict having ended it (e.g. its own EarlyStopping).
    """

    rank: int
    outcome: Outcome
    error: str
    resource: int
    reached_end: bool


Message = Started | Beat | Report | Saved | Note | Ended
_Message = TypeVar("_Message", bound=Message)


def storable_message(message: _Message) -> _Message:
    """Returns a message whose foreign text, errors and notes, can be stored and printed anywhere."""
    if isinstance(message, Ended):
        return replace(message, error=storable(message.error))
    if isinstance(message, Note):
        return replace(message, text=storable(message.text))
    return message


class Channel(Protocol):
    """A rank's end. Only rank 0 calls `report`; the other methods are for every rank. Safe from several threads."""

    def report(self, report: Report) -> VerdictMessage:
        """Sends the report and returns the engine's answer; raises `ConnectionError` if the engine is gone."""

    def send(self, message: Message) -> None:
        """Sends a message that needs no answer."""
