"""`hwtune stop` and `hwtune enqueue`: what a user asks of a study from another terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from lightning_hwtune.cli.arguments import DIR, Dir, Name, Storage
from lightning_hwtune.text import counted

__all__ = ["enqueue", "stop"]

Trials = Annotated[
    list[int] | None,
    typer.Option(
        "--trial", help="Stop only this trial, for good; may be given several times.", show_default=False, min=0
    ),
]
Config = Annotated[
    list[str],
    typer.Argument(metavar="NAME=VALUE", help="A value for each parameter of the search space.", show_default=False),
]


def stop(trial: Trials = None, dir: Dir = DIR, study: Name = None, storage: Storage = None) -> None:  # noqa: A002
    """End the session of a running study as Ctrl-C does, or stop single trials for good.

    It works from any machine that can write to the study's database. `hwtune run` continues the study.
    """
    from lightning_hwtune.cli.study_selection import choose
    from lightning_hwtune.requesting import end_session, stop_trial

    chosen = choose(dir, study, storage)
    name = chosen.study.name
    if trial is None:
        end_session(chosen)
        typer.echo(f"asked study {name} to end its session; the same command continues it later")
        return
    for number in trial:
        stop_trial(chosen, number)
    when = "about a second" if chosen.is_driven() else f"study {name} is not running; when it continues"
    what = f"trial {trial[0]}" if len(trial) == 1 else counted(len(trial), "trials")
    typer.echo(f"asked study {name} to stop {what} for good ({when})")


def enqueue(config: Config, dir: Dir = DIR, study: Name = None, storage: Storage = None) -> None:  # noqa: A002
    """Enqueue a configuration: the study tries it before those of its searcher. The study may be running."""
    from lightning_hwtune.cli.study_selection import choose
    from lightning_hwtune.requesting import enqueue as ask

    given = _values(config)
    chosen = choose(dir, study, storage)
    name = chosen.study.name
    if not ask(chosen, given):
        typer.echo(f"study {name} has this configuration already")
    elif chosen.is_driven():
        typer.echo(f"asked study {name} to try it next")
    else:
        typer.echo(f"study {name} is not running; it tries the configuration first when it continues")


def _values(words: Sequence[str]) -> dict[str, Any]:
    """Returns the value of each parameter. Words other than NAME=VALUE are an error in the command line."""
    from lightning_hwtune.cli.arguments import check_overrides
    from lightning_hwtune.settings import parse_overrides

    found = dict[str, Any]()
    for item in parse_overrides(check_overrides(words)):
        if item.action != "change":
            raise typer.BadParameter(f"{item.text!r} begins with + or ~; write {item.key}=VALUE")
        if item.key in found:
            raise typer.BadParameter(f"there are two values for {item.key}; give one")
        found[item.key] = item.value
    return found
