"""The interface of a searcher: a stateless answer to the question "which configuration is draw number n?".

The position of a searcher is the number of its next draw, which is kept in the study's log. Asking has no effects, so
the same question can be asked twice, and a continued study never repeats a draw.
"""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.searchers.memory import Memory
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.forms.given import Given
from lightning_hwtune.plugins import init_arguments

__all__ = ["History", "Searcher"]

Learned = TypeVar("Learned")


@final
@dataclass(frozen=True, slots=True)
class History:
    """What the study has measured so far: a view of its trials, in the order of creation.

    Attributes:
        trials: all of them, including those that are running.
        added: results from elsewhere (`Study.add`), as if they were trials. None of them was trained by this study.
        memory: what searchers have computed about the trials of this study before.

    Examples:
        >>> from lightning_hwtune.core.objectives import Objectives
        >>> history = hwt.History([], Objectives([hwt.Metric("val_loss", "min")]))
        >>> trials, losses = history.rung(n_points=1)
        >>> len(trials), losses.shape
        (0, (0, 1))
    """

    trials: Sequence[TrialRecord]
    objectives: Objectives
    added: Sequence[TrialRecord] = ()
    memory: Memory = field(default_factory=Memory, repr=False, compare=False)
    _known: dict[int, tuple[Searcher, Any]] = field(init=False, default_factory=dict, repr=False, compare=False)

    @property
    def results(self) -> list[TrialRecord]:
        """The trials, and after them the results from elsewhere: what a model of the objectives can learn from."""
        return [*self.trials, *self.added]

    def once(self, searcher: Searcher, learn: Callable[[], Learned]) -> Learned:
        """Returns what `learn` returns, computed once per searcher and history.

        Several draws are often requested before anything new is known.
        """
        if id(searcher) not in self._known:
            self._known[id(searcher)] = searcher, learn()
        learned: Learned = self._known[id(searcher)][1]
        return learned

    def rung(self, n_points: int) -> tuple[list[TrialRecord], npt.NDArray[np.float64]]:
        """Returns the trials, and their losses, of the highest level that has judged at least `n_points` trials.

        Results from elsewhere count as trials. Brackets are taken together. A trial that ended early by itself counts
        at the higher levels with its last measurement. Both results are empty if there is no such level. Losses have
        the shape `(n, n_objectives)`.
        """
        results = self.results
        counts = Counter(level for trial in results for level in trial.decided)
        level = max((level for level, n in counts.items() if n >= n_points), default=None)
        trials = [trial for trial in results if level in trial.decided and trial.measurements]
        rows = [self.objectives.loss((trial.at(level or 0) or trial.measurements[-1]).values) for trial in trials]
        return trials, np.array(rows).reshape(-1, len(self.objectives))


class Searcher(Given, abc.ABC):
    """Proposes configurations.

    A subclass has only settings: each argument of its constructor, as plain data, in an attribute of the same name. In
    the log, a class that is not part of this package is named by its import path.

    Attributes:
        uses_expert: whether it draws near the values that the user gives as `prior` of parameters (`expert_draw`).
        keeps_front: whether its draws are so good that a scheduler should never stop a member of a rung's front.

    Examples:
        >>> from lightning_hwtune.core.objectives import Objectives
        >>> history = hwt.History([], Objectives([hwt.Metric("val_loss", "min")]))
        >>> class Middle(hwt.Searcher):
        ...     def propose(self, space, draw, seed, history):
        ...         return {"lr": 0.05} if draw == 0 else None
        >>> Middle().propose(hwt.SearchSpace(lr=hwt.Float(0, 0.1)), 0, 0, history)
        {'lr': 0.05}
    """

    __slots__ = ()
    name: ClassVar[str] = "searcher"
    keeps_front: ClassVar[bool] = False
    uses_expert: ClassVar[bool] = False

    def check(self, space: SearchSpace) -> None:
        """Refuses a space that this searcher cannot search, before the study begins.

        Raises:
            ArgumentError: the space is not suitable; the message says why.
        """

    def check_objectives(self, objectives: Objectives) -> None:
        """Refuses objectives that this searcher cannot work with, before the study begins.

        Raises:
            ArgumentError: the objectives are not suitable; the message says why.
        """

    def check_installed(self) -> None:
        """Refuses to begin or to continue a study if a package that the searcher needs is missing.

        Studies are read without this check: reading asks no searcher.

        Raises:
            MissingDependencyError: a package is missing; the message says what to install.
        """

    def remark(self, space: SearchSpace) -> str:
        """Returns what a user should know about this searcher in this space, for the study's notes; usually empty."""
        ignored = [name for name, parameter in space.items() if getattr(parameter, "prior", None) is not None]
        if self.uses_expert or not ignored:
            return ""
        return f"the searcher {self.name!r} does not use the `prior` of {', '.join(ignored)}; TPE and ParetoPrior do"

    @abc.abstractmethod
    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns the configuration of draw number `draw` (from 0) in the study with this seed. Has no effects.

        None means that there is no further configuration, at this or any later draw.
        """

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log: `name` and the constructor arguments that rebuild the searcher."""
        return {"name": self.name, **init_arguments(self)}
