"""Measures the time that this process spends on imports and compilation, which it does once and which is not training.

`measured()` puts a finder before all others. Python calls finders only for modules that are not loaded yet. The finder
lets the others find the module, and measures its execution, including the imports inside it. Outside `measured()`
nothing is measured.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, final

from lightning_hwtune.host.fork_safety import ForkState, is_installed
from lightning_hwtune.training.global_state import changed_variables, global_state

__all__ = [
    "compile_s",
    "count_age_from_now",
    "import_s",
    "import_times",
    "library_times",
    "measured",
    "new_library_times",
    "process_age_s",
    "user_code_begins",
    "watch_compiler",
]


def import_s() -> float:
    """Returns the seconds that this thread has spent in measured imports so far."""
    return _finder.total_s if threading.get_ident() == _finder.thread else 0.0


def import_times() -> dict[str, float]:
    """Returns the seconds of each installed module that user code imported, and of user modules without these."""
    return dict(_finder.times)


def library_times() -> dict[str, float]:
    """Returns the seconds of each installed module that user code imported, if a fork server may import it.

    It may do so if the import started no thread and did not initialise CUDA, because neither survives a fork, and if it
    left the global random generators, the settings of torch, the folder and the environment variables as they were, so
    that every segment begins with the same ones. A variable that user code has set before the import may decide what
    it does, and a fork server does not have it.
    """
    return dict(_finder.libraries)


def new_library_times() -> dict[str, float]:
    """Returns those of `library_times` that no earlier call has returned."""
    found = {name: seconds for name, seconds in _finder.libraries.items() if name not in _finder.told}
    _finder.told.update(found)
    return found


def process_age_s() -> float:
    """Returns the seconds since this process was forked, exact to 0.01 s; NaN if the system does not provide them.

    For a process that was forked in advance, the time before its order arrived does not count.
    """
    if _ordered_at is not None:
        return time.monotonic() - _ordered_at
    try:
        with open("/proc/self/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return math.nan


def count_age_from_now() -> None:
    """Makes the age of this process begin now."""
    global _ordered_at
    _ordered_at = time.monotonic()


def compile_s() -> float:
    """Returns the seconds that `torch.compile` has taken since `watch_compiler` was called."""
    return _compiler.total_s()


@contextlib.contextmanager
def measured(*, libraries: bool = False) -> Iterator[None]:
    """Measures imports inside the block; no effect inside another such block.

    Args:
        libraries: also find out which libraries a fork server may import, for `library_times`.
    """
    watch_compiler()
    if _finder in sys.meta_path:
        yield
        return
    _finder.thread, _finder.examines = threading.get_ident(), libraries
    user_code_begins()
    sys.meta_path.insert(0, _finder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(_finder)


def user_code_begins() -> None:
    """Notes the environment variables; those that differ later were set by user code, or by what it imports."""
    _finder.variables = dict(os.environ)


@final
class _Finder:
    """A finder that finds what the others find, and measures the imports.

    Attributes:
        total_s: the total of all imports.
        times: the seconds of installed modules that user code imports, and of user modules without these.
        libraries: the seconds of those installed modules that a process may import before it is forked.
        told: which of these `new_library_times` has returned.
        examines: whether to find that out, which takes some milliseconds per library.
        variables: the environment with which user code began.
    """

    def __init__(self) -> None:
        self.total_s = 0.0
        self.times: dict[str, float] = {}
        self.libraries: dict[str, float] = {}
        self.told: set[str] = set()
        self.thread, self.examines = threading.get_ident(), False
        self._depth = self._depth_of_libraries = 0
        self._library_s = 0.0
        self.variables: dict[str, str] = {}
        self._added: set[str] = set()

    def _user_variables(self) -> set[str]:
        """Returns the environment variables that user code has changed."""
        return changed_variables(self.variables) - self._added

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns what the finders after this one find."""
        if self._depth_of_libraries or threading.get_ident() != self.thread:
            return None
        for finder in [finder for finder in sys.meta_path if finder is not self]:
            spec = finder.find_spec(name, path, target) if hasattr(finder, "find_spec") else None
            if spec is not None:
                self._time(name, spec.loader, is_library=is_installed(spec.origin))
                return spec
        return None

    def _time(self, name: str, loader: Any, *, is_library: bool) -> None:
        """Makes a loader's next execution of a module timed; a loader without settable attributes is not changed."""
        execute = getattr(loader, "exec_module", None)
        if execute is None or isinstance(loader, type):
            return

        def timed(module: ModuleType) -> None:
            with contextlib.suppress(AttributeError):
                del loader.exec_module
            if self._depth_of_libraries or threading.get_ident() != self.thread:
                execute(module)
                return
            examines = is_library and self.examines
            before, states = (ForkState.now(), global_state()) if examines else (None, {})
            variables = dict(os.environ) if examines and not self._user_variables() else None
            begun, library_s = time.perf_counter(), self._library_s
            self._depth += 1
            self._depth_of_libraries += is_library
            try:
                execute(module)
            finally:
                taken_s = time.perf_counter() - begun
                self._depth -= 1
                self._depth_of_libraries -= is_library
                if is_library:
                    self._library_s += taken_s
                    self.times[name] = taken_s
                elif not self._depth:
                    self.times[name] = taken_s - (self._library_s - library_s)
                self.total_s += 0.0 if self._depth else taken_s
                watch_compiler()  # this import may have loaded the compiler
            if before is None or variables is None:
                return
            added = changed_variables(variables)
            self._added |= added
            is_harmless = ForkState.now().is_as_safe_as(before) and not added & variables.keys()
            if is_harmless and states.items() <= global_state().items():
                self.libraries[name] = taken_s

        with contextlib.suppress(AttributeError, TypeError):
            loader.exec_module = timed


_ordered_at: float | None = None  # on the monotonic clock
_finder = _Finder()


# ---------------------------------------------------------------------- torch.compile


@final
class _Compiler:
    """Adds up the time of compilations, as torch reports their start and end, without the imports in them."""

    def __init__(self) -> None:
        self._total_s = 0.0
        self._since: float | None = None

    def total_s(self) -> float:
        return self._total_s + (0.0 if self._since is None else self._now() - self._since)

    @staticmethod
    def _now() -> float:
        return time.perf_counter() - import_s()

    def begin(self, *_: object) -> None:
        if self._since is None:
            self._since = self._now()

    def end(self, *_: object) -> None:
        self._total_s, self._since = self.total_s(), None


_compiler = _Compiler()


def watch_compiler() -> None:
    """Measures `torch.compile` from now on, if this process uses it and torch (2.4 or later) reports it."""
    callback = sys.modules.get("torch._dynamo.callback")
    handler: Any = getattr(callback, "callback_handler", None)
    if _compiler.begin in getattr(handler, "start_callbacks", [_compiler.begin]):
        return
    handler.register_start_callback(_compiler.begin)
    handler.register_end_callback(_compiler.end)
