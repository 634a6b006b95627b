"""The files of the page: our scripts and style, and the two libraries that draw, with their licences.

`scripts/` are plain scripts in a fixed order, not modules, so that one file can contain them all and opens from a disk.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from pathlib import Path

__all__ = ["LIBRARIES", "SCRIPTS", "page_files", "served_page", "single_page"]

FOLDER = Path(__file__).with_name("page")
LIBRARIES = ("d3.min.js", "plot.umd.min.js")
SCRIPTS = (
    "study.js", "text.js", "parts.js", "front.js", "trials.js", "trial.js", "rungs.js", "parameters.js", "relations.js",
    "searcher.js", "devices.js", "budget.js", "control.js", "studies.js", "compare.js", "page.js",
)  # fmt: skip
_STYLE = "page.css"
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"


def page_files() -> Mapping[str, Path]:
    """Returns the files that the server sends, by name."""
    own = {name: FOLDER / name for name in (*SCRIPTS, _STYLE, "icon.svg")}
    return own | {path.name: path for path in sorted((FOLDER / "vendor").iterdir())}


def served_page(*, controls: bool = False) -> str:
    """Returns the page whose scripts come from the server; `controls`: with the buttons that change a study."""
    scripts = "\n".join(f'<script defer src="/files/{name}"></script>' for name in (*LIBRARIES, *SCRIPTS))
    head = f'<link rel="icon" href="/files/icon.svg">\n<link rel="stylesheet" href="/files/{_STYLE}">\n{scripts}'
    page = _filled(head, "")
    return page.replace("<html ", '<html data-controls="1" ', 1) if controls else page


def single_page(data: str, *, reload_s: int | None = None) -> str:
    """Returns the page as one file with this JSON in it; it opens without a server and loads nothing.

    Args:
        reload_s: after so many seconds, the browser opens the file again; None for never.
    """
    files = page_files()
    packed = base64.b64encode(gzip.compress(data.encode(), mtime=0)).decode()
    style = f"<style>\n{files[_STYLE].read_text(encoding='utf-8')}\n</style>"
    icon = base64.b64encode(files["icon.svg"].read_bytes()).decode()
    head = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    head += f'<meta http-equiv="refresh" content="{reload_s}">\n' if reload_s is not None else ""
    head += f'<link rel="icon" href="data:image/svg+xml;base64,{icon}">\n{style}'
    licences = [files[name].read_text(encoding="utf-8") for name in sorted(files) if name.endswith(".LICENSE")]
    notes = "<!--\nThis file contains d3 and Observable Plot, whose licences are:\n\n" + "\n".join(licences) + "-->"
    scripts = [_inline(files[name]) for name in (*LIBRARIES, *SCRIPTS)]
    stored = f'<script type="application/octet-stream" id="stored">{packed}</script>'
    return _filled(head, "\n".join([notes, stored, *scripts]))


def _inline(path: Path) -> str:
    text = path.read_text(encoding="utf-8").replace("</script", "<\\/script")
    return f"<script>\n{text}\n</script>"


def _filled(head: str, end: str) -> str:
    page = (FOLDER / "page.html").read_text(encoding="utf-8")
    return page.replace("<!-- head -->", head).replace("<!-- end -->", end)
