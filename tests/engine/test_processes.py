"""After a kill, a signal or a server that hangs, no process is left and nothing waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import segment_functions as functions
from local_bench import Bench, Recorder

from lightning_hwtune.engine import local
from lightning_hwtune.engine.fork_server import ForkServer, fork_server
from lightning_hwtune.errors import TrialError
from lightning_hwtune.host.socket_folder import make_socket_folder
from lightning_hwtune.training.process.rendezvous import host_store, open_port

LIMIT_S = 60.0
GONE_S = 5.0


def lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def check_gone(pids: list[int], within_s: float = GONE_S) -> None:
    deadline = time.monotonic() + within_s
    while left := [pid for pid in pids if lives(pid)]:
        assert time.monotonic() < deadline, f"left: {[psutil.Process(pid).cmdline() for pid in left]}"
        time.sleep(0.02)


def started(folder: Path) -> list[int]:
    """Waits until a trial has started its processes; returns their ids."""
    path, deadline = folder / "pids", time.monotonic() + LIMIT_S
    while not path.exists() or len(path.read_text().split()) < functions.STARTED:
        assert time.monotonic() < deadline, "the trial started no processes"
        time.sleep(0.02)
    return [int(pid) for pid in path.read_text().split()]


# ---------------------------------------------------------------------- what a trial starts


@pytest.mark.parametrize(("how", "outcome"), [("returns", "done"), ("raises", "error"), ("aborts", "lost")])
@pytest.mark.slow
def test_what_a_trial_starts_ends_with_it(bench: Bench, how: str, outcome: str) -> None:
    order = bench.order(0, config={"how": how})
    sink = bench.run(bench.executor(functions.starting_processes), Recorder(), order)
    assert sink.ends[0].outcome == outcome
    pids = started(Path(order.trial_dir))
    assert not [pid for pid in pids if lives(pid)]  # already now: the devices are given to the next trial


def test_closing_ends_what_runs_and_what_it_started(bench: Bench) -> None:
    executor, order = bench.executor(functions.starting_processes), bench.order(0, config={"how": "hangs"})
    executor.start(order)
    while not (Path(order.trial_dir) / "pids").exists():
        executor.wait(Recorder(), 0.1)
    pids = started(Path(order.trial_dir))
    executor.close()
    assert not [pid for pid in pids if lives(pid)]


def test_one_trials_end_leaves_the_processes_of_another_alone(bench: Bench) -> None:
    executor, sink = bench.executor(functions.starting_processes), Recorder()
    staying, ending = bench.order(0, config={"how": "hangs"}), bench.order(1, config={"how": "aborts"})
    executor.start(staying)
    while not (Path(staying.trial_dir) / "pids").exists():
        executor.wait(sink, 0.1)
    pids = started(Path(staying.trial_dir))
    bench.run(executor, sink, ending)
    assert set(sink.ends) == {1}
    assert all(lives(pid) for pid in pids)


# ---------------------------------------------------------------------- kills


STUDY = """
    import os, sys, threading, time
    sys.path[:0] = {path!r}
    from pathlib import Path
    import segment_functions as functions
    from local_bench import Bench, Recorder

    def work():
        bench = Bench(Path({folder!r}))
        executor = bench.executor(functions.starting_processes)
        executor.start(bench.order(0, config={{"how": "hangs"}}))
        while True:
            executor.wait(Recorder(), 0.5)

    if {in_thread}:
        thread = threading.Thread(target=work)
        thread.start()
        while not Path({folder!r}, "trials/000/pids").exists():
            time.sleep(0.1)
        if os.fork() == 0:  # has copies of all descriptors, and outlives its parent for a while
            time.sleep(15)
            os._exit(0)
        thread.join()
    else:
        work()
"""


@pytest.mark.parametrize("victim", ["study", "study in a thread", "server", "guard"])
@pytest.mark.slow
def test_a_kill_leaves_nothing(tmp_path: Path, victim: str) -> None:
    script = textwrap.dedent(STUDY).format(
        path=[str(Path(__file__).parent), os.getcwd()], folder=str(tmp_path), in_thread=victim.endswith("thread")
    )
    study = subprocess.Popen([sys.executable, "-c", script])
    try:
        pids = started(tmp_path / "trials/000")
        family = psutil.Process(study.pid).children(recursive=True)
        guard = next(p for p in family if p.ppid() == study.pid and "forkserver(" in " ".join(p.cmdline()))
        (server,) = guard.children()
        folder = Path(guard.cmdline()[-1].rsplit("'", 2)[-2])
        assert folder.is_dir()
        os.kill({"server": server.pid, "guard": guard.pid}.get(victim, study.pid), signal.SIGKILL)
        check_gone([*pids, server.pid, guard.pid])
        deadline = time.monotonic() + GONE_S
        while folder.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        study.kill()
        study.wait()


@pytest.mark.slow
def test_a_killed_server_interrupts_its_segments_and_another_takes_its_place(bench: Bench) -> None:
    executor, order = bench.executor(functions.starting_processes), bench.order(0, config={"how": "hangs"})
    sink = Recorder()
    executor.start(order)
    while not (Path(order.trial_dir) / "pids").exists():
        executor.wait(sink, 0.1)
    server = psutil.Process(psutil.Process(started(Path(order.trial_dir))[3]).ppid())
    server.kill()
    while not sink.ends:
        executor.wait(sink, 0.5)
    assert sink.ends[0].outcome == "interrupted"  # costs no retry
    assert "fork server" in sink.ends[0].error
    sink = bench.run(executor, Recorder(), bench.order(1, config={"how": "returns"}))
    assert sink.ends[1].outcome == "done"


def test_folders_of_dead_processes_are_swept_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("lightning_hwtune.host.socket_folder._MAX_BYTES", 1000)
    mine = Path(make_socket_folder())
    pid, start, space, boot, _ = mine.name.removeprefix("hwtune-").split("-")
    dead = tmp_path / f"hwtune-{pid}-{int(start) - 1}-{space}-{boot}-abc"
    foreign = [tmp_path / f"hwtune-{pid}-1-{space}-other-abc", tmp_path / "hwtune-notes", tmp_path / "pymp-abc"]
    for folder in (dead, *foreign):
        folder.mkdir()
    second = Path(make_socket_folder())
    assert not dead.exists()
    assert all(folder.is_dir() for folder in (mine, second, *foreign))


# ---------------------------------------------------------------------- a server that is not ready


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ForkServer]:
    """A fork server for one test, which imports only what the test names."""
    server = ForkServer()
    monkeypatch.setattr(local, "fork_server", lambda: server)
    monkeypatch.setattr(local, "PRELOAD", "json")
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in _MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    yield server
    server.end()


_MODULES = {
    "hanging_at_import": "import time; time.sleep(600)",
    "ending_at_import": "import os; os._exit(3)",
    "crashing_at_import": "import os; os.abort()",
    "raising_at_import": "raise RuntimeError('not on this machine')",
    "exiting_at_import": "import sys; sys.exit('no')",
    "broken_at_import": "import no_such_module_at_all",
}


def wait_for(executor: Any, limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        executor.wait(Recorder(), 0.1)


@pytest.mark.parametrize(
    ("module", "what"),
    [
        ("hanging_at_import", "is not ready: it has been importing 'hanging_at_import'"),
        ("ending_at_import", "was killed 3 times in a row while it imported 'ending_at_import'"),
        ("crashing_at_import", "was killed 3 times in a row while it imported 'crashing_at_import'"),
    ],
)
def test_a_server_that_never_gets_ready_is_an_error(
    bench: Bench, own_server: ForkServer, module: str, what: str
) -> None:
    executor = bench.executor(functions.counting, preload=(module,), start_s=1.0)
    executor.start(bench.order(0))
    with pytest.raises(TrialError) as caught:
        wait_for(executor)
    assert what in str(caught.value)
    assert "preload" in str(caught.value)
    executor.close()


@pytest.mark.parametrize("module", ["raising_at_import", "exiting_at_import", "broken_at_import"])
def test_a_module_that_cannot_be_imported_stops_nobody(own_server: ForkServer, module: str) -> None:
    own_server.require([module, "json"])
    deadline = time.monotonic() + LIMIT_S
    while not own_server.is_ready:
        assert time.monotonic() < deadline
        own_server.poll()
        time.sleep(0.01)
    assert list(own_server.failed) == [module]


@pytest.mark.slow
def test_a_module_that_cannot_be_imported_is_noted_once(bench: Bench, own_server: ForkServer) -> None:
    executor = bench.executor(functions.counting, preload=("raising_at_import",))
    sink = bench.run(executor, Recorder(), bench.order(0, max_resource=1), bench.order(1, max_resource=1))
    assert [end.outcome for end in sink.ends.values()] == ["done", "done"]
    (note,) = sink.notes
    assert "'raising_at_import' (`preload`): RuntimeError: not on this machine" in note


def test_waiting_for_the_server_is_no_single_wait(bench: Bench, own_server: ForkServer) -> None:
    executor = bench.executor(functions.counting, preload=("hanging_at_import",))
    executor.start(bench.order(0))  # returns, and so does each wait: the loop renews its lease in between
    for _ in range(3):
        executor.wait(Recorder(), 0.05)
    sink = Recorder()
    executor.end(0, "interrupted", "over")
    executor.wait(sink, 5.0)
    assert sink.ends[0].outcome == "interrupted"


def test_what_a_server_lacks_it_imports_later(own_server: ForkServer) -> None:
    own_server.require(["json"])
    own_server.require(["json", "raising_at_import"])
    generation, deadline = own_server.generation, time.monotonic() + LIMIT_S
    while not own_server.is_ready:
        assert time.monotonic() < deadline
        own_server.poll()
        time.sleep(0.01)
    assert own_server.generation == generation == 1
    assert list(own_server.failed) == ["raising_at_import"]


def test_a_fork_of_this_process_has_a_server_of_its_own() -> None:
    ours = fork_server()
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, b"same" if fork_server() is ours else b"another")
        os._exit(0)
    os.wait()
    assert os.read(reader, 100) == b"another"


# ---------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("function", "error"),
    [
        ("stopped_in_a_message", "rank 0 sent no heartbeat for 3 s"),
        ("announcing_too_much", "rank 0 sent data that is not a message: a message of 4294967295 bytes"),
        ("babbling", "rank 0 sent data that is not a message"),
    ],
)
@pytest.mark.slow
def test_a_broken_message_costs_its_own_segment_only(bench: Bench, function: str, error: str) -> None:
    executor, sink = bench.executor(functions.chosen), Recorder()
    executor.start(bench.order(0, config={"function": function}))
    executor.start(bench.order(1, max_resource=8, config={"function": "counting", "epoch_s": 0.1}))
    deadline = time.monotonic() + LIMIT_S
    while len(sink.ends) < 2:
        executor.wait(sink, 0.5)
        assert time.monotonic() < deadline
    assert sink.reports == {1: list(range(1, 9))}
    assert sink.ends[1].outcome == "done"
    assert sink.ends[0].outcome == "lost"
    assert error in sink.ends[0].error


def test_nobody_else_can_reach_the_store_of_a_group(bench: Bench) -> None:
    order = bench.order(0, devices=2)
    sink = bench.run(bench.executor(functions.listening), Recorder(), order)
    assert sink.ends[0].outcome == "done", sink.ends[0].error
    addresses = [(Path(order.trial_dir) / f"listening_{rank}").read_text().split() for rank in (0, 1)]
    assert addresses[0]
    assert {address for rank in addresses for address in rank} == {"127.0.0.1"}


def test_a_store_listens_on_the_loopback_only() -> None:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    with open_port() as listener:
        port = listener.getsockname()[1]
        host_store(os.dup(listener.fileno()), port)
    client = TCPStore("127.0.0.1", port, is_master=False)
    client.set("key", "value")
    assert client.get("key") == b"value"
    here = [c.laddr.ip for c in psutil.Process().net_connections("inet") if c.laddr.port == port and not c.raddr]
    assert here == ["127.0.0.1"]


# ---------------------------------------------------------------------- surroundings


ODD = """
    import os, shutil, signal, sys
    from pathlib import Path
    sys.path[:0] = {path!r}
    import segment_functions as functions
    from local_bench import Bench, Recorder

    bench = Bench(Path({folder!r}))
    sys.path.append(Path("/no/text"))  # the import system skips it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a child inherits both
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM])
    os.chdir({gone!r})
    shutil.rmtree({gone!r})
    sink = bench.run(bench.executor(functions.with_loader_workers), Recorder(), bench.order(0))
    print(sink.ends[0].outcome, sink.reports)
"""


@pytest.mark.slow
def test_odd_surroundings_and_a_long_temporary_folder_are_no_obstacle(tmp_path: Path) -> None:
    folder, gone = tmp_path / ("t" * 120), tmp_path / "gone"
    folder.mkdir()
    gone.mkdir()
    path = [str(Path(__file__).parent), os.getcwd()]
    script = textwrap.dedent(ODD).format(path=path, folder=str(tmp_path), gone=str(gone))
    environment = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    assert ended.stdout == "done {0: [3]}\n", ended.stderr
    assert not [path for path in folder.rglob("*") if path.is_socket() or path.name.startswith(("pymp-", "hwtune-"))]
