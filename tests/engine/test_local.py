from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import segment_functions as functions
from local_bench import HEARTBEAT_S, Bench, Recorder

from lightning_hwtune.engine.fork_server import fork_server
from lightning_hwtune.errors import StorageError
from lightning_hwtune.text import storable
from lightning_hwtune.training.channel import Ended


@pytest.mark.slow
def test_a_segment_reports_pauses_and_resumes(bench: Bench) -> None:
    executor = bench.executor(functions.counting)
    sink = bench.run(executor, Recorder(pause_at=2), bench.order(0))
    assert sink.reports == {0: [1, 2]}
    assert sink.ends[0] == Ended(0, "done", "", 2, reached_end=False)
    resumed = bench.order(0, segment=2, resource=2, checkpoint=sink.saves[0].path)
    sink = bench.run(executor, Recorder(), resumed)
    assert sink.reports == {0: [3]}
    assert sink.ends[0].reached_end


def test_a_log_that_takes_nothing_more_is_no_death_of_a_rank(bench: Bench) -> None:
    def refuse(trial_id: int) -> None:
        raise StorageError("the disk is full")

    with pytest.raises(StorageError, match="the disk is full"):
        bench.run(bench.executor(functions.counting), Recorder(on_report=refuse), bench.order(0))


def test_a_killed_rank_takes_its_group_with_it_and_nothing_else(bench: Bench) -> None:
    killed, other = bench.executor(functions.killed), bench.executor(functions.counting)
    other.start(bench.order(1, max_resource=4, config={"epoch_s": 0.5}))
    sink = bench.run(killed, Recorder(), bench.order(0, devices=2))
    assert sink.ends[0].outcome == "lost"
    assert sink.ends[0].error == "rank 1 was killed by SIGKILL"
    beside = Recorder()
    while not beside.ends:
        other.wait(beside, 0.5)
    assert beside.reports == {1: [1, 2, 3, 4]}
    assert beside.ends[1].outcome == "done"


def test_a_child_that_outlives_its_rank_holds_nobody_up(bench: Bench) -> None:
    executor = bench.executor(functions.killed_beside_an_untied_child, hang_timeout_s=None)
    order = bench.order(0)
    sink = bench.run(executor, Recorder(), order)
    assert sink.ends[0].error == "rank 0 was killed by SIGKILL"
    child = int((Path(order.trial_dir) / "pids").read_text())
    deadline = time.monotonic() + 60
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {child} outlived its rank"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_frozen_rank_is_ended_within_ten_seconds_of_the_heartbeat_limit(bench: Bench) -> None:
    executor = bench.executor(functions.frozen)
    sink = bench.run(executor, Recorder(), bench.order(0), limit_s=HEARTBEAT_S + 10 + 20)  # 20: the server's imports
    assert sink.ends[0].outcome == "lost"
    assert "no heartbeat" in sink.ends[0].error


def test_a_rank_without_progress_is_ended_when_asked(bench: Bench) -> None:
    executor = bench.executor(functions.idle, hang_timeout_s=2.0)
    sink = bench.run(executor, Recorder(), bench.order(0))
    assert sink.ends[0].outcome == "lost"
    assert "no progress" in sink.ends[0].error


def test_the_first_error_that_is_no_echo_is_told(bench: Bench) -> None:
    executor = bench.executor(functions.failing_on_rank_1)
    sink = bench.run(executor, Recorder(), bench.order(0, devices=2))
    assert sink.ends[0].outcome == "error"
    assert "ValueError: the root cause" in sink.ends[0].error


def test_out_of_memory_is_its_own_kind(bench: Bench) -> None:
    sink = bench.run(bench.executor(functions.out_of_memory), Recorder(), bench.order(0))
    assert sink.ends[0].outcome == "out-of-memory"


def test_an_exit_is_told_with_its_status(bench: Bench) -> None:
    sink = bench.run(bench.executor(functions.exiting), Recorder(), bench.order(0))
    assert sink.ends[0].outcome != "done"
    assert "3" in sink.ends[0].error


def test_output_goes_to_the_trials_folder(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    bench.run(bench.executor(functions.printing), Recorder(), bench.order(0))
    text = (bench.folder / "trials/000/logs/segment_01_rank_0.log").read_text()
    assert "hello from a module" in text
    assert "and to stderr" in text
    assert "hello" not in capfd.readouterr().out


def test_a_log_file_that_cannot_be_opened_costs_the_output_only(bench: Bench) -> None:
    order = bench.order(0)
    (Path(order.trial_dir) / "logs").write_text("no folder")
    sink = bench.run(bench.executor(functions.printing), Recorder(), order)
    assert sink.ends[0].outcome == "done", sink.ends[0].error
    assert "its log file cannot be opened" in sink.notes[0]
    assert "df -i" in sink.notes[0]


@pytest.mark.parametrize("text", ["\udcff", "\x00\x1b[2J", "x" * 1_000_000], ids=["surrogate", "controls", "long"])
def test_an_error_arrives_in_a_form_that_can_be_stored_and_shown(bench: Bench, text: str) -> None:
    sink = bench.run(bench.executor(functions.raising), Recorder(), bench.order(0, config={"text": text}))
    assert sink.ends[0].outcome == "error"
    assert sink.ends[0].error == storable(sink.ends[0].error)
    assert "ValueError: cannot read " in sink.ends[0].error


@pytest.mark.slow
def test_every_segment_has_the_environment_of_its_own_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(trial: Any) -> None:
        names = ("HWTUNE_TEST_A", "HWTUNE_TEST_B", "RANK", "WORLD_SIZE")
        (trial.dir / "environment").write_text(" ".join(os.environ.get(name, "none") for name in names))
        trial.report(1, error=1.0)

    monkeypatch.setenv("HWTUNE_TEST_A", "first")
    monkeypatch.setenv("RANK", "7")  # of the launcher of this process
    _restart_server()
    executor = bench.executor(train)
    bench.run(executor, Recorder(), bench.order(0))
    monkeypatch.delenv("HWTUNE_TEST_A")
    monkeypatch.setenv("HWTUNE_TEST_B", "second")
    bench.run(executor, Recorder(), bench.order(1))
    said = [(bench.folder / f"trials/{trial_id:03d}/environment").read_text() for trial_id in (0, 1)]
    assert said == ["first none 0 1", "none second 0 1"]


def _restart_server() -> None:
    """Ends this process's fork server; the next executor starts one with the environment of that moment."""
    fork_server().end()


def test_a_function_from_a_main_module_travels_by_value(bench: Bench, tmp_path: Path) -> None:
    def local(trial: Any) -> None:
        trial.report(1, error=float(captured))

    captured = 7
    sink = bench.run(bench.executor(local), Recorder(), bench.order(0))
    assert sink.ends[0].outcome == "done", sink.ends[0].error


PARENT = """
    import sys, time
    sys.path[:0] = {path!r}
    from pathlib import Path
    import segment_functions as functions
    from local_bench import Bench, Recorder

    bench = Bench(Path({folder!r}))
    executor = bench.executor(functions.with_children)
    executor.start(bench.order(0, config={{"folder": {folder!r}}}))
    while True:
        executor.wait(Recorder(), 0.5)
"""


@pytest.mark.slow
def test_the_ranks_and_what_they_forked_die_with_a_killed_parent(tmp_path: Path) -> None:
    script = textwrap.dedent(PARENT).format(path=[str(Path(__file__).parent), os.getcwd()], folder=str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", script])
    try:
        pids = [_wait_for_pid(tmp_path / name) for name in ("rank", "child")]
        assert all(psutil.pid_exists(pid) for pid in pids)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 5
        while any(_lives(pid) for pid in pids):
            assert time.monotonic() < deadline, "orphans after 5 s"
            time.sleep(0.05)
    finally:
        parent.kill()


def _wait_for_pid(path: Path) -> int:
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return int(path.read_text())


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_fifty_segments_leave_the_controllers_memory_and_files_flat(bench: Bench) -> None:
    executor, me = bench.executor(functions.counting), psutil.Process()
    for trial_id in range(5):
        bench.run(executor, Recorder(), bench.order(trial_id))
    memory, files = me.memory_info().rss, me.num_fds()
    for trial_id in range(5, 55):
        bench.run(executor, Recorder(), bench.order(trial_id))
    assert me.num_fds() <= files + 2
    assert me.memory_info().rss - memory < 8_000_000
