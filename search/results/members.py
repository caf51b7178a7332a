"""Which networks of a study are averaged? The teachers of its students, and what its ensemble is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist.errors import UserError
from fmnist.paths import shown_path
from fmnist.recipe import Recipe
from search.records.models import MemberRecord
from search.results.trainings import Trainings


@dataclass(frozen=True)
class Member:
    """One trained network of a study, and how much it counts in an average."""

    name: str  # "trial 7" of a finalist, "student 1"
    model: str  # its file in the study's folder
    arrays: Path  # its predictions on the confirmation split, see `StudyFiles.confirm_arrays`
    recipe: Recipe
    seed: int
    confirm_accuracy: float | None
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
        name, arrays = f"student {student.seed_index}", files.student_arrays(student.seed_index)
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
        found.append(Member(name, record.model, arrays, recipe, training.seed, accuracy, record.weight))
    return tuple(found)


def read_confirmation(study: Trainings, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read what a finalist or student predicts on the confirmation split.

    Args:
        study: one at its end.
        path: see `StudyFiles.confirm_arrays` and `StudyFiles.student_arrays`.

    Returns:
        Labels, int (n,), and probabilities, float32 (n, n_classes).
    """
    arrays = study.files.read_arrays(path)
    return arrays["labels"].astype(int), arrays["probabilities"]
