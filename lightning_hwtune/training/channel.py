"""The messages between the ranks of a segment and the engine: plain data in both directions.

Rank 0 sends `Report` and waits for a `VerdictMessage`. It sends `Saved` when a checkpoint is complete. Every rank sends
`Started`, `Beat` and one last `Ended`. A training process depends on this module only, not on the reader of the
messages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.core.record import Outcome, Unit
from lightning_hwtune.core.report_places import ReportPlaces
from lightning_hwtune.text import storable, without_colors

__all__ = [
    "LOOPBACK",
    "Beat",
    "Channel",
    "Ended",
    "Imported",
    "Message",
    "NodePart",
    "Note",
    "Probe",
    "RankPlace",
    "RankTask",
    "Report",
    "Saved",
    "SegmentOrder",
    "Started",
    "VerdictMessage",
    "storable_message",
]


LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class NodePart:
    """The devices of a segment on one node: the node's name, and the numbers of the devices there."""

    node: str
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SegmentOrder:
    """Everything that a rank needs to train one segment.

    Attributes:
        study: the study's name.
        trial_id: the trial's number.
        segment: the number of the segment in its trial, counted from 1.
        config: the value of each parameter, as a plain Python value.
        seed: for `seed_everything(seed, workers=True)` on all ranks before user code.
        num_devices: the number of devices.
        slots: the numbers of the devices in the pool.
        accelerator: "cpu" or "gpu", as for Lightning's Trainer.
        threads_per_device: torch threads of one rank.
        trial_dir: absolute path of the trial's folder, which exists.
        resource: cumulative resource of `checkpoint`; 0 from scratch.
        checkpoint: absolute path to resume from, or None. The engine has verified its digest.
        unit: the unit of the resource.
        max_resource: the full horizon in that unit.
        levels: resources at which a verdict may be other than Continue (a rung must fall on a validated epoch).
        metrics: names that every report must contain.
        across_ranks: how the values of several ranks are combined, see `Metric`; "mean" for names that are not in it.
        batch: "global" or "per_device": what the study's batch sizes mean.
        save_every: also save a checkpoint every this many epochs; None means only at pauses and at the end.
        env: environment variables to set before user code (device mask, logger run ids).
        probe_batches: for a check: train and validate only this many batches, and add a `Probe` to the report. None
            means a real training.
        study_id: the id of the study, which does not change when the study is renamed; "" if it has none.
        config_digest: digest of the configuration without the segment's actual devices; "" means that of `config`.
        only_marked_fits: only a fit whose Trainer has the callback is the trial's; see `training.trial_fit`.
        absent: parameters of the space that the configuration does not have -> why, in words.
        measured: names of the quantities that every rank measures itself and adds to the metrics; see `quantities`.
        per_device: how many segments share the device; each may use its part of the memory of a GPU.
        weights: absolute path of the checkpoint whose weights a refit begins with; None for any other trial.
        is_test: whether the segment tests `checkpoint` and does not train.
        trainer: arguments of the Trainer that the search space decides, such as `strategy`.
        is_replicate: whether the trial repeats another one with its own seed, which replaces that of an app.
        max_per_device_batch: the most samples per device and batch, since the trial ran out of memory with more; the
            rest of the global batch is accumulated. None for no limit.
        nodes: the nodes that train the segment, each with the same number of devices; empty: the host of the study.
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
    unit: Unit
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
    absent: Mapping[str, str] = field(default_factory=dict)
    measured: tuple[str, ...] = ()
    is_replicate: bool = False
    weights: str | None = None
    is_test: bool = False
    trainer: Mapping[str, Any] = field(default_factory=dict)
    per_device: int = 1
    nodes: tuple[NodePart, ...] = ()
    max_per_device_batch: int | None = None

    @property
    def num_nodes(self) -> int:
        """The number of nodes."""
        return max(len(self.nodes), 1)

    @property
    def local_devices(self) -> int:
        """The number of devices, and of ranks, on each node."""
        return self.num_devices // self.num_nodes

    def local_slots(self, node_rank: int = 0) -> tuple[int, ...]:
        """Returns the numbers of the devices on one of the nodes, as that node counts them."""
        return self.nodes[node_rank].slots if self.nodes else self.slots


@dataclass(frozen=True, slots=True)
class RankPlace:
    """Where a rank is in its group, and where the group meets. All nodes have the same number of ranks.

    Attributes:
        rank: its number in the group.
        world_size: the number of ranks. num_nodes: the number of nodes that they are on.
        address, port: of the group's store; port 0 for a group of one.
    """

    rank: int
    world_size: int
    num_nodes: int = 1
    address: str = LOOPBACK
    port: int = 0

    @property
    def local_world_size(self) -> int:
        """The number of ranks on its node."""
        return self.world_size // self.num_nodes

    @property
    def local_rank(self) -> int:
        """Its number on its node."""
        return self.rank % self.local_world_size

    @property
    def node_rank(self) -> int:
        """The number of its node in the group."""
        return self.rank // self.local_world_size


@dataclass(frozen=True, slots=True)
class RankTask:
    """The first message to a rank process: what to train, and the surroundings to take over from the controller.

    Attributes:
        order: the segment.
        place: where this rank is in the segment's group.
        payload: path of the cloudpickle file with the training function.
        sys_path: the controller's current import path.
        argv: the controller's current arguments.
        cwd: the controller's current folder; empty if it was deleted.
        environ: the controller's current environment.
        socket_dir: a folder with a short path for the sockets of the rank's child processes.
        finds_libraries: whether the rank finds out which libraries a fork server may import for later segments.
    """

    order: SegmentOrder
    place: RankPlace
    payload: str
    sys_path: tuple[str, ...]
    argv: tuple[str, ...]
    cwd: str
    environ: Mapping[str, str]
    socket_dir: str
    finds_libraries: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """A rank is about to run user code. Rank 0 sends it again with the real `world_size` of the process group."""

    rank: int
    pid: int
    world_size: int = 0


@dataclass(frozen=True, slots=True)
class Imported:
    """Which installed modules the training has imported before its first report, if a fork server may import them.

    `libraries` has the seconds of each. A rank sends it only if its task has asked for it.
    """

    libraries: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat of a rank. `progress` increases with every batch, validation step and save.

    `has_trained` is True from the segment's first training batch or report on.
    """

    rank: int
    progress: int
    has_trained: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """The measurements that a check asks for.

    Attributes:
        logged: names of the values that the training logs.
        epoch_s: estimated seconds of a whole epoch; NaN if unknown.
        gpu_bytes: the largest amount of GPU memory that the training has reserved so far; 0 on the CPU.
        gpu_total_bytes: the memory of that GPU; 0 on the CPU.
        places: where a training in steps or samples reports; None for a loop that reports by hand.
        startup_s: seconds from the start of the process to the start of training; NaN if unknown.
        imports: the imported modules and the seconds of each, including the imports that it causes.
        libraries: those of the installed modules that a fork server may import in advance, and their seconds.
        batches_s: the seconds of each training batch with the wait for it, without the first of each epoch.
        batch_size: samples per batch on one rank; NaN if unknown.
        accumulate: how many batches make one optimiser step.
        monitors: each callback that follows the best value of a metric: its class and the metric.
    """

    logged: tuple[str, ...]
    epoch_s: float
    gpu_bytes: int = 0
    places: ReportPlaces | None = None
    startup_s: float = math.nan
    imports: Mapping[str, float] = field(default_factory=dict)
    libraries: Mapping[str, float] = field(default_factory=dict)
    batches_s: tuple[float, ...] = ()
    batch_size: float = math.nan
    accumulate: int = 1
    monitors: tuple[tuple[str, str], ...] = ()
    gpu_total_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """Metrics at a cumulative resource.

    Attributes:
        resource: the cumulative resource.
        metrics: the value of each objective.
        train_s: training seconds of this segment so far.
        probe: the measurements for a check. If it is set, objectives that were not logged may be missing in `metrics`.
        is_inside: whether the report comes from inside an epoch, where a trial can be stopped but not paused.
        logged: the other numbers that the training has logged.
    """

    resource: int
    metrics: Mapping[str, float]
    train_s: float
    probe: Probe | None = None
    is_inside: bool = False
    logged: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VerdictMessage:
    """The answer to a report.

    Attributes:
        standing: the trial's rank in the rung, counted from 1, and the number of ranked trials; None without ranking.
        save: whether a trial that continues must save a checkpoint now, because this report is its best so far.
    """

    kind: VerdictKind
    reason: str
    standing: tuple[int, int] | None = None
    save: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is complete.

    Attributes:
        path: the absolute path.
        digest: the BLAKE2b-256 of the file, in hexadecimal.
        n_bytes: the size of the file.
        resource: the cumulative resource of the checkpoint.
        train_s: training seconds of this segment up to the checkpoint.
        weights: a digest of the weights alone, in a check; otherwise empty.
        is_inside: whether it belongs to a report inside an epoch. No segment resumes from such a checkpoint.
        is_end: whether the training ended there by a rule of the user, such as early stopping.
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
    """A message for the user, for example that `min_epochs` has no effect.

    Attributes:
        text: the message.
        once_per: "segment", or "study" for a message that does not depend on the trial and is shown once per study.
        topic: study notes with the same topic count as the same note; by default the text is the topic.
        key: the key under which the training keeps `value`; empty for a message.
    """

    text: str
    once_per: str = "segment"
    topic: str = ""
    key: str = ""
    value: str | float | bool | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A rank's last message.

    Attributes:
        rank: the number of the rank.
        outcome: DONE, ERROR or OUT_OF_MEMORY, if the rank itself sends the message.
        error: the traceback; empty for DONE.
        resource: cumulative resource at the end.
        reached_end: whether user code returned without a verdict that ended it (for example by its EarlyStopping).
        global_batch: after OUT_OF_MEMORY, the batch that the training can divide further; 0 if it cannot.
        fixed_because: why it cannot, in words.
    """

    rank: int
    outcome: Outcome
    error: str
    resource: int
    reached_end: bool
    global_batch: int = 0
    fixed_because: str = ""


Message = Started | Imported | Beat | Report | Saved | Note | Ended
_Message = TypeVar("_Message", bound=Message)


def storable_message(message: _Message) -> _Message:
    """Returns the message with its text (of errors and notes) in a form that can be stored and printed anywhere."""
    if isinstance(message, Ended):
        return replace(message, error=storable(without_colors(message.error)))
    if isinstance(message, Note):
        return replace(message, text=storable(without_colors(message.text)))
    return message


class Channel(Protocol):
    """A rank's end of the channel. Only rank 0 calls `report`; every rank may call `send`, from any thread."""

    def report(self, report: Report) -> VerdictMessage:
        """Sends the report and returns the engine's answer; raises `ConnectionError` if the engine is gone."""

    def send(self, message: Message) -> None:
        """Sends a message that needs no answer."""
