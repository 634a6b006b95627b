"""Free memory: of the host, limited by the control groups of a container, on made-up file systems."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from lightning_hwtune.host.memory import forget_peak, free_bytes, peak_bytes

MIB = 1 << 20
HOST = "MemTotal:       8192 kB\nMemFree:         100 kB\nMemAvailable:   4096 kB\n"  # 4 MiB are available


def made(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2, V1 = "0::/a/b\n", "4:cpu,cpuacct:/\n7:memory:/job\n0::/\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/meminfo": "MemTotal: 8192 kB\n"}, None),  # an old kernel
        ({"proc/meminfo": HOST}, 4 * MIB),
        ({"proc/meminfo": HOST, "proc/self/cgroup": V2, "sys/fs/cgroup/a/b/memory.max": "max"}, 4 * MIB),
        (
            {
                "proc/meminfo": HOST,
                "proc/self/cgroup": V2,
                "sys/fs/cgroup/a/b/memory.max": str(3 * MIB),
                "sys/fs/cgroup/a/b/memory.current": str(2 * MIB),
            },
            MIB,
        ),
        (
            {
                "proc/meminfo": HOST,
                "proc/self/cgroup": V2,
                "sys/fs/cgroup/a/memory.max": str(3 * MIB),  # of the parent
                "sys/fs/cgroup/a/memory.current": str(3 * MIB),
                "sys/fs/cgroup/a/memory.stat": f"anon 5\ninactive_file {2 * MIB}\nactive_file 7\n",
            },
            2 * MIB,
        ),
        (
            {
                "proc/meminfo": HOST,
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": str(2 * MIB),
                "sys/fs/cgroup/memory/job/memory.usage_in_bytes": str(5 * MIB),  # a limit that was lowered later
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1",
            },
            0,
        ),
    ],
)
def test_what_is_free_is_the_least_that_a_limit_leaves(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    assert free_bytes(made(tmp_path, files)) == expected


def test_this_host_has_free_memory() -> None:
    found = free_bytes()
    assert found is not None
    assert 0 < found <= psutil.virtual_memory().total


def test_the_peak_of_this_process_grows_and_can_begin_again() -> None:
    before = peak_bytes()
    if before is None:
        pytest.skip("this system does not show the peak")
    block = bytearray(b"x" * 64 * MIB)
    during = peak_bytes()
    del block
    assert during is not None
    assert during >= max(before, 64 * MIB)
    assert peak_bytes() == during
    forget_peak()
    after = peak_bytes()
    assert after is not None
    assert after <= during


@pytest.mark.parametrize(
    ("status", "expected"),
    [("VmPeak:  9 kB\nVmHWM:\t  2048 kB\nVmRSS: 1024 kB\n", 2 * MIB), ("VmRSS: 1024 kB\n", None), (None, None)],
)
def test_the_peak_is_that_of_the_resident_memory(tmp_path: Path, status: str | None, expected: int | None) -> None:
    made(tmp_path, {} if status is None else {"proc/self/status": status})
    assert peak_bytes(tmp_path) == expected
