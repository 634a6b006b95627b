"""LightningCLI configurations as trees: what is read, what is replaced, and what stays as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lightning_hwtune.apps.config_tree import ConfigTree
from lightning_hwtune.errors import ArgumentError

TEXT = """\
# a comment
defaults: &defaults {width: 8, depth: 2}
trainer:
  max_epochs: 9
  logger: null
  default_root_dir: ${oc.env:HOME}
  callbacks:
    - class_path: EarlyStopping
      init_args: {monitor: val/error, patience: 3}
model:
  class_path: nets.Net
  init_args:
    <<: *defaults
    width: 16
    lr: 1e-3
    name: "12"
    scale: !mine 3
"""


@pytest.fixture
def config(tmp_path: Path) -> ConfigTree:
    return read(tmp_path, TEXT)


def read(folder: Path, text: str, name: str = "config.yaml") -> ConfigTree:
    (folder / name).write_text(text)
    return ConfigTree.read(folder / name)


def test_values_are_found_under_dotted_names(config: ConfigTree) -> None:
    assert config.get("trainer.max_epochs") == 9
    assert config.get("model.init_args.depth") == 2
    assert config.get("model.init_args.width") == 16
    assert config.get("trainer.callbacks.0.init_args.patience") == 3
    assert config.get("trainer.logger", "none") == "none"
    assert config.get("model.init_args.nothing", 5) == 5
    assert config.get("model.init_args.scale") is None  # its tag has no meaning here
    assert config.get("trainer.callbacks.1") is None


def test_what_is_not_replaced_stays_as_it_was_written(config: ConfigTree) -> None:
    changed = config.replaced({"model.init_args.width": 4, "trainer.callbacks.0.init_args.patience": 5})
    assert "lr: 1e-3\n" in changed.text
    assert 'name: "12"\n' in changed.text
    assert "scale: !mine " in changed.text
    assert "${oc.env:HOME}" in changed.text
    before, after = config.leaves(), changed.leaves()
    assert {name for name in before if before[name] != after[name]} == {
        "model.init_args.width",
        "trainer.callbacks.0.init_args.patience",
    }
    assert list(after) == list(before)
    assert after["defaults.width"] == "8"


def test_replacing_with_the_values_there_are_changes_nothing(config: ConfigTree) -> None:
    same = config.replaced({"model.init_args.width": 16, "trainer.max_epochs": 9})
    assert same == config
    assert same.replaced({}) == config


@pytest.mark.parametrize("value", [1e-05, 0.1 + 0.2, 3, True, None, "1e-3", "no", "a: b", [1, 2]])
def test_a_value_is_read_back_as_it_was_given(config: ConfigTree, value: object) -> None:
    for name in ("model.init_args.lr", "model.init_args.new", "optimizer.betas"):
        assert yaml.safe_load(config.replaced({name: value}).replaced({"x": 1}).text.replace("!mine ", ""))
        assert config.replaced({name: value}).get(name) == value


@pytest.mark.parametrize("empty", ["", " null", " {}"])
def test_an_empty_section_takes_values(tmp_path: Path, empty: str) -> None:
    config = read(tmp_path, f"trainer:{empty}\nmodel: {{lr: 0.1}}\n")
    changed = config.replaced({"trainer.max_epochs": 3, "trainer.logger.save_dir": "x"})
    assert yaml.safe_load(changed.text) == {
        "trainer": {"max_epochs": 3, "logger": {"save_dir": "x"}},
        "model": {"lr": 0.1},
    }


def test_a_key_with_dots_of_its_own(tmp_path: Path) -> None:
    config = read(tmp_path, "model.lr: 0.1\ntrainer: {a.b: {c: 2}}\n")
    assert config.get("model.lr") == 0.1
    assert config.get("trainer.a.b.c") == 2
    assert config.replaced({"model.lr": 0.2, "trainer.a.b.c": 3}).leaves() == {"model.lr": "0.2", "trainer.a.b.c": "3"}


def test_a_section_in_a_file_of_its_own_is_put_in_place(tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text("class_path: nets.Net\ninit_args: {lr: 1e-2}\n")
    config = read(tmp_path, "model: model.yaml\ndata: {file: model.yaml}\ntrainer: missing.yaml\n")
    assert config.get("model.init_args.lr") == "1e-2"
    assert config.get("data.file") == "model.yaml"
    assert config.get("trainer") == "missing.yaml"


def test_a_name_that_is_not_there_is_refused_with_the_nearest(config: ConfigTree) -> None:
    config.check_name("model.init_args.lr")
    config.check_name("trainer.callbacks.0.init_args.patience")
    with pytest.raises(ArgumentError, match=r"did you mean 'model\.init_args\.width'"):
        config.check_name("model.init_args.widht")
    with pytest.raises(ArgumentError, match=r"a value in this section: .*model\.init_args\.lr"):
        config.check_name("model.init_args")


@pytest.mark.parametrize(
    ("text", "said"), [("", "sections"), ("- 1\n", "sections"), ("a: [1\n", "line 2"), ("a: {<<: 3}\n", "merging")]
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ArgumentError, match=said) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "config.yaml") in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="No such file"):
        ConfigTree.read(tmp_path / "nothing.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ArgumentError, match=r"bytes\.yaml"):
        ConfigTree.read(tmp_path / "bytes.yaml")
