"""A one-device study on the CPU runs where the calls that only Linux has are missing, as on macOS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.host import process_family

# Python runs this file first, in every process of the study
_WITHOUT_LINUX = """
    import ctypes, os, resource, select, signal, socket, sys, time

    for module, names in {
        os: ["sched_getaffinity", "sched_setaffinity", "sched_getscheduler", "pidfd_open", "memfd_create", "eventfd",
             "pipe2", "waitid", "posix_fadvise", "posix_fallocate", "getrandom", "splice", "copy_file_range", "setns",
             "unshare", "O_TMPFILE", "O_DIRECT", "getresuid", "fdatasync"],
        signal: ["pidfd_send_signal", "sigwaitinfo", "sigtimedwait", "SIGRTMIN", "SIGRTMAX", "SIGPWR", "SIGSTKFLT"],
        select: ["epoll"], socket: ["SOCK_CLOEXEC", "SOCK_NONBLOCK", "SO_PEERCRED", "SO_PASSCRED"],
        resource: ["prlimit", "RUSAGE_THREAD"], time: ["CLOCK_BOOTTIME"],
    }.items():
        for name in names:
            vars(module).pop(name, None)

    class Library(ctypes.CDLL):
        def __getattr__(self, name):
            if name in ("prctl", "fork"):
                raise AttributeError(name)
            return super().__getattr__(name)

    ctypes.CDLL = Library

    def refuse(event, arguments):
        if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(("/proc", "/sys")):
            raise FileNotFoundError(2, "no such file", str(arguments[0]))
        if event == "socket.bind" and isinstance(arguments[1], (str, bytes)) and arguments[1][:1] in ("\\0", b"\\0"):
            raise OSError(22, "no abstract sockets")

    sys.addaudithook(refuse)
"""

_STUDY = """
    import json, os, sys, time
    import lightning_hwtune as hwt

    def train(trial):
        import ctypes, os
        seen = [name for name in ("sched_getaffinity", "memfd_create") if hasattr(os, name)]
        seen += ["/proc"] if os.path.exists("/proc") and can_list() else []
        (trial.dir / "linux").write_text(" ".join(seen))
        for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
            if trial.report(epoch, loss=trial["x"] + 1 / epoch).kind != "continue":
                trial.save(epoch)
                return
        trial.save(trial.max_epochs)

    def can_list():
        try:
            return bool(os.listdir("/proc"))
        except OSError:
            return False

    study = hwt.Study("s", {"x": hwt.Float(0, 1)}, [hwt.Metric("loss", "min"), hwt.TrainSeconds()], max_epochs=3,
                      pool=hwt.Pool(devices=1))
    events = []
    study.run(train, max_trials=3, progress=False, callbacks=[events.append])
    print(json.dumps({
        "are_passed_on": [event.at for event in events] == [event.at for event in study.events()],
        "accelerator": study._spec.pool.accelerator,
        "states": [trial.state.value for trial in study.state().trials],
        "linux": [path.read_text() for path in study.dir.glob("trials/*/linux")],
        "front": len(study.front()),
    }))
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """The environment of a system without the calls of Linux."""
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "sitecustomize.py").write_text(textwrap.dedent(_WITHOUT_LINUX))
    path = os.pathsep.join([str(tmp_path / "system"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}


def printed(code: str, folder: Path, environment: dict[str, str]) -> str:
    (folder / "script.py").write_text(textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.training
@pytest.mark.slow
def test_a_study_with_its_check_runs_without_the_calls_of_linux(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    found = json.loads(printed(_STUDY, tmp_path, elsewhere).splitlines()[-1])
    assert found["accelerator"] == "cpu"
    assert found["linux"] == [""] * 3
    assert set(found["states"]) <= {"completed", "paused", "stopped"}
    assert found["front"] >= 1
    assert found["are_passed_on"]
    page = tmp_path / "page.html"
    for command in (["status"], ["why", "0"], ["report", "--out", str(page)]):
        subprocess.run([sys.executable, "-m", "lightning_hwtune", *command], cwd=tmp_path, env=elsewhere, check=True)
    assert "</html>" in page.read_text()


_ON_AN_AGENT = """
    import os, subprocess, sys
    import lightning_hwtune as hwt

    def train(trial):
        for epoch in range(1, trial.max_epochs + 1):
            trial.report(epoch, loss=trial["x"] / epoch)

    study = hwt.Study("s", {"x": hwt.Float(0, 1)}, [hwt.Metric("loss", "min")], scheduler=hwt.RunToEnd(2),
                      pool=hwt.Pool("cpu", devices=1, nodes=2))
    agent = subprocess.Popen([sys.executable, "-m", "lightning_hwtune", "agent", "hwtune/s"])
    try:
        study.run(train, max_trials=1, executor="agents", check=False, progress=False)
        print(agent.wait(30), *(trial.state.value for trial in study.state().trials))
    finally:
        agent.kill()
"""


@pytest.mark.training
@pytest.mark.slow
def test_an_agent_trains_without_the_calls_of_linux(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    (tmp_path / "hwtune" / "s").mkdir(parents=True)
    assert printed(_ON_AN_AGENT, tmp_path, elsewhere).strip() == "0 completed"


_IMPORTS = """
    import importlib, pkgutil
    import lightning_hwtune

    for module in pkgutil.walk_packages(lightning_hwtune.__path__, "lightning_hwtune."):
        if "._hydra" in module.name or module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # an extra that is not installed
            assert error.name and not error.name.startswith("lightning_hwtune"), error
    print("imported")
"""


@pytest.mark.slow
def test_every_module_is_imported_without_the_calls_of_linux(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    assert printed(_IMPORTS, tmp_path, elsewhere).strip() == "imported"


_ENDS = """
    import os, subprocess, sys, time
    from lightning_hwtune.host.process_family import adopt_orphans, children_of, die_with_parent, end_children

    adopt_orphans()
    die_with_parent(os.getppid())
    children = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    assert sorted(children_of(os.getpid())) == sorted(child.pid for child in children)
    end_children(grace_s=0.1)
    assert list(children_of(os.getpid())) == []
    print("ended")
"""


def test_children_are_found_and_ended_without_the_calls_of_linux(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    assert printed(_ENDS, tmp_path, elsewhere).strip() == "ended"


_QUESTIONS = """
    import os
    from lightning_hwtune.engine.check_segment import _bytes_moved, _sessions
    from lightning_hwtune.host.cpus import n_cpus
    from lightning_hwtune.host.fork_safety import ForkState
    from lightning_hwtune.host.memory import free_bytes
    from lightning_hwtune.host.process_identity import birth_of, is_alive
    from lightning_hwtune.host.socket_folder import make_socket_folder
    from lightning_hwtune.training.import_times import process_age_s
    import lightning_hwtune.apps.hydra.leftover_programs as programs

    folder = make_socket_folder()
    os.rmdir(folder)
    print(n_cpus() == os.cpu_count(), free_bytes(), ForkState.now().n_native, repr(birth_of(1)), is_alive(1, "a/b/c"),
          process_age_s(), _sessions([7]), _bytes_moved(7), list(programs.programs_of(folder)))
"""


def test_questions_to_the_system_have_an_answer_without_linux(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    assert printed(_QUESTIONS, tmp_path, elsewhere).strip() == "True None 0 '' None nan [7] 0 []"


def test_without_a_program_that_lists_processes_no_children_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert list(process_family._listed_children_of(os.getpid())) == []


@pytest.mark.parametrize("name", ["mps", "MPS", "metal", " mps"])
def test_apples_gpu_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ArgumentError, match=r"Apple's GPU cannot be used in forked processes.*Use Pool\('cpu'\)"):
        Pool(name)


@pytest.mark.parametrize("name", ["tpu", "apple", "", None, 3])
def test_other_accelerators_are_refused_without_that_reason(name: object) -> None:
    with pytest.raises(ArgumentError, match="'auto', 'cpu' or 'gpu'") as refused:
        Pool(name)  # type: ignore[arg-type]
    assert "Apple" not in str(refused.value)
