"""What does the report say of the models in other formats: what do the files give, and how fast are they?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fmnist.export.formats import ExportRecord, find_format, in_figures
from search.format import milliseconds, percent, with_noun
from search.report.text.data import capitalized
from search.results.result import FinishedStudy


@dataclass(frozen=True)
class ExportedFile:
    """What was measured of a file of the model."""

    description: str  # of its format
    is_exact: bool  # whether its weights are those of the model, in float32
    n_images: int
    n_changed: int  # of these, images that got another class than from the model
    largest_difference: float  # between a probability of its and one of the model's
    n_bytes: int
    model: str  # file that it was made from
    n_model_bytes: int | None  # of that file; None in studies before version 0.7.0
    milliseconds: float  # for an image alone

    @classmethod
    def of(cls, record: ExportRecord) -> ExportedFile:
        """Read the record of an export that did not fail."""
        assert record.n_same_class is not None and record.largest_difference is not None
        assert record.n_bytes is not None and record.milliseconds_by_1 is not None
        format = find_format(record.format)
        return cls(
            description=format.description,
            is_exact=format.is_exact,
            n_images=record.n_images,
            n_changed=record.n_images - record.n_same_class,
            largest_difference=record.largest_difference,
            n_bytes=record.n_bytes,
            model=record.model,
            n_model_bytes=record.n_model_bytes,
            milliseconds=record.milliseconds_by_1,
        )


def exports(study: FinishedStudy) -> str:
    """What became of the formats, in one sentence for each model that was exported.

    Such as: "3 files in float32 give all 1,000 test images the model's class and probabilities within 6.2e-7 of its
    own; for an image alone LiteRT is fastest, 0.38 ms; 1 format failed."
    """
    by_model: dict[str, list[ExportRecord]] = {}
    for record in study.exports:
        by_model.setdefault(record.model, []).append(record)
    if len(by_model) == 1:
        return exports_of(study, study.exports)
    return " ".join(f"{model}: {exports_of(study, records)}" for model, records in by_model.items())


def exports_of(study: FinishedStudy, records: Sequence[ExportRecord]) -> str:
    """What became of one model's formats, see `exports`."""
    made = [ExportedFile.of(record) for record in records if record.failure is None]
    n_failed = len(records) - len(made)
    failed = f"{with_noun(n_failed, 'format')} failed"
    if not made:
        return f"{failed}, so there is no other file of the model than {records[0].model}."
    said = []
    exact, smaller = [], []
    for file in made:
        if file.is_exact:
            exact.append(file)
        else:
            smaller.append(file)
    if exact:
        said.append(same_numbers(exact))
    said += [fewer_bits(study, file) for file in smaller]
    said.append(fastest(made))
    if n_failed:
        said.append(failed)
    return f"{capitalized('; '.join(said))}."


def same_numbers(exact: Sequence[ExportedFile]) -> str:
    """How near the files that keep float32 come to the model.

    Such as: "The file in float32 gives all but 2 of 1,000 test images the model's class and probabilities within
    6.2e-7 of its own"
    """
    furthest = max(exact, key=lambda file: file.largest_difference)
    n_changed = max(file.n_changed for file in exact)
    n_images = with_noun(furthest.n_images, "test image")
    who, whom = f"{len(exact)} files in float32 give", f"all {n_images}"
    if len(exact) == 1:
        who = "The file in float32 gives"
    if n_changed:
        whom = f"all but {n_changed} of {n_images}"
    near = in_figures(furthest.largest_difference)
    return f"{who} {whom} the model's class and probabilities within {near} of its own"


def fewer_bits(study: FinishedStudy, file: ExportedFile) -> str:
    """What weights in 8 bits cost in classes, and save in size.

    Such as: "with weights in 8 bits, 3 images (0.30 %) got another class, and the file has 25 % of the size of
    best.keras"
    """
    changed = "no image"
    if file.n_changed:
        changed = f"{with_noun(file.n_changed, 'image')} ({percent(file.n_changed / file.n_images)})"
    n_model_bytes = file.n_model_bytes or study.model_bytes
    return (
        f"with weights in 8 bits, {changed} got another class, and the file has "
        f"{percent(file.n_bytes / n_model_bytes, 0)} of the size of {file.model}"
    )


def fastest(made: Sequence[ExportedFile]) -> str:
    """Which file predicts one image in the least time.

    Such as: "for an image alone LiteRT is fastest, 0.38 ms"
    """
    first = min(made, key=lambda file: file.milliseconds)
    if len(made) == 1:
        return f"an image alone takes {milliseconds(first.milliseconds)}"
    return f"for an image alone {first.description} is fastest, {milliseconds(first.milliseconds)}"


def export_limits(study: FinishedStudy) -> str:
    """What a file had to keep to, or it would not be there.

    Such as: "A file in float32 is kept where no probability differs by more than 0.0001."
    """
    limits = {}
    for record in study.exports:
        format = find_format(record.format)
        limits[format.is_exact] = format.limit
    said = []
    if True in limits:
        said.append(f"a file in float32 is kept where {limits[True]}")
    if False in limits:
        said.append(f"one with weights in 8 bits where {limits[False]}")
    return f"{capitalized(', '.join(said))}."
