"""Names from other tools, and their names here."""

from __future__ import annotations

from lightning_hwtune.names.called import called
from lightning_hwtune.names.unknown import refuse_unknown, refuse_unknown_keys, unknown_attribute

__all__ = ["called", "refuse_unknown", "refuse_unknown_keys", "unknown_attribute"]
