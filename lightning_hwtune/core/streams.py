"""Named random streams: every draw of a study has its own generator, identified by a number.

A stream depends only on the study's seed, a name ("searcher", "bracket", ...) and an index, and not on earlier draws. A
continued study therefore needs no stored generator state: it continues with the next index.
"""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["stream"]


def stream(seed: int, name: str, index: int) -> np.random.Generator:
    """Returns the generator of draw `index` (from 0) under `name`, in the study with this non-negative seed.

    The same three values give the same numbers in every process; others give independent ones. Takes about 15 us.
    """
    # crc32, because hash() of a text changes from process to process
    key = (zlib.crc32(name.encode()), index)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=key)))
