"""Something that is done again and again, beside the work."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

__all__ = ["repeated"]


@contextlib.contextmanager
def repeated(do: Callable[[], None], every_s: float, name: str) -> Iterator[None]:
    """Calls `do` every so many seconds, from a thread of that name, until the block is left."""
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
