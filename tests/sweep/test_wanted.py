"""A launcher's job ends when nobody waits for it any more. Real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_hwtune.store.process import birth_of
from lightning_hwtune.sweep.wanted import SweepProcess

JOB = """
import sys, time
from pathlib import Path
from lightning_hwtune.sweep.wanted import SweepProcess
with SweepProcess(int(sys.argv[1]), sys.argv[2]).watched(Path(sys.argv[3])):
    print("begun", flush=True)
    time.sleep(float(sys.argv[4]))
print("done", flush=True)
"""


@pytest.fixture
def sweep() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.fixture
def order(tmp_path: Path) -> Path:
    path = tmp_path / "000_01.order"
    path.touch()
    return path


def job(sweep: subprocess.Popen[bytes], order: Path, seconds: float) -> subprocess.Popen[str]:
    arguments = [str(sweep.pid), birth_of(sweep.pid), str(order), str(seconds)]
    process = subprocess.Popen([sys.executable, "-c", JOB, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def test_a_job_ends_when_its_order_is_taken_back(sweep: subprocess.Popen[bytes], order: Path) -> None:
    with job(sweep, order, 60) as process:
        order.unlink()
        assert process.wait(20) == -signal.SIGKILL


def test_a_job_ends_with_a_sweep_that_is_killed(sweep: subprocess.Popen[bytes], order: Path) -> None:
    with job(sweep, order, 60) as process:
        sweep.kill()
        sweep.wait()
        assert process.wait(20) == -signal.SIGKILL


def test_a_job_that_somebody_waits_for_ends_by_itself(sweep: subprocess.Popen[bytes], order: Path) -> None:
    with job(sweep, order, 0.1) as process:
        assert process.wait(20) == 0


def test_a_job_of_another_host_goes_by_its_order_alone(order: Path) -> None:
    elsewhere = SweepProcess(1, "another-boot/pid:[1]/1")
    assert elsewhere.wants(order)
    order.unlink()
    assert not elsewhere.wants(order)


def test_a_job_does_not_begin_for_nobody(order: Path) -> None:
    order.unlink()
    with pytest.raises(ConnectionError, match=r"took 000_01\.order back"), SweepProcess.this().watched(order):
        pytest.fail("it began")


def test_a_job_in_the_sweeps_own_process_is_not_killed(order: Path) -> None:
    with SweepProcess.this().watched(order):
        order.unlink()
