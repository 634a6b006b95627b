"""Files that a study and an agent send each other if they share no folder: the payload, and checkpoints.

The side that needs a file asks for it, and gets it in pieces. It confirms each of them, so only a few are on their way
at any time, and heartbeats are not delayed. The file is complete before it has its name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, final

from lightning_hwtune.engine.agents.messages import Fetch, More, Piece
from lightning_hwtune.host.file_trees import remove

__all__ = ["Exchange", "inside"]

_PIECE_BYTES = 1 << 20
_ON_THEIR_WAY = 4


@final
class Exchange:
    """One end of the exchange.

    Args:
        root: the folder to which all paths are relative.
        send: sends a message to the other end.
        sent: called with the path after the last piece of a file was sent.
    """

    def __init__(
        self, root: Path, send: Callable[[object], None], sent: Callable[[str], None] = lambda path: None
    ) -> None:
        self._root, self._send, self._sent = root, send, sent
        self._wanted = dict[str, list[Callable[[str], None]]]()
        self._reading = dict[str, Iterator[Piece]]()

    def fetch(self, path: str, done: Callable[[str], None]) -> None:
        """Asks for a file, or for a folder with its files. `done` gets why it did not arrive; empty if it did."""
        waiting = self._wanted.setdefault(path, [])
        waiting.append(done)
        if len(waiting) == 1:
            self._remove_part(path)  # of a process that was killed: a folder would get its files, too
            self._send(Fetch(path))

    def take(self, message: Any) -> bool:
        """Handles a message of the other end; returns whether it belongs to the exchange."""
        if isinstance(message, Fetch):
            self._reading[message.path] = _pieces(self._root, message.path)
            for _ in range(_ON_THEIR_WAY):
                self._send_next(message.path)
        elif isinstance(message, More):
            self._send_next(message.path)
        elif isinstance(message, Piece):
            self._take_piece(message)
        else:
            return False
        return True

    def _send_next(self, path: str) -> None:
        reading = self._reading.get(path)
        if reading is None:
            return
        piece = next(reading)
        self._send(piece)
        if piece.is_last:
            del self._reading[path]
            self._sent(path)

    def _take_piece(self, piece: Piece) -> None:
        if piece.path not in self._wanted:
            return
        error = piece.error
        if not error:
            try:
                path = inside(self._root, piece.path)
                _write(_part(path), piece)
                if piece.is_last:
                    remove(path)
                    _part(path).replace(path)
            except OSError as failed:
                error = f"{piece.path} could not be written: {failed}"
        if not error and not piece.is_last:
            self._send(More(piece.path))
            return
        if error:
            self._remove_part(piece.path)
        for done in self._wanted.pop(piece.path):
            done(error)

    def _remove_part(self, path: str) -> None:
        with contextlib.suppress(OSError):
            remove(_part(inside(self._root, path)))

    def drop(self) -> None:
        """Forgets what is on its way, and deletes what has arrived of it."""
        wanted, self._wanted = self._wanted, {}
        self._reading.clear()
        for path in wanted:
            self._remove_part(path)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def inside(root: Path, path: str) -> Path:
    """Returns the path that a relative one has here.

    Raises:
        OSError: it leads out of the folder.
    """
    parts = PurePosixPath(path).parts
    if not parts or ".." in parts or parts[0].startswith("/") or "\0" in path:
        raise OSError(f"{path!r} is outside the study's folder")
    return root.joinpath(*parts)


def _pieces(root: Path, path: str) -> Iterator[Piece]:
    """Yields the pieces of a file, or of all files in a folder; the last one says so, or why there are no more."""
    try:
        whole = inside(root, path)
        files = sorted(file for file in whole.rglob("*") if file.is_file()) if whole.is_dir() else [whole]
        for number, file in enumerate(files):
            name = file.relative_to(whole).as_posix() if file != whole else ""
            is_last_file, left = number == len(files) - 1, file.stat().st_size
            with file.open("rb") as stream:
                is_first = True
                while is_first or left > 0:
                    data = stream.read(min(_PIECE_BYTES, left))
                    left = left - len(data) if data else 0
                    yield Piece(path, name, data, is_first=is_first, is_last=is_last_file and left <= 0)
                    is_first = False
        if not files:
            yield Piece(path, "", b"", error=f"{path} is an empty folder", is_last=True)
    except OSError as error:
        yield Piece(path, "", b"", error=f"{path} could not be read: {error}", is_last=True)


def _write(part: Path, piece: Piece) -> None:
    file = part if not piece.name else inside(part, piece.name)
    if piece.is_first:
        file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb" if piece.is_first else "ab") as stream:
        stream.write(piece.data)
