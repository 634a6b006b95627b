"""The suite for executors: the built-in ones pass, and executors that break one rule each are found."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from passing_executor import PassingExecutor

import lightning_hwtune as hwt
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.executor import RunSetup, abilities_of
from lightning_hwtune.engine.inline import InlineExecutor
from lightning_hwtune.engine.local import LocalExecutor
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError
from lightning_hwtune.testing import check_executor

SHORT_S = 1.5  # for executors that never end a segment


class Passing(PassingExecutor):
    """Says that it can do what the executor inside it can."""

    abilities: ClassVar[Any] = InlineExecutor.abilities


class Between:
    """A sink in front of another one."""

    def __init__(self, sink: Any) -> None:
        self.sink = sink

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sink, name)


@pytest.mark.training
@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", InlineExecutor, Passing, "local"], ids=str)
def test_a_right_executor_passes(executor: Any) -> None:
    check_executor(executor)


class Deaf(Passing):
    """Loses the order's configuration."""

    def start(self, order: Any) -> None:
        super().start(dataclasses.replace(order, config={**order.config, "x": 0.125}))


class Seedless(Passing):
    def start(self, order: Any) -> None:
        super().start(dataclasses.replace(order, seed=0))


class Twice(Passing):
    """Reports each end twice."""

    def wait(self, sink: Any, timeout_s: float) -> None:
        class Doubling(Between):
            def ended(self, *facts: Any) -> None:
                sink.ended(*facts)
                sink.ended(*facts)

        super().wait(Doubling(sink), timeout_s)


class Stubborn(Passing):
    """Lets a segment continue whatever the verdict is."""

    def wait(self, sink: Any, timeout_s: float) -> None:
        class Continuing(Between):
            def reported(self, *facts: Any) -> Any:
                return dataclasses.replace(sink.reported(*facts), kind="continue")

        super().wait(Continuing(sink), timeout_s)


class Late(Passing):
    """Reports checkpoints after the end."""

    def wait(self, sink: Any, timeout_s: float) -> None:
        kept: list[Any] = []

        class Keeping(Between):
            def saved(self, *facts: Any) -> None:
                kept.append(facts)

        super().wait(Keeping(sink), timeout_s)
        for facts in kept:
            sink.saved(*facts)


class Amnesic(Passing):
    """Starts each segment from scratch."""

    def start(self, order: Any) -> None:
        super().start(dataclasses.replace(order, checkpoint=None, resource=0))


class Soothing(Passing):
    """Reports an error as a normal end."""

    def wait(self, sink: Any, timeout_s: float) -> None:
        class Calming(Between):
            def ended(self, trial_id: int, segment: int, ended: Any, world_size: int) -> None:
                sink.ended(trial_id, segment, dataclasses.replace(ended, outcome=Outcome.DONE, error=""), world_size)

        super().wait(Calming(sink), timeout_s)


class Forgetful(Passing):
    """Keeps only the newest order."""

    abilities = hwt.Abilities(max_devices=1)

    def start(self, order: Any) -> None:
        self.inner.close()
        super().start(order)


class Mute(Passing):
    """Drops a segment that must end, without a word."""

    def end(self, trial_id: int, outcome: Outcome, why: str) -> None:
        self.inner.close()


class Restless(Passing):
    """Trains after its end."""

    def close(self) -> None:
        pass


class Chatty(Passing):
    """Reports something although nothing trains."""

    def wait(self, sink: Any, timeout_s: float) -> None:
        sink.noted(0, 1, hwt.Reason("none", "none"))
        super().wait(sink, timeout_s)


class OnOne(Passing):
    """Claims to train on several devices, and trains on one."""

    abilities = hwt.Abilities(max_segments=1)

    def start(self, order: Any) -> None:
        super().start(dataclasses.replace(order, num_devices=1, slots=order.slots[:1]))


@pytest.mark.training
@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "rule"),
    [
        (Deaf, "What an order says reaches the training"),
        (Seedless, "What an order says reaches the training"),
        (Twice, "came after the segment's end"),
        (Stubborn, "A segment ends after the verdict 'pause'"),
        (Late, "checkpoint of trial 0 came after the segment's end"),
        (Amnesic, "A trial resumes from its checkpoint"),
        (Soothing, "ends its segment with the outcome ERROR"),
        (Forgetful, "Segments that are started together"),
        (Mute, "After `end`, the segment's end is reported once"),
        (Restless, "After `close`, nothing trains"),
        (Chatty, "`wait` without a segment delivers nothing"),
        (OnOne, "A segment of two devices has two ranks"),
    ],
    ids=lambda item: item.__name__ if isinstance(item, type) else "",
)
def test_an_executor_that_breaks_a_rule_is_found(cls: type[Any], rule: str) -> None:
    with pytest.raises(AssertionError, match=rule):
        check_executor(cls, limit_s=SHORT_S if cls in (Forgetful, Mute) else 60.0)


class Boasting(Passing):
    abilities = hwt.Abilities(max_devices=1, max_segments=1, can_check=True, trains_here=False)


@pytest.mark.training
@pytest.mark.slow
def test_an_executor_whose_segments_cannot_be_ended_must_not_claim_that_it_can_check() -> None:
    with pytest.raises(AssertionError, match=r"(?s)After `end`|A segment reports while it trains"):
        check_executor(Endless, limit_s=SHORT_S)


class Endless(Boasting):
    """Does not wait for the training, and cannot end it."""

    def start(self, order: Any) -> None:
        does = "train" if order.config["does"] == "wait" else order.config["does"]
        super().start(dataclasses.replace(order, config={**order.config, "does": does}))


class Untyped(Passing):
    abilities = {"can_check": True}


@pytest.mark.parametrize("use", [check_executor, abilities_of], ids=["suite", "question"])
def test_abilities_of_another_kind_are_refused(use: Any) -> None:
    with pytest.raises(ArgumentError, match=r"Untyped.abilities.*class attribute such as Abilities"):
        use(Untyped)


@pytest.mark.parametrize(
    "given",
    [{"max_devices": 0}, {"max_segments": True}, {"can_check": "yes"}, {"trains_here": 1}, {"needs_payload": None}],
)
def test_abilities_are_checked_when_they_are_made(given: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="Abilities"):
        hwt.Abilities(**given)
    with pytest.raises(UnknownArgumentError, match="did you mean 'max_devices'"):
        hwt.Abilities(max_device=1)  # type: ignore[call-arg]


def test_an_executor_that_needs_a_file_is_not_made_without_one() -> None:
    setup = RunSetup(train=print, pool=hwt.Pool("cpu", 1), n_ranks=1)
    with pytest.raises(ArgumentError, match="the file with the training function"):
        LocalExecutor.for_run(setup)


def test_an_unknown_executor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="did you mean 'inline'"):
        check_executor("inlin", folder=tmp_path)
    assert not list(tmp_path.iterdir())
