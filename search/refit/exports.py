"""Export the delivered models, and compare each file with its own on the test set."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from fmnist.data.source import DataSource
from fmnist.data.split import load_train
from fmnist.export.export import export_model
from fmnist.export.formats import ExportRecord, find_format, in_figures
from search.callbacks.base import Callback
from search.records.files import StudyFiles
from search.records.ledger import Stopwatch
from search.refit.evaluation import opened_test_images
from search.worker.interrupts import Interruptible
from search.worker.tasks import Interrupted

N_CALIBRATION = 500  # images
Exporter = Callable[..., Generator[ExportRecord, None, None]]  # as `fmnist.export.export.export_model`


def make_exports(
    files: StudyFiles,
    source: DataSource,
    seed: int,
    names: Sequence[str],
    n_threads: int,
    stop: threading.Event,
    callback: Callback,
    *,
    draw_calibration: Callable[[], np.ndarray] | None = None,
    export: Exporter = export_model,
) -> list[ExportRecord]:
    """Export each delivered model in the formats that the study is missing, and compare each file with the model.

    They are compared on the whole test set, which must have been opened before. A format that fails is recorded with
    its reason, and the others are made; the ensemble, where the study has one, comes last.

    Args:
        files: The study's files.
        source: The study's images.
        seed: Of the study's splits.
        names: Formats asked for.
        n_threads: Threads that predict.
        stop: Set it to end the exports.
        callback: Is told of each format.
        draw_calibration: Returns `calibration_images`, where several calls have them in common; None: they are drawn
            for this one.
        export: Makes the files, as `fmnist.export.export.export_model` does; tests pass another.

    Returns:
        The records of all exports that were ever made.

    Raises:
        Interrupted: `stop` was set.
        UserError: A model is lost or damaged, and nothing is left to restore it from.
    """

    def check_cancelled() -> None:
        if stop.is_set():
            raise Interrupted

    missing = missing_exports(files, names)
    if not missing:
        return files.read_export_records()
    with Interruptible(stop):
        test = opened_test_images(files, source)
        calibration = None
        if any(find_format(name).is_calibrated for formats in missing.values() for name in formats):
            calibration = calibration_images(source, seed) if draw_calibration is None else draw_calibration()
    how = {"images": test.images, "labels": test.labels, "calibration": calibration, "n_threads": n_threads}
    how["check_cancelled"] = check_cancelled
    with Stopwatch(files, "exports") as stopwatch:
        for model, formats in missing.items():
            with closing(export(files.checksums.intact(model), formats, files.exports, **how)) as made:
                for record in made:
                    if record.failure is None:
                        files.checksums.record(files.exports / record.file)
                    files.write_json(files.export_record(record.format, model.name), record)
                    label = export_label(model, record.format)
                    callback.on_training_start(label, find_format(record.format).description, None)
                    callback.on_training_end(label, _export_in_words(record))
                    stopwatch.lap()
    return files.read_export_records()


def calibration_images(source: DataSource, seed: int) -> np.ndarray:
    """Draw the training images by which formats that compute in 8 bits set their ranges: uint8, `N_CALIBRATION` or all.

    They are of the part that every network has learned from.
    """
    images = load_train(source, seed).train.images
    n_drawn = min(N_CALIBRATION, len(images))
    return images[np.sort(np.random.default_rng(seed).choice(len(images), n_drawn, replace=False))]


def missing_exports(files: StudyFiles, names: Sequence[str]) -> dict[Path, list[str]]:
    """Return the formats among the names that have not been made, by the delivered model that lacks them.

    One that failed is tried again when it is asked for again.
    """
    done = set()
    for record in files.read_export_records():
        if record.format in names and record.failure is None and files.checksums.is_whole(files.exports / record.file):
            done.add((record.model, record.format))
    missing = {}
    for model in delivered_models(files):
        formats = [name for name in names if (model.name, name) not in done]
        if formats:
            missing[model] = formats
    return missing


def missing_in_words(missing: Mapping[Path, Sequence[str]]) -> str:
    """Say which models lack which formats: "best.keras and ensemble.keras as litert, onnx"."""
    by_formats: dict[str, list[str]] = {}
    for model, names in missing.items():
        by_formats.setdefault(", ".join(names), []).append(model.name)
    return "; ".join(f"{' and '.join(models)} as {formats}" for formats, models in by_formats.items())


def delivered_models(files: StudyFiles) -> list[Path]:
    """Return the models that the study delivers: one network, and the ensemble where there is one."""
    return [files.model, files.ensemble] if files.has(files.ensemble_record) else [files.model]


def export_label(model: Path, name: str) -> str:
    """Name the export of a delivered model in a format, for whoever watches: "onnx", "ensemble onnx", "48k onnx"."""
    return name if model.name == "best.keras" else f"{model.stem} {name}"


def _export_in_words(record: ExportRecord) -> str:
    """Say what became of an export."""
    if record.largest_difference is None:
        return f"failed: {record.failure}"
    return (
        f"{record.file}: same class for {record.n_same_class:,} of {record.n_images:,} test images, probabilities "
        f"within {in_figures(record.largest_difference)}"
    )
