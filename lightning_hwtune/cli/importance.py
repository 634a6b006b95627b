"""`hwtune importance`: how much each parameter matters for each objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lightning_hwtune.cli.arguments import DIR, Dir, Name, Storage
from lightning_hwtune.cli.output import Format, write

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["importance"]


def importance(
    objective: Annotated[
        str | None, typer.Option("--objective", help="Name of an objective; default: all.", show_default=False)
    ] = None,
    at: Annotated[
        int | None,
        typer.Option(
            "--at",
            metavar="RUNG",
            help="Rung whose values are compared; default: the one that most trials have reached.",
            show_default=False,
        ),
    ] = None,
    dir: Dir = DIR,  # noqa: A002
    study: Name = None,
    storage: Storage = None,
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
) -> None:
    """Show how much each parameter matters for each objective, with intervals of 80 %."""
    from lightning_hwtune.cli.study_selection import choose
    from lightning_hwtune.views.effects.importance import COLUMNS_TEXT, importance_frame, model_text

    chosen = choose(dir, study, storage)
    entries = chosen.importance(objective, at)

    def table(out: Console) -> None:
        from lightning_hwtune.views.terminal import print_frame

        for entry in entries:
            if entry["parameters"]:
                frame = importance_frame([entry]).drop(columns=["objective", "explained", "rung", "trials"])
                print_frame(out, frame.round(3), f"importance for {entry['objective']}")
            note = entry["note"] if entry["parameters"] else f"importance for {entry['objective']}: {entry['note']}"
            out.print("; ".join(filter(None, [note, model_text(entry)])), markup=False, soft_wrap=True)
        if any(entry["parameters"] for entry in entries):
            out.print(COLUMNS_TEXT, markup=False, soft_wrap=True)

    write(form, table=table, data=lambda: entries, frame=lambda: importance_frame(entries))
