"""The training function as a file of cloudpickle bytes for other processes, written once per session.

A function from an importable module is pickled by reference. A function from a script or a notebook cell is pickled by
value, with everything that it captures. `largest_capture` names the largest captured object, because that may be a data
set captured by accident.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import cloudpickle

from lightning_hwtune.engine.import_order import InOrder, modules_in_order
from lightning_hwtune.engine.source_names import defined_names, module_spec, other_than_function
from lightning_hwtune.errors import ArgumentError, nearest
from lightning_hwtune.store.files import make_folder, write_whole

__all__ = [
    "ImportedFunction",
    "Payload",
    "StoredFunction",
    "check_function",
    "drop_older",
    "largest_capture",
    "stored_function",
    "write_payload",
]


@dataclass(frozen=True, slots=True)
class ImportedFunction:
    """A function of one argument, named by its import path `package.module:function`; imported when it is called.

    Attributes:
        argument: the argument that names it, for messages.

    Raises:
        ArgumentError: the path has another form, or there is no such module, or its source defines no such name.
    """

    path: str
    argument: str = "train"

    def __post_init__(self) -> None:
        module, _, name = self.path.partition(":")
        if not module or not name:
            raise ArgumentError(self.argument, self.path, "an import path such as 'models.digits_study:train'")
        spec = module_spec(module)
        if spec is None:
            allowed = "a module that can be imported from here"
            raise ArgumentError(self.argument, self.path, allowed, hint=f"There is no module {module!r}.")
        known = defined_names(spec)
        if known is not None and name not in known:
            raise ArgumentError(self.argument, self.path, f"a function of {module}{nearest(name, known)}")
        if what := other_than_function(spec, name):
            raise ArgumentError(self.argument, self.path, f"a function of one argument; {name} is {what}")

    def __call__(self, value: Any) -> Any:
        """Imports the function and calls it."""
        module, _, name = self.path.partition(":")
        loaded = importlib.import_module(module)
        if not hasattr(loaded, name):
            raise ArgumentError(self.argument, self.path, f"a function of {module}{nearest(name, vars(loaded))}")
        return getattr(loaded, name)(value)


@dataclass(frozen=True, slots=True)
class StoredFunction:
    """The training function of an earlier session, in its file; it is loaded when it is called."""

    path: Path

    def __call__(self, trial: Any) -> Any:
        """Loads the function and calls it."""
        return cloudpickle.loads(self.path.read_bytes())(trial)


def stored_function(folder: Path) -> StoredFunction:
    """Returns the training function with which the newest session of a study trained.

    Raises:
        ArgumentError: the study's folder has none, because other code trains its segments.
    """
    paths = sorted(folder.glob("payload-*.pkl"), key=lambda path: path.stat().st_mtime)
    if not paths:
        hint = f"There is none in {str(folder)!r}: the study was run by ask and tell, in one process, or by a launcher."
        raise ArgumentError("train", None, "the training function of the study", hint=hint)
    return StoredFunction(paths[-1])


@dataclass(frozen=True, slots=True)
class Payload:
    """A training function as a file. `largest` is the name of the largest captured object and its bytes."""

    path: Path
    n_bytes: int
    largest: tuple[str, int] | None


def write_payload(train: Callable[[Any], Any], folder: Path, argument: str = "train") -> Payload:
    """Writes `train` to `folder` under its digest, unless that file exists. `argument` names it in messages.

    Raises:
        ArgumentError: `train` is not a function, or something that it captures cannot be pickled.
    """
    if isinstance(train, StoredFunction):
        return Payload(train.path, train.path.stat().st_size, None)
    check_function(train, argument)
    try:
        data = cloudpickle.dumps(train)
        if modules := modules_in_order(data):
            data = cloudpickle.dumps(InOrder(modules, train))
    except Exception as error:
        raise ArgumentError(
            argument, train, "a function whose captured objects can be pickled", hint=f"{type(error).__name__}: {error}"
        ) from error
    path = folder / f"payload-{hashlib.blake2b(data, digest_size=8).hexdigest()}.pkl"
    if not path.exists():
        make_folder(folder)
        write_whole(path, data)
    return Payload(path, len(data), largest_capture(train) if len(data) > 1_000_000 else None)


def check_function(train: object, argument: str = "train") -> None:
    """Refuses an object that cannot be called with one trial.

    Raises:
        ArgumentError: it is not a function, it cannot be called with one argument, or it is a coroutine or generator.
    """
    allowed = f"a function that takes one Trial, such as def {argument}(trial)"
    if not callable(train):
        raise ArgumentError(argument, train, allowed)
    kinds = {"a coroutine": inspect.iscoroutinefunction, "a generator": inspect.isgeneratorfunction}
    for kind, is_of_kind in kinds.items():
        if is_of_kind(train):
            hint = f"It is {kind}, so a call of it does not train. Run it to its end inside a plain function."
            raise ArgumentError(argument, train, allowed, hint=hint)
    try:
        signature = inspect.signature(train)
    except (TypeError, ValueError):  # some built-in functions have no signature
        return
    try:
        signature.bind(None)
    except TypeError as error:
        hint = f"{error}. To pass other arguments, use functools.partial."
        raise ArgumentError(argument, train, allowed, hint=hint[:1].upper() + hint[1:]) from None


def drop_older(payload: Payload) -> None:
    """Deletes the payloads of earlier sessions in the same folder. The caller must hold the study's lease."""
    for path in payload.path.parent.glob("payload-*"):
        if path != payload.path:
            path.unlink(missing_ok=True)


def largest_capture(train: Callable[[Any], Any]) -> tuple[str, int] | None:
    """Returns (name, bytes) of the largest object that the function captures; None if it captures nothing."""
    code, cells = getattr(train, "__code__", None), getattr(train, "__closure__", None) or ()
    if code is None:
        return None
    captured = dict(zip(code.co_freevars, (cell.cell_contents for cell in cells), strict=False))
    captured |= {name: train.__globals__[name] for name in _names(code) if name in train.__globals__}
    sizes = {name: _size(value) for name, value in captured.items()}
    return max(sizes.items(), key=lambda item: item[1], default=None)


def _names(code: CodeType) -> Iterator[str]:
    """Yields every global name that a function uses, functions and classes inside it included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _size(value: Any) -> int:
    for attribute in ("nbytes", "memory_usage"):
        found = getattr(value, attribute, None)
        if isinstance(found, int):
            return found
        if callable(found):
            total = found(deep=False) if attribute == "memory_usage" else None
            return int(getattr(total, "sum", lambda: 0)())
    try:
        return len(cloudpickle.dumps(value))
    except Exception:
        return 0
