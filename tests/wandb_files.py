"""The records of runs that Weights & Biases has stored offline."""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["stored_records"]

BLOCK = 32768


def stored_records(data: bytes) -> Iterator[bytes]:
    """Yields the records of a transaction log: blocks of 32 KiB with pieces that have a header of seven bytes."""
    at, parts = 7, b""  # behind the header of the file
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # the rest of a block is too short for a piece
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            yield parts
            parts = b""
