"""Loads a training function, and adds the functions and classes of the user's script to `__main__` for pickle.

Functions and classes of a script or a notebook arrive by value, so a rank never runs the script. But when user code
pickles something later, pickle looks them up by name in `__main__`. Examples are a pool of processes, `torch.save`, and
the hyperparameters in a checkpoint, from which Lightning silently omits everything that cannot be pickled.
"""

from __future__ import annotations

import pickle
import sys
from typing import IO, Any, final

__all__ = ["load_with_script_names"]

_MAKERS = frozenset({"_make_function", "_make_skeleton_class", "_make_skeleton_enum"})  # functions of cloudpickle


def load_with_script_names(file: IO[bytes]) -> Any:
    """Returns the object in a cloudpickle file; adds the names of the script to this process's `__main__`."""
    unpickler = _Unpickler(file)
    loaded = unpickler.load()
    main = vars(sys.modules["__main__"])
    for value in unpickler.made:
        if value.__module__ == "__main__" and value.__qualname__.isidentifier():  # defined in the script itself
            main[value.__qualname__] = value
    return loaded


@final
class _Unpickler(pickle.Unpickler):
    """An unpickler that keeps a list of the functions and classes that arrive by value."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.made: list[Any] = []

    def find_class(self, module: str, name: str) -> Any:
        """Returns a global; a global that makes functions or classes also records what it makes."""
        found = super().find_class(module, name)
        if module != "cloudpickle.cloudpickle" or name not in _MAKERS:
            return found

        def make(*args: Any) -> Any:
            value = found(*args)
            self.made.append(value)
            return value

        return make
