"""Without Optuna, the searcher that needs it says what to install, and all others work."""

from __future__ import annotations

import sys

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.searchers import SEARCHER_REGISTRY
from lightning_hwtune.errors import ArgumentError, MissingDependencyError


@pytest.fixture(autouse=True)
def _without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("lightning_hwtune.searchers.optuna_s")]:
        if name != "lightning_hwtune.searchers.optuna_sampler":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    package = sys.modules.get("lightning_hwtune.searchers")
    if package is not None and hasattr(package, "optuna_samplers"):
        monkeypatch.delattr(package, "optuna_samplers")


def test_the_extra_is_named() -> None:
    for make in (
        lambda: hwt.OptunaSampler("TPESampler"),
        lambda: SEARCHER_REGISTRY.rebuilt({"name": "optuna", "sampler": "TPESampler", "options": None}),
    ):
        with pytest.raises(MissingDependencyError, match=r"lightning_hwtune\[optuna\]"):
            make()


def test_what_is_not_a_name_is_refused_all_the_same() -> None:
    with pytest.raises(ArgumentError, match="the name of a sampler"):
        hwt.OptunaSampler(3)  # type: ignore[arg-type]


def test_other_searchers_are_found() -> None:
    assert SEARCHER_REGISTRY.find("evolution") is hwt.Evolution
    assert "optuna" in SEARCHER_REGISTRY.names
