"""What a study has found: the part of `Study` that reads.

All questions that a user can ask about a study are here. None of them changes it or opens a session. The first one
reads the whole log, or what was added since an earlier process read it, and later ones read only what was added since.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lightning_hwtune.core.events import Event
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.scaling import ScalingModel
from lightning_hwtune.core.measured_scaling import measured_scaling
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.errors import StudyNotFoundError
from lightning_hwtune.forms import checked_call, checked_class
from lightning_hwtune.names import called, unknown_attribute
from lightning_hwtune.store.files import StudyFiles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Result", "StudyReading"]


@checked_class()
@dataclass(frozen=True, slots=True)
class Result:
    """One fully trained trial: its configuration, its number of devices, its values and its checkpoint.

    Attributes:
        values: maps each objective's name to its value.
        epochs: the resource up to which the trial was trained.
        checkpoint: absolute path; None if the disk budget removed it, if the end of the trial could not be saved, or if
            the file is not in the study's folder (any more).
        infeasible: which constraints it violates and by how much; empty for a feasible trial.
        reason: why `Study.recommend` chose it; empty otherwise.
        seconds_at: if its devices changed, the number of devices at which its seconds are given, and why; else empty.

    Examples:
        >>> best = hwt.Result(7, {"lr": 0.01}, 1, {"val_loss": 0.5}, epochs=27, checkpoint=None)
        >>> best.config["lr"], best.values["val_loss"]
        (0.01, 0.5)
    """

    trial_id: int
    config: Mapping[str, Any]
    num_devices: int
    values: Mapping[str, float]
    epochs: int
    checkpoint: Path | None
    infeasible: str = ""
    reason: str = ""
    seconds_at: str = ""

    def __repr__(self) -> str:
        given = ((item.name, getattr(self, item.name)) for item in fields(self))
        return f"Result({', '.join(f'{name}={value!r}' for name, value in given if value != '')})"

    def __getattr__(self, name: str) -> NoReturn:
        raise unknown_attribute("Result", name, self.__slots__)


class StudyReading:
    """The questions that a user can ask about a study; `Study` adds what changes it."""

    def __init__(self, spec: StudySpec, files: StudyFiles, storage: str | None, reader: Reader) -> None:
        self._spec, self._files, self._storage, self._reader = spec, files, storage, reader

    @property
    def name(self) -> str:
        """The study's name."""
        return self._spec.name

    @property
    def dir(self) -> Path:
        """The study's folder."""
        return self._files.root

    @property
    def spec(self) -> StudySpec:
        """The study's settings, with all defaults filled in; a ladder left open is chosen when the study begins."""
        return self._reader.completed(self._spec)

    @called("study.front() returns a pandas DataFrame with one row per trial of the front")
    @checked_call("Study.front")
    def front(self, at: str = "full") -> pd.DataFrame:
        """Returns the front: "full" for fully trained trials, "rung" for one per rung, "any" for last measurements.

        No other trial is at least as good as a trial in the front in every objective and better in one. A trial that
        violates a constraint is not in the front; `trials` and `best` show it. The column
        `checkpoint` has the path of the model that was measured. It is None if the trial has no checkpoint or only a
        different one. The printed form leaves out the last columns, and names them.
        """
        from lightning_hwtune.views.front_frame import FrontFrame
        from lightning_hwtune.views.tables import front_frame, with_checkpoints

        frame = front_frame(self.state(), at=at)
        found = [self._files.present(path) for path in frame["checkpoint"]]
        paths = [str(path) if path is not None else None for path in found]
        return FrontFrame(with_checkpoints(frame, paths))

    @called("study.trials() returns a pandas DataFrame with one row per trial")
    @checked_call("Study.trials")
    def trials(self) -> pd.DataFrame:
        """Returns one row per trial."""
        from lightning_hwtune.views.tables import trials_frame

        return trials_frame(self.state())

    @checked_call("Study.added")
    def added(self) -> pd.DataFrame:
        """Returns one row per result that `add` has stored; `beats_front`: whether it would be on the front."""
        from lightning_hwtune.views.added import added_frame

        return added_frame(self.state())

    @checked_call("Study.replicates")
    def replicates(self) -> pd.DataFrame:
        """Returns one row per trial that `replicate` has trained again: its values, their mean and spread.

        The columns `<objective>_mean` and `<objective>_std` (sample standard deviation) are over the complete
        replicates, without the trial itself: it was chosen for its values.
        """
        from lightning_hwtune.views.front_frame import FrontFrame
        from lightning_hwtune.views.replicates import replicates_frame

        return FrontFrame(replicates_frame(self.state()))

    @property
    def best(self) -> Result:
        """The fully trained trial that is best in the first objective.

        If all of them violate a constraint, it is the one with the least violation; `infeasible` says so.

        Raises:
            StudyNotFoundError: no trial is fully trained yet.
        """
        from lightning_hwtune.views.tables import best_entry

        state = self.state()
        found = best_entry(state)
        if found is None:
            raise StudyNotFoundError(f"study {self.name!r} has no fully trained trial yet")
        return self._result(state, found)

    @checked_call("Study.recommend")
    def recommend(self, weights: Mapping[str, float] | Sequence[float] | None = None) -> Result:
        """Returns the fully trained trial to take, with the reason in words.

        Args:
            weights: how important the objectives are, e.g. `{"val_error": 2, "train_s": 1}`; an objective without a
                weight does not count. None: the knee of the front, from which any change loses much and gains little.

        Raises:
            StudyNotFoundError: no fully trained trial is on the front yet.
            ArgumentError: the weights are not allowed.
        """
        from lightning_hwtune.views.infeasible import infeasible_hint
        from lightning_hwtune.views.recommendation import checked_weights, recommended
        from lightning_hwtune.views.tables import point_entry

        state = self.state()
        numbers = None if weights is None else checked_weights(weights, self._spec.objectives)
        found = recommended(state, numbers)
        if found is None:
            why = f": {hint}" if (hint := infeasible_hint(state)) else ""
            raise StudyNotFoundError(f"the front of study {self.name!r} has no fully trained trial yet{why}")
        return dataclasses.replace(self._result(state, point_entry(state, found[0])), reason=found[1])

    def _result(self, state: StudyFacts, entry: Mapping[str, Any]) -> Result:
        from lightning_hwtune.views.infeasible import infeasible_text
        from lightning_hwtune.views.reference import References

        trial = state.trials[entry["trial_id"]]
        return Result(
            trial.trial_id,
            trial.config,
            trial.num_devices,
            entry["objectives"],
            trial.resource,
            self._files.present(entry["checkpoint"]),
            infeasible_text(state, trial),
            seconds_at=References(state).text(trial),
        )

    @called("study.importance() returns a pandas DataFrame with one row per objective and parameter")
    @checked_call("Study.importance")
    def importance(self, objective: str | None = None, at: int | None = None) -> pd.DataFrame:
        """Returns how much each parameter matters for each objective, the most important first.

        `importance` is the share of the variance of the objective over the search space that depends on the parameter,
        alone or together with others; `alone` is the part without interactions. `low` and `high` are the ends of an
        interval of 80 %. `explained` is the share of the variance of trials left out that the model predicts: below
        0.3, do not rely on the numbers. Without enough trials, there are no rows. It needs scikit-learn:
        `pip install 'lightning_hwtune[importance]'`.

        Args:
            objective: the name of an objective; None for all.
            at: the level of the rung whose values are compared; None for the one that the most trials have reached.
                Trials that an earlier rung stopped have no value there.

        Raises:
            ArgumentError: there is no such objective or rung.
            MissingDependencyError: scikit-learn is not installed.
        """
        from lightning_hwtune.views.effects.importance import importance_entries, importance_frame

        return importance_frame(importance_entries(self.state(), objective, at))

    @checked_call("Study.why")
    def why(self, trial_id: int) -> str:
        """Returns the history of a trial: each decision with its rule and its numbers."""
        from lightning_hwtune.views.story import why
        from lightning_hwtune.views.study_location import located

        state = self.state()
        state.require_trial(trial_id)
        return located(why(state, self._reader.events(trial_id), trial_id), self.dir, self._storage)

    @checked_call("Study.logs")
    def logs(self, trial_id: int) -> Path:
        """Returns the folder with a trial's output: one file per segment and rank."""
        self.state().require_trial(trial_id)
        return self._files.trial_dir(trial_id) / "logs"

    @checked_call("Study.plot")
    def plot(
        self,
        what: str = "front",
        objective: str | None = None,
        at: int | None = None,
        parameters: Sequence[str] | None = None,
    ) -> Figure:
        """Returns a matplotlib figure.

        Args:
            what: "front"; "curves" (the learning curves), "ladder" (the verdicts of the rungs); "importance", "slices",
                "contour", "parallel" and "rank" (what the parameters do to an objective); "hypervolume" (how the front
                grew); "timeline" (the work of the devices); "ledger" (what was spent).
            objective: the objective to show; None for the first one, or for all.
            at: the rung whose values are shown; None for the one that the most trials have reached.
            parameters: the two parameters of "contour"; None for the two most important ones.

        Raises:
            ArgumentError: `what` is not one of these names, or the figure does not have an option that is given.
            MissingDependencyError: "importance" without scikit-learn.
        """
        from lightning_hwtune.views.plots import drawn

        return drawn(self.state(), what, objective=objective, at=at, parameters=parameters)

    def scaling(self) -> ScalingModel:
        """Returns the scaling model of what the study's own segments have measured, without a profile.

        It is for a configuration that is the mean of the study. Of a study in epochs, a step at the largest batch
        stands for an epoch; speed-ups are not affected.

        Raises:
            ArgumentError: the segments do not show how the training scales, e.g. on one number of devices.
            StudyNotFoundError: the study has not begun.
        """
        return measured_scaling(self.state())

    @called("study.events() returns the list of all events")
    @checked_call("Study.events")
    def events(self) -> list[Event]:
        """Returns all events in the study's log."""
        return self._reader.events()

    @checked_call("Study.state")
    def state(self) -> StudyFacts:
        """Returns the current state, for reading: trials, segments, notes.

        It is read from the log and decides nothing, so changing it has no effect on the study. A later call updates
        the same object; `copy.deepcopy` keeps it as it is now.

        Raises:
            StudyNotFoundError: the study has not begun.
        """
        state = self._replayed()
        if state is None:
            raise StudyNotFoundError(f"study {self.name!r} has not begun: run it first")
        return state

    def _replayed(self) -> StudyFacts | None:
        try:
            return self._reader.state(self._spec)
        except StudyNotFoundError:
            return None

    def __getattr__(self, name: str) -> NoReturn:
        raise unknown_attribute("Study", name, dir(type(self)))

    def _repr_html_(self) -> str:
        """Returns the state and the front for a notebook, as tables without script."""
        from lightning_hwtune.views.notebook import study_html

        state = self._replayed()
        if state is None:
            return f"<p><b>study {html.escape(self.name)}</b> has not begun</p>"
        return study_html(state, is_driven=self._reader.driven_at() is not None)

    def __repr__(self) -> str:
        return f"Study({self.name!r}, dir={str(self._files.root.parent)!r})"
