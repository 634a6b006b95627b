"""The contract of a searcher: draw by draw, and in whole simulated studies.

Each function checks one rule and raises an AssertionError if it is broken. `check_searcher` checks all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objective, Objectives, TrainSeconds
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import SEARCHER_REGISTRY, History, Random, Searcher
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.testing.demand import demand
from lightning_hwtune.testing.rebuilding import rebuilt, settings_return
from lightning_hwtune.testing.study_driver import Driver
from lightning_hwtune.text import counted

__all__ = [
    "check_searcher",
    "constraints_are_allowed",
    "diverged_trials_are_allowed",
    "draws_are_in_the_space",
    "end_is_the_end",
    "killed_study_draws_alike",
    "questions_change_nothing",
    "same_draw_is_the_same",
]

_OBJECTIVES = (Metric("error", "min"), TrainSeconds())
_N_DRAWS = 12
_N_KNOWN = 9  # number of trials in a history


def check_searcher(
    searcher: Searcher,
    space: SearchSpace | Mapping[str, Any],
    objectives: Objectives | Iterable[Objective] = _OBJECTIVES,
) -> None:
    """Checks that a searcher keeps the rules that studies rely on. Nothing is trained, and all seeds are fixed.

    Its settings can be restored from the log. Every draw is in the search space. The same draw with the same history
    and seed gives the same configuration, in any order of draws and for a searcher rebuilt from its settings. Proposing
    has no effects. After the last configuration, `propose` always returns None. A study that is killed and rebuilt
    makes the same draws as one that is not.

    Args:
        searcher: the searcher, with the settings to check.
        space: a space that it can search.
        objectives: the objectives of the studies that use it.

    Raises:
        AssertionError: a rule is broken; the message has the rule and what was observed.
        ArgumentError: the log cannot store this searcher, or it refuses the space or the objectives.

    Examples:
        >>> from lightning_hwtune import Float, Sobol
        >>> check_searcher(Sobol(), {"lr": Float(1e-4, 1e-1, log=True)})
    """
    space = space if isinstance(space, SearchSpace) else SearchSpace(space)
    objectives = Objectives(objectives)
    searcher.check(space)
    searcher.check_objectives(objectives)
    settings_return(SEARCHER_REGISTRY, searcher)
    same_draw_is_the_same(searcher, space, objectives)
    draws_are_in_the_space(searcher, space, objectives)
    questions_change_nothing(searcher, space, objectives)
    diverged_trials_are_allowed(searcher, space, objectives)
    constraints_are_allowed(searcher, space, objectives)
    end_is_the_end(searcher, space, objectives)
    killed_study_draws_alike(searcher, space, objectives)


def same_draw_is_the_same(searcher: Searcher, space: SearchSpace, objectives: Objectives) -> None:
    """Checks that a draw depends only on the space, its number, the seed and the history."""
    again, same_space = rebuilt(SEARCHER_REGISTRY, searcher), SearchSpace.from_dict(space.to_dict())
    for n_trials in (0, _N_KNOWN):
        history, draws = history_of(space, objectives, n_trials), range(_N_DRAWS)
        first = {draw: searcher.propose(space, draw, 7, history) for draw in draws}
        fresh = history_of(space, objectives, n_trials)
        for who, other in (("the same searcher", searcher), ("the searcher rebuilt from its settings", again)):
            for draw in reversed(draws):
                config, known = other.propose(same_space, draw, 7, fresh), f"after {counted(n_trials, 'trials')}"
                rule = "The same draw of the same history and seed gives the same configuration."
                asked = f"Draw {draw} {known}: first {first[draw]}, later {who} answered {config}."
                demand(config == first[draw], rule, asked)


def draws_are_in_the_space(searcher: Searcher, space: SearchSpace, objectives: Objectives) -> None:
    """Checks that each draw has a valid value for every parameter, as plain data, and satisfies the batch rule."""
    rule = "Each draw is in the search space, or None."
    for n_trials in (0, _N_KNOWN):
        history = history_of(space, objectives, n_trials)
        for draw in range(_N_DRAWS):
            config = searcher.propose(space, draw, 0, history)
            try:
                is_plain = config is None or json.dumps(space.validate(config)) == json.dumps(config)
            except (ArgumentError, TypeError, ValueError) as error:
                raise AssertionError(f"{rule}\n  Draw {draw} is {config!r}.\n  {error}") from error
            demand(is_plain, rule, f"Draw {draw} is {config!r}; as plain data {config and space.validate(config)!r}.")


def questions_change_nothing(searcher: Searcher, space: SearchSpace, objectives: Objectives) -> None:
    """Checks that proposing changes neither history nor space nor settings, and gives each caller a separate copy."""
    history, settings = history_of(space, objectives, _N_KNOWN), searcher.settings()
    trials, described = repr(history.trials), space.to_dict()
    config = searcher.propose(space, 3, 0, history)
    kept = None if config is None else dict(config)
    if config is not None:
        config.clear()
    again, rule = searcher.propose(space, 3, 0, history), "`propose` changes nothing."
    demand(again == kept, rule, f"Draw 3 was {kept}; after that dict was emptied, it is {again}.")
    demand(repr(history.trials) == trials, rule, "It changed the history.")
    demand(space.to_dict() == described, rule, "It changed the space.")
    demand(searcher.settings() == settings, rule, f"The settings were {settings}; now {searcher.settings()}.")


def diverged_trials_are_allowed(searcher: Searcher, space: SearchSpace, objectives: Objectives) -> None:
    """Checks that a history in which every loss is NaN is accepted, and that its draws are in the search space."""
    history = history_of(space, objectives, _N_KNOWN)
    for trial in history.trials:
        trial.measurements = [Measurement(1, dict.fromkeys(objectives.recorded, float("nan")), 1.0, 1.0)]
    config = searcher.propose(space, _N_KNOWN, 0, history)
    if config is not None:
        space.validate(config)


def constraints_are_allowed(searcher: Searcher, space: SearchSpace, objectives: Objectives) -> None:
    """Checks that draws are in the space and repeatable if no known trial, some, or all violate a constraint."""
    for at_most in (1.0 + _N_KNOWN, 1.0 + _N_KNOWN / 2, 0.5):  # see `_trial`: the values are 1, 2, 3, ...
        constrained = Objectives(objectives, [Constraint("of the contract", at_most=at_most, changes=True)])
        same_draw_is_the_same(searcher, space, constrained)
        draws_are_in_the_space(searcher, space, constrained)


def end_is_the_end(searcher: Searcher, space: SearchSpace, objectives: Objectives) -> None:
    """Checks that after None every later draw is None as well, even when more is known."""
    n_draws, ended = min(space.size or 60, 60) + 3, None
    trials: list[TrialRecord] = []
    for draw in range(n_draws):
        config = searcher.propose(space, draw, 5, History(trials, objectives))
        if config is None:
            ended = draw if ended is None else ended
            continue
        demand(
            ended is None,
            "After None, `propose` returns no further configuration.",
            f"None at {ended}; {config} at {draw}.",
        )
        trials = [*trials, _trial(space, objectives, draw, config)]


def killed_study_draws_alike(searcher: Searcher, space: SearchSpace, objectives: Objectives) -> None:
    """Checks that a study continued from a part of its log draws what the uninterrupted one draws."""
    limits = Limits(max_trials=14, max_parallel=1)
    pool = Pool("cpu", max(space.device_counts, default=1), usd_per_device_hour=3.6)
    study = StudySpec("contract", space, objectives, ASHA(max_epochs=9), searcher, pool)

    def curve(config: dict[str, Any], epoch: int) -> float:
        return abs(float(space.encode(config)[0]) - 0.4) + 1.0 / epoch

    unkilled = Driver(study, limits, curve)
    unkilled.run()
    ends = [place for place, event in enumerate(unkilled.log) if isinstance(event, ev.SegmentEnded)]
    for after in ends[2:10:3]:
        resumed = Driver(study, limits, curve, log=list(unkilled.log[: after + 1]))
        resumed.run()
        whole, continued = ([(t.draw, t.config) for t in driver.state.trials] for driver in (unkilled, resumed))
        rule = "A killed study that continues from its log makes the same draws as an uninterrupted one."
        demand(continued == whole, rule, f"Uninterrupted: {whole}", f"killed after event {after}: {continued}")


def history_of(space: SearchSpace, objectives: Objectives, n: int) -> History:
    """Returns a history as random draws could have made it, in which a small first parameter is best."""
    known = History([], objectives)
    drawn = ((draw, Random().propose(space, draw, 3, known)) for draw in range(n))
    return History([_trial(space, objectives, draw, config) for draw, config in drawn if config], objectives)


def _trial(space: SearchSpace, objectives: Objectives, draw: int, config: dict[str, Any]) -> TrialRecord:
    trial, first = TrialRecord(draw, config, 0, 0, 3, 0.0), float(space.encode(config)[0])
    values = {name: 1.0 + draw if i else first for i, name in enumerate(objectives.recorded)}
    trial.measurements, trial.decided, trial.draw = [Measurement(1, values, 1.0, 1.0)], {1: "pause"}, draw
    return trial
