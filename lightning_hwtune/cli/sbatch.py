"""`hwtune sbatch`: submits a study as a job of Slurm, which continues it after each preemption and time limit."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightning_hwtune.cli.arguments import check_overrides, import_from_here
from lightning_hwtune.text import counted

if TYPE_CHECKING:
    from lightning_hwtune.settings import StudySettings

__all__ = ["REQUEUES", "check_request", "sbatch", "script"]

REQUEUES = "HWTUNE_JOB_REQUEUES"
"""The environment variable that the script of `hwtune sbatch` sets: the job itself runs the study again."""

_NOTICE_S, _CLOSING_S = 120, 30

_SCRIPT = """\
#!/bin/bash
{options}

# Slurm's signal comes {notice} s before the time limit. The study then has {pause} s to pause its trials.
export HWTUNE_PAUSE_WITHIN={pause} {requeues}=1
{command} &
study=$!
trap 'kill -TERM "$study" 2>/dev/null' TERM
wait "$study"; status=$?
while [ "$status" -gt 128 ] && kill -0 "$study" 2>/dev/null; do wait "$study"; status=$?; done

# If the study was warned, its trials have paused, and the job queues again. It does not if it was cancelled.
if [ "$status" = 143 ] && [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
    echo "This job is queued again. Slurm starts it after about two minutes at the earliest."
    scontrol requeue "$SLURM_JOB_ID"
    sleep 60
fi
exit "$status"
"""


def sbatch(
    context: typer.Context,
    study_file: Annotated[
        Path, typer.Argument(metavar="STUDY.yaml", exists=True, dir_okay=False, help="The study file.")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]... [OPTIONS OF SBATCH]...",
            help="Overrides of the study file, then options for sbatch, such as --nodes=2 --time=12:00:00.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the script of the job instead of submitting it.")
    ] = False,
) -> None:
    """Submit a study as a job of Slurm, on the nodes that the options of sbatch ask for.

    The trials pause before the time limit and on preemption. The job then queues again until the study is finished.
    """
    from lightning_hwtune.errors import TrialError
    from lightning_hwtune.names.spelling import spell_by
    from lightning_hwtune.settings import StudySettings
    from lightning_hwtune.settings.spelling import FILE_SPELLING

    spell_by(FILE_SPELLING)
    given = [*(arguments or ()), *context.args]
    n_overrides = next((place for place, word in enumerate(given) if word.startswith("-")), len(given))
    import_from_here()
    overrides = check_overrides(given[:n_overrides])
    settings = StudySettings.load(study_file, overrides)
    overrides += [] if "nodes" in settings.pool else ["pool.nodes=auto"]
    overrides += [] if settings.run["executor"] == "slurm" else ["executor=slurm"]
    check_request(StudySettings.load(study_file, overrides), given[n_overrides:])
    text = script(settings.study, study_file, overrides, given[n_overrides:], settings.pool)
    if dry_run:
        typer.echo(text, nl=False)
        return
    if shutil.which("sbatch") is None:
        raise TrialError(
            "this host does not have the program sbatch. Run this command on a host of a Slurm cluster, or copy the "
            "script of the job, which --dry-run prints, to such a host"
        )
    done = subprocess.run(["sbatch"], input=text, text=True, capture_output=True)
    if done.returncode:
        raise TrialError(f"sbatch refuses the job: {done.stderr.strip()}")
    typer.echo(done.stdout, nl=False)


def script(
    name: str, study_file: Path, overrides: Sequence[str], options: Sequence[str], pool: Mapping[str, Any]
) -> str:
    """Returns the script of a job that runs a study.

    Args:
        name: of the study.
        options: those of sbatch, as words of a command line.
        pool: the pool of the study file, as a mapping. What it says need not be said to sbatch again.
    """
    ours = [
        f"--job-name={name}", "--ntasks-per-node=1", "--requeue", "--open-mode=append",
        f"--signal=B:TERM@{_NOTICE_S}",
    ]  # fmt: skip
    words = [sys.executable, "-m", "lightning_hwtune", "run", str(study_file.absolute()), *overrides, "--wait"]
    lines = [*ours, *_of_pool(pool, options), *_lines(options)]
    return _SCRIPT.format(
        options="\n".join(f"#SBATCH {line}" for line in lines),
        notice=_NOTICE_S,
        requeues=REQUEUES,
        pause=_NOTICE_S - _CLOSING_S,
        command=shlex.join(words),
    )


def check_request(settings: StudySettings, options: Sequence[str]) -> None:
    """Refuses a study with `nodes: auto` that cannot train on the nodes that the options of sbatch ask for.

    Raises:
        ArgumentError: each node would have too few devices.
    """
    from lightning_hwtune.errors import ArgumentError

    spec, pool = settings.spec(), settings.study_kwargs()["pool"]
    if pool.nodes != "auto" or pool.devices != "auto" or pool.instance is not None:
        return
    accelerator, option, n = _asked(pool.accelerator, options)
    if n is None:
        return
    threads = pool.threads_per_device if accelerator == "cpu" else 1
    nodes = int(found[0]) if (found := re.match(r"\d+", _value(options, "-N|--nodes"))) else 1
    try:
        dataclasses.replace(spec, pool=pool.on_nodes(max(nodes, 1), accelerator, max(n // threads, 1)))
    except ArgumentError:
        is_refused = True
    else:
        is_refused = n < threads
    if is_refused:
        most = max(spec.allocator.counts)
        allowed = f"enough for a trial with {counted(most, f'{accelerator} devices')}, which the study has"
        hint = f"For example {option}={most * threads} on each node, or smaller counts of devices in the study file."
        raise ArgumentError("options of sbatch", f"{option}={n} on {counted(nodes, 'nodes')}", allowed, hint=hint)


def _asked(accelerator: str, options: Sequence[str]) -> tuple[str, str, int | None]:
    """Returns the accelerator that a job gets, the option for it, and how many per node; None if that is not said."""
    has_gpus = _has(options, "-G|--gpus|--gpus-per-[a-z]+|--gres")
    if accelerator == "gpu" or (accelerator == "auto" and has_gpus):
        found = re.search(r"(\d+)$", _value(options, "--gpus-per-node|--gres"))
        return "gpu", "--gpus-per-node", int(found[1]) if found else None
    if _has(options, "--exclusive|--mincpus|--cpus-per-gpu"):
        return "cpu", "--cpus-per-task", None
    given = _value(options, "-c|--cpus-per-task") or "1"
    return "cpu", "--cpus-per-task", int(given) if given.isdecimal() else None


def _value(options: Sequence[str], names: str) -> str:
    """Returns the value of one of these options; empty if none is given."""
    found = (re.match(rf"(?:{names})(?:[= ]|(?<=^-\w))(\S+)$", line) for line in _lines(options))
    return next((match[1] for match in found if match), "")


def _lines(options: Sequence[str]) -> list[str]:
    """Returns the options, each with its value."""
    found = list[str]()
    for word in options:
        if word.startswith("-") or not found:
            found.append(shlex.quote(word))
        else:
            found[-1] += f" {shlex.quote(word)}"
    return found


def _of_pool(pool: Mapping[str, Any], options: Sequence[str]) -> list[str]:
    """Returns the options that follow from the pool and that the user has not given."""
    devices, found = pool.get("devices"), list[str]()
    if isinstance(pool.get("nodes"), int) and not _has(options, "-N|--nodes"):
        found.append(f"--nodes={pool['nodes']}")
    if not isinstance(devices, int):
        return found
    if pool.get("accelerator") == "gpu" and not _has(options, "-G|--gpus|--gpus-per-[a-z]+|--gres"):
        found.append(f"--gpus-per-node={devices}")
    if pool.get("accelerator") == "cpu" and not _has(options, "-c|--cpus-per-task|--exclusive"):
        found.append(f"--cpus-per-task={devices * pool.get('threads_per_device', 1)}")
    return found


def _has(options: Sequence[str], names: str) -> bool:
    return any(re.match(rf"(?:{names})(?:=|$|(?<=^-\w)\d)", word) for word in options)
