"""The configuration that a study was begun with: kept in its folder, so that it does not go on with another one."""

from __future__ import annotations

from collections.abc import Container, Iterable

from lightning_hwtune.entry.chosen import Chosen
from lightning_hwtune.entry.lightning_cli_config import CliConfig
from lightning_hwtune.errors import StudyMismatchError, StudyNotFoundError
from lightning_hwtune.store.files import make_folder, write_whole
from lightning_hwtune.study import Study

__all__ = ["refuse_changed"]


def refuse_changed(
    study: Study,
    file: str,
    text: str,
    *,
    searched: Container[str] = (),
    sections: Iterable[str] = (),
    storage: str | None = None,
) -> None:
    """Refuses to go on with a study that was begun on another configuration; one that has none keeps this one.

    Args:
        file: its name in the study's folder. text: the configuration as YAML.
        searched: dotted names that may differ. sections: names that may differ with all that is in them.
        storage: where the study's log is, None for its own file.

    Raises:
        StudyMismatchError: as above, with the differences.
        StorageError: the folder holds trials of another study, or of one whose log is not here.
    """
    study.refuse_foreign_folder()
    path = study.dir / file
    if not path.exists() or not _has_begun(study, storage):
        make_folder(path.parent)
        write_whole(path, text)
        return
    stored, present = CliConfig(path.read_text(encoding="utf-8")).leaves(), CliConfig(text).leaves()
    different: dict[str, tuple[object, object]] = {
        name: (stored.get(name), present.get(name))
        for name in stored | present
        if stored.get(name) != present.get(name)
        and name not in searched
        and not any(name.startswith(f"{section}.") for section in sections)
    }
    if different:
        raise StudyMismatchError(study.name, different)


def _has_begun(study: Study, storage: str | None) -> bool:
    """Tells whether anything was measured, or may be now: what failed before that may be corrected."""
    try:
        return any(trial.measurements for trial in study.state().trials) or Chosen(study, storage).is_driven()
    except StudyNotFoundError:
        return False
