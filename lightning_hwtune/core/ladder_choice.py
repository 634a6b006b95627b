"""The ladder of a study whose user left it open: its first rung, its brackets, and which trials train to the end.

One formula, from what is known when the study begins. R is the full training, w the number of trials that train at the
same time, n the number of trials, and s the start-up of a segment in units of resource (0 if it was not measured):

    first_rung = min(R, max(R / 3**depth, s, 1))     R / 3**depth rounded to the nearest integer, s rounded up
    eta        = max(3, (R / first_rung)**(1 / depth))    rounded up to tenths
    depth      = min(2, max(floor(log_3(n / w)), 1))      2 if the number of trials has no limit

If the user gives eta, it takes the place of 3, and R / eta**depth is rounded up. So no rung lies just below the full
training, which would save nothing: multiples of 3 have one there if 3**depth times the first rung is just below R.

Early values say little about the end: with more than about two steps of eta below the full training, curves that cross
lose members of the final front. With few trials per worker, a deep ladder promotes none of them to the end for a long
time. A segment that takes longer to start than to train spends the devices on start-ups. There is one bracket.

The first trials train to the end without a pause, so that a fully trained model exists early. There are

    n_to_end = w * min(2, 2 * 3**2 / (n / w))        rounded up, and at least 1; 1 without a limit

of them: two per worker in a study of few trials, which is then no slower to its first models than random training, and
fewer the more trials there are, so that they take little of a long study.

Under a limit of time or money the first rung is max(s, 1), rounded up, eta is 3, and no first trial trains to the end:
a short study then sees the start of enough trials to find one that can still end, and `core.deadline` keeps time for
it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.schedulers.rungs import DEFAULT_ETA, plain_eta, rung_levels
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.text import counted

__all__ = ["LadderChoice", "LadderFacts", "ladder_choice", "ladder_facts", "likely_spec", "weaknesses"]

N_BRACKETS = 1
PER_WORKER = 2
"""First trials that train to the end, per worker, in a study of few trials."""
_ROUNDING = 1e-9  # of a quotient that is an integer
DEPTH = 2
"""Steps of eta from the first rung to the full training, if enough trials come for them."""


@final
@dataclass(frozen=True, slots=True)
class LadderFacts:
    """What a ladder is chosen from.

    Attributes:
        horizon: the resource of a full training.
        n_trials: the number of trials; None if the study has no such limit.
        n_at_once: how many trials can train at the same time.
        start_up: the seconds of a segment's start in units of resource; 0 if they were not measured.
    """

    horizon: int
    n_trials: int | None
    n_at_once: int
    start_up: float = 0.0

    def has_trials_for(self, depth: int, eta: float) -> bool:
        """Returns whether each worker gets so many trials that one of them is expected to pass `depth` rungs."""
        return self.n_trials is None or self.n_trials / self.n_at_once >= eta**depth


@final
@dataclass(frozen=True, slots=True)
class LadderChoice:
    """The chosen settings of a scheduler, how many first trials train to the end, and why."""

    settings: Mapping[str, Any]
    n_to_end: int
    facts: LadderFacts
    reason: str


def ladder_facts(spec: StudySpec, limits: Limits, start_up: float = 0.0, n_at_once: int | None = None) -> LadderFacts:
    """Returns what is known about a study before its first trial."""
    fitting = max(spec.pool.places // min(spec.allocator.counts), 1)
    n_at_once = n_at_once or min(fitting, limits.max_parallel or fitting)
    return LadderFacts(spec.scheduler.max_resource, limits.max_trials, n_at_once, start_up)


def ladder_choice(spec: StudySpec, limits: Limits, start_up: float = 0.0, n_at_once: int | None = None) -> LadderChoice:
    """Returns the choice for the settings that the scheduler leaves open."""
    facts = ladder_facts(spec, limits, start_up, n_at_once)
    is_timed = limits.is_timed
    first, eta = _first_rung_and_eta(spec, facts, is_timed)
    chosen = {"first_rung": first, "brackets": N_BRACKETS, "eta": plain_eta(eta)}
    settings = {name: chosen[name] for name in spec.scheduler.open_settings}
    n_to_end = 0 if is_timed else _n_to_end(spec, facts)
    return LadderChoice(settings, n_to_end, facts, _reason(spec, settings, n_to_end, facts, is_timed))


def likely_spec(spec: StudySpec, limits: Limits) -> StudySpec:
    """Returns the study with the ladder that it will choose if start-ups are short."""
    return spec.completed(ladder_choice(spec, limits).settings) if spec.has_open_ladder else spec


def first_rung(facts: LadderFacts, eta: float, *, is_timed: bool = False, is_eta_open: bool = False) -> int:
    """Returns the first rung of the module's formula.

    Args:
        eta: that of the user, or the default one if it `is_eta_open`. is_timed: under a limit of time or money.
    """
    lowest = math.ceil(max(facts.start_up, 1.0) - _ROUNDING)
    if not is_timed:
        wanted = facts.horizon / eta ** _depth(facts, eta)
        lowest = max(lowest, round(wanted) if is_eta_open else math.ceil(wanted - _ROUNDING))
    return min(facts.horizon, lowest)


def _depth(facts: LadderFacts, eta: float) -> int:
    return next((k for k in range(DEPTH, 1, -1) if facts.has_trials_for(k, eta)), 1)


def _eta(facts: LadderFacts, first: int, *, is_timed: bool) -> Fraction:
    """Returns the eta of the module's formula, if the user leaves it open."""
    if is_timed:
        return Fraction(DEFAULT_ETA)
    even = (facts.horizon / first) ** (1 / _depth(facts, DEFAULT_ETA))
    return max(Fraction(math.ceil(10 * even - _ROUNDING), 10), Fraction(DEFAULT_ETA))


def n_first(facts: LadderFacts, eta: float) -> int:
    """Returns how many first trials train to the end, by the module's formula."""
    if facts.n_trials is None:
        return 1
    per_worker = PER_WORKER * min(1.0, eta**DEPTH * facts.n_at_once / max(facts.n_trials, 1))
    return max(math.ceil(facts.n_at_once * per_worker - _ROUNDING), 1)


def _first_rung_and_eta(spec: StudySpec, facts: LadderFacts, is_timed: bool) -> tuple[int, Fraction]:
    """Returns the choice, with a first rung low enough for the brackets that the user gave."""
    eta, n_brackets = spec.scheduler.ladder.eta, getattr(spec.scheduler, "n_brackets", N_BRACKETS)
    is_eta_open = "eta" in spec.scheduler.open_settings
    first = first_rung(facts, float(eta), is_timed=is_timed, is_eta_open=is_eta_open)
    even = _eta(facts, first, is_timed=is_timed) if is_eta_open else eta
    if len(rung_levels(first, facts.horizon, even)) >= n_brackets:
        return first, even
    while first > 1 and len(rung_levels(first, facts.horizon, eta)) < n_brackets:
        first -= 1
    return first, eta


def weaknesses(spec: StudySpec, limits: Limits) -> Iterator[str]:
    """Yields what is weak about the ladder that a user chose for ASHA."""
    scheduler, facts = spec.scheduler, ladder_facts(spec, limits)
    if not isinstance(scheduler, ASHA) or scheduler.open_settings or len(scheduler.levels) < 2:
        return
    eta, unit = float(scheduler.ladder.eta), scheduler.unit
    lowest, top = scheduler.levels[0], scheduler.max_resource
    chosen = first_rung(facts, eta, is_timed=limits.is_timed)
    if chosen <= lowest:  # no later one would have been chosen
        return
    if scheduler.n_brackets == 1 and top / lowest >= eta ** (DEPTH + 1):
        yield (
            f"trials are judged at {lowest} of {top} {unit}: where learning curves cross, members of the final front "
            f"stay there. `first_rung={chosen}` judges later"
        )
    if facts.n_trials is not None and scheduler.pauses and facts.n_trials / facts.n_at_once * lowest < top / eta:
        yield (
            f"a ladder from {lowest} to {top} {unit} is long for {_study_size(facts)}: "
            f"nothing is trained to the end for a long time. `first_rung={chosen}` has fewer rungs"
        )


def _n_to_end(spec: StudySpec, facts: LadderFacts) -> int:
    """Returns how many first trials train to the end; none where trials are stopped or places are capped."""
    scheduler = spec.scheduler
    is_asked = scheduler.pauses and not getattr(scheduler, "strict", False)
    return n_first(facts, float(scheduler.ladder.eta)) if is_asked else 0


def _reason(spec: StudySpec, settings: Mapping[str, Any], n_to_end: int, facts: LadderFacts, is_timed: bool) -> str:
    unit = spec.scheduler.unit
    start = f", start-ups of {counted(f'{facts.start_up:.2g}', unit)}" if facts.start_up else ""
    shown = {name: value for name, value in settings.items() if (name, value) != ("eta", DEFAULT_ETA)}
    chosen = ", ".join(f"{name}={value}" for name, value in shown.items())
    first = "the first trial trains" if n_to_end == 1 else f"the first {n_to_end} trials train"
    if facts.n_trials is not None and facts.n_trials <= n_to_end:
        first = "every trial trains"
    timed = " and a limit of time or money" if is_timed else ""
    to_end = f"; {first} to the end without a pause" if n_to_end else ""
    return f"{chosen}, chosen for {counted(facts.horizon, unit)}, {_study_size(facts)}{start}{timed}{to_end}"


def _study_size(facts: LadderFacts) -> str:
    trials = "any number of trials" if facts.n_trials is None else counted(facts.n_trials, "trials")
    return f"{trials} on {counted(facts.n_at_once, 'workers')}"
