"""Loads a training function, and puts what it brings from the user's script where pickle looks for it: in `__main__`.

Functions and classes of a script or a notebook arrive by value, so a rank never runs the script. But whatever user code
pickles afterwards goes by name: a pool of processes, `torch.save`, the hyperparameters in a checkpoint, from which
Lightning silently leaves out what it cannot pickle.
"""

from __future__ import annotations

import pickle
import sys
from typing import IO, Any, final

__all__ = ["load_with_script_names"]

_MAKERS = frozenset({"_make_function", "_make_skeleton_class", "_make_skeleton_enum"})  # of cloudpickle


def load_with_script_names(file: IO[bytes]) -> Any:
    """Returns what a file of cloudpickle bytes holds; this process's `__main__` then has the script's names in it."""
    unpickler = _Unpickler(file)
    loaded = unpickler.load()
    main = vars(sys.modules["__main__"])
    for value in unpickler.made:
        if value.__module__ == "__main__" and value.__qualname__.isidentifier():  # defined in the script itself
            main[value.__qualname__] = value
    return loaded


@final
class _Unpickler(pickle.Unpickler):
    """Keeps the functions and classes that arrive by value."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.made: list[Any] = []

    def find_class(self, module: str, name: str) -> Any:
        """Returns a global; one that makes functions or classes also notes what it makes."""
        found = super().find_class(module, name)
        if module != "cloudpickle.cloudpickle" or name not in _MAKERS:
            return found

        def make(*args: Any) -> Any:
            value = found(*args)
            self.made.append(value)
            return value

        return make
