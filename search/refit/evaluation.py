"""Open the test set, once, and score everything on it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fmnist.baselines.catalog import find_baseline
from fmnist.data.images import LabelledImages
from fmnist.data.source import DataSource
from fmnist.data.split import load_test
from fmnist.metrics.evaluation import least_confident_hits
from fmnist.metrics.robustness import changes
from fmnist.recipe import Recipe, TrainingPlan
from search.records.files import StudyFiles
from search.records.io import read_json, write_arrays, write_json
from search.records.ledger import Stopwatch
from search.records.models import BestRecipe, ChangedTestScore, EvaluationRecord
from search.refit.baselines import as_failed
from search.refit.round import FinalRound, threads_for
from search.worker.local import training_variables
from search.worker.tasks import BaselinePredictTask, PredictTask, TrainingFailed

N_UNSURE_KEPT = 24  # of the right answers given with the least confidence, for the report to show


def evaluate(final: FinalRound, source: DataSource, n_trials_asked: int) -> EvaluationRecord:
    """Open the test set, once: predict with every retrained model, with best.keras as a user will load it, and with
    every baseline that was fitted.

    Raises RuntimeError if best.keras, loaded by plain Keras in a process that knows nothing of this project, does not
    score exactly what is about to be reported.
    """
    if final.files.test.exists():
        return read_json(EvaluationRecord, final.files.test)
    with Stopwatch(final.files, "evaluate"):
        return _open_test_set(final, source, n_trials_asked)


def _open_test_set(final: FinalRound, source: DataSource, n_trials_asked: int) -> EvaluationRecord:
    started = time.monotonic()
    models = [final.files.refit_model(record.seed_index) for record in final.files.read_refit_records()]
    test = load_test(source)
    probabilities = np.stack([final.predict(PredictTask(model, test.images)) for model in models])
    accuracies = tuple(accuracy_of(seed_probabilities, test) for seed_probabilities in probabilities)
    flip_accuracies = _flip_accuracies(final, models, probabilities, test)
    delivered = accuracy_of(predict_outside(final.files.model, test.images), test)
    if delivered != accuracies[0]:
        raise RuntimeError(f"best.keras scores {delivered} when loaded outside the project, but {accuracies[0]} inside")
    mistakes = np.flatnonzero(probabilities[0].argmax(axis=1) != test.labels)
    unsure = least_confident_hits(test.labels, probabilities[0], N_UNSURE_KEPT)
    changed = _scores_of_changed_images(final, test)
    write_arrays(
        final.files.test_arrays,
        labels=test.labels,
        probabilities=probabilities.astype(np.float32),
        mistake_indices=mistakes.astype(np.int64),
        mistake_images=test.images[mistakes],
        unsure_indices=unsure,
        unsure_images=test.images[unsure],
    )
    _predict_by_baselines(final, test)
    record = EvaluationRecord(
        opened=datetime.now(UTC).isoformat(timespec="seconds"),
        n_images=len(test),
        accuracies=accuracies,
        delivered_accuracy=delivered,
        seconds=time.monotonic() - started,
        flip_accuracies=flip_accuracies,
        n_trials_asked=n_trials_asked,
        changed=changed,
    )
    _tell_best_recipe(final.files, accuracies)
    write_json(final.files.test, record)
    return record


def _tell_best_recipe(files: StudyFiles, accuracies: Sequence[float]) -> None:
    """What each retraining scored, for whoever repeats it."""
    best = read_json(BestRecipe, files.best_recipe)
    scored = (replace(each, test_accuracy=score) for each, score in zip(best.retrainings, accuracies, strict=True))
    write_json(files.best_recipe, replace(best, retrainings=tuple(scored)))


def _predict_by_baselines(final: FinalRound, test: LabelledImages) -> None:
    """Store what each fitted baseline says, then remove its model."""
    for record in final.files.read_baseline_records():
        if record.failure is not None:
            continue
        model, arrays = final.files.baseline_model(find_baseline(record.name)), final.files.baseline_arrays(record.name)
        if not arrays.exists():  # a killed run may have come past it
            task = BaselinePredictTask(record.name, model, test.images, threads_for(final, n_parallel=1))
            try:
                write_arrays(arrays, predicted=final.predict(task))
            except TrainingFailed as failure:
                write_json(final.files.baseline_record(record.name), replace(record, **as_failed(failure)))
        model.unlink(missing_ok=True)


def _flip_accuracies(
    final: FinalRound, models: Sequence[Path], probabilities: np.ndarray, test: LabelledImages
) -> tuple[float, ...] | None:
    """Of each model, its probabilities averaged over an image and its mirror image: float32 (n_models, n, n_classes)
    are those of the images as they are. None where the recipe does not take mirror images for the same class."""
    if not _winning_plan(final.files).flip:
        return None
    mirrored = test.images[:, :, ::-1]
    both = np.stack([final.predict(PredictTask(model, mirrored)) for model in models]) + probabilities
    return tuple(accuracy_of(seed_probabilities, test) for seed_probabilities in both)


def _winning_plan(files: StudyFiles) -> TrainingPlan:
    return Recipe.from_dict(read_json(BestRecipe, files.best_recipe).recipe).plan


def _scores_of_changed_images(final: FinalRound, test: LabelledImages) -> tuple[ChangedTestScore, ...]:
    """Of the delivered model."""
    border = _winning_plan(final.files).border
    task = PredictTask(final.files.model, test.images, threads_for(final, 1), changed=True, border=border)
    return tuple(
        ChangedTestScore(change.kind, change.name, accuracy_of(probabilities, test))
        for change, probabilities in zip(changes(border), final.predict(task), strict=True)
    )


_PREDICT_OUTSIDE = """
import sys
sys.modules["fmnist"] = sys.modules["search"] = None  # not to be imported, wherever they are installed
import numpy, keras
model = keras.saving.load_model(sys.argv[1])
numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2]), batch_size=500, verbose=0))
"""


def predict_outside(model: Path, images: np.ndarray) -> np.ndarray:
    """Probabilities float32 (n, n_classes) of a saved model, by plain Keras in a fresh, isolated process."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder, "images.npy"), Path(folder, "probabilities.npy")
        np.save(inputs, images)
        command = [sys.executable, "-I", "-c", _PREDICT_OUTSIDE, str(model.absolute()), str(inputs), str(outputs)]
        environment = os.environ | training_variables()
        # A session of its own: Ctrl-C reaches the whole group, and what it breaks here would look like a bad model.
        outcome = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, start_new_session=True
        )
        if outcome.returncode != 0:
            raise RuntimeError(f"{model} does not load with plain Keras:\n{outcome.stderr}")
        return np.load(outputs)


def accuracy_of(probabilities: np.ndarray, test: LabelledImages) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == test.labels))
