"""A note in a study's folder that says in which database the study's log is, so that it need not be given again.

It is written when a session opens, without the password. The password then comes from the file that PGPASSFILE names,
or from `~/.pgpass`. A log in the folder itself has no note.
"""

from __future__ import annotations

import json
from pathlib import Path

import sqlalchemy as sa

from lightning_hwtune.errors import StorageError
from lightning_hwtune.store.database_url import SECRET, database_url
from lightning_hwtune.store.files import STORAGE_NOTE, write_whole

__all__ = ["note_storage", "noted_storage"]


def note_storage(root: Path, storage: str) -> None:
    """Writes the note, completely or not at all, if it does not say this yet.

    Raises:
        StorageError: the folder cannot be written.
    """
    url = database_url(storage, root).difference_update_query(SECRET)
    public = sa.URL.create(url.drivername, url.username, None, url.host, url.port, url.database, url.query)
    text = public.render_as_string(hide_password=False)
    path = root / STORAGE_NOTE
    content = json.dumps({"storage": text}) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != content:
        write_whole(path, content)


def noted_storage(root: Path) -> str | None:
    """Returns the URL in the folder's note; None if there is no note.

    Raises:
        StorageError: the note is damaged.
    """
    path = root / STORAGE_NOTE
    try:
        storage = json.loads(path.read_text(encoding="utf-8"))["storage"]
        database_url(storage, root)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            f"{str(path)!r} is damaged ({type(error).__name__}: {error}). Restore it from a copy, or delete it and "
            "give the storage; the next run writes it again"
        ) from error
    return str(storage)
