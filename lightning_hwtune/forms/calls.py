"""A decorator for public calls, which checks their arguments with the table before the body runs.

    @checked_call("Study.run")
    def run(self, train, *, max_trials=None): ...

For an unknown keyword, the error has the name to use instead. For a missing or surplus argument, it lists the arguments
that the call accepts. Each value with a form is converted to plain Python.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from lightning_hwtune.errors import ArgumentError, HwTuneError, IllegalMoveError, UnknownArgumentError
from lightning_hwtune.forms.given import giving
from lightning_hwtune.forms.owners import OWNERS
from lightning_hwtune.forms.settings import Setting, documented
from lightning_hwtune.forms.table import FORMS
from lightning_hwtune.names import refuse_unknown
from lightning_hwtune.tracebacks import is_own

__all__ = ["checked_call", "checked_class"]

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)
_Kind = inspect.Parameter


class _Missing:
    def __repr__(self) -> str:
        return "missing"


def checked_call(
    name: str,
    *,
    prefix: str = "",
    elsewhere: Mapping[str, str] | None = None,
    options: Mapping[str, Setting] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Returns the decorator for a public call.

    Args:
        name: name of the call in the table and in messages.
        prefix: text before the names of arguments in messages.
        elsewhere: maps keywords that another call accepts to that call.
        options: the settings that the call takes as `**options`. The call gets all of them, with defaults filled in.
            Its signature and its docstring list them.
    """
    forms, known = FORMS.get(name, {}), options or {}

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = _with_options(inspect.signature(function), known)

        if not forms:

            @functools.wraps(function)
            def direct(*args: P.args, **kwargs: P.kwargs) -> R:
                try:
                    return function(*args, **kwargs)
                except HwTuneError as error:
                    _shorten(error)
                    raise
                except TypeError as error:
                    raised = error
                _bound(name, prefix, signature, args, kwargs, elsewhere)  # raises if the arguments are wrong
                raise raised  # an error in the body

            return direct

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                given = _bound(name, prefix, signature, args, kwargs, elsewhere)
                names = frozenset(given.arguments)
                given.arguments |= {key: item.default for key, item in known.items() if key not in given.arguments}
                for argument, value in given.arguments.items():
                    if argument in forms and signature.parameters[argument].kind is not _Kind.VAR_POSITIONAL:
                        given.arguments[argument] = forms[argument].read(f"{prefix}{argument}", value)
                with giving(names):
                    return function(*given.args, **given.kwargs)
            except HwTuneError as error:
                _shorten(error)
                raise

        if known:
            vars(call)["__signature__"] = signature
            call.__doc__ = documented(function.__doc__ or "", known)
        return call

    return decorate


def _shorten(error: HwTuneError) -> None:
    """Removes the frames of this package from an error whose message says what to do.

    A bug and an error that passed through user code keep their frames.
    """
    if not isinstance(error, IllegalMoveError) and is_own(error.__traceback__):
        error.__traceback__ = None


def _with_options(signature: inspect.Signature, options: Mapping[str, Setting]) -> inspect.Signature:
    """Returns the signature with the options in place of `**options`."""
    if not options:
        return signature
    own = [item for item in signature.parameters.values() if item.kind is not _Kind.VAR_KEYWORD]
    keywords = [
        _Kind(name, _Kind.KEYWORD_ONLY, default=item.default, annotation=item.annotation)
        for name, item in options.items()
    ]
    return signature.replace(parameters=[*own, *keywords])


def checked_class(*, prefix: str | None = None) -> Callable[[C], C]:
    """Checks the arguments of a dataclass's constructor with the table, under the name of the class.

    Args:
        prefix: text before the names of arguments in messages; None = the class and a dot.
    """

    def decorate(cls: C) -> C:
        init: Any = cls.__init__  # type: ignore[misc]
        called = f"{cls.__name__}." if prefix is None else prefix
        cls.__init__ = checked_call(cls.__name__, prefix=called)(init)  # type: ignore[misc]
        return cls

    return decorate


def _bound(
    name: str,
    prefix: str,
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    elsewhere: Mapping[str, str] | None,
) -> inspect.BoundArguments:
    """Returns the arguments by name. Python's own error would not contain the name to use instead."""
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        reason = str(error)
    known = [item for item in signature.parameters.values() if item.name not in ("self", "cls")]
    names = [item.name for item in known if item.kind in (_Kind.POSITIONAL_OR_KEYWORD, _Kind.KEYWORD_ONLY)]
    kinds = {item.kind: item.name for item in known}
    surplus = [] if _Kind.VAR_KEYWORD in kinds else [key for key in kwargs if key not in names]
    if surplus and not names and _Kind.VAR_POSITIONAL in kinds and not (elsewhere or {}).keys() & surplus:
        here = f"{name} takes its {kinds[_Kind.VAR_POSITIONAL]} one by one, without keywords"
        raise UnknownArgumentError(f"{name}({surplus[0]}=...)", here)
    refuse_unknown(name, surplus, names, elsewhere, OWNERS)
    by_position = (_Kind.POSITIONAL_ONLY, _Kind.POSITIONAL_OR_KEYWORD)
    positional = [item.name for item in known if item.kind in by_position]
    own = args[len(signature.parameters) - len(known) :]
    if len(own) > len(positional) and not any(item.kind is _Kind.VAR_POSITIONAL for item in known):
        keyword = [f"{item.name}=..." for item in known if item.kind is _Kind.KEYWORD_ONLY]
        ending = "" if len(positional) == 1 else "s"
        allowed = f"{len(positional) or 'no'} positional argument{ending}"
        allowed += f" ({', '.join(positional)})" if positional else ""
        keyword += ["name=value"] if _Kind.VAR_KEYWORD in kinds else []
        hint = f"Pass the others by keyword: {', '.join(keyword)}" if keyword else ""
        if len(positional) == 1 and _takes_list(signature.parameters[positional[0]]):
            hint = f"Pass a list: {name}([...])."
        raise ArgumentError(f"{name}(...)", own, allowed, hint=hint)
    filled = {*positional[: len(own)], *kwargs}
    for item in known:
        if item.default is _Kind.empty and item.name in names and item.name not in filled:
            form = FORMS.get(name, {}).get(item.name)
            allowed = form.allowed if form else f"a value; {name} takes {', '.join(names)}"
            raise ArgumentError(f"{prefix}{item.name}", _Missing(), allowed, hint=form.hint if form else "")
    raise ArgumentError(f"{name}(...)", own, f"each argument once ({reason})")


def _takes_list(parameter: inspect.Parameter) -> bool:
    return str(parameter.annotation).startswith(("Iterable[", "Sequence["))
