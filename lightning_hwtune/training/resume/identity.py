"""The identity of a trial in its checkpoints, so that no trial resumes from a checkpoint of another one.

Every checkpoint that a segment writes contains the study, the trial and a digest of the configuration, including those
of the user's `ModelCheckpoint`. The number of devices is not part of the digest, because it may change from one segment
to the next. Checkpoints without an identity (from Lightning alone, or from version 0.1.0) are accepted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from lightning_hwtune.errors import CheckpointError
from lightning_hwtune.training.channel import SegmentOrder
from lightning_hwtune.training.context import ActiveSegment

__all__ = ["check_identity", "config_digest", "identity"]


def config_digest(config: Mapping[str, Any]) -> str:
    """Returns a hexadecimal digest of a configuration; the order of its parameters does not matter."""
    text = json.dumps(dict(config), sort_keys=True, default=repr)
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def identity(order: SegmentOrder) -> dict[str, Any]:
    """Returns the identity of a trial for its checkpoints, as plain values."""
    return {
        "study": order.study,
        "study_id": order.study_id,
        "trial": order.trial_id,
        "config": order.config_digest or config_digest(order.config),
        "is_check": order.probe_batches is not None,
    }


def check_identity(segment: ActiveSegment, found: Mapping[str, Any] | None, path: object) -> None:
    """Refuses the checkpoint of another trial.

    Args:
        found: the identity that was saved in the checkpoint; None if it has none.
        path: the path of the checkpoint, for the message.

    Raises:
        CheckpointError: it belongs to another study, to another trial, or to another configuration of this trial.
    """
    own = identity(segment.order)
    if not found or _is_same(own, found):
        return
    raise CheckpointError(
        f"the checkpoint {str(path)!r} belongs to {_name(found)}, but this segment trains {_name(own)}"
        f"{' with another configuration' if _name(own) == _name(found) else ''}. A trial can continue only from its "
        f"own checkpoints. {segment.hints.folder}"
    )


def _is_same(own: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Return whether two identities are of the same trial; study ids are compared, since names may change."""
    if own["study_id"] and found.get("study_id") and own["study_id"] != found["study_id"]:
        return False
    return all(own[key] == found.get(key) for key in ("trial", "config", "is_check"))


def _name(owner: Mapping[str, Any]) -> str:
    if owner.get("is_check"):
        return f"the check of study {owner.get('study')!r}"
    return f"trial {owner.get('trial')} of study {owner.get('study')!r}"
