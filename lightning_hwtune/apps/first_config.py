"""The configuration that a study began with: stored in its folder, so that the study cannot continue with another."""

from __future__ import annotations

from collections.abc import Container, Iterable

from lightning_hwtune.apps.config_tree import ConfigTree
from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.errors import StudyMismatchError, StudyNotFoundError
from lightning_hwtune.store.files import StudyFiles, make_folder, write_whole
from lightning_hwtune.study import Study

__all__ = ["refuse_changed"]


def refuse_changed(
    study: Study,
    file: str,
    text: str,
    *,
    searched: Container[str] = (),
    sections: Iterable[str] = (),
    name_key: str = "name",
    storage: str | None = None,
) -> None:
    """Refuses to continue a study that began with another configuration; stores the configuration of a new study.

    Args:
        file: name of the file in the study's folder.
        text: the configuration as YAML.
        searched: dotted names that may differ.
        sections: names that may differ, including everything inside them.
        name_key: the setting that names the study, for the error.
        storage: where the study's log is; None = the study's own file.

    Raises:
        StudyMismatchError: the configurations differ; the error lists the differences.
        StorageError: the folder contains trials of another study, or of a study whose log is not here.
    """
    study.refuse_foreign_folder()
    path = study.dir / file
    if not path.exists() or not _has_begun(study, storage):
        make_folder(path.parent)
        write_whole(path, text)
        return
    stored, present = ConfigTree(path.read_text(encoding="utf-8")).leaves(), ConfigTree(text).leaves()
    different: dict[str, tuple[object, object]] = {
        name: (stored.get(name), present.get(name))
        for name in stored | present
        if stored.get(name) != present.get(name)
        and name not in searched
        and not any(name.startswith(f"{section}.") for section in sections)
    }
    if different:
        hint = (
            f"Give the stored values to continue the study, or start another one with {name_key}=NAME. "
            f"If the values do not change the results, delete {path}."
        )
        raise StudyMismatchError(study.name, different, hint)


def _has_begun(study: Study, storage: str | None) -> bool:
    """Return whether a trial has reported or may report now; before that, the configuration may still be corrected."""
    reader = Reader(StudyFiles(study.dir.parent, study.name), storage)
    try:
        return any(trial.measurements for trial in study.state().trials) or reader.driven_at() is not None
    except StudyNotFoundError:
        return False
