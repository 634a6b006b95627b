"""A background thread that calls a function periodically."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

__all__ = ["repeated"]


@contextlib.contextmanager
def repeated(do: Callable[[], None], every_s: float, name: str) -> Iterator[None]:
    """Calls `do` every `every_s` seconds in a thread with this name, until the end of the block."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(every_s):
            do()

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
