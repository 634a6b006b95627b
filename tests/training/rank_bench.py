"""The engine's end of the channel, small: starts real rank processes, answers from a script, keeps what they said."""

from __future__ import annotations

import multiprocessing
import os
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle
import torch

from lightning_hwtune.training.channel import Ended, Message, Report, Saved, SegmentOrder, VerdictMessage
from lightning_hwtune.training.connection import PipeChannel, PipeRendezvous
from lightning_hwtune.training.trial import Trial
from lightning_hwtune.training.worker import run_rank, run_segment

M = TypeVar("M")
Script = Mapping[int, str]
Train = Callable[[Trial], Any]


class Said(list[Message]):
    """What the ranks of a segment said, in order of arrival."""

    def of(self, kind: type[M]) -> list[M]:
        return [message for message in self if isinstance(message, kind)]

    @property
    def ended(self) -> list[Ended]:
        return sorted(self.of(Ended), key=lambda ended: ended.rank)

    @property
    def saved(self) -> Saved:
        assert self.of(Saved), self.ended
        return self.of(Saved)[-1]


@dataclass
class ScriptedChannel:
    """A channel inside this process: answers by resource, "continue" where the script is silent."""

    script: Script
    said: Said = field(default_factory=Said)

    def report(self, report: Report) -> VerdictMessage:
        self.said.append(report)
        return VerdictMessage(self.script.get(report.resource, "continue"), "as the script says")

    def send(self, message: Message) -> None:
        self.said.append(message)


@dataclass
class Bench:
    """Trains segments of one trial, here or in rank processes of their own."""

    order: SegmentOrder

    def segment(self, train: Train, script: Script, **changes: Any) -> Said:
        """Trains one segment in fresh processes, as the engine does; "hang up" in the script is an engine that dies."""
        order = replace(self.order, **changes)
        order = replace(order, slots=tuple(range(order.num_devices)))
        payload = Path(order.trial_dir) / "payload.pkl"
        payload.write_bytes(cloudpickle.dumps(train))
        return _run_group(order, script, payload)

    def inline(self, train: Train, script: Script, **changes: Any) -> Said:
        """Trains one segment of one rank in this process."""
        channel = ScriptedChannel(script)
        channel.send(run_segment(train, replace(self.order, **changes), channel))
        return channel.said

    def resume(self, said: Said, segment: int) -> dict[str, Any]:
        """Returns the changes that make the next segment go on from what the last one saved."""
        return {"checkpoint": said.saved.path, "resource": said.saved.resource, "segment": segment}


def _run_group(order: SegmentOrder, script: Script, payload: Path) -> Said:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning_hwtune.training.preload"])
    ports = [context.Pipe(duplex=False) for _ in range(order.num_devices - 1)]
    pipes, processes = [], []
    main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
    try:
        for rank in range(order.num_devices):
            ours, theirs = context.Pipe()
            port = PipeRendezvous(reader=ports[rank - 1][0]) if rank else PipeRendezvous([w for _, w in ports])
            args = (order, rank, PipeChannel(theirs), str(payload), dict(os.environ), port)
            processes.append(context.Process(target=run_rank, args=args))
            processes[-1].start()
            theirs.close()
            pipes.append(ours)
    finally:
        sys.modules["__main__"] = main
    for end in (end for pair in ports for end in pair):
        end.close()
    said = _answer(pipes, script)
    for process in processes:
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()
    return said


def _answer(pipes: list[Any], script: Script) -> Said:
    said, pipes = Said(), list(pipes)
    while pipes:
        for pipe in wait(pipes):
            try:
                message = pipe.recv()
            except EOFError:
                pipes.remove(pipe)
                continue
            said.append(message)
            if isinstance(message, Report) and script.get(message.resource) == "hang up":
                pipe.close()
                pipes.remove(pipe)
                break
            if isinstance(message, Report):
                pipe.send(VerdictMessage(script.get(message.resource, "continue"), "as the script says"))
    return said


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Returns the places where two nested values are not the same bits."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [path]
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        odd = [f"{path}/{key}" for key in a.keys() ^ b.keys()]
        return odd + [d for key in a.keys() & b.keys() for d in differences(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{path}/{i}")]
    return [] if a == b else [path]
