"""Which study a folder belongs to: the study's id, stored in the log and in a small file in the folder.

A log may be lost, the wrong storage may be given, or a folder may be copied. Then a log and a folder that do not belong
together meet, and files that the log does not list are another study's results, not leftovers. So the two are compared
before a session writes anything:

- The folder has trials, and the log does not have the study: refused.
- The ids differ: refused.
- The ids are equal, and the file is from an earlier session than the newest one in the log: the folder is a copy, and
  the study was continued in another folder since. This is refused, because the checkpoints that the log lists are in
  that other folder. It concerns only studies in an external storage, since a study's own log is copied with its folder.
- One side has no id (a study of version 0.1.0): a checkpoint in the folder must have the digest that the log has for
  it.

A folder without trials has nothing to lose, so it accepts any log. The file is written before the log. A kill between
the two leaves a file that is ahead of the log, which is accepted.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from lightning_hwtune.errors import CheckpointError, StorageError
from lightning_hwtune.store.checkpoints import left_by, named, verify
from lightning_hwtune.store.files import STORAGE_NOTE, write_whole
from lightning_hwtune.store.storage_note import noted_storage

if TYPE_CHECKING:
    from lightning_hwtune.core.facts import StudyFacts

__all__ = [
    "Identity",
    "has_trials",
    "next_identity",
    "read_identity",
    "refuse_foreign",
    "require_in_place",
    "write_identity",
]

_FILE = "study_id.json"


@final
@dataclass(frozen=True, slots=True)
class Identity:
    """The content of a folder's file. `session`: number of the newest session of the study in this folder."""

    study_id: str
    session: int


def read_identity(root: Path) -> Identity | None:
    """Returns the content of the folder's file; None if there is no such file.

    Raises:
        StorageError: the file is damaged.
    """
    path = root / _FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        study_id, session = data["study_id"], data["session"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(study_id, str) or not study_id or isinstance(session, bool) or not isinstance(session, int):
        raise _damaged(path, f"it contains {data!r}")
    return Identity(study_id, session)


def _damaged(path: Path, why: str) -> StorageError:
    return StorageError(
        f"{str(path)!r} is damaged ({why}). Restore it from a copy, or delete it; the study is then recognised by its "
        "checkpoints, and its next run writes a new file"
    )


def write_identity(root: Path, identity: Identity) -> None:
    """Writes the folder's file, completely or not at all.

    Raises:
        StorageError: the folder cannot be written.
    """
    write_whole(root / _FILE, json.dumps({"study_id": identity.study_id, "session": identity.session}))


def next_identity(root: Path, state: StudyFacts | None) -> Identity:
    """Returns the content of the folder's file for the next session. A study without an id gets one."""
    found = read_identity(root)
    if state is None:
        return Identity(secrets.token_hex(16), 1)
    study_id = state.study_id or (found.study_id if found is not None else secrets.token_hex(16))
    in_folder = found.session if found is not None and found.study_id == study_id else 0
    return Identity(study_id, max(in_folder, state.session.number if state.session is not None else 0) + 1)


def require_in_place(root: Path, study_id: str) -> None:
    """Checks that the folder is still where it was when a session opened the study in it.

    Raises:
        StorageError: the folder was moved, renamed or deleted in the meantime.
    """
    try:
        found = read_identity(root)
    except StorageError:  # a file that cannot be read right now does not mean that the folder is gone
        return
    if found is None or found.study_id != study_id:
        raise StorageError(
            f"the folder {str(root)!r} was moved, renamed or deleted while its study ran, so the study ends here and "
            "its trials are interrupted. Run it again where the folder is now, or put the folder back"
        )


def has_trials(root: Path) -> bool:
    """Return whether the folder contains anything that belongs to a trial."""
    try:
        return any((root / "trials").iterdir())
    except OSError:
        return False


def refuse_foreign(root: Path, state: StudyFacts | None, where: str) -> None:
    """Checks that the log may be continued in this folder.

    Args:
        state: the state according to the log; None if the log does not have the study.
        where: the location of the log, for the message.

    Raises:
        StorageError: the folder belongs to another study, or is an older copy.
    """
    if not has_trials(root):
        return
    if state is None:
        raise StorageError(_without_log(root, where))
    found = read_identity(root)
    if found is None or not state.study_id:
        if not _is_recognised(root, state):
            raise StorageError(_foreign(root, where, "none of its checkpoints is in the log"))
    elif found.study_id != state.study_id:
        raise StorageError(_foreign(root, where, f"the folder's id is {found.study_id}, the log's is {state.study_id}"))
    elif state.session is not None and found.session < state.session.number:
        raise StorageError(
            f"the folder {str(root)!r} is an older copy: the study in {where!r} was continued later, in "
            f"{state.session.folder!r} on {state.session.host}. Continue it there, or give another name to start a new "
            f"study. If that folder is lost, delete {_FILE!r} here; the missing epochs are then trained again"
        )


def _without_log(root: Path, where: str) -> str:
    own = root / "study.db"
    noted = noted_storage(root)
    if noted is not None and not own.is_file():
        found = (
            f"Its log is in {noted!r} according to {STORAGE_NOTE!r} there: leave out the storage to continue with that"
        )
    elif own.is_file() and str(own) != where:
        found = f"It has its own log, {str(own)!r}: leave out the storage to continue with that"
    else:
        found = f"Restore the log from a copy, give the storage that has the study, or move {str(root)!r} away"
    return (
        f"the folder {str(root)!r} contains trials, but {where!r} has no study of that name; nothing was changed. "
        f"{found}, or give another name to start a new study"
    )


def _foreign(root: Path, where: str, why: str) -> str:
    return (
        f"the folder {str(root)!r} does not belong to the study in {where!r} ({why}); nothing was changed. Give the "
        "storage that has the folder's own study, or another name or dir for this one"
    )


def _is_recognised(root: Path, state: StudyFacts) -> bool:
    """Return whether a checkpoint has the log's digest or, in a folder without checkpoints, the log has all trials."""
    if not any(path.suffix == ".ckpt" for _, _, path in left_by(root)):
        return all((named(folder) or 0) < len(state.trials) for folder in (root / "trials").iterdir())
    for trial in state.trials:
        if trial.checkpoint is None:
            continue
        try:
            verify(root / trial.checkpoint.path, trial.checkpoint)
        except CheckpointError:
            continue
        return True
    return False
