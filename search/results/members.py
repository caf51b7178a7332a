"""Which networks of a study are averaged? The teachers of its students, and what its ensemble is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist.errors import UserError
from fmnist.metrics.intervals import Interval, score_95
from fmnist.paths import shown_path
from fmnist.recipe import Recipe
from search.format import with_noun
from search.records.models import ConfirmRecord, EnsembleRecord, MemberRecord
from search.results.trainings import Trainings


@dataclass(frozen=True)
class Member:
    """One trained network of a study, and how much it counts in an average."""

    name: str  # "trial 7" of a finalist, "student 1", "retraining 0"
    model: str  # its file in the study's folder
    arrays: Path  # its predictions on the confirmation split, see `StudyFiles.confirm_arrays`
    recipe: Recipe
    seed: int
    confirm_accuracy: float | None
    confirm_score: float | None  # by the study's metric; None where that is accuracy
    weight: float  # of its probabilities; those of an average sum to 1


def find_members(study: Trainings, records: Sequence[MemberRecord]) -> tuple[Member, ...]:
    """Find the finalists and students that an average is made of.

    Args:
        study: one at its end.
        records: as an ensemble's record or a student's has them.

    Returns:
        A member for each record, in their order.

    Raises:
        UserError: a record names a network that is neither a finalist nor a student of the study.
    """
    files, known = study.files, {}
    for finalist in study.confirmed:
        name = f"trial {finalist.trial}"
        arrays = files.confirm_arrays(finalist.trial)
        known[files.relative_name(files.confirm_model(finalist.trial))] = (name, arrays, finalist.recipe, finalist)
    for student in study.students:
        name, arrays = f"{student.kind} {student.seed_index}", files.student_arrays(student.seed_index)
        known[files.relative_name(files.student_model(student.seed_index))] = (
            name,
            arrays,
            study.winner.recipe,
            student,
        )
    found = []
    for record in records:
        if record.model not in known:
            raise UserError(
                f"an average's members must be finalists or students of the study, but {shown_path(files.root)} has "
                f"no record of {record.model}; restore the study's files, or start a new one with --study NAME"
            )
        name, arrays, recipe, training = known[record.model]
        recipe, accuracy = Recipe.from_dict(recipe), training.confirm_accuracy
        found.append(
            Member(name, record.model, arrays, recipe, training.seed, accuracy, training.confirm_score, record.weight)
        )
    return tuple(found)


def averaged_in_words(ensemble: EnsembleRecord) -> str:
    """What an ensemble averages, such as `3 networks`, or `3 networks with mirror images`."""
    if len(ensemble.members) == 1:
        return "one network on an image and its mirror image"
    networks = with_noun(len(ensemble.members), "network")
    return f"{networks} with mirror images" if ensemble.mirrored else networks


def score_interval(study: Trainings, record: ConfirmRecord) -> Interval:
    """95 % interval of what a finalist has on the confirmation split by the study's metric (Wilson's of accuracy)."""
    if record.confirm_score is None:
        return study.confirm_interval(record)
    return score_95(study.metric, *read_confirmation(study, study.files.confirm_arrays(record.trial)))


def read_confirmation(study: Trainings, path: Path, *, mirrored: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Read what a finalist or student predicts on the confirmation split.

    Args:
        study: one at its end.
        path: see `StudyFiles.confirm_arrays` and `StudyFiles.student_arrays`.
        mirrored: what it predicts on average for an image and its mirror image.

    Returns:
        Labels, int (n,), and probabilities, float32 (n, n_classes).
    """
    arrays = study.files.read_arrays(path)
    probabilities = arrays["probabilities"]
    if mirrored:
        probabilities = (probabilities + arrays["mirrored_probabilities"]) / 2
    return arrays["labels"].astype(int), probabilities
