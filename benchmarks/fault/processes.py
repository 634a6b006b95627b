"""Faults of processes: kills, stops, signals, servers that never become ready, incomplete messages."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping

from benchmarks.fault.bench import Bench

__all__ = ["FAULTS"]


def _kill_controller(bench: Bench, in_thread: bool) -> None:
    process = bench.start(starts=True, in_thread=in_thread)
    bench.wait(lambda: bench.n_witnessed() >= 3, process)
    process.kill()
    process.wait()
    bench.count_orphans()
    bench.run()
    bench.count_losses()


def _kill_server(bench: Bench, victim: int) -> None:
    """Kills the guard (0) or the fork server (1) while trials run; no retry is charged for it."""
    process = bench.start(starts=True)
    bench.wait(lambda: bench.n_witnessed() >= 1, process)
    bench.fork_server(process)[victim].kill()
    bench.finish(process)
    bench.count_losses()


def _kill_server_in_imports(bench: Bench) -> None:
    process = bench.start(check=True)
    for line in process.stdout or ():
        if "checking" in line:
            break
    bench.fork_server(process)[1].kill()
    bench.finish(process)
    bench.count_losses()


def _rank(bench: Bench, fault: str) -> None:
    """One rank of one trial does something once: the trial is retried, and no other trial is affected."""
    bench.run(starts=True, fault=fault)
    bench.count_losses(retries=1)


def _group(bench: Bench, fault: str) -> None:
    bench.run(fault=fault, devices=2)
    bench.count_losses(retries=1)


def _signal_in_imports(bench: Bench, number: signal.Signals, delay_s: float) -> None:
    """A signal arrives some time after the check began; the study ends in an orderly way within two seconds."""
    process = bench.start(check=True)
    for line in process.stdout or ():
        if "checking" in line:
            break
    time.sleep(delay_s)
    _end_by(bench, process, number)


def _signal_in_training(bench: Bench, number: signal.Signals) -> None:
    process = bench.start(starts=True)
    bench.wait(lambda: bench.n_witnessed() >= 2, process)
    _end_by(bench, process, number)


def _end_by(bench: Bench, process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal to the study, measure its end, and continue the study."""
    began = time.monotonic()
    os.killpg(process.pid, number)
    # Python itself ends with -2 after SIGINT; after another signal the study exits with 128 + number
    bench.finish(process, -number if number is signal.SIGINT else 128 + number)
    bench.signal_s.append(time.monotonic() - began)
    bench.count_orphans()
    bench.run()
    bench.count_losses()


def _preload(bench: Bench, text: str) -> None:
    """A module of `preload` prevents the server from becoming ready: the error names it."""
    (bench.folder / "odd_module.py").write_text(text)
    output = bench.run(3, preload=["odd_module"], start_s=10.0)
    bench.wrong += "odd_module" not in output
    bench.count_orphans()
    bench.run()
    bench.count_losses()


def _long_temporary_folder(bench: Bench) -> None:
    bench.temporary = bench.folder / ("t" * 120)
    bench.temporary.mkdir()
    bench.run(loader=True)
    bench.count_losses()


def _listening(bench: Bench) -> None:
    """While two ranks train, no process of the study listens on an address that other machines can reach."""
    import psutil

    process = bench.start(devices=2)
    bench.wait(lambda: bench.n_witnessed() >= 1, process)
    for member in psutil.Process(process.pid).children(recursive=True):
        try:
            connections = member.net_connections("inet")
        except psutil.Error:
            continue
        bench.wrong += sum(c.status == psutil.CONN_LISTEN and c.laddr.ip != "127.0.0.1" for c in connections)
    bench.finish(process)
    bench.count_losses()


def _text(bench: Bench, fault: str) -> None:
    """An error with unusual text is stored, and every command can show the study."""
    bench.run(fault=fault)
    bench.count_losses(retries=1)
    for command in (("trials",), ("why", "1"), ("status",), ("export",)):
        bench.wrong += bench.command(*command).returncode != 0
    bench.wrong += (bench.study_dir / "study.db").stat().st_size > 2_000_000


def _stop_controller(bench: Bench) -> None:
    """A stopped controller keeps the lock on its study; another one is refused, and the first one continues."""
    process = bench.start()
    bench.wait(lambda: bench.n_witnessed() >= 1, process)
    process.send_signal(signal.SIGSTOP)
    try:
        bench.run(3)
    finally:
        process.send_signal(signal.SIGCONT)
    bench.finish(process)
    bench.count_losses()


def _forked_controller(bench: Bench) -> None:
    """A fork of the controller outlives it, but the server and the ranks do not."""
    process = bench.start(starts=True, in_thread=True)
    bench.wait(lambda: bench.n_witnessed() >= 1, process)
    guard, server = bench.fork_server(process)
    subprocess.run(["kill", "-STOP", str(server.pid)], check=True)  # it does not react even to this
    process.kill()
    process.wait()
    guard.wait(10)
    bench.count_orphans()
    bench.run()
    bench.count_losses()


FAULTS: Mapping[str, Callable[[Bench], None]] = {
    "controller_killed": functools.partial(_kill_controller, in_thread=False),
    "controller_killed_in_thread": functools.partial(_kill_controller, in_thread=True),
    "controller_killed_server_stopped": _forked_controller,
    "controller_stopped": _stop_controller,
    "server_killed": functools.partial(_kill_server, victim=1),
    "server_killed_in_imports": _kill_server_in_imports,
    "guard_killed": functools.partial(_kill_server, victim=0),
    **{f"rank_{fault}": functools.partial(_rank, fault=fault) for fault in ("raise", "abort", "kill", "terminate")},
    **{f"rank_{fault}": functools.partial(_rank, fault=fault) for fault in ("exit", "stop", "stop_in_message")},
    "rank_long_message": functools.partial(_rank, fault="long_message"),
    "group_kill": functools.partial(_group, fault="kill"),
    "group_stop": functools.partial(_group, fault="stop"),
    **{
        f"int_{delay_s:g}s_into_the_check": functools.partial(_signal_in_imports, number=signal.SIGINT, delay_s=delay_s)
        for delay_s in (0.5, 1.0, 2.0, 4.0)
    },
    "term_in_the_check": functools.partial(_signal_in_imports, number=signal.SIGTERM, delay_s=1.0),
    "hup_in_the_check": functools.partial(_signal_in_imports, number=signal.SIGHUP, delay_s=1.0),
    "int_in_training": functools.partial(_signal_in_training, number=signal.SIGINT),
    "term_in_training": functools.partial(_signal_in_training, number=signal.SIGTERM),
    "hup_in_training": functools.partial(_signal_in_training, number=signal.SIGHUP),
    "preload_that_waits": functools.partial(_preload, text="import time\ntime.sleep(600)\n"),
    "preload_that_ends": functools.partial(_preload, text="import os\nos._exit(3)\n"),
    "long_temporary_folder": _long_temporary_folder,
    "open_ports": _listening,
    **{f"text_{fault}": functools.partial(_text, fault=fault) for fault in ("surrogate", "controls", "long_text")},
}
"""Name -> what is done and checked. `_forked_controller` stands for every server that is deaf when its end comes."""
