"""What commands write: a table for people; JSON or CSV for programs, with nothing else on standard output."""

from __future__ import annotations

import contextlib
import enum
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lightning_hwtune.errors import StorageError
from lightning_hwtune.views.study_location import short_path

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

__all__ = ["At", "Format", "console", "flat", "output_folder", "rows_frame", "write", "write_frame", "writing"]


class Format(enum.StrEnum):
    """The format in which a command writes its results."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class At(enum.StrEnum):
    """Which measurements a front compares."""

    FULL = "full"
    RUNG = "rung"
    ANY = "any"


def console() -> Console:
    """Returns the console of standard output."""
    from rich.console import Console

    return Console(highlight=False)


def write(
    form: Format, *, table: Callable[[Console], None], data: Callable[[], object], frame: Callable[[], pd.DataFrame]
) -> None:
    """Writes in the given format; calls only the function for that format."""
    from lightning_hwtune.views.export import frame_csv, json_text

    if form is Format.TABLE:
        table(console())
    elif form is Format.JSON:
        typer.echo(json_text(data()))
    else:
        typer.echo(frame_csv(frame()), nl=False)


def write_frame(
    form: Format, frame: Callable[[], pd.DataFrame], data: Callable[[], object], title: str, empty: str
) -> None:
    """Writes rows. A table has a title; if there are no rows, the text `empty` is printed instead."""

    def table(out: Console) -> None:
        from lightning_hwtune.views.terminal import print_frame, print_legend

        rows = frame()
        if len(rows):
            print_frame(out, rows, title)
            print_legend(out, rows)
        else:
            out.print(empty, markup=False, soft_wrap=True)

    write(form, table=table, data=data, frame=frame)


def rows_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Returns a data frame with these rows."""
    import pandas as pd

    return pd.DataFrame(rows)


def output_folder(own: Path, name: str) -> Path:
    """Returns the folder for a command's files: `own`, or `name` in the working directory if `own` is not writable."""
    place = next(path for path in (own, *own.parents) if path.exists())
    if os.access(place, os.W_OK):
        return own
    typer.echo(f"hwtune: {short_path(place)} is not writable, so the files are written to {name}", err=True)
    return Path(name)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Creates a folder; an OSError while files are written into it becomes a StorageError.

    Raises:
        StorageError: the folder cannot be created, or a file in it cannot be written.
    """
    from lightning_hwtune.store.files import make_folder

    make_folder(folder)
    try:
        yield
    except OSError as error:
        text = f"cannot write to {str(folder)!r}: {error}. Give another folder with --out"
        raise StorageError(text, error.errno) from error


def flat(entry: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns one row of cells; nested keys are joined with dots."""
    row: dict[str, Any] = {}
    for key, value in entry.items():
        row |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return row
