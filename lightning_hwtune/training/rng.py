"""Random streams that make a pause invisible.

On one rank the process's global streams are left alone: their state is saved with the checkpoint and put back, so a
trial equals the same script run without a study. On several ranks every epoch begins from a seed of (trial seed, epoch)
that all ranks share, so that samplers agree, and from its first batch on each rank has a stream of its own, so that
dropout differs between ranks. Both are exact for the global generators of Python, numpy and torch; generators that the
user gave to training loaders are saved with the checkpoint. Loaders with persistent workers are not exact: workers keep
streams of their own over epochs, and a resumed trial starts new ones.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["rng_state", "seed_streams", "set_rng_state"]


def seed_streams(seed: int, epoch: int, rank: int | None) -> None:
    """Seeds all global generators for an epoch; `rank` None gives the stream that the ranks share."""
    key = [seed, epoch] if rank is None else [seed, epoch, rank + 1]
    derived = int(np.random.SeedSequence(key).generate_state(1)[0])
    random.seed(derived)
    np.random.seed(derived)  # noqa: NPY002 - user code draws from the global generator
    torch.manual_seed(derived)


def rng_state() -> dict[str, Any]:
    """Returns the state of all global generators as tensors and plain values, loadable with `weights_only=True`."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (str(kind), torch.from_numpy(np.asarray(keys).copy()), int(position), int(has_gauss), float(gauss)),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Puts the generators back where `rng_state` saw them."""
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    kind, np_keys, position, has_gauss, np_gauss = state["numpy"]
    np.random.set_state((kind, np_keys.numpy(), position, has_gauss, np_gauss))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
