"""The configurations under `configs/`: each file composes, instantiates, and says what its keys mean."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from datamodules import PartsDataModule
from lightning_hwtune.apps.hydra.app_config import add_devices
from lightning_hwtune.apps.hydra.search import Search, read_search
from lightning_hwtune.apps.hydra.settings import SweepSettings
from lightning_hwtune.apps.seen_configs import Facts, Seen, SeenConfigs
from lightning_hwtune.apps.trainer_settings import Horizon
from lightning_hwtune.core.space import SearchSpace
from models import Classifier

CONFIGS = Path(__file__).parents[1] / "configs"
FILES = sorted(path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml") if path.parent.name != "study")
DATA_OF = {"char_transformer": "text"}  # the other models see images
WITH_VALUE = re.compile(r"^\s*(- )?[\w.]+: +[^#\s]")


def names(group: str) -> list[str]:
    found = [path.stem for path in FILES if path.parent.name == group]
    assert found
    return found


def composed(tmp_path: Path, *overrides: str, with_hydra: bool = False) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        return compose("train", [f"output_dir={tmp_path}", *overrides], return_hydra_config=with_hydra)


def arguments(config: DictConfig) -> dict[str, Any]:
    return {key: value for key, value in OmegaConf.to_container(config, resolve=True).items() if key != "_target_"}


def assert_names_every_argument(config: DictConfig) -> None:
    parameters = inspect.signature(get_class(config._target_)).parameters
    assert set(arguments(config)) == set(parameters)


def assert_fits_together(config: DictConfig) -> None:
    """Makes everything that `train.py` makes."""
    model, data, trainer = (instantiate(config[part]) for part in ("model", "data", "trainer"))
    assert isinstance(model, Classifier)
    assert isinstance(data, PartsDataModule)
    assert isinstance(trainer, L.Trainer)
    callbacks = [instantiate(item) for item in config.callbacks.values()]
    assert [callback.monitor for callback in callbacks] == [config.monitor, None, config.monitor]
    assert config.monitor in ("val_error", "val_loss")
    assert [type(instantiate(item)).__name__ for item in config.logger.values()] == ["CSVLogger"]


def test_there_is_a_file_of_each_group():
    assert {str(path.parent) for path in FILES} == {".", "model", "data", "trainer", "experiment", "hwtune"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_each_key_has_its_line(path):
    text = (CONFIGS / path).read_text(encoding="utf-8")
    lines = [
        line for line in text.partition("defaults:")[2].splitlines() or text.splitlines() if WITH_VALUE.match(line)
    ]
    silent = [line for line in lines if " # " not in line and "override /" not in line]
    assert silent == []
    assert text.startswith("#")


@pytest.mark.parametrize("model", names("model"))
def test_models(model, tmp_path):
    config = composed(tmp_path, f"model={model}", f"data={DATA_OF.get(model, 'digits')}")
    assert_names_every_argument(config.model)
    made = instantiate(config.model)
    assert dict(made.hparams) == arguments(config.model)
    assert_fits_together(config)


@pytest.mark.parametrize("data", names("data"))
def test_data(data, tmp_path):
    config = composed(tmp_path, f"data={data}")
    assert_names_every_argument(config.data)
    made = instantiate(config.data)
    for key, value in arguments(config.data).items():
        assert getattr(made, key) == (Path(value) if key in ("root", "path") else value), key


@pytest.mark.parametrize("trainer", names("trainer"))
def test_trainers(trainer, tmp_path):
    config = composed(tmp_path, f"trainer={trainer}")
    made = instantiate(config.trainer)
    assert made.max_epochs == config.trainer.max_epochs
    assert (made.num_devices, made.default_root_dir) == (1, str(tmp_path))


@pytest.mark.parametrize("experiment", names("experiment"))
def test_experiments(experiment, tmp_path):
    config = composed(tmp_path, f"experiment={experiment}")
    assert_fits_together(config)
    assert composed(tmp_path, f"experiment={experiment}", "model.lr=0.5").model.lr == 0.5


def test_text_and_transformer_agree_on_the_context(tmp_path):
    config = composed(tmp_path, "experiment=text_transformer", "data.context_length=7")
    assert instantiate(config.model).hparams.context_length == instantiate(config.data).context_length == 7


@pytest.mark.parametrize("name", names("hwtune"))
def test_searches(name, tmp_path):
    """The search is one that the sweeper takes, over keys that the app has."""
    config = composed(tmp_path, f"hwtune={name}", with_hydra=True)
    given = SweepSettings.of(config.hydra.sweeper)
    assert given.notes == ()
    search: Search = read_search(given.params, [])
    job = composed(
        tmp_path, f"hwtune={name}", *search.overrides({k: p.quantile(0.5) for k, p in search.parameters.items()})
    )
    assert_fits_together(job)
    key = given.own["devices_key"]
    add_devices(search, key, SeenConfigs((Seen({}, Facts({key: OmegaConf.select(job, key)}, ())),)))
    scheduler = given.scheduler(Horizon(job.trainer.max_epochs, None))
    study = given.study("train", SearchSpace(search.parameters), given.own["objectives"], scheduler)
    assert study.study_kwargs()["scheduler"].max_resource == job.trainer.max_epochs
    assert study.limits().max_trials == given.node["n_trials"]
    for key in ("ckpt_path_key", "devices_key", "max_epochs_key"):
        assert OmegaConf.select(job, given.own[key], default="absent") != "absent"
