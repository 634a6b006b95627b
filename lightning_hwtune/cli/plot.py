"""`hwtune plot`: the figures of a study as PNG files."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lightning_hwtune.cli.arguments import DIR, Dir, Name, Out, Storage
from lightning_hwtune.errors import nearest
from lightning_hwtune.forms.table import FIGURE_NAMES

__all__ = ["plot"]


def _figure(given: str) -> str:
    """Returns the name of a figure; another one is an error in the command line."""
    if given not in FIGURE_NAMES:
        near = nearest(given, FIGURE_NAMES)
        raise typer.BadParameter(f"{given!r} is not a figure; the figures are {', '.join(FIGURE_NAMES)}{near}")
    return given


def plot(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FIGURE]...",
            parser=_figure,
            help=f"{', '.join(FIGURE_NAMES)}; default: all that the study has data for.",
            show_default=False,
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option("--objective", help="The objective to show, for the named figures.", show_default=False),
    ] = None,
    at: Annotated[
        int | None,
        typer.Option("--at", metavar="RUNG", help="The rung whose values are shown.", show_default=False),
    ] = None,
    parameters: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME", help="The two parameters of the figure contour.", show_default=False),
    ] = None,
    out: Out = None,
    dir: Dir = DIR,  # noqa: A002
    study: Name = None,
    storage: Storage = None,
) -> None:
    """Draw the figures of a study as PNG files."""
    from lightning_hwtune.cli.front_output import write_figures
    from lightning_hwtune.cli.output import output_folder
    from lightning_hwtune.cli.study_selection import choose

    options: dict[str, Any] = {"objective": objective, "at": at}
    options["parameters"] = parameters.split(",") if parameters is not None else None
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given and not what:
        raise typer.BadParameter(f"{given[0]} needs the name of a figure, e.g. hwtune plot contour {given[0]} ...")
    chosen = choose(dir, study, storage)
    folder = out or output_folder(chosen.study.dir, f"{chosen.study.name}-figures")
    write_figures(chosen, folder, what or _all(chosen.study.state()), **options)


def _all(state: Any) -> list[str]:
    """Returns the figures that a study has data for."""
    from lightning_hwtune.core.searchers.surrogate import require_scikit_learn
    from lightning_hwtune.errors import MissingDependencyError
    from lightning_hwtune.views.effects.importance import LEAST_TRIALS
    from lightning_hwtune.views.effects.values import rung_values

    left_out = set() if state.spec.has_price else {"ledger"}
    if len(rung_values(state).trials) < LEAST_TRIALS:
        left_out |= {"importance", "slices", "contour", "parallel", "rank"}
    try:
        require_scikit_learn()
    except MissingDependencyError:
        left_out.add("importance")
    return [name for name in FIGURE_NAMES if name not in left_out]
