"""Output that several commands share: fronts with paths of checkpoints, and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_hwtune.cli.output import Format, console, write_frame, writing
from lightning_hwtune.views.study_location import reading_command, short_path

if TYPE_CHECKING:
    import pandas as pd

    from lightning_hwtune.stored_study import StoredStudy

__all__ = ["show_best", "show_front", "write_figures"]


def show_front(chosen: StoredStudy, form: Format = Format.TABLE, at: str = "full") -> None:
    """Shows the front; `at` as in `views.tables.front_entries`.

    Raises:
        ArgumentError: `at` has another value.
    """
    from lightning_hwtune.views.end_of_run import front_title, print_additions
    from lightning_hwtune.views.front_points import front_points
    from lightning_hwtune.views.infeasible import infeasible_hint
    from lightning_hwtune.views.tables import front_frame
    from lightning_hwtune.views.weak_members import weak_member_hint

    name, state = chosen.study.name, chosen.state()
    command = reading_command("front --at any", chosen.study.dir, chosen.storage)
    hint = f"; `{command}` compares the measurements so far" if at == "full" else ""
    infeasible = infeasible_hint(state, at)
    hint += f". {infeasible}" if infeasible else ""
    write_frame(
        form,
        frame=lambda: _located_frame(chosen, front_frame(state, at), form),
        data=lambda: chosen.front(at),
        title=front_title(name, at),
        empty=f"the front of {name} is still empty{hint}",
    )
    if form is Format.TABLE and (weak := weak_member_hint(state, at)):
        console().print(weak, markup=False, soft_wrap=True)
    if infeasible and form is Format.TABLE and front_points(state, at):
        console().print(infeasible, markup=False, soft_wrap=True)
    if form is Format.TABLE and at == "full":
        print_additions(console(), state, name)


def show_best(chosen: StoredStudy, form: Format) -> None:
    """Shows the trial that is best in the first objective: the front's first point, or else the least violation.

    With several objectives, people also see the recommended trial, with the reason.

    Raises:
        StudyNotFoundError: no trial is fully trained yet.
    """
    from lightning_hwtune.views.recommendation import recommended
    from lightning_hwtune.views.tables import best_entries, best_frame

    study, state = chosen.study, chosen.study.state()
    best = study.best
    violated = f", infeasible: {best.infeasible}" if best.infeasible else ""
    write_frame(
        form,
        frame=lambda: _located_frame(chosen, best_frame(state), form),
        data=lambda: chosen.with_absolute_paths(best_entries(state))[0],
        title=f"best of {study.name} in {study.spec.objectives.names[0]}{violated}",
        empty="",
    )
    found = recommended(state) if form is Format.TABLE and len(study.spec.objectives) > 1 else None
    if found is not None:
        text = f"recommended: trial {found[0].trial.trial_id}, because {found[1]}"
        console().print(text, markup=False, soft_wrap=True)


def _located_frame(chosen: StoredStudy, frame: pd.DataFrame, form: Format) -> pd.DataFrame:
    """Returns the frame with paths of checkpoints: short ones for people, absolute ones for programs."""
    from lightning_hwtune.views.kept_values import without_logged
    from lightning_hwtune.views.tables import with_checkpoints

    frame = without_logged(frame) if form is Format.TABLE else frame
    paths = [chosen.located(path) for path in frame["checkpoint"]]
    shown = [path if path is None or form is not Format.TABLE else short_path(path) for path in paths]
    return with_checkpoints(frame, [str(path) if path is not None else None for path in shown])


def write_figures(
    chosen: StoredStudy, folder: Path, kinds: Sequence[str], *, only_missing: bool = False, **options: Any
) -> None:
    """Draws figures and prints their paths. With `only_missing`, a complete set is not drawn again.

    Args:
        options: those of `Study.plot`, for all figures.
    """
    paths = {kind: folder / f"{kind}.png" for kind in kinds}
    if not (only_missing and all(path.exists() for path in paths.values())):
        from lightning_hwtune.views.plots import drawn

        state = chosen.study.state()
        with writing(folder):
            for kind, path in paths.items():
                drawn(state, kind, **options).savefig(path, dpi=150)
    for kind, path in paths.items():
        console().print(f"{kind}: {short_path(path)}", markup=False, soft_wrap=True)
