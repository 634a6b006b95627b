"""Several configuration files of a LightningCLI script as one, merged by the script's own parser.

Only that parser can combine its files correctly: links, defaults, class paths, lists that a later file replaces. So the
script runs in a separate process with `--print_config` and prints its configuration.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, final

from lightning_hwtune.apps.config_tree import ConfigTree
from lightning_hwtune.apps.lightning_cli.segment import run_script
from lightning_hwtune.errors import ArgumentError

__all__ = ["merged_config"]


def merged_config(configs: Sequence[Path], script: str | None, subcommand: Sequence[str]) -> ConfigTree:
    """Return the configuration that the script uses when it is called with these files, in this order.

    Args:
        script: an absolute path, the name of a module, or None, as for `run_script`.

    Raises:
        ArgumentError: the script's parser refuses the files; the message contains its last output.
    """
    files = [word for path in configs for word in ("--config", str(path))]
    with tempfile.TemporaryDirectory(prefix="hwtune-merge-") as folder:
        target = Path(folder) / "merged.yaml"
        command = [sys.executable, "-m", __name__, str(target), script or ""]
        done = subprocess.run(
            [*command, *subcommand, *files, "--print_config"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode != 0 or not target.is_file():
            why = done.stderr.rstrip().rpartition("\nerror: ")[2] or f"it ended with status {done.returncode}"
            given = ", ".join(map(str, configs))
            allowed = "files that the script's own parser accepts"
            raise ArgumentError("config", given, allowed, hint=f"The parser's message: {why}")
        return _with_interpolations(ConfigTree.read(target), [ConfigTree.read(path) for path in configs])


def _with_interpolations(merged: ConfigTree, files: Sequence[ConfigTree]) -> ConfigTree:
    """Return the merged configuration with interpolations such as `${data.batch_size}` as the files write them.

    The parser prints their values, which would no longer follow a searched parameter.
    """
    written: dict[str, str] = {}
    for file in files:
        for name, text in file.leaves().items():
            written = {key: kept for key, kept in written.items() if not _overlap(key, name)} | {name: text}
    for name, text in written.items():
        if "${" in text and merged.has(name):
            restored = merged.replaced({name: text})
            merged = restored if restored.get(name) == merged.get(name) else merged
    return merged


def _overlap(first: str, second: str) -> bool:
    return f"{first}.".startswith(f"{second}.") or f"{second}.".startswith(f"{first}.")


@final
class _LastWritten:
    """Discards standard output, but keeps the text written last, which is the configuration."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.text = stream, ""

    def write(self, text: str) -> int:
        """Keep a text, unless it is blank."""
        self.text = text if text.strip() else self.text
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _print_merged(target: str, script: str, words: Sequence[str]) -> int | str | None:
    """Run the script until it prints its configuration; return its exit status."""
    written = _LastWritten(sys.stdout)
    sys.stdout = written
    try:
        run_script(script or None, words)
    except SystemExit as stop:
        if stop.code in (0, None):
            Path(target).write_text(written.text, encoding="utf-8")
        return stop.code
    return "the script ended without printing its configuration; it must call LightningCLI"


if __name__ == "__main__":
    sys.exit(_print_merged(sys.argv[1], sys.argv[2], sys.argv[3:]))
