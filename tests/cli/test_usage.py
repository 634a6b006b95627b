"""Errors of the option parser: every one says what was given, what is allowed, and what to do."""

from __future__ import annotations

import enum
import inspect
import typing
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lightning_hwtune.cli.commands import app

RUNNER = CliRunner(env={"COLUMNS": "2000", "TERM": "dumb"})
ROOT: Any = typer.main.get_command(app)


def refusal(*words: object) -> str:
    result = RUNNER.invoke(app, [str(word) for word in words])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("why x", ["`TRIAL` is 'x'", "an integer", "Number of the trial"]),
        ("why -3", ["`TRIAL` is -3"]),
        ("why 3.5", ["`TRIAL` is '3.5'"]),
        ("why", ["`TRIAL` is missing"]),
        ("serve --port abc", ["`--port` is 'abc'", "an integer from 0 to 65535"]),
        ("serve --port -1", ["`--port` is '-1'", "from 0 to 65535"]),
        ("serve --port", ["`--port` has no value", "from 0 to 65535"]),
        ("front --format jsn", ["`--format` is 'jsn'", "table, json, csv", "Did you mean 'json'?"]),
        ("front --format JSON", ["Did you mean 'json'?"]),
        ("front --formt json", ["'--formt'", "did you mean '--format'?", "--study"]),
        ("front --columns nosuch", ["no option '--columns'", "--at, --dir, --format"]),
        ("front lenet", ["'lenet' is too much", "takes no arguments", "--study lenet"]),
        ("run s.yaml --n-trials 3", ["did you mean '--max-trials'?"]),
        ("run nosuch.yaml", ["`STUDY.yaml` is 'nosuch.yaml'", "no such file"]),
        ("run .", ["`STUDY.yaml` is '.'", "This is a folder"]),
        ("frnt", ["no command 'frnt'", "did you mean 'front'?"]),
        ("optimize", ["did you mean 'run'?"]),
        ("study.yaml", ["hwtune run study.yaml"]),
        ("prior shwo", ["did you mean 'show'?"]),
        ("--study x status", ["no option '--study'", "follow the command"]),
        ("replicate s --seeds 0", ["`--seeds` is '0'", "a positive integer"]),
        ("plot nosuch", ["'nosuch' is not a figure", "timeline"]),
        ("plot frnt", ["ledger; did you mean 'front'? "]),
        ("enqueue lr", ["Write lr=VALUE."]),
        ("enqueue lr 0.01", ["Write lr=0.01, without a space."]),
        ("enqueue +lr=1", ["'+lr=1' begins with + or ~; write lr=VALUE"]),
        ("enqueue ~lr", ["'~lr' begins with + or ~; write lr=VALUE"]),
        ("enqueue lr=1 lr=2", ["there are two values for lr; give one"]),
        ("replicate study trials", ["Write trials=VALUE."]),
    ],
)
def test_a_slip_on_the_command_line_names_value_choices_and_remedy(words: str, parts: list[str]) -> None:
    text = refusal(*words.split())
    assert [part for part in parts if part not in text] == []


def test_a_misspelt_file_is_answered_with_the_nearest_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "study.yaml").write_text("study: x")
    monkeypatch.chdir(tmp_path)
    assert "did you mean 'study.yaml'?" in refusal("run", "studi.yaml")


def _commands(group: Any = ROOT, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found = []
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        found += _commands(command, (*path, name)) if inner else [((*path, name), command)]
    return found


def _base(command: Any, name: str) -> Any:
    declared = inspect.signature(command.callback, eval_str=True).parameters[name].annotation
    if typing.get_origin(declared) is typing.Annotated:
        declared = typing.get_args(declared)[0]
    return next(iter(typing.get_args(declared)), declared)


_EVERY = [(path, command) for path, command in _commands() if path != ("sbatch",)]
_IDS = [" ".join(path) for path, _ in _EVERY]


@pytest.mark.parametrize(("path", "command"), _EVERY, ids=_IDS)
def test_every_option_of_every_command(path: tuple[str, ...], command: Any) -> None:
    text = refusal(*path, "--no-such-thing")
    assert "'--no-such-thing'" in text
    assert "--help" in text
    for item in command.params:
        flag = max([*item.opts, *item.secondary_opts], key=len)
        if getattr(item, "param_type_name", "") != "option" or flag == "--help":
            continue
        if item.is_flag:
            assert f"`{flag}` is a switch" in refusal(*path, f"{flag}=7")
            continue
        assert f"`{flag}` has no value; allowed: " in refusal(*path, flag)
        kind = _base(command, item.name)
        is_word = isinstance(kind, type) and issubclass(kind, enum.Enum)
        if is_word or (kind in (int, float) and "has_parser" not in vars(item)):
            text = refusal(*path, flag, "wrong")
            assert f"`{flag}` is 'wrong'" in text
            assert "allowed: " in text
