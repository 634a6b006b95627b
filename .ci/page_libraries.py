"""Bring the two libraries that the page draws with from npm into the package, in their pinned versions.

    python .ci/page_libraries.py          gets them again, and checks the digests of packages and files
    python .ci/page_libraries.py --pin    writes the digests of the versions in libraries.json; look at them

`lightning_hwtune/web/page/vendor/libraries.json` names the versions. The registry is the one that `npm` is set to.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).parents[1] / "lightning_hwtune" / "web" / "page" / "vendor"
PINS = VENDOR / "libraries.json"


def main(is_pinning: bool) -> None:
    """Write the files of all libraries, and the digests if they are pinned."""
    libraries = json.loads(PINS.read_text(encoding="utf-8"))
    for library in libraries:
        with tempfile.TemporaryDirectory() as folder:
            command = ["npm", "pack", "--silent", f"{library['name']}@{library['version']}"]
            packed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.split()[-1]
            archive = Path(folder) / packed
            digest = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            check(library, "integrity", digest, is_pinning)
            with tarfile.open(archive) as tar:
                for name, entry in library["files"].items():
                    member = tar.extractfile(f"package/{entry['from']}")
                    assert member is not None
                    content = member.read()
                    check(entry, "sha256", hashlib.sha256(content).hexdigest(), is_pinning)
                    (VENDOR / name).write_bytes(content)
    PINS.write_text(json.dumps(libraries, indent=2) + "\n", encoding="utf-8")


def check(entry: dict[str, str], key: str, found: str, is_pinning: bool) -> None:
    """Compare a digest with the pinned one, or pin it."""
    if is_pinning:
        entry[key] = found
    elif entry[key] != found:
        sys.exit(f"{entry}: the {key} is {found}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pin", action="store_true", help="write the digests instead of checking them")
    main(parser.parse_args().pin)
