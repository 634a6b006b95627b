"""The shipped suites find what is wrong with schedulers and searchers that break one rule each."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import lightning_hwtune as hwt
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.testing import check_scheduler, check_searcher

SPACE = {"x": hwt.Float(0, 1), "n": hwt.Int(1, 4)}


@dataclass(frozen=True, repr=False, kw_only=True)
class Halving(hwt.RungScheduler):
    """Pauses every trial; promotes the best half of a rung."""

    race: ClassVar[type[hwt.Race]]

    def start(self, objectives: Any) -> hwt.Race:
        return self.race(self.ladder)


class HalvingRace(hwt.Race):
    def __init__(self, ladder: Any) -> None:
        super().__init__(ladder)
        self.rungs: dict[int, dict[int, float]] = {}
        self.left: set[tuple[int, int]] = set()

    def judge(self, trial_id: int, bracket: int, level: int, loss: Any) -> Any:
        return hwt.Pause(hwt.Reason("halving", f"{loss[0]}"))

    def record(self, trial_id: int, bracket: int, level: int, loss: Any, kind: str) -> None:
        if np.isfinite(loss).all():
            self.rungs.setdefault(level, {})[trial_id] = float(loss[0])

    def promotable(self, exclude: Any = ()) -> hwt.Promotion | None:
        for level in reversed(self.levels[:-1]):
            rung = self.rungs.get(level, {})
            for trial_id in sorted(rung, key=lambda key: (rung[key], key))[: len(rung) // 2]:
                if (trial_id, level) not in self.left and trial_id not in exclude:
                    reason = hwt.Reason("halving", f"best half of {len(rung)}")
                    return hwt.Promotion(trial_id, level, self.next_target(0, level), reason)
        return None

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        self.left.add((trial_id, level))

    def withdraw(self, trial_id: int) -> None:
        self.left |= {(trial_id, level) for level in self.levels}


class Right(Halving):
    race = HalvingRace


class Forgetful(Halving):
    class race(HalvingRace):
        def promoted(self, trial_id: int, bracket: int, level: int) -> None:
            pass


class Generous(Halving):
    class race(HalvingRace):
        def judge(self, trial_id: int, bracket: int, level: int, loss: Any) -> Any:
            return hwt.Continue(hwt.Reason("generous", "all continue"))


class Faithful(Halving):
    class race(HalvingRace):
        def withdraw(self, trial_id: int) -> None:
            pass


class Diverging(Halving):
    class race(HalvingRace):
        def record(self, trial_id: int, bracket: int, level: int, loss: Any, kind: str) -> None:
            self.rungs.setdefault(level, {})[trial_id] = float(np.nan_to_num(loss[0], nan=0, posinf=0))


class Counting(Halving):
    class race(HalvingRace):
        asked = 0

        def promotable(self, exclude: Any = ()) -> hwt.Promotion | None:
            self.asked += 1
            return super().promotable(exclude) if self.asked % 3 else None


class Random(Halving):
    class race(HalvingRace):
        def judge(self, trial_id: int, bracket: int, level: int, loss: Any) -> Any:
            return hwt.Pause(hwt.Reason("random", f"{np.random.default_rng().random()}"))


class Sharing(Halving):
    class race(HalvingRace):
        shared: ClassVar[dict[int, dict[int, float]]] = {}

        def __init__(self, ladder: Any) -> None:
            super().__init__(ladder)
            self.rungs = self.shared


class Silent(Halving):
    class race(HalvingRace):
        def judge(self, trial_id: int, bracket: int, level: int, loss: Any) -> Any:
            return "pause"


class Skipping(Halving):
    class race(HalvingRace):
        def next_target(self, bracket: int, level: int) -> int:
            return self.max_resource


class Changing(Halving):
    def start(self, objectives: Any) -> hwt.Race:
        object.__setattr__(self, "first_rung", 3)
        return HalvingRace(self.ladder)


@pytest.mark.parametrize("n_objectives", [[1], [1, 2], [3]])
def test_a_right_scheduler_passes(n_objectives: list[int]) -> None:
    check_scheduler(Right(max_epochs=9), n_objectives)


@pytest.mark.parametrize("settings", [{"max_epochs": 1}, {"max_steps": 1000}, {"max_samples": 50_000, "eta": "5/2"}])
def test_a_right_scheduler_passes_with_any_horizon(settings: dict[str, Any]) -> None:
    check_scheduler(Right(**settings), [1])


@pytest.mark.parametrize(
    ("cls", "rule"),
    [
        (Forgetful, "A promoted trial has left its rung"),
        (Generous, "does not continue past a rung"),
        (Faithful, "A diverged or withdrawn trial is never promoted"),
        (Diverging, "A diverged or withdrawn trial is never promoted"),
        (Counting, "Questions change nothing|`is_promotable` agrees"),
        (Random, "however often it is asked"),
        (Sharing, "share nothing"),
        (Silent, "returns Continue, Pause or Stop"),
        (Skipping, "climb the levels one by one"),
        (Changing, "A scheduler never changes"),
    ],
)
def test_a_scheduler_that_breaks_a_rule_is_found(cls: type[Halving], rule: str) -> None:
    with pytest.raises(AssertionError, match=rule):
        check_scheduler(cls(max_epochs=9), [2])


class Steps(hwt.Searcher):
    """Proposes equal steps through the space; ends after `last` draws."""

    def __init__(self, last: int = 1000) -> None:
        self.last = last

    def propose(self, space: Any, draw: int, seed: int, history: Any) -> dict[str, Any] | None:
        share = (draw * 0.37 + seed * 0.11) % 1
        return None if draw >= self.last else {name: space[name].quantile(share) for name in space}


class Repeating(Steps):
    def propose(self, space: Any, draw: int, seed: int, history: Any) -> dict[str, Any] | None:
        return super().propose(space, int(np.random.default_rng().integers(100)), seed, history)


class Queue(Steps):
    def propose(self, space: Any, draw: int, seed: int, history: Any) -> dict[str, Any] | None:
        self.__dict__["n"] = self.__dict__.get("n", 0) + 1
        return super().propose(space, self.__dict__["n"], seed, history)


class Outside(Steps):
    def propose(self, space: Any, draw: int, seed: int, history: Any) -> dict[str, Any] | None:
        return {**(super().propose(space, draw, seed, history) or {}), "x": 1.5}


class Partial(Steps):
    def propose(self, space: Any, draw: int, seed: int, history: Any) -> dict[str, Any] | None:
        return {"x": 0.5}


class Arrays(Steps):
    def propose(self, space: Any, draw: int, seed: int, history: Any) -> dict[str, Any] | None:
        return {**(super().propose(space, draw, seed, history) or {}), "n": np.int64(3)}


class Kept(Steps):
    def propose(self, space: Any, draw: int, seed: int, history: Any) -> dict[str, Any] | None:
        kept: dict[Any, Any] = self.__dict__.setdefault("kept", {})
        return kept.setdefault((draw, seed, len(space)), super().propose(space, draw, seed, history))


class Marking(Steps):
    def propose(self, space: Any, draw: int, seed: int, history: Any) -> dict[str, Any] | None:
        for trial in history.trials:
            trial.decided[7] = "pause"
        return super().propose(space, draw, seed, history)


class Reviving(Steps):
    def propose(self, space: Any, draw: int, seed: int, history: Any) -> dict[str, Any] | None:
        return None if draw == 20 else super().propose(space, draw, seed, history)


@pytest.mark.parametrize("last", [0, 5, 1000])
def test_a_right_searcher_passes(last: int) -> None:
    check_searcher(Steps(last), SPACE)
    check_searcher(Steps(last), hwt.SearchSpace(SPACE), [hwt.Metric("acc", "max"), hwt.Metric("size", "min")])


@pytest.mark.parametrize(
    ("cls", "rule"),
    [
        (Repeating, "The same draw of the same history"),
        (Queue, "The same draw of the same history"),
        (Outside, "(?s)Each draw is in the search space.*1.5"),
        (Partial, "(?s)Each draw is in the search space.*missing: n"),
        (Arrays, "Each draw is in the search space"),
        (Kept, "`propose` changes nothing"),
        (Marking, "It changed the history"),
        (Reviving, "After None, `propose` returns no further"),
    ],
)
def test_a_searcher_that_breaks_a_rule_is_found(cls: type[Steps], rule: str) -> None:
    with pytest.raises(AssertionError, match=rule):
        check_searcher(cls(), SPACE)


def test_what_the_log_could_not_keep_is_refused_with_the_reason() -> None:
    class Inside(Steps):
        pass

    with pytest.raises(ArgumentError, match="inside a function"):
        check_searcher(Inside(), SPACE)
    with pytest.raises(ArgumentError, match="not plain data"):
        check_searcher(Steps(object()), SPACE)  # type: ignore[arg-type]


def test_the_suites_need_no_test_framework_and_hold_without_asserts() -> None:
    code = (
        "import sys; from lightning_hwtune.testing import check_searcher; from lightning_hwtune import Float, Random\n"
        "check_searcher(Random(), {'x': Float(0, 1)})\n"
        "print(sorted({'pytest', 'hypothesis', 'torch', 'lightning'} & set(sys.modules)))\n"
        "from lightning_hwtune.testing.demand import demand\n"
        "try: demand(False, 'rule', 1)\nexcept AssertionError as error: print(repr(str(error)))"
    )
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", repr("rule\n  1")]


@pytest.mark.parametrize("name", ["policy_contract", "scheduler_contract", "searcher_contract"])
@pytest.mark.slow
def test_the_examples_in_the_docstrings_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"lightning_hwtune.testing.{name}"))
    assert (found.failed, found.attempted > 0) == (0, True)
