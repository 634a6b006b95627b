"""Methods that are attributes in other tools: code that forgets to call one gets an error that says so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Generic, NoReturn, TypeVar, cast, final

from lightning_hwtune.errors import ArgumentError

__all__ = ["called"]

_Method = TypeVar("_Method", bound=Callable[..., Any])


def called(hint: str) -> Callable[[_Method], _Method]:
    """Returns the decorator of a method whose bound form answers iteration, `len` and indexing with this hint."""

    def decorate(method: _Method) -> _Method:
        return cast(_Method, _Called(method, hint))

    return decorate


@final
class _Called(Generic[_Method]):
    def __init__(self, method: _Method, hint: str) -> None:
        functools.update_wrapper(cast(Any, self), method)
        self._method, self._hint = method, hint

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self._method
        name = f"{type(instance).__name__}.{self._method.__name__}"  # also of a method that is inherited
        return _Bound(self._method.__get__(instance, owner), name, self._hint)


@final
class _Bound:
    """A bound method that is not called."""

    def __init__(self, method: Callable[..., Any], name: str, hint: str) -> None:
        functools.update_wrapper(self, method)
        self._method, self._name, self._hint = method, name, hint

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._method(*args, **kwargs)

    def __repr__(self) -> str:
        return repr(self._method)

    def _refused(self, *_: object) -> NoReturn:
        raise ArgumentError(self._name, "not called", f"a call: {self._hint}") from None

    __iter__ = __len__ = __getitem__ = __contains__ = _refused
