"""Makes a check leave nothing behind: its loggers log nothing, and its callbacks save in the check's folder.

The process of a check is not used for anything else, so classes may be changed in it. Every logger that is created in
it is an instance of a subclass with the user's class, name and arguments, but without a run and with a folder of the
check. Our own CSV logger is not changed, because it writes into the check's folder anyway.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, final

from lightning_hwtune.training.loggers.csv_rows import KeptMetricsFile

__all__ = ["is_silent", "redirect_checkpoints", "untraced"]

_LOGGERS = ("lightning.fabric.loggers.logger", "lightning_fabric.loggers.logger")  # the bases of both class trees
_SILENT = ("log_metrics", "log_hyperparams", "log_graph", "save", "finalize", "after_save_checkpoint")
_FOLDERS = ("save_dir", "log_dir", "root_dir")


@contextlib.contextmanager
def untraced(folder: Path) -> Iterator[None]:
    """Makes every Lightning logger that is created inside the block silent; its folders are below `folder`."""
    changed: list[Any] = []

    def change(module: ModuleType) -> None:
        changed.append(vars(module)["Logger"])
        changed[-1].__new__ = staticmethod(lambda cls, *args, **kwargs: object.__new__(_silent(cls, folder)))

    waiting = _AfterImport({name: change for name in _LOGGERS if name not in sys.modules})
    sys.meta_path.insert(0, waiting)
    for name in _LOGGERS:
        if name in sys.modules:
            change(sys.modules[name])
    try:
        yield
    finally:
        sys.meta_path.remove(waiting)
        for cls in changed:  # if `__new__` were deleted, the class would take no arguments
            cls.__new__ = staticmethod(lambda cls, *args, **kwargs: object.__new__(cls))


def is_silent(logger: Any) -> bool:
    """Return whether a logger was made silent by a check."""
    return "_hwtune_silent" in vars(type(logger))


def redirect_checkpoints(trainer: Any, folder: Path) -> None:
    """Makes the Trainer's checkpoint callbacks save below `folder`. For `setup`, before they choose their folder."""
    for index, callback in enumerate(trainer.checkpoint_callbacks):
        if hasattr(callback, "dirpath"):
            callback.dirpath = str(folder / "callbacks" / str(index))


def _silent(cls: type, folder: Path) -> type:
    """Returns a subclass with the same name that logs nothing."""
    if issubclass(cls, KeptMetricsFile) or "_hwtune_silent" in vars(cls):
        return cls
    members: dict[str, Any] = dict.fromkeys(_SILENT, _nothing)
    members |= {name: _fixed(str(folder / "loggers")) for name in _FOLDERS if hasattr(cls, name)}
    if hasattr(cls, "experiment"):
        members["experiment"] = _fixed(_Silence())
    named = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "_hwtune_silent": True}
    metaclass: Any = type(cls)  # abstract bases have one
    silent: type = metaclass(cls.__name__, (cls,), {**members, **named})
    return silent


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Logs nothing."""


def _fixed(value: Any) -> property:
    """Returns a property that always has this value; setting it has no effect."""
    return property(lambda self: value, lambda self, new: None)


@final
class _Silence:
    """Replaces a run, its parts and the results of its methods: accepts every call and stores nothing."""

    def __getattr__(self, name: str) -> _Silence:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> _Silence:
        return self

    def __getitem__(self, key: Any) -> _Silence:
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        """Stores nothing."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Stores nothing."""

    def __enter__(self) -> _Silence:
        return self

    def __exit__(self, *error: object) -> None:
        """Ends nothing."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __str__(self) -> str:
        return "check"


@final
class _AfterImport:
    """A finder that calls an action after the import of a module."""

    def __init__(self, actions: dict[str, Any]) -> None:
        self._actions = actions

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Returns what the other finders find, for the modules with an action."""
        if name not in self._actions:
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            execute, loader, action = spec.loader.exec_module, spec.loader, self._actions.pop(name)

            def execute_and_act(module: ModuleType) -> None:
                del loader.exec_module
                execute(module)
                action(module)

            loader.exec_module = execute_and_act  # type: ignore[method-assign]
        return spec
