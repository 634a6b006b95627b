"""The engine's end of the channel, small: starts real rank processes, answers from a script, keeps what they said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle
import torch

from lightning_hwtune.engine.fork_server import fork_server
from lightning_hwtune.engine.rank_group import Group
from lightning_hwtune.engine.rank_process import Rank
from lightning_hwtune.training.channel import Ended, Message, Report, Saved, SegmentOrder, VerdictMessage
from lightning_hwtune.training.process.rank_main import run_segment
from lightning_hwtune.training.trial import Trial

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
    """Trains segments of one trial, here or in separate rank processes."""

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

    def pausing(self, train: Train, horizon: int, **changes: Any) -> list[Said]:
        """Trains a segment per epoch up to the horizon; each but the last one pauses, and the next one resumes."""
        run = self.inline if self.order.num_devices == 1 else self.segment
        found: list[Said] = []
        for epoch in range(1, horizon + 1):
            resume = self.resume(found[-1], epoch) if found else {}
            found.append(run(train, {epoch: "pause" if epoch < horizon else "stop"}, **changes, **resume))
        return found

    def resume(self, said: Said, segment: int) -> dict[str, Any]:
        """Returns the changes that make the next segment resume from what the last one saved."""
        return {"checkpoint": said.saved.path, "resource": said.saved.resource, "segment": segment}


def _run_group(order: SegmentOrder, script: Script, payload: Path) -> Said:
    server = fork_server()
    server.require(["lightning_hwtune.training.process.preload"])
    while not server.is_ready:
        wait(server.waitable, 1.0)
        server.poll()
    group = Group(order)
    group.start(server, payload)
    said = _answer(group.ranks, script)
    deadline = time.monotonic() + 10
    while not group.is_over:
        wait([rank.status for rank in group.ranks if not rank.is_gone], 0.1)
        for rank in group.ranks:
            rank.look()
        if time.monotonic() > deadline:
            group.kill()
    for rank in group.ranks:
        rank.close()
    return said


def _answer(ranks: list[Rank], script: Script) -> Said:
    said = Said()
    while True:
        handles = [rank.status for rank in ranks if not rank.is_gone]
        handles += [rank.channel for rank in ranks if rank.is_open]
        if not handles:
            return said
        wait(handles)
        for rank in ranks:
            rank.look()
            for message in rank.messages():
                said.append(message)
                if isinstance(message, Report) and script.get(message.resource) == "hang up":
                    rank.channel.close()
                    rank.is_open = False
                    break
                if isinstance(message, Report):
                    rank.answer(VerdictMessage(script.get(message.resource, "continue"), "as the script says"))


def reported(segments: Iterable[Said]) -> list[tuple[int, dict[str, float]]]:
    """Returns the resource and the metrics of each report."""
    return [(report.resource, dict(report.metrics)) for said in segments for report in said.of(Report)]


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Returns the places where two nested values are not the same bits; measured times never are."""
    if path.endswith("lightning_hwtune/clock"):
        return []
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [path]
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        odd = [f"{path}/{key}" for key in a.keys() ^ b.keys()]
        return odd + [d for key in a.keys() & b.keys() for d in differences(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{path}/{i}")]
    return [] if a == b else [path]
