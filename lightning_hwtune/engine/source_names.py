"""What the source of a module defines, read without running it: an import may take seconds, and print."""

from __future__ import annotations

import ast
import re
import symtable
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, PathFinder

__all__ = ["defined_names", "module_spec", "other_than_function"]

_DYNAMIC = re.compile(r"import\s*\(?\s*\*|\bglobal\b|__getattr__|\b(globals|vars|locals|setattr|exec)\(")
"""Source that may define names which a reader of the source does not see."""


def module_spec(module: str) -> ModuleSpec | None:
    """Returns where a module is, without importing it or its packages; None if it cannot be found."""
    found, path = None, None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        found = PathFinder.find_spec(".".join(parts[:depth]), path)
        if found is None:
            return None
        path = found.submodule_search_locations
    return found


def defined_names(spec: ModuleSpec) -> set[str] | None:
    """Returns the names that a module's source defines or imports; None if that cannot be known without running it."""
    try:
        source = _source(spec)
        table = symtable.symtable(source, spec.origin or spec.name, "exec") if source else None
    except (ImportError, SyntaxError, ValueError):
        return None  # the process that imports it shows the error
    if table is None or _DYNAMIC.search(source or ""):
        return None
    return {name.get_name() for name in table.get_symbols() if name.is_assigned() or name.is_imported()}


def _source(spec: ModuleSpec) -> str:
    """Returns the source of a module; an empty text if it has none."""
    return (spec.loader.get_source(spec.name) if isinstance(spec.loader, InspectLoader) else None) or ""


def other_than_function(spec: ModuleSpec, name: str) -> str:
    """Returns what the source of a module defines a name as, if that cannot train; an empty text if it is not clear."""
    try:
        source = _source(spec)
        tree = ast.parse("" if _DYNAMIC.search(source) else source)
    except (ImportError, SyntaxError, ValueError, RecursionError):
        return ""  # the process that imports it shows the error
    binding = [node for node in ast.walk(tree) if name in _bound(node)]
    if len(binding) != 1 or binding[0] not in tree.body:
        return ""
    [item] = binding
    if isinstance(item, ast.Assign):
        is_plain = isinstance(item.value, ast.Constant | ast.List | ast.Dict | ast.Set | ast.Tuple | ast.JoinedStr)
        return "a plain value" if is_plain else ""
    return _other_signature(item)


def _bound(node: ast.AST) -> list[str]:
    """Returns the names that a node of a syntax tree binds."""
    if isinstance(node, ast.Name):
        return []  # its statement binds it
    if isinstance(node, ast.Assign):
        return [part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    names = [getattr(node, key, None) for key in ("name", "asname", "arg")]
    if isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr | ast.For | ast.AsyncFor):
        names.append(getattr(node.target, "id", None))
    return [item for item in names if isinstance(item, str)]


def _other_signature(item: ast.AST) -> str:
    """Returns what a definition is, if it cannot be called with one trial and train; otherwise an empty text."""
    if isinstance(item, ast.AsyncFunctionDef):
        return "a coroutine"
    if not isinstance(item, ast.FunctionDef) or item.decorator_list:
        return ""
    given, n_defaults = [*item.args.posonlyargs, *item.args.args], len(item.args.defaults)
    n_needed = len(given) - n_defaults
    open_keywords = [
        word.arg for word, default in zip(item.args.kwonlyargs, item.args.kw_defaults, strict=True) if not default
    ]
    takes_one = n_needed <= 1 and (given or item.args.vararg) and not open_keywords
    return "" if takes_one else "a function with other arguments"
