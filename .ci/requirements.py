"""Print the core dependencies and what runs the tests: `python .ci/requirements.py lowest` pins each one to its bound.

Only these are in pyproject.toml's `dependencies`; torch is left as it is installed (`share_torch.py`), since another
build of it would take gigabytes for each run.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "psutil")


def pinned(requirement: Requirement) -> str:
    """Return a requirement with its lower bound as the only version."""
    [bound] = [item.version for item in requirement.specifier if item.operator == ">="]
    return f"{requirement.name}=={bound}"


def main(kind: str) -> None:
    """Print one requirement per line; `kind` is "lowest" or "core"."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    tools = [text for text in project["optional-dependencies"]["dev"] if Requirement(text).name in TOOLS]
    for requirement in map(Requirement, [*project["dependencies"], *tools]):
        is_pinned = kind == "lowest" and requirement.name != "torch"
        print(pinned(requirement) if is_pinned else requirement)


if __name__ == "__main__":
    main(sys.argv[1])
