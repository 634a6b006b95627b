"""`hwtune profile`: measures a few warm steps on several numbers of devices, and shows how the training scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightning_hwtune.cli.arguments import FileDir, Overrides, check_overrides, import_from_here
from lightning_hwtune.cli.output import Format, rows_frame, write

if TYPE_CHECKING:
    from rich.console import Console

    from lightning_hwtune.core.hardware.scaling import ScalingModel, ScalingProfile

__all__ = ["profile"]


def profile(
    study_file: Annotated[
        Path, typer.Argument(metavar="STUDY.yaml", exists=True, dir_okay=False, help="The study file.")
    ],
    overrides: Overrides = None,
    devices: Annotated[
        str | None,
        typer.Option(
            "--devices",
            metavar="N,N,...",
            help="Numbers of devices, e.g. 1,2,4; default: those of the study, or powers of two up to the pool.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="How many batches to measure per size.")] = 20,
    global_batch: Annotated[
        int | None,
        typer.Option(
            "--global-batch",
            min=1,
            help="The batch over all devices; default: that of the study's first configuration.",
            show_default=False,
        ),
    ] = None,
    dir: FileDir = None,  # noqa: A002 - the option's name
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.TABLE,
) -> None:
    """Measure a few steps on several numbers of devices, and show how the training scales, without starting the study.

    The measurements are written to profile.json in the study's folder.
    """
    from lightning_hwtune.names.spelling import spell_by
    from lightning_hwtune.settings import StudySettings
    from lightning_hwtune.settings.spelling import FILE_SPELLING
    from lightning_hwtune.study import Study
    from lightning_hwtune.views.study_location import short_path

    import_from_here()
    spell_by(FILE_SPELLING)
    counts = _counts(devices)
    settings = StudySettings.load(study_file, check_overrides(overrides)).replaced({"dir": dir})
    with settings.located(study_file):
        study, train = Study(**settings.given_study_kwargs()), settings.run_kwargs()["train"]
    options: dict[str, Any] = {"steps": steps, "global_batch": global_batch, "preload": settings.run["preload"]}
    found = study.profile(train, devices=counts, **options)
    rows = [_row(found, index) for index in range(len(found.points))]

    def table(out: Console) -> None:
        from lightning_hwtune.views.terminal import print_frame

        print_frame(out, rows_frame(rows), f"{found.study}: a step of {found.global_batch} samples")
        for line in _lines(found):
            out.print(line, soft_wrap=True, markup=False)
        out.print(f"written to {short_path(study.dir)}/profile.json", soft_wrap=True, markup=False)

    write(form, table=table, data=found.to_dict, frame=lambda: rows_frame(rows))


def _counts(text: str | None) -> list[int] | None:
    if text is None:
        return None
    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() for word in words):
        raise typer.BadParameter(f"--devices is {text!r} instead of numbers of devices, e.g. --devices 1,2,4")
    return [int(word) for word in words]


def _row(found: ScalingProfile, index: int) -> Mapping[str, Any]:
    point = found.points[index]
    one = [other for other in found.points if other.devices == 1 and other.global_batch == point.global_batch]
    return {
        "devices": point.devices,
        "global_batch": point.global_batch,
        "per_device": point.per_device_batch,
        "step_s": point.seconds,
        "samples_per_s": point.global_batch / point.seconds,
        "speed_up": one[0].seconds / point.seconds if one else None,
    }


def _lines(found: ScalingProfile) -> Iterator[str]:
    """Yields the notes, and what the model says about the numbers of devices."""
    from lightning_hwtune.errors import ArgumentError

    yield from found.notes
    try:
        model = found.model()
        yield f"worth using: {', '.join(map(str, _useful(model)))} of {found.devices_per_node} devices"
    except ArgumentError as error:
        yield f"no scaling model: {error}"


def _useful(model: ScalingModel) -> tuple[int, ...]:
    counts = [count for count in range(1, model.devices_per_node + 1) if model.allows(count)]
    return model.useful_counts(counts)
