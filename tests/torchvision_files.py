"""Small FashionMNIST and CIFAR-10 in the files that torchvision reads: its own loaders run without a network."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10

_N_CLASSES = 10


def random_images(n: int, *shape: int, seed: int) -> np.ndarray:
    """Returns bytes of shape `(n, *shape)`."""
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def labels(n: int) -> np.ndarray:
    """Returns 0 to 9 in turn."""
    return np.arange(n, dtype=np.uint8) % _N_CLASSES


def write_fashion_mnist(root: Path, *, n_train: int = 120, n_test: int = 30) -> None:
    """Writes the four files below a data folder."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for seed, (part, n) in enumerate({"train": n_train, "t10k": n_test}.items()):
        _write_idx(folder / f"{part}-images-idx3-ubyte", random_images(n, 28, 28, seed=seed))
        _write_idx(folder / f"{part}-labels-idx1-ubyte", labels(n))


def write_cifar10(root: Path, *, n_a_batch: int = 24, n_test: int = 30) -> type[CIFAR10]:
    """Writes the seven files below a data folder; returns torchvision's class, which expects their checksums."""
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    sums: dict[str, str] = {}
    sizes = {f"data_batch_{i}": n_a_batch for i in range(1, 6)} | {"test_batch": n_test}
    for seed, (name, n) in enumerate(sizes.items()):
        sums[name] = _write_pickle(
            folder / name, {"data": random_images(n, 3072, seed=seed), "labels": labels(n).tolist()}
        )
    meta_md5 = _write_pickle(folder / "batches.meta", {"label_names": [f"class {i}" for i in range(_N_CLASSES)]})

    class SmallCIFAR10(CIFAR10):
        train_list = [[name, digest] for name, digest in sums.items() if name != "test_batch"]
        test_list = [["test_batch", sums["test_batch"]]]
        meta = {**CIFAR10.meta, "md5": meta_md5}

    return SmallCIFAR10


def _write_idx(path: Path, values: np.ndarray) -> None:
    """The format of the MNIST family: two zeros, the type (8: bytes), the number of axes, their big-endian lengths."""
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, dtype=">u4").tobytes()
    path.write_bytes(head + values.tobytes())


def _write_pickle(path: Path, content: dict[str, object]) -> str:
    """Writes the file; returns its MD5 sum, which torchvision checks."""
    data = pickle.dumps(content)
    path.write_bytes(data)
    return hashlib.md5(data).hexdigest()
