"""Random streams that a pause does not change.

On one rank the process's global streams are not reseeded. Their state is saved with the checkpoint and restored, so a
trial equals the same script without a study. On several ranks every epoch begins with a seed of (trial seed, epoch)
that all ranks share, so that samplers agree. From the first batch of the epoch on, each rank has its own stream, so
that dropout differs between ranks. Both are exact for the global generators of Python, numpy and torch. Generators that
the user gave to training loaders are saved with the checkpoint (`resume.generators`). Loaders with persistent workers
are not exact: their workers keep their own streams over epochs, and a resumed trial starts new workers.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["rng_state", "seed_streams", "set_rng_state"]


def seed_streams(seed: int, epoch: int, rank: int | None) -> None:
    """Seeds all global generators for an epoch; with `rank` None all ranks get the same stream."""
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
    """Restores the state that `rng_state` returned."""
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    kind, np_keys, position, has_gauss, np_gauss = state["numpy"]
    np.random.set_state((kind, np_keys.numpy(), position, has_gauss, np_gauss))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
