"""A configuration as a tree of YAML nodes, whose values are read and replaced by dotted names.

The tree has nodes instead of values, so everything that is not replaced is written as it was read. For example, `1e-3`
stays `1e-3`, which YAML itself would read as text, and the user's interpolations and tags are kept. Comments are lost.
Merge keys are resolved. A file that a section names (`model: model.yaml`) is inserted in its place, so that one file
contains the whole configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

import yaml

from lightning_hwtune.errors import ArgumentError, nearest
from lightning_hwtune.host.text_files import read_text
from lightning_hwtune.settings.plain_data import compose

__all__ = ["ConfigTree"]

_FILES = (".yaml", ".yml", ".json")


class _Loader(yaml.SafeLoader):
    """Reads a value with an unknown tag as None."""


_Loader.add_constructor(None, lambda loader, node: None)


@final
@dataclass(frozen=True, slots=True)
class ConfigTree:
    """One configuration. `text` is YAML, which is sent to the processes that train."""

    text: str

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Reads a configuration, including the files that its sections name.

        Raises:
            ArgumentError: a file cannot be read, or is not a YAML mapping.
        """
        root = _compose(Path(path))
        for index, (key, node) in enumerate(root.value):
            if isinstance(node, yaml.ScalarNode) and node.value.endswith(_FILES):
                file = Path(path).parent / node.value
                if file.is_file():
                    root.value[index] = (key, _compose(file))
        return cls(_text(root))

    def get(self, name: str, default: Any = None) -> Any:
        """Returns the value of a dotted name; `default` if there is no value, or it is null.

        Interpolations (`${data.size}`, for a parser in the mode `omegaconf`) are resolved; one that cannot be resolved
        stays text.
        """
        node = _find(self._root(), name.split("."))
        value = yaml.load(_text(node), Loader=_Loader) if node is not None else None
        if isinstance(value, str) and "${" in value:
            value = self._resolved(name, value)
        return default if value is None else value

    def plain(self) -> Any:
        """Returns everything as plain data. A value with a tag of the user, which is known only in training, is None.

        Interpolations are not resolved.
        """
        return yaml.load(self.text, Loader=_Loader)

    def _resolved(self, name: str, value: str) -> Any:
        try:
            from omegaconf import OmegaConf
            from omegaconf.errors import OmegaConfBaseException
        except ImportError:  # then the script has no such interpolations
            return value
        try:
            return OmegaConf.select(OmegaConf.create(self.plain()), name)
        except OmegaConfBaseException:
            return value

    def leaves(self) -> dict[str, str]:
        """Returns dotted name -> text for every value that is not a section; elements of a list are named by number."""
        return dict(_leaves(self._root(), ""))

    def has(self, name: str) -> bool:
        """Return whether there is a value or section with this dotted name; null counts."""
        return _find(self._root(), name.split(".")) is not None

    def check_name(self, name: str, *, takes_section: bool = False, may_be_new: bool = False) -> None:
        """Refuses a dotted name that is not in the configuration, or that is a section.

        Args:
            takes_section: also allow a section, for a parameter whose options replace the whole section.
            may_be_new: also allow a name that is not there, if its section is.

        Raises:
            ArgumentError: the name is refused; the message suggests the nearest existing name.
        """
        leaves = self.leaves()
        node = _find(self._root(), name.split("."))
        if node is None:
            section = _find(self._root(), name.split(".")[:-1])
            if may_be_new and "." in name and isinstance(section, yaml.MappingNode):
                return
            hint = "To search a parameter that has its default value, first write it into the file with any value."
            allowed = f"a name in the configuration: {', '.join(leaves)}{nearest(name, leaves)}"
            raise ArgumentError("space", name, allowed, hint=hint)
        if isinstance(node, yaml.MappingNode) and node.value and not takes_section:
            inner = [leaf for leaf in leaves if leaf.startswith(f"{name}.")]
            raise ArgumentError("space", name, f"a value in this section: {', '.join(inner)}")

    def replaced(self, values: Mapping[str, Any]) -> ConfigTree:
        """Returns the configuration with new values for these dotted names; names that do not exist are added."""
        root = self._root()
        for name, value in values.items():
            root = _with(root, name.split("."), _node(value))
        return ConfigTree(_text(root))

    def _root(self) -> Any:
        return yaml.compose(self.text, Loader=yaml.SafeLoader)


def _compose(path: Path) -> Any:
    """Reads the tree of a file, with resolved merge keys."""
    allowed = "a LightningCLI configuration, which is a readable YAML file"
    try:
        root = compose(read_text(path))
    except OSError as error:
        raise ArgumentError("config", str(path), allowed, hint=f"({error.strerror})") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ArgumentError("config", str(path), allowed, hint=f"\n{error}") from None
    if not isinstance(root, yaml.MappingNode) or not root.value:
        raise ArgumentError("config", str(path), f"{allowed}, with sections such as `trainer` and `model`")
    try:
        return _merged(root)
    except yaml.YAMLError as error:
        raise ArgumentError("config", str(path), allowed, hint=f"\n{error}") from None


def _merged(node: Any) -> Any:
    """Returns the tree without merge keys and shared nodes."""
    if isinstance(node, yaml.SequenceNode):
        items = [_merged(item) for item in node.value]
        return yaml.SequenceNode(node.tag, items, flow_style=node.flow_style)
    if not isinstance(node, yaml.MappingNode):
        return yaml.ScalarNode(node.tag, node.value, style=node.style)
    yaml.constructor.SafeConstructor().flatten_mapping(node)
    last = {key.value: (_merged(key), _merged(value)) for key, value in node.value}
    return yaml.MappingNode(node.tag, list(last.values()), flow_style=node.flow_style)


def _text(node: yaml.Node) -> str:
    text = yaml.serialize(node, Dumper=yaml.SafeDumper, allow_unicode=True, width=1000)
    return str(text)


def _node(value: Any) -> Any:
    return yaml.compose(yaml.safe_dump(value), Loader=yaml.SafeLoader)


def _find(node: yaml.Node, parts: list[str]) -> yaml.Node | None:
    """Returns the node for a name; a key may itself contain dots."""
    if not parts:
        return node
    for key, n, child in _children(node):
        if parts[:n] == key and (found := _find(child, parts[n:])) is not None:
            return found
    return None


def _children(node: yaml.Node) -> Iterator[tuple[list[str], int, yaml.Node]]:
    """Yields, for each child of a section or list, the words of its key, their number, and its node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            words = str(key.value).split(".")
            yield words, len(words), value
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield [str(index)], 1, value


def _leaves(node: yaml.Node, prefix: str) -> Iterator[tuple[str, str]]:
    children = list(_children(node))
    if not children:
        yield prefix, node.value if isinstance(node, yaml.ScalarNode) else _text(node).strip()
    for words, _, child in children:
        yield from _leaves(child, ".".join([prefix, *words] if prefix else words))


def _with(node: Any, parts: list[str], value: yaml.Node) -> yaml.Node:
    """Returns a tree with one value changed. A node that is not a section or list, such as null, becomes a section."""
    if not parts:
        return value
    if not isinstance(node, yaml.MappingNode | yaml.SequenceNode):
        node = _node({})
    items: list[Any] = list(node.value)
    for index, (words, n, child) in enumerate(_children(node)):
        if parts[:n] == words:
            inner = _with(child, parts[n:], value)
            items[index] = (items[index][0], inner) if isinstance(node, yaml.MappingNode) else inner
            break
    else:
        items.append((_node(parts[0]), _with(_node({}), parts[1:], value)))
    changed: yaml.Node = type(node)(node.tag, items, flow_style=node.flow_style)
    return changed
