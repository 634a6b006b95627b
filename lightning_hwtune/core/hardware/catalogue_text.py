"""Reads instance types from the text of a CSV or TOML file. Each error names the file and the line.

The columns of a CSV file are the arguments of `InstanceType`. An empty cell counts as not given. A TOML file has one
`[[instances]]` table per type.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from lightning_hwtune.core.hardware.catalogue import COLUMNS, InstanceType
from lightning_hwtune.errors import ArgumentError, nearest

__all__ = ["instances_of_csv", "instances_of_toml"]

_NEEDED = ("name", "usd_per_hour")
_NUMBERS = ("usd_per_hour", "usd_per_hour_spot", "devices", "memory_gib", "vcpus")
_TABLE = re.compile(r"^[ \t]*\[\[\s*(?:instances|\"instances\"|'instances')\s*\]\]", re.MULTILINE)


def instances_of_csv(text: str, file: str) -> list[InstanceType]:
    """Returns the instance types in the text of a CSV file.

    Raises:
        ArgumentError: a column, a row or a value is not allowed.
    """
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[tuple[str, InstanceType]] = []
    try:
        header = [name.strip() for name in next(lines, [])]
        _check_columns(header, f"{file}, line 1")
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            place = f"{file}, line {lines.line_num}"
            if len(cells) != len(header):
                raise ArgumentError(place, cells, f"{len(header)} values, one per column")
            row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
            found.append((place, _instance({key: _cell(key, cell) for key, cell in row.items() if cell}, place)))
    except csv.Error as error:
        raise ArgumentError(f"{file}, line {lines.line_num}", text[:80], "valid CSV", hint=f"({error})") from None
    return list(_unique(found))


def instances_of_toml(text: str, file: str) -> list[InstanceType]:
    """Returns the instance types in the text of a TOML file.

    Raises:
        ArgumentError: the text is not valid TOML, or a key or a value is not allowed.
    """
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ArgumentError(file, text[:80], "valid TOML", hint=f"({error})") from None
    unknown = sorted(set(data) - {"instances"})
    if unknown:
        raise ArgumentError(file, unknown[0], "one [[instances]] table per instance type, and nothing else")
    tables = data.get("instances")
    if not isinstance(tables, list) or not tables or not all(isinstance(item, Mapping) for item in tables):
        raise ArgumentError(file, tables, "one [[instances]] table per instance type, at least one")
    numbers = [text.count("\n", 0, match.start()) + 1 for match in _TABLE.finditer(text)]
    is_clear = len(numbers) == len(tables)  # text in a value may look like the head of a table
    lines = [f"line {n}" for n in numbers] if is_clear else [f"type {i + 1}" for i in range(len(tables))]
    found = []
    for line, table in zip(lines, tables, strict=True):
        place = f"{file}, {line}"
        for name in table:
            _check_column(name, place)
        found.append((place, _instance(table, place)))
    return list(_unique(found))


def _check_columns(header: list[str], place: str) -> None:
    for name in header:
        _check_column(name, place)
        if header.count(name) > 1:
            raise ArgumentError(place, name, "each column once")
    for name in _NEEDED:
        if name not in header:
            raise ArgumentError(place, header, f"a header with the columns name and usd_per_hour; {name} is missing")


def _check_column(name: str, place: str) -> None:
    if name not in COLUMNS:
        raise ArgumentError(place, name, f"the columns {', '.join(COLUMNS)}{nearest(name, COLUMNS)}")


def _instance(given: Mapping[str, Any], place: str) -> InstanceType:
    for name in _NEEDED:
        if name not in given:
            raise ArgumentError(f"{place}: {name}", None, "a value")
    try:
        return InstanceType(**given)
    except ArgumentError as error:
        argument = f"{place}: {error.argument.rpartition('.')[2]}"
        raise ArgumentError(argument, error.received, error.allowed, hint=error.hint) from None


def _cell(column: str, cell: str) -> object:
    """Returns the number in a cell of a column with numbers; any other cell as it is, for `InstanceType` to refuse."""
    if column in _NUMBERS:
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return kind(cell)
    return cell


def _unique(found: list[tuple[str, InstanceType]]) -> Iterator[InstanceType]:
    places: dict[str, str] = {}
    for place, item in found:
        if item.name in places:
            raise ArgumentError(f"{place}: name", item.name, f"each name once; {places[item.name]} has it, too")
        places[item.name] = place
        yield item
