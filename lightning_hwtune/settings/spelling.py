"""How messages spell a study's settings: as keys of a study file, or as overrides on a command line.

Messages contain settings in backticks and as Python code; see `names.spelling`. Anything that is not a setting is kept.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objective_kinds import MEASURED, Metric
from lightning_hwtune.core.schedulers import SCHEDULERS
from lightning_hwtune.forms.run_options import LIMITS, REPLICATE_OPTIONS, RUN_OPTIONS
from lightning_hwtune.forms.study_keys import FILE_KEYS

__all__ = [
    "CLI_TUNE_SPELLING",
    "FILE_SPELLING",
    "REFIT_SPELLING",
    "REPLICATE_SPELLING",
    "SETTINGS",
    "Spelling",
    "as_override",
]

_NOT_NAMED = {"study", "train", "space", "max_epochs", "max_steps", "max_samples", "seed", "dir"}
SETTINGS = frozenset({*FILE_KEYS, *RUN_OPTIONS} - _NOT_NAMED)
"""The settings that messages may name. Horizons are not included: Lightning's own messages name its `max_epochs`."""

_TOKEN = re.compile(r"`((?:study\.)?[A-Za-z_]\w*(?:=[^`]+|\([^`]*\))?)`")
_SCHEDULER_NAMES = {cls.__name__: name for name, cls in SCHEDULERS.items()}
_MEASURED_NAMES = {cls.__name__: name for name, cls in MEASURED.items()}
_PLAIN = re.compile(r"[\w.:/+-]+|\.\.\.")  # text that needs no quotes in brackets


@final
@dataclass(frozen=True, slots=True)
class Spelling:
    """The spelling of one interface.

    Attributes:
        assign: writes a name and the text of its value.
        prefix: goes before the name of every setting except those in `names`.
        names: settings that have another name.
        whole: settings that are written in a completely different way, such as an option of the command.
        absent: settings that this interface does not have.
    """

    assign: Callable[[str, str], str]
    prefix: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    whole: Mapping[str, str] = field(default_factory=dict)
    absent: Collection[str] = ()

    def __call__(self, text: str) -> str:
        """Returns the text with its settings in this spelling."""
        return _TOKEN.sub(lambda found: f"`{self._written(found[1])}`", text)

    def _written(self, token: str) -> str:
        if token in self.whole:
            return self.whole[token]
        try:
            [statement] = ast.parse(token).body
            return self._of(statement) or token
        except (SyntaxError, ValueError):  # not Python, or not a plain value
            return token

    def _of(self, statement: ast.stmt) -> str:
        """Returns a setting in this spelling; an empty text if the statement is not a setting."""
        match statement:
            case ast.Expr(ast.Name(name)) if self._has(name):
                return self._name(name)
            case ast.Assign([ast.Name(name)], value) if self._has(name):
                return self.assign(self._name(name), _text(ast.literal_eval(value)))
            case ast.Expr(ast.Call(ast.Name("Study"), [ast.Constant(_)], [ast.keyword(str(name), value)])):
                return self.assign(self._name(name), _text(ast.literal_eval(value))) if self._has(name) else ""
            case ast.Expr(ast.Call(ast.Attribute(ast.Name("study"), name))) if self._has(name):  # such as study.enqueue
                return self._name(name)
            case ast.Expr(ast.Call(ast.Name(name), [], [])) if name in _MEASURED_NAMES:
                return _MEASURED_NAMES[name]
            case ast.Expr(ast.Call(ast.Name(name), positional, keywords)):
                given = {word.arg or "": ast.literal_eval(word.value) for word in keywords}
                if name in _SCHEDULER_NAMES:
                    form = {"name": _SCHEDULER_NAMES[name], **given}
                    return self.assign(self._name("scheduler"), _text(form if given else form["name"]))
                if name == Pool.__name__:
                    return self.assign(self._name("pool"), _text(given))
                if name == Metric.__name__:
                    given = dict(zip(("metric", "mode"), map(ast.literal_eval, positional), strict=False)) | given
                    return f"{_text(given)}` in `{self._name('objectives')}"  # which may have other entries
        return ""

    def _has(self, name: str) -> bool:
        return name in SETTINGS and name not in self.absent

    def _name(self, setting: str) -> str:
        return self.names.get(setting, f"{self.prefix}{setting}")


def _as_key(name: str, value: str) -> str:
    """Writes a setting as a line of a YAML file."""
    return f"{name}: {value}"


def as_override(name: str, value: str) -> str:
    """Writes a setting as a word of a command line."""
    return shlex.quote(f"{name}={value}")


def _as_word(name: str, value: str) -> str:
    return f"{name} {shlex.quote(value)}" if name.startswith("-") else as_override(name, value)


_OPTIONS = {"check=False": "--no-check", "progress=False": "--quiet"}
FILE_SPELLING = Spelling(_as_key, whole=_OPTIONS, absent=("progress",))
"""For study files, and for the commands that take one."""
CLI_TUNE_SPELLING = Spelling(
    _as_word,
    names={name: f"--{name.replace('_', '-')}" for name in LIMITS},
    whole=_OPTIONS,
    absent=("progress",),
)
"""For `cli-tune`: its options, and changes to the study, which come after the configuration."""


def _option_of(method: str) -> Callable[[str, str], str]:
    """Returns how to write an option of a command, which has those of a method of `Study` only in part."""

    def write(name: str, value: str) -> str:
        return f"{name} {shlex.quote(value)}" if name.startswith("-") else f"study.{method}(..., {name}={value})"

    return write


def _for_method(method: str, names: Iterable[str], whole: Mapping[str, str]) -> Spelling:
    return Spelling(
        _option_of(method),
        names={name: f"--{name.replace('_', '-')}" for name in names},
        whole={"progress=False": "--quiet", "hang_timeout=None": f"study.{method}(..., hang_timeout=None)", **whole},
        absent={*SETTINGS} - {*REPLICATE_OPTIONS},
    )


REPLICATE_SPELLING = _for_method("replicate", (name for name in REPLICATE_OPTIONS if name in LIMITS), {})
"""For `replicate` with a stored study, which has the options of Python only where the command has none."""
REFIT_SPELLING = _for_method("refit", ("max_time", "max_cost"), {"from_checkpoint": "--from-checkpoint"})
"""For `refit`."""


def _text(value: Any) -> str:
    """Returns a plain value as one line of YAML, which both study files and Hydra's overrides can read."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if value is ...:
        return "..."
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        return f"'{value}'"
    return str(value)
