"""What one setting of a study or of a run is: its values, its default and its meaning, for every interface."""

from __future__ import annotations

import dataclasses
import re
import textwrap
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from lightning_hwtune.forms.kinds import Form

__all__ = ["NEEDED", "Setting", "documented", "settings_of"]

NEEDED: Final = dataclasses.MISSING
"""The default of a setting that has none."""

_WIDTH = 120  # of the lines of a docstring


@final
@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, spelled once: signatures, study files, the Hydra node, the command line and the docs derive from it.

    Attributes:
        default: the value if none is given; `NEEDED` if there is none.
        form: the allowed values.
        doc: the meaning, in Python's words.
        annotation: the type for type checkers.
        in_file: whether study files have it.
    """

    default: Any
    form: Form
    doc: str
    annotation: Any = Any
    in_file: bool = True

    @property
    def summary(self) -> str:
        """The first sentence of the meaning, as a sentence."""
        first = re.split(r"[.;:] (?=[A-Z\"`])", self.doc)[0]
        return f"{first.removesuffix('.')}."

    @property
    def file_doc(self) -> str:
        """The meaning in the words of YAML."""
        return re.sub(r"\bNone\b", "null", self.doc)

    @property
    def type(self) -> type | None:
        """The plain type of a value that is not None; None if there are several."""
        union = isinstance(self.annotation, types.UnionType)
        kinds = typing.get_args(self.annotation) if union else (self.annotation,)
        given = [kind for kind in kinds if kind is not types.NoneType]
        return given[0] if len(given) == 1 and given[0] in (int, float, str, bool) else None

    def new(self) -> Any:
        """Returns the default, as an object that may be changed."""
        return self.default.copy() if isinstance(self.default, dict | list) else self.default


def settings_of(options: Any) -> Mapping[str, Setting]:
    """Returns the settings of a `TypedDict` whose keys are annotated as `Annotated[type, Setting(...)]`."""
    found = {}
    for name, annotated in options.__annotations__.items():
        [setting] = annotated.__metadata__
        kind = annotated.__origin__
        is_text = isinstance(kind, typing.ForwardRef)  # a class that this room may not import
        found[name] = dataclasses.replace(setting, annotation=kind.__forward_arg__ if is_text else kind)
    return found


def documented(doc: str, options: Mapping[str, Setting]) -> str:
    """Returns a docstring in which the line of `options` under "Args" is replaced by one entry per setting."""

    def entries(found: re.Match[str]) -> str:
        indent = found[1]
        texts = (f"{name}: {item.doc}" for name, item in options.items())
        wrapped = (
            textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=f"{indent}    ") for text in texts
        )
        return "\n".join(line for lines in wrapped for line in lines)

    return re.sub(r"^( +)options: .*(?:\n\1 +.*)*", entries, doc, count=1, flags=re.MULTILINE)
