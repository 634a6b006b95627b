"""Each class tree of Lightning gets its own callback, and the other tree is never imported for it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("pytorch_lightning")
pytestmark = pytest.mark.training

_SCRIPT = """
    import sys
    import {used} as pl
    import lightning_hwtune as hwt

    callback = hwt.RungCallback()
    assert isinstance(callback, pl.Callback), type(callback).__mro__
    trainer = pl.Trainer(
        callbacks=[callback], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )
    assert trainer.callbacks == [callback]
    assert "{other}" not in sys.modules
"""


@pytest.mark.parametrize(
    ("used", "other"), [("lightning.pytorch", "pytorch_lightning"), ("pytorch_lightning", "lightning.pytorch")]
)
def test_the_public_callback_is_of_the_tree_that_is_used(used: str, other: str) -> None:
    script = textwrap.dedent(_SCRIPT.format(used=used, other=other))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
