"""Export the delivered model, and compare each file with it on the test set."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from fmnist.data.source import DataSource
from fmnist.data.split import load_test
from fmnist.export.export import export_model
from fmnist.export.formats import ExportRecord, find_format, in_figures
from search.callbacks.base import Callback
from search.records.files import StudyFiles
from search.records.io import write_json
from search.records.ledger import Stopwatch
from search.worker.tasks import Interrupted

Exporter = Callable[..., Iterator[ExportRecord]]  # as `fmnist.export.export.export_model`


def make_exports(
    files: StudyFiles,
    source: DataSource,
    names: Sequence[str],
    n_threads: int,
    stop: threading.Event,
    callback: Callback,
    *,
    export: Exporter = export_model,
) -> list[ExportRecord]:
    """Export the delivered model in those of these formats that the study lacks, and compare each file with it on the
    whole test set, which must have been opened before. One that fails is recorded with its reason, and the others go
    on. Returns the records of all that were ever made.

    Raises Interrupted once `stop` is set. export: tests give another.
    """

    def check_cancelled() -> None:
        if stop.is_set():
            raise Interrupted

    missing = missing_exports(files, names)
    if not missing:
        return files.read_export_records()
    test = load_test(source)
    how = {"images": test.images, "labels": test.labels, "n_threads": n_threads, "check_cancelled": check_cancelled}
    with Stopwatch(files, "exports") as stopwatch, closing(export(files.model, missing, files.exports, **how)) as made:
        for record in made:
            write_json(files.export_record(record.format), record)
            callback.on_training_start(record.format, find_format(record.format).description, None)
            callback.on_training_end(record.format, _export_in_words(record))
            stopwatch.lap()
    return files.read_export_records()


def missing_exports(files: StudyFiles, names: Sequence[str]) -> list[str]:
    """Those of these formats that have not been made. One that failed is tried again when it is asked for again."""
    done = {
        record.format
        for record in files.read_export_records()
        if record.failure is None and (files.exports / record.file).exists()
    }
    return [name for name in names if name not in done]


def _export_in_words(record: ExportRecord) -> str:
    if record.failure is not None:
        return f"failed: {record.failure}"
    return (
        f"{record.file}: same class for {record.n_same_class:,} of {record.n_images:,} test images, probabilities "
        f"within {in_figures(record.largest_difference)}"
    )
