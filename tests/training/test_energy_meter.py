"""Energy is counted while the clock of the training runs."""

from __future__ import annotations

import pytest

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.host.energy import rapl_counter
from lightning_hwtune.training.energy import EnergyMeter
from lightning_hwtune.training.train_clock import TrainClock


class Machine:
    """100 W at any time."""

    def __init__(self) -> None:
        self.now, self.read_at = 0.0, list[float]()

    def joules(self) -> float:
        self.read_at.append(self.now)
        return 7.0 + 100.0 * self.now

    def clock(self) -> tuple[TrainClock, EnergyMeter]:
        meter = EnergyMeter(lambda: self, lambda: self.now)
        clock = TrainClock(now=lambda: self.now, imports=lambda: 0.0, compiling=lambda: 0.0, meter=meter)
        return clock, meter


def test_what_does_not_count_as_training_time_needs_no_energy() -> None:
    machine = Machine()
    clock, meter = machine.clock()
    machine.now = 5.0  # starting up
    clock.start()
    clock.start()
    machine.now = 7.0
    assert meter.joules == pytest.approx(200.0)
    with clock.paused():
        machine.now = 9.0
        assert meter.joules == pytest.approx(200.0)
    machine.now = 10.0
    clock.stop()
    clock.stop()
    machine.now = 20.0
    assert meter.joules == pytest.approx(300.0) == pytest.approx(100.0 * clock.seconds)


def test_a_long_epoch_reads_the_counter_now_and_then() -> None:
    """A counter of a CPU begins again at 0 after some minutes."""
    machine = Machine()
    clock, meter = machine.clock()
    clock.start()
    for machine.now in range(0, 600, 7):
        meter.sample()
    gaps = [after - before for before, after in zip(machine.read_at, machine.read_at[1:], strict=False)]
    assert 5 < len(gaps) < 12
    assert max(gaps) <= 70.0
    clock.stop()
    machine.read_at.clear()
    machine.now = 2000.0
    meter.sample()
    assert machine.read_at == []


def test_a_machine_without_a_counter_is_refused_when_the_training_begins(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    empty = tmp_path_factory.mktemp("root")
    clock = TrainClock(meter=EnergyMeter(lambda: rapl_counter(empty)))
    with pytest.raises(ArgumentError, match="RAPL"):
        clock.start()
