"""A study whose log is on a PostgreSQL server, while the server fails in every way."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from postgres_proxy import PostgresProxy
from postgres_server import PASSWORD, PostgresServer
from study_bench import check_log, run_script, small_study

import lightning_hwtune as hwt
from lightning_hwtune.core.events import Reported
from lightning_hwtune.engine.outage import Outage
from lightning_hwtune.errors import StorageError
from lightning_hwtune.host.deferred_signals import uninterrupted
from lightning_hwtune.store.database_errors import LOST_CONNECTION


def behind(proxy: PostgresProxy, postgres: PostgresServer) -> str:
    return postgres.fresh_schema().replace(f":{postgres.port}/", f":{proxy.port}/")


def with_faults(faults: dict[int, Callable[[], object]]) -> Callable[[Any], None]:
    """A training function of one report per epoch; some faults come before the n-th report of the study."""
    n_reports = 0

    def train(trial: hwt.Trial) -> None:
        nonlocal n_reports
        for epoch in range(1, 10):
            n_reports += 1
            if n_reports in faults:
                faults[n_reports]()
            trial.report(epoch, error=trial["x"] + 1.0 / epoch)

    return train


def run(study: hwt.Study, train: Callable[[Any], None], n_trials: int = 4) -> None:
    study.run(train, max_trials=n_trials, executor="inline", check=False)


def test_a_study_survives_every_fault_of_its_server(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with PostgresProxy(postgres) as proxy:

        def swallow(what: Any) -> None:
            proxy.swallow = what

        def kill() -> None:
            postgres.kill()
            threading.Timer(1.0, postgres.start).start()

        def cut() -> None:
            proxy.is_cut = True
            threading.Timer(1.0, lambda: setattr(proxy, "is_cut", False)).start()

        faults = {
            2: lambda: swallow("answer"),
            4: postgres.restart,
            6: lambda: swallow("request"),
            8: postgres.terminate_clients,
            10: kill,
            12: cut,
        }
        study = small_study(tmp_path, storage=behind(proxy, postgres))
        run(study, with_faults(faults), n_trials=6)
        state = check_log(study)
        reports = [event for event in study.events() if isinstance(event, Reported)]
    assert proxy.swallowed == 2
    assert len(state.trials) == 6
    assert len(reports) > 12
    assert len({(report.trial_id, report.resource) for report in reports}) == len(reports)
    out = capsys.readouterr().out
    waits = re.findall(r"the study waits up to 10 min for the server of its log, .*: .*cannot be reached", out)
    assert 1 <= len(waits) <= 2  # the other faults were over at once
    assert out.count("can be reached again, after") == len(waits)
    assert PASSWORD not in out


def test_a_wait_ends_at_its_limit_and_says_how_to_continue() -> None:
    said: list[str] = []
    outage, error = Outage(said.append, limit_s=0.5), StorageError("'db': gone", LOST_CONNECTION)
    began = time.monotonic()

    def wait() -> None:
        while True:
            outage.wait(error)

    with pytest.raises(StorageError, match=r"'db': gone. The study ends here after a wait of \d s.*same command again"):
        wait()
    assert time.monotonic() - began >= 0.5
    assert len(said) == 1
    with pytest.raises(StorageError):  # what still is to be written at the end of the session does not wait again
        outage.wait(error)
    outage.over()
    outage.wait(error)


def test_a_short_outage_is_not_worth_a_line() -> None:
    said: list[str] = []
    outage = Outage(said.append)
    for _ in range(3):
        outage.wait(StorageError("gone", LOST_CONNECTION))
        outage.over()
    assert said == []


def test_a_signal_ends_a_wait() -> None:
    outage, error = Outage(lambda text: None), StorageError("gone", LOST_CONNECTION)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()

    def wait() -> None:
        while True:
            outage.wait(error)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        wait()
    assert time.monotonic() - began < 60.0
    timer.join()


@pytest.mark.slow
def test_ctrl_c_while_the_server_is_away_ends_the_study_and_the_same_command_continues_it(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    script = f"""
        import os, signal, sys, threading
        import lightning_hwtune as hwt

        def train(trial):
            for epoch in range(1, 10):
                if os.path.exists("stop"):
                    os.remove("stop")
                    proxy.is_cut = True
                    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
                trial.report(epoch, error=trial["x"])

        from postgres_proxy import PostgresProxy
        class Server: port = {postgres.port}
        with PostgresProxy(Server()) as proxy:
            study = hwt.Study("study", {{"x": hwt.Float(0.0, 1.0)}}, [hwt.Metric("error", "min")], max_epochs=9,
                              storage="{postgres.fresh_schema()}".replace(":{postgres.port}/", f":{{proxy.port}}/"))
            study.run(train, max_trials=2, executor="inline", check=False)
    """
    (tmp_path / "stop").touch()
    ended = run_script(tmp_path, script)
    assert ended.returncode != 0
    assert "the study waits up to 10 min for the server" in ended.stdout
    assert "run the same command again" in ended.stderr
    continued = run_script(tmp_path, script)
    assert continued.returncode == 0, continued.stderr
    assert "2 fully trained" in continued.stdout
