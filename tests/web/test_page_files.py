"""The files of the page: the libraries are those that are pinned, and the package has every file that it names."""

from __future__ import annotations

import hashlib
import json

from lightning_hwtune.web.files import FOLDER, LIBRARIES, SCRIPTS, page_files, served_page


def test_the_libraries_are_those_that_are_pinned() -> None:
    pins = json.loads((FOLDER / "vendor" / "libraries.json").read_text(encoding="utf-8"))
    digests = {name: entry["sha256"] for library in pins for name, entry in library["files"].items()}
    found = {path.name: path for path in (FOLDER / "vendor").iterdir() if path.name != "libraries.json"}
    assert found.keys() == digests.keys()
    for name, path in found.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digests[name], name
    assert set(LIBRARIES) | {name.split(".")[0] + ".LICENSE" for name in LIBRARIES} == digests.keys()


def test_every_file_is_there_and_used() -> None:
    files = page_files()
    assert all(path.is_file() for path in files.values())
    assert {path.name for path in FOLDER.glob("*.js")} == set(SCRIPTS)
    page = served_page()
    assert all(f"/files/{name}" in page for name in (*SCRIPTS, *LIBRARIES, "page.css", "icon.svg"))


def test_no_script_reads_text_as_html_or_code() -> None:
    for name in SCRIPTS:
        text = (FOLDER / name).read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert word not in text, name
