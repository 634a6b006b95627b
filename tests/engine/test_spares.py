"""Spare ranks: forked before they are needed, with nothing of any segment in them. Real processes, real kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from local_bench import Bench, Recorder
from study_bench import run, small_study
from test_processes import check_gone, lives

import lightning_hwtune as hwt
from lightning_hwtune import study_run
from lightning_hwtune.engine import local
from lightning_hwtune.engine.fork_server import PRELOAD, ForkServer
from lightning_hwtune.engine.local import LocalExecutor

LIMIT_S = 60.0
QUIET_S = 0.3  # much longer than the server waits before it forks a spare


@pytest.fixture(scope="module")
def warm_server() -> Iterator[ForkServer]:
    """One server for the module."""
    server = ForkServer()
    server.require([PRELOAD])
    yield server
    server.end()


@pytest.fixture
def server(warm_server: ForkServer, monkeypatch: pytest.MonkeyPatch) -> ForkServer:
    for module in (local, study_run):
        monkeypatch.setattr(module, "fork_server", lambda: warm_server)
    wait_until(lambda: is_ready(warm_server) and not children(warm_server))
    return warm_server


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.01)


def is_ready(server: ForkServer) -> bool:
    server.poll()
    return server.is_ready


def children(server: ForkServer) -> set[int]:
    """The process ids of the ranks and spares."""
    guard = vars(server)["_guard"].pid
    (process,) = psutil.Process(guard).children()
    return {child.pid for child in process.children() if lives(child.pid)}


def spares(server: ForkServer, n: int) -> set[int]:
    """Waits until there are so many processes; returns their ids."""
    wait_until(lambda: len(children(server)) == n)
    return children(server)


def look(trial: Any) -> None:
    """Writes down what a segment finds in its process."""
    import random

    import torch

    from lightning_hwtune.training.import_times import process_age_s

    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    forked_at = ticks / os.sysconf("SC_CLK_TCK")
    found = {
        "pid": os.getpid(),
        "cwd": os.getcwd(),
        "argv": sys.argv,
        "marker": os.environ.get("HWTUNE_TEST_MARKER"),
        "threads": torch.get_num_threads(),
        "seeds": [torch.initial_seed(), random.random()],
        "modules": sorted(sys.modules),
        "group": os.getpgid(0),
        "session": os.getsid(0),
        "waited_s": time.clock_gettime(time.CLOCK_BOOTTIME) - forked_at - process_age_s(),
    }
    if trial.num_devices > 1:
        torch.distributed.init_process_group("gloo")
    print("printed by", trial.id)
    (trial.dir / f"found_{os.environ['RANK']}.json").write_text(json.dumps(found))
    trial.report(1, error=0.5)


def found_by(order: Any, rank: int = 0) -> dict[str, Any]:
    return dict(json.loads((Path(order.trial_dir) / f"found_{rank}.json").read_text()))


def trained(bench: Bench, executor: LocalExecutor, trial_id: int, **changes: Any) -> dict[str, Any]:
    order = bench.order(trial_id, max_resource=1, **changes)
    sink = bench.run(executor, Recorder(), order)
    assert sink.ends[trial_id].outcome == "done", sink.ends[trial_id].error
    return found_by(order)


# ---------------------------------------------------------------------- what a spare is


@pytest.mark.slow
def test_each_segment_trains_in_a_spare_and_no_two_in_the_same(bench: Bench, server: ForkServer) -> None:
    executor = bench.executor(look, n_spares=2)
    pids = []
    for trial_id in range(4):
        waiting = spares(server, 2)
        pids.append(trained(bench, executor, trial_id)["pid"])
        assert pids[-1] in waiting
    assert len(set(pids)) == 4


def test_a_spare_has_nothing_of_a_segment_until_its_order_comes(
    bench: Bench, server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = bench.executor(look, n_spares=1)
    (pid,) = spares(server, 1)
    spare = psutil.Process(pid)
    wait_until(lambda: os.getpgid(pid) == pid)  # it has left the server's session
    assert spare.cwd() == "/"
    assert "HWTUNE_TEST_MARKER" not in spare.environ()
    assert not list(tmp_path.rglob("*.log"))
    places = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    assert not [place for place in places if "nvidia" in place or str(tmp_path) in place]

    monkeypatch.setenv("HWTUNE_TEST_MARKER", "set after the fork")  # all of this comes with the order
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["script.py", "--flag"])
    time.sleep(QUIET_S)
    found = trained(bench, executor, 7)
    assert found["pid"] == found["group"] == found["session"] == pid
    assert found["cwd"] == str(tmp_path)
    assert found["argv"] == ["script.py", "--flag"]
    assert found["marker"] == "set after the fork"
    assert found["seeds"][0] == 7
    assert found["waited_s"] > QUIET_S / 2  # the wait is not counted as start-up
    (log,) = (Path(bench.order(7).trial_dir) / "logs").iterdir()
    assert "printed by 7" in log.read_text()


def test_a_spare_and_a_rank_forked_on_request_draw_the_same(bench: Bench, server: ForkServer) -> None:
    executor = bench.executor(look, n_spares=1)
    spares(server, 1)
    in_spare = trained(bench, executor, 3)
    executor.close()
    spares(server, 0)
    on_request = trained(bench, bench.executor(look), 3)
    for name in ("seeds", "threads", "modules", "argv", "cwd"):
        assert in_spare[name] == on_request[name], name


def test_the_names_of_one_script_are_not_those_of_the_next_segment(bench: Bench, server: ForkServer) -> None:
    def naming(trial: Any) -> None:
        main = vars(sys.modules["__main__"])
        (trial.dir / "found_0.json").write_text(json.dumps({"before": "left_behind" in main, "pid": os.getpid()}))
        main["left_behind"] = sys.modules["left_behind"] = sys
        trial.report(1, error=0.5)

    executor = bench.executor(naming, n_spares=1)
    for trial_id in range(3):
        spares(server, 1)
        assert not trained(bench, executor, trial_id)["before"]


def test_the_ranks_of_a_group_are_spares_as_far_as_there_are_any(bench: Bench, server: ForkServer) -> None:
    executor = bench.executor(look, n_spares=1)
    (spare,) = spares(server, 1)
    order = bench.order(0, devices=2, max_resource=1)
    sink = bench.run(executor, Recorder(), order)
    assert sink.ends[0].outcome == "done", sink.ends[0].error
    assert found_by(order, 0)["pid"] == spare
    assert found_by(order, 1)["pid"] != spare


# ---------------------------------------------------------------------- when there are spares


def test_a_run_keeps_a_spare_per_trial_at_a_time_and_leaves_none(tmp_path: Path, server: ForkServer) -> None:
    def train(trial: Any) -> None:
        parent = psutil.Process().parent()
        assert parent is not None
        deadline = time.monotonic() + LIMIT_S
        while len(parent.children()) < 2 and time.monotonic() < deadline:  # this rank, and one spare
            time.sleep(0.01)
        (trial.dir / "n_processes").write_text(str(len(parent.children())))
        look(trial)

    scheduler = hwt.RunToEnd(max_epochs=1)
    study = run(small_study(tmp_path, scheduler=scheduler), train, max_trials=3, max_parallel=1, finishers=0)
    folders = [study.logs(trial_id).parent for trial_id in range(3)]
    assert len({json.loads((folder / "found_0.json").read_text())["pid"] for folder in folders}) == 3
    n_processes = [int((folder / "n_processes").read_text()) for folder in folders]
    spares(server, 0)
    assert n_processes == [2, 2, 2]


def test_no_spare_is_forked_while_memory_is_short(bench: Bench, server: ForkServer) -> None:
    short = bench.executor(look, n_spares=2, least_free_bytes=1 << 60)
    trained(bench, short, 0)  # segments are trained all the same
    time.sleep(QUIET_S)
    assert not children(server)
    short.close()
    bench.executor(look, n_spares=2, least_free_bytes=1)
    spares(server, 2)


def test_closing_an_executor_ends_its_spares_and_leaves_those_of_another(bench: Bench, server: ForkServer) -> None:
    first, second = bench.executor(look, n_spares=1), bench.executor(look, n_spares=2)
    waiting = spares(server, 3)
    second.close()
    assert spares(server, 1) < waiting
    first.close()
    spares(server, 0)


def test_spares_are_replaced_when_the_server_imports_more(
    bench: Bench, server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = bench.executor(look, n_spares=1)
    old = spares(server, 1)
    (tmp_path / "hwtune_imported_later.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    executor.preload(["hwtune_imported_later"])
    wait_until(lambda: is_ready(server))
    wait_until(lambda: len(children(server)) == 1 and children(server) != old)
    new = children(server)
    found = trained(bench, executor, 0)
    assert found["pid"] in new
    assert "hwtune_imported_later" in found["modules"]


def look_and_import(trial: Any) -> None:
    """Imports a library and a module of the user as its first work."""
    before = {name for name in sys.modules if name.startswith("hwtune_slow_")}
    import hwtune_slow_library  # type: ignore[import-not-found]
    import hwtune_slow_module  # type: ignore[import-not-found]  # noqa: F401

    assert hwtune_slow_library.__file__
    (trial.dir / "found_0.json").write_text(json.dumps({"before": sorted(before)}))
    trial.report(1, error=0.5)


def test_what_the_first_segment_imports_is_there_in_later_ones_without_a_check(
    bench: Bench, server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, own = tmp_path / "site-packages" / "hwtune_slow_library.py", tmp_path / "hwtune_slow_module.py"
    library.parent.mkdir()
    for file in (library, own):
        file.write_text("import time; time.sleep(0.05)\n")
        monkeypatch.syspath_prepend(file.parent)
    executor = bench.executor(look_and_import, n_spares=1)
    assert trained(bench, executor, 0)["before"] == []
    wait_until(lambda: is_ready(server))
    assert trained(bench, executor, 1)["before"] == ["hwtune_slow_library"]


def test_an_import_that_hangs_only_in_the_server_ends_no_segment(
    bench: Bench, server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    text = f"import os, time; open({str(log)!r}, 'a').write(os.environ['HWTUNE_TEST_LATER']); time.sleep(1000)"
    (tmp_path / "hwtune_hangs_later.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HWTUNE_TEST_LATER", "known")  # after the server has begun
    monkeypatch.setattr(local, "_INTERRUPTED_S", 0.2)
    executor, generation = bench.executor(look, n_spares=1), server.generation
    trained(bench, executor, 0)
    executor.preload(["hwtune_hangs_later"])
    wait_until(lambda: is_ready(server))
    trained(bench, executor, 1)
    assert (server.generation, server.failed.keys()) == (generation, {"hwtune_hangs_later"})
    assert "longer than 0.2 s" in server.failed["hwtune_hangs_later"]
    assert log.read_text() == "known"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_spare_that_is_killed_costs_nothing_and_is_not_replaced(
    bench: Bench, server: ForkServer, number: signal.Signals
) -> None:
    executor = bench.executor(look, n_spares=1)
    (pid,) = spares(server, 1)
    os.kill(pid, number)
    spares(server, 0)
    assert trained(bench, executor, 0)["pid"] != pid
    time.sleep(QUIET_S)
    assert not children(server)  # perhaps the memory is full


# ---------------------------------------------------------------------- the end of the others


STUDY = """
    import sys, time
    from lightning_hwtune.engine.fork_server import ForkServer

    server = ForkServer()
    server.require(["json"])
    server.keep_spares("a study", 2)
    time.sleep(600)
"""


@pytest.mark.parametrize("victim", ["study", "server", "guard", "study while the server is stopped"])
def test_spares_end_with_the_server(victim: str) -> None:
    study = subprocess.Popen([sys.executable, "-c", textwrap.dedent(STUDY)], cwd=Path(__file__).parents[2])
    try:
        wait_until(lambda: len(psutil.Process(study.pid).children(recursive=True)) == 4)
        family = psutil.Process(study.pid).children(recursive=True)
        guard = next(process for process in family if process.ppid() == study.pid)
        (server,) = guard.children()
        if victim.endswith("stopped"):
            server.suspend()
        os.kill({"server": server.pid, "guard": guard.pid}.get(victim, study.pid), signal.SIGKILL)
        check_gone([process.pid for process in family])
    finally:
        study.kill()
        study.wait()
