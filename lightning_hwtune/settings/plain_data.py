"""Configurations as plain data: YAML files and OmegaConf nodes, with one error class for all problems."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.host.text_files import read_text

__all__ = ["compose", "plain_data", "read_yaml"]

_MAX_DEPTH = 100  # of nested mappings and lists; OmegaConf needs some Python frames for each level
_TOO_DEEP = f"Lists and mappings are nested more than {_MAX_DEPTH} deep, or contain themselves."
_MAX_NODES = 20_000  # including repetitions by aliases, which may be billions; OmegaConf takes 0.1 ms per node
_MAX_LETTERS = 100_000  # of a single value
_TOO_MANY = f"It has more than {_MAX_NODES:,} values. Write longer lists in Python."


def read_yaml(path: str | Path, allowed: str) -> dict[str, Any]:
    """Returns a YAML file's plain data, with unresolved interpolations.

    Args:
        allowed: a description of the expected file, for the message.

    Raises:
        ArgumentError: the file cannot be read, is not a YAML mapping, or is nested too deeply.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        text = read_text(path)
        root = compose(text)
        if root is not None and (found := _misread(root)):
            raise ArgumentError("file", str(path), "YAML in which words and times mean what they say", hint=found)
        data = OmegaConf.to_container(OmegaConf.load(io.StringIO(text))) if root is not None else {}
    except OSError as error:
        raise ArgumentError("file", str(path), "a readable YAML file", hint=f"({error.strerror})") from None
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError) as error:
        raise ArgumentError("file", str(path), "valid YAML", hint=f"\n{error}") from None
    if not isinstance(data, dict):
        raise ArgumentError("file", str(path), allowed)
    return data  # type: ignore[return-value]


def _misread(root: Any) -> str:
    """Returns a hint on the first word of a YAML document that its author hardly means as YAML reads it; or "".

    These are `yes`, `no`, `on` and `off` as a key or in a list, which YAML reads as true and false, and `1:30`, which
    it reads as 90.
    """
    waiting = [(root, False)]
    while waiting:
        node, is_listed = waiting.pop()
        where = f"line {node.start_mark.line + 1}: "
        if node.tag.endswith(":int") and ":" in node.value:
            return f"{where}YAML reads {node.value} as one number. Write it in quotes, or times such as 1h30min."
        if is_listed and node.tag.endswith(":bool") and node.value.lower() not in ("true", "false"):
            meant = "true" if node.value.lower() in ("yes", "on") else "false"
            return f"{where}YAML reads {node.value} as {meant}. Write {meant}, or '{node.value}' in quotes."
        for child in reversed(node.value) if isinstance(node.value, list) else ():
            is_pair = isinstance(child, tuple)
            waiting += [(child[1], False), (child[0], True)] if is_pair else [(child, True)]
    return ""


def plain_data(node: Any, where: str) -> dict[str, Any]:
    """Returns an OmegaConf node, or a mapping, as plain data with resolved interpolations.

    Args:
        where: the node's key, for messages.

    Raises:
        ArgumentError: an interpolation cannot be resolved, or the node is not a mapping with strings as keys.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    prefix = f"{where}." if where else ""
    try:
        config = OmegaConf.create(dict(node)) if isinstance(node, Mapping) else node
        data: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        key = f"{prefix}{error.full_key}" if error.full_key else where or "interpolation"
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArgumentError(key, getattr(error, "value", None), "values that can be resolved", hint=first) from None
    except (RecursionError, ValueError, TypeError, AttributeError) as error:
        hint = _TOO_DEEP if isinstance(error, RecursionError) else str(error)
        raise ArgumentError(where or "file", node, "a mapping of plain values", hint=hint) from None
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ArgumentError(where or "file", data, "a mapping with text as keys")
    return data


def compose(text: str) -> Any:
    """Returns the node tree of a YAML document; None for an empty document.

    Raises:
        yaml.YAMLError: the text is not YAML, is nested too deeply, or is too large (aliases count with all
            repetitions).
    """
    import yaml

    depth = n_events = 0
    # first, before anything that recurses once per level; in C, if available
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        n_events += isinstance(event, yaml.NodeEvent)
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _MAX_LETTERS:
            raise yaml.YAMLError(f"It has a value of more than {_MAX_LETTERS:,} characters.")
        if depth > _MAX_DEPTH or n_events > _MAX_NODES:
            raise yaml.YAMLError(_TOO_DEEP if depth > _MAX_DEPTH else _TOO_MANY)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    n_nodes, waiting = 0, [(root, 1)] if root is not None else []
    while waiting:
        node, depth = waiting.pop()
        n_nodes += 1
        if depth > _MAX_DEPTH or n_nodes > _MAX_NODES:
            raise yaml.YAMLError(_TOO_DEEP if depth > _MAX_DEPTH else _TOO_MANY)
        for child in node.value if isinstance(node.value, list) else ():
            waiting += [(part, depth + 1) for part in (child if isinstance(child, tuple) else (child,))]
    return root
