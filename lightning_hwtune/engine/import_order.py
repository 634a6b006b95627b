"""The order in which a script has imported its modules, kept for the processes that load the training function.

A pickled function imports the modules of its globals in the order in which it uses them. Modules that register
something at import, such as a resolver of OmegaConf, may work only in the order of the script.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import pickletools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

from lightning_hwtune.host.fork_safety import is_installed

__all__ = ["InOrder", "modules_in_order"]


def modules_in_order(data: bytes) -> tuple[str, ...]:
    """Returns the user's modules that a pickle may import, in the order in which the script imports them.

    Installed packages are left out, and modules that the script does not import itself.
    """
    texts = {argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)}
    used = [name for name, module in list(sys.modules.items()) if name in texts and _is_of_user(name, module)]
    return tuple(name for name in _imported_by_script() if name in used) if len(used) > 1 else ()


def _imported_by_script() -> list[str]:
    """Returns what the script of this process imports at its top level, in order; nothing in a notebook."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    try:
        tree = ast.parse(Path(file).read_bytes()) if file else ast.Module([], [])
    except (OSError, SyntaxError, ValueError):
        return []
    names: dict[str, None] = {}
    for node in tree.body:
        if isinstance(node, ast.Import):
            names.update(dict.fromkeys(alias.name for alias in node.names))
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names[node.module] = None
            names.update(dict.fromkeys(f"{node.module}.{alias.name}" for alias in node.names))
    return list(names)


def _is_of_user(name: str, module: Any) -> bool:
    spec = getattr(module, "__spec__", None)
    return name != "__main__" and spec is not None and bool(spec.has_location) and not is_installed(spec.origin)


@final
class InOrder:
    """Pickled in place of a function: imports these modules first, and loads as the function."""

    def __init__(self, modules: Sequence[str], function: Callable[[Any], Any]) -> None:
        self._modules, self._function = modules, function

    def __reduce__(self) -> tuple[Any, ...]:
        return _function, (_Imports(self._modules), self._function)


@final
class _Imports:
    """Pickled before the function, so that its modules are imported when it is loaded."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules

    def __reduce__(self) -> tuple[Any, ...]:
        return _import_all, (tuple(self._modules),)


def _import_all(modules: Sequence[str]) -> None:
    for name in modules:
        with contextlib.suppress(Exception):  # a module that the function needs fails again where it is used
            importlib.import_module(name)


def _function(_: None, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return function
