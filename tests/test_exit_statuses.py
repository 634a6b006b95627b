"""The exit status that a shell shows after a signal, for scripts; the tests of commands and sweeps have theirs."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
LIMIT_S = 120.0

SCRIPT = """
    import os, sys, time
    from pathlib import Path
    Path("pid").write_text(str(os.getpid()))
    import lightning_hwtune as hwt

    def train(trial):
        (Path(trial.dir).parents[2] / "trains").touch()
        while True:  # of the check, only the first epoch is reported
            time.sleep(0.01)

    space = hwt.SearchSpace(x=hwt.Float(0, 1))
    study = hwt.Study("s", space, [hwt.Metric("error", "min")], max_epochs=4, pool=hwt.Pool("cpu", devices=1))
    if sys.argv[1] == "check":
        study.check(train)
    elif sys.argv[1] == "run":
        study.run(train, max_trials=1, check=False)
    else:
        sys.path.insert(0, sys.argv[2])
        import lightning.pytorch as L
        from tiny_training import TinyNet, rows

        class Waits(L.Callback):
            def on_train_batch_end(self, *_):
                Path("trains").touch()
                time.sleep(0.3)

        trial = study.ask(max_trials=1)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = L.Trainer(max_epochs=trial.max_epochs, accelerator="cpu", callbacks=[Waits()], **quiet)
        trainer.fit(TinyNet(), rows(64), rows(64))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "number", "says"),
    [
        ("check", signal.SIGINT, "interrupted; no trial was started."),
        ("run", signal.SIGINT, "To continue, run the study again."),
        ("ask", signal.SIGINT, "To continue, run the study again."),
        ("ask", signal.SIGTERM, "To continue, run the study again."),
    ],
)
def test_a_script_ends_with_the_status_of_the_signal(
    tmp_path: Path, way: str, number: signal.Signals, says: str
) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    command = shlex.join([sys.executable, "script.py", way, str(REPOSITORY / "tests" / "training")])
    with subprocess.Popen(
        ["bash", "-c", f"{command}; echo $? > status"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as shell:
        deadline = time.monotonic() + LIMIT_S
        while not (tmp_path / "trains").exists() and shell.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(int((tmp_path / "pid").read_text()), number)
        said = shell.communicate(timeout=LIMIT_S)[0]
    assert "Traceback" not in said
    assert says in said
    assert (tmp_path / "status").read_text() == f"{128 + number}\n"
