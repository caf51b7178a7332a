"""What does the report say of the models in other formats: what do the files give, and how fast are they?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fmnist.export.formats import NOTABLE_LOSS, ExportRecord, find_format, in_figures
from search.format import NOT_KNOWN, file_size, list_names, milliseconds, percent, points, with_noun
from search.report.text.data import capitalized
from search.results.quantization import QuantizationLoss, quantization_losses
from search.results.result import FinishedStudy
from search.targets.outcome import outcome_in_words


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
    loss: QuantizationLoss | None  # None for a file in float32, and in studies before version 0.7.0

    @classmethod
    def of(cls, record: ExportRecord, loss: QuantizationLoss | None = None) -> ExportedFile:
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
            loss=loss,
        )


def kept_target(study: FinishedStudy) -> str:
    """Whether the file that was to be small or fast is, in a sentence; nothing where none was to be."""
    if study.target is None:
        return ""
    verdict = ""
    if not study.target.is_kept and study.target.unmeasured is None:
        verdict = " So the target is missed; a lower one would leave room for that."
    return f"Asked for by --max-bytes or --max-ms: {outcome_in_words(study.target)}.{verdict}"


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
    losses = {loss.record: loss for loss in quantization_losses(study.exports)}
    made = [ExportedFile.of(record, losses.get(record)) for record in records if record.failure is None]
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
    """What fewer bits cost in classes and accuracy, and save in size.

    Such as: "LiteRT in 8 bits: another class for 3 images (0.30 %), 0.20 points of accuracy less, 25 % of the size of
    best.keras"
    """
    changed = "no image"
    if file.n_changed:
        changed = f"{with_noun(file.n_changed, 'image')} ({percent(file.n_changed / file.n_images)})"
    return f"{file.description}: another class for {changed}{lost(file.loss)}, {relative_size(study, file)}"


def lost(loss: QuantizationLoss | None) -> str:
    """What of the accuracy is lost, or gained, to follow what is said of the classes; nothing where it is not known."""
    if loss is None:
        return ""
    if loss.loss == 0:
        return ", the same accuracy"
    if loss.is_notable:
        return f", {points(loss.loss)} of accuracy less (more than the {points(NOTABLE_LOSS)} that it should cost)"
    return f", {points(abs(loss.loss))} of accuracy {'less' if loss.loss > 0 else 'more'}"


def relative_size(study: FinishedStudy, file: ExportedFile) -> str:
    """The size of a file beside its model's: "25 % of the size of best.keras"."""
    n_model_bytes = file.n_model_bytes or study.model_bytes
    return f"{percent(file.n_bytes / n_model_bytes, 0)} of the size of {file.model}"


def fastest(made: Sequence[ExportedFile]) -> str:
    """Which file predicts one image in the least time.

    Such as: "for an image alone LiteRT is fastest, 0.38 ms"
    """
    first = min(made, key=lambda file: file.milliseconds)
    if len(made) == 1:
        return f"an image alone takes {milliseconds(first.milliseconds)}"
    return f"for an image alone {first.description} is fastest, {milliseconds(first.milliseconds)}"


def what_was_timed(study: FinishedStudy) -> str:
    """What the columns of times and memory mean."""
    n_threads = with_noun(study.exports[0].n_threads, "thread")
    return (
        f"Times: an image on {n_threads}, given one at a time and in batches of 256; the median in the quietest tenth "
        "of a second, and p95, what 95 % of the calls with one image take at most. Memory: what a process needs to "
        "load the file and predict images one at a time, beside its runtime."
    )


def p95(record: ExportRecord) -> str:
    """Write what 95 % of the calls with one image take at most."""
    return NOT_KNOWN if record.p95_milliseconds_by_1 is None else milliseconds(record.p95_milliseconds_by_1)


def memory(record: ExportRecord) -> str:
    """Write the memory that the file takes beside its runtime."""
    if record.peak_bytes is None or record.runtime_bytes is None:
        return NOT_KNOWN
    return file_size(record.peak_bytes - record.runtime_bytes)


def slow_operations(study: FinishedStudy) -> str:
    """Name the operations for which a runtime has no fast kernels; nothing where there are none.

    Such as: "Without fast kernels (XNNPACK's): GELU of LiteRT in 8 bits."
    """
    said = {}
    for record in study.exported:
        if record.unaccelerated:
            said[find_format(record.format).description] = ", ".join(record.unaccelerated)
    if not said:
        return ""
    by_format = "; ".join(f"{operations} of {description}" for description, operations in said.items())
    return f"Without fast kernels (XNNPACK's): {by_format}."


def export_limits(study: FinishedStudy) -> str:
    """What a file had to keep to, or it would not be there.

    Such as: "A file in float32 is kept where no probability differs by more than 0.0001."
    """
    limits: dict[str, list[str]] = {}  # descriptions of formats by what they have to keep to
    exact = None
    for record in study.exports:
        format = find_format(record.format)
        if format.is_exact:
            exact = format.limit
        elif format.description not in limits.setdefault(format.limit, []):
            limits[format.limit].append(format.description)
    said = []
    if exact is not None:
        said.append(f"a file in float32 is kept where {exact}")
    for limit, descriptions in limits.items():
        said.append(f"{list_names(descriptions)} where {limit}")
    return f"{capitalized('; '.join(said))}."
