"""What counts as training seconds, on a clock that the tests move: a pause adds nothing, and nothing real is lost."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rank_bench import Bench

from lightning_hwtune.training import context, import_times
from lightning_hwtune.training.channel import Report
from lightning_hwtune.training.train_clock import TrainClock
from lightning_hwtune.training.trial import Trial


class World:
    """A clock that moves only when something takes time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.imported = self.compiled = 0.0

    def clock(self, **changes: Any) -> TrainClock:
        given = {"imports": lambda: self.imported, "compiling": lambda: self.compiled, **changes}
        return TrainClock(now=lambda: self.now, **given)

    def take(self, seconds: float, *, imports: bool = False, compiles: bool = False) -> None:
        self.now += seconds
        self.imported += seconds if imports else 0.0
        self.compiled += seconds if compiles else 0.0


def epoch(world: World, clock: TrainClock, *, wait: float = 1, first: float = 2, others: float = 2, n: int = 5) -> None:
    """Trains one epoch of `n` batches: the first wait and step differ from the others, which wait a tenth."""
    clock.start()
    clock.epoch_began()
    for index in range(n):
        world.take(0.1 if index else wait)
        clock.step_began()
        world.take(others if index else first)
        clock.step_ended()
    clock.between()
    clock.stop()


def test_the_seconds_of_batches_leave_out_the_first_of_each_epoch() -> None:
    world = World()
    clock = world.clock()
    assert clock.batches_s() == ()
    epoch(world, clock, wait=5, first=9, others=2, n=3)
    assert clock.batches_s() == pytest.approx((2.1, 2.1))
    epoch(world, clock, wait=5, first=9, others=4, n=1)
    epoch(world, clock, wait=5, first=9, others=3, n=2)
    assert clock.batches_s() == pytest.approx((2.1, 2.1, 3.1))


def test_imports_count_nowhere_and_compiling_once() -> None:
    for is_resumed, counted in ((False, 7.0), (True, 2.0)):
        world = World()
        clock = world.clock(is_resumed=is_resumed)
        clock.start()
        world.take(2.0)
        world.take(3.0, imports=True)
        world.take(5.0, compiles=True)
        assert clock.seconds == pytest.approx(counted)


@pytest.mark.parametrize("first", [2.0, 30.0])
def test_nothing_of_a_first_segment_is_replaced(first: float) -> None:
    world = World()
    clock = world.clock()
    epoch(world, clock, first=first)
    assert clock.seconds == pytest.approx(world.now - 100)


def segments(n_epochs: list[int], warm_up: float, tunes: bool = False, **usual: float) -> list[float]:
    """Returns the seconds of each segment; the first step of each process takes `warm_up` more."""
    memory, found = {}, []
    for index, n in enumerate(n_epochs):
        world = World()
        clock = world.clock(is_resumed=index > 0, tunes=tunes)
        clock.remember(memory)
        for number in range(n):
            first = usual.get("first", 2.0) + (0 if number else warm_up)
            epoch(world, clock, **{**usual, "first": first})
        found.append(clock.seconds)
        memory = clock.memory()
    return found


@pytest.mark.parametrize("pauses", [[4], [1, 3], [2, 2], [1, 1, 2]])
@pytest.mark.parametrize("tunes", [False, True])
def test_what_a_process_does_once_counts_once(pauses: list[int], tunes: bool) -> None:
    if not tunes and pauses == [1, 1, 2]:
        pytest.skip("without a second epoch in any segment, a slow first step looks usual")
    assert sum(segments(pauses, 20.0, tunes)) == pytest.approx(sum(segments([4], 20.0, tunes)), rel=0.01)


@pytest.mark.parametrize("pauses", [[1, 3], [2, 2], [1, 1, 2], [1, 1, 1, 1]])
@pytest.mark.parametrize("slow", [{"first": 9.0}, {"wait": 9.0}, {"first": 9.0, "wait": 4.0}])
def test_a_batch_that_is_slow_in_every_epoch_stays_in(pauses: list[int], slow: dict[str, float]) -> None:
    assert sum(segments(pauses, 0.0, **slow)) == pytest.approx(sum(segments([4], 0.0, **slow)), rel=0.01)


def test_the_end_of_a_loader_is_no_wait_for_a_batch() -> None:
    world = World()
    clock = world.clock()
    clock.start()
    clock.epoch_began()
    for _ in range(2):
        clock.step_began()
        world.take(1.0)
        clock.step_ended()
        world.take(0.5)
    clock.validation_began()
    world.take(50.0)
    clock.between()
    assert clock.epoch_s(10, 0) == pytest.approx(2 + 1 + 50 + 10 * 1.5)


def test_seconds_never_shrink() -> None:
    world = World()
    clock = world.clock(is_resumed=True)
    epoch(world, clock, first=50.0, n=1)
    before = clock.seconds
    epoch(world, clock)
    assert clock.seconds >= before


# ---------------------------------------------------------------------- in real fits


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in whose time the real clock, the real meter of imports and that of the compiler work."""
    world = World()
    monkeypatch.setattr(import_times, "time", SimpleNamespace(perf_counter=lambda: world.now))
    clock = functools.partial(TrainClock, now=lambda: world.now)
    monkeypatch.setattr(context, "TrainClock", clock)
    return world


def net(world: World, on_step: Callable[[int], None], backend: Any = None) -> Any:
    import lightning.pytorch as L

    class Net(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            layer: Any = torch.nn.Linear(2, 1)
            self.layer = torch.compile(layer, backend=backend) if backend is not None else layer

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            world.take(1.0)
            on_step(batch_idx)
            return self.layer(batch).square().mean()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            world.take(0.5)
            self.log("val_error", self.layer(batch).square().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.01)

    return Net()


def train_s(bench: Bench, world: World, pauses: tuple[int, ...], make: Callable[[], Any]) -> float:
    """Returns the training seconds of a trial of four epochs with pauses after some of them."""

    def train(trial: Trial) -> None:
        data = [torch.utils.data.DataLoader(torch.ones(n, 2), batch_size=4) for n in (18, 10)]  # 4, 4, 4, 4, 2
        trial.fit(make(), data[0], data[1], logger=False, num_sanity_val_steps=0)

    total_s, resume = 0.0, {}
    for number, end in enumerate((*pauses, 4), 1):
        torch.compiler.reset()  # a process of its own would have nothing compiled
        said = bench.inline(train, {end: "pause" if end < 4 else "stop"}, **resume)
        total_s += said.of(Report)[-1].train_s
        resume = bench.resume(said, number + 1)
    return total_s


@pytest.fixture
def module_name(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module whose import takes 50 seconds, and imports another one."""
    name = "imported_in_the_first_batch"
    (tmp_path / f"{name}.py").write_text(f"import {name}_too\nimport builtins\nbuiltins.hwtune_test_take(20)\n")
    (tmp_path / f"{name}_too.py").write_text("import builtins\nbuiltins.hwtune_test_take(30)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("builtins.hwtune_test_take", world.take, raising=False)
    yield name
    for loaded in (name, f"{name}_too"):
        sys.modules.pop(loaded, None)


@pytest.mark.training
@pytest.mark.parametrize("pauses", [(), (1, 2, 3)])
def test_what_the_first_batch_imports_does_not_count(
    bench: Bench, world: World, module_name: str, pauses: tuple[int, ...]
) -> None:
    def on_step(batch_idx: int) -> None:
        if batch_idx == 0:
            for loaded in (module_name, f"{module_name}_too"):
                sys.modules.pop(loaded, None)
            importlib.import_module(module_name)

    assert train_s(bench, world, pauses, lambda: net(world, on_step)) == pytest.approx(4 * (5 * 1.0 + 3 * 0.5))


@pytest.mark.training
@pytest.mark.parametrize("pauses", [(), (1, 2, 3), (2,)])
def test_compiling_counts_once_per_trial_also_for_the_last_smaller_batch(
    bench: Bench, world: World, pauses: tuple[int, ...]
) -> None:
    compiled = []

    def slow_eager(module: Any, inputs: Any) -> Any:
        compiled.append(world.now)
        world.take(100.0)
        return module.forward

    counted = train_s(bench, world, pauses, lambda: net(world, lambda index: None, slow_eager))
    n_compiled = len(compiled) / (len(pauses) + 1)
    assert n_compiled >= 2  # training and validation at least
    assert counted == pytest.approx(4 * (5 * 1.0 + 3 * 0.5) + n_compiled * 100.0)


@pytest.mark.training
@pytest.mark.parametrize("pauses", [(), (1, 2, 3)])
def test_a_first_batch_that_is_slow_counts_in_every_epoch(bench: Bench, world: World, pauses: tuple[int, ...]) -> None:
    made = lambda: net(world, lambda index: world.take(0.0 if index else 7.0))  # noqa: E731
    assert train_s(bench, world, pauses, made) == pytest.approx(4 * (7 + 5 * 1.0 + 3 * 0.5))
