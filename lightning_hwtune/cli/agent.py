"""`hwtune agent`: trains segments of a study on this host, as one of the study's nodes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from lightning_hwtune.errors import ArgumentError

__all__ = ["agent"]


def agent(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]",
            help="The study's folder, which has the study's address and secret; or give --connect.",
            show_default=False,
        ),
    ] = None,
    connect: Annotated[
        str | None, typer.Option("--connect", metavar="HOST:PORT", help="Where the study listens.", show_default=False)
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            help="The file with the study's secret; default: HWTUNE_AGENTS_KEY or HWTUNE_AGENTS_KEY_FILE.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of this node; default: that of Slurm, or the host name.", show_default=False),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            help="The study's folder on this host, if its path is not the same as on the host of the study. If this "
            "host does not share it: a folder for the files of trials; default: a temporary one.",
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="Address at which other nodes reach this host, for trials on several nodes.",
            show_default=False,
        ),
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(
            "--devices",
            min=1,
            help="How many devices of this host the study may use, in a pool whose nodes differ; default: all.",
            show_default=False,
        ),
    ] = None,
    instance: Annotated[
        str | None,
        typer.Option(
            "--instance",
            help="Instance type of this host, in a pool with several types.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=1, help="The agent ends after this many seconds without a connection.")
    ] = 600,
    launched: Annotated[bool, typer.Option("--launched", hidden=True)] = False,
) -> None:
    """Train trials of a study on this host, as one of its nodes: start it on each node of a study with executor=agents.

    The agent ends when the study ends.
    """
    from lightning_hwtune.engine.agents.agent import Agent
    from lightning_hwtune.engine.agents.door import KEY_NAME, address_of, key_of, noted_address
    from lightning_hwtune.host.session_signals import Signals
    from lightning_hwtune.training.process.fork_server import SHIELD

    if (folder is None) == (connect is None):
        given = "neither" if folder is None else "both"
        raise ArgumentError("FOLDER and --connect", given, "the study's folder, or --connect HOST:PORT")
    place = address_of("--connect", connect) if connect is not None else None
    if folder is None:
        key_of(key_file)

    def say(line: str) -> None:
        print(f"hwtune agent: {line}", file=sys.stderr, flush=True)  # noqa: T201

    if folder is not None:
        say(_waits_for(folder))
    served = Agent(
        lambda: noted_address(folder) if folder is not None else place,
        lambda: key_of(key_file or (folder / KEY_NAME if folder and (folder / KEY_NAME).exists() else None)),
        name=name or os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        root=root.absolute() if root is not None else folder.absolute() if folder is not None else None,
        address=address,
        give_up_s=wait,
        devices=devices,
        instance=instance or "",
        cpus=_cpus_of_step() if launched else None,
        say=say,
    )
    if launched:  # the study gets the warning, and ends its agents when its trials have paused
        os.environ[SHIELD] = "1"
        signal.signal(signal.SIGTERM, lambda number, frame: served.warn())
    with Signals() as signals, signals.acting():
        served.run()
    say("the session of the study has ended")


def _waits_for(folder: Path) -> str:
    """Returns what an agent of the study in a folder waits for."""
    from lightning_hwtune.core.events import SessionState
    from lightning_hwtune.engine.reading import Reader
    from lightning_hwtune.errors import HwTuneError
    from lightning_hwtune.store.files import StudyFiles

    if not folder.is_dir():
        return f"waiting for the study, which has not created its folder {str(folder)!r} yet"
    place = folder.absolute()
    with contextlib.suppress(HwTuneError, OSError):  # its log may be in a database, or only on the host of the study
        state = Reader(StudyFiles(place.parent, place.name), None).state()
        closed = state.closed if state is not None else None
        if closed is not None and closed.state == SessionState.FINISHED:
            return (
                f"this study is finished ({closed.reason}). To continue it, run it with a higher `max_trials`: the "
                "agent waits for that"
            )
    return "waiting for the study"


def _cpus_of_step() -> int | None:
    """Returns the CPUs that Slurm gives this node; None if it does not say so."""
    text = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return int(text) if text.isdecimal() and int(text) else None
