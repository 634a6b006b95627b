"""Names that other tools use, and what they are called here."""

from __future__ import annotations

from lightning_hwtune.names.unknown import refuse_unknown, refuse_unknown_keys, unknown_attribute

__all__ = ["refuse_unknown", "refuse_unknown_keys", "unknown_attribute"]
