"""The stored form of a study: what comes back from the log, what a stored study may not change."""

from __future__ import annotations

import json
from typing import Any

import pytest
from study_driver import spec

from lightning_hwtune.core.space import Choice, Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import StudySpec

SPACE = SearchSpace(x=Float(0, 1), bs=Choice([3, 4]), batch_size=Choice([8, 9]), devices=NumDevices(1, 2))


def stored(study: StudySpec, **changes: Any) -> StudySpec:
    """Returns what the log gives back, with some of its keys changed."""
    return StudySpec.from_dict(json.loads(json.dumps(study.to_dict() | changes)))


@pytest.mark.parametrize("space", [SPACE, SPACE.constrained("bs"), SPACE.constrained(None)])
@pytest.mark.parametrize("batch", ["global", "per_device"])
def test_the_rule_of_batch_sizes_comes_back_from_the_log(space: SearchSpace, batch: str) -> None:
    study = spec(space=space, batch=batch)
    assert stored(study).space == space
    assert stored(study).differences(study) == {}


@pytest.mark.parametrize(("batch", "space"), [("global", SPACE), ("per_device", SPACE.constrained(None))])
def test_logs_without_the_rule_tell_of_it_by_batch(batch: str, space: SearchSpace) -> None:
    form = spec(space=SPACE, batch=batch).to_dict()
    del form["global_batch_sizes"]
    assert StudySpec.from_dict(form).space == space
