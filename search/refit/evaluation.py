"""Open the test set, once, after everything is chosen, and score everything on it.

This is the only module that loads test images. Exports and a later retraining are given them here, too.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fmnist.baselines.catalog import find_baseline
from fmnist.data.images import LabelledImages
from fmnist.data.source import DataSource
from fmnist.data.split import load_test
from fmnist.environment import clean_environment, python_command
from fmnist.export.formats import HALF_WRITTEN
from fmnist.metrics.evaluation import least_confident_hits
from fmnist.metrics.robustness import changes
from fmnist.paths import absolute
from fmnist.recipe import Recipe, TrainingPlan
from search.records.files import StudyFiles
from search.records.ledger import Stopwatch
from search.records.models import BestRecipe, ChangedTestScore, EnsembleRecipe, EvaluationRecord
from search.refit.baselines import as_failed
from search.refit.round import FinalRound
from search.worker.interrupts import POLL_SECONDS, Interruptible
from search.worker.tasks import BaselinePredictTask, Interrupted, Predictor, PredictTask, TrainingFailed

N_UNSURE_KEPT = 24  # of the right answers given with the least confidence, for the report to show


def evaluate(
    final: FinalRound, source: DataSource, n_trials_asked: int, require_hold: Callable[[], object] = lambda: None
) -> EvaluationRecord:
    """Open the test set, once, and predict with every delivered model, best.keras and every fitted baseline.

    best.keras is loaded as a user will load it: by plain Keras, in a process that knows nothing of this project.

    Args:
        final: Where predictions run, and whose files they go to.
        source: The study's images.
        n_trials_asked: Trials that the study was asked for; it takes no more of them afterwards.
        require_hold: Raises UserError where this run has lost the study to another; asked before the test set is
            opened, and again before anything of it is kept.

    Returns:
        The record of the evaluation; of an earlier one where the test set has been opened before.

    Raises:
        RuntimeError: best.keras does not score exactly what is about to be reported.
    """
    files = final.files
    if files.has(files.test):
        return files.read_json(EvaluationRecord, files.test)
    with Stopwatch(files, "evaluate"):
        started = time.monotonic()
        require_hold()
        with Interruptible(final.stop):
            test = load_test(source)
        models, predictions = [], []
        for retrained in files.read_refit_records():
            model = files.checksums.intact(files.refit_model(retrained.seed_index))
            models.append(model)
            predictions.append(final.predict(PredictTask(model, test.images, final.threads_per_training(1))))
        probabilities = np.stack(predictions)
        accuracies = _accuracies_of(probabilities, test)
        flip_accuracies = _mirrored_accuracies(final, models, probabilities, test)
        of_delivered, of_ensemble = _predict_delivered(final, test)
        delivered = accuracy_of(of_delivered, test)
        if delivered != accuracies[0]:
            raise RuntimeError(
                f"best.keras scores {delivered} when loaded outside the project, but {accuracies[0]} inside"
            )
        of_front = _front_probabilities(final, test)
        front_accuracies = () if of_front is None else _accuracies_of(of_front, test)
        changed = _scores_of_changed_images(final, test)
        require_hold()
        _save_predictions(files, test, probabilities, of_ensemble, of_front)
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
            ensemble_accuracy=None if of_ensemble is None else accuracy_of(of_ensemble, test),
            front_accuracies=front_accuracies,
        )
        _add_scores_to_best_recipe(files, accuracies)
        _add_scores_to_front(files, front_accuracies)
        if record.ensemble_accuracy is not None:
            recipe = files.read_json(EnsembleRecipe, files.ensemble_recipe)
            files.write_json(files.ensemble_recipe, replace(recipe, test_accuracy=record.ensemble_accuracy))
        files.write_json(files.test, record)
    return record


def opened_test_images(files: StudyFiles, source: DataSource) -> LabelledImages:
    """Return the test images of a study that has opened them before, for a comparison by which nothing is chosen.

    Raises RuntimeError if the study has not been evaluated yet.
    """
    if not files.has(files.test):
        raise RuntimeError(f"the test set of {files.root.name} may be used after its evaluation only")
    return load_test(source)


def score_retrained(predict: Predictor, model: Path, source: DataSource) -> tuple[float, int]:
    """Return the test accuracy of a model that was trained once more, and the number of test images."""
    test = load_test(source)
    return accuracy_of(predict(PredictTask(model, test.images)), test), len(test)


def _predict_delivered(final: FinalRound, test: LabelledImages) -> tuple[np.ndarray, np.ndarray | None]:
    """Return what best.keras and ensemble.keras predict, loaded by plain Keras; None where there is no ensemble."""
    files = final.files
    models = [files.checksums.intact(files.model)]
    if files.read_ensemble_record() is None:
        return predict_outside(models, test.images, final.stop)[0], None
    models.append(files.checksums.intact(files.ensemble))
    of_delivered, of_ensemble = predict_outside(models, test.images, final.stop)
    return of_delivered, of_ensemble


def _front_probabilities(final: FinalRound, test: LabelledImages) -> np.ndarray | None:
    """Return what the networks of the front predict, as the study delivers them; None where it has no front."""
    files, predictions = final.files, []
    for record in files.read_front():
        model = files.checksums.intact(files.of_point(record.name).model)
        predictions.append(final.predict(PredictTask(model, test.images, final.threads_per_training(1))))
    return np.stack(predictions) if predictions else None


def _save_predictions(
    files: StudyFiles,
    test: LabelledImages,
    probabilities: np.ndarray,
    of_ensemble: np.ndarray | None,
    of_front: np.ndarray | None,
) -> None:
    """Write what the models predict, with the images that the report shows.

    These are the delivered model's mistakes, and the right answers that it gives with the least confidence.

    Args:
        files: The study's files.
        test: The test images.
        probabilities: float32 (n_models, n, n_classes), the delivered model's first.
        of_ensemble: float32 (n, n_classes), the ensemble's; None where there is none.
        of_front: float32 (n_points, n, n_classes), the front's; None where there is none.
    """
    arrays = {}
    if of_front is not None:
        arrays["front_probabilities"] = of_front.astype(np.float32)
    if of_ensemble is not None:
        arrays["ensemble_probabilities"] = of_ensemble.astype(np.float32)
    mistakes = np.flatnonzero(probabilities[0].argmax(axis=1) != test.labels)
    unsure = least_confident_hits(test.labels, probabilities[0], N_UNSURE_KEPT)
    files.write_arrays(
        files.test_arrays,
        labels=test.labels,
        probabilities=probabilities.astype(np.float32),
        mistake_indices=mistakes.astype(np.int64),
        mistake_images=test.images[mistakes],
        unsure_indices=unsure,
        unsure_images=test.images[unsure],
        **arrays,
    )


def _add_scores_to_best_recipe(files: StudyFiles, accuracies: Sequence[float]) -> None:
    """Write what each delivered training scored to best_recipe.json, for whoever repeats it."""
    best = files.read_json(BestRecipe, files.best_recipe)
    scored = []
    for retraining, accuracy in zip(best.retrainings, accuracies, strict=True):
        scored.append(replace(retraining, test_accuracy=accuracy))
    files.write_json(files.best_recipe, replace(best, retrainings=tuple(scored)))


def _add_scores_to_front(files: StudyFiles, accuracies: Sequence[float]) -> None:
    """Write what each network of the front scored to its recipe, of which the first training is the delivered one."""
    for point, accuracy in zip(files.read_front(), accuracies, strict=True):
        of_point = files.of_point(point.name)
        best = files.read_json(BestRecipe, of_point.best_recipe)
        first = replace(best.retrainings[0], test_accuracy=accuracy)
        files.write_json(of_point.best_recipe, replace(best, retrainings=(first, *best.retrainings[1:])))


def _predict_by_baselines(final: FinalRound, test: LabelledImages) -> None:
    """Store what each fitted baseline predicts, then remove its model."""
    for record in final.files.read_baseline_records():
        if record.failure is not None:
            continue
        model = final.files.baseline_model(find_baseline(record.name))
        arrays = final.files.baseline_arrays(record.name)
        if not final.files.has(arrays):  # a killed run may have come past it
            task = BaselinePredictTask(record.name, model, test.images, final.threads_per_training(1))
            try:
                final.files.write_arrays(arrays, predicted=final.predict(task))
            except TrainingFailed as failure:
                final.files.write_json(final.files.baseline_record(record.name), replace(record, **as_failed(failure)))
        final.files.checksums.forget(model)


def _mirrored_accuracies(
    final: FinalRound, models: Sequence[Path], probabilities: np.ndarray, test: LabelledImages
) -> tuple[float, ...] | None:
    """Return the accuracy of each model, its probabilities averaged over an image and its mirror image.

    None if the recipe does not take a mirror image for the same class. probabilities: of the images as they are,
    float32 (n_models, n, n_classes).
    """
    if not _winning_plan(final.files).flip:
        return None
    mirrored = test.images[:, :, ::-1]
    n_threads = final.threads_per_training(1)
    of_mirrored = np.stack([final.predict(PredictTask(model, mirrored, n_threads)) for model in models])
    return _accuracies_of(of_mirrored + probabilities, test)


def _winning_plan(files: StudyFiles) -> TrainingPlan:
    """Return how the delivered model was trained."""
    return Recipe.from_dict(files.read_json(BestRecipe, files.best_recipe).recipe).plan


def _scores_of_changed_images(final: FinalRound, test: LabelledImages) -> tuple[ChangedTestScore, ...]:
    """Return the accuracy of the delivered model on test images that were moved, darkened and so on."""
    border = _winning_plan(final.files).border
    n_threads = final.threads_per_training(1)
    task = PredictTask(final.files.model, test.images, n_threads, changed=True, border=border)
    scores = []
    for change, probabilities in zip(changes(border), final.predict(task), strict=True):
        scores.append(ChangedTestScore(change.kind, change.name, accuracy_of(probabilities, test)))
    return tuple(scores)


_PREDICT_OUTSIDE = """
import sys
sys.modules["fmnist"] = sys.modules["search"] = None  # not to be imported, wherever they are installed
import numpy, keras
images, *places = sys.argv[1:]
for model, probabilities in zip(places[::2], places[1::2]):
    print(ascii(model), flush=True)  # the last one is the one that fails
    numpy.save(probabilities, keras.saving.load_model(model).predict(numpy.load(images), batch_size=500, verbose=0))
"""  # in batches as `fmnist.model.inference` makes them; sums of other batches may differ in their last bits


def predict_outside(
    models: Sequence[Path], images: np.ndarray, stop: threading.Event | None = None
) -> list[np.ndarray]:
    """Predict with saved models by plain Keras, in a fresh, isolated process that cannot import this project.

    Args:
        models: .keras files.
        images: uint8 (n, height, width, channels).
        stop: Set it to end the process.

    Returns:
        Of each model, probabilities, float32 (n, n_classes).

    Raises:
        RuntimeError: A model does not load; with what Keras says.
        Interrupted: `stop` was set.
    """
    with tempfile.TemporaryDirectory(prefix=HALF_WRITTEN, dir=absolute(models[0]).parent) as folder:
        inputs, outputs = Path(folder, "images.npy"), [Path(folder, f"{i}.npy") for i in range(len(models))]
        np.save(inputs, images)
        script = Path(folder, "predict_outside.py")
        script.write_text(_PREDICT_OUTSIDE, encoding="utf-8")
        places = [str(place) for pair in zip(map(absolute, models), outputs, strict=True) for place in pair]
        command = python_command(script, str(inputs), *places)
        exit_code, said = _run_outside(command, Path(folder), stop or threading.Event())
        if exit_code != 0:
            raise RuntimeError(f"one of {', '.join(map(str, models))} does not load with plain Keras:\n{said}")
        return [np.load(output) for output in outputs]


def _run_outside(command: Sequence[str], folder: Path, stop: threading.Event) -> tuple[int, str]:
    """Run a process in a folder, and return its exit code and what it said. Raises Interrupted where `stop` is set."""
    with (
        tempfile.TemporaryDirectory() as temporary,  # TensorFlow leaves files there, and takes no path but UTF-8
        (folder / "said.txt").open("w+", encoding="utf-8", errors="replace") as said,
    ):
        # A session of its own: Ctrl-C reaches the whole group, and what it breaks here would look like a bad model.
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=clean_environment({"TMPDIR": temporary}),
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                if stop.is_set():
                    raise Interrupted
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_SECONDS)
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        return process.returncode, said.read()


def accuracy_of(probabilities: np.ndarray, test: LabelledImages) -> float:
    """Return the share of images whose most probable class is their label. probabilities: (n, n_classes)."""
    return float(np.mean(probabilities.argmax(axis=1) == test.labels))


def _accuracies_of(probabilities: np.ndarray, test: LabelledImages) -> tuple[float, ...]:
    """Return the accuracy of each model. probabilities: (n_models, n, n_classes)."""
    return tuple(accuracy_of(of_model, test) for of_model in probabilities)
