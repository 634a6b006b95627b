"""Wrong habits get an answer, unknown names a suggestion."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import lightning_hwtune
from lightning_hwtune import ASHA, TPE, Choice, Float, Metric, Pool, Study
from lightning_hwtune.errors import ArgumentError, RenamedArgumentError, UnknownArgumentError
from lightning_hwtune.forms.owners import OWNERS
from lightning_hwtune.names import refuse_unknown, refuse_unknown_keys
from lightning_hwtune.names.keywords import FILE_KEYWORDS, KEYWORDS
from lightning_hwtune.settings import StudySettings

KNOWN = ("max_trials", "max_time", "mode")


def test_nothing_unknown_passes():
    refuse_unknown("Study.run", (), KNOWN)
    refuse_unknown_keys("pool.", {"mode": 1}, KNOWN)  # a habit elsewhere, a name here


@pytest.mark.parametrize("name", sorted(KEYWORDS))
def test_habits_in_python(name: str):
    with pytest.raises(RenamedArgumentError) as error:
        refuse_unknown("Study.run", [name])
    assert (error.value.given, error.value.here) == (f"Study.run({name}=...)", KEYWORDS[name])


@pytest.mark.parametrize("name", sorted(FILE_KEYWORDS))
def test_habits_in_files(name: str):
    with pytest.raises(RenamedArgumentError) as error:
        refuse_unknown_keys("scheduler.", {name: 3}, ["within"])
    assert (error.value.given, error.value.here) == (f"scheduler.{name}", FILE_KEYWORDS[name])
    assert "Metric(" not in error.value.here
    assert "Pool(" not in error.value.here
    assert "ASHA(" not in error.value.here


def test_unknown_names_get_the_nearest():
    with pytest.raises(UnknownArgumentError, match=r"`Study.run\(max_trails=.*did you mean 'max_trials'\?$") as error:
        refuse_unknown("Study.run", ["max_trails"], KNOWN)
    assert type(error.value) is UnknownArgumentError  # a slip is not a name from another tool
    with pytest.raises(ArgumentError, match=r"`a\.max_trails` is 3; allowed: the keys .*Did you mean 'max_trials'"):
        refuse_unknown_keys("a.", {"max_trails": 3}, KNOWN)


@pytest.mark.parametrize(
    ("call", "argument", "place"),
    [
        (ASHA, "max_trials", "use `max_trials` of study.run(...)"),
        (ASHA, "sampler", "use `searcher` of Study(...)"),
        (TPE, "max_epochs", "use `max_epochs` of Study(...)"),
        (Pool, "max_parallel", "use `max_parallel` of study.run(...)"),
        (Choice, "gamma", "use `good` of TPE(...): the share of a rung's trials that counts as good"),
        (Study, "reduction_factor", "use `eta` of ASHA(...): the best 1/eta of the trials at a rung are promoted"),
        (Study, "eta", "use `eta` of ASHA(...)"),
        (Study, "devices", "use `devices` of Pool(...)"),
        (Study.run, "at_most", "use `at_most` of Metric(...)"),
        (Study.run, "directory", "use `dir` of Study(...)"),
        (Study.ask, "sampler", "use `searcher` of Study(...)"),
        (Metric, "log_scale", "use `log` of Float(...): Float(1e-4, 1e-1, log=True)"),
        (Float, "logarithmic", "use `log`: Float(1e-4, 1e-1, log=True)"),
        (Study.run, "n_trials", "use `max_trials`, the total over all runs of the study"),
        (Study.ask, "num_samples", "use `max_trials`, the total over all runs of the study"),
    ],
)
def test_an_argument_of_another_call_is_named_with_that_call(call: Any, argument: str, place: str) -> None:
    with pytest.raises(UnknownArgumentError) as error:
        call(**{argument: 1})
    assert error.value.here == place


@pytest.mark.parametrize("call", [ASHA, TPE, Pool, Choice, Float, Metric, Study, Study.run, Study.ask, Study.why])
def test_no_answer_names_an_argument_that_the_call_does_not_have(call: Any) -> None:
    known = inspect.signature(call).parameters
    for name in KEYWORDS.keys() - known.keys():
        with pytest.raises(UnknownArgumentError) as error:
            call(**{name: 1})
        own = re.match(r"use `(\w+)`(?! of)", error.value.here)
        assert own is None or own[1] in known, (name, error.value.here)


def test_the_owners_have_their_arguments() -> None:
    calls = {"Study(...)": Study, "study.run(...)": Study.run}
    for argument, owner in OWNERS.items():
        name = owner.partition(" of ")[2]
        call = calls.get(name) or getattr(lightning_hwtune, name.removesuffix("(...)"))
        assert argument in inspect.signature(call).parameters


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"pool": {"n_trials": 5}}, "pool.n_trials`: use `max_trials` of the study"),
        ({"pool": {"max_trials": 5}}, "pool.max_trials`: use `max_trials` of the study"),
        ({"scheduler": {"name": "asha", "max_epochs": 9, "sampler": "tpe"}}, "use `searcher` of the study"),
        ({"gamma": 0.3}, "`gamma`: use `good` under `searcher`"),
        ({"at_most": 3}, "use `at_most` of a metric, under `objectives`"),
        ({"objectives": [{"metric": "e", "mode": "min", "max_trials": 3}]}, "use `max_trials` of the study"),
        ({"space": {"lr": {"type": "float", "low": 0, "high": 1, "at_most": 3}}}, "use `at_most` of a metric"),
    ],
)
def test_a_key_of_another_part_of_a_study_file_is_named_with_its_place(changes: dict[str, Any], place: str) -> None:
    space, objectives = {"lr": {"type": "float", "low": 0, "high": 1}}, [{"metric": "e", "mode": "min"}]
    with pytest.raises(UnknownArgumentError, match=re.escape(place)):
        StudySettings.from_dict({"study": "x", "train": "m:f", "space": space, "objectives": objectives, **changes})


def test_an_error_about_arguments_has_one_traceback() -> None:
    for call, given in (
        (ASHA, {"max_epoch": 4}),
        (Study.run, {"n_trials": 4}),
        (Study.why, {}),
        (Metric, {"name": "x"}),
    ):
        with pytest.raises((UnknownArgumentError, ArgumentError)) as error:
            call(**given)
        assert error.value.__context__ is None
