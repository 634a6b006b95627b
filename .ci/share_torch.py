"""Let a second virtual environment use the torch of the one that runs this script: `python .ci/share_torch.py VENV`.

Torch and the libraries that it brings (CUDA, triton) take several gigabytes, so they are installed once. VENV gets a
folder of links to them, which a `.pth` file puts behind its own site-packages, and nothing else of this environment:
a package that VENV lacks stays missing there.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

SHARED = ("torch", "triton", "nvidia-", "cuda-")


def shared(name: str = "torch") -> Iterator[metadata.Distribution]:
    """Yield the distribution and those of its requirements that are worth sharing."""
    found = metadata.distribution(name)
    yield found
    for text in found.requires or ():
        required = Requirement(text)
        if required.name.startswith(SHARED) and (required.marker is None or required.marker.evaluate({"extra": ""})):
            yield from shared(required.name)


def main(venv: Path) -> None:
    """Make the links and the `.pth` file."""
    links = venv.resolve() / "shared_torch"
    links.mkdir(exist_ok=True)
    here = Path(sysconfig.get_path("purelib"))
    names = {file.parts[0] for item in shared() for file in item.files or () if file.parts[0] != ".."}
    for name in names - {"__pycache__"}:
        if not (links / name).exists():
            (links / name).symlink_to(here / name)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(venv.resolve())}))
    (site / "shared_torch.pth").write_text(f"{links}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
