from __future__ import annotations

import io
import itertools
import math
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from paper_study import begin, make_spec, play
from rich.console import Console

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import ASHA, RunToEnd
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.views.announcements import announce, checked, totals
from lightning_hwtune.views.forecast import Countdown, checked_pace, time_left_s
from lightning_hwtune.views.live import LinesView, PanelView, QuietView, open_view
from lightning_hwtune.views.status import status_entry
from lightning_hwtune.views.terminal import status_table

FOLDER = Path("hwtune/paper")
_FEW = (
    "note: a ladder from 1 to 9 epochs is long for 4 trials on 2 workers: nothing is trained to the end for a long "
    "time. `first_rung=3` has fewer rungs"
)
_FORECAST = r"forecast: about [234]\d s left on this pool, start-ups of segments included; \d\d s in all with the check"
CHECK = SimpleNamespace(
    num_devices=1, logged=("error", "loss"), epoch_s=2.0, checkpoint_bytes=400_000, wall_s=3.1, notes=("a note",),
    gpu_bytes=0, units_s={1: 2.0}, startup_s=0.1, warm_up_s=0.0, imports=(),
)  # fmt: skip


class Tty(io.StringIO):
    def isatty(self):
        return True


def screen(*, is_terminal, width=100, environ=None):
    environ = {"TERM": "xterm", **(environ or {})}
    return Console(
        file=Tty() if is_terminal else io.StringIO(),
        width=width,
        height=40,
        force_terminal=is_terminal,
        _environ=environ,
    )


def watch(view_of, script):
    """Lets a view see a study as a session shows it: each event once it is in the state."""
    again = begin(make_spec())
    view = view_of(again.state)
    log = script.log[2:]
    while log:
        n = 2 if isinstance(log[0], ev.TrialCreated) else 1
        if isinstance(log[0], ev.SessionClosed):
            view.close(log[0].at)
        for event in log[:n]:
            again.state.apply(event)
        view.on_events(log[:n])
        view.tick(log[0].at)
        del log[:n]
    return view


def test_a_check_on_a_gpu_shows_its_memory():
    facts = SimpleNamespace(**{**vars(CHECK), "gpu_bytes": 3_500_000_000})
    assert ", 3.5 GB of GPU memory per device" in str(next(checked(begin(make_spec()).state, facts)))
    assert "GPU" not in str(next(checked(begin(make_spec()).state, CHECK)))


def test_the_view_follows_where_the_output_goes(empty):
    assert isinstance(open_view(empty.state, FOLDER, enabled=False), QuietView)
    assert isinstance(open_view(empty.state, FOLDER, console=screen(is_terminal=True)), PanelView)
    assert isinstance(open_view(empty.state, FOLDER, console=screen(is_terminal=False)), LinesView)
    dumb = screen(is_terminal=True, environ={"TERM": "dumb"})
    assert isinstance(open_view(empty.state, FOLDER, console=dumb), LinesView)
    coloured_file = Console(file=io.StringIO(), _environ={"TERM": "xterm", "FORCE_COLOR": "1"})
    assert isinstance(open_view(empty.state, FOLDER, console=coloured_file), LinesView)


def test_the_lines_of_the_paper_study():
    console = screen(is_terminal=False)
    watch(lambda state: LinesView(state, FOLDER, console), play())
    lines = console.file.getvalue().splitlines()
    left = [line for line in lines if " left" in line]  # at the end of the first segment, and about ten seconds later
    assert [line[:12].strip() for line in left] == ["1.2 s", "12 s"]
    assert re.search(
        r" 2 of 4 trials · 0 fully trained · 1.2 s so far, about \d+ s left · 1 epoch \(3 % of the 36 for",
        left[0],
    )
    lines = [line for line in lines if line not in left]
    end = next(number for number, line in enumerate(lines) if "is finished" in line)
    assert lines[end + 1].rstrip() == "front of paper, fully trained trials"  # see test_report_closing.py
    assert lines[: end + 1] == [
        "         0 s  trial 0 starts on 1 device: lr=0.01, devices=1",
        "         0 s  trial 1 starts on 1 device: lr=0.02, devices=1",
        "         1 s  trial 0 pauses at epoch 1: error 0.5, train_s 1, cost_usd 0.001; rank 1 of 1 at rung 1; "
        "none continues yet",
        "       1.2 s  trial 1 pauses at epoch 1: error 0.4, train_s 1, cost_usd 0.001; rank 1 of 2 at rung 1; "
        "none continues yet",
        "         2 s  trial 2 starts on 2 devices: lr=0.03, devices=2",
        "       2.8 s  trial 2 pauses at epoch 1: error nan, train_s 0.8, cost_usd 0.0016; a loss is not finite",
        "         3 s  trial 1 resumes at epoch 1 on 1 device: rank 1 of 3 at rung 1; the first continues",
        "         5 s  trial 1 continues at rung 3: error 0.3, train_s 3, cost_usd 0.003; rank 1 of 1 at rung 3; "
        "none continues yet",
        "         7 s  trial 1 will be retried: ValueError: boom",
        "         7 s  trial 1 resumes at epoch 1 on 1 device: its training to epoch 9 was interrupted",
        "         7 s  trial 0 resumes at epoch 1 on 1 device: first of the trials that rung 1 did not promote; "
        "number 1 of 2 to be trained to the end",
        "       7.1 s  trial 1: min_epochs=5 was lifted",
        "        11 s  trial 0 is complete at epoch 9, error 0.25, train_s 5, cost_usd 0.005",
        "        16 s  trial 1 is complete at epoch 9, error 0.2, train_s 9, cost_usd 0.009",
        "        16 s  trial 3 starts on 2 devices: lr=0.04, devices=2",
        "        17 s  trial 3 will be retried: ValueError: boom",
        "        17 s  trial 3 starts again from scratch on 2 devices: its training to epoch 1 was interrupted",
        "        18 s  trial 3 failed: killed by signal 9",
        "        20 s  study paper is finished (4 trials): 4 of 4 trials · 2 fully trained · 20 s · 22 epochs, "
        "3 repeated (53 % of the 36 for full training) · 0.025 USD · 1 failed",
    ]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_no_line_is_left_out_however_many_come_at_once(is_terminal):
    console = screen(is_terminal=is_terminal)
    view = LinesView(begin(make_spec()).state, FOLDER, console)
    for number in range(40):
        view.on_events([ev.Noted(at=number / 1000, trial_id=None, text=f"quiet {number}")])
    shown = [line.partition(" s  ")[2] for line in console.file.getvalue().splitlines()]
    assert shown == [f"quiet {number}" for number in range(40)]


@pytest.mark.parametrize(("most", "says"), [(4, False), (3, False), (2, True)])
def test_a_limit_below_the_trials_that_have_begun_is_noted_once(most, says):
    script = begin(make_spec(), max_trials=most)
    for number in range(3):
        script.create(0.0, number, 0.01, 1)
    for is_over in (False, True):
        console = screen(is_terminal=False)
        LinesView(script.state, FOLDER, console).header(None, is_checked=True, is_over=is_over)
        note = "note: `max_trials` is 2, below the 3 trials that have begun: no new trial begins"
        assert console.file.getvalue().splitlines().count(note) == says
    assert totals(script.state, 1.0).startswith("3 trials (limit 2) · " if says else f"3 of {most} trials · ")


def test_before_anything_trains_the_folder_the_limits_and_the_rungs_are_told(empty):
    console = screen(is_terminal=False)
    view = LinesView(empty.state, FOLDER, console)
    view.header(SimpleNamespace(n_bytes=2_000_000_000, largest=("frame", 1_999_000_000)), is_checked=True)
    view.checked(CHECK)
    text = console.file.getvalue().splitlines()
    assert text[0] == "study paper in hwtune/paper"
    assert text[1] == (
        "objectives: error (min), train_s (min), cost_usd (min); 2 parameters; pool of 2 cpu devices at 3.60 USD an "
        "hour each"
    )
    assert text[2] == "limits: 4 trials (0 begun, 4 to go)"
    # 4 + 1 x 2, and two finishers: one from 3 to 9, one from 1 to 9
    assert text[9].startswith("finishers: the best trials that no rung promoted train to the end, until 2 trials are")
    assert text[10] == (
        "expected: at least 2 fully trained trials and 20 epochs, 56 % of the 36 for full training; less if trials end "
        "early"
    )
    assert text[11].startswith("the training function carries 2 GB, most of it `frame` (2 GB)")
    assert text[12] == "checked in 3.1 s: logs error, loss, 2 s an epoch on 1 device, checkpoints of 400 kB"
    assert text[13] == _FEW
    assert re.fullmatch(_FORECAST, text[14])
    left_s, whole_s = map(float, re.findall(r"([\d.]+) s (?:left|in all)", text[14]))
    assert whole_s == pytest.approx(left_s + CHECK.wall_s, abs=1.0)  # one base: the time of the study
    assert text[15] == "note: a note"


@pytest.mark.parametrize(("most", "low_s", "high_s"), [(None, 600, 1500), (1, 4000, 5600), (4, 1200, 2000)])
def test_the_forecast_counts_the_devices_that_train_at_one_time(most, low_s, high_s):
    spec = make_spec(
        pool=Pool("cpu", 8, usd_per_device_hour=1.0),
        scheduler=RunToEnd(max_epochs=10),
        space=SearchSpace(lr=Float(1e-3, 1e-1)),
        objectives=Objectives([Metric("error", "min")]),
    )
    state = begin(spec, max_trials=8, max_parallel=most).state
    pace = checked_pace(SimpleNamespace(**{**vars(CHECK), "units_s": {1: 60.0}}))
    assert low_s < time_left_s(state, state.last_at, pace) < high_s


def played_until(at):
    """Returns the paper study as it stands at a time, its session still open."""
    script = begin(make_spec())
    for event in play().log[2:]:
        if event.at <= at:
            script.add(event)
    return script


@pytest.mark.parametrize(("at", "is_forecast"), [(0.0, False), (1.15, True), (6.0, True), (16.0, True), (18.0, False)])
def test_a_study_that_goes_on_begins_with_a_forecast_as_long_as_there_is_something_to_do(at, is_forecast):
    console = screen(is_terminal=False)
    LinesView(played_until(at).state, FOLDER, console).header(None, is_checked=False)
    lines = [line for line in console.file.getvalue().splitlines() if line.startswith("forecast: about")]
    assert len(lines) == is_forecast


@pytest.mark.parametrize(
    ("left_s", "pauses_s"),
    [(1e6, [60, 60]), (math.nan, [60, 60]), (300.0, [30, 27]), (60.0, [10, 10]), (0.0, [10, 10])],
)
def test_what_is_left_comes_with_the_first_segment_that_ended_and_then_after_a_tenth_of_it(left_s, pauses_s):
    console, script = screen(is_terminal=False), played_until(1.15)
    view = LinesView(script.state, FOLDER, console)
    view._countdown = SimpleNamespace(left_s=lambda now: max(left_s - (now - 1.2), 0.0) if left_s == left_s else left_s)
    for second in range(100):
        view.tick(second / 100)
    assert not console.file.getvalue()
    ended = play().log[[type(event) for event in play().log].index(ev.SegmentEnded)]
    script.add(ended)
    view.on_events([ended])
    times = []
    for second in range(200):
        before = console.file.tell()
        view.tick(1.2 + second)
        if console.file.tell() > before:
            times.append(second)
    assert times[0] == 0
    assert [after - before for before, after in itertools.pairwise(times)][:2] == pauses_s


def test_a_countdown_is_redone_seldom_and_the_more_seldom_the_longer_it_takes():
    script, times = played_until(1.3), itertools.count()
    countdown = Countdown(script.state, clock=lambda: next(times) * 0.5)  # half a second each
    first = countdown.left_s(2.0)
    assert countdown.left_s(3.0) == pytest.approx(first - 1.0)
    script.add(ev.SessionClosed(at=20.0, state="finished", reason="", wall_s=20.0))
    runs_out_at = 2.0 + first
    assert 8.0 < runs_out_at < 27.0
    assert countdown.left_s(runs_out_at - 0.1) == pytest.approx(0.1)
    assert next(times) == 2
    countdown.left_s(runs_out_at)  # it has run out: more than 10 x 0.5 s after it was made
    assert next(times) == 5
    countdown.left_s(runs_out_at + 4.9)
    assert next(times) == 6
    countdown.left_s(runs_out_at + 25.0)  # 50 x 0.5 s later
    assert next(times) == 9


def test_what_is_almost_done_has_no_number():
    state = played_until(1.3).state
    assert " so far, almost done · " in totals(state, state.last_at, 0.4)
    assert " so far, about 1 s left · " in totals(state, state.last_at, 1.0)


def test_limits_are_told_with_what_is_used_of_them():
    script = begin(make_spec(), max_trials=None, max_time_s=600.0, max_cost_usd=2.0)
    script.create(0.0, 0, 0.01, 1)
    script.start(0.0, 0, [0])
    script.end(60.0, 0, "waiting", 0.0, "interrupted")
    console = screen(is_terminal=False)
    LinesView(script.state, FOLDER, console).header(None, is_checked=False)
    [line] = [line for line in console.file.getvalue().splitlines() if line.startswith("limits")]
    assert line == "limits: 10 min 00 s in all (1 min 00 s used), 2.00 USD in all (0 USD spent)"


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"max_time_s": 700.0}, "about 6 models can be fully trained; one takes about 3 min"),
        ({"max_time_s": 100.0}, "no model can be fully trained; one takes about 3 min"),
        ({"max_cost_usd": 0.12}, "about 2 models can be fully trained; one takes about 3 min"),
        ({"max_time_s": 700.0, "max_cost_usd": 0.01}, "no model can be fully trained"),
        ({}, ""),
    ],
)
def test_a_check_tells_how_many_models_the_limits_allow(limits, says):
    """A full training takes 9 epochs of 20 s; the pool has two devices at 1 USD an hour."""
    spec = make_spec(
        space=SearchSpace(lr=Float(1e-3, 1e-1)),
        objectives=Objectives([Metric("error", "min")]),
        scheduler=RunToEnd(max_epochs=9),
        pool=Pool("cpu", 2, usd_per_device_hour=1.0),
    )
    facts = SimpleNamespace(**{**vars(CHECK), "units_s": {1: 20.0}, "startup_s": 0.0, "wall_s": 10.0})
    state = begin(spec, max_trials=None, **limits).state
    text = [str(line) for line in checked(state, facts)]
    found = [line for line in text if line.startswith("within the rest of the limits, ")]
    assert [says in line for line in found] == [True] * bool(says)


def test_a_check_without_a_known_epoch_length_forecasts_nothing(empty):
    console = screen(is_terminal=False)
    LinesView(empty.state, FOLDER, console).checked(
        SimpleNamespace(**{**vars(CHECK), "epoch_s": math.nan, "units_s": {1: math.nan}})
    )
    assert console.file.getvalue() == (
        f"checked in 3.1 s: logs error, loss, checkpoints of 400 kB\n{_FEW}\nnote: a note\n"
    )  # fmt: skip


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_the_panel_shows_totals_running_segments_and_the_front(paper):
    script = paper
    script.create(21.0, 4, 0.05, 1)
    script.start(21.0, 4, [1])
    console = screen(is_terminal=True, width=80)
    view = PanelView(script.state, FOLDER, console)
    view.tick(23.0)
    view.close(23.0)
    rows = [line.rstrip() for line in plain(console.file.getvalue()).splitlines()]
    assert re.match(r"5 trials \(limit 4\) · 2 fully trained · 20 s so far, [^·]* · 22 epochs, 3 ", rows[1])
    assert rows[2].split() == [
        "trial",
        "devices",
        "epochs",
        "of",
        "time",
        "error",
        "train_s",
        "cost_usd",
        "configuration",
    ]
    assert rows[3].split() == ["4", "cpu", "1", "0", "1", "2", "s", "lr=0.05"]
    assert rows[4] == "front of 2 points, fully trained"
    assert rows[6].split() == ["1", "1", "device", "0.2", "9", "0.009", "lr=0.02"]
    assert rows[7].split() == ["0", "1", "device", "0.25", "5", "0.005", "lr=0.01"]
    assert all(len(row) <= 80 for row in rows)


def test_the_panel_is_drawn_at_most_four_times_a_second(empty):
    console = screen(is_terminal=True)
    view = PanelView(empty.state, FOLDER, console)
    for i in range(100):
        view.tick(i / 50)
    view.close(2.0)
    assert plain(console.file.getvalue()).count("0 of 4 trials") <= 9


def test_errors_and_the_end_are_printed_beside_the_panel():
    console = screen(is_terminal=True)
    watch(lambda state: PanelView(state, FOLDER, console), play())
    text = plain(console.file.getvalue())
    assert "trial 3 failed: killed by signal 9" in text
    end = text.index("study paper is finished (4 trials): 4 of 4 trials")
    assert text.index("front of paper, fully trained trials") > end > text.index("trial 3 failed")
    assert console.file.getvalue().count("\x1b[?25l") == console.file.getvalue().count("\x1b[?25h") == 1


def test_long_names_are_cut():
    console = screen(is_terminal=True, width=60)
    script = begin(make_spec(name="n" * 200))
    script.create(0.0, 0, 0.01, 1)
    script.start(0.0, 0, [0])
    view = PanelView(script.state, FOLDER, console)
    view.tick(1.0)
    view.close(1.0)
    assert all(len(line) <= 60 for line in plain(console.file.getvalue()).splitlines())


def test_no_color_is_honoured():
    colourful, plain_one = (screen(is_terminal=True, environ=env) for env in ({}, {"NO_COLOR": "1"}))
    for console in (colourful, plain_one):
        PanelView(begin(make_spec()).state, FOLDER, console).header(
            SimpleNamespace(n_bytes=1_000_000_000, largest=None), is_checked=True
        )
    assert "\x1b[33m" in colourful.file.getvalue()
    assert "\x1b[33m" not in plain_one.file.getvalue()


CLOSED_PIPE = "read, gone = os.pipe(); os.close(read)"
FULL_DISK = "gone = os.open('/dev/full', os.O_WRONLY)"
HUNG_UP = "pty, gone = os.openpty(); os.close(pty)"
BROKEN = """
import os, sys
{break_it}
os.dup2(gone, 1)
sys.path.insert(0, {folder!r})
from test_report_live import *
console = Console(force_terminal={is_terminal}, _environ={{"TERM": "xterm"}})
kind = PanelView if {is_terminal} else LinesView
watch(lambda state: kind(state, FOLDER, console), play())
print("survived", file=sys.stderr, flush=True)
os._exit(0)  # the interpreter would complain of what is left to be printed
"""


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize("break_it", [CLOSED_PIPE, FULL_DISK, HUNG_UP], ids=["pipe", "disk", "terminal"])
def test_a_study_survives_an_output_that_goes_away(is_terminal, break_it):
    code = BROKEN.format(folder=str(Path(__file__).parent), is_terminal=is_terminal, break_it=break_it)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "survived\n")


def test_a_signal_that_ends_the_process_while_something_is_printed_still_ends_it(empty):
    class Signalled(io.StringIO):
        def write(self, text):
            raise SystemExit(143)

    console = Console(file=Signalled(), force_terminal=False)
    with pytest.raises(SystemExit):
        LinesView(empty.state, FOLDER, console).header(None, is_checked=False)


def test_a_study_that_continues_forecasts_after_its_imports_and_one_that_asks_says_what_is_missing(empty):
    played, continued = play(), begin(make_spec(), max_trials=8)
    for event in played.log[2:-1]:
        continued.state.apply(event)

    def lines(state, *, imports_s=None, is_checked=False):
        console = screen(is_terminal=False)
        view = LinesView(state, FOLDER, console)
        view.header(None, is_checked=is_checked, is_importing=imports_s is not None)
        n_lines = len(console.file.getvalue().splitlines())
        if imports_s is not None:
            view.imported(state.last_at + imports_s)
        found = console.file.getvalue().splitlines()
        return found[n_lines - 1], found[n_lines:]

    unknown = "no check and no forecast before the first trial"
    assert [lines(empty.state, is_checked=is_checked)[0].startswith(unknown) for is_checked in (False, True)] == [1, 0]
    now, [] = lines(continued.state)
    assert re.match(r"forecast: about \d+ s left on this pool", now)
    waiting, [later] = lines(continued.state, imports_s=100.0)
    assert waiting == "importing the training's libraries before the first trial; usually some seconds ..."

    def seconds(text):
        left, number, unit = re.fullmatch(r".* about (.*) left on .*; (\d+) (s|min .*) in all", text).groups()
        return left, float(number) * (1 if unit == "s" else 60)

    assert seconds(later)[0] == seconds(now)[0]  # the imports are over, so what is left is the same
    assert seconds(later)[1] - seconds(now)[1] == pytest.approx(100.0, abs=60.0)  # but the whole study takes longer


@pytest.mark.parametrize(
    ("max_trials", "shown"), [(4, "(53 % of the 36 for"), (8, "(26 % of the 72 for"), (None, "repeated · ")]
)
def test_the_share_of_full_training_has_a_base_that_does_not_move(max_trials, shown):
    played, limited = play(), begin(make_spec(), max_trials=max_trials, max_time_s=60.0)
    shares = []
    for event in played.log[2:-1]:
        limited.state.apply(event)
        shares += re.findall(r"% of the (\d+) for full training", totals(limited.state, limited.state.last_at))
    assert shown in totals(limited.state, limited.state.last_at)
    assert len(set(shares)) == (max_trials is not None)


# ---------------------------------------------------------------------- later sessions


def later_session(state, at):
    limits = state.limits.to_dict()
    state.apply(ev.SessionOpened(at=at, limits=limits, host="host", pid=2, version="0"))


def first_lines(state, *, is_checked=True, chosen=None):
    """Returns what is printed before the first trial of a session, which may choose its ladder, as a run does."""
    console = screen(is_terminal=False)
    view = LinesView(state, FOLDER, console)
    if not is_checked and chosen is not None:
        state.apply(chosen)
    view.header(None, is_checked=is_checked)
    if is_checked and chosen is not None:
        state.apply(chosen)
    if is_checked:
        view.checked(CHECK)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("is_checked", [True, False])
def test_the_ladder_and_the_rungs_are_printed_once_by_the_session_that_chose_it(is_checked):
    state = begin(make_spec(scheduler=ASHA(9)), max_trials=8).state
    settings = {"first_rung": 3, "brackets": 1}
    chosen = ev.LadderChosen(
        at=0.0, settings=settings, n_to_end=4, facts={}, reason="first_rung=3, chosen for 9 epochs; the first 4 ..."
    )
    lines = first_lines(state, is_checked=is_checked, chosen=chosen)
    assert [line for line in lines if line.startswith("ladder: ")] == ["ladder: first_rung=3, chosen for 9 epochs"]
    assert [line.rstrip() for line in lines].count("rungs of 8 trials") == 1
    later_session(state, 10.0)  # it was interrupted before its first trial
    lines = first_lines(state, is_checked=is_checked)
    assert not any(line.startswith("ladder: ") for line in lines)
    assert [line.rstrip() for line in lines].count("rungs of 8 trials") == 1


def test_the_weaknesses_of_a_ladder_are_noted_only_before_the_first_trial(empty):
    assert _FEW in first_lines(empty.state)
    empty.create(0.0, 0, 0.01, 1)
    assert _FEW not in first_lines(empty.state, is_checked=False)


@pytest.mark.parametrize("view_of", [LinesView, PanelView])
def test_a_study_with_nothing_left_to_do_prints_its_folder_and_no_plan(view_of, paper):
    console = screen(is_terminal=False)
    view_of(paper.state, FOLDER, console).header(
        SimpleNamespace(n_bytes=10**9, largest=None), is_checked=True, is_over=True
    )
    [first, *notes] = console.file.getvalue().splitlines()
    assert first == "study paper in hwtune/paper"
    assert all("this folder lacks" in note for note in notes)


@pytest.mark.parametrize(
    ("saved", "reached", "says", "is_urgent"),
    [
        (0, 0, "start from scratch", False),
        (0, 1, "start from scratch; epoch 1 is trained again. `save_every=1` saves each epoch", True),
        (0, 4, "start from scratch; epochs 1 to 4 are trained again. `save_every=1` saves each epoch", True),
        (3, 3, "continue from epoch 3", False),
        (3, 4, "continue from epoch 3; epoch 4 is trained again. `save_every=1` saves each epoch", True),
        (3, 7, "continue from epoch 3; epochs 4 to 7 are trained again. `save_every=1` saves each epoch", True),
    ],
)
def test_an_interrupted_trial_says_what_is_trained_again(empty, saved, reached, says, is_urgent):
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0], target=9)
    for epoch in range(1, reached + 1):
        empty.report(float(epoch), 0, epoch, 0.5, float(epoch), target=9)
        if epoch == saved:
            empty.save(float(epoch), 0, epoch, float(epoch))
    state = "paused" if saved else "waiting"
    empty.end(9.0, 0, state, 9.0, outcome="interrupted", error="ended by Ctrl-C")
    [line] = announce(empty.state, [empty.log[-1]])
    assert line.text == f"trial 0 is interrupted: ended by Ctrl-C; it will {says}"
    assert line.is_urgent is is_urgent


def test_ask_and_tell_is_advised_to_save_by_an_argument_of_ask(empty):
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [0], target=9)
    empty.report(1.0, 0, 1, 0.5, 1.0, target=9)
    empty.end(9.0, 0, "waiting", 9.0, outcome="interrupted", error="ended by Ctrl-C")
    console = screen(is_terminal=False)
    open_view(empty.state, FOLDER, console=console, owns_screen=False, is_asked=True).on_events([empty.log[-1]])
    line = console.file.getvalue()
    assert "it will start from scratch; epoch 1 is trained again. `study.ask(save_every=1)` saves each epoch" in line


def test_epochs_that_are_trained_again_are_named_and_no_part_of_full_training():
    script = begin(make_spec(), max_trials=1)
    script.create(0.0, 0, 0.01, 1)
    for reached in (4, 9):  # interrupted after 4 epochs, without a checkpoint
        script.start(0.0, 0, [0], target=9)
        for epoch in range(1, reached + 1):
            script.report(float(epoch), 0, epoch, 0.5, float(epoch), target=9)
        done = reached == 9
        script.end(9.0, 0, "completed" if done else "waiting", 9.0, outcome="done" if done else "interrupted")
    assert " · 13 epochs, 4 repeated (100 % of the 9 for full training)" in totals(script.state, 9.0)
    entry = status_entry(script.state, 9.0, 0, is_driven=False)
    assert (entry["epochs_spent"], entry["epochs_repeated"]) == (13, 4)
    console = screen(is_terminal=False)
    console.print(status_table(entry))
    assert "13, 4 repeated, 100 % of the 9 for full training" in console.file.getvalue()


def test_a_second_check_says_why_it_is_made(empty):
    console = screen(is_terminal=False)
    view = LinesView(empty.state, FOLDER, console)
    view.checking()
    empty.create(0.0, 0, 0.01, 1)  # interrupted before its first report
    view.checking()
    first, second = console.file.getvalue().splitlines()
    assert first.startswith("checking the training function on shortened epochs")
    assert second.startswith("no trial has reported yet, so the training function is checked again")


@pytest.mark.parametrize(
    ("n_trials", "max_trials", "says"),
    [(0, 4, "0 of 4 trials · "), (1, 1, "1 of 1 trial · "), (1, None, "1 trial · "), (3, None, "3 trials · ")],
)
def test_trials_are_counted_not_named(n_trials, max_trials, says):
    script = begin(make_spec(), max_trials=max_trials, max_time_s=60.0)
    for trial_id in range(n_trials):
        script.create(0.0, trial_id, 0.01, 1)
    assert totals(script.state, 1.0).startswith(says)
