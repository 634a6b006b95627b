"""The tracebacks that users see: the lines of their code, without the frames of this package and of Lightning."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.errors import HwTuneError, IllegalMoveError, first_line
from lightning_hwtune.forms.calls import checked_call
from lightning_hwtune.tracebacks import own_lines

OURS = str(Path(hwt.__file__).parent)
SITE = "/env/lib/python3.11/site-packages"


def _frame(file: str, code: str = "call()") -> str:
    return f'  File "{file}", line 3, in run\n    {code}\n    ^^^^^^'


def _traceback(*files: str, error: str = "ValueError: no") -> str:
    return "\n".join(["Traceback (most recent call last):", *map(_frame, files), error])


def test_frames_of_this_package_and_of_lightning_are_counted() -> None:
    text = _traceback(
        f"{OURS}/training/segment_end.py", "train.py", f"{OURS}/training/trial.py",
        f"{SITE}/lightning/pytorch/trainer/trainer.py", f"{SITE}/torch/optim/sgd.py", "net.py",
    )  # fmt: skip
    assert own_lines(text) == "\n".join(
        [
            "Traceback (most recent call last):",
            "  [1 frame of lightning_hwtune left out]",
            _frame("train.py"),
            "  [3 frames of lightning_hwtune, lightning and torch left out]",
            _frame("net.py"),
            "ValueError: no",
        ]
    )
    assert first_line(own_lines(text)) == first_line(text) == "ValueError: no"


@pytest.mark.parametrize(
    ("last", "kept"),
    [(f"{SITE}/torch/nn/linear.py", True), (f"{SITE}/darts/models.py", True), (f"{OURS}/training/trial.py", False)],
)
def test_the_frame_that_raised_is_kept_unless_it_is_ours(last: str, kept: bool) -> None:
    shown = own_lines(_traceback("train.py", f"{SITE}/torch/a.py", last))
    assert (last in shown) is kept
    assert f"{SITE}/torch/a.py" not in shown


def test_frames_of_other_libraries_are_kept() -> None:
    text = _traceback(f"{SITE}/darts/fit.py", f"{SITE}/torch_geometric/a.py", "/home/me/lightning/train.py")
    assert own_lines(text) == text


def test_each_part_of_a_chain_and_repeated_lines_are_handled() -> None:
    chain = "\n\nThe above exception was the direct cause of the following exception:\n\n"
    first = _traceback(f"{OURS}/a.py", "a.py").replace(
        "    ^^^^^^\nV", "    ^^^^^^\n  [Previous line repeated 9 times]\nV"
    )
    shown = own_lines(first + chain + _traceback("<frozen runpy>", f"{SITE}/hydra/main.py", "b.py", error="OSError: e"))
    assert shown.count("left out]") == 2
    assert "[2 frames of Python and hydra left out]" in shown
    assert "Previous line repeated 9 times" in shown
    assert chain in shown
    assert OURS not in shown


@pytest.mark.parametrize(
    "text", ["", "rank 0 was killed by SIGKILL", "ValueError: a\n  b\n    c", "  File not a frame"]
)
def test_other_texts_are_unchanged(text: str) -> None:
    assert own_lines(text) == text


def test_a_real_traceback_of_a_deep_recursion_keeps_its_count() -> None:
    def deep(n: int) -> None:
        deep(n + 1)

    try:
        deep(0)
    except RecursionError:
        text = traceback.format_exc().rstrip()
    assert own_lines(text) == text
    assert "Previous line repeated" in text


# ---------------------------------------------------------------------- errors of public calls


WRONG_CALLS = {
    "misspelt": "hwt.ASHA(max_epoch=4)",
    "value": "hwt.Float(3, 1)",
    "nested": 'hwt.Study("a/b", hwt.SearchSpace(x=hwt.Float(0, 1)), [hwt.Metric("e", "min")], max_epochs=4)',
    "run": 'hwt.Study("s", hwt.SearchSpace(x=hwt.Float(0, 1)), [hwt.Metric("e", "min")], max_epochs=4).run(print)',
    "stored": 'hwt.Study.load("never")',
}


def test_a_wrong_call_in_a_script_shows_the_line_and_the_message_only(tmp_path: Path) -> None:
    (tmp_path / "calls.py").write_text(
        "import sys, lightning_hwtune as hwt\n"
        + "".join(f"if sys.argv[1] == {name!r}:\n    {call}\n" for name, call in WRONG_CALLS.items())
    )
    names = ("misspelt", "run")  # each takes a second for its imports
    for name in names:
        done = subprocess.run([sys.executable, "calls.py", name], cwd=tmp_path, capture_output=True, text=True)
        frames = [line for line in done.stderr.splitlines() if line.startswith("  File ")]
        assert ["calls.py" in frame for frame in frames] == [True], done.stderr
        assert done.stderr.splitlines()[-1].startswith("lightning_hwtune.errors.")
        assert done.returncode == 1


@pytest.mark.parametrize("call", WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_an_error_of_a_wrong_call_has_no_frame_of_ours(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HwTuneError) as caught:
        eval(call, {"hwt": hwt})
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert files == [__file__, "<string>"]


def test_an_error_that_passed_through_user_code_keeps_its_lines() -> None:
    """Such as `trial["lrr"]` in a hook of a module, which Lightning calls inside `trial.fit`."""

    @checked_call("Study.name")
    def fit(callback: Callable[[], Any]) -> None:
        callback()

    with pytest.raises(HwTuneError) as caught:
        fit(lambda: hwt.Float(3, 1))
    assert "<lambda>" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_a_bug_keeps_its_frames() -> None:
    @checked_call("Study.name")
    def broken() -> None:
        raise IllegalMoveError("a bug")

    with pytest.raises(IllegalMoveError) as caught:
        broken()
    assert "broken" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
