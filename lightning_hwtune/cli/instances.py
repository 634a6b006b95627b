"""`hwtune instances`: lists the instance types of the catalogue, with their prices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightning_hwtune.cli.output import Format, rows_frame, write_frame

__all__ = ["instances"]

_TABLE = (
    "name", "provider", "region", "accelerator", "devices", "vcpus", "memory_gib", "usd_per_hour", "usd_per_hour_spot",
)  # fmt: skip


def instances(
    min_devices: Annotated[
        int | None, typer.Option("--min-devices", help="Minimum number of accelerators.", show_default=False)
    ] = None,
    max_usd_per_hour: Annotated[
        float | None, typer.Option("--max-usd-per-hour", help="Maximum on-demand price in USD.", show_default=False)
    ] = None,
    accelerator: Annotated[
        str | None,
        typer.Option("--accelerator", help="gpu, cpu, or a name such as A100 or T4.", show_default=False),
    ] = None,
    provider: Annotated[
        str | None, typer.Option("--provider", help="A name such as aws, azure or gcp.", show_default=False)
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="A name such as us-east-1.", show_default=False)
    ] = None,
    catalogue: Annotated[
        Path | None,
        typer.Option(
            "--catalogue", help="A CSV or TOML file with your own types, which are added.", show_default=False
        ),
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
) -> None:
    """List instance types with their prices, cheapest first. JSON and CSV also have each price's source and date."""
    from lightning_hwtune.core.hardware.catalogue import COLUMNS, Catalogue
    from lightning_hwtune.settings.catalogue_file import read_catalogue

    known = Catalogue.builtin() if catalogue is None else read_catalogue(catalogue)
    found = known.where(
        min_devices=min_devices,
        max_usd_per_hour=max_usd_per_hour,
        accelerator=accelerator,
        provider=provider,
        region=region,
    )
    columns = _TABLE if form is Format.TABLE else COLUMNS
    by_price = sorted(found, key=lambda item: (item.usd_per_hour, item.name))
    rows = [{name: getattr(item, name) for name in columns} for item in by_price]
    if form is Format.TABLE:
        rows = [{name: "-" if value is None else value for name, value in row.items()} for row in rows]
    write_frame(
        form,
        frame=lambda: rows_frame(rows),
        data=lambda: rows,
        title="instance types",
        empty="no instance type satisfies all of these conditions",
    )
