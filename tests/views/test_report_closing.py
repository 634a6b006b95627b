"""What every way of running a study shows last."""

from __future__ import annotations

import contextvars
import dataclasses
import io
import re
import shlex
from pathlib import Path

import pytest
from paper_study import Script, begin, make_spec, play
from rich.console import Console

from lightning_hwtune.apps.hydra.settings import HYDRA_SPELLING
from lightning_hwtune.core import events as ev
from lightning_hwtune.names.spelling import Spell, spell_by
from lightning_hwtune.settings.spelling import FILE_SPELLING
from lightning_hwtune.views.end_of_run import print_closing
from lightning_hwtune.views.live import LinesView, PanelView, open_view
from lightning_hwtune.views.study_location import located, reading_command


def closed(state: str, reason: str) -> ev.SessionClosed:
    return ev.SessionClosed(at=20.0, state=state, reason=reason, wall_s=20.0)


def shown(
    script: Script, end: ev.SessionClosed, folder: Path = Path("hwtune/paper"), storage: str | None = None
) -> str:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    print_closing(console, script.state, end, folder, None)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


@pytest.mark.parametrize("view_of", [LinesView, PanelView])
def test_every_view_ends_with_the_trials_the_front_and_the_next_command(
    view_of: type[LinesView], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = tmp_path / "hwtune/paper/trials/001/3.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    script, console = play(), Console(file=io.StringIO(), width=200, force_terminal=False)
    view = view_of(script.state, Path("hwtune/paper"), console)
    view.close(20.0)
    end = script.log[-1]
    assert isinstance(end, ev.SessionClosed)
    view.on_events([end])
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "study paper is finished (4 trials): 4 of 4 trials" in lines[0]
    assert lines[1].rstrip() == "front of paper, fully trained trials"
    assert [line.split()[0] for line in lines[4:6]] == ["1", "0"]
    assert lines[4].rstrip().endswith(" hwtune/paper/trials/001/3.ckpt")
    assert "ckpt" not in lines[5]  # its file is not in this folder
    assert lines[6].startswith("probability: how likely the trial belongs on this front, given the noise")
    assert lines[7:] == [
        "next: hwtune front --study paper   hwtune why TRIAL --study paper",
        "To continue, run the study again with a higher `max_trials`; 1 failed trial counts in that number, and "
        "`study.enqueue(...)` queues its configuration again",
    ]


@pytest.mark.parametrize(
    ("limits", "state", "says"),
    [
        ({"max_trials": 4}, "finished", "`max_trials`"),
        ({"max_trials": 3}, "finished", "`max_trials` higher than 4"),  # it was lowered after 4 had begun
        ({"max_trials": 5}, "finished", ""),  # it stalled, or the searcher has no further configuration
        ({"max_trials": None, "max_time_s": 60.0}, "paused", "`max_time`"),
        ({"max_trials": 4, "max_cost_usd": 1.0}, "paused", "`max_cost`"),
        ({"max_trials": 4, "max_time_s": 60.0, "max_cost_usd": 1.0}, "paused", "`max_time` or `max_cost`"),
        ({"max_trials": 4}, "failed", ""),
    ],
)
def test_the_last_line_names_the_limit_that_continues_the_study(
    paper: Script, limits: dict[str, float | None], state: str, says: str
) -> None:
    paper.state.limits = dataclasses.replace(paper.state.limits, **limits)
    last = shown(paper, closed(state, "")).splitlines()[-1]
    assert (
        last.partition(";")[0]
        == f"To continue, run the study again with {'' if ' higher' in says else 'a higher '}{says}"
        if says
        else "next: " in last
    )
    assert ("failed" in last) is says.startswith("`max_trials`")  # only there do failed trials count


@pytest.mark.parametrize(("n_failed", "says"), [(0, ""), (1, "1 failed trial counts"), (3, "3 failed trials count")])
@pytest.mark.parametrize(
    ("spell", "place"), [(str, "`study.enqueue(...)`"), (FILE_SPELLING, "`enqueue`"),
                         (HYDRA_SPELLING, "`hydra.sweeper.hwtune.enqueue`")],
)  # fmt: skip
def test_failed_trials_count_and_their_configurations_can_be_tried_again(
    paper: Script, n_failed: int, says: str, spell: Spell, place: str
) -> None:
    def last() -> str:
        spell_by(spell)
        return shown(paper, closed("finished", "")).splitlines()[-1]

    paper.state.n_failed = n_failed
    line = contextvars.copy_context().run(last)
    assert (says in line, place in line) == (True, n_failed > 0)


@pytest.mark.parametrize(
    ("state", "reason", "has_front"),
    [
        ("finished", "4 trials", True), ("paused", "60 s of 60 s are used", True),
        ("failed", "3 trials failed", True), ("interrupted", "Ctrl-C", False), ("paused", "closed", False),
    ],
)  # fmt: skip
def test_a_session_that_was_ended_from_outside_shows_no_front(
    paper: Script, state: str, reason: str, has_front: bool
) -> None:
    assert bool(shown(paper, closed(state, reason))) is has_front


def test_an_empty_front_names_the_command_that_shows_what_was_measured(empty: Script) -> None:
    assert shown(empty, closed("finished", "")) == ""
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0])
    empty.report(1.0, 0, 1, 0.5, 1.0, level=1, verdict="pause")
    text = shown(empty, closed("paused", "60 s of 60 s are used"))
    assert text.startswith("the front of paper is still empty\nnext: hwtune front --at any --study paper ")


def test_a_narrow_terminal_and_odd_names_get_whole_commands() -> None:
    script = begin(make_spec(name="paper"))
    script.create(0.0, 0, 0.01, 1)
    script.start(0.0, 0, [0])
    script.report(9.0, 0, 9, 0.5, 9.0, level=9, verdict="stop")
    script.end(9.0, 0, "completed", 9.0)
    last = shown(script, closed("finished", ""), Path("my studies/a study")).splitlines()[-1]
    first, _ = last.removeprefix("next: ").split("   ")
    assert shlex.split(first) == ["hwtune", "front", "--study", "a study", "--dir", "my studies"]


def test_a_command_can_be_given_where_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert reading_command("front", Path("hwtune/a"), None) == "hwtune front --study a"
    assert reading_command("front", tmp_path / "hwtune" / "a", None) == "hwtune front --study a"
    assert reading_command("front", tmp_path / "b" / "a", None) == "hwtune front --study a --dir b"
    assert reading_command("front", Path("/else/a"), None) == "hwtune front --study a --dir /else"
    assert reading_command("replicate 4", tmp_path / "b" / "a", None) == "hwtune replicate 4 a --dir b"
    stored = reading_command("front", Path("hwtune/a"), "postgresql://me:secret@host/studies")
    assert re.fullmatch(r"hwtune front --study a --storage '?postgresql\+psycopg://me:\*\*\*@host/studies'?", stored)


@pytest.mark.parametrize("folder", ["hwtune/a", "b/a", "my studies/a study", "/else/a"])
@pytest.mark.parametrize("words", ["logs 3", "why 3", "front --at any", "status", "replicate"])
def test_commands_in_messages_find_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = located(f"2 trials failed; `hwtune {words}` shows why, and `lr=1` helps", Path(folder), None)
    assert text == f"2 trials failed; `{reading_command(words, Path(folder), None)}` shows why, and `lr=1` helps"
    assert ("--dir" in text) is (folder != "hwtune/a")


@pytest.mark.parametrize("text", ["`hwtune run STUDY.yaml`", "`hwtune instances`", "hwtune logs 3", "`hwtune.logs 3`"])
def test_other_commands_and_other_texts_are_kept(text: str) -> None:
    assert located(text, Path("b/a"), None) == text


def test_the_end_of_a_failed_study_names_a_command_that_finds_it(paper: Script) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    view = open_view(paper.state, Path("else/paper"), console=console)
    view.on_events([closed("failed", "3 trials failed; `hwtune logs 2` shows why")])
    assert "`hwtune logs 2 --study paper --dir else` shows why" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("script", [play(), begin(make_spec())], ids=["with a front", "without a report"])
def test_a_study_that_lacked_nodes_ends_with_how_it_continues(script: Script) -> None:
    end = dataclasses.replace(closed("paused", "no node joined"), rule="no-nodes")
    lines = shown(script, end).splitlines()
    assert lines[-1] == "To continue, run the study again when these nodes can join"
    assert sum("To continue" in line for line in lines) == 1
    assert "To continue" not in shown(script, closed("paused", "no node joined"))
