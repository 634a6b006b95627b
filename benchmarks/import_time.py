"""What `import lightning_hwtune` costs: seconds in fresh interpreters, and whether it imports torch.

Prints one JSON object. Run it on a quiet machine: `python benchmarks/import_time.py`.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys

import lightning_hwtune

N_INTERPRETERS = 5
CODE = """
import sys, time
start = time.perf_counter()
import lightning_hwtune
print(time.perf_counter() - start, int("torch" in sys.modules))
"""


def main() -> None:
    """Imports the package in fresh interpreters and prints the figures."""
    runs = [_fresh_import() for _ in range(N_INTERPRETERS)]
    figures = {
        "import_s": statistics.median(seconds for seconds, _ in runs),
        "import_s_all": [seconds for seconds, _ in runs],
        "has_torch": any(has_torch for _, has_torch in runs),
    }
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "python": platform.python_version()}
    print(json.dumps({"figures": figures, "machine": platform.platform(), "versions": versions, "seeds": []}))


def _fresh_import() -> tuple[float, bool]:
    """Returns the seconds of one import, and whether it imported torch."""
    output = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    seconds, has_torch = output.split()
    return float(seconds), has_torch == "1"


if __name__ == "__main__":
    main()
