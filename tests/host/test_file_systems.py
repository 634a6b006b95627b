from __future__ import annotations

from pathlib import Path

import pytest

from lightning_hwtune.host import file_systems
from lightning_hwtune.host.file_systems import network_file_system

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:45 / /mnt rw,relatime shared:2 - nfs4 filer:/export rw,vers=4.2
31 30 8:2 / /mnt/local rw - xfs /dev/sdb1 rw
32 22 0:46 / /mnt/with\040space rw,relatime - fuse.sshfs me@host: rw,user_id=0
33 22 0:47 / /scratch rw - lustre 10.0.0.1@tcp:/fs rw,flock
34 22 0:48 / /home/me/drive rw - fuse.gvfsd-fuse gvfsd-fuse rw
35 22 0:49 / /windows rw master:3 propagate_from:2 - cifs //server/share rw
36 35 8:3 / /windows rw - ext4 /dev/sdc1 rw
""".strip()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/me/study.db", ""),
        ("/mnt/me/hwtune/study/study.db", "nfs4"),
        ("/mnt", "nfs4"),
        ("/mntx/study.db", ""),
        ("/mnt/local/study.db", ""),
        ("/mnt/with space/study.db", "fuse.sshfs"),
        ("/scratch/a/../study.db", "lustre"),
        ("/home/me/drive/study.db", ""),
        ("/windows/study.db", ""),  # a later mount hides the share
    ],
)
def test_the_innermost_mount_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, expected: str) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    monkeypatch.setattr(file_systems, "_MOUNTS", tmp_path / "mounts")
    assert network_file_system(Path(path)) == expected


def test_a_real_mount_is_not_on_a_network(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert network_file_system(small_disk / "study.db") == ""
    monkeypatch.setattr(file_systems, "_NETWORK", file_systems.re.compile("tmpfs"))
    assert network_file_system(small_disk / "study.db") == "tmpfs"


def test_without_a_list_of_mounts_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_systems, "_MOUNTS", tmp_path / "absent")
    assert network_file_system(tmp_path) == ""
