"""A complete study directory made up from records, for tests of what reads one. Nothing is trained."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.baselines.catalog import BASELINES
from fmnist.export.formats import FORMATS, ExportRecord
from fmnist.metrics.evaluation import least_confident_hits
from fmnist.metrics.robustness import changes
from fmnist.training.history import best_point
from search.records.files import StudyFiles
from search.records.io import write_arrays, write_json, write_text
from search.records.models import (
    BaselineRecord,
    ChangedTestScore,
    ConfirmRecord,
    DataRecord,
    EvaluationRecord,
    RefitRecord,
    TrialRecord,
)
from search.report.page import draw_report, write_report
from search.results.reading import read_finished_study
from tests.support.made_trials import Made, made_history, trial


def make_study(root: Path, made: Made | None = None) -> tuple[StudyFiles, list[TrialRecord]]:
    """Write `root` in full, `config.json` and `best.keras` (no true model) included; the trials are returned."""
    made = made or Made()
    files, rng = StudyFiles(root), np.random.default_rng(made.seed)
    trials = [trial(number, made, rng) for number in range(made.n_trials)]
    _write_data(files, made, rng)
    confirmed = _write_confirmations(files, made, trials, rng)
    winner = max(confirmed, key=lambda record: record.confirm_accuracy)
    _write_refits(files, made, winner, rng)
    _write_test(files, made, rng)
    _write_rest(files, made, winner)
    if made.with_baselines:
        _write_baselines(files, made, rng)
    if made.with_exports:
        _write_exports(files)
    return files, trials


def write_made_report(
    files: StudyFiles,
    trials: list[TrialRecord],
    *,
    command: str = "python -m search.run",
    importances: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Write the study's reports; report.json's content is returned."""
    finished = read_finished_study(files, trials, command=command, importances=importances)
    write_report(finished, draw_report(finished))
    return json.loads(files.report_json.read_text())


def _write_data(files: StudyFiles, made: Made, rng: np.random.Generator) -> None:
    n_classes = len(made.class_names)
    n_images = {"train": made.n_train, "selection": made.n_train // 10, "confirmation": made.n_train // 10, "test": 0}
    record = DataRecord(
        dataset=made.dataset,
        source="made by a test",
        checksums={"train-images.gz": "0" * 32, "train-labels.gz": "f" * 32},
        class_names=made.class_names,
        image_shape=made.image_shape,
        n_images=n_images,
        class_counts={part: _counts(n, n_classes, made) for part, n in n_images.items() if part != "test"},
        pixel_mean=72.9,
        pixel_std=90.0,
        split_checksum="a" * 32,
        split_seed=0,
        notes=made.notes,
        duplicates=made.duplicates,
    )
    write_json(files.data, record)
    shape = (n_classes, 10, *made.image_shape)
    samples = made.samples if made.samples is not None else rng.integers(0, 256, shape, dtype=np.uint8)
    write_arrays(files.samples, images=samples)


def _write_confirmations(
    files: StudyFiles, made: Made, trials: list[TrialRecord], rng: np.random.Generator
) -> list[ConfirmRecord]:
    ranked = sorted((t for t in trials[1:] if t.value is not None), key=lambda trial: -trial.value)
    finalists = [*ranked[: made.n_finalists - 1], trials[0]]
    return [_write_confirmation(files, made, trial, rng) for trial in finalists]


def _write_confirmation(files: StudyFiles, made: Made, trial: TrialRecord, rng: np.random.Generator) -> ConfirmRecord:
    n = made.n_train // 10
    labels = _balanced(n, len(made.class_names))
    # the better in the search, the fewer mistakes here, so that the winner is the search's best by and large
    probabilities = _predictions(labels, len(made.class_names), 1.03 - trial.value, rng)
    write_arrays(files.confirm_arrays(trial.number), labels=labels, probabilities=probabilities)
    history = made_history(made.n_train * 10, trial.value + 0.006, rng)
    record = ConfirmRecord(
        trial=trial.number,
        origin=trial.origin,
        recipe=trial.recipe,
        seed=1000 + trial.number,
        search_accuracy=trial.value,
        selection_accuracy=best_point(history).validation_accuracy,
        confirm_accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
        history=history,
        best=best_point(history),
        n_planned_images=made.n_train * 10,
        n_images=made.n_train * 10,
        seconds=made.n_train * 10 / 400,
        reason="trained to the end",
        peak_memory_mb=800.0,
    )
    write_json(files.confirm_record(trial.number), record)
    return record


def _write_refits(files: StudyFiles, made: Made, winner: ConfirmRecord, rng: np.random.Generator) -> None:
    for seed_index in range(made.n_seeds):
        points = made_history(made.n_train * 12, 0.94, rng)
        bare = [dataclasses.replace(p, validation_loss=None, validation_accuracy=None) for p in points]
        record = RefitRecord(
            trial=winner.trial,
            seed_index=seed_index,
            seed=2000 + seed_index,
            history=tuple(bare),
            n_planned_images=made.n_train * 12,
            n_images=made.n_train * 12,
            seconds=160.5,
            peak_memory_mb=820.0,
            rule="as many epochs as the confirmation training had at its best point",
        )
        write_json(files.refit_record(seed_index), record)


def _write_test(files: StudyFiles, made: Made, rng: np.random.Generator) -> None:
    n_classes = len(made.class_names)
    labels = made.test_labels if made.test_labels is not None else _balanced(made.n_test, n_classes)
    shape = (len(labels), *made.image_shape)
    images = made.test_images if made.test_images is not None else rng.integers(0, 256, shape, dtype=np.uint8)
    probabilities = np.stack([_predictions(labels, n_classes, made.mistake_share, rng) for _ in range(made.n_seeds)])
    is_wrong = probabilities[0].argmax(axis=1) != labels
    unsure = least_confident_hits(labels, probabilities[0], 24)
    write_arrays(
        files.test_arrays,
        labels=labels.astype(np.uint8),
        probabilities=probabilities,
        mistake_indices=np.flatnonzero(is_wrong).astype(np.int64),
        mistake_images=images[is_wrong],
        **({"unsure_indices": unsure, "unsure_images": images[unsure]} if made.with_changed_images else {}),
    )
    accuracies = tuple(float(a) for a in (probabilities.argmax(axis=2) == labels).mean(axis=1))
    flip_accuracies = tuple(accuracy + 0.002 for accuracy in accuracies) if made.with_mirror_images else None
    names = [(change.kind, change.name) for change in changes()] if made.with_changed_images else []
    changed = tuple(ChangedTestScore(*name, accuracies[0] * 0.97 ** (1 + i)) for i, name in enumerate(names))
    record = EvaluationRecord(
        *("2026-01-02T05:06:07+00:00", len(labels), accuracies, accuracies[0], 12.25, flip_accuracies), changed=changed
    )
    write_json(files.test, record)


def _write_baselines(files: StudyFiles, made: Made, rng: np.random.Generator) -> None:
    """Mistakes: half as many again as the winner has, and more from one baseline to the next."""
    labels, n_classes = files.read_test_arrays().labels, len(made.class_names)
    for i, baseline in enumerate(BASELINES):
        record = BaselineRecord(
            name=baseline.name,
            kind=baseline.kind,
            description=baseline.description,
            published_accuracy=baseline.published_accuracy if made.dataset == "fashion-mnist" else None,
            seed=3000 + i,
            reason=f"trained for {baseline.n_epochs} epochs" if baseline.n_epochs else "fitted to its end",
            seconds=40.5 * (i + 1),
            n_images=made.n_train * 11 // 10 if baseline.watches_selection else made.n_train * 12 // 10,
            n_parameters=542_230 if baseline.kind == "network" else None,
            n_epochs=baseline.n_epochs,
            peak_memory_mb=700.0 + i,
        )
        if baseline is BASELINES[-1]:
            failure = "failed (memory): the process used 3,000 MB, over its limit of 2,000 MB"
            record = dataclasses.replace(record, reason=failure, failure="memory", n_images=None, peak_memory_mb=None)
        else:
            share = min(0.9, made.mistake_share * (1.5 + 0.3 * i))
            predicted = _predictions(labels, n_classes, share, rng).argmax(axis=1).astype(np.uint8)
            write_arrays(files.baseline_arrays(baseline.name), predicted=predicted)
        write_json(files.baseline_record(baseline.name), record)
    files.add_to_ledger("baselines", 1458.0)


def _write_exports(files: StudyFiles) -> None:
    """Those in float32 say what the model says; with weights in 8 bits, three images have another class."""
    arrays = files.read_test_arrays()
    n_images, accuracy = len(arrays.labels), float((arrays.probabilities[0].argmax(axis=1) == arrays.labels).mean())
    for i, format in enumerate(FORMATS):
        record = ExportRecord(
            format=format.name,
            file=format.file_name(files.model),
            seconds=8.5,
            n_threads=2,
            n_images=n_images,
            runtime=f"{format.runtime} 1.2.{i}",
            largest_difference=3.1e-7 * i if format.is_exact else 0.0402,
            n_same_class=n_images if format.is_exact else n_images - 3,
            accuracy=accuracy if format.is_exact else accuracy - 3 / n_images,
            n_bytes=11_500 if format.is_exact else 3_000,
            milliseconds_by_1=1.5 / (i + 1),
            milliseconds_by_256=0.5 / (i + 1),
        )
        if format is FORMATS[-1]:
            failure = "the conversion failed: RuntimeError: tf2onnx: Tensorflow op [a|b: Erfinv] is not supported"
            record = ExportRecord(format.name, record.file, 2.5, 2, n_images, failure=failure, trace="its trace")
        else:
            write_text(files.exports / record.file, "stands in for the export")
        write_json(files.export_record(format.name), record)
    files.add_to_ledger("exports", 36.5)


def _write_rest(files: StudyFiles, made: Made, winner: ConfirmRecord) -> None:
    write_text(files.best_recipe, json.dumps(winner.recipe, indent=2))
    write_text(files.model, "not a model " * 1000)
    config = {"study": files.root.name, "storage": "the study's folder", "seed": made.seed, "sampler": "tpe"}
    write_text(files.config, json.dumps(config | {"space": {"training": {"optimizer": {"choices": ["adam", "sgd"]}}}}))
    write_text(files.command, f"python -m search.run --study {files.root.name} --trials {made.n_trials}\n")
    write_text(
        files.environment, json.dumps({"python": "3.11.9", "optuna": "5.0.0", "cores": 2, "workers": 2, "gpu": None})
    )
    for phase, seconds in {
        "search": 4000.5,
        "confirm": 500.25,
        "refit": 481.5,
        "evaluate": 12.25,
    }.items():
        files.add_to_ledger(phase, seconds, n_workers=2 if phase == "search" else None)


def _counts(n: int, n_classes: int, made: Made) -> tuple[int, ...]:
    """Images of each class."""
    weights = 1 / np.arange(1, n_classes + 1) if made.is_uneven else np.ones(n_classes)
    return tuple(int(count) for count in n * weights / weights.sum())


def _balanced(n: int, n_classes: int) -> np.ndarray:
    return (np.arange(n) % n_classes).astype(np.uint8)


def _predictions(labels: np.ndarray, n_classes: int, mistake_share: float, rng: np.random.Generator) -> np.ndarray:
    """Probabilities, float32 (n, n_classes). Mistakes go to a few other classes, and more often from high classes."""
    weight = 0.2 + labels / n_classes
    is_wrong = rng.random(len(labels)) < mistake_share * weight / weight.mean()
    shift = rng.choice([1, 2, 3], size=len(labels), p=(0.6, 0.3, 0.1))
    predicted = np.where(is_wrong, (labels.astype(int) - shift) % n_classes, labels)
    scores = rng.normal(0, 0.7, (len(labels), n_classes))
    rows = np.arange(len(labels))
    scores[rows, predicted] = scores.max(axis=1) + np.where(is_wrong, 1, 5) * rng.uniform(0.2, 1, len(labels))
    exponentials = np.exp(scores)
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)
