"""Let a second virtual environment use the torch of the one that runs this script: `python .ci/share_torch.py VENV`.

Torch and the libraries that it brings (CUDA, triton) take several gigabytes, so they are downloaded once. VENV gets a
folder of links to them, which a `.pth` file puts behind its own site-packages, and nothing else of this environment:
a package that VENV lacks stays missing there.
"""

from __future__ import annotations

import sys
import sysconfig
from importlib import metadata
from pathlib import Path

EXACT, PREFIXES = ("torch", "triton"), ("nvidia-", "cuda-")


def main(venv: Path) -> None:
    """Make the links and the `.pth` file."""
    links = venv.resolve() / "shared_torch"
    links.mkdir(exist_ok=True)
    here = Path(sysconfig.get_path("purelib"))
    for distribution in metadata.distributions(path=[str(here)]):
        name = distribution.metadata["Name"].lower().replace("_", "-")
        if name in EXACT or name.startswith(PREFIXES):
            for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
                if not (links / top).is_symlink():
                    (links / top).symlink_to(here / top)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(venv.resolve())}))
    (site / "shared_torch.pth").write_text(f"{links}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
