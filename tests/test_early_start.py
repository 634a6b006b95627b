"""The fork server starts first in a run, and stays only if it is useful: real processes with short imports."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import study_functions as functions
from study_bench import check_gone, family, run, small_study

import lightning_hwtune as hwt
from lightning_hwtune import study_run
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.engine import fork_server, guard, local, warm_up
from lightning_hwtune.engine.fork_server import ForkServer
from lightning_hwtune.engine.session import Session
from lightning_hwtune.store.files import StudyFiles

LIMIT_S = 60.0
STEPS = hwt.SearchSpace(x=hwt.Float(0.0, 1.0), devices=hwt.NumDevices(1, 2))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    """The only fork server of this process during a test; its ranks import the rest themselves."""
    server = ForkServer()
    for module in (study_run, local, fork_server):
        monkeypatch.setattr(module, "PRELOAD", "json")
    for module in (study_run, local, warm_up):
        monkeypatch.setattr(module, "fork_server", lambda: server)
    yield server
    server.end()


def runs(server: ForkServer) -> bool:
    server.poll()
    return bool(server.waitable)


def plain(trial: Any) -> None:
    trial.report(1, error=0.5)


# ---------------------------------------------------------------------- what starts no process


PURE_REFUSALS: dict[str, Callable[[hwt.Study], object]] = {
    "no limit": lambda study: run(study, plain, finishers="auto"),
    "no trials": lambda study: run(study, plain, max_trials=0),
    "no function": lambda study: run(study, 3, max_trials=1),  # type: ignore[arg-type]
    "a function of two arguments": lambda study: run(study, lambda a, b: None, max_trials=1),  # type: ignore[misc]
    "a generator": lambda study: run(study, lambda trial: (yield), max_trials=1),
    "several devices inline": lambda study: run(study, plain, max_trials=1, executor="inline"),
    "an unknown executor": lambda study: run(study, plain, max_trials=1, executor="no.such.module:Executor"),
    "a limit of money without a price": lambda study: run(study, plain, max_cost=1.0),
    "a misspelt keyword": lambda study: run(study, plain, max_trial=1),
    "preload that is no list": lambda study: run(study, plain, max_trials=1, preload=3),
    "a check of no function": lambda study: study.check("train"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", PURE_REFUSALS)
def test_a_call_that_is_refused_by_its_arguments_starts_no_process(
    tmp_path: Path, server: ForkServer, case: str
) -> None:
    with pytest.raises(hwt.HwTuneError):
        PURE_REFUSALS[case](small_study(tmp_path, space=STEPS))
    assert server.generation == 0


def test_constructing_and_reading_a_study_starts_no_process(tmp_path: Path, server: ForkServer) -> None:
    study = run(small_study(tmp_path), plain, max_trials=2, executor="inline")
    with pytest.raises(hwt.StudyMismatchError):
        small_study(tmp_path, seed=5)
    for again in (small_study(tmp_path), hwt.Study.load("study", tmp_path)):
        assert len(again.trials()) == 2
        again.front(at="any")
        again.why(0)
        again.enqueue({"x": 0.25})
    trial = study.ask(max_trials=3, progress=False)
    assert trial is not None
    study.close()
    assert server.generation == 0


# ---------------------------------------------------------------------- what a run leaves


class Witness:
    """A captured object that keeps what is there when it is pickled."""

    def __init__(self, look: Callable[[], Any], error: Exception | None = None) -> None:
        self.look, self.error, self.seen = look, error, list[Any]()

    def __reduce__(self) -> Any:
        self.seen.append(self.look())
        raise self.error or TypeError("not to be pickled")


def test_the_server_is_the_first_thing_that_a_run_starts(tmp_path: Path, server: ForkServer) -> None:
    study = small_study(tmp_path)
    witness = Witness(lambda: (runs(server), study.dir.exists()))
    with pytest.raises(hwt.ArgumentError, match="not to be pickled"):
        run(study, lambda trial: print(witness), max_trials=1)
    assert witness.seen == [(True, False)]  # the function is written before the log exists and the lease is taken


def locked(study: hwt.Study) -> None:
    with Session(study.spec, StudyFiles(study.dir.parent, study.name, budget_bytes=None), Limits(max_trials=1)):
        run(study, plain, max_trials=1)


def of_another_study(study: hwt.Study) -> None:
    run(study, plain, max_trials=1, executor="inline")
    (study.dir / "study.db").unlink()
    run(study, plain, max_trials=1)


def with_an_object_that_cannot_be_pickled(study: hwt.Study) -> None:
    lock = threading.Lock()
    run(study, lambda trial: lock, max_trials=1)


def checked_in_a_foreign_folder(study: hwt.Study) -> None:
    run(study, plain, max_trials=1, executor="inline")
    (study.dir / "study.db").unlink()
    study.check(plain)


def interrupted(study: hwt.Study) -> None:
    stop = Witness(lambda: os.kill(os.getpid(), signal.SIGINT))
    run(study, lambda trial: stop, max_trials=1)


LATE_REFUSALS = (
    locked, of_another_study, with_an_object_that_cannot_be_pickled, checked_in_a_foreign_folder, interrupted,
)  # fmt: skip


@pytest.mark.parametrize("refused", LATE_REFUSALS, ids=lambda function: function.__name__)
def test_a_run_that_fails_before_its_first_trial_leaves_no_process(
    tmp_path: Path, server: ForkServer, refused: Callable[[hwt.Study], None]
) -> None:
    before = family(os.getpid())
    with pytest.raises((hwt.HwTuneError, KeyboardInterrupt)):
        refused(small_study(tmp_path))
    assert server.generation == 1
    assert not runs(server)
    check_gone([process for process in family(os.getpid()) if process not in before])


def test_a_run_with_nothing_left_to_do_leaves_no_process(tmp_path: Path, server: ForkServer) -> None:
    study = run(small_study(tmp_path), plain, max_trials=2, finishers=0, executor="inline")
    run(study, plain, max_trials=2, finishers=0)
    assert server.generation == 1
    assert not runs(server)


def test_the_forecast_and_the_segments_of_a_study_that_continues_begin_after_the_imports(
    tmp_path: Path, server: ForkServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(1.5)\n")
    monkeypatch.syspath_prepend(tmp_path)
    run(small_study(tmp_path), functions.plain, max_trials=2, finishers=0, executor="inline")
    began = time.time()
    study = run(
        small_study(tmp_path), functions.plain, max_trials=3, finishers=0, preload=["slow_to_import"], progress=True
    )
    first, *_ = [segment for segment in study.state().segments if segment.started_at > began]
    assert first.started_at - began >= 1.5
    lines = capsys.readouterr().out.splitlines()
    imports = lines.index("importing the training's libraries before the first trial; usually some seconds ...")
    assert lines[imports + 1].startswith("forecast: about ")
    assert " trial 2 starts " in lines[imports + 2]


def request_rank(server: ForkServer) -> None:
    """Requests a rank whose engine is gone, so that it ends at once."""
    (reader, writer), (ours, theirs) = os.pipe(), multiprocessing.Pipe()
    ours.close()
    server.start_rank(writer, theirs.fileno(), None)
    for descriptor in (reader, writer):
        os.close(descriptor)
    theirs.close()


def test_a_server_that_started_a_rank_stays_for_later_runs(server: ForkServer) -> None:
    with server.run(["json"]):
        request_rank(server)
    assert runs(server)
    with server.run(["json"]):
        pass
    assert runs(server)
    assert server.generation == 1


def test_a_refused_run_leaves_the_server_to_the_run_of_another_thread(server: ForkServer) -> None:
    with server.run(["json"]):
        with pytest.raises(hwt.ArgumentError), server.run(["json"]):
            raise hwt.ArgumentError("train", None, "a function")
        assert runs(server)
    assert not runs(server)
    assert server.generation == 1


def test_a_module_that_failed_is_tried_again_by_the_next_run(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.warm_up()
    with server.run(["hwtune_written_later"]):
        wait_until_ready(server)
        assert list(server.failed) == ["hwtune_written_later"]
    (tmp_path / "hwtune_written_later.py").touch()
    monkeypatch.syspath_prepend(tmp_path)  # a folder that the server did not know when it started
    with server.run(["hwtune_written_later"]):
        wait_until_ready(server)
        assert not server.failed
    assert server.generation == 1


def wait_until_ready(server: ForkServer) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not server.is_ready:
        assert time.monotonic() < deadline
        server.poll()
        time.sleep(0.01)


# ---------------------------------------------------------------------- warm_up


def test_warm_up_starts_the_server_once_and_a_refused_run_leaves_it(tmp_path: Path, server: ForkServer) -> None:
    hwt.warm_up()
    hwt.warm_up()
    with pytest.raises(hwt.ArgumentError):
        with_an_object_that_cannot_be_pickled(small_study(tmp_path))
    hwt.warm_up()
    assert runs(server)
    assert server.generation == 1


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK"])
def test_warm_up_does_nothing_in_a_rank(server: ForkServer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    hwt.warm_up()
    assert server.generation == 0


def test_warm_up_does_nothing_in_a_segment(tmp_path: Path, server: ForkServer) -> None:
    def train(trial: Any) -> None:
        hwt.warm_up()
        plain(trial)

    study = run(small_study(tmp_path), train, max_trials=1, executor="inline")
    assert study.ask(max_trials=2, progress=False) is not None
    hwt.warm_up()
    study.close()
    assert server.generation == 0


def test_warm_up_does_nothing_in_a_process_of_multiprocessing(server: ForkServer) -> None:
    def work(answer: Any) -> None:
        hwt.warm_up()
        answer.put(server.generation)

    context = multiprocessing.get_context("fork")
    answer = context.SimpleQueue()
    process = context.Process(target=work, args=(answer,))
    process.start()
    process.join()
    assert answer.get() == 0


def test_warm_up_does_nothing_where_no_process_can_start(
    tmp_path: Path, server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard.spawn, "get_executable", lambda: str(tmp_path / "no python"))
    hwt.warm_up()
    assert not runs(server)
    with pytest.raises(hwt.TrialError, match="cannot be started"):  # a run says so
        run(small_study(tmp_path), functions.plain_on_ranks, max_trials=1)
    assert not (tmp_path / "study").exists()
    monkeypatch.delattr(os, "fork")
    hwt.warm_up()
    assert server.generation == 0


_SCRIPT = """
    import lightning_hwtune as hwt
    hwt.warm_up()
    import sys
    print(sorted({"torch", "lightning", "numpy", "pandas"} & set(sys.modules)), flush=True)
    input()
"""


@pytest.mark.parametrize("how", ["ends", "killed", "interrupted"])
def test_a_warm_server_ends_with_its_script(how: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(_SCRIPT)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "[]\n"  # nothing heavy is imported before the server starts
        children = family(process.pid)
        assert children
        if how == "killed":
            process.kill()
        elif how == "interrupted":
            process.send_signal(signal.SIGINT)
        process.communicate("\n")
    assert process.returncode == {"ends": 0, "killed": -9, "interrupted": -2}[how]
    check_gone(children)
