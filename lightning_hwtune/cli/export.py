"""`hwtune export`: a study for other programs: files, a study of Optuna, or runs of MLflow or W&B."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from lightning_hwtune.cli.arguments import DIR, Dir, Name, Out, Storage

if TYPE_CHECKING:
    from lightning_hwtune.stored_study import StoredStudy

__all__ = ["export"]


class To(enum.StrEnum):
    """What an export writes."""

    FILES = "files"
    CSV = "csv"
    PARQUET = "parquet"
    OPTUNA = "optuna"
    MLFLOW = "mlflow"
    WANDB = "wandb"


_OF_URL = {
    To.OPTUNA: "a URL, e.g. hwtune export --to optuna sqlite:///optuna.db",
    To.MLFLOW: "a URL, e.g. hwtune export --to mlflow sqlite:///mlflow.db",
    To.WANDB: "a project, e.g. hwtune export --to wandb my-project",
}
"""The forms that take a place, and what it is."""


def export(
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="[URL]",
            help="With --to optuna: the storage, e.g. sqlite:///optuna.db. With --to mlflow: the tracking URI. With "
            "--to wandb: PROJECT or ENTITY/PROJECT.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        To,
        typer.Option(
            "--to",
            help="files: JSON and CSV; csv; parquet; optuna: a study that optuna-dashboard opens; mlflow and wandb: a "
            "parent run with one run per trial.",
        ),
    ] = To.FILES,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Name of the study in Optuna, of the experiment in MLflow, or of the group in W&B; default: that of "
            "the study.",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    dir: Dir = DIR,  # noqa: A002
    study: Name = None,
    storage: Storage = None,
) -> None:
    """Write the trials and the front for other programs: to files, Optuna, MLflow or W&B."""
    from lightning_hwtune.cli.study_selection import choose
    from lightning_hwtune.text import counted

    needs_url = to in _OF_URL
    if needs_url and url is None:
        raise typer.BadParameter(f"--to {to} needs {_OF_URL[to]}")
    if not needs_url and (url is not None or name is not None):
        given = f"--name {name}" if url is None else url
        raise typer.BadParameter(f"{given!r} is for --to {', '.join(_OF_URL)}; --out names a folder")
    if needs_url and out is not None and to is not To.WANDB:
        raise typer.BadParameter(f"--out is for files; --to {to} writes to the URL")
    chosen = choose(dir, study, storage)
    if not needs_url:
        _write_files(chosen, to, out)
        return
    state, target = chosen.study.state(), str(url)
    if to is To.OPTUNA:
        from lightning_hwtune.views.optuna_mirror import write_mirror

        n = write_mirror(state, target, name)
        typer.echo(f"{counted(n, 'trials')} in study {name or state.spec.name} of {target}; optuna-dashboard opens it")
        return
    if to is To.WANDB:
        from lightning_hwtune.views.wandb_runs import write_wandb

        run = write_wandb(state, target, name, out)
        place = f"group {name or state.spec.name} of project {target}"
        typer.echo(f"{counted(len(state.searched), 'trials')} below run {run} in {place}")
        return
    from lightning_hwtune.views.mlflow_runs import write_runs

    run = write_runs(state, target, name)
    place = f"experiment {name or state.spec.name} of {target}"
    typer.echo(f"{counted(len(state.searched), 'trials')} below run {run} in {place}")


def _write_files(chosen: StoredStudy, to: To, out: Out) -> None:
    from lightning_hwtune.cli.output import output_folder, writing
    from lightning_hwtune.views.export import write_export, write_parquet
    from lightning_hwtune.views.study_location import short_path

    study = chosen.study
    folder = out or output_folder(study.dir / "export", f"{study.name}-export")
    with writing(folder):
        if to is To.PARQUET:
            written = write_parquet(study.state(), folder)
        else:
            written = write_export(study.state(), study.events(), folder, only_csv=to is To.CSV)
    for path in written:
        typer.echo(short_path(path))
