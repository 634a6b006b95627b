"""The number of cores under quotas of control groups, and where the system does not tell of either."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lightning_hwtune.host.cpus import n_cpus


def host(root: Path, groups: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ("0::/", {"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2),
        ("0::/", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ("0::/", {"sys/fs/cgroup/cpu.max": "9900000 100000\n"}, 8),
        ("0::/a/b", {"sys/fs/cgroup/a/cpu.max": "300000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 3),
        ("0::/a/b", {"sys/fs/cgroup/a/cpu.max": "300000 100000", "sys/fs/cgroup/a/b/cpu.max": "400000 100000"}, 3),
        ("0::/../..", {"sys/fs/cgroup/cpu.max": "100000 100000"}, 1),
        ("0::/", {"sys/fs/cgroup/cpu.max": "damaged"}, 8),
        ("0::/", {}, 8),
        (
            "4:memory:/x\n3:cpu,cpuacct:/docker/7",
            {
                "sys/fs/cgroup/cpu/docker/7/cpu.cfs_quota_us": "400000",
                "sys/fs/cgroup/cpu/docker/7/cpu.cfs_period_us": "100000",
            },
            4,
        ),
        (
            "3:cpu,cpuacct:/",
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
            8,
        ),
        ("3:cpuset:/", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000"}, 8),
    ],
)
def test_a_quota_bounds_the_cores(
    groups: str, files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert n_cpus(host(tmp_path, groups, files)) == expected


@pytest.mark.parametrize(("counted", "expected"), [(6, 6), (None, 1)])
def test_a_system_without_linuxs_calls_counts_its_cores(
    counted: int | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert n_cpus(tmp_path) == expected


def test_this_host_has_cores() -> None:
    assert 1 <= n_cpus() <= (os.cpu_count() or 1)
