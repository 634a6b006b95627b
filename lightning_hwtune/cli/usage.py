"""Errors of the option parser, which say what was given, what is allowed, and what to do, for every command.

The parser's own messages differ between its versions, and most of them leave out the value. What an argument may be is
read from the function of its command. The errors are recognized by their attributes: some versions of Typer have a
copy of Click inside, and others import Click.
"""

from __future__ import annotations

import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, cast

import typer
from typer.core import TyperCommand, TyperGroup

from lightning_hwtune.errors import nearest, shown
from lightning_hwtune.names.commands import COMMANDS, OPTIONS

__all__ = ["App", "Command", "Group"]

_UsageError = cast("type[Exception]", typer.BadParameter.__base__)
_NUMBER = re.compile(r"-\d")


class Command(TyperCommand):
    """A command whose errors of usage name the value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the words after the command."""
        with _explained(self, ctx, args):
            return super().parse_args(ctx, args)


class Group(TyperGroup):
    """A group of commands, with the same messages."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the options of the group."""
        with _explained(self, ctx, args):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Returns the command that the first word names."""
        try:
            return super().resolve_command(ctx, args)
        except _UsageError:
            known = self.list_commands(ctx)
            if args[0].endswith((".yaml", ".yml")) and "run" in known:
                _fail(f"There is no command {shown(args[0])}. To run a study file: hwtune run {args[0]}.", ctx)
            other = COMMANDS.get(args[0].lower())
            meant = f"; did you mean {other!r}?" if other in known else nearest(args[0].lower(), known)
            text = f"There is no command {shown(args[0])}{_end(meant)} The commands are {', '.join(sorted(known))}."
            _fail(text, ctx)


class App(typer.Typer):
    """A Typer whose commands explain errors of usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"cls": Group, **options})

    def command(self, name: str | None = None, **options: Any) -> Callable[..., Any]:
        """Adds a command, as `typer.Typer.command` does."""
        return super().command(name, **{"cls": Command, **options})


@contextmanager
def _explained(command: Any, ctx: Any, args: Sequence[str]) -> Iterator[None]:
    """Replaces an error of usage by one that says what was given and what is allowed."""
    words = list(args)  # the parser empties its list
    try:
        yield
    except _UsageError as error:
        text = _text(command, ctx, words, error)
        if text is None:
            raise
        _fail(text, ctx)


def _fail(text: str, ctx: Any) -> NoReturn:
    raise _UsageError(text, ctx) from None


def _text(command: Any, ctx: Any, words: Sequence[str], error: Exception) -> str | None:
    """Returns the message for an error; None keeps that of the parser."""
    kind = type(error).__name__
    parameter, option = getattr(error, "param", None), getattr(error, "option_name", None)
    if kind == "NoSuchOption":
        return _no_such_option(command, ctx, words, str(option))
    if kind == "BadOptionUsage":
        found = next((item for item in command.get_params(ctx) if option in _flags(item)), None)
        if found is None or getattr(found, "is_flag", False):
            return f"`{option}` is a switch, so no value follows it." if found is not None else None
        return f"`{option}` has no value; allowed: {_allowed(command, found)}."
    if kind == "MissingParameter" and parameter is not None:
        about = _about(command, parameter)
        wanted = f"{_allowed(command, parameter)}.{about}" if _is_listed(command, parameter) else about.strip()
        return f"`{_name(parameter)}` is missing: {_lowered(wanted)}."
    if kind == "BadParameter" and parameter is not None:
        return _bad_value(command, ctx, words, parameter, str(getattr(error, "message", error)))
    extra = re.search(r"unexpected extra arguments? ?\(?s?\)? ?\((.*)\)", str(getattr(error, "message", "")))
    if extra is not None:
        has_study = any("--study" in _flags(item) for item in command.get_params(ctx))
        is_name = has_study and extra[1].isidentifier()
        hint = f" To choose a study, write --study {extra[1]}." if is_name else ""
        return f"{extra[1]!r} is too much: {_takes(command, ctx)}.{hint}"
    return None


def _no_such_option(command: Any, ctx: Any, words: Sequence[str], option: str) -> str:
    parameters = command.get_params(ctx)
    numbers = [item for item in parameters if _is_argument(item) and _annotation(command, item)[0] in (int, float)]
    if numbers and _NUMBER.match(option):
        given = next((word for word in words if word.startswith(option)), option)
        return (
            f"`{_name(numbers[0])}` is {given}; allowed: {_allowed(command, numbers[0])}.{_about(command, numbers[0])}"
        )
    known = [flag for item in parameters for flag in _flags(item) if flag.startswith("--")]
    meant = _near_option(option, known)
    listed = ", ".join(sorted(known))
    if isinstance(command, Group) and not meant:
        return (
            f"`{ctx.command_path}` has no option {shown(option)}. Options follow the command, such as {_example(ctx)}."
        )
    return f"`{ctx.command_path}` has no option {shown(option)}{_end(meant)} Its options are {listed}."


def _near_option(option: str, known: Sequence[str]) -> str:
    """Returns "; did you mean '--x'?" with another tool's name or the closest one, or an empty string."""
    other = OPTIONS.get(option.lower())
    if other in known:
        return f"; did you mean {other!r}?"
    bare = {flag.removeprefix("--"): flag for flag in known}
    close = nearest(option.lstrip("-").lower().replace("_", "-"), bare)
    return close.replace("mean '", "mean '--") if close else ""


def _example(ctx: Any) -> str:
    return f"{ctx.command_path} {'show' if ctx.parent is not None else 'front'} --study NAME"


def _bad_value(command: Any, ctx: Any, words: Sequence[str], parameter: Any, reason: str) -> str:
    given = _given(command, ctx, words, parameter)
    kind, _ = _annotation(command, parameter)
    if isinstance(given, list | tuple) and len(given) == 1:
        given = given[0]
    if not _is_listed(command, parameter):
        why = reason.removeprefix("Value error, ").rstrip(".")
        return f"`{_name(parameter)}` is {shown(given)}: {why}{'' if why.endswith('?') else '.'}"
    hint = _about(command, parameter).strip()
    if issubclass(kind, enum.Enum):
        hint = nearest(str(given).lower(), [item.value for item in kind]).removeprefix("; ")
    elif issubclass(kind, Path):
        hint = _near_path(str(given))
    hint = f" {hint[:1].upper()}{hint[1:]}" if hint else ""
    return f"`{_name(parameter)}` is {shown(given)}; allowed: {_allowed(command, parameter)}.{hint}"


def _near_path(given: str) -> str:
    """Returns a hint that names a file with nearly the same name."""
    path = Path(given)
    try:
        names = [item.name for item in path.parent.iterdir() if item.is_file() and item.suffix in (".yaml", ".yml")]
        is_folder = path.is_dir()
    except (OSError, ValueError):
        return ""
    if is_folder:
        return "This is a folder."
    close = nearest(path.name, names).removeprefix("; ")
    return f"There is no such file; {close}" if close else "There is no such file."


def _given(command: Any, ctx: Any, words: Sequence[str], parameter: Any) -> Any:
    """Returns the text that was given for a parameter: the words are parsed once more, without conversion."""
    try:
        values, _, _ = command.make_parser(ctx).parse_args(list(words))
    except Exception:  # another version of the parser; the message is whole without the value
        return None
    return values.get(parameter.name)


def _allowed(command: Any, parameter: Any) -> str:
    """Returns what a parameter may be."""
    kind, info = _annotation(command, parameter)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(str(item.value) for item in kind)
    if kind in (int, float):
        noun = "an integer" if kind is int else "a number"
        low, high = getattr(info, "min", None), getattr(info, "max", None)
        if low is not None and high is not None:
            return f"{noun} from {low} to {high}"
        if low == 1 and kind is int:
            return "a positive integer"
        bound = f" of at least {low}" if low is not None else f" of at most {high}" if high is not None else ""
        return noun + bound
    if kind is Path:
        return "an existing file" if getattr(info, "exists", False) else "a path"
    if kind is bool:
        return "no value: it is a switch"
    return _lowered(str(getattr(parameter, "help", "") or "")) or "a text"


def _is_listed(command: Any, parameter: Any) -> bool:
    """Return whether its type says what a parameter may be: a number, a file, or one of some words."""
    kind, _ = _annotation(command, parameter)
    return isinstance(kind, type) and issubclass(kind, int | float | enum.Enum | Path)


def _annotation(command: Any, parameter: Any) -> tuple[Any, Any]:
    """Returns the type of a parameter, without None and lists, and what the function of its command declares."""
    try:
        declared = inspect.signature(command.callback, eval_str=True).parameters[parameter.name].annotation
    except (KeyError, NameError, TypeError, ValueError):
        return None, None
    info: Any = None
    if typing.get_origin(declared) is typing.Annotated:
        declared, info, *_ = typing.get_args(declared)
    if getattr(info, "parser", None) is not None:
        return None, info
    while typing.get_origin(declared) in (types.UnionType, typing.Union, list):
        declared = next(item for item in typing.get_args(declared) if item is not type(None))
    return declared, info


def _takes(command: Any, ctx: Any) -> str:
    names = [_name(item) for item in command.get_params(ctx) if _is_argument(item)]
    return f"`{ctx.command_path}` takes {', '.join(names) or 'no arguments'}, and options that begin with --"


def _name(parameter: Any) -> str:
    """Returns how a parameter is shown: its longest flag, or the word in the usage line."""
    if _is_argument(parameter):
        return str(parameter.metavar or parameter.name).strip("[]{}.")
    return max(_flags(parameter), key=len)


def _about(command: Any, parameter: Any) -> str:
    _, info = _annotation(command, parameter)
    text = str(getattr(parameter, "help", "") or getattr(info, "help", "") or "").rstrip(".")  # some versions drop it
    return f" {text}." if text else ""


def _flags(parameter: Any) -> list[str]:
    return [] if _is_argument(parameter) else [*parameter.opts, *parameter.secondary_opts]


def _is_argument(parameter: Any) -> bool:
    return getattr(parameter, "param_type_name", "") == "argument"


def _end(meant: str) -> str:
    return meant or "."


def _lowered(text: str) -> str:
    first = text.rstrip(".")
    return first[:1].lower() + first[1:] if not first[:2].isupper() else first
