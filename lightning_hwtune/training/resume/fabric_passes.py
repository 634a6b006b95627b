"""The passes that loaders of Fabric have made, by which they shuffle, over a pause of a loop that reports by hand.

A loader is recognised by its number in the order in which loaders are set up. A loop may set up a new one for each
report; such a loader begins with 0, also without a pause. It is recognised by the code: the innermost loop around
`trial.report` contains the call that sets the loader up.
"""

from __future__ import annotations

import dis
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, final

__all__ = ["FabricLoaders"]

_PASSES = "_num_iter_calls"  # a loader of Fabric overwrites the epoch of its sampler with it

_Call = tuple[int, CodeType, int]  # a running function: its frame, its code, and where it is


@final
@dataclass(slots=True)
class _Loader:
    found: weakref.ref[Any]
    calls: list[_Call]
    is_renewed: bool = False  # the loop sets up another one for the next report


@final
class FabricLoaders:
    """The loaders that Fabric has set up in one segment."""

    def __init__(self) -> None:
        self._loaders: list[_Loader] = []
        self._saved: Sequence[int] = ()
        self._n_judged = 0

    def add(self, loader: Any) -> None:
        """Adds a loader that was just set up; it continues to count where the last segment ended."""
        self._loaders.append(_Loader(weakref.ref(loader), _calls()))
        number = len(self._loaders) - 1
        if number < len(self._saved):
            setattr(loader, _PASSES, self._saved[number])

    def reported(self) -> None:
        """Finds the loaders that the loop sets up again for each report; called below `trial.report`."""
        new = self._loaders[self._n_judged :]
        self._n_judged = len(self._loaders)
        if not new or (loop := _innermost_loop()) is None:
            return
        frame, code, first, last = loop
        for each in new:
            each.is_renewed = any(call[:2] == (frame, code) and first <= call[2] <= last for call in each.calls)

    def passes(self) -> list[int]:
        """Returns the passes of each loader; 0 if there will be a new one."""
        return [0 if each.is_renewed else getattr(each.found(), _PASSES, 0) for each in self._loaders]

    def restore(self, passes: Sequence[int]) -> None:
        """Gives the loaders the passes of the last segment, those that are set up later as well."""
        self._saved = passes
        for each, number in zip(self._loaders, passes, strict=False):
            if (loader := each.found()) is not None:
                setattr(loader, _PASSES, number)


def _calls() -> list[_Call]:
    """Returns the running functions, the innermost first."""
    found: list[_Call] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        found.append((id(frame), frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return found


def _innermost_loop() -> tuple[int, CodeType, int, int] | None:
    """Returns the frame, the code, the start and the end of the loop that calls this function, perhaps indirectly."""
    for frame, code, place in _calls():
        jumps = [each for each in dis.get_instructions(code) if each.opcode in _JUMPS]
        loops = [(each.argval, each.offset) for each in jumps if each.argval <= place <= each.offset]
        if loops:
            return frame, code, *max(loops)
    return None


_JUMPS = frozenset({*dis.hasjrel, *dis.hasjabs})
