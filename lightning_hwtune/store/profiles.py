"""The file of a profile: `profile.json` in the study's folder."""

from __future__ import annotations

import json
from pathlib import Path

from lightning_hwtune.core.hardware.scaling.profile import ScalingProfile
from lightning_hwtune.errors import ArgumentError, StorageError
from lightning_hwtune.host.text_files import read_text
from lightning_hwtune.store.files import make_folder, write_whole

__all__ = ["PROFILE", "read_profile", "write_profile"]

PROFILE = "profile.json"


def write_profile(path: Path, profile: ScalingProfile) -> None:
    """Writes a profile, and replaces an older one.

    Raises:
        StorageError: the file cannot be written.
    """
    make_folder(path.parent)
    write_whole(path, (json.dumps(profile.to_dict(), indent=1) + "\n").encode())


def read_profile(path: str | Path) -> ScalingProfile:
    """Returns the profile in a file, or in the folder of a study.

    Raises:
        ArgumentError: there is no such file.
        StorageError: it is not the file of a profile, or it cannot be read.
    """
    file = Path(path) / PROFILE if Path(path).is_dir() else Path(path)
    if not file.is_file():
        hint = "`hwtune profile STUDY.yaml` and `study.profile(train)` write it."
        raise ArgumentError("profile", str(path), f"a file such as {PROFILE}, or a study's folder with one", hint=hint)
    try:
        return ScalingProfile.from_dict(json.loads(read_text(file)))
    except OSError as error:
        raise StorageError(f"cannot read {str(file)!r}: {error}", error.errno) from error
    except ValueError as error:  # no JSON, no UTF-8, or the wrong form
        raise StorageError(f"{str(file)!r} is not the file of a profile: {error}") from error
