"""The public surface as a type checker sees it: misspelt keywords are errors, and answers have types."""

from __future__ import annotations

import inspect
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.searchers.prior import PriorOptions
from lightning_hwtune.training.trainer_options import TrainerOptions
from lightning_hwtune.training.trial import OWNED

ROOT = Path(__file__).parents[1]

HEAD = """
from typing import Any
import lightning.pytorch as pl
import pytorch_lightning
import lightning_hwtune as hwt

def train(trial: hwt.Trial) -> None: ...
space = hwt.SearchSpace(x=hwt.Float(0.0, 1.0))
objectives = [hwt.Metric("loss", "min")]
study = hwt.Study("digits", space, objectives, max_epochs=3, pool=hwt.Pool("cpu", devices=1))
def check(trial: hwt.Trial, model: pl.LightningModule, other: pytorch_lightning.LightningModule, options: Any) -> None:
"""

# a call with a misspelt keyword -> what it raises at run time
MISSPELT = {
    "hwt.ASHA(max_epoch=27)": "did you mean 'max_epochs'",
    "hwt.Hyperband(max_epochs=27, bracket=3)": "did you mean 'brackets'",
    "hwt.Pool(device=2)": "did you mean 'devices'",
    "hwt.Metric('loss', 'min', units='nats')": "did you mean 'unit'",
    "hwt.TPE(candidate=32)": "did you mean 'candidates'",
    "hwt.Float(lo=0.0, high=1.0)": "did you mean 'low'",
    "hwt.Study('digits', space, objectives, searchr=hwt.Random())": "did you mean 'searcher'",
    "study.run(train, max_trial=3)": "did you mean 'max_trials'",
    "study.ask(finisher=1)": "did you mean 'finishers'",
    "trial.report(resourc=1, loss=0.5)": "`resource` is missing",
    # and what passes keywords on
    "study.check(train, preloads=[])": "did you mean 'preload'",
    "study.tell(trial, err='lost')": "did you mean 'error'",
    "study.front(level=1)": "takes at",
    "hwt.Study.load('digits', folder='studies')": "takes name, dir",
    "trial.load(rngs=False)": "did you mean 'rng'",
    "trial.trainer(acumulate_grad_batches=2)": "unexpected keyword argument 'acumulate_grad_batches'",
    "trial.trainer(max_epochs=2)": "the study sets",
    "trial.fit(model, acumulate_grad_batches=2)": "unexpected keyword argument 'acumulate_grad_batches'",
    "trial.fit(model, devices=2)": "the study sets",
    "hwt.ParetoPrior.from_studies(study, candidate=3)": "",  # it has nothing to learn from, which is said first
}

RIGHT = [
    "trial.fit(model, [1], accumulate_grad_batches=2, callbacks=[], enable_progress_bar=True)",
    "trial.fit(model, train_dataloaders=[1], val_dataloaders=[2], logger=False)",
    "trial.fit(other, datamodule=None, gradient_clip_val=1.0, **options)",
    "trial.trainer(precision='bf16-mixed', limit_val_batches=2, **options)",
    "trial.report(1, loss=0.5, accuracy=0.9)",
    "study.run(train=train, max_trials=3, finishers='auto')",
    "study.run(train, max_time='8h', executor='inline', hang_timeout=None, preload=['json'])",
    "study.ask(max_trials=3, progress=False)",
    "hwt.ParetoPrior.from_studies(study, candidates=3, objectives=['loss'])",
]

REVEALED = {
    "trial.fit(model)": "lightning.pytorch.trainer.trainer.Trainer",
    "trial.fit(other)": "pytorch_lightning.trainer.trainer.Trainer",
    "trial.fit(model, limit_train_batches=0.5)": "lightning.pytorch.trainer.trainer.Trainer",
    "trial.trainer()": "lightning.pytorch.trainer.trainer.Trainer",
    "trial['x']": "Any",  # whatever the space holds under this name
    "study.state()": "lightning_hwtune.core.facts.StudyFacts",
    "study.best": "lightning_hwtune.study_reading.Result",
    "study.front()": "pandas.core.frame.DataFrame",
    "study.trials()": "pandas.core.frame.DataFrame",
    "study.check(train)": "lightning_hwtune.engine.check.Check",
    "study.run(train)": "lightning_hwtune.study.Study",
    "study.ask()": "lightning_hwtune.training.trial.Trial | None",
    "study.plot()": "matplotlib.figure.Figure",
    "study.logs(0)": "pathlib.Path",
}


# a value of the wrong type
WRONG = [
    "study.run(train, max_trials='20')",
    "study.run(train, max_cost='5')",
    "study.run(train, check='no')",
    "study.run(train, executor=3)",
    "study.ask(max_time='8h')",
    "study.ask(progress=None)",
]

# what a Trainer of the trial has -> the same of Lightning's own
OF_LIGHTNING = [
    "{}",
    "{}.callback_metrics",
    "{}.checkpoint_callback",
    "{}.strategy",
    "{}.validate(model)",
    "{}.current_epoch",
    "{}.fit",
]


def checked(folder: Path, calls: list[str]) -> dict[str, list[str]]:
    """Returns what `mypy --strict` says of each call."""
    pytest.importorskip("mypy")
    pytest.importorskip("pytorch_lightning")
    head = HEAD.lstrip().splitlines()
    file = folder / "calls.py"
    file.write_text("\n".join([*head, *(f"    {call}" for call in calls), ""]), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", "--no-pretty", str(file)]
    environ = {**os.environ, "MYPYPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode in (0, 1), ran.stderr + ran.stdout
    said: dict[str, list[str]] = {call: [] for call in calls}
    for number, kind, text in re.findall(r"calls\.py:(\d+): (error|note): (.*)", ran.stdout):
        place = int(number) - len(head) - 1
        assert place >= 0, ran.stdout
        if kind == "error" or text.startswith("Revealed"):
            said[calls[place]].append(text)
    return said


@pytest.mark.slow  # half a minute where mypy has no cache yet
def test_misspelt_keywords_are_type_errors_and_answers_have_types(tmp_path: Path) -> None:
    reveals = [f"reveal_type({call})" for call in REVEALED]
    theirs = [f"reveal_type({text.format('pl.Trainer()')})" for text in OF_LIGHTNING]
    ours = {
        trainer: [f"reveal_type({text.format(trainer)})" for text in OF_LIGHTNING]
        for trainer in ("trial.fit(model)", "trial.trainer()")
    }
    calls = [*MISSPELT, *WRONG, *RIGHT, *reveals, *theirs, *itertools.chain(*ours.values())]
    said = checked(tmp_path, list(dict.fromkeys(calls)))
    assert [call for call in WRONG if not said[call]] == []
    expected = [said[call] for call in theirs]
    assert all(len(texts) == 1 and texts[0] != 'Revealed type is "Any"' for texts in expected), expected
    assert {trainer: [said[call] for call in each] for trainer, each in ours.items()} == dict.fromkeys(ours, expected)
    assert [call for call in MISSPELT if not said[call]] == []
    assert {call: said[call] for call in RIGHT if said[call]} == {}
    found = {call: said[reveal] for call, reveal in zip(REVEALED, reveals, strict=True)}
    assert found == {call: [f'Revealed type is "{kind}"'] for call, kind in REVEALED.items()}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    import lightning.pytorch as pl

    space, objectives = hwt.SearchSpace(x=hwt.Float(0.0, 1.0)), [hwt.Metric("loss", "min")]
    pool, folder = hwt.Pool("cpu", devices=1), tmp_path_factory.mktemp("studies")
    study = hwt.Study("digits", space, objectives, max_epochs=3, pool=pool, dir=folder)

    def train(trial: hwt.Trial) -> None:
        raise AssertionError("nothing may train here")

    yield {
        "hwt": hwt,
        "space": space,
        "objectives": objectives,
        "study": study,
        "train": train,
        "trial": study.ask(progress=False),
        "model": pl.LightningModule(),
    }
    study.close()


@pytest.mark.parametrize("call", MISSPELT)
def test_misspelt_keywords_are_refused_at_run_time(names: dict[str, Any], call: str) -> None:
    with pytest.raises((hwt.HwTuneError, TypeError)) as raised:
        eval(call, dict(names))
    assert MISSPELT[call] in str(raised.value)


def test_options_of_the_trainer_are_those_of_lightning() -> None:
    import lightning.pytorch as pl

    known = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self", *OWNED}
    later = {"enable_autolog_hparams", "model_registry"}  # Lightning 2.4 has none of them
    options = set(TrainerOptions.__annotations__)
    assert known <= options
    assert options - known <= later


def test_options_of_the_prior_are_those_of_its_class() -> None:
    parameters = inspect.signature(hwt.ParetoPrior.__init__).parameters.values()
    assert set(PriorOptions.__annotations__) == {item.name for item in parameters if item.kind is item.KEYWORD_ONLY}
