"""Loops that report by hand get their random streams back, on each rank, and never another trial's state."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from rank_bench import Bench, Said, ScriptedChannel, differences, reported

from lightning_hwtune.core.record import Outcome
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.training.channel import Note, Report, Saved
from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.resume.by_hand import load_by_hand
from lightning_hwtune.training.trial import Trial

HORIZON = 4


def _draws() -> float:
    return float(torch.rand(1)) + float(np.random.rand()) + random.random()  # noqa: NPY002


def draw(trial: Trial, *, rng: bool = True) -> None:
    """Adds random numbers up."""
    epoch, total = trial.load(rng=rng) or (0, 0.0)
    for number in range(epoch + 1, HORIZON + 1):
        total += _draws()
        verdict = trial.report(number, loss=total)
        trial.save((number, total))
        if verdict.kind != "continue":
            return


def shuffle(trial: Trial) -> None:
    """A plain loop with a shuffled loader, and dropout."""
    rows = torch.randn(32, 5, generator=torch.Generator().manual_seed(0))
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    loader = torch.utils.data.DataLoader(rows, 8, shuffle=True)
    saved = trial.load()
    if saved is not None:
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
    for epoch in range(1 if saved is None else saved["epoch"] + 1, HORIZON + 1):
        for batch in loader:
            loss = torch.nn.functional.mse_loss(net(batch[:, :4]).squeeze(-1), batch[:, 4])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if trial.report(epoch, loss=float(loss)).kind != "continue":
            trial.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch})
            return


def draw_with_fabric(trial: Trial) -> None:
    """Each rank draws from its own stream, and only rank 0 saves."""
    fabric = Fabric(accelerator="cpu", devices=trial.num_devices, strategy="ddp")
    fabric.launch()
    saved = trial.load()
    if saved is None:
        torch.manual_seed(trial.seed + fabric.global_rank)
    epoch, total = saved or (0, torch.zeros(1))
    for number in range(epoch + 1, HORIZON + 1):
        total = total + fabric.all_reduce(torch.rand(1) * (fabric.global_rank + 1))
        if trial.report(number, loss=float(total)).kind != "continue":
            if fabric.is_global_zero:
                trial.save((number, total))
            return


def shuffle_with_fabric(trial: Trial) -> None:
    """Each rank reads its own part of a shuffled loader, whose passes Fabric counts."""
    fabric = Fabric(accelerator="cpu", devices=trial.num_devices, strategy="ddp")
    fabric.launch()
    loader = fabric.setup_dataloaders(torch.utils.data.DataLoader(torch.arange(32.0), 4, shuffle=True))
    epoch, total = trial.load() or (0, torch.zeros(1))
    for number in range(epoch + 1, HORIZON + 1):
        for i, batch in enumerate(loader):
            total = total + fabric.all_reduce(batch.mean() * (i + 1))
        if trial.report(number, loss=float(total)).kind != "continue":
            trial.save((number, total))
            return


def set_up_after_load(trial: Trial) -> None:
    """Sets its loaders up after `load`: one for all epochs in a helper, another one in each epoch."""
    fabric = Fabric(accelerator="cpu", devices=trial.num_devices, strategy="ddp")
    fabric.launch()
    epoch, total = trial.load() or (0, torch.zeros(1))

    def set_up() -> Any:
        return fabric.setup_dataloaders(torch.utils.data.DataLoader(torch.arange(32.0), 4, shuffle=True))

    loader = set_up()
    for number in range(epoch + 1, HORIZON + 1):
        renewed = set_up()
        for one, other in zip(loader, renewed, strict=True):
            total = total * 1.1 + fabric.all_reduce(one[0] + 100 * other[0])
        if trial.report(number, loss=float(total)).kind != "continue":
            trial.save((number, total))
            return


def _compare(bench: Bench, train: Callable[..., None], **changes: Any) -> list[str]:
    """Returns the differences between a whole loop and one that pauses after each epoch."""
    run = bench.inline if bench.order.num_devices == 1 else bench.segment
    whole = run(train, {HORIZON: "stop"}, **changes)
    return differences(_values([whole]), _values(bench.pausing(train, HORIZON, **changes)))


def _values(segments: list[Said]) -> list[tuple[int, dict[str, float]]]:
    values = reported(segments)
    assert [resource for resource, _ in values] == list(range(1, HORIZON + 1)), [said.ended for said in segments]
    return values


@pytest.fixture(autouse=True)
def _judged_by_loss(bench: Bench) -> None:
    bench.order = replace(bench.order, metrics=("loss",))


@pytest.mark.parametrize("train", [draw, shuffle])
def test_a_loop_continues_its_random_streams(bench: Bench, train: Callable[[Trial], None]) -> None:
    assert _compare(bench, train) == []


def test_without_rng_a_loop_begins_its_streams_anew(bench: Bench) -> None:
    assert _compare(bench, lambda trial: draw(trial, rng=False)) != []


@pytest.mark.parametrize("train", [draw_with_fabric, shuffle_with_fabric, set_up_after_load])
def test_each_rank_of_a_loop_with_fabric_continues_its_own_stream(bench: Bench, train: Callable[[Trial], None]) -> None:
    bench.order = replace(bench.order, num_devices=2)
    assert _compare(bench, train) == []


def draw_again(trial: Trial) -> None:
    """Counts epochs from the segment's number, but never loads its state."""
    for number in range(trial.segment, HORIZON + 1):
        with contextlib.suppress(ArgumentError):
            if trial.report(number, loss=0.5).kind != "continue":
                trial.save(number)
                return


def test_a_loop_that_never_loads_its_state_is_refused_when_it_resumes(bench: Bench) -> None:
    first = bench.inline(draw_again, {1: "pause"})
    resume = bench.resume(first, 2)
    second = bench.inline(draw_again, {2: "pause"}, **resume)
    assert second.of(Report) == []
    assert second.ended[0].outcome == "error"
    assert "without trial.load() in a segment that resumes at 1 epoch" in second.ended[0].error
    assert "call `state = trial.load()`" in second.ended[0].error

    def read(trial: Trial) -> None:
        if trial.ckpt_path is not None:
            assert torch.load(trial.ckpt_path, weights_only=False) == 1
        draw_again(trial)

    assert [report.resource for report in bench.inline(read, {2: "pause"}, **resume).of(Report)] == [2]


def _save_first(trial: Trial, *, from_epoch: int) -> None:
    epoch, total = trial.load() or (0, 0.0)
    for number in range(epoch + 1, HORIZON + 1):
        total += _draws()
        if number >= from_epoch:
            trial.save((number, total))
        if trial.report(number, loss=total).kind != "continue":
            return


def test_a_state_that_is_saved_before_the_first_report_is_refused(bench: Bench) -> None:
    said = bench.segment(lambda trial: _save_first(trial, from_epoch=1), {1: "pause"}, num_devices=2)
    assert len(said.ended) == 2
    assert said.of(Saved) == said.of(Report) == []
    for ended in said.ended:
        assert "`trial.save(...)` is 'called before trial.report(...)'" in ended.error
        assert "call `verdict = trial.report(...)` first" in ended.error


def test_a_refused_save_does_not_hide_the_error_before_it(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        try:
            raise MemoryError("too much")
        finally:
            trial.save(None)

    ended = bench.inline(train, {}).ended[0]
    assert ended.outcome == Outcome.OUT_OF_MEMORY
    assert "too much" in ended.error


def test_a_state_that_is_saved_before_a_later_report_gets_a_note(bench: Bench) -> None:
    for train in (draw, shuffle, lambda trial: _save_first(trial, from_epoch=3)):
        notes = [note.text for note in bench.inline(train, {HORIZON: "stop"}).of(Note)]
        found = [text for text in notes if text.startswith("trial.save was called before trial.report(3)")]
        assert len(found) == (train not in (draw, shuffle)), notes


def test_a_training_without_an_epoch_left_may_save_again(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        draw(trial)
        trial.save((HORIZON, 0.0))

    first = bench.inline(train, {HORIZON: "stop"})
    second = bench.inline(train, {}, **bench.resume(first, 2))
    assert [ended.outcome for ended in second.ended] == ["done"]
    assert second.saved.resource == HORIZON


def test_the_first_rank_may_load_for_all(bench: Bench) -> None:
    bench.order = replace(bench.order, num_devices=2)

    def train(trial: Trial) -> None:
        fabric = Fabric(accelerator="cpu", devices=trial.num_devices, strategy="ddp")
        fabric.launch()
        saved = fabric.broadcast(trial.load() if fabric.is_global_zero else None)
        for number in range((saved or 0) + 1, HORIZON + 1):
            if trial.report(number, loss=0.5).kind != "continue":
                trial.save(number)
                return

    first = bench.segment(train, {1: "pause"})
    second = bench.segment(train, {2: "pause"}, **bench.resume(first, 2))
    assert {report.resource for report in second.of(Report)} == {2}, second.ended


@pytest.mark.parametrize("saved", [None, 0.5, {"a": torch.ones(2)}, (1, [2.0])])
def test_a_file_has_exactly_what_the_loop_saved(bench: Bench, saved: Any) -> None:
    def train(trial: Trial) -> None:
        trial.report(1, loss=0.5)
        trial.save(saved)

    said = bench.inline(train, {1: "pause"})
    for options in ({"weights_only": True}, {"weights_only": False}, {"mmap": True}):
        assert differences(torch.load(said.saved.path, **options), saved) == []


def test_more_ranks_than_before_take_the_streams_of_the_first(bench: Bench) -> None:
    first = bench.inline(draw, {1: "pause"})
    streams = []
    for rank in (0, 1):
        segment = ActiveSegment(bench.order, ScriptedChannel({}), rank)
        streams.append(load_by_hand(segment, first.saved.path)[1])
    assert streams[0] is not None
    assert differences(*streams) == []


def test_another_trials_state_is_refused_and_that_of_0_1_0_taken(bench: Bench, tmp_path: Path) -> None:
    other = bench.inline(draw, {1: "pause"}, trial_id=3)
    said = bench.inline(draw, {2: "pause"}, **bench.resume(other, 2))
    assert "CheckpointError" in said.ended[0].error
    assert "belongs to trial 3 of study 'study', but this segment trains trial 17" in said.ended[0].error
    assert other.saved.path in said.ended[0].error
    torch.save((1, 2.0), tmp_path / "old.ckpt")
    said = bench.inline(draw, {2: "pause"}, checkpoint=str(tmp_path / "old.ckpt"), resource=1, segment=2)
    assert [report.resource for report in said.of(Report)] == [2]


def _report_alone(trial: Trial) -> None:
    trial.report(1, loss=0.5)


def _report_from_fabric_of_one(trial: Trial) -> None:
    fabric = Fabric(accelerator="cpu")
    fabric.launch()
    trial.report(1, loss=0.5)


@pytest.mark.parametrize("train", [_report_alone, _report_from_fabric_of_one])
def test_a_report_of_ranks_that_do_not_know_each_other_is_refused(bench: Bench, train: Callable[[Trial], None]) -> None:
    said = bench.segment(train, {1: "pause"}, num_devices=2)
    assert said.of(Report) == []
    for ended in said.ended:
        assert "a process group of 1" in ended.error
        assert "a process group of 2, the number of devices of this segment" in ended.error
        assert "Fabric(devices=trial.num_devices)" in ended.error
