"""Writes the tables of keys and options in `docs/study-file.md` from the schema: `python docs/write_study_file.py`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_hwtune.core.hardware.policies import POLICIES
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.schedulers import SCHEDULERS
from lightning_hwtune.forms.settings import NEEDED
from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.planning.advised_policy import AdvisedAllocation
from lightning_hwtune.planning.planned_policy import PlannedAllocation
from lightning_hwtune.planning.seer_policy import SeerAllocation
from lightning_hwtune.settings.study_parts import SEARCHERS, option_docs, options

PAGE = Path(__file__).with_name("study-file.md")


def updated() -> str:
    """Returns the page with new tables between its `<!-- table: NAME -->` and `<!-- end -->` lines."""
    page = PAGE.read_text()
    for name, table in TABLES.items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, n = pattern.subn(lambda found, table=table: f"{found[1]}{table()}{found[2]}", page)
        if n != 1:
            raise SystemExit(f"{PAGE.name} has {n} places for the table {name!r}")
    return page


def key_table() -> str:
    """Returns the keys of a study file."""
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, item in FILE_KEYS.items():
        default = "needed" if item.default is NEEDED else _written(item.default)
        rows.append(f"| `{name}` | {item.form.kind} | {default} | {item.file_doc} |")
    return "\n".join(rows) + "\n"


def _written(value: object) -> str:
    """A value as YAML has it."""
    words = {None: "null", True: "true", False: "false"}
    value = list(value) if isinstance(value, tuple) else value
    known = value is None or isinstance(value, bool)
    text = words[value] if known else str(value).replace("'", "") or '""'
    return f"`{text}`"


def option_table(*classes: Callable[..., Any]) -> str:
    """Returns the options of these classes, with their defaults and what the docstrings say about them."""
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for cls in classes:
        docs = option_docs(cls)
        for name, item in options(cls).items():
            default = "needed" if item.default is inspect.Parameter.empty else _written(item.default)
            rows.append(f"| `{name}` | {default} | {docs.get(name, '')} |")
    return "\n".join(rows) + "\n"


_OTHERS = {"advised": AdvisedAllocation, "planned": PlannedAllocation, "seer": SeerAllocation}  # of a higher room

TABLES: dict[str, Callable[[], str]] = {
    "keys": key_table,
    **{
        name: lambda cls=cls: option_table(cls)
        for name, cls in {
            **SCHEDULERS,
            **SEARCHERS,
            **POLICIES,
            **_OTHERS,
        }.items()
        if options(cls)
    },
    "pool": lambda: option_table(Pool),
}


if __name__ == "__main__":
    PAGE.write_text(updated())
