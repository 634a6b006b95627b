"""Nothing of another study is deleted: whose folder it is, what is swept in it, and what is refused."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from stored_study import StepClock, store

import lightning_hwtune as hwt
from lightning_hwtune.apps.first_config import refuse_changed
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.engine.session import Session
from lightning_hwtune.errors import HwTuneError, StorageError, StudyNotFoundError
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.identity import Identity, read_identity
from lightning_hwtune.store.stored_names import not_found

FILE = "study_id.json"


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the database, which a reader may tidy."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("study.db")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def are_kept(root: Path) -> bool:
    """Return whether every checkpoint that the log knows is still there."""
    known = hwt.Study.load(root.name, root.parent).state().known_checkpoints()
    return len(known) > 5 and all((root / path).is_file() for path in known)


def opened(folder: Path, name: str = "digits", storage: str | None = None) -> ev.SessionOpened:
    """Opens and closes a session, as every command that writes does; returns what it says in the log."""
    spec = spec_of(folder, name)
    with Session(spec, StudyFiles(folder, name), Limits(max_trials=9), storage=storage, clock=StepClock()) as session:
        assert session.controller.state.session is not None
        return session.controller.state.session


def spec_of(folder: Path, name: str) -> hwt.StudySpec:  # type: ignore[name-defined]
    other = folder.parent / f"spec of {name} in {folder.name}"
    if not other.exists():
        store(other, name, n_trials=1)
    return hwt.Study.load(name, other).spec


def as_written_by_0_1_0(root: Path) -> None:
    """Takes out of a study's folder what version 0.1.0 did not write."""
    (root / FILE).unlink(missing_ok=True)
    connection = sqlite3.connect(root / "study.db")
    with connection:
        for seq, body in connection.execute("SELECT seq, body FROM hwtune_events").fetchall():
            kept = {k: v for k, v in json.loads(body).items() if k not in ("study_id", "number", "folder")}
            connection.execute("UPDATE hwtune_events SET body = ? WHERE seq = ?", (json.dumps(kept), seq))
    connection.close()


def lose_log(root: Path) -> None:
    for path in root.glob("study.db*"):
        path.unlink()


def empty_log(root: Path) -> None:
    lose_log(root)
    (root / "study.db").touch()


def log_of_another(root: Path) -> None:
    """The log of another study of the same name, which has begun the same trials."""
    lose_log(root)
    other = store(root.parents[1] / "other", root.name)
    shutil.copy(other.database_path, root / "study.db")


# ---------------------------------------------------------------- ids


def test_a_study_has_one_id_in_the_log_and_in_the_folder(tmp_path: Path) -> None:
    files = store(tmp_path)
    created, first = [e for e in hwt.Study.load("digits", tmp_path).events() if isinstance(e, _BEGINNINGS)]
    assert isinstance(created, ev.StudyCreated)
    assert isinstance(first, ev.SessionOpened)
    assert len(created.study_id) == 32
    assert created.study_id == first.study_id
    assert read_identity(files.root) == Identity(created.study_id, 1)
    again = opened(tmp_path)
    assert (again.study_id, again.number, again.folder) == (created.study_id, 2, str(files.root))
    assert read_identity(files.root) == Identity(created.study_id, 2)
    assert read_identity(store(tmp_path, "faces").root) != read_identity(files.root)


_BEGINNINGS = (ev.StudyCreated, ev.SessionOpened)


def test_a_study_of_0_1_0_gets_its_id_when_it_is_run_and_not_when_it_is_read(tmp_path: Path) -> None:
    root = store(tmp_path).root
    as_written_by_0_1_0(root)
    before = tree(root)
    study = hwt.Study.load("digits", tmp_path)
    assert len(study.front()) > 0
    assert study.state().study_id == ""
    assert tree(root) == before
    first = opened(tmp_path)
    assert read_identity(root) == Identity(first.study_id, 1)
    assert are_kept(root)
    assert opened(tmp_path).study_id == first.study_id


def test_a_kill_between_the_folder_and_the_log_changes_nothing(tmp_path: Path) -> None:
    root = store(tmp_path).root
    found = read_identity(root)
    assert found is not None
    (root / FILE).write_text(json.dumps({"study_id": found.study_id, "session": found.session + 1}))
    assert opened(tmp_path).number == found.session + 2


def test_a_kill_while_an_old_study_gets_its_id(tmp_path: Path) -> None:
    root = store(tmp_path).root
    as_written_by_0_1_0(root)
    (root / FILE).write_text(json.dumps({"study_id": "ab" * 16, "session": 1}))
    assert opened(tmp_path).study_id == "ab" * 16


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"study_id": 7, "session": 1}', '{"study_id": "a", "session": "1"}']
)
def test_a_damaged_id_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    root = store(tmp_path).root
    (root / FILE).write_text(text)
    before = tree(root)
    with pytest.raises(StorageError, match=rf"{FILE}' is damaged .*delete it"):
        opened(tmp_path)
    assert tree(root) == before
    (root / FILE).unlink()  # the advice
    opened(tmp_path)
    assert are_kept(root)


# ---------------------------------------------------------------- a log that is not the folder's


@pytest.mark.parametrize("old", [False, True], ids=["", "0.1.0"])
@pytest.mark.parametrize("harm", [lose_log, empty_log, log_of_another])
def test_a_folder_whose_log_is_lost_or_anothers_is_refused_and_kept(
    tmp_path: Path, harm: Callable[[Path], None], old: bool
) -> None:
    root = store(tmp_path / "studies").root
    unique = root / "trials" / "000" / "checkpoints" / "segment_01_epochs_1.ckpt"
    unique.write_bytes(b"of this study only")
    harm(root)
    if old:
        if harm is log_of_another:
            as_written_by_0_1_0(root)
        for path in root.glob("trials/*/checkpoints/*"):
            path.write_bytes(b"of this study")
        (root / FILE).unlink(missing_ok=True)
    before = tree(root)
    with pytest.raises(StorageError, match=r"nothing was changed\. .*another name"):
        opened(tmp_path / "studies")
    assert tree(root) == before


@pytest.mark.parametrize("has_own", [True, False])
def test_another_storage_by_mistake_is_refused_and_makes_nothing(tmp_path: Path, has_own: bool) -> None:
    root = store(tmp_path / "studies").root
    if not has_own:
        lose_log(root)
    before = tree(root)
    with pytest.raises(StorageError, match="leave out the storage" if has_own else "Restore the log from a copy"):
        opened(tmp_path / "studies", storage=f"sqlite:///{tmp_path / 'other.db'}")
    assert tree(root) == before
    assert not (tmp_path / "other.db").exists()


def test_a_storage_with_another_study_of_that_name_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    opened(tmp_path / "elsewhere", storage=url)
    root = store(tmp_path / "studies").root
    before = tree(root)
    with pytest.raises(StorageError, match="does not belong to the study in"):
        opened(tmp_path / "studies", storage=url)
    assert tree(root) == before


def train(trial: object) -> None:
    raise AssertionError("nothing may be trained")


DOORS: dict[str, Callable[[hwt.Study], object]] = {
    "run": lambda study: study.run(train, max_trials=9, progress=False),
    "ask": lambda study: study.ask(max_trials=9),
    "enqueue": lambda study: study.enqueue({"lr": 0.0123, "devices": 1}),
    "check": lambda study: study.check(train),
    "cli-tune and sweep": lambda study: refuse_changed(study, "app_config.yaml", "a: 1\n"),
}


@pytest.mark.parametrize("harm", [lose_log, log_of_another])
@pytest.mark.parametrize("door", DOORS)
def test_every_way_in_refuses(tmp_path: Path, door: str, harm: Callable[[Path], None]) -> None:
    files = store(tmp_path / "studies")
    spec = hwt.Study.load("digits", tmp_path / "studies").spec
    harm(files.root)
    before = tree(files.root)
    parts = {"scheduler": spec.scheduler, "pool": spec.pool, "dir": tmp_path / "studies"}
    study = hwt.Study("digits", spec.space, spec.objectives, **parts)
    with pytest.raises(StorageError, match="nothing was changed"):
        DOORS[door](study)
    assert tree(files.root) == before
    assert (files.root / "study.db").exists() == (harm is log_of_another)


def test_a_folder_without_trials_takes_any_log(tmp_path: Path) -> None:
    root = store(tmp_path).root
    lose_log(root)
    shutil.rmtree(root / "trials")
    assert opened(tmp_path).number == 1


# ---------------------------------------------------------------- moved, renamed, copied


@pytest.mark.parametrize("old", [False, True], ids=["", "0.1.0"])
@pytest.mark.parametrize("how", ["moved", "renamed", "copied", "copied under another name"])
def test_a_folder_goes_where_the_user_puts_it(tmp_path: Path, how: str, old: bool) -> None:
    root = store(tmp_path / "a").root
    if old:
        as_written_by_0_1_0(root)
    n_trials = len(hwt.Study.load("digits", tmp_path / "a").state().trials)
    there = tmp_path / "b" / "digits" if how in ("moved", "copied") else tmp_path / "a" / "numbers"
    there.parent.mkdir(exist_ok=True)
    (shutil.copytree if "copied" in how else shutil.move)(root, there)
    study = hwt.Study.load(there.name, there.parent)
    assert study.name == there.name
    assert len(study.state().trials) == n_trials
    number = opened(there.parent, there.name).number
    assert number == (1 if old else 2)
    assert are_kept(there)
    assert len(hwt.Study.load(there.name, there.parent).state().trials) == n_trials
    if "copied" in how:  # the original is a study for itself
        assert opened(root.parent).number == number
        assert are_kept(root)
    elif how == "renamed":
        with pytest.raises(StudyNotFoundError):
            hwt.Study.load("digits", tmp_path / "a")


def test_a_renamed_study_is_driven_by_one_process_at_a_time(tmp_path: Path) -> None:
    root = store(tmp_path).root
    root.rename(tmp_path / "numbers")
    spec = hwt.Study.load("numbers", tmp_path).spec
    with (
        Session(spec, StudyFiles(tmp_path, "numbers"), Limits(max_trials=9)),
        pytest.raises(HwTuneError, match="'numbers' is run by"),
    ):
        opened(tmp_path, "numbers")


def test_a_file_with_several_studies_and_none_of_this_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    for name in ("a", "b"):
        opened(tmp_path / name, name, storage=url)
    (tmp_path / "c").mkdir()
    shutil.copy(tmp_path / "shared.db", tmp_path / "c" / "study.db")
    with pytest.raises(StorageError, match="has the studies 'a', 'b' but none called 'c'"):
        hwt.Study.load("c", tmp_path)


# ---------------------------------------------------------------- one storage, two folders


def shared(tmp_path: Path) -> tuple[str, Path]:
    """A study in an external storage, with trials in its folder."""
    root = store(tmp_path / "a").root
    (tmp_path / "shared.db").write_bytes(root.joinpath("study.db").read_bytes())
    lose_log(root)
    return f"sqlite:///{tmp_path / 'shared.db'}", root


@pytest.mark.parametrize("name", ["digits", "numbers"])
def test_of_two_copies_in_one_storage_the_one_that_was_run_last_continues(tmp_path: Path, name: str) -> None:
    url, root = shared(tmp_path)
    copy = tmp_path / "b" / name
    shutil.copytree(root, copy)
    assert opened(root.parent, storage=url).number == 2
    before = tree(copy)
    with pytest.raises(StorageError, match=rf"is an older copy: .*continued later, in '{root}'.*delete '{FILE}'"):
        opened(copy.parent, name, storage=url)
    assert tree(copy) == before
    assert opened(root.parent, storage=url).number == 3
    (copy / FILE).unlink()  # the advice, where the other folder is lost; its name must be that of the log
    if name == "digits":
        assert opened(copy.parent, name, storage=url).number == 4


def test_a_folder_in_an_external_storage_may_be_renamed(tmp_path: Path) -> None:
    url, root = shared(tmp_path)
    root.rename(root.with_name("numbers"))
    study = hwt.Study.load("numbers", root.parent, storage=url)
    assert (study.name, len(study.state().trials)) == ("numbers", 9)
    assert opened(root.parent, "numbers", storage=url).number == 2
    with sqlite3.connect(tmp_path / "shared.db") as connection:
        assert connection.execute("SELECT DISTINCT study FROM hwtune_events").fetchall() == [("digits",)]


def test_a_restored_storage_is_continued_in_its_folder(tmp_path: Path) -> None:
    url, root = shared(tmp_path)
    backup = (tmp_path / "shared.db").read_bytes()
    opened(root.parent, storage=url)
    for path in tmp_path.glob("shared.db*"):
        path.unlink()
    (tmp_path / "shared.db").write_bytes(backup)
    assert opened(root.parent, storage=url).number == 3


def test_what_is_refused_leaves_no_folder(tmp_path: Path) -> None:
    from threading import Lock

    lock = Lock()  # cannot be pickled
    study = hwt.Study(
        "new",
        {"lr": hwt.Float(0.1, 1.0)},
        [hwt.Metric("error", "min")],
        scheduler=hwt.ASHA(9, first_rung=1),
        pool=hwt.Pool("cpu", devices=1),
        dir=tmp_path,
    )
    for start in (study.run, study.check):
        options = {"max_trials": 1} if start == study.run else {}
        with pytest.raises(HwTuneError, match="can be pickled"):
            start(lambda trial: lock.locked(), **options)
    assert not list(tmp_path.iterdir())


def test_an_unknown_study_names_those_that_are_there() -> None:
    assert str(not_found("c", "runs", ["a"])) == "no study 'c' in 'runs'; its only study is 'a'"
    assert str(not_found("c", "runs", ["a", "b"])) == "no study 'c' in 'runs'; its studies are 'a', 'b'"
