"""Reads a user's file of instance types, CSV or TOML, and adds them to those of the package."""

from __future__ import annotations

from pathlib import Path

from lightning_hwtune.core.hardware.catalogue import Catalogue
from lightning_hwtune.core.hardware.catalogue_text import instances_of_csv, instances_of_toml
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.host.text_files import read_text

__all__ = ["read_catalogue"]

_READERS = {".csv": instances_of_csv, ".toml": instances_of_toml}


def read_catalogue(path: str | Path) -> Catalogue:
    """Returns the catalogue of the package with the types in a file added. They replace those with the same name.

    Args:
        path: a file that ends in `.csv` or `.toml`. Its columns or keys are the arguments of `InstanceType`.

    Raises:
        ArgumentError: the file cannot be read, or something in it is not allowed. The message says where.
    """
    read = _READERS.get(Path(path).suffix.lower())
    if read is None:
        raise ArgumentError("catalogue", str(path), "a file that ends in .csv or .toml")
    try:
        text = read_text(path)
    except OSError as error:
        raise ArgumentError("catalogue", str(path), "a readable file", hint=f"({error.strerror})") from None
    except ValueError as error:
        raise ArgumentError("catalogue", str(path), "text in UTF-8", hint=f"({error})") from None
    return Catalogue.builtin().extended(read(text, str(path)))
