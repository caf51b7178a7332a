"""Train the winner's recipe again, as a student of the finalists where there are several; deliver the better one.

The order of the whole is the point. Finalists are compared on a confirmation split that no trial has seen and that no
training learns from; the average of the best of them teaches students of the winner's recipe (distillation, Hinton et
al. 2015), which the same split compares with the winner itself. A single finalist's recipe is trained again from labels
alone, with another seed: a retraining, which is treated as a student is. Only when every model is on disk, and every
baseline that was asked for, is the test set read. Each training that is finished is on disk before the next step, so a
killed run repeats at most what was running.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from fmnist.model.metadata import write_metadata
from fmnist.recipe import Recipe
from search.format import shown_score
from search.records.files import StudyFiles
from search.records.models import BestRecipe, ConfirmRecord, MemberRecord, RefitRecord, Retraining, kind_of_refit
from search.refit.confirmation import trained_finalists
from search.refit.ensemble import are_taught, choose_teachers, finished_students, member_recipes
from search.refit.provenance import provenance_of
from search.refit.round import FinalRound, model_metadata, n_cut_images, run_training, write_confirmation
from search.refit.schedule import (
    MOST_LENGTHS,
    STUDENT_LENGTH,
    cost_of_learning,
    full_evaluation_interval,
    full_length,
    has_time_for_students,
    length_of_share,
    share_of_further_training,
)
from search.study.strategy import seed_of
from search.worker.tasks import TrainingFailed, TrainResult, TrainTask, reason_of


def refit(final: FinalRound, winner: ConfirmRecord, n_seeds: int) -> list[RefitRecord]:
    """Train students of the winner's recipe, one for each seed, and deliver the first, or the winner if that is better.

    Students, or retrainings of a single finalist, have learned from the same images as the winner, so the confirmation
    split compares them fairly. Every one runs its schedule to the end: nothing ends it but a timeout. Where none can be
    trained, the winner's own training is delivered.

    Args:
        final: Where trainings run.
        winner: The best finalist.
        n_seeds: Number of students; those that an earlier run finished count.

    Returns:
        The records of what is delivered: the students, or the winner's own training where no student is.

    Raises:
        TrainingFailed: A student's training met a bug.
        Interrupted: The run is to stop.
    """
    forget_stale(final.files, winner)
    obstacle = train_students(final, winner, n_seeds)
    return deliver_better(final, winner, obstacle)


def deliver_better(final: FinalRound, winner: ConfirmRecord, obstacle: str) -> list[RefitRecord]:
    """Deliver the students, or the winner's own training where that is better than the first of them.

    obstacle: why a student is missing, if one is. Returns the records of what is delivered.
    """
    files = final.files
    delivered = _delivered(files, winner, obstacle)
    _keep_delivered(files, delivered)
    records = [record for record, _ in delivered]
    files.write_json(files.best_recipe, best_recipe(final, winner, records))
    deliver(files)
    return records


def deliver(files: StudyFiles) -> None:
    """Copy the first seed's model to best.keras: never the best one's, which chance has chosen."""
    with files.checksums.writing(files.model) as temporary:
        shutil.copyfile(files.checksums.intact(files.refit_model(0)), temporary)


def forget_stale(files: StudyFiles, winner: ConfirmRecord) -> None:
    """Remove what has no use any more: trainings of an earlier run's winner, and students that have lost a file."""
    if any(record.trial != winner.trial for record in [*files.read_student_records(), *files.read_refit_records()]):
        files.forget_ensemble()
        files.checksums.forget(files.refit)
    finished = finished_students(files, winner.trial)
    for record in files.read_student_records():
        if record not in finished:
            files.forget_ensemble()
            index = record.seed_index
            for path in (files.student_record(index), files.student_arrays(index), files.student_model(index)):
                files.checksums.forget(path)


def train_students(final: FinalRound, winner: ConfirmRecord, n_seeds: int) -> str:
    """Train the students that are missing. For arguments and errors see `refit`.

    Returns:
        Why one of them was not trained, in words; empty where all were.
    """
    done = finished_students(final.files, winner.trial)
    missing = sorted(set(range(n_seeds)) - {record.seed_index for record in done})
    if not missing:
        return ""
    teachers = done[0].teachers if done else choose_teachers(final)  # all students have the same
    which = description_of(is_taught=bool(teachers))
    if not students_have_time(final, winner, n_seeds):
        return f"the timeout left no time for {which}"
    failures = _train_missing(final, winner, missing, teachers)
    for failure in failures:
        if failure.kind == "error":  # a bug, which no other training makes good
            raise failure
    return student_failure(failures[0], which) if failures else ""


def description_of(*, is_taught: bool) -> str:
    """Say what a further training of the winner's recipe is."""
    return "a student of the finalists" if is_taught else "a retraining with another seed"


def student_failure(failure: TrainingFailed, which: str) -> str:
    """Say why a student is missing whose training failed; which: see `description_of`."""
    return f"{which} failed ({failure.kind}): {failure.reason}"


def students_have_time(final: FinalRound, winner: ConfirmRecord, n_seeds: int) -> bool:
    """Return whether a timeout leaves enough time for the students or retrainings that are missing.

    For the arguments see `refit`.
    """
    done = finished_students(final.files, winner.trial)
    n_full = full_length(Recipe.from_dict(winner.recipe).plan.n_epochs, final.n_searched_images)
    is_taught = are_taught(final, winner)
    return has_time_for_students(
        final.clock.seconds_left_for_training(),
        _seconds_in_full(final, winner, max(1, n_seeds - len(done)), is_taught=is_taught),
        finalist_share=0.0 if done else winner.n_images / n_full,  # the length of those done is settled
        are_taught=is_taught,
    )


def _seconds_in_full(final: FinalRound, winner: ConfirmRecord, n_students: int, *, is_taught: bool) -> float:
    """Return what so many students or retrainings take for a full training each, by the speed that the winner had."""
    n_full = full_length(Recipe.from_dict(winner.recipe).plan.n_epochs, final.n_searched_images)
    speed = final.speed_of_one_worker(winner, trained_finalists(final))
    return final.seconds_together([cost_of_learning(is_taught=is_taught) * n_full / speed] * n_students)


def _train_missing(
    final: FinalRound, winner: ConfirmRecord, missing: Sequence[int], teachers: tuple[MemberRecord, ...]
) -> list[TrainingFailed]:
    """Train students side by side, and return the failures among them.

    Args:
        final: Where trainings run.
        winner: The best finalist.
        missing: Which seeds of the study are trained, counted from 0.
        teachers: The networks that they learn from; none: retrainings, from labels alone.
    """
    n_planned = planned_length(final, winner, len(missing), teachers)
    n_parallel = final.n_parallel(len(missing))
    n_most = n_planned
    if n_parallel == len(missing):  # none waits for another, so that each may use all of the time
        n_most = length_of_share(Recipe.from_dict(winner.recipe).plan.n_epochs, final.n_searched_images, MOST_LENGTHS)
    jobs = []
    for index in missing:
        jobs.append(partial(train_student, final, winner, index, n_planned, n_parallel, teachers, n_most_images=n_most))
    return final.run_parallel("refit", jobs, n_parallel)


def _delivered(files: StudyFiles, winner: ConfirmRecord, obstacle: str) -> list[tuple[RefitRecord, Path]]:
    """Return the trainings that are delivered, with their models: the students, unless the winner beats the first.

    They are compared on the confirmation split, by the study's metric. Only the first student that could be trained
    counts: chance would choose the best of several. obstacle: why a student is missing, if one is.
    """
    students = finished_students(files, winner.trial)
    first_score = students[0].score if students else None
    if first_score is not None and first_score >= winner.score:
        delivered = []
        for place, record in enumerate(students):  # places from 0 on, also where a student is missing
            delivered.append((replace(record, seed_index=place), files.student_model(record.seed_index)))
        return delivered
    why = f"{description_of(is_taught=students[0].is_taught)} was no better" if students else obstacle
    plain = RefitRecord(
        trial=winner.trial,
        seed_index=0,
        seed=winner.seed,
        history=winner.history,
        n_planned_images=winner.n_planned_images,
        n_images=winner.n_images,
        seconds=winner.seconds,
        peak_memory_mb=winner.peak_memory_mb,
        rule=f"the finalist's own training, {winner.reason}: {why}",
        n_threads=winner.n_threads,
        bfloat16=winner.bfloat16,
        n_cut_images=winner.n_cut_images,
        reschedulings=winner.reschedulings,
        fit_on=winner.fit_on,
        confirm_accuracy=winner.confirm_accuracy,
        confirm_score=winner.confirm_score,
    )
    return [(plain, files.confirm_model(winner.trial))]


def _keep_delivered(files: StudyFiles, delivered: Sequence[tuple[RefitRecord, Path]]) -> None:
    """Copy the models and records of what is delivered to their seeds' places; what else is there goes."""
    records = [record for record, _ in delivered]
    for old in files.read_refit_records():
        if old not in records:
            files.checksums.forget(files.refit_record(old.seed_index))
            files.checksums.forget(files.refit_model(old.seed_index))
    for record, trained in delivered:
        index = record.seed_index
        if files.has(files.refit_record(index)) and files.checksums.is_whole(files.refit_model(index)):
            continue
        with files.checksums.writing(files.refit_model(index)) as temporary:
            shutil.copyfile(files.checksums.intact(trained), temporary)
        files.write_json(files.refit_record(index), record)


def best_recipe(final: FinalRound, winner: ConfirmRecord, records: Sequence[RefitRecord]) -> BestRecipe:
    """Return all that it takes to train the delivered model again, to the bit; records: of what is delivered."""
    first = records[0]
    retrainings = []
    for record in records:
        retrainings.append(
            Retraining(
                record.seed,
                record.n_threads,
                n_cut_images=record.n_cut_images,
                reschedulings=record.reschedulings,
                bfloat16=record.bfloat16,
            )
        )
    return BestRecipe(
        **provenance_of(final),
        trial=winner.trial,
        recipe=winner.recipe,
        n_planned_images=first.n_planned_images,
        n_stop_images=first.n_stop_images,
        bfloat16=first.bfloat16,
        retrainings=tuple(retrainings),
        fit_on=first.fit_on,
        teachers=member_recipes(final.files, first.teachers),
    )


def planned_length(final: FinalRound, winner: ConfirmRecord, n_students: int, teachers: Sequence[MemberRecord]) -> int:
    """Return the length of a student's schedule, in images: STUDENT_LENGTH, or what a timeout leaves room for.

    Args:
        final: Where trainings run.
        winner: The best finalist.
        n_students: Those that are still to be trained. Those trained before, if any, tell how long these are.
        teachers: The networks that they learn from; none: retrainings, from labels alone.
    """
    done = finished_students(final.files, winner.trial)
    if done:
        return done[0].n_planned_images
    share = STUDENT_LENGTH
    if final.clock.seconds_left_for_training() is not None:
        seconds = _seconds_in_full(final, winner, n_students, is_taught=bool(teachers))
        share = share_of_further_training(final.clock.seconds_left_for_training(), seconds)
    return length_of_share(Recipe.from_dict(winner.recipe).plan.n_epochs, final.n_searched_images, share)


def train_student(
    final: FinalRound,
    winner: ConfirmRecord,
    seed_index: int,
    n_planned: int,
    n_parallel: int,
    teachers: tuple[MemberRecord, ...],
    label: str | None = None,
    n_most_images: int | None = None,
) -> None:
    """Train a student with one seed, and write its model, its predictions and its record.

    Args:
        final: Where the training runs, and whose files are written.
        winner: The best finalist.
        seed_index: Which seed of the study it is, counted from 0.
        n_planned: Length of the schedule, in images.
        n_parallel: Students that are trained at a time.
        teachers: The networks that it learns from; none: a retraining, from labels alone.
        label: Its name for whoever watches; None: by its seed.
        n_most_images: How long it may become under a timeout, if it is faster than planned; None: no longer.
    """
    files = final.files
    task = _task(final, winner, seed_index, n_planned, n_parallel, teachers)
    label = label or f"{kind_of_refit(is_taught=bool(teachers))} {seed_index}"
    with files.checksums.writing(files.student_model(seed_index)) as temporary:
        ends_in_time = task.seconds_limit is not None
        saved = replace(
            task,
            ends_in_time=ends_in_time,
            n_most_images=n_most_images,
            score_on_confirmation=True,
            save_to=temporary,
        )
        result = run_training(final.trainer, final.callback, saved, label)
        write_metadata(temporary, model_metadata(final.data))
    n_full = full_length(task.recipe.plan.n_epochs, final.n_searched_images)
    confirmed = write_confirmation(final, files.student_arrays(seed_index), result)
    record = RefitRecord(
        trial=winner.trial,
        seed_index=seed_index,
        seed=task.seed,
        history=result.history,
        n_planned_images=n_planned,
        n_images=result.n_images,
        seconds=result.seconds,
        peak_memory_mb=result.peak_memory_mb,
        rule=_length_in_words(final.n_searched_images, n_full, n_planned, result),
        n_threads=task.n_threads,
        bfloat16=task.bfloat16,
        n_cut_images=n_cut_images(result),
        reschedulings=result.reschedulings,
        fit_on=task.fit_on,
        teachers=teachers,
        confirm_accuracy=confirmed.accuracy,
        confirm_score=confirmed.score,
    )
    files.write_json(files.student_record(seed_index), record)
    said = shown_score(final.site.metric, confirmed.accuracy if confirmed.score is None else confirmed.score)
    final.callback.on_training_end(label, f"{said} confirmed, {reason_of(result)}")


def _task(
    final: FinalRound,
    winner: ConfirmRecord,
    seed_index: int,
    n_planned: int,
    n_parallel: int,
    teachers: Sequence[MemberRecord],
) -> TrainTask:
    """Return a student's task, without the place of its model. Raises UserError if a teacher's file is damaged."""
    return final.site.task(
        Recipe.from_dict(winner.recipe),
        seed_of(final.study_seed, "refit", seed_index),
        n_planned,
        full_evaluation_interval(n_planned, final.n_searched_images),
        seconds_limit=final.clock.seconds_left_for_training(),
        fit_on="searched",
        teachers=tuple(final.files.checksums.intact(final.files.root / teacher.model) for teacher in teachers),
        teacher_weights=tuple(teacher.weight for teacher in teachers),
        n_threads=final.threads_per_training(n_parallel),
        memory_limit_mb=final.memory_limit_of_each(n_parallel),
    )


def _length_in_words(n_images: int, n_full: int, n_planned: int, result: TrainResult) -> str:
    """Say how long a student's training is and why it ended there.

    Args:
        n_images: Images of an epoch.
        n_full: Images of a full training.
        n_planned: Images of the schedule, as planned.
        result: What came of the training.
    """
    end, share = "the schedule to its end", result.n_images / n_planned
    if n_cut_images(result) is not None:
        end = f"cut by the timeout at {share:.0%} of the schedule"
    elif result.reschedulings and f"{share:.0%}" != "100%":
        end = f"drawn {'together' if share < 1 else 'out'} to {share:.0%} of that to end with the timeout"
    epochs = f"{n_planned / n_images:.3g} epochs of {n_images:,} images"
    return f"{epochs}, {n_planned / n_full:.2g} full trainings, {end}"
