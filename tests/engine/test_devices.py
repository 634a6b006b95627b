from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.engine import devices
from lightning_hwtune.engine.devices import Slots, crowded_cores, device_mask, n_device_files, resolve, visible_gpus
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.host.cpus import n_cpus


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process that may use GPUs 2, 5 and 7 of its host."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,7")
    return monkeypatch


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        ("", []),
        ("0", ["0"]),
        ("3, 1", ["3", "1"]),
        ("-1", []),
        ("0,-1,1", ["0"]),  # CUDA stops reading at the first that does not exist
        ("GPU-8932f937,MIG-a", ["GPU-8932f937", "MIG-a"]),
    ],
)
def test_the_inherited_mask_is_read_as_cuda_reads_it(
    monkeypatch: pytest.MonkeyPatch, mask: str, names: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
    assert visible_gpus() == names


def test_device_files_are_counted_and_their_numbers_are_the_hosts(tmp_path: Path) -> None:
    for name in ("nvidia2", "nvidia5", "nvidia11", "nvidiactl", "nvidia-uvm", "nvidia-caps", "nvme0"):
        (tmp_path / name).touch()
    assert n_device_files(tmp_path) == 3


def test_without_a_mask_gpus_are_called_as_cuda_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == [str(index) for index in range(n_device_files(Path("/dev")))]


def test_auto_means_the_visible_gpus(gpus: pytest.MonkeyPatch) -> None:
    pool = resolve(Pool(usd_per_device_hour=2.0))
    assert (pool.accelerator, pool.size, pool.usd_per_device_hour) == ("gpu", 3, 2.0)


def test_auto_means_this_processs_cores_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cores = n_cpus()
    assert resolve(Pool()) == Pool("cpu", cores)
    assert resolve(Pool(threads_per_device=cores)).size == 1
    assert resolve(Pool(threads_per_device=cores + 1)).size == 1  # never an empty pool


def test_a_cpu_pool_ignores_gpus_and_may_be_larger_than_the_host(gpus: pytest.MonkeyPatch) -> None:
    assert resolve(Pool("cpu", 64)) == Pool("cpu", 64)


def test_a_cpu_pool_with_far_more_places_than_cores_is_noted() -> None:
    most = 4 * n_cpus()
    assert crowded_cores(Pool("cpu", most + 1)).startswith(f"the pool's {most + 1} places for trials share ")
    assert "with 2 threads each" in crowded_cores(Pool("cpu", most, threads_per_device=2))
    for pool in (Pool("cpu", most), Pool("gpu", most + 1), Pool("cpu", most, nodes=2)):
        assert crowded_cores(pool) == ""


@pytest.mark.parametrize("pool", [Pool("gpu", 4), Pool("cuda", 4), Pool("auto", 4)])
def test_more_gpus_than_are_visible_are_refused(gpus: pytest.MonkeyPatch, pool: Pool) -> None:
    with pytest.raises(ArgumentError, match="3 visible gpu devices"):
        resolve(pool)


def test_a_gpu_pool_without_gpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ArgumentError, match="0 visible gpu devices"):
        resolve(Pool("gpu"))


def test_a_segment_sees_its_own_gpus_and_no_others(gpus: pytest.MonkeyPatch) -> None:
    assert device_mask("gpu", (0, 2)) == {"CUDA_VISIBLE_DEVICES": "2,7"}


@pytest.mark.parametrize("has_gpu", [True, False])
def test_cpu_segments_see_no_gpus_only_where_there_are_none(monkeypatch: pytest.MonkeyPatch, has_gpu: bool) -> None:
    monkeypatch.setattr(devices, "may_have_gpu", lambda: has_gpu)
    assert device_mask("cpu", (0, 2)) == ({} if has_gpu else {"CUDA_VISIBLE_DEVICES": ""})
    assert device_mask("mps", (0,)) == {}


@pytest.mark.parametrize(("drivers", "n_files"), [({"libcuda.so.1"}, 0), (set(), 1), (set(), 0)])
def test_a_host_may_have_a_gpu_if_it_has_a_driver_or_a_device_file(
    monkeypatch: pytest.MonkeyPatch, drivers: set[str], n_files: int
) -> None:
    def load(name: str) -> None:
        if name not in drivers:
            raise OSError(name)

    monkeypatch.setattr(devices, "CDLL", load)
    monkeypatch.setattr(devices, "n_device_files", lambda folder: n_files)
    has_other_file = any(Path("/dev", name).exists() for name in ("kfd", "dxg"))
    assert devices.may_have_gpu.__wrapped__() == (bool(drivers) or n_files > 0 or has_other_file)


@given(st.lists(st.integers(1, 4), max_size=12))
def test_slots_are_held_once_and_come_back(counts: list[int]) -> None:
    slots, held = Slots(8), []
    for n in counts:
        if n > slots.n_free():
            slots.give_back(held.pop(0))
            continue
        held.append(slots.take(Allocation(n)))
        taken = [slot for group in held for slot in group]
        assert len(held[-1]) == n
        assert len(taken) == len(set(taken)) == 8 - slots.n_free()
        assert set(taken) <= set(range(8))
    for group in held:
        slots.give_back(group)
    assert slots.n_free() == 8
    assert slots.take(Allocation(8)) == tuple(range(8))
