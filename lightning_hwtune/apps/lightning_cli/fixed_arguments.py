"""Refuses a script whose LightningCLI does not take the values of the trial.

With `LightningCLI(args=["fit", "--config", "mine.yaml"])` all trials would train the same configuration, and with
`args=[*sys.argv[1:], "--model.lr=0.5"]` the same `model.lr`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_hwtune.apps.script_call import module_file
from lightning_hwtune.errors import ArgumentError

__all__ = ["fixed_arguments_refused"]

_PACKAGES = ("lightning", "pytorch_lightning")
_MODULES = ("lightning.pytorch.cli", "pytorch_lightning.cli")


@contextlib.contextmanager
def fixed_arguments_refused(script: str | None, config: str, values: Mapping[str, Any]) -> Iterator[None]:
    """Refuse, in this context, arguments that do not contain the trial's configuration, or that change its values.

    Args:
        script: path of the script, or the name of a module; its text decides which of Lightning's two packages
            are imported here.
        config: path of the trial's configuration, as it stands in `sys.argv`.
        values: dotted name -> value that the configuration gives to each searched parameter.
    """
    file = _file(script) if script is not None else None
    text = file.read_text(encoding="utf-8", errors="replace") if file is not None else ""
    used = (
        module
        for package, module in zip(_PACKAGES, _MODULES, strict=True)
        if package in sys.modules or f"import {package}" in text or f"from {package}" in text
    )
    with contextlib.ExitStack() as stack:
        for module in used:
            stack.enter_context(_checked(importlib.import_module(module).LightningCLI, config, values))
        yield


@contextlib.contextmanager
def _checked(cls: Any, config: str, values: Mapping[str, Any]) -> Iterator[None]:
    original: Callable[..., None] = cls.parse_arguments

    def parse_arguments(self: Any, parser: Any, args: Any) -> None:
        if args is not None and not (isinstance(args, list | tuple) and any(config in str(word) for word in args)):
            hint = "Leave out args, or pass sys.argv[1:], which has the configuration of the trial."
            raise ArgumentError("LightningCLI(args=...)", args, "the arguments of the command line", hint=hint)
        original(self, parser, args)
        parsed = self.config.get(self.config.get("subcommand") or "", self.config)
        for name, value in values.items():
            found = parsed.get(name, value)
            if _is_plain(found) and _is_plain(value) and found != value:
                hint = "The script must not change a searched value."
                raise ArgumentError(name, found, f"{value}, the value of the trial", hint=hint)

    cls.parse_arguments = parse_arguments
    try:
        yield
    finally:
        cls.parse_arguments = original


def _file(script: str) -> Path | None:
    return Path(script) if os.path.isabs(script) else module_file(script)


def _is_plain(value: Any) -> bool:
    """Return whether a parser keeps a value as it is; text may become a path or a member of an enumeration."""
    return isinstance(value, bool | int | float)
