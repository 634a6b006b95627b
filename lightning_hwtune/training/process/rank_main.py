"""The code that one rank of one segment executes, from its first instruction to its last message.

`run_rank` is the entry point of a new process. `run_segment` is the part that also works in the caller's process.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lightning_hwtune.core.record import Outcome
from lightning_hwtune.host.forks import quieten_forks
from lightning_hwtune.host.periodic_thread import repeated
from lightning_hwtune.host.process_family import adopt_orphans, die_with_parent
from lightning_hwtune.training.channel import Beat, Channel, Ended, Note, RankPlace, RankTask, SegmentOrder, Started
from lightning_hwtune.training.context import current_segment, segment_context
from lightning_hwtune.training.import_times import measured, user_code_begins
from lightning_hwtune.training.lightning_classes import adapt_classes
from lightning_hwtune.training.loggers.trackers import tracker_runs
from lightning_hwtune.training.process.connection import PipeChannel
from lightning_hwtune.training.process.fork_server import INHERITED
from lightning_hwtune.training.process.log_output import LogOutput, flush_output
from lightning_hwtune.training.process.rendezvous import (
    adopt_environment,
    host_store,
    rank_environment,
    scrub_environment,
)
from lightning_hwtune.training.process.script_names import load_with_script_names
from lightning_hwtune.training.segment_end import is_sigterm, log_path, run_to_end
from lightning_hwtune.training.trial import Trial
from lightning_hwtune.training.trial_fit import calls_fit

__all__ = ["become_independent", "memory_share", "own_threads", "run_rank", "run_segment"]

_BEAT_S = 1.0

_MARGIN = 0.1  # of a GPU's memory, for the contexts of its processes


def run_rank(channel: PipeChannel, listener: int | None) -> None:
    """Trains one rank of a segment in this process, which must be independent and new, and cannot be used again.

    Args:
        channel: the channel to the engine; the first message on it is the `RankTask`, the last one is `Ended`.
        listener: for rank 0 of several ranks, the descriptor of the socket on which it hosts the group's store.

    SIGTERM ends the process by the same signal, even if Lightning has caught it. No last message is sent then.
    """
    task: RankTask = channel.receive()
    order, rank = task.order, task.place.rank
    try:
        _adopt_place(task)
        output = LogOutput(log_path(order, rank), Path(order.trial_dir))
        if known := output.problem(rank):
            channel.send(Note(known))
        examines = order.probe_batches is not None or task.finds_libraries
        with _beating(channel, rank), measured(libraries=examines):
            train = _prepare(task, listener)
            ended = run_segment(train, order, channel, rank)
        flush_output()
        if (problem := output.problem(rank)) and not known:
            channel.send(Note(problem))
    except BaseException as error:  # a last message is needed after an exit, too
        if is_sigterm(error):
            flush_output()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        text = traceback.format_exc()
        if isinstance(error, KeyboardInterrupt):  # Ctrl-C does not reach a rank
            text = f"{text.rstrip()}{_NOT_A_SIGNAL}\n"
        ended = Ended(rank, Outcome.ERROR, text, order.resource, reached_end=False)
    flush_output()
    channel.send(ended)


_NOT_A_SIGNAL = " (raised by the training code, not by Ctrl-C; to end a training early, set trainer.should_stop = True)"


def run_segment(train: Callable[[Trial], Any], order: SegmentOrder, channel: Channel, rank: int = 0) -> Ended:
    """Trains a segment with `train` in this process and returns the rank's last message, which the caller sends.

    Seeds the global generators first. The rules for the end are in `segment_end`.

    Raises:
        KeyboardInterrupt, SystemExit: a signal arrived during the segment.
    """
    from lightning.pytorch import seed_everything

    adapt_classes("lightning.pytorch")
    with _environment(order), own_threads(order), segment_context(order, channel, rank) as segment:
        segment.only_marked_fits = order.only_marked_fits or calls_fit(train)
        seed_everything(order.seed, workers=True, verbose=False)
        channel.send(Started(rank, os.getpid()))

        def train_in_runs() -> None:
            with tracker_runs(order, rank):
                user_code_begins()
                train(Trial(segment))

        ended = run_to_end(segment, train_in_runs)
    if ended.error:
        with contextlib.suppress(OSError):  # the cause of the error may be the disk
            print(ended.error, file=sys.stderr)  # noqa: T201 - the trial's log shows it too
    return ended


# ---------------------------------------------------------------------- set-up of a rank process


def become_independent(server: int) -> None:
    """Leaves the server's session, but ends with the server, and adopts the orphans among its own descendants.

    Args:
        server: process id of the parent.
    """
    gc.freeze()  # objects from the server are never garbage, and examining them would copy their memory pages
    gc.enable()
    with contextlib.suppress(PermissionError):  # this process already leads a session
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(server)
    adopt_orphans()
    quieten_forks()


def _adopt_place(task: RankTask) -> None:
    """Takes over the controller's current import path, arguments, folder and environment."""
    sys.path[:], sys.argv[:] = task.sys_path, task.argv
    os.chdir(task.cwd or task.order.trial_dir)
    adopt_environment(os.environ, INHERITED, task.environ)
    # a short path for the sockets of loader workers, whatever TMPDIR is
    vars(multiprocessing.current_process())["_config"]["tempdir"] = task.socket_dir


def _beating(channel: Channel, rank: int) -> contextlib.AbstractContextManager[None]:
    """Sends a heartbeat every second from a separate thread; ends this process's group if the engine is gone."""

    def beat() -> None:
        segment = current_segment()
        try:
            channel.send(Beat(rank, segment.progress, segment.has_trained) if segment is not None else Beat(rank, 0))
        except OSError:  # the engine is gone; the fork server may end later
            os.killpg(os.getpgrp(), signal.SIGKILL)

    return repeated(beat, _BEAT_S, "hwtune-beat")


def _prepare(task: RankTask, listener: int | None) -> Callable[[Trial], Any]:
    """Sets up this process as one rank; returns the training function."""
    order, place = task.order, task.place
    scrub_environment(os.environ)
    os.environ.update(order.env)  # before torch reads the device mask
    from lightning_utilities.core.rank_zero import rank_zero_only

    os.environ.update(rank_environment(place, _run_id(order)))
    if listener is not None:
        host_store(listener, place.port, place.address)
    # the server imported Lightning, which set the server's rank here
    rank_zero_only.rank = place.rank  # type: ignore[attr-defined]
    user_code_begins()
    with open(task.payload, "rb") as file:
        train: Callable[[Trial], Any] = load_with_script_names(file)
    return train


def _run_id(order: SegmentOrder) -> str:
    return f"{order.study}-{order.trial_id}-{order.segment}"


# ---------------------------------------------------------------------- around user code


def memory_share(order: SegmentOrder) -> float:
    """Returns the part of a GPU's memory that a segment may use: all of it, or its share less a margin."""
    return 1.0 if order.per_device == 1 else (1.0 - _MARGIN) / order.per_device


def _cap_gpu_memory(order: SegmentOrder, part: float) -> None:
    """Limits the memory of a segment that shares its GPU, so that it cannot take that of its neighbours."""
    if order.accelerator == "gpu" and order.per_device > 1:
        import torch

        for device in range(order.local_devices):
            torch.cuda.set_per_process_memory_fraction(part, device)


@contextlib.contextmanager
def own_threads(order: SegmentOrder) -> Iterator[None]:
    """Makes torch use the pool's number of threads per device inside the block, so that times are comparable."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(order.threads_per_device)
    _cap_gpu_memory(order, memory_share(order))
    try:
        yield
    finally:
        _cap_gpu_memory(order, 1.0)
        torch.set_num_threads(before)


@contextlib.contextmanager
def _environment(order: SegmentOrder) -> Iterator[None]:
    """Sets the order's environment variables; restores them and those of the seeding afterwards."""
    alone = rank_environment(RankPlace(0, 1), _run_id(order)) if order.num_devices == 1 else {}
    names = {*order.env, *alone, "PL_GLOBAL_SEED", "PL_SEED_WORKERS"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update({**alone, **order.env})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
