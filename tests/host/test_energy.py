"""The energy counters of a machine, on folders in the layout of Linux's powercap, and their absence here."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from lightning_hwtune.errors import ArgumentError, MissingDependencyError
from lightning_hwtune.host.energy import RaplCounter, gpu_counter, rapl_counter

RANGE_UJ = 262_143_328_850


def zone(root: Path, folder: str, name: str, energy_uj: str = "1000", range_uj: int = RANGE_UJ) -> Path:
    made = root / "sys/class/powercap" / folder
    made.mkdir(parents=True)
    (made / "name").write_text(f"{name}\n")
    (made / "energy_uj").write_text(f"{energy_uj}\n")
    (made / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return made


def busy(root: Path, seconds: float) -> None:
    ticks = round(seconds * os.sysconf("SC_CLK_TCK"))
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text(f"cpu  {ticks} 0 0 999999 5 0 0 77 0 0\ncpu0 {ticks} 0 0 999999 5 0 0 77 0 0\n")


class Host:
    """Two packages, one with memory that is counted apart, and zones that would count the same joules again."""

    def __init__(self, root: Path) -> None:
        self.root, self.own_s = root, 0.0
        self.packages = [zone(root, f"intel-rapl:{i}", f"package-{i}") for i in range(2)]
        self.memory = zone(root, "intel-rapl:0:1", "dram")
        zone(root, "intel-rapl:0:0", "core")
        zone(root, "intel-rapl:2", "psys")
        busy(root, 0.0)

    def counter(self) -> RaplCounter:
        found = rapl_counter(self.root)
        return RaplCounter(found.zones, lambda: self.own_s, found.busy_s)

    def spend(self, joules: float, zones: list[Path], *, own_s: float, busy_s: float) -> None:
        for path in zones:
            now = int((path / "energy_uj").read_text())
            (path / "energy_uj").write_text(str((now + round(joules * 1e6)) % RANGE_UJ))
        self.own_s += own_s
        ticks = int((self.root / "proc/stat").read_text().split()[1]) / os.sysconf("SC_CLK_TCK")
        busy(self.root, ticks + busy_s)


def test_packages_and_their_memory_count_and_no_zone_counts_twice(tmp_path: Path) -> None:
    host = Host(tmp_path)
    counter = host.counter()
    assert len(counter.zones) == 3
    host.spend(10.0, [*host.packages, host.memory], own_s=1.0, busy_s=1.0)
    assert counter.joules() == pytest.approx(30.0)


def test_a_process_is_attributed_its_share_of_the_cpu_time_of_each_interval(tmp_path: Path) -> None:
    host = Host(tmp_path)
    counter = host.counter()
    host.spend(100.0, host.packages[:1], own_s=1.0, busy_s=4.0)
    assert counter.joules() == pytest.approx(25.0)
    host.spend(100.0, host.packages[:1], own_s=3.0, busy_s=4.0)
    assert counter.joules() == pytest.approx(100.0)
    host.spend(100.0, host.packages[:1], own_s=9.0, busy_s=4.0)  # two clocks do not agree: at most everything
    assert counter.joules() == pytest.approx(200.0)


def test_what_was_used_in_less_than_a_tick_is_counted_later(tmp_path: Path) -> None:
    host = Host(tmp_path)
    counter = host.counter()
    host.spend(5.0, host.packages[:1], own_s=0.001, busy_s=0.0)
    assert counter.joules() == 0.0
    host.spend(5.0, host.packages[:1], own_s=0.999, busy_s=1.0)
    assert counter.joules() == pytest.approx(10.0)


def test_a_counter_that_begins_again_loses_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path)
    (host.packages[0] / "energy_uj").write_text(str(RANGE_UJ - 2_000_000))
    counter = host.counter()
    host.spend(5.0, host.packages[:1], own_s=1.0, busy_s=1.0)
    assert int((host.packages[0] / "energy_uj").read_text()) < RANGE_UJ - 2_000_000
    assert counter.joules() == pytest.approx(5.0)


def test_without_the_times_of_the_host_all_energy_is_that_of_the_process(tmp_path: Path) -> None:
    host = Host(tmp_path)
    (tmp_path / "proc/stat").unlink()
    counter = host.counter()
    (host.packages[0] / "energy_uj").write_text("7001000")
    assert counter.joules() == pytest.approx(7.0)


@pytest.mark.parametrize("name", ["amd-rapl:0", "intel-rapl:0"])
def test_counters_of_several_makers_are_found(tmp_path: Path, name: str) -> None:
    zone(tmp_path, name, "package-0-die-1")
    assert len(rapl_counter(tmp_path).zones) == 1


@pytest.mark.parametrize("zones", [[], [("intel-rapl:0", "psys")], [("intel-rapl:0:0", "dram")]])
def test_a_machine_without_a_package_counter_is_refused(tmp_path: Path, zones: list[tuple[str, str]]) -> None:
    for folder, name in zones:
        zone(tmp_path, folder, name)
    with pytest.raises(ArgumentError, match="Looked for the RAPL counters") as caught:
        rapl_counter(tmp_path)
    assert str(tmp_path / "sys/class/powercap") in str(caught.value)
    assert ("does not exist" in str(caught.value)) == (not zones)


def test_a_counter_that_may_not_be_read_is_refused_with_the_command_that_allows_it(tmp_path: Path) -> None:
    made = zone(tmp_path, "intel-rapl:0", "package-0")
    (made / "energy_uj").unlink()
    (made / "energy_uj").mkdir()  # root may read any file, but not a folder
    with pytest.raises(ArgumentError, match="sudo chmod a"):
        rapl_counter(tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("pynvml") is not None, reason="the package for NVML is installed")
def test_gpus_need_the_package_for_nvml() -> None:
    with pytest.raises(MissingDependencyError, match=r"lightning_hwtune\[energy\]"):
        gpu_counter("0")


@pytest.mark.skipif(any(Path("/dev").glob("nvidia[0-9]*")), reason="there is a GPU here")
def test_without_a_driver_nvml_is_refused_with_its_answer() -> None:
    pytest.importorskip("pynvml")
    with pytest.raises(ArgumentError, match="with NVML, which answers"):
        gpu_counter("0")
