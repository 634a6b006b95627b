"""The digits: a fixed stratified split, and loaders that show every sample once an epoch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import DigitsDataModule, TensorBatches

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


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"val_share": 0.0}, {"val_share": 1.0}])
def test_wrong_arguments_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
        DigitsDataModule(**wrong)


def test_loaders_before_setup_say_what_to_do():
    with pytest.raises(RuntimeError, match="setup"):
        DigitsDataModule().train_dataloader()
