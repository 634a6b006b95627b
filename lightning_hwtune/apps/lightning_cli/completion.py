"""What a configuration leaves to the script: defaults of its classes, and files that its parser always reads.

The script's own parser completes the configuration only if the study needs such a value, since that starts the script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_hwtune.apps.config_tree import ConfigTree
from lightning_hwtune.apps.lightning_cli.config_values import BATCHES, DEVICES, EPOCHS, STEPS
from lightning_hwtune.apps.lightning_cli.merge import merged_config
from lightning_hwtune.apps.monitors import monitors
from lightning_hwtune.apps.trainer_settings import HORIZONS
from lightning_hwtune.core.batch_rule import is_batch_size
from lightning_hwtune.errors import ArgumentError

__all__ = ["completed_config"]


def completed_config(
    file: Path, script: str | None, subcommand: Sequence[str], data: Mapping[str, Any]
) -> tuple[ConfigTree, list[str]]:
    """Return the configuration that a file gives, and the names of values that only the script's parser knew.

    A file that the parser refuses stays as it is; the messages about it are then those about the file.

    Args:
        script: an absolute path, the name of a module, or None, as for `run_script`.
        data: the study, as in a study file.
    """
    base = ConfigTree.read(file)
    wanted = _missing(base, data)
    # without a script and class paths, no parser knows the classes
    if not wanted or (script is None and base.get("model.class_path") is None):
        return base, []
    try:
        whole = merged_config([file], script, subcommand)
    except ArgumentError:
        return base, []
    still = _missing(whole, data)
    found = [name for name in wanted if name not in still]
    has_wrong_name = any(name in data["space"] for name in still)  # the error then suggests a name that the script has
    return (whole, found) if found or has_wrong_name else (base, [])


def _missing(base: ConfigTree, data: Mapping[str, Any]) -> list[str]:
    """Return what the study needs from the configuration, and does not find there."""
    space = data["space"] if isinstance(data["space"], Mapping) else {}
    missing = [str(name) for name, form in space.items() if _is_needed(name, form) and not base.has(str(name))]
    if data.get("objectives") is None and not any(True for _ in monitors(base.plain(), base.get)):
        missing.append("a monitor")
    scheduler = data.get("scheduler")
    given = {**data, **(scheduler if isinstance(scheduler, Mapping) else {})}
    if all(given.get(name) is None for name in HORIZONS) and base.get(EPOCHS) is None and base.get(STEPS) is None:
        missing.append(EPOCHS)
    is_split = data.get("batch") != "per_device" and _has_several_devices(base, space)
    if is_split and not any(base.has(name) for name in BATCHES) and not any(is_batch_size(str(name)) for name in space):
        missing.append(f"a batch size ({' or '.join(reversed(BATCHES))})")
    return missing


def _is_needed(name: str, form: Any) -> bool:
    return name != DEVICES and (not isinstance(form, Mapping) or form.get("when") is None)


def _has_several_devices(base: ConfigTree, space: Mapping[str, Any]) -> bool:
    form = space.get(DEVICES, base.get(DEVICES))
    if isinstance(form, Mapping):
        form = form.get("counts") or form.get("options") or 1
    numbers = form if isinstance(form, list | tuple) else [form]
    return len(numbers) > 1 or any(isinstance(number, int) and number > 1 for number in numbers)
