"""A digest of the arrays in nested values: equal for values with the same bits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["value_digest"]


def value_digest(value: Any) -> str:
    """Returns the hexadecimal BLAKE2b of all tensors and numpy arrays in mappings, lists and tuples.

    Everything else is ignored, such as a time or a path. The digest is empty if there is no array.
    """
    digest, n_arrays = hashlib.blake2b(digest_size=16), 0
    for path, array in _arrays(value, ""):
        n_arrays += 1
        digest.update(f"{path} {array.dtype} {tuple(array.shape)}".encode())
        digest.update(_bytes(array))
    return digest.hexdigest() if n_arrays else ""


def _arrays(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, torch.Tensor):
        local = value.to_local() if hasattr(value, "to_local") else value
        yield path, local.detach().to("cpu")
    elif isinstance(value, np.ndarray):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _arrays(item, f"{path}/{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _arrays(item, f"{path}/{index}")


def _bytes(array: Any) -> bytes:
    if isinstance(array, torch.Tensor):
        if array.layout is not torch.strided or array.is_quantized:
            return repr(array).encode()
        return array.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return array.tobytes() if array.dtype != object else b""
