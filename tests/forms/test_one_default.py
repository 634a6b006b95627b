"""Each default of a study is in one place: the table of the keys of a study file."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.cli.arguments import DIR
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.forms.study_keys import FILE_KEYS

SHARED = ["dir", "storage", "seed", "batch", "disk_budget", "max_retries", "max_failures"]


@pytest.mark.parametrize("name", SHARED)
def test_python_and_study_files_have_the_same_default(name: str) -> None:
    calls: list[Callable[..., Any]] = [hwt.Study, hwt.Study.load]
    found = [inspect.signature(call).parameters for call in calls]
    defaults = [parameters[name].default for parameters in found if name in parameters]
    assert defaults == [FILE_KEYS[name].default] * len(defaults)
    assert defaults


@pytest.mark.parametrize("field", dataclasses.fields(StudySpec), ids=lambda field: field.name)
def test_the_spec_has_the_defaults_of_study_files(field: Any) -> None:
    if field.default is not dataclasses.MISSING and field.name in SHARED:
        assert field.default == FILE_KEYS[field.name].default


def test_no_default_is_spelled_in_a_signature_again() -> None:
    text = "".join(inspect.getsource(cls.__init__) for cls in (hwt.Study,)) + inspect.getsource(hwt.Study.load)
    spelled = [name for name in SHARED if f"{name}: " in text and f'FILE_KEYS["{name}"].default' not in text]
    assert spelled == ["storage"]  # None, as for everything that is optional


def test_commands_look_into_the_same_folder() -> None:
    assert str(DIR) == FILE_KEYS["dir"].default
