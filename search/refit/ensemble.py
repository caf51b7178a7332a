"""Average what was trained after the search: the teachers of the students, and the ensemble that a study delivers.

Who is averaged, with which weight, and whether over mirror images too, is chosen on the confirmation split, from which
none of the networks has learned and by which no trial was chosen. Averages are compared by cross-entropy whatever the
study's metric, since metrics of predicted classes cannot tell them apart; where the metric counts classes alike, so
does the cross-entropy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.data.split import open_split
from fmnist.metrics.ensemble import ensemble_weights, weighted_mean
from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.model.metadata import write_metadata
from fmnist.recipe import Recipe
from fmnist.scoring import COUNT_CLASSES_ALIKE, log_losses, weights_of_classes
from search.records.files import StudyFiles
from search.records.ledger import Stopwatch
from search.records.models import (
    ConfirmRecord,
    EnsembleRecipe,
    EnsembleRecord,
    MemberRecipe,
    MemberRecord,
    RefitRecord,
    kind_of_refit,
)
from search.refit.confirmation import trained_finalists
from search.refit.provenance import provenance_of
from search.refit.round import FinalRound, confirmed_by, model_metadata
from search.refit.schedule import N_TEACHERS
from search.worker.tasks import AverageTask


@dataclass(frozen=True)
class Candidate:
    """A trained network that may be averaged with others."""

    model: Path
    probabilities: np.ndarray  # float32 (n, n_classes), of the confirmation split
    # The same of its mirror images; None: it has not learned from such, or an earlier version trained it.
    mirrored_probabilities: np.ndarray | None
    recipe: Recipe

    @classmethod
    def read(cls, files: StudyFiles, model: Path, arrays: Path, recipe: dict[str, Any]) -> Candidate:
        """Read what a network predicts on the confirmation split. arrays: where `write_confirmation` has put that."""
        predicted = files.read_arrays(arrays)
        mirrored = predicted.get("mirrored_probabilities")
        return cls(model, predicted["probabilities"], mirrored, Recipe.from_dict(recipe))

    def predicted(self, *, mirrored: bool) -> np.ndarray:
        """Return what it predicts there, float32 (n, n_classes); mirrored: on average for both views."""
        if not mirrored:
            return self.probabilities
        assert self.mirrored_probabilities is not None, "whoever asks has seen that they are there"
        return (self.probabilities + self.mirrored_probabilities) / 2


@dataclass(frozen=True)
class Average:
    """Networks that are averaged."""

    members: tuple[MemberRecord, ...]  # the heaviest first
    mirrored: bool  # each predicts the image and its mirror image, and both count the same
    log_loss: float  # on the confirmation split


def finalists_of(final: FinalRound) -> list[Candidate]:
    """Return the finalists that were trained anew, best on the confirmation split first."""
    files = final.files
    candidates = []
    for record in trained_finalists(final):
        model, arrays = files.confirm_model(record.trial), files.confirm_arrays(record.trial)
        candidates.append(Candidate.read(files, model, arrays, record.recipe))
    return candidates


def finished_students(files: StudyFiles, trial: int) -> list[RefitRecord]:
    """Return the students or retrainings of a trial's recipe that are trained and have lost no file since, by seed."""
    finished = []
    for record in files.read_student_records():
        index = record.seed_index
        kept = map(files.checksums.is_whole, (files.student_model(index), files.student_arrays(index)))
        if record.trial == trial and all(kept):
            finished.append(record)
    return finished


def students_of(final: FinalRound, winner: ConfirmRecord) -> list[Candidate]:
    """Return the students or retrainings, which have the winner's recipe, by seed."""
    files = final.files
    candidates = []
    for record in finished_students(files, winner.trial):
        model, arrays = files.student_model(record.seed_index), files.student_arrays(record.seed_index)
        candidates.append(Candidate.read(files, model, arrays, winner.recipe))
    return candidates


def choose_average(final: FinalRound, candidates: Sequence[Candidate]) -> Average:
    """Choose which candidates are averaged, and over mirror images too where that is better.

    Mirror images count only where every candidate has predicted them, as it has learned from such: they show the same
    class then.
    """
    average = average_of(final, candidates, mirrored=False)
    if any(candidate.mirrored_probabilities is None for candidate in candidates):
        return average
    mirrored = average_of(final, candidates, mirrored=True)
    return mirrored if mirrored.log_loss < average.log_loss else average


def average_of(final: FinalRound, candidates: Sequence[Candidate], *, mirrored: bool) -> Average:
    """Choose which candidates are averaged, see `fmnist.metrics.ensemble`. mirrored: over mirror images too."""
    labels = np.array(open_split(final.site.split_folder).confirmation.labels)
    probabilities = np.stack([candidate.predicted(mirrored=mirrored) for candidate in candidates])
    image_weights = None
    if final.site.metric in COUNT_CLASSES_ALIKE:
        weights_by_class = weights_of_classes("balanced", labels, probabilities.shape[2])
        assert weights_by_class is not None
        image_weights = weights_by_class[labels]
    weights = ensemble_weights(probabilities, labels, image_weights=image_weights)
    members = []
    for candidate, weight in zip(candidates, weights, strict=True):
        if weight > 0:
            members.append(MemberRecord(final.files.relative_name(candidate.model), float(weight)))
    losses = log_losses(labels, weighted_mean(probabilities, weights))
    log_loss = float(np.average(losses, weights=image_weights))
    return Average(tuple(sorted(members, key=lambda member: -member.weight)), mirrored, log_loss)


def choose_teachers(final: FinalRound) -> tuple[MemberRecord, ...]:
    """Choose the finalists that students learn from: the heaviest of the average of the best, at most N_TEACHERS.

    Each of them is asked for every image that a student sees, so that more would take the time of a longer training.
    A single finalist teaches nobody: its recipe is trained again from labels alone, which an average gains by.
    """
    candidates = finalists_of(final)
    if len(candidates) == 1:
        return ()
    heaviest = average_of(final, candidates, mirrored=False).members[:N_TEACHERS]
    whole = sum(member.weight for member in heaviest)
    return tuple(replace(member, weight=member.weight / whole) for member in heaviest)


def are_taught(final: FinalRound, winner: ConfirmRecord) -> bool:
    """Return whether further trainings of the winner's recipe are students, or retrainings of a single finalist."""
    done = finished_students(final.files, winner.trial)
    return done[0].is_taught if done else len(trained_finalists(final)) > 1


def kind_of_students(final: FinalRound, winner: ConfirmRecord) -> str:
    """Return what the further trainings of the winner's recipe are called: student or retraining."""
    return kind_of_refit(is_taught=are_taught(final, winner))


def build_ensemble(final: FinalRound, winner: ConfirmRecord) -> EnsembleRecord | None:
    """Choose the ensemble among finalists and students or retrainings, and write its model, its recipe and its record.

    Returns:
        Its record; None where one network alone, without mirror images, is better than any average: then there is no
        ensemble.
    """
    files = final.files
    candidates = [*finalists_of(final), *students_of(final, winner)]
    average = choose_average(final, candidates)
    members, mirrored = average.members, average.mirrored
    if len(members) < 2 and not mirrored:
        files.forget_ensemble()
        return None
    done = files.read_ensemble_record()
    is_kept = all(map(files.checksums.is_whole, (files.ensemble, files.ensemble_recipe)))
    if done is not None and (done.members, done.mirrored) == (members, mirrored) and is_kept:
        return done
    files.forget_ensemble()
    confirmation = open_split(final.site.split_folder).confirmation
    models = tuple(files.checksums.intact(files.root / member.model) for member in members)
    with Stopwatch(files, "refit"), files.checksums.writing(files.ensemble) as temporary:
        weights = tuple(member.weight for member in members)
        images = np.array(confirmation.images)
        n_threads = final.threads_per_training(1)
        predicted = final.predict(AverageTask(models, weights, temporary, images, n_threads, mirrored=mirrored))
        write_metadata(temporary, model_metadata(final.data))
    confirmed = confirmed_by(final.site.metric, np.array(confirmation.labels), predicted)
    of_members = [candidate.recipe.architecture for candidate in candidates if candidate.model in models]
    record = EnsembleRecord(
        members=members,
        n_candidates=len(candidates),
        confirm_accuracy=confirmed.accuracy,
        n_parameters=sum(map(count_parameters, of_members)),
        multiply_adds=sum(map(count_multiply_adds, of_members)) * (2 if mirrored else 1),
        confirm_score=confirmed.score,
        mirrored=mirrored,
    )
    files.write_json(files.ensemble_recipe, ensemble_recipe(final, average))
    files.write_json(files.ensemble_record, record)
    return record


def ensemble_recipe(final: FinalRound, average: Average) -> EnsembleRecipe:
    """Return all that it takes to train the ensemble again, to the bit."""
    recipes = member_recipes(final.files, average.members)
    teachers: tuple[MemberRecipe, ...] = ()
    if any(recipe.is_taught for recipe in recipes):  # all students have the same
        teachers = member_recipes(final.files, final.files.read_student_records()[0].teachers)
    return EnsembleRecipe(**provenance_of(final), members=recipes, teachers=teachers, mirrored=average.mirrored)


def member_recipes(files: StudyFiles, members: Sequence[MemberRecord]) -> tuple[MemberRecipe, ...]:
    """Return how each of these networks of the study was trained."""
    records: dict[str, ConfirmRecord | RefitRecord] = {}  # by the model's file
    recipes: dict[int, dict] = {}  # by trial
    for confirmed in files.read_confirm_records():
        records[files.relative_name(files.confirm_model(confirmed.trial))] = confirmed
        recipes[confirmed.trial] = confirmed.recipe
    for student in files.read_student_records():
        records[files.relative_name(files.student_model(student.seed_index))] = student
    found = []
    for member in members:
        record = records[member.model]
        found.append(
            MemberRecipe(
                trial=record.trial,
                recipe=recipes[record.trial],
                seed=record.seed,
                n_planned_images=record.n_planned_images,
                n_cut_images=record.n_cut_images,
                reschedulings=record.reschedulings,
                n_threads=record.n_threads,
                fit_on=record.fit_on,
                weight=member.weight,
                is_taught=isinstance(record, RefitRecord) and record.is_taught,
                bfloat16=record.bfloat16,
            )
        )
    return tuple(found)
