"""Which arguments of a call its caller gave: the others have defaults, and a stored study keeps its own defaults."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

__all__ = ["Given", "by_default", "given_settings", "given_to_call", "giving"]

_GIVEN: ContextVar[frozenset[str]] = ContextVar("given", default=frozenset())
_DEFAULTS: ContextVar[frozenset[str]] = ContextVar("defaults", default=frozenset())
_NOTHING = object()


def given_to_call() -> frozenset[str]:
    """Returns the names of the arguments that were given to the checked call whose body runs now."""
    return _GIVEN.get()


@contextlib.contextmanager
def by_default(names: frozenset[str]) -> Iterator[None]:
    """Makes calls inside the block count these arguments as not given: an interface passes its own defaults."""
    token = _DEFAULTS.set(names)
    try:
        yield
    finally:
        _DEFAULTS.reset(token)


@contextlib.contextmanager
def giving(names: frozenset[str]) -> Iterator[None]:
    """Makes these the names that `given_to_call` returns, except those that are an interface's own defaults."""
    token = _GIVEN.set(names - _DEFAULTS.get())
    try:
        yield
    finally:
        _GIVEN.reset(token)


class Given:
    """A base class of settings, which remembers the arguments that were given to the constructor."""

    __slots__ = ("_given",)
    _given: frozenset[str]

    if not TYPE_CHECKING:  # a type checker reads the signature of `__init__`

        def __new__(cls, *args: Any, **kwargs: Any) -> Given:
            if (args or kwargs) and cls.__init__ is object.__init__:
                raise TypeError(f"{cls.__name__}() takes no arguments")
            self = super().__new__(cls)
            object.__setattr__(self, "_given", _names(cls, args, kwargs))
            return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Returns what `copy` and `pickle` need: a frozen object with slots cannot be restored in their usual way."""
        return _restored, (type(self), object.__getstate__(self))


def given_settings(part: object) -> frozenset[str]:
    """Returns the constructor arguments of an object that were given, or that differ from their defaults."""
    parameters = inspect.signature(type(part)).parameters
    names: frozenset[str] = getattr(part, "_given", frozenset(parameters))
    defaults = {name: item.default for name, item in parameters.items()}
    changed = {name for name, default in defaults.items() if not _is_default(getattr(part, name, _NOTHING), default)}
    return names | changed


def _restored(cls: type, state: Any) -> Any:
    """Returns an object of this class with these attributes: those of its dict, those of its slots, or both."""
    self: Any = object.__new__(cls)
    for attributes in state if isinstance(state, tuple) else (state,):
        for name, value in (attributes or {}).items():
            object.__setattr__(self, name, value)
    return self


def _is_default(value: object, default: object) -> bool:
    try:
        return value is default or bool(value == default)
    except Exception:  # arrays, and whatever a user's class raises
        return False


def _names(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(cls).bind_partial(*args, **kwargs).arguments)
    except TypeError:  # the constructor will raise it, with a better message
        return frozenset(kwargs)
