"""User-defined classes: found by the name of an entry point or by an import path, and rebuilt from the log.

The log of a study names a class of this package by its short name, such as "asha", and any other class by its import
path, such as "my_rules.halving:Halving". The stored settings are the arguments of the constructor, read from the
attributes of the same names. An object that could not be rebuilt from them is refused when the study is created.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast, final

from lightning_hwtune.errors import ArgumentError, nearest

__all__ = ["Registry", "import_path", "init_arguments"]

T = TypeVar("T")
_SCRIPTS = ("__main__", "__mp_main__")
"""Modules that have another content in another process: a script, a notebook, what `python -m` runs."""


@final
@dataclass(frozen=True)
class Registry(Generic[T]):
    """The classes of one kind.

    Attributes:
        kind: what messages call these classes, e.g. "scheduler". group: the entry-point group.
        base: the class that all of them must derive from. own: the classes of this package, by short name.
        argument: the argument that takes them, as messages spell it; "" if it is called like the kind.
        other_rooms: short name -> import path of the classes of this package that are in a higher room. They are
            imported when they are named.
    """

    kind: str
    group: str
    base: type
    own: Mapping[str, type[T]]
    argument: str = ""
    other_rooms: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of this package's classes and of the installed entry points."""
        ours = (*self.own, *self.other_rooms)
        return (*ours, *(entry.name for entry in self._entries() if entry.name not in ours))

    def find(self, name: object, argument: str = "", further: Iterable[str] = ()) -> type[T]:
        """Returns the class for a short name, an entry point, or an import path "module:Class" or "module.Class".

        Args:
            argument: the argument's name in messages; "" stands for the registry's own.
            further: names that the caller accepts in addition; they are only listed in the message.

        Raises:
            ArgumentError: the name is unknown, cannot be imported, or is not a class of this kind.
        """
        argument = argument or self.argument or self.kind
        if isinstance(name, str) and name in self.own:
            return self.own[name]
        if isinstance(name, str) and name in self.other_rooms:
            return self._checked(argument, name, _loaded(argument, self.other_rooms[name], self.kind))
        for entry in self._entries():
            if entry.name == name:
                return self._checked(argument, entry.value, _loaded(argument, entry.value, self.kind))
        if not isinstance(name, str) or not _is_path(name):
            names = (*further, *self.names)
            allowed = f"{', '.join(names)}, or an import path such as my_module:MyClass"
            raise ArgumentError(argument, name, f"{allowed}{nearest(str(name), names)}")
        return self._checked(argument, name, _loaded(argument, name, self.kind))

    def name_of(self, cls: type[T]) -> str:
        """Returns the name that the log uses for this class."""
        path = import_path(cls)
        own = next((name for name, known in self.own.items() if known is cls), None)
        return own or next((name for name, known in self.other_rooms.items() if known == path), path)

    def stored(self, part: T) -> dict[str, Any]:
        """Returns plain data for the log: the name of the part's class, and its settings."""
        settings: Mapping[str, Any] = part.settings()  # type: ignore[attr-defined]
        return {**settings, "name": self.name_of(type(part))}

    def rebuilt(self, data: Mapping[str, Any]) -> T:
        """Returns the object that `stored` described. Missing settings take their defaults.

        Raises:
            ArgumentError: the name is unknown, or a setting is not allowed.
        """
        cls, given = self.find(data.get("name")), {key: value for key, value in data.items() if key != "name"}
        known = _parameters(cls)
        if any(key not in known for key in given) and not self._is_ours(cls):
            allowed = f"the settings {', '.join(known) or 'none'}"
            raise ArgumentError(f"{self.kind} {data['name']}", given, allowed)
        return cls(**given)

    def check(self, part: T) -> None:
        """Refuses a part that another process could not rebuild from the log.

        Raises:
            ArgumentError: the part cannot be rebuilt; the message says why and what to do.
        """
        cls = type(part)
        if not self._is_ours(cls) and (why := self._obstacle(part)):
            name = _Named(f"{cls.__name__} of {cls.__module__}")
            allowed = f"{_a(self.kind)} that `hwtune status` and the next run can rebuild from the log"
            raise ArgumentError(self.argument or self.kind, name, allowed, hint=why)

    def _obstacle(self, part: T) -> str:
        """Returns why a part could not be rebuilt, and what to do; an empty text if it can."""
        cls = type(part)
        if cls.__module__ in _SCRIPTS:
            return (
                f"{cls.__name__} is defined in this script or notebook, which other processes cannot import. Move the "
                f"class to a module next to it, e.g. my_{self.kind}.py, and import it from there."
            )
        if "<locals>" in cls.__qualname__:
            return f"{cls.__name__} is defined inside a function. Move the class to the top level of its module."
        if self.find(import_path(cls)) is not cls:
            return f"{import_path(cls)} is another class; was the module reloaded after the object was created?"
        try:
            plain = json.loads(json.dumps(self.stored(part), allow_nan=False))
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            return (
                f"Its settings are not plain data: {error}. Store each argument of the constructor in an attribute of "
                "the same name, as a number, text, list or mapping; or define the method `settings`."
            )
        try:
            again = json.loads(json.dumps(self.stored(self.rebuilt(plain))))
        except Exception as error:  # whatever the user's constructor raises
            return f"Rebuilding it from its settings {plain} raises {type(error).__name__}: {error}"
        return "" if again == plain else f"Its settings are {plain}; the object rebuilt from them has {again}."

    def _is_ours(self, cls: type) -> bool:
        return cls in self.own.values() or import_path(cls) in self.other_rooms.values()

    def _checked(self, argument: str, name: str, found: object) -> type[T]:
        if isinstance(found, type) and issubclass(found, self.base) and not inspect.isabstract(found):
            return cast("type[T]", found)
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        hint = f"It lacks {missing}." if missing and isinstance(found, type) and issubclass(found, self.base) else ""
        raise ArgumentError(argument, name, f"a class that derives from {self.base.__name__}", hint=hint)

    def _entries(self) -> importlib.metadata.EntryPoints:
        return importlib.metadata.entry_points(group=self.group)


class _Named:
    """Text whose repr is the text itself, for use in messages."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def import_path(cls: type) -> str:
    """Returns "module:Class" for a class."""
    return f"{cls.__module__}:{cls.__qualname__}"


def init_arguments(part: object) -> dict[str, Any]:
    """Returns the constructor arguments of an object, read from its attributes of the same names.

    Raises:
        AttributeError: the object has no attribute with the name of an argument.
    """
    return {name: getattr(part, name) for name in _parameters(type(part))}


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _parameters(cls: type) -> list[str]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, item in inspect.signature(cls).parameters.items() if item.kind not in variadic]


def _is_path(name: str) -> bool:
    module, _, attribute = name.partition(":") if ":" in name else name.rpartition(".")
    return bool(module and attribute) and all(part.isidentifier() for part in f"{module}.{attribute}".split("."))


def _loaded(argument: str, path: str, kind: str) -> object:
    """Imports the object at an import path."""
    module, _, attribute = path.partition(":") if ":" in path else path.rpartition(".")
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        hint = f"{why}. Install the package, or run where its module can be imported."
        raise ArgumentError(argument, path, f"the import path of {_a(kind)}", hint=hint) from error
    return found
