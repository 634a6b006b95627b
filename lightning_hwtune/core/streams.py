"""Random streams by name: every draw of a study has a generator of its own, found by number.

A stream depends on the study's seed, a name ("searcher", "bracket", ...) and an index, and on nothing drawn before. A
continued study therefore needs no stored generator state: it goes on at the next index.
"""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["stream"]


def stream(seed: int, name: str, index: int) -> np.random.Generator:
    """Returns the generator of draw `index` (from 0) under `name` in the study with this seed (from 0).

    The same three values give the same numbers in every process; others give independent ones. About 15 us.
    """
    # crc32, as hash() of text changes from process to process
    key = (zlib.crc32(name.encode()), index)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=key)))
