"""Runs the notebooks and writes each as a page with its outputs: `python docs/run_notebooks.py [NAME ...]`.

The pages are `docs/notebooks/NAME.md`, their pictures `docs/images/notebook_*.png`. `tests/test_notebooks.py` checks
that each page has the cells of its notebook.
"""

from __future__ import annotations

import argparse
import base64
import html
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

__all__ = ["page_of"]

ROOT = Path(__file__).resolve().parent.parent
PAGES, IMAGES = ROOT / "docs" / "notebooks", ROOT / "docs" / "images"
LIMIT_S = 900
_CODES = re.compile(r"\x1b\[[0-9;]*m")


def main(names: Iterable[str]) -> None:
    """Runs the notebooks with these names, or all."""
    PAGES.mkdir(exist_ok=True)
    chosen = [ROOT / "notebooks" / f"{name}.ipynb" for name in names] or sorted((ROOT / "notebooks").glob("*.ipynb"))
    for path in chosen:
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            for name in ("datamodules", "models"):
                (Path(folder) / name).symlink_to(ROOT / name)
            NotebookClient(notebook, timeout=LIMIT_S, resources={"metadata": {"path": folder}}).execute()
            for old in IMAGES.glob(f"notebook_{path.stem}_*.png"):
                old.unlink()
            text, pictures = page_of(notebook, path.stem)
            (PAGES / f"{path.stem}.md").write_text(text.replace(folder, "."), encoding="utf-8")
            for name, data in pictures.items():
                (IMAGES / name).write_bytes(data)


def page_of(notebook: Any, name: str) -> tuple[str, dict[str, bytes]]:
    """Returns a notebook as Markdown, and its pictures by file name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        is_text = cell.cell_type == "markdown"  # a page lies one folder nearer to the other pages
        parts.append(cell.source.replace("](../docs/", "](../") if is_text else f"```python\n{cell.source}\n```")
        for output in _joined(cell.get("outputs", ())):
            parts += _shown(output, name, pictures)
    about = f"*This page is `notebooks/{name}.ipynb` with its outputs.*"
    title, _, rest = parts[0].partition("\n")
    return "\n\n".join([title, about, rest.strip(), *parts[1:]]).rstrip() + "\n", pictures


def _joined(outputs: Iterable[Any]) -> list[Any]:
    """Returns the outputs of a cell: what was printed as one output, without what Lightning writes to stderr."""
    found: list[Any] = []
    for output in outputs:
        last = found[-1] if found else None
        is_stream = output.output_type == "stream"
        if last is not None and is_stream and last.output_type == "stream" and last.name == output.name:
            last.text += output.text
        elif not is_stream or output.name == "stdout":
            found.append(output)
    return found


def _shown(output: Any, name: str, pictures: dict[str, bytes]) -> list[str]:
    if output.output_type == "stream":
        return [_block(output.text)]
    data: Mapping[str, Any] = output.get("data", {})
    if "image/png" in data:
        file = f"notebook_{name}_{len(pictures) + 1}.png"
        pictures[file] = base64.b64decode(data["image/png"])
        return [f"![The figure of the cell above](../images/{file})"]
    if "text/html" in data:  # Markdown ends HTML at an empty line
        lines = [line.strip() for line in data["text/html"].splitlines()]
        return [f"<div class='output'>{' '.join(filter(None, lines))}</div>"]
    return [_block(data["text/plain"])] if "text/plain" in data else []


def _block(text: str) -> str:
    return f"<pre class='output'>{html.escape(_CODES.sub('', text).rstrip(), quote=False)}</pre>"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    main(parser.parse_args().names)
