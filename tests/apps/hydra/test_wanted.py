"""A launcher's job ends when the sweep no longer waits for it. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_hwtune.apps.hydra.leftover_programs import ORDER_VARIABLE, end_programs_of, programs_of
from lightning_hwtune.apps.hydra.sweep_process import SweepProcess
from lightning_hwtune.host.process_identity import birth_of, is_alive

JOB = """
import sys, time
from pathlib import Path
from lightning_hwtune.apps.hydra.sweep_process import SweepProcess
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
    with pytest.raises(ConnectionError, match=r"has withdrawn 000_01\.order"), SweepProcess.this().watched(order):
        pytest.fail("it began")


def test_a_job_in_the_sweeps_own_process_is_not_killed(order: Path) -> None:
    with SweepProcess.this().watched(order):
        order.unlink()


# ---------------------------------------------------------------- what jobs have started

STARTING = """
import os, subprocess, sys, time
from pathlib import Path
from lightning_hwtune.apps.hydra.leftover_programs import ORDER_VARIABLE
from lightning_hwtune.apps.hydra.sweep_process import SweepProcess
order = Path(sys.argv[3])
with SweepProcess(int(sys.argv[1]), sys.argv[2]).watched(order):
    os.environ[ORDER_VARIABLE] = str(order)
    print(subprocess.Popen(["sleep", "60"], start_new_session=True, stdout=subprocess.DEVNULL).pid, flush=True)
    time.sleep(float(sys.argv[4]))
"""

WORKER = """
import os, sys, time
from pathlib import Path
from lightning_hwtune.host.process_identity import birth_of
from lightning_hwtune.apps.hydra.sweep_process import SweepProcess
sweep = SweepProcess.this()
if os.fork():
    sys.stdin.read()
    os._exit(0)
with sweep.watched(Path(sys.argv[1])):
    pass
print(os.getpid(), birth_of(os.getpid()), flush=True)
time.sleep(60)
"""


def _ends(pid: int, birth: str) -> bool:
    give_up_at = time.monotonic() + 20
    while is_alive(pid, birth) and time.monotonic() < give_up_at:
        time.sleep(0.02)
    return is_alive(pid, birth) is False


@pytest.mark.parametrize("end", ["by itself", "take back", "kill the sweep"])
def test_a_program_that_a_job_has_started_ends_with_the_job(
    sweep: subprocess.Popen[bytes], order: Path, end: str
) -> None:
    """This includes a program that is not a descendant of the sweep, and one with its own session."""
    arguments = [str(sweep.pid), birth_of(sweep.pid), str(order), "0" if end == "by itself" else "60"]
    with subprocess.Popen([sys.executable, "-c", STARTING, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        program = int(process.stdout.readline())
        birth = birth_of(program)
        if end == "take back":
            order.unlink()
        elif end == "kill the sweep":
            sweep.kill()
            sweep.wait()
        assert process.wait(20) == (0 if end == "by itself" else -signal.SIGKILL)
        assert _ends(program, birth)


def test_a_worker_that_a_launcher_keeps_ends_with_the_sweep(order: Path) -> None:
    """Its job is over; joblib keeps the process for the next one, for five minutes."""
    arguments = [sys.executable, "-c", WORKER, str(order)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sweep:
        assert sweep.stdout is not None
        pid, birth = sweep.stdout.readline().split(maxsplit=1)
        assert is_alive(int(pid), birth.strip())
        sweep.kill()
        sweep.wait()
        assert _ends(int(pid), birth.strip())


def test_a_process_whose_job_begins_after_the_sweep_was_killed_ends(
    sweep: subprocess.Popen[bytes], order: Path
) -> None:
    """It was still importing when the sweep died; joblib would keep it for minutes."""
    arguments = [str(sweep.pid), birth_of(sweep.pid), str(order), "0"]
    sweep.kill()
    sweep.wait()
    done = subprocess.run([sys.executable, "-c", JOB, *arguments], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")


def test_a_program_is_found_in_the_moment_in_which_it_begins(order: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller continues as soon as the kernel has taken the program, which then has no variables for a moment."""
    environment = {**os.environ, ORDER_VARIABLE: str(order)}
    for _ in range(300):
        with subprocess.Popen(["sleep", "60"], env=environment) as program:
            monkeypatch.setattr(os, "listdir", lambda _, pid=program.pid: [str(pid)])  # look at nothing else first
            found = list(programs_of(order))
            program.kill()
        assert found == [program.pid]


def test_programs_are_found_by_their_order_and_by_the_folder_of_all_orders(order: Path) -> None:
    other = order.with_name("001_01.order")
    begin = [(name, {**os.environ, ORDER_VARIABLE: str(name)}) for name in (order, other, Path(f"{order.parent}2/a"))]
    programs = [subprocess.Popen(["sleep", "60"], env=environment) for _, environment in begin]
    stubborn = subprocess.Popen(["sh", "-c", "trap '' TERM; echo; read x"], env=begin[0][1], stdin=-1, stdout=-1)
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    try:
        assert set(programs_of(order)) == {programs[0].pid, stubborn.pid}
        assert set(programs_of(order.parent)) == {programs[0].pid, programs[1].pid, stubborn.pid}
        end_programs_of(order)
        assert programs[0].wait(20) == -signal.SIGTERM
        assert stubborn.wait(20) == -signal.SIGKILL
        end_programs_of(order.parent)
        assert programs[1].wait(20) == -signal.SIGTERM
        assert programs[2].poll() is None
    finally:
        for program in (*programs, stubborn):
            program.kill()
            program.communicate()
