"""Slurm starts the agents: one step with one task per node, inside the allocation in which the study runs.

The step ends with the study. `srun` gets SIGTERM from the kernel if the study is killed, and it then ends its tasks.
Slurm warns the tasks of a job that it will preempt: their agents pass that on, and the study then pauses its trials.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import final

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.engine.agents.executor import AgentsExecutor
from lightning_hwtune.engine.agents.launcher import Invitation, Launcher
from lightning_hwtune.engine.executor import RunSetup
from lightning_hwtune.engine.provider import NodeChange
from lightning_hwtune.errors import ArgumentError, TrialError
from lightning_hwtune.host.slurm_allocation import Allocation, allocation
from lightning_hwtune.text import counted

__all__ = ["OUTPUT", "SlurmExecutor", "SlurmLauncher"]

OUTPUT = "agents.log"
"""The file in the study's folder with what `srun` and the agents print."""

_TIMEOUT_S = 300.0
_END_S = 10.0
_STEP = (
    "--ntasks-per-node=1", "--label", "--export=ALL", "--mem=0", "--overlap", "--cpu-bind=none",
    "--wait=0", "--kill-on-bad-exit=0", "--no-kill",
)  # fmt: skip
_PER_TASK = (
    "SLURM_CPUS_PER_TASK", "SLURM_GPUS_PER_TASK", "SLURM_NTASKS_PER_GPU", "SLURM_TRES_PER_TASK", "SLURM_GPU_BIND",
    "SLURM_MEM_PER_CPU", "SLURM_MEM_PER_GPU", "SLURM_MEM_PER_NODE", "SLURM_DISTRIBUTION",
)  # fmt: skip
"""Settings of the job that `srun` would apply to the agents, each of which gets its whole node instead."""

_ENDS_WITH_US = (
    "import os, signal, sys; from lightning_hwtune.host.process_family import die_with_parent; "
    "die_with_parent(int(sys.argv[1]), signal.SIGTERM); os.execvp(sys.argv[2], sys.argv[2:])"
)


def require_allocation() -> Allocation:
    """Returns the allocation in which this process runs.

    Raises:
        ArgumentError: there is none, this process is one of several copies, or `srun` is missing.
    """
    found = allocation()
    if found is None:
        hint = (
            "Submit the study as a job, `hwtune sbatch STUDY.yaml --nodes=2`, or run the same command again inside an "
            "allocation: `salloc --nodes=2`."
        )
        raise ArgumentError(
            "executor",
            "slurm",
            "another executor, because this process runs outside of an allocation of Slurm",
            hint=hint,
        )
    if found.tasks > 1:
        received = f"slurm in each of {found.tasks} tasks"
        hint = "The study is one process, and starts its agents itself. Run the command without srun."
        raise ArgumentError("executor", received, "a study in a single process", hint=hint)
    if shutil.which("srun") is None:
        raise ArgumentError("executor", "slurm", "a host with the program srun, which starts the agents")
    return found


@final
class SlurmLauncher:
    """Starts one agent on each node of the allocation, with `srun`.

    Args:
        pool: the devices of the study.
    """

    listen = "0.0.0.0:0"
    timeout_s = _TIMEOUT_S

    def __init__(self, pool: Pool) -> None:
        self._allocation = require_allocation()
        self._n_nodes = min(pool.n_nodes, self._allocation.nodes)
        self._pool_nodes = pool.n_nodes
        self._output = Path()
        self._step: subprocess.Popen[bytes] | None = None

    def command(self, invitation: Invitation) -> list[str]:
        """Returns the command that starts the agents."""
        step = ["srun", f"--nodes={self._n_nodes}", f"--ntasks={self._n_nodes}", *_STEP]
        return [*step, *invitation.command("--launched")]

    def start(self, invitation: Invitation) -> None:
        """Starts the step.

        Raises:
            TrialError: `srun` cannot be started.
        """
        self._output = invitation.folder / OUTPUT
        environ = {name: value for name, value in os.environ.items() if name not in _PER_TASK}
        command = [sys.executable, "-c", _ENDS_WITH_US, str(os.getpid()), *self.command(invitation)]
        try:
            with self._output.open("wb") as out:
                self._step = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**environ, **invitation.environ()}
                )
        except OSError as error:
            raise TrialError(f"srun cannot be started: {error}") from error
        if self._allocation.nodes > self._n_nodes:
            text = f"the allocation has {self._allocation.nodes} nodes, and the study uses {self._n_nodes} of them"
            invitation.say(f"{text}, because of Pool.nodes")

    def poll(self) -> Sequence[NodeChange]:
        """Returns nothing: an agent that ends is lost after the time without a heartbeat.

        Raises:
            TrialError: the step has ended, and all agents with it.
        """
        if self._step is not None and self._step.poll() is not None:
            text = f"the step of Slurm with the agents has ended with status {self._step.returncode}"
            raise TrialError(f"{text}. {self._said()}")
        return ()

    def missing(self) -> str:
        """Returns what the allocation lacks, and what `srun` has printed."""
        lacks = ""
        if self._allocation.nodes < self._pool_nodes:
            lacks = (
                f"The allocation has {counted(self._allocation.nodes, 'nodes')}, the pool up to {self._pool_nodes}. "
            )
        return lacks + self._said()

    def _said(self) -> str:
        try:
            lines = self._output.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        said = f"the last line is {lines[-1].strip()!r}" if lines else "it is empty"
        return f"The output of srun is in {self._output}; {said}"

    def stop(self) -> None:
        """Waits until the step has ended, which it does when all agents have left; ends it if it does not."""
        step, self._step = self._step, None
        if step is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(subprocess.TimeoutExpired):
                step.wait(_END_S)
                return
            step.send_signal(number)
        step.wait()


@final
class SlurmExecutor(AgentsExecutor):
    """Trains segments on the nodes of an allocation of Slurm, in which the study itself runs."""

    @classmethod
    def check_here(cls, pool: Pool) -> None:
        """Refuses what cannot work, before anything of a run is written.

        Raises:
            ArgumentError: this process is not in an allocation, or the allocation does not fit the pool.
        """
        found = require_allocation()
        if not pool.is_paid_whole:
            hint = "nodes='auto' takes the nodes and their devices from the allocation."
            raise ArgumentError("Pool.nodes", pool.nodes, "'auto', at least 2, or an instance type", hint=hint)
        if pool.types:
            hint = "Slurm does not say which type a node has: start the agents with `hwtune agent --instance`."
            raise ArgumentError("Pool.nodes", sorted(pool.types), "nodes of one instance type in Slurm", hint=hint)
        if pool.has_several_kinds:
            return  # each agent says how many devices its node has
        if pool.accelerator == "gpu" and found.gpus is not None and pool.node_size > found.gpus:
            allowed = f"at most {found.gpus}, the GPUs that the allocation has on each node"
            raise ArgumentError("Pool.devices", pool.node_size, allowed)

    @classmethod
    def launcher(cls, setup: RunSetup) -> Launcher:
        """Returns what starts the agents."""
        return SlurmLauncher(setup.pool)
