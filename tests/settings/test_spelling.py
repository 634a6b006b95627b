from __future__ import annotations

import ast
import contextvars
import re
import shlex

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from lightning_hwtune.apps.hydra.settings import HYDRA_SPELLING
from lightning_hwtune.core.schedulers import SCHEDULERS, call_text, scheduler_from_settings
from lightning_hwtune.forms.run_options import RUN_OPTIONS
from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.names.spelling import spell_by, spelled
from lightning_hwtune.settings import parse_overrides
from lightning_hwtune.settings.overrides import apply_overrides
from lightning_hwtune.settings.spelling import CLI_TUNE_SPELLING, FILE_SPELLING, REPLICATE_SPELLING, SETTINGS

OURS = "hydra.sweeper.hwtune."
WRITTEN = {
    "preload=['darts', 'my.net']": (
        "preload: [darts, my.net]", "'preload=[darts, my.net]'", f"'{OURS}preload=[darts, my.net]'",
    ),
    "ASHA(max_epochs=9, first_rung=3)": (
        "scheduler: {name: asha, max_epochs: 9, first_rung: 3}",
        "'scheduler={name: asha, max_epochs: 9, first_rung: 3}'",
        f"'{OURS}scheduler={{name: asha, max_epochs: 9, first_rung: 3}}'",
    ),
    "ASHA(type='stopping')": (
        "scheduler: {name: asha, type: stopping}", "'scheduler={name: asha, type: stopping}'",
        f"'{OURS}scheduler={{name: asha, type: stopping}}'",
    ),
    "RunToEnd()": ("scheduler: run_to_end", "scheduler=run_to_end", f"{OURS}scheduler=run_to_end"),
    "hang_timeout": ("hang_timeout", "hang_timeout", f"{OURS}hang_timeout"),
    "hang_timeout=None": ("hang_timeout: null", "hang_timeout=null", f"{OURS}hang_timeout=null"),
    "hang_timeout='auto'": ("hang_timeout: auto", "hang_timeout=auto", f"{OURS}hang_timeout=auto"),
    "disk_budget": ("disk_budget", "disk_budget", f"{OURS}disk_budget"),
    "max_trials=20": ("max_trials: 20", "--max-trials 20", "hydra.sweeper.n_trials=20"),
    "max_time='10min'": ("max_time: 10min", "--max-time 10min", f"{OURS}max_time=10min"),
    "max_parallel": ("max_parallel", "--max-parallel", "hydra.sweeper.n_jobs"),
    "TrainSeconds()": ("train_s", "train_s", "train_s"),
    "Metric('val_loss', 'min', best=True)": (
        "{metric: val_loss, mode: min, best: true}` in `objectives",
        "{metric: val_loss, mode: min, best: true}` in `objectives",
        f"{{metric: val_loss, mode: min, best: true}}` in `{OURS}objectives",
    ),
    "Pool(usd_per_device_hour=2.5)": (
        "pool: {usd_per_device_hour: 2.5}", "'pool={usd_per_device_hour: 2.5}'",
        f"'{OURS}pool={{usd_per_device_hour: 2.5}}'",
    ),
    "Study(..., max_failures=6)": ("max_failures: 6", "max_failures=6", f"{OURS}max_failures=6"),
    "Study(..., max_retries=0)": ("max_retries: 0", "max_retries=0", f"{OURS}max_retries=0"),
    "Study(..., disk_budget='50GB')": ("disk_budget: 50GB", "disk_budget=50GB", f"{OURS}disk_budget=50GB"),
    "study.enqueue(...)": ("enqueue", "enqueue", f"{OURS}enqueue"),
    "check=False": ("--no-check", "--no-check", f"{OURS}check=false"),
}  # fmt: skip


@pytest.mark.parametrize("setting", WRITTEN)
def test_a_setting_is_written_as_the_way_in_writes_it(setting: str) -> None:
    text = f"see `{setting}`, or not"
    found = [spell(text) for spell in (FILE_SPELLING, CLI_TUNE_SPELLING, HYDRA_SPELLING)]
    assert found == [f"see `{written}`, or not" for written in WRITTEN[setting]]


@pytest.mark.parametrize(
    "setting", [name for name in WRITTEN if "=" in name and not name.startswith(("check", "max", "Metric"))]
)
def test_what_is_written_can_be_given(setting: str) -> None:
    in_file, word, in_hydra = WRITTEN[setting]
    data = yaml.safe_load(in_file)
    given: dict[str, object] = {}
    apply_overrides(given, parse_overrides(shlex.split(word)), FILE_KEYS)
    [override] = OverridesParser.create().parse_overrides(shlex.split(in_hydra))
    [(key, value)] = data.items()
    assert (given, override.key_or_group, override.value()) == (data, f"{OURS}{key}", value)


@pytest.mark.parametrize(
    "text",
    [
        "`Trainer.fit` stopped: `max_epochs=3` reached", "`if trial.is_paused: return`", "`hwtune logs 3`", "`lr=0.1`",
        "`preload=[`", "`hydra.sweeper.n_trials`", "preload=['x']", "`Trainer(max_time='1h')`", "`pool=Pool()`",
        "`study.front()`", "`study.run(train)`", "`Study(..., name='x')`", "`Study('points', space)`",
    ],
)  # fmt: skip
def test_other_text_stays_as_it_is(text: str) -> None:
    assert {spell(text) for spell in (FILE_SPELLING, CLI_TUNE_SPELLING, HYDRA_SPELLING)} == {text}


@pytest.mark.parametrize(
    ("setting", "written"),
    [
        ("save_every=1", "study.replicate(..., save_every=1)"), ("progress=False", "--quiet"),
        ("hang_timeout=None", "study.replicate(..., hang_timeout=None)"), ("max_time=60", "--max-time 60"),
        ("max_cost", "--max-cost"), ("max_trials", "max_trials"), ("check=False", "check=False"),
    ],
)  # fmt: skip
def test_the_replicates_of_a_stored_study_have_fewer_settings(setting: str, written: str) -> None:
    assert REPLICATE_SPELLING(f"see `{setting}`") == f"see `{written}`"


def test_every_setting_is_one_of_the_study() -> None:
    assert {*FILE_KEYS, *RUN_OPTIONS} > SETTINGS > set(RUN_OPTIONS)


def test_python_is_spoken_until_another_way_in_is_named() -> None:
    def other() -> str:
        spell_by(HYDRA_SPELLING)
        return spelled("`preload`")

    assert contextvars.copy_context().run(other) == f"`{OURS}preload`"
    assert spelled("`preload`") == "`preload`"


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_call_of_a_scheduler_makes_an_equal_one(name: str) -> None:
    settings = scheduler_from_settings({"name": name, "max_epochs": 81}).settings()
    text = call_text(settings)
    assert re.fullmatch(r"\w+\(max_epochs=81\)", text)
    if "first_rung" in settings:
        call = ast.parse(call_text({**settings, "first_rung": 9}), mode="eval").body
        assert isinstance(call, ast.Call)
        given = {word.arg or "": ast.literal_eval(word.value) for word in call.keywords}
        assert given == {"max_epochs": 81, "first_rung": 9}
        assert scheduler_from_settings({"name": name, **given}).levels[0] == 9
