"""The datamodules: fixed splits that ranks can share, and loaders that show every sample once an epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torchvision_files import labels as file_labels
from torchvision_files import random_images, write_cifar10, write_fashion_mnist

from datamodules import (
    CIFAR10DataModule,
    DigitsDataModule,
    FashionMNISTDataModule,
    TensorBatches,
    TextDataModule,
    TorchvisionDataModule,
)

N_SAMPLES = 1797


def digits(**kwargs) -> DigitsDataModule:
    data = DigitsDataModule(**kwargs)
    data.setup("fit")
    return data


def fingerprints(images: torch.Tensor) -> list[bytes]:
    return [image.numpy().tobytes() for image in images]


@pytest.fixture(scope="module")
def data() -> DigitsDataModule:
    return digits(batch_size=64)


def test_images_and_labels(data):
    for part in (data.train_set, data.val_set):
        assert part.inputs.shape == (len(part), 1, 16, 16)
        assert part.inputs.dtype == torch.float32
        assert part.inputs.min() == -1.0
        assert part.inputs.max() <= 1.0
        assert set(part.labels.tolist()) == set(range(10))


def test_parts_are_disjoint_and_complete(data):
    train, val = set(fingerprints(data.train_set.inputs)), set(fingerprints(data.val_set.inputs))
    assert len(data.train_set) + len(data.val_set) == N_SAMPLES == len(train) + len(val)
    assert not train & val


def test_split_is_stratified(data):
    train, val = (torch.bincount(part.labels, minlength=10) for part in (data.train_set, data.val_set))
    expected = (train + val) * len(data.val_set) / N_SAMPLES
    assert (val - expected).abs().max() <= 1.0


def test_split_follows_its_seed_and_nothing_else(data):
    torch.manual_seed(99)
    again, other = digits(batch_size=8), digits(seed=1)
    assert torch.equal(again.val_set.inputs, data.val_set.inputs)
    assert not torch.equal(other.val_set.labels, data.val_set.labels)


def test_default_validation_part_is_a_fifth(data):
    assert len(data.val_set) == 360


@settings(max_examples=15, deadline=None)
@given(st.floats(0.0, 1.0, exclude_min=True, exclude_max=True))
def test_any_share_leaves_both_parts_and_lets_ranks_share_the_validation(val_share):
    parts = digits(val_share=val_share)
    assert len(parts.val_set) % 24 == 0
    assert len(parts.val_set) >= 24
    assert set(parts.train_set.labels.tolist()) == set(range(10))
    if 0.02 < val_share < 0.95:
        assert abs(len(parts.val_set) / N_SAMPLES - val_share) <= 12 / N_SAMPLES


@settings(max_examples=15, deadline=None)
@given(st.floats(0.0, 0.9, exclude_min=True), st.floats(0.0, 0.05, exclude_min=True))
def test_a_test_part_is_taken_from_the_training_alone(val_share, test_share):
    without, parts = digits(val_share=val_share), digits(val_share=val_share, test_share=test_share)
    assert torch.equal(parts.val_set.inputs, without.val_set.inputs)
    assert len(parts.test_set) % 24 == 0
    assert len(parts.test_set) >= 24
    kept = [*fingerprints(parts.train_set.inputs), *fingerprints(parts.test_set.inputs)]
    assert sorted(kept) == sorted(fingerprints(without.train_set.inputs))
    assert set(parts.test_set.labels.tolist()) == set(range(10))


def test_without_a_test_part_the_loader_says_which_argument_is_missing(data):
    with pytest.raises(RuntimeError, match="test_share"):
        data.test_dataloader()


def test_shares_that_leave_nothing_are_refused():
    with pytest.raises(ValueError, match="`test_share`"):
        DigitsDataModule(val_share=0.5, test_share=0.5)
    with pytest.raises(ValueError, match="too few"):
        digits(val_share=0.98, test_share=0.01)


def test_setup_loads_once(data):
    before = data.train_set
    data.setup("validate")
    assert data.train_set is before


def test_an_epoch_shows_every_sample_once_in_a_new_order(data):
    loader = data.train_dataloader()
    first, second = (torch.cat([images for images, _ in loader]) for _ in range(2))
    assert sorted(fingerprints(first)) == sorted(fingerprints(data.train_set.inputs)) == sorted(fingerprints(second))
    assert not torch.equal(first, second)


def test_shuffling_follows_the_global_seed(data):
    orders = []
    for _ in range(2):
        torch.manual_seed(3)
        orders.append(torch.cat([labels for _, labels in data.train_dataloader()]))
    assert torch.equal(*orders)


def test_validation_keeps_its_order_and_batches_their_size(data):
    batches = list(data.val_dataloader())
    assert [len(labels) for _, labels in batches] == [64] * 5 + [40]
    assert torch.equal(torch.cat([labels for _, labels in batches]), data.val_set.labels)


def test_a_batch_at_once_equals_its_samples_one_by_one():
    samples = TensorBatches(torch.arange(12.0).reshape(12, 1, 1, 1), torch.arange(12))
    images, labels = samples.__getitems__([7, 0, 7])
    singles = [samples[i] for i in (7, 0, 7)]
    assert torch.equal(images, torch.stack([image for image, _ in singles]))
    assert labels.tolist() == [7, 0, 7]


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"val_share": 0.0}, {"val_share": 1.0}, {"num_workers": -1}])
def test_wrong_arguments_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
        DigitsDataModule(**wrong)


def test_loaders_before_setup_say_what_to_do():
    with pytest.raises(RuntimeError, match="setup"):
        DigitsDataModule().train_dataloader()


def fashion_mnist(root: Path) -> type[TorchvisionDataModule]:
    write_fashion_mnist(root)
    return FashionMNISTDataModule


def cifar10(root: Path) -> type[TorchvisionDataModule]:
    class SmallCIFAR10DataModule(CIFAR10DataModule):
        dataset = write_cifar10(root)

    return SmallCIFAR10DataModule


WRITERS = [fashion_mnist, cifar10]


def loaded(module: TorchvisionDataModule) -> TorchvisionDataModule:
    module.prepare_data()
    module.setup("fit")
    return module


def images_of(part: torch.utils.data.Dataset) -> torch.Tensor:
    return torch.stack([part[i][0] for i in range(len(part))])


@pytest.mark.parametrize("write", WRITERS)
def test_parts_of_an_image_data_set(write, tmp_path):
    data = loaded(write(tmp_path)(tmp_path, batch_size=16, augment=False))
    train, val, test = (images_of(part) for part in (data.train_set, data.val_set, data.test_set))
    assert (len(train), len(val), len(test)) == (96, 24, 30)
    assert len({*fingerprints(train), *fingerprints(val)}) == 120
    counts = torch.bincount(torch.tensor([label for _, label in data.val_set]), minlength=10)
    assert counts.min() >= 2
    assert counts.max() <= 3
    again = loaded(type(data)(tmp_path, augment=False))
    other = loaded(type(data)(tmp_path, augment=False, seed=1))
    assert torch.equal(images_of(again.val_set), val)
    assert not torch.equal(images_of(other.val_set), val)


def test_gray_images_are_those_of_the_file_normalised(tmp_path):
    data = loaded(fashion_mnist(tmp_path)(tmp_path, batch_size=8))
    images, labels = next(iter(data.test_dataloader()))
    pixels = torch.from_numpy(random_images(30, 28, 28, seed=1)[:8]).unsqueeze(1) / 255
    torch.testing.assert_close(images, (pixels - 0.2860) / 0.3530)
    assert type(images) is torch.Tensor
    assert labels.tolist() == file_labels(8).tolist()


def test_colour_images_are_those_of_the_file_normalised(tmp_path):
    data = loaded(cifar10(tmp_path)(tmp_path, batch_size=8))
    images, labels = next(iter(data.test_dataloader()))
    pixels = torch.from_numpy(random_images(30, 3072, seed=5)[:8]).reshape(8, 3, 32, 32) / 255
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (data.mean, data.std))
    torch.testing.assert_close(images, (pixels - mean) / std)
    assert labels.tolist() == file_labels(8).tolist()


@pytest.mark.parametrize("write", WRITERS)
def test_augmentation_changes_training_images_alone_and_keeps_their_labels(write, tmp_path):
    kind = write(tmp_path)
    augmented, plain = loaded(kind(tmp_path)), loaded(kind(tmp_path, augment=False))
    first, second = images_of(augmented.train_set), images_of(augmented.train_set)
    assert first.shape == images_of(plain.train_set).shape
    assert not torch.equal(first, second)
    assert torch.equal(images_of(augmented.val_set), images_of(plain.val_set))
    assert torch.equal(images_of(augmented.test_set), images_of(plain.test_set))
    assert [label for _, label in augmented.train_set] == [label for _, label in plain.train_set]


def test_augmented_images_are_shifted_or_mirrored_originals(tmp_path):
    data = loaded(fashion_mnist(tmp_path)(tmp_path))
    plain = loaded(FashionMNISTDataModule(tmp_path, augment=False))
    edge = (0 - 0.2860) / 0.3530
    for i in range(20):
        shifted, original = data.train_set[i][0], plain.train_set[i][0]
        room = torch.nn.functional.pad(original, (4, 4, 4, 4), value=edge)
        rooms = [room, room.flip(-1)]
        places = [(y, x) for y in range(9) for x in range(9)]
        assert any(torch.allclose(r[:, y : y + 28, x : x + 28], shifted) for r in rooms for y, x in places)


@pytest.mark.parametrize("kind", [FashionMNISTDataModule, CIFAR10DataModule])
def test_missing_files_are_not_fetched_but_told(kind, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no {kind.dataset.__name__} in {tmp_path}.*download=True"):
        loaded(kind(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", WRITERS)
def test_files_that_are_there_are_not_fetched_again(write, tmp_path):
    data = loaded(write(tmp_path)(tmp_path, download=True))
    assert len(data.test_set) == 30


def test_a_damaged_file_is_refused(tmp_path):
    kind = cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(FileNotFoundError, match="corrupted"):
        loaded(kind(tmp_path))


def text(path: Path, content: bytes, **kwargs) -> TextDataModule:
    path.write_bytes(content)
    data = TextDataModule(path, **kwargs)
    data.setup("fit")
    return data


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    n=st.integers(2000, 4000),
    length=st.integers(1, 9),
    val_share=st.floats(0.01, 0.45),
    test_share=st.floats(0.01, 0.45),
    seed=st.integers(0, 9),
)
def test_parts_of_a_text_follow_each_other_and_labels_are_the_next_symbols(
    tmp_path, n, length, val_share, test_share, seed
):
    content = np.random.default_rng(seed).integers(0, 256, n, dtype=np.uint8).tobytes()
    data = text(tmp_path / "text", content, context_length=length, val_share=val_share, test_share=test_share)
    parts = (data.train_set, data.val_set, data.test_set)
    n_samples = (n - 1) // length
    assert sum(len(part) for part in parts) == n_samples
    inputs, labels = (torch.cat([getattr(part, name) for part in parts]) for name in ("inputs", "labels"))
    assert inputs.shape == labels.shape == (n_samples, length)
    assert bytes(inputs.flatten().tolist()) == content[: n_samples * length]
    assert bytes(labels.flatten().tolist()) == content[1 : n_samples * length + 1]
    for part, share in ((data.val_set, val_share), (data.test_set, test_share)):
        assert len(part) % 24 == 0
        assert len(part) >= 24
        assert len(part) == 24 or abs(len(part) - share * n_samples) <= 12 or len(data.train_set) < 48


def test_text_loaders_hand_out_whole_batches(tmp_path):
    data = text(tmp_path / "text", bytes(range(256)) * 10, context_length=8, batch_size=32)
    inputs, labels = next(iter(data.train_dataloader()))
    assert inputs.shape == labels.shape == (32, 8)
    assert inputs.dtype == labels.dtype == torch.int64
    assert torch.equal((inputs + 1) % 256, labels)
    test = torch.cat([inputs for inputs, _ in data.test_dataloader()])
    assert torch.equal(test, data.test_set.inputs)


@pytest.mark.parametrize("n", [0, 1, 71 * 8])
def test_a_text_that_is_too_short_is_refused(n, tmp_path):
    with pytest.raises(ValueError, match=r"text has .* samples of `context_length`.*too few"):
        text(tmp_path / "text", b"a" * n, context_length=8)


@pytest.mark.parametrize("wrong", [{"context_length": 0}, {"test_share": 0.0}, {"test_share": 0.9}])
def test_wrong_arguments_for_a_text_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
        TextDataModule("text", **wrong)
