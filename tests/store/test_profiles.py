"""The file of a profile comes back as it was, and every other file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.store.profiles import PROFILE, write_profile

POINTS = tuple(hwt.ScalingPoint(*size) for size in ((1, 1, 64, 1.0), (1, 1, 32, 0.6), (2, 1, 64, 0.65)))
FOUND = hwt.ScalingProfile("digits", {"lr": 0.1, "batch_size": 64}, "cpu", 2, 64, 20, POINTS, 64, ("a note",))


def test_a_profile_comes_back_from_its_file_and_from_its_folder(tmp_path: Path) -> None:
    write_profile(tmp_path / "study" / PROFILE, FOUND)
    assert hwt.read_profile(tmp_path / "study") == hwt.read_profile(tmp_path / "study" / PROFILE) == FOUND
    assert FOUND.model() == hwt.read_profile(str(tmp_path / "study")).model()
    assert FOUND.model().max_per_device_batch == 64


def changed(**changes: Any) -> str:
    return json.dumps(FOUND.to_dict() | changes)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "3", changed(form=2), changed(points=3), changed(points=[{"devices": 1}]), changed(extra=1),
        changed(points=[POINTS[0].to_dict() | {"seconds": -1}]), json.dumps({"form": 1}), "\udcff",
    ],
)  # fmt: skip
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / PROFILE).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(hwt.StorageError, match="is not the file of a profile"):
        hwt.read_profile(tmp_path)


def test_a_missing_file_is_named_with_what_writes_it(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(hwt.ArgumentError, match="hwtune profile"):
            hwt.read_profile(path)


def test_a_profile_of_one_point_is_kept_and_its_model_refused() -> None:
    found = hwt.ScalingProfile("digits", {}, "cpu", 2, 64, 20, POINTS[:1])
    assert hwt.ScalingProfile.from_dict(found.to_dict()) == found
    with pytest.raises(hwt.ArgumentError, match="how time scales"):
        found.model()
