"""The command line: questions to stored studies, and wrong usage."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stored_study import store
from typer.testing import CliRunner, Result

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.core.decisions import Start
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.engine.session import Session
from lightning_hwtune.store.files import StudyFiles

STUDY_FILE = """\
study: digits
train: no_such_module:train
space:
  lr: {type: float, low: 1e-3, high: 1e-1, log: true}
  devices: {type: num_devices, counts: [1, 2]}
objectives: [{metric: error, mode: min}, train_s, cost_usd]
scheduler: {name: asha, max_epochs: 9, first_rung: 1}
pool: {accelerator: cpu, devices: 2, usd_per_device_hour: 3.6}
max_trials: 9
finishers: 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished study of nine trials."""
    path = tmp_path_factory.mktemp("studies")
    store(path)
    return path


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY_FILE)
    return path


def hwtune(*words: object, status: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def told(*words: object, status: int = 1) -> str:
    """Returns what a command that fails says, and asserts that it says nothing else."""
    result = hwtune(*words, status=status)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.replace("│", " ").split())


def parsed(*words: object) -> Any:
    return json.loads(hwtune(*words, "--format", "json").stdout)


def rows(*words: object) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(hwtune(*words, "--format", "csv").stdout)))


# ---------------------------------------------------------------- questions


def test_version():
    assert hwtune("--version").stdout.split() == ["lightning_hwtune", hwt.__version__]


def test_help_names_every_command():
    text = hwtune("--help").stdout
    for command in ("run", "check", "rungs", "status", "trials", "front", "best", "why", "logs", "plot", "export"):
        assert f" {command} " in text


def test_status(folder: Path):
    status = parsed("status", "--dir", folder)
    assert (status["study"], status["state"], status["trials"]) == ("digits", "finished", 9)
    assert status["trials_by_state"]["completed"] == status["fully_trained"] >= 2
    assert status["epochs_full"] == 81
    assert status["max_ranks_seen"] == 2
    assert status["checkpoints_bytes"] == sum(
        path.stat().st_size for path in (folder / "digits/trials").glob("*/checkpoints/*")
    )
    [row] = rows("status", "--dir", folder, "--study", "digits")
    assert row["trials_by_state.completed"] == str(status["fully_trained"])
    assert row["front_size"] == str(status["front_size"])
    assert "finished" in hwtune("status", "--dir", folder).stdout


def test_status_tells_a_killed_study_from_a_running_one(tmp_path: Path):
    spec = hwt.Study.load("digits", store(tmp_path, n_trials=1).root.parent).spec
    with Session(spec, StudyFiles(tmp_path, "digits"), Limits(max_trials=2)) as session:
        decision = session.controller.ask(session.clock.now(), 2)
        assert isinstance(decision, Start)
        session.controller.begin(decision, (0,), session.clock.now())
        assert parsed("status", "--dir", tmp_path)["state"] == "running"
    # a session that ends while a segment runs writes no end, as a killed one
    assert parsed("status", "--dir", tmp_path)["state"] == "interrupted"


def test_front(folder: Path):
    study = hwt.Study.load("digits", folder)
    front = parsed("front", "--dir", folder)
    frame = study.front()
    assert [point["trial_id"] for point in front] == frame["trial"].tolist()
    assert front
    for point in front:
        trial = study.state().trials[point["trial_id"]]
        assert point["config"] == trial.config
        assert (point["devices"], point["epochs"]) == (trial.num_devices, 9)
        assert point["objectives"] == trial.last.values  # type: ignore[union-attr]
        assert Path(point["checkpoint"]).read_bytes() == b"weights"
    assert [row["trial"] for row in rows("front", "--dir", folder)] == [str(i) for i in frame["trial"]]
    table = hwtune("front", "--dir", folder).stdout
    assert "front of digits, fully trained trials" in table
    assert front[0]["checkpoint"] in table


def test_partial_fronts(folder: Path):
    assert {point["rung"] for point in parsed("front", "--at", "rung", "--dir", folder)} == {1, 3, 9}
    assert any(point["partial"] for point in parsed("front", "--at", "any", "--dir", folder))


def test_a_front_in_which_only_some_have_a_checkpoint(folder: Path):
    found = [point["checkpoint"] for point in parsed("front", "--at", "rung", "--dir", folder)]
    assert 0 < found.count(None) < len(found)
    assert hwt.Study.load("digits", folder).front(at="rung").checkpoint.tolist() == found
    assert [row["checkpoint"] or None for row in rows("front", "--at", "rung", "--dir", folder)] == found
    assert "nan" not in hwtune("front", "--at", "rung", "--dir", folder).stdout


def test_best(folder: Path):
    best = hwt.Study.load("digits", folder).best
    record = parsed("best", "--dir", folder)
    assert (record["trial_id"], record["checkpoint"]) == (best.trial_id, str(best.checkpoint))
    [row] = rows("best", "--dir", folder)
    assert row["trial"] == str(best.trial_id)
    assert "best of digits in error" in hwtune("best", "--dir", folder).stdout


def test_trials(folder: Path):
    records = parsed("trials", "--dir", folder)
    assert [record["trial_id"] for record in records] == list(range(9))
    assert all(Path(record["checkpoint"]).exists() for record in records)
    assert [row["state"] for row in rows("trials", "--dir", folder)] == [record["state"] for record in records]
    assert "trials of digits" in hwtune("trials", "--dir", folder).stdout


def test_checkpoints_have_short_paths_in_tables(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    text = hwtune("best", "--dir", folder).stdout
    assert " digits/trials/" in text
    assert str(folder) not in text


def test_why(folder: Path):
    assert hwtune("why", 0, "--dir", folder).stdout == hwt.Study.load("digits", folder).why(0) + "\n"


def test_logs(folder: Path):
    trial_id = next(record["trial_id"] for record in parsed("trials", "--dir", folder) if record["segments"] > 1)
    out = hwtune("logs", trial_id, "--follow", "--dir", folder).stdout
    assert out.startswith("==> segment_01_rank_0.log\ntrained to ")
    assert "==> segment_02_rank_0.log\ntrained to 9\n" in out


def test_logs_of_a_killed_study_are_followed_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec = hwt.Study.load("digits", store(tmp_path, n_trials=1).root.parent).spec
    with Session(spec, StudyFiles(tmp_path, "digits"), Limits(max_trials=2)) as session:
        decision = session.controller.ask(session.clock.now(), 2)
        assert isinstance(decision, Start)
        session.controller.begin(decision, (0,), session.clock.now())
    assert parsed("trials", "--dir", tmp_path)[1]["state"] == "running"  # no process writes the log any more
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waits"))
    assert "trial 1 has no log in " in hwtune("logs", 1, "--follow", "--dir", tmp_path).stderr


@pytest.mark.parametrize("given", ["", "a" * 300, "x/" * 3000, "\udcff"])
@pytest.mark.parametrize("words", [["status", "--dir"], ["why", "0", "--dir"], ["export", "--out"], ["plot", "--out"]])
def test_a_folder_that_cannot_be_is_a_wrong_command_line(words: list[str], given: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words[-1] in told(*words, given, status=2)
    assert list(tmp_path.iterdir()) == []


def test_logs_that_are_not_there(tmp_path: Path):
    for path in (store(tmp_path, n_trials=1).trial_dir(0) / "logs").iterdir():
        path.unlink()
    told_of_it = hwtune("logs", 0, "--dir", tmp_path).stderr
    assert "trial 0 has no log in " in told_of_it
    assert "With ask and tell" in told_of_it


def test_logs_of_a_trial_that_has_just_begun(tmp_path: Path):
    spec = hwt.Study.load("digits", store(tmp_path, n_trials=1).root.parent).spec
    with Session(spec, StudyFiles(tmp_path, "digits"), Limits(max_trials=2)) as session:
        decision = session.controller.ask(session.clock.now(), 2)
        assert isinstance(decision, Start)
        session.controller.begin(decision, (0,), session.clock.now())
        assert "trial 1 has no log yet in " in hwtune("logs", 1, "--dir", tmp_path).stderr


def test_plot(folder: Path, tmp_path: Path):
    out = hwtune("plot", "--dir", folder, "--out", tmp_path / "new/pictures").stdout
    for kind in ("front", "timeline", "curves", "ladder", "hypervolume", "ledger"):
        path = tmp_path / "new/pictures" / f"{kind}.png"
        assert path.read_bytes().startswith(b"\x89PNG")
        assert f"{kind}: {path}" in out
    assert not (tmp_path / "new/pictures/rank.png").exists()  # of too few trials


def test_plot_of_some_figures(folder: Path, tmp_path: Path):
    words = ("--objective", "train_s", "--dir", folder, "--out", tmp_path)
    assert hwtune("plot", "curves", "ladder", *words).stdout.count(".png") == 2
    assert {path.name for path in tmp_path.iterdir()} == {"curves.png", "ladder.png"}
    assert "'cuvres' is not a figure" in told("plot", "cuvres", "--dir", folder, status=2)
    assert "--at needs the name of a figure" in told("plot", "--at", 3, "--dir", folder, status=2)
    assert "`objective` is 'loss'" in told("plot", "front", "--objective", "loss", "--dir", folder)


def test_export(folder: Path, tmp_path: Path):
    out = hwtune("export", "--dir", folder, "--out", tmp_path / "tables").stdout
    assert {Path(line).name for line in out.splitlines()} == {path.name for path in (tmp_path / "tables").iterdir()}
    assert len(json.loads((tmp_path / "tables/trials.json").read_text())) == 9


def test_rungs_of_a_stored_study_and_of_its_file(folder: Path, study_file: Path):
    stored, described = parsed("rungs", "--dir", folder), parsed("rungs", study_file)
    assert stored == described
    assert [rung["trials"] for rung in stored["rungs"]] == [9, 3, 1]
    assert [row["rung"] for row in rows("rungs", study_file)] == ["1", "3", "9"]
    assert parsed("rungs", study_file, "--max-trials", 27)["rungs"][0]["trials"] == 27
    for words in (["--dir", folder], [study_file]):
        assert "`max_trials` is 0" in told("rungs", *words, "--max-trials", 0).replace("study.yaml: ", "")
    assert parsed("rungs", study_file, "scheduler.eta=9")["rungs"][1] == {"rung": 9, "trials": 1, "finishers": 0}
    assert "9 trials" in hwtune("rungs", study_file).stdout


@pytest.mark.parametrize(("finishers", "n_planned"), [("auto", 4), (3, 3), (2, 2), (1, 1)])
def test_rungs_of_more_trials_are_those_that_a_longer_run_would_have(
    tmp_path: Path, finishers: int | str, n_planned: int
) -> None:
    store(tmp_path, n_trials=4, finishers=finishers)
    text = " ".join(hwtune("rungs", "--dir", tmp_path, "--max-trials", 12).stdout.split())
    assert f"until {n_planned} trial{'s are' if n_planned > 1 else ' is'} fully trained" in text


def test_rungs_show_how_many_models_the_limits_allow(folder: Path, study_file: Path, tmp_path: Path):
    limited = study_file.read_text().replace("max_trials: 9", "max_time: 1h")
    study_file.write_text(limited)
    answer = hwtune("rungs", study_file).stdout
    assert answer.startswith("rungs at 1, 3, 9 epochs; the check shows how many models can be fully trained")
    assert "9 trials" in hwtune("rungs", study_file, "--max-trials", 9).stdout
    assert parsed("rungs", study_file)["rungs"] == [{"rung": 1}, {"rung": 3}, {"rung": 9}]
    assert "models can be" not in hwtune("rungs", "--dir", folder).stdout  # no such limit


def test_json_is_strict(tmp_path: Path):
    store(tmp_path, n_trials=3, diverging=[1])
    text = hwtune("trials", "--format", "json", "--dir", tmp_path).stdout
    assert "NaN" not in text
    assert json.loads(text)[1]["objectives"]["error"] is None


# ---------------------------------------------------------------- which study


def test_choosing_among_several(folder: Path, tmp_path: Path):
    store(tmp_path, "one", n_trials=1)
    store(tmp_path, "two", n_trials=2)
    assert parsed("status", "--dir", tmp_path, "--study", "two")["trials"] == 2
    assert "did you mean 'two'" in told("front", "--dir", tmp_path, "--study", "tow")


@pytest.mark.parametrize("words", [("front",), ("best",), ("trials",), ("why", 0), ("logs", 0), ("rungs",), ("plot",)])
def test_a_reading_command_takes_the_study_that_ran_last_and_says_so(tmp_path: Path, words: tuple[object, ...]):
    for name, n_trials in (("b", 9), ("c", 1), ("a", 1)):  # the one of nine trials has the latest event
        store(tmp_path, name, n_trials=n_trials)
    out = ("--out", tmp_path / "out") if words == ("plot",) else ()
    result = hwtune(*words, *out, "--dir", tmp_path)
    assert result.stderr == "hwtune: study 'b' ran last of 3 studies; choose another one with --study NAME\n"
    named = hwtune(*words, *out, "--dir", tmp_path, "--study", "b")
    assert (named.stdout, named.stderr) == (result.stdout, "")


def test_the_study_that_ran_last_in_a_storage(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/all.db"
    for name in ("b", "c", "a"):
        spec = hwt.Study.load(name, store(tmp_path / name, name, n_trials=1).root.parent).spec
        with Session(spec, StudyFiles(tmp_path / "new", name), Limits(max_trials=1), storage=url):
            pass
    words = ("trials", "--dir", tmp_path / "new", "--storage", url)
    assert "study 'a' ran last of 3 studies" in hwtune(*words).stderr


def test_status_lists_several_studies(tmp_path: Path):
    store(tmp_path, "long", n_trials=9)
    store(tmp_path, "short", n_trials=1)
    store(tmp_path, "broken", n_trials=1).database_path.write_bytes(b"no database")
    records = parsed("status", "--dir", tmp_path)
    assert [record["study"] for record in records] == ["long", "short", "broken"]
    best = parsed("best", "--dir", tmp_path, "--study", "long")
    assert records[0]["best"] == best["objectives"]
    assert [record["state"] for record in records] == ["finished", "finished", "unreadable"]
    assert [record["trials"] for record in records] == [9, 1, None]
    assert "not an SQLite database" in records[2]["error"]
    assert records[0]["last_at"] > records[1]["last_at"]
    lines = hwtune("status", "--dir", tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in lines if line.strip() and "──" not in line] == [
        "study",
        "long",
        "short",
        "broken",
    ]
    assert "9 of 9" in lines[2]
    assert "error 0." in lines[2]
    header, *rows = list(csv.reader(io.StringIO(hwtune("status", "--dir", tmp_path, "--format", "csv").stdout)))
    assert (header[:3], len(rows)) == (["study", "state", "trials"], 3)
    store(tmp_path / "alone", "one", n_trials=1)
    assert parsed("status", "--dir", tmp_path / "alone")["study"] == "one"


@pytest.mark.parametrize("module", ["lightning_hwtune", "lightning_hwtune.cli.commands"])
def test_the_command_as_a_module(folder: Path, module: str):
    words = [sys.executable, "-m", module, "front", "--dir", str(folder), "--format", "json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == parsed("front", "--dir", folder)
    wrong = subprocess.run([sys.executable, "-m", module, "font"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2
    assert "Usage: hwtune" in wrong.stderr


def test_no_study(tmp_path: Path):
    assert "no study in" in told("status", "--dir", tmp_path)
    assert "no study in" in told("why", 3, "--dir", tmp_path / "none")


@pytest.mark.parametrize("command", ["status", "front", "trials", "best"])
def test_the_folder_of_a_study_in_place_of_the_one_around_it(folder: Path, command: str):
    [inside] = [path.parent for path in folder.glob("*/study.db")]
    said = told(command, "--dir", inside)
    assert f"is the study {inside.name!r} itself; `dir` is {str(folder)!r}" in said
    with pytest.raises(hwt.StudyNotFoundError, match="itself; `dir` is"):
        hwt.Study.load(inside.name, inside)


def test_a_storage_of_its_own(tmp_path: Path):
    spec = hwt.Study.load("digits", store(tmp_path / "a", n_trials=1).root.parent).spec
    url = f"sqlite:///{tmp_path}/all.db"
    with Session(spec, StudyFiles(tmp_path / "b", "digits"), Limits(max_trials=1), storage=url):
        pass
    assert parsed("status", "--dir", tmp_path / "b", "--storage", url)["trials"] == 0
    assert parsed("status", "--dir", tmp_path / "b")["trials"] == 0  # the folder has a note of it


def test_nothing_is_fully_trained(tmp_path: Path):
    store(tmp_path, n_trials=1, scheduler=hwt.ASHA(max_epochs=9, first_rung=1))
    files = StudyFiles(tmp_path / "new", "digits")
    with Session(hwt.Study.load("digits", tmp_path).spec, files, Limits(max_trials=1)):
        pass
    new = tmp_path / "new"
    assert "still empty" in hwtune("front", "--dir", new).stdout
    assert "no trials yet" in hwtune("trials", "--dir", new).stdout
    assert parsed("front", "--dir", new) == parsed("trials", "--dir", new) == []
    assert "no fully trained trial" in told("best", "--dir", new)


# ---------------------------------------------------------------- wrong usage


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "none.yaml"), "none.yaml"),
        (("run",), "STUDY.yaml"),
        (("front", "--at", "top"), "full, rung, any"),
        (("status", "--format", "xml"), "xml"),
        (("why", "three"), "TRIAL"),
        (("stauts",), "stauts"),
        (("status", "--sudy", "x"), "--sudy"),
    ],
)
def test_usage(words: tuple[str, ...], says: str):
    assert says in told(*words, status=2)


@pytest.mark.parametrize(("override", "says"), [("seed", "seed=VALUE"), ("seed=1,2", "one value"), ("a=[", "as text")])
def test_an_override_that_is_none(study_file: Path, override: str, says: str):
    assert says in told("rungs", study_file, override, status=2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("max_trails=3",), "Did you mean 'max_trials'?"),
        (("n_trials=3",), "use `max_trials`"),
        (("scheduler.etaa=3",), "scheduler.etaa"),
        (("seed=abc",), "`{file}: seed` is 'abc'; allowed: an integer"),
        (("--max-trials", "0"), "`max_trials` is 0"),
        (("max_trials=null",), "--max-trials"),
        (("+executor=remote",), "`{file}: executor` is 'remote'"),
        (("pool.usd_per_device_hour=null", "objectives=[train_s]", "max_cost=3"), "`{file}: max_cost` is 3"),
    ],
)
def test_a_wrong_file(study_file: Path, words: tuple[str, ...], says: str):
    assert says.format(file=study_file) in told("rungs", study_file, *words)


def test_a_missing_training_function(study_file: Path, tmp_path: Path):
    for command in ("run", "check"):
        text = told(command, study_file, "--dir", tmp_path)
        assert f"`{study_file}: train` is" in text
        assert "no module 'no_such_module'" in text
    assert not (tmp_path / "digits").exists()


def test_settings_of_a_stored_study_cannot_change(folder: Path, study_file: Path):
    text = told("run", study_file, "--dir", folder, "space.lr.high=0.5", "scheduler.eta=4")
    assert "space.lr: stored" in text
    assert "scheduler.eta: stored" in text


def test_a_finished_study_is_shown_again_without_training(folder: Path, study_file: Path):
    before = len(hwt.Study.load("digits", folder).state().segments)
    out = hwtune("run", study_file, "train=json:dumps", "--dir", folder, "--quiet").stdout
    front = hwtune("front", "--dir", folder).stdout
    assert out.startswith(front)
    assert out[len(front) :].split() == [
        "front:",
        f"{folder}/digits/front.png",
        "timeline:",
        f"{folder}/digits/timeline.png",
    ]
    assert len(hwt.Study.load("digits", folder).state().segments) == before
    loud = hwtune("run", study_file, "train=json:dumps", "--dir", folder).stdout
    assert "rungs of" not in loud
    assert loud.index("study digits is finished") < loud.index("front of digits")


def test_a_study_that_failed_has_exit_status_1(study_file: Path, tmp_path: Path):
    store(tmp_path, failing=[1, 2], max_retries=0, max_failures=2)
    words = ("train=json:dumps", "max_retries=0", "max_failures=2", "--dir", tmp_path, "--quiet")
    result = hwtune("run", study_file, *words, status=1)
    assert "study 'digits' failed: 2 trials failed, and `max_failures` is 2" in result.stderr
    assert "front of digits is still empty" in result.stdout


def test_a_study_that_another_process_drives(study_file: Path, tmp_path: Path):
    spec = hwt.Study.load("digits", store(tmp_path, n_trials=1).root.parent).spec
    with Session(spec, StudyFiles(tmp_path, "digits"), Limits(max_trials=9)):
        assert "is run by this process" in told("run", study_file, "train=json:dumps", "--dir", tmp_path)


def test_configurations_are_enqueued_once(study_file: Path, tmp_path: Path):
    store(tmp_path, n_trials=1)
    words = ("run", study_file, "train=json:dumps", "--dir", tmp_path, "max_trials=1", "--quiet")
    both = "+enqueue=[{lr: 0.01, devices: 2}, {lr: 0.02, devices: 1}]"
    for texts in ([both], [both], ["+enqueue=[{lr: 0.02, devices: 1}, {lr: 0.02, devices: 1}]"]):
        hwtune(*words, *texts)
    enqueued = hwt.Study.load("digits", tmp_path).state().enqueued
    assert [config["lr"] for config in enqueued] == [0.01, 0.02]
    assert "study.yaml: enqueue.0.lr`" in told(*words, "+enqueue=[{lr: 7, devices: 2}]")


def test_no_such_trial(folder: Path):
    assert "a trial from 0 to 8" in told("why", 9, "--dir", folder)
    assert "a trial from 0 to 8" in told("logs", 9, "--dir", folder)


# ---------------------------------------------------------------- what it imports


PROBE = """
import sys
from lightning_hwtune.cli.commands import app
try:
    app()
except SystemExit:
    print(*sys.modules)
"""
FRAMEWORKS = {"torch", "lightning", "matplotlib", "hydra", "omegaconf", "yaml", "scipy", "sklearn", "moocore"}
FRAMES = {"pandas", "pyarrow"}


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        (("--help",), FRAMEWORKS | FRAMES | {"numpy", "sqlalchemy"}),
        (("status", "--dir", "FOLDER"), FRAMEWORKS | FRAMES),
        (("status", "--format", "json", "--dir", "FOLDER"), FRAMEWORKS | FRAMES | {"rich.table"}),
        (("trials", "--format", "json", "--dir", "FOLDER"), FRAMEWORKS | FRAMES),
        (("why", "0", "--dir", "FOLDER"), FRAMEWORKS | FRAMES),
        (("logs", "0", "--dir", "FOLDER"), FRAMEWORKS | FRAMES),
        (("front", "--dir", "FOLDER"), FRAMEWORKS),
    ],
)
def test_commands_import_no_more_than_they_need(folder: Path, words: tuple[str, ...], absent: set[str]):
    words = tuple(str(folder) if word == "FOLDER" else word for word in words)
    done = subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert "lightning_hwtune.cli.commands" in loaded
    assert not absent.intersection(loaded)


@pytest.mark.parametrize(
    "raises",
    [
        "raise KeyboardInterrupt",
        "try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt:\n    raise AttributeError('flags')",
        "try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt:\n    raise AttributeError('x') from None",
        "try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt as error:\n    raise ImportError('x') from error",
    ],
)
def test_ctrl_c_during_the_imports_ends_the_command_without_a_traceback(raises: str, tmp_path: Path) -> None:
    """A library that is being imported may turn the interrupt into its own error."""
    package = tmp_path / "typer"
    package.mkdir()
    (package / "__init__.py").write_text(raises)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "lightning_hwtune", "status"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "hwtune: interrupted\n")


RAISES = ["raise KeyboardInterrupt", "signal.raise_signal(signal.SIGINT)", "raise ValueError from KeyboardInterrupt()"]


@pytest.mark.parametrize("raises", RAISES)
@pytest.mark.parametrize(
    ("place", "words"),
    [("lightning_hwtune.stored_study.newest_first", ["status"]), ("typer.echo", ["--version"])],
    ids=["command", "options"],
)
def test_ctrl_c_inside_a_command_ends_it_with_one_line(raises: str, place: str, words: list[str]) -> None:
    module = place.rpartition(".")[0]
    program = (
        f"import signal, sys, {module}\n"
        f"real = {place}\n"
        f"def interrupt(*args, err=False, **kwargs):\n"
        f"    if err: return real(*args, err=err, **kwargs)\n"
        f"    {raises}\n"
        f"{place} = interrupt\n"
        f"from lightning_hwtune.__main__ import main\n"
        f"main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "hwtune: interrupted\n")


def test_an_interrupt_inside_generated_code_of_an_import_has_the_same_status(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("exec('raise KeyboardInterrupt')")  # as when a dataclass is made
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "lightning_hwtune", "status"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "hwtune: interrupted\n")


def test_another_error_of_an_import_keeps_its_traceback(tmp_path: Path) -> None:
    package = tmp_path / "typer"
    package.mkdir()
    (package / "__init__.py").write_text("raise AttributeError('broken')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "lightning_hwtune", "status"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "AttributeError: broken" in done.stderr
