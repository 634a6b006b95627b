"""What `hwtune cli-tune` takes from the script's parser: values that the file does not set, and merged files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_hwtune.apps.config_tree import ConfigTree
from lightning_hwtune.apps.lightning_cli import merge
from lightning_hwtune.apps.lightning_cli.study import CliStudy
from lightning_hwtune.errors import ArgumentError

PRESET = """
seed_everything: 7
trainer:
  accelerator: cpu
  max_epochs: 4
  callbacks: {class_path: ModelCheckpoint, init_args: {monitor: val/error, mode: min}}
"""
SCRIPT = """
from lightning.pytorch.cli import LightningCLI
from parts import Data, Net

if __name__ == "__main__":
    LightningCLI(Net, Data, parser_kwargs=PARSER)
"""
LR = {"model.lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}}
SIZES = {"data.batch_size": {"type": "choice", "options": [8, 16]}}
DEVICES = {"trainer.devices": {"type": "num_devices", "counts": [1, 2]}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(Path(__file__).parents[1] / "apps_cli" / "products" / "parts.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "preset.yaml", PRESET)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def prepare(folder: Path, space: Mapping[str, Any], *files: str, parser: str = "{}", script: str = SCRIPT) -> CliStudy:
    paths = [write(folder / f"{'abc'[index]}.yaml", text) for index, text in enumerate(files)]
    write(folder / "space.yaml", yaml.safe_dump(dict(space)))
    target = write(folder / "train.py", f"PARSER = {parser}\n{script}")
    return CliStudy.read(paths, folder / "space.yaml", script=target, given={"dir": str(folder)})


@pytest.mark.slow
def test_values_that_only_the_script_knows_count_as_if_they_were_in_the_file(folder: Path) -> None:
    parser = "{'fit': {'default_config_files': ['preset.yaml']}}"
    study = prepare(folder, {**LR, **DEVICES}, "model: {width: 4}", parser=parser)
    [note] = [note for note in study.notes if "the script's parser" in note]
    for text in ("model.lr", "a monitor", "trainer.max_epochs", "a batch size (data.batch_size"):
        assert text in note
    assert study.settings.study_kwargs()["objectives"].names == ("val/error", "train_s")
    assert study.settings.spec().scheduler.max_resource == 4
    assert study.segment.trial.has_seed
    for devices, size in ((1, 16), (2, 8)):  # the default of the class is the global batch size
        config = study.segment.trial.config({"model.lr": 0.5, "trainer.devices": devices}, devices, seed=1)
        assert config.get("data.batch_size") == size
        assert (config.get("model.lr"), config.get("model.width"), config.get("seed_everything")) == (0.5, 4, 7)


@pytest.mark.slow
def test_a_misspelt_name_is_still_refused_with_the_nearest(folder: Path) -> None:
    with pytest.raises(ArgumentError, match=r"did you mean 'model\.dropout'"):
        prepare(folder, {"model.dropuot": LR["model.lr"]}, PRESET)


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (LR, "model: {lr: 0.1}"),
        ({**LR, **DEVICES}, "{model: {lr: 0.1}, data: {batch_size: 8}}"),
        ({**LR, **DEVICES, **SIZES}, "{model: {lr: 0.1}, data: {batch_size: 8}}"),
        (
            {**SIZES, "model.lr": {**LR["model.lr"], "when": {"data.batch_size": 8}}},
            "{data: {batch_size: 8}, model: {}}",
        ),
    ],
)
def test_the_script_is_not_started_if_the_file_says_all(folder: Path, space: Mapping[str, Any], text: str) -> None:
    script = "from pathlib import Path\nPath('started').touch()"
    study = prepare(
        folder, space, f"{yaml.safe_dump({**yaml.safe_load(PRESET), **yaml.safe_load(text)})}", script=script
    )
    assert not (folder / "started").exists()
    assert not any("parser" in note for note in study.notes)


@pytest.mark.parametrize("script", ["raise SystemExit(3)", "print('no LightningCLI')", "import nowhere"])
def test_a_script_that_cannot_complete_the_file_leaves_the_message_about_the_file(folder: Path, script: str) -> None:
    with pytest.raises(ArgumentError, match=r"space` is 'model\.lr'; allowed: a name in the configuration"):
        prepare(folder, LR, PRESET, script=script)


@pytest.mark.slow
def test_interpolations_in_several_files_follow_the_searched_value(folder: Path) -> None:
    parser = "{'parser_mode': 'omegaconf', 'fit': {'parser_mode': 'omegaconf'}}"
    first = f"{PRESET}\nmodel: {{width: '${{data.batch_size}}', lr: 0.1}}\ndata: {{batch_size: 16}}"
    space = {"data.batch_size": {"type": "choice", "options": [8, 32]}}
    study = prepare(folder, space, first, "model: {dropout: 0.2}", parser=parser)
    config = study.segment.trial.config({"data.batch_size": 32}, 1, seed=1)
    assert config.get("model.width") == 32
    assert config.get("model.dropout") == 0.2


@pytest.mark.parametrize(
    ("files", "merged", "expected"),
    [
        (["{a: 1, b: '${a}'}", "{c: 2}"], "{a: 1, b: 1, c: 2}", {"b": 5}),
        (["{a: 1, b: ['${a}', 3]}"], "{a: 1, b: [1, 3]}", {"b": [5, 3]}),
        (["{a: 1, b: 'x${a}'}"], "{a: 1, b: x1}", {"b": "x5"}),
        (["{a: 1}", "{b: {c: '${a}'}}"], "{a: 1, b: {c: 1}}", {"b.c": 5}),
        (["{a: 1, b: '${a}'}", "{b: 7}"], "{a: 1, b: 7}", {"b": 7}),  # a later file sets it
        (["{a: 1, b: '${a}'}", "{a: 2}"], "{a: 2, b: 1}", {"b": 1}),  # each file was resolved alone
        (["{a: 1, b: '${a}'}"], "{a: 1, b: '${a}'}", {"b": 5}),  # a parser without interpolations
        (["{a: 1, b: '${d}', d: {e: 3}}", "{b: {f: 4}}"], "{a: 1, b: {e: 3, f: 4}, d: {e: 3}}", {"b.e": 3, "b.f": 4}),
        (["{a: 1, 'b+': ['${a}']}"], "{a: 1, b: [1]}", {"b": [1]}),
    ],
)
def test_an_interpolation_is_kept_where_it_gives_the_merged_value(
    files: list[str], merged: str, expected: Mapping[str, Any]
) -> None:
    kept: Callable[..., ConfigTree] = merge._with_interpolations
    found = kept(ConfigTree(merged), [ConfigTree(text) for text in files]).replaced({"a": 5})
    for name, value in expected.items():
        got = found.get(name)
        assert ([found.get(f"{name}.{index}") for index in range(len(got))] if isinstance(got, list) else got) == value
