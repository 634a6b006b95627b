from __future__ import annotations

import io
import math

import pandas as pd
import pytest
from rich.console import Console

import lightning_hwtune as hwt
from lightning_hwtune.core.schedulers import ASHA, RunToEnd
from lightning_hwtune.views.announcements import totals
from lightning_hwtune.views.status import status_entry
from lightning_hwtune.views.tables import front_frame, shown_trials, trials_frame
from lightning_hwtune.views.terminal import print_frame, rung_table, status_table


def screen(width=100, *, is_terminal=True):
    return Console(file=io.StringIO(), width=width, force_terminal=is_terminal, color_system=None, _environ={})


def lines(console):
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_rungs_as_a_table():
    console = screen(width=200)
    console.print(rung_table(ASHA(max_epochs=27), 60, 4))
    assert [line.split() for line in lines(console)[1:7]] == [
        ["epochs", "trials", "continue", "finishers"],
        ["─" * len(lines(console)[2])],
        ["1", "60", "20"],
        ["3", "20", "6"],
        ["9", "6", "2", "2"],
        ["27", "4", "end"],
    ]
    assert [line.rstrip() for line in lines(console)[7:]] == [
        "finishers: the best trials that no rung promoted train to the end, until 4 trials are fully trained",
        "expected: at least 4 fully trained trials and 208 epochs, 13 % of the 1620 for full training; less if trials "
        "end early",
    ]


@pytest.mark.parametrize(
    ("n_trials", "finishers", "to_end", "says"),
    [
        (
            8,
            3,
            4,
            ["the first 4 trials train to the end", "until 3 trials in addition to the first 4 are fully trained"],
        ),
        (9, 1, 1, ["the first trial trains to the end", "until 1 trial in addition to the first one is fully trained"]),
        (5, 3, 4, ["the first 4 trials train to the end", "until 1 trial in addition to the first 4 is fully trained"]),
        (4, 3, 4, ["every trial trains to the end without a pause"]),
        (3, 1, 4, ["every trial trains to the end without a pause"]),
        (9, 0, 0, []),
    ],
)
def test_the_lines_below_the_rungs_name_numbers_that_are_sure(n_trials, finishers, to_end, says):
    console = screen(width=200)
    console.print(rung_table(ASHA(max_epochs=9, first_rung=3), n_trials, finishers, to_end))
    *below, total = lines(console)[5:]
    assert [text in line for text, line in zip(says, below, strict=True)] == [True] * len(says)
    assert "for full training" in total


def test_rungs_without_finishers_have_no_column_for_them():
    console = screen(width=200)
    console.print(rung_table(ASHA(max_epochs=9, first_rung=3), 27, 0))
    assert lines(console)[1].split() == ["epochs", "trials", "continue"]


def test_a_single_rung_is_a_table_of_one_row():
    console = screen()
    console.print(rung_table(RunToEnd(max_epochs=2), 5, 4))
    assert lines(console)[3].split() == ["2", "5", "end"]
    assert lines(console)[4].startswith("expected: 5 fully trained trials and 10 epochs, 100 % of")


def test_trials_that_report_only_their_end_have_no_epochs(tmp_path):
    console = screen(width=200)
    console.print(rung_table(RunToEnd(max_epochs=1), 5))
    assert lines(console) == ["no rungs: every trial trains to its end (5 trials)"]
    scheduler = RunToEnd(max_epochs=1)
    study = hwt.Study("values", {"x": hwt.Float(0, 1)}, [hwt.Metric("value", "min")], scheduler=scheduler, dir=tmp_path)
    while (trial := study.ask(max_trials=2, progress=False)) is not None:
        trial.report(1, value=0.5)
        study.tell(trial)
    state = study.state()
    assert "epoch" not in totals(state, state.last_at)
    console.print(status_table(status_entry(state, state.last_at, 0)))
    assert "trials       2 of 2 begun, 0 to go (2 completed)" in lines(console)
    assert "epoch" not in console.file.getvalue()


@pytest.mark.parametrize(
    ("probability", "cell"), [(0.0, "<0.01"), (0.004, "<0.01"), (0.01, "0.01"), (0.94, "0.94"), (1.0, "1")]
)
def test_no_member_of_a_front_has_the_probability_zero(probability, cell):
    console = screen()
    print_frame(console, pd.DataFrame({"trial": [3], "probability": [probability]}))
    assert lines(console)[-1].split() == ["3", cell]


def test_a_frame_that_is_too_wide_goes_on_below_and_nothing_is_squeezed(paper):
    frame = front_frame(paper.state)
    console = screen(width=50)
    print_frame(console, frame, "front")
    text = console.file.getvalue()
    assert all(len(line) <= 50 for line in lines(console))
    assert "…" not in text
    headers = [line.split() for line in lines(console) if line.startswith("trial")]
    assert headers == [
        ["trial", "error", "train_s", "cost_usd", "lr"],
        ["trial", "devices", "epochs", "probability"],
        ["trial", "within_noise", "checkpoint"],
    ]
    assert text.count("trials/001/3.ckpt") == 1


def test_blocks_repeat_the_columns_that_tell_the_rows_apart(paper):
    console = screen(width=45)
    print_frame(console, front_frame(paper.state, "rung"))
    headers = [line.split()[:2] for line in lines(console) if line.startswith("rung")]
    assert len(headers) > 1
    assert all(header == ["rung", "trial"] for header in headers)


def test_a_file_gets_one_wide_table_and_the_console_keeps_its_width(paper):
    console = screen(width=40, is_terminal=False)
    print_frame(console, trials_frame(paper.state))
    header, _, *rows = lines(console)
    assert header.split() == list(trials_frame(paper.state).columns)
    assert len(rows) == 4
    assert console.width == 40


def test_cells(paper):
    frame = pd.DataFrame(
        {"trial": [0, 1], "loss": [math.nan, 0.123456], "partial": [True, False], "checkpoint": [None, "[red]x"]}
    )
    console = screen()
    print_frame(console, frame)
    assert [line.split() for line in lines(console)[2:]] == [["0", "nan", "yes"], ["1", "0.1235", "no", "[red]x"]]


def test_no_value_is_an_empty_cell_and_numbers_stay_on_the_right(paper):
    console = screen(200)
    print_frame(console, shown_trials(paper.state))
    rows = [line for line in lines(console) if line.strip() and line.split()[0].isdigit()]
    assert "nan" in rows[2]
    assert "nan" not in rows[3]
    frame = pd.DataFrame({"trial": [0, 1, 2], "loss": pd.Series([None, math.nan, 12.5], dtype=object)})
    console = screen()
    print_frame(console, frame)
    assert [line.rstrip() for line in lines(console)[2:]] == ["    0", "    1    nan", "    2   12.5"]


def test_status_in_words(paper):
    console = screen(width=140)
    console.print(status_table(status_entry(paper.state, 20.0, 4_000_000)))
    assert [line.split(maxsplit=1) for line in lines(console)] == [
        ["study", "paper"],
        ["state", "finished: 4 trials"],
        ["trials", "4 of 4 begun, 0 to go (1 paused, 2 completed, 1 failed)"],
        ["front", "2 points; 2 fully trained"],
        ["epochs", "22, 3 repeated, 53 % of the 36 for full training"],
        [
            "segments",
            "8, 0 running, 3 resumed from a checkpoint (1 after a promotion, 1 finisher, 1 after an interruption), "
            "on up to 2 ranks",
        ],
        ["promotions", "2, 1 of them without a pause"],
        ["errors", "1 trial failed, 2 segments retried"],
        ["time", "20 s; 25 s of device time, 16 s of it useful"],
        ["cost", "0.025 USD billed, 0.016 USD useful"],
        ["checkpoints", "4 MB"],
    ]


def test_status_before_anything_was_trained(empty):
    console = screen()
    console.print(status_table(status_entry(empty.state, 0.0, 0)))
    assert "trials       0 of 4 begun, 4 to go" in lines(console)
    assert "epochs       0, 0 % of the 36 for full training" in lines(console)


def test_failures_are_cut_and_paths_are_folded():
    path = "/a" * 60 + ".ckpt"
    frame = pd.DataFrame({"trial": [3], "failure": ["x" * 100], "checkpoint": [path]})
    console = screen(width=70)
    print_frame(console, frame)
    text = console.file.getvalue()
    assert "x" * 59 + "…" in text
    assert path in "".join(line[5:].strip() for line in lines(console))


@pytest.mark.parametrize("is_terminal", [True, False])
def test_no_line_of_a_table_ends_with_blanks(is_terminal):
    console = Console(file=io.StringIO(), width=200, force_terminal=is_terminal, color_system=None)
    frame = pd.DataFrame(
        {"trial": [3, 12], "lr": [0.1, 0.001], "within_noise": [True, False], "checkpoint": ["a", "ü中" * 5]}
    )
    print_frame(console, frame, "a title")
    console.print(rung_table(ASHA(max_epochs=27), 60, 4))
    shown = console.file.getvalue().splitlines()
    assert [line for line in shown if line != line.rstrip()] == []
    assert "a title" in shown[0]
    assert any(line.endswith("ü中" * 5) for line in shown)
