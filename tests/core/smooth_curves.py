"""Learning curves whose trials are all on the front."""

from __future__ import annotations

import math

from lightning_hwtune.core.space import Float, SearchSpace

SPACE = SearchSpace(width=Float(0, 4), lr=Float(0, 1))


class Smooth:
    """The error falls with the width, which the seconds grow with: every trial is on the front."""

    metrics = ("error",)
    max_resource = 27

    def values(self, config, resource):
        return {"error": 1 / (1 + config["width"]) + 0.1 / resource}

    def elapsed_s(self, config, resource, num_devices):
        return resource * math.exp(config["width"]) + (0.5 * math.exp(config["width"]) if resource else 0.0)

    def usd_per_s(self, config, num_devices):
        return 0.0
