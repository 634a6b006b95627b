"""A Slurm of its own for tests and benchmarks: Debian's programs, on free ports, with two nodes on this host.

Everything runs as the present user, with its own key for `munged`, and without accounting or control groups.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

__all__ = ["SlurmCluster", "slurm_programs"]

_NAMES = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol")
_START_S = 60.0

_CONFIG = """\
ClusterName=hwtune
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool.%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmctldParameters=enable_configless
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
SlurmdTimeout=60
ReturnToService=2
MpiDefault=none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=1000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=1000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=60 DefaultTime=10 OverSubscribe=NO PriorityTier=1 GraceTime=20
PartitionName=high Nodes=n1,n2 MaxTime=60 PriorityTier=10 PreemptMode=OFF
"""


def slurm_programs() -> Mapping[str, str] | None:
    """Return the paths of the programs; None if one is missing."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    found = {name: shutil.which(name, path=path) for name in _NAMES}
    return None if None in found.values() else {name: str(program) for name, program in found.items()}


class SlurmCluster:
    """Running daemons, which end with the block. Commands find them by `environ`."""

    def __init__(self) -> None:
        programs = slurm_programs()
        assert programs is not None, "Slurm is not installed"
        self._programs, self._daemons = programs, dict[str, subprocess.Popen[bytes]]()
        self.folder = Path(tempfile.mkdtemp(prefix="hwtune-slurm-"))
        self.folder.chmod(0o711)  # munged wants that, for its socket
        self.environ = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self) -> Self:
        host = socket.gethostname().partition(".")[0]
        text = _CONFIG.format(host=host, user=getpass.getuser(), folder=self.folder, ports=_free_ports(3))
        (self.folder / "slurm.conf").write_text(text)
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(128))
        options = [f"--{name}={self.folder}/munge.{name.partition('-')[0]}" for name in _MUNGE_FILES]
        try:
            self._start("munged", "munged", "--foreground", *options)
            until((self.folder / "munge.socket").exists, "munged listens")
            self._start("slurmctld", "slurmctld", "-D", "-i")
            for node in ("n1", "n2"):
                self.start_node(node)
            until(lambda: self.states() == {"idle"}, "both nodes are idle")
        except BaseException as error:
            error.add_note(self.said())
            self.__exit__()
            raise
        return self

    def said(self) -> str:
        """Return the last lines of each daemon."""
        files = sorted([*self.folder.glob("*.out"), *self.folder.glob("*.log")])
        return "\n".join(f"{file.name}:\n{file.read_text(errors='replace')[-1000:]}" for file in files)

    def __exit__(self, *of_error: object) -> None:
        with contextlib.suppress(subprocess.CalledProcessError, AssertionError):
            self.call("scancel", "--user", getpass.getuser())
            until(lambda: not self.call("squeue", "--noheader").strip(), "no job is left", 15)
        for daemon in reversed(self._daemons.values()):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self._daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, name: str, program: str, *arguments: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                [self._programs[program], *arguments],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environ, cwd=self.folder,
            )  # fmt: skip

    def start_node(self, node: str) -> None:
        (self.folder / f"spool.{node}").mkdir(exist_ok=True)
        self._start(node, "slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """Kill the daemon of a node, and what it has started there, as if the node had lost its power."""
        daemon = self._daemons.pop(node)
        steps = [pid for pid in _processes() if _parent(pid) == daemon.pid]
        for pid in (daemon.pid, *steps, *self.processes(f"SLURMD_NODENAME={node}")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        daemon.wait()

    def processes(self, variable: str) -> list[int]:
        """Return the processes of jobs that have this variable, such as "SLURM_JOB_ID=7"."""
        marks = {variable.encode(), f"SLURM_CONF={self.folder}/slurm.conf".encode()}
        return [pid for pid in _processes() if marks <= _environ(pid)]

    def begin_again(self, job: str) -> None:
        """Begin a job that was requeued, which Slurm would do after two minutes."""
        until(lambda: self.job(job)["Restarts"] == "1" and self.job(job)["JobState"] == "PENDING", "it is requeued")
        until(lambda: not self.processes(f"SLURM_JOB_ID={job}"), "nothing of its first run is left")
        time.sleep(1)
        self.call("scontrol", "update", f"JobId={job}", "StartTime=now")

    def call(self, *command: str) -> str:
        """Return the output of one of Slurm's commands."""
        done = subprocess.run(
            command, env=self.environ, cwd=self.folder, capture_output=True, text=True, check=True, timeout=120
        )
        return done.stdout

    def states(self) -> set[str]:
        try:
            return set(self.call("sinfo", "--noheader", "--Node", "--partition=all", "--format=%T").split())
        except subprocess.CalledProcessError:
            return set()

    def job(self, number: str) -> dict[str, str]:
        """Return what Slurm knows about a job."""
        shown = self.call("scontrol", "show", "job", "--oneliner", number)
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)


_MUNGE_FILES = ("socket", "key-file", "pid-file", "log-file", "seed-file")


def until(condition: Callable[[], object], what: str, limit_s: float = _START_S) -> None:
    give_up_at = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {limit_s:.0f} s: {what}"
        time.sleep(0.05)


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _environ(pid: int) -> set[bytes]:
    try:
        return set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return set()


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        ends = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [end.getsockname()[1] for end in ends]
