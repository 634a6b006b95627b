"""NePS's `moasha` on replayed tables: promotion by fronts, with its defaults (epsilon-net selector, eta 3).

For each decision NePS considers the trials of a rung that were not promoted yet. One in eta of *these* may be promoted,
so that in the end many more than one in eta of all trials are promoted. Every trial that reports is paused, and resumes
from its checkpoint.

The draws are those of all other arms. `moasha` itself draws uniformly, so only its ranking counts, and its draws are
ignored.

NePS starts the order of a front at a point drawn from numpy's global generator, which is seeded when the study begins.
One error is repaired, without which four workers could not start: if all trials of a rung are still training, the
selector (0.17) fails on an empty stack. Here it selects none of them.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import neps
import numpy as np
import numpy.typing as npt
from neps.optimizers.optimizer import SampledConfig
from neps.optimizers.utils.brackets import Rung

from lightning_hwtune.core.decisions import Pause, Reason, Verdict
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.schedulers import Promotion, Race, Scheduler
from lightning_hwtune.core.schedulers.ladder import Ladder

__all__ = ["NePSMOASHA"]


@dataclass(frozen=True, repr=False, kw_only=True)
class NePSMOASHA(Scheduler):
    """NePS's rule, through its own ask and tell.

    Args:
        eta: one in eta is promoted. seed: seed of the draws of NePS.
    """

    name: ClassVar[str] = "neps_moasha"
    eta: int = 3
    seed: int = 0

    def rungs(self, unit: str, last: int) -> Ladder:
        """Returns NePS's ladder."""
        return Ladder(unit, tuple(int(level) for _, level in sorted(self.rule(last).rung_to_fid.items())))

    def start(self, objectives: Objectives) -> Race:
        """Returns a race without trials."""
        np.random.seed(self.seed)  # noqa: NPY002 - the generator that NePS uses
        return _NePSRace(self.ladder, self.rule(self.max_resource))

    def rule(self, last: int) -> Any:
        """Returns NePS's own optimizer."""

        class Space(neps.PipelineSpace):
            x = neps.Float(0.0, 1.0)
            resource = neps.IntegerFidelity(1, last)

        _mend()
        return neps.algorithms.moasha(Space(), eta=self.eta)


@final
class _NePSRace(Race):
    def __init__(self, ladder: Ladder, rule: Any) -> None:
        super().__init__(ladder)
        self._rule, self._tool = rule, neps.AskAndTell(self._answer)
        self._answered: SampledConfig | None = None
        self._rungs = {int(level): rung for rung, level in rule.rung_to_fid.items()}

    def joined(self, trial_id: int, bracket: int) -> None:
        """Asks NePS for a new configuration, which it numbers like ours, but from 1.

        A new trial may have waited for devices, and NePS may prefer a promotion by now. Then the trial is reported to
        NePS as the configuration that it asked for.
        """
        if self._answer({}, None).previous_config_id is not None:
            level = self.levels[0]
            config = {"x": 0.5, "resource": level}
            self._answered = SampledConfig(id=self._id(trial_id, level), config=config, previous_config_id=None)
        self._begin(trial_id, self.levels[0])

    def judge(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns Pause."""
        return Pause(Reason("peer", f"trained to {level}"))

    def record(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str) -> None:
        """Reports the result to NePS; a value that is not finite counts as infinitely bad."""
        losses = [value if math.isfinite(value) else math.inf for value in loss.tolist()]
        self._tool.tell(self._id(trial_id, level), {"objective_to_minimize": losses})
        self._answered = None

    def promotable(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns the promotion that NePS would make now."""
        following = self._answer({}, None)
        if following.previous_config_id is None:
            return None
        number, _, rung = following.previous_config_id.partition("_rung_")
        if int(number) - 1 in exclude:
            return None
        level = self.levels[int(rung) - min(self._rungs.values())]
        reason = Reason("peer", f"promoted from {level}")
        return Promotion(int(number) - 1, level, self.ladder.above(level), reason)

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """Asks NePS, which makes this promotion."""
        self._begin(trial_id, self.next_target(bracket, level))

    def _begin(self, trial_id: int, level: int) -> None:
        begun = self._tool.ask()
        self._answered = None
        if begun.id != self._id(trial_id, level):
            raise RuntimeError(f"NePS begins {begun.id} in place of {self._id(trial_id, level)}")

    def _id(self, trial_id: int, level: int) -> str:
        return f"{trial_id + 1}_rung_{self._rungs[level]}"

    def _answer(self, trials: Mapping[str, Any], budget: Any, n: int | None = None) -> SampledConfig:
        """The next step of NePS. It is computed again only after a change, since NePS takes at least 10 ms for it."""
        if self._answered is None:
            self._answered = self._rule(self._tool.trials, None)
        return self._answered


def _mend() -> None:
    """Makes the selector choose no trial if no trial has a result; see the module."""
    if not hasattr(Rung, "unmended_selector"):
        Rung.unmended_selector = Rung.epsnet_selector
        Rung.epsnet_selector = _selected


def _selected(rung: Any, *, k: int, contenders: Any) -> Any:
    valid = contenders.dropna(subset=["perf"])
    return rung.unmended_selector(k=k, contenders=valid) if len(valid) else valid
