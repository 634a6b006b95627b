"""Files that are not a configuration are refused at once, with the file's name, by every command that reads one."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lightning_hwtune.cli.commands import app
from lightning_hwtune.host.text_files import MAX_BYTES, read_text
from lightning_hwtune.settings import StudySettings

GOOD = """\
study: digits
train: json:dumps
space: {lr: {type: float, low: 1e-4, high: 1e-1}}
objectives: [{metric: error, mode: min}]
max_epochs: 9
"""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcd", "bcde", strict=True)
)


def _written(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


FILES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "comments without an end": _written(GOOD.encode() + b"# x\n" * (MAX_BYTES // 4)),
    "a number without an end": _written(GOOD.encode() + b"seed: " + b"9" * 900_000),
    "a list without an end": _written(GOOD.encode() + b"preload: [" + b"a," * 100_000 + b"a]"),
    "aliases of aliases": _written((GOOD + BOMB).encode()),
    "compressed": _written(gzip.compress(GOOD.encode())),
    "UTF-16": _written(GOOD.encode("utf-16")),
    "two documents": _written((GOOD + "---\n" + GOOD).encode()),
    "a key twice": _written((GOOD + "seed: 1\nseed: 2\n").encode()),
    "a tag of Python": _written((GOOD + "seed: !!python/object/apply:os.getpid []\n").encode()),
    "a NUL": _written(GOOD.encode() + b"\0"),
    "a missing value": _written((GOOD + "seed: ???\n").encode()),
}


@pytest.mark.parametrize("write", FILES.values(), ids=FILES)
def test_a_file_that_is_no_study_is_refused_by_its_name(tmp_path: Path, write: Callable[[Path], object]) -> None:
    path = tmp_path / "odd.yaml"
    write(path)
    tune = ["cli-tune", str(path), "--space", str(path), "--script", __file__]
    for words in (["rungs", str(path), "max_trials=3"], tune):
        result = CliRunner().invoke(app, words)
        assert result.exit_code in (1, 2), result.output
        assert isinstance(result.exception, SystemExit)
    assert "odd.yaml" in CliRunner().invoke(app, ["rungs", str(path)]).output


@pytest.mark.parametrize("text", ["\ufeff" + GOOD, GOOD.replace("\n", "\r\n"), "# \u00fc\n" + GOOD], ids=ascii)
def test_a_file_of_another_editor_is_read(tmp_path: Path, text: str) -> None:
    path, plain = tmp_path / "study.yaml", tmp_path / "plain.yaml"
    path.write_bytes(text.encode())
    plain.write_text(GOOD)
    assert StudySettings.load(path) == StudySettings.load(plain)
    assert not read_text(path).startswith("\ufeff")
