"""`hwtune sbatch`: submits a study as a job of Slurm, which continues it after each preemption and time limit."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lightning_hwtune.cli.arguments import check_overrides, import_from_here

__all__ = ["sbatch", "script"]

_NOTICE_S, _CLOSING_S = 120, 30

_SCRIPT = """\
#!/bin/bash
{options}

# Slurm's signal comes {notice} s before the time limit. The study then has {pause} s to pause its trials.
export HWTUNE_PAUSE_WITHIN={pause}
{command} &
study=$!
trap 'kill -TERM "$study" 2>/dev/null' TERM
wait "$study"; status=$?
while [ "$status" -gt 128 ] && kill -0 "$study" 2>/dev/null; do wait "$study"; status=$?; done

# If the study was warned, its trials have paused, and the job queues again. It does not if it was cancelled.
if [ "$status" = 143 ] && [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
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
    from lightning_hwtune.errors import ArgumentError, TrialError
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
    StudySettings.load(study_file, overrides)
    text = script(settings.study, study_file, overrides, given[n_overrides:], settings.pool)
    if dry_run:
        typer.echo(text, nl=False)
        return
    if shutil.which("sbatch") is None:
        hint = "--dry-run prints the script of the job, which you can copy to such a host."
        raise ArgumentError("sbatch", "a host without the program sbatch", "a host of a Slurm cluster", hint=hint)
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
        pause=_NOTICE_S - _CLOSING_S,
        command=shlex.join(words),
    )


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
