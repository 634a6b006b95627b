"""What the prior of a study has learned from earlier studies, and how much weight the study gives to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_hwtune.errors import ArgumentError

if TYPE_CHECKING:
    from lightning_hwtune.core.facts import StudyFacts
    from lightning_hwtune.core.searchers import ParetoPrior

__all__ = ["USELESS_TEXT", "has_prior", "prior_facts"]

USELESS_TEXT = (
    "the earlier results are too few, or differ too little, to learn from: at the beginning of a study, all draws are "
    "those of a study without a prior"
)


def has_prior(state: StudyFacts) -> bool:
    """Return whether a study learns from earlier ones."""
    from lightning_hwtune.core.searchers import ParetoPrior

    return isinstance(state.spec.searcher, ParetoPrior)


def prior_facts(state: StudyFacts, n_configs: int) -> dict[str, Any]:
    """Returns what the prior learned, how much weight it has by now, and what it would draw next, as plain data.

    Raises:
        ArgumentError: the study has no prior.
    """
    from lightning_hwtune.core.searchers import History, ParetoPrior

    spec, learned = state.spec, state.spec.searcher
    if not isinstance(learned, ParetoPrior):
        hint = "Make one with prior='auto' or searcher=ParetoPrior.from_studies(...)."
        raise ArgumentError("study", spec.name, "a study with a prior", hint=hint)
    history, lesson = History(state.searched, spec.objectives), learned.lesson(spec.space, spec.objectives)
    trust = learned.trust(spec.space, spec.seed, history)
    return {
        "study": spec.name,
        "digest": learned.digest,
        "tasks": [{"task": t.name, "points": len(t), "used": lesson.n_points[t.name]} for t in learned.tasks],
        "parameters": {"learned": list(lesson.shared), "random": [n for n in spec.space if n not in lesson.shared]},
        "model": type(lesson.model).__name__.lower(),
        "uniform_share": learned.uniform,
        "trust": dict(zip(spec.objectives.names, trust.round(3).tolist(), strict=True)),
        "own_share": round(learned.own_share(spec.space, spec.seed, history), 3),
        "is_useless": not lesson.belief.any(),
        "draws": _draws(learned, state, history, n_configs),
    }


def _draws(learned: ParetoPrior, state: StudyFacts, history: Any, n: int) -> list[dict[str, Any]]:
    """Returns the next draws that are not uniform, each with its expected scores."""
    spec, first = state.spec, state.next_draw
    numbers = [draw for draw in range(first, first + 3 * n + 8) if not learned.is_uniform(draw, spec.seed)][:n]
    found = ((draw, learned.propose(spec.space, draw, spec.seed, history)) for draw in numbers)
    drawn = [(draw, config) for draw, config in found if config is not None]
    means, _ = learned.lesson(spec.space, spec.objectives).expect([config for _, config in drawn])
    return [
        {
            "draw": draw,
            **config,
            **{f"score.{n}": round(float(s), 3) for n, s in zip(spec.objectives.names, row, strict=True)},
        }
        for (draw, config), row in zip(drawn, means, strict=True)
    ]
