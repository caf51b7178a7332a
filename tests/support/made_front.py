"""The front of a made study: networks of four sizes with their records, files and predictions. Nothing is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fmnist.export.formats import ExportRecord, find_format
from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Recipe
from search.records.files import StudyFiles
from search.records.models import (
    BestRecipe,
    ConfirmRecord,
    EvaluationRecord,
    FrontPointRecord,
    FrontRecord,
    MemberRecord,
    RefitRecord,
    Retraining,
)
from search.system.option_checks import FRONT_FORMATS

# Of each network that is cheaper than the winner: by what its filters are divided, and how far its confirmation
# accuracy lies below that of best.keras. The second is dominated by the first, the third is within half a point.
CHEAPER = ((8, 0.03), (4, 0.04), (2, 0.004))
N_LOST_BY_8_BITS = (8, 1, 1, 1)  # test images, the cheapest network's first


def write_front(
    files: StudyFiles, confirmed: Sequence[ConfirmRecord], winner: ConfirmRecord, rng: np.random.Generator
) -> None:
    """Write the networks of the front into a made study that has been written otherwise.

    The winner is the costliest; the trials of the other finalists give the cheaper ones their numbers.
    """
    others = [record.trial for record in confirmed if record is not winner]
    recipes = [(trial, _divided(winner.recipe, by), less) for trial, (by, less) in zip(others, CHEAPER, strict=False)]
    recipes.append((winner.trial, Recipe.from_dict(winner.recipe), 0.0))
    points = tuple(_point(trial, recipe) for trial, recipe, _ in recipes)
    files.write_json(files.front_record, FrontRecord(points))
    best = files.read_refit_records()[0]
    assert best.confirm_accuracy is not None
    for point, (_, recipe, less) in zip(points, recipes, strict=True):
        of_point = files.of_point(point.name)
        _write_training(of_point, point, best, round(best.confirm_accuracy - less, 6))
        of_point.write_text(of_point.model, f"stands in for {point.name} " * 100)
        of_point.write_json(of_point.best_recipe, _best_recipe(files, point, recipe))
    _write_predictions(files, len(points), rng)


def _divided(recipe: dict, by: int) -> Recipe:
    made = Recipe.from_dict(recipe)
    whole = made.architecture
    blocks = tuple(dataclasses.replace(block, filters=max(2, block.filters // by)) for block in whole.blocks)
    dense_units = tuple(max(4, units // by) for units in whole.dense_units)
    return dataclasses.replace(made, architecture=dataclasses.replace(whole, blocks=blocks, dense_units=dense_units))


def _point(trial: int, recipe: Recipe) -> FrontPointRecord:
    n_parameters = count_parameters(recipe.architecture)
    name = f"{n_parameters / 1000:.1f}k" if n_parameters < 10_000 else f"{round(n_parameters / 1000)}k"
    return FrontPointRecord(name, trial, n_parameters, count_multiply_adds(recipe.architecture))


def _write_training(of_point: StudyFiles, point: FrontPointRecord, like: RefitRecord, accuracy: float) -> None:
    """Write the training that is delivered: a student, as that of best.keras is, or the finalist's own."""
    teachers = like.teachers or (MemberRecord("confirm/trial-0000.keras", 1.0),)
    training = dataclasses.replace(like, trial=point.trial, teachers=teachers, confirm_accuracy=accuracy)
    of_point.write_json(of_point.refit_record(0), training)
    of_point.write_text(of_point.refit_model(0), "stays where it was trained")


def _best_recipe(files: StudyFiles, point: FrontPointRecord, recipe: Recipe) -> BestRecipe:
    return BestRecipe(
        made_with={"keras": "3"},
        study=files.root.name,
        trial=point.trial,
        recipe=recipe.to_dict(),
        dataset="made-up",
        data_checksums={},
        image_size=None,
        colour=None,
        skip_unreadable=False,
        split_seed=0,
        split_checksum="a" * 32,
        n_planned_images=60_000,
        n_stop_images=None,
        bfloat16=False,
        retrainings=(Retraining(seed=1, n_threads=1),),
    )


def _write_predictions(files: StudyFiles, n_points: int, rng: np.random.Generator) -> None:
    """Write what each network predicts of the test images, and of each an export in every format of the front.

    The costliest is best.keras; each cheaper one has ten mistakes more than the next.
    """
    arrays = files.read_arrays(files.test_arrays)
    of_best, labels = arrays["probabilities"][0], arrays["labels"]
    right = np.flatnonzero(of_best.argmax(axis=1) == labels)
    predictions = []
    for n_cheaper in range(n_points):
        probabilities = of_best.copy()
        wrong = rng.choice(right, 10 * (n_points - 1 - n_cheaper), replace=False)
        probabilities[wrong] = np.roll(probabilities[wrong], 1, axis=1)
        predictions.append(probabilities)
    files.write_arrays(files.test_arrays, **arrays, front_probabilities=np.stack(predictions))
    accuracies = tuple(float((each.argmax(axis=1) == labels).mean()) for each in predictions)
    record = files.read_json(EvaluationRecord, files.test)
    files.write_json(files.test, dataclasses.replace(record, front_accuracies=accuracies))
    for point, accuracy, n_lost in zip(files.read_front(), accuracies, N_LOST_BY_8_BITS[:n_points], strict=True):
        _write_exports(files.of_point(point.name), point, accuracy, n_lost, len(labels))


def _write_exports(of_point: StudyFiles, point: FrontPointRecord, accuracy: float, n_lost: int, n_images: int) -> None:
    for i, name in enumerate(FRONT_FORMATS):
        format, n_bytes = find_format(name), 2000 + 4 * point.n_parameters
        lost = 0 if format.is_exact else n_lost
        record = ExportRecord(
            format=name,
            file=format.file_name(of_point.model),
            seconds=8.5,
            n_threads=1,
            n_images=n_images,
            runtime=f"{format.runtime} 1.2.{i}",
            largest_difference=3.1e-7 if format.is_exact else 0.0402,
            n_same_class=n_images - lost,
            accuracy=accuracy - lost / n_images,
            n_only_file_right=0,
            n_only_model_right=lost,
            n_bytes=n_bytes if format.is_exact else n_bytes // 4 + 1500,
            milliseconds_by_1=(0.02 + point.multiply_adds / 2e7) * (1.0, 0.6, 1.4)[i],
            milliseconds_by_256=0.01,
            p95_milliseconds_by_1=0.05 + point.multiply_adds / 1e7,
            model=of_point.model.name,
            n_model_bytes=of_point.model.stat().st_size,
        )
        of_point.write_text(of_point.exports / record.file, f"stands in for {record.file}")
        of_point.write_json(of_point.export_record(name, of_point.model.name), record)


def fail_export(files: StudyFiles, point: str, format_name: str) -> None:
    """Make the export of a network in a format one that failed."""
    of_point = files.of_point(point)
    path: Path = of_point.export_record(format_name, of_point.model.name)
    record = of_point.read_json(ExportRecord, path)
    (of_point.exports / record.file).unlink()
    of_point.write_json(
        path,
        ExportRecord(format_name, record.file, 2.5, 1, record.n_images, failure="it failed", model=record.model),
    )
