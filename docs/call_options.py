"""What mkdocstrings does while it reads a call: it lists the options and the defaults of a table, as `help` does."""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import Any

import griffe

__all__ = ["CallOptions"]


class CallOptions(griffe.Extension):
    """Takes signature and docstring from the function itself where a decorator has filled in its options."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Replaces `**options` by the options; griffe calls it for every function."""
        for parameter in func.parameters:
            if str(parameter.default).startswith("FILE_KEYS["):
                parameter.default = repr(inspect.signature(_call(func)).parameters[parameter.name].default)
        keywords = [item for item in func.parameters if item.kind is griffe.ParameterKind.var_keyword]
        if not keywords or "Unpack" not in str(keywords[0].annotation):
            return
        call = _call(func)
        given = inspect.signature(call).parameters
        if any(item.kind is inspect.Parameter.VAR_KEYWORD for item in given.values()):
            return  # the options of Lightning's Trainer, which its own docs describe
        own = [item for item in func.parameters if item not in keywords]
        options = [item for item in given.values() if item.name not in {parameter.name for parameter in own}]
        func.parameters = griffe.Parameters(*own, *map(_parameter, options))
        doc = inspect.getdoc(call)
        func.docstring = (
            griffe.Docstring(
                doc or "", parent=func, parser=func.docstring.parser, parser_options=func.docstring.parser_options
            )
            if func.docstring
            else None
        )


def _call(func: griffe.Function) -> Any:
    """Returns the function itself."""
    module = importlib.import_module(func.module.path)
    return functools.reduce(getattr, func.path.removeprefix(f"{func.module.path}.").split("."), module)


def _parameter(item: inspect.Parameter) -> griffe.Parameter:
    kind = item.annotation
    return griffe.Parameter(
        item.name,
        annotation=kind if isinstance(kind, str) else inspect.formatannotation(kind).replace("collections.abc.", ""),
        kind=griffe.ParameterKind.keyword_only,
        default=repr(item.default),
    )
