"""Which kind of file system a path is on."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["network_file_system"]

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = re.compile(
    r"nfs4?|cifs|smb3|smbfs|afs|ceph|lustre|gpfs|beegfs|pvfs2|orangefs|wekafs|panfs|ocfs2|gfs2"
    r"|fuse\.(sshfs|glusterfs|ceph|ceph-fuse|s3fs|mount-s3|goofys|gcsfuse|rclone|juicefs|seaweedfs|moosefs|mfs|alluxio)"
)


def network_file_system(path: Path) -> str:
    """Returns the type of the file system of a path if other hosts may have it mounted too, e.g. "nfs4"; else ""."""
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    place, kind, length = os.path.realpath(path), "", -1
    for line in lines:
        ours, _, of_file_system = line.partition(" - ")
        mount = re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), ours.split()[4])  # \040 is a space
        if len(mount) >= length and (place == mount or place.startswith(mount.rstrip("/") + "/")):
            kind, length = of_file_system.split()[0], len(mount)
    return kind if _NETWORK.fullmatch(kind) else ""
