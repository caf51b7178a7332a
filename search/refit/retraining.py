"""Retrain the winner on all training images, with several seeds; the first seed's model is the one delivered.

The order of the whole is the point. Finalists are compared on a confirmation split that no trial has seen; the winner
is fixed by that, and where in its schedule it stops; only when every retrained model is on disk, and every baseline
that was asked for, is the test set read. Each training that is finished is on disk before the next step, so a killed
run repeats at most what was running.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from fmnist.model.metadata import ModelMetadata, write_metadata
from fmnist.reading import DATASETS
from fmnist.recipe import Recipe
from search import __version__
from search.records.files import StudyFiles
from search.records.ledger import Stopwatch
from search.records.models import BestRecipe, ConfirmRecord, DataRecord, RefitRecord, Retraining
from search.refit.round import FinalRound, run_training
from search.refit.schedule import (
    LAST_SHARE_OF_TIME,
    full_length,
    retraining_evaluation_interval,
    retraining_share,
    seconds_of_trying,
    speed_of_one_worker,
    stop_share,
)
from search.study.strategy import seed_of
from search.worker.probes import speed_side_by_side
from search.worker.tasks import TrainTask, reason_of

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")  # whose versions change what a recipe trains to


def refit(final: FinalRound, winner: ConfirmRecord, n_seeds: int) -> list[RefitRecord]:
    """Retrain the winner on all training images, once for each seed, and deliver the first seed's model.

    The rule for the length: the recipe's own number of epochs; a training stops before its end only where the
    confirmation training did better before its own, see `stop_share`. Nothing is held out, so nothing else can end it
    but a timeout.

    Args:
        final: Where trainings run.
        winner: The best finalist.
        n_seeds: Number of retrainings; those that an earlier run finished count.

    Returns:
        The records of the first n_seeds retrainings.

    Raises:
        TrainingFailed: A retraining came to nothing.
        Interrupted: The run is to stop.
    """
    if any(record.trial != winner.trial for record in final.files.read_refit_records()):
        # An earlier run, with fewer trials, had another winner.
        final.files.checksums.forget(final.files.refit)
    done = set()
    for record in final.files.read_refit_records():
        if final.files.checksums.is_whole(final.files.refit_model(record.seed_index)):
            done.add(record.seed_index)
    missing = [index for index in range(n_seeds) if index not in done]
    n_planned = planned_length(final, winner, len(missing))
    n_parallel = final.n_parallel(len(missing))
    jobs = []
    for index in missing:
        jobs.append(partial(refit_seed, final, winner, index, n_planned, n_parallel))
    failures = final.run_parallel("refit", jobs, n_parallel)
    if failures:
        raise failures[0]
    records = final.files.read_refit_records()  # an earlier run may have been asked for more: all of them are tested
    final.files.write_json(final.files.best_recipe, best_recipe(final, winner, records))
    deliver(final.files)
    return records[:n_seeds]


def deliver(files: StudyFiles) -> None:
    """Copy the first seed's model to best.keras: never the best one's, which chance has chosen."""
    with files.checksums.writing(files.model) as temporary:
        shutil.copyfile(files.checksums.intact(files.refit_model(0)), temporary)


def n_refitted(final: FinalRound, winner: ConfirmRecord) -> int:
    """Return how many times the winner has been retrained already."""
    return sum(record.trial == winner.trial for record in final.files.read_refit_records())


def model_metadata(data: DataRecord) -> ModelMetadata:
    """Return what every model file says of itself, so that it can be used on pictures without this study.

    Raises:
        ValueError: The images' background or the share of their objects is not known.
    """
    if data.background is None or data.object_share is None:
        raise ValueError(f"background and object_share must be known, but got {data.background}, {data.object_share}")
    return ModelMetadata(
        class_names=data.class_names,
        image_shape=data.image_shape,
        background=data.background,
        object_share=data.object_share,
        contrast=data.contrast,
        picture_form=data.picture_form,
    )


def best_recipe(final: FinalRound, winner: ConfirmRecord, records: Sequence[RefitRecord]) -> BestRecipe:
    """Return all that it takes to train the winner again, to the bit; records: of its retrainings."""
    data, first = final.data, records[0]
    made_with = {"fmnist-search": __version__}
    for package in PACKAGES:
        made_with[package] = importlib.metadata.version(package)
    retrainings = []
    for record in records:
        retrainings.append(Retraining(record.seed, record.n_threads, n_cut_images=record.n_cut_images))
    return BestRecipe(
        made_with=made_with,
        study=final.files.root.name,
        trial=winner.trial,
        recipe=winner.recipe,
        dataset=data.dataset if data.dataset in DATASETS else data.source,
        data_checksums=data.checksums,
        image_size=data.image_size,
        colour=data.colour,
        skip_unreadable=data.skip_unreadable,
        split_seed=data.split_seed,
        split_checksum=data.split_checksum,
        n_planned_images=first.n_planned_images,
        n_stop_images=first.n_stop_images,
        bfloat16=first.bfloat16,
        retrainings=tuple(retrainings),
    )


def planned_length(final: FinalRound, winner: ConfirmRecord, n_refits: int) -> int:
    """Return the length of a retraining's schedule, in images: in full, or what a timeout leaves room for.

    Args:
        final: Where trainings run.
        winner: The best finalist.
        n_refits: Retrainings that are still to be made. Those made before, if any, tell how long these are.
    """
    records = final.files.read_refit_records()
    if records:
        return records[0].n_planned_images
    n_full = _full_length(final, winner)
    confirmed = final.files.read_confirm_records()
    speed_of_one = speed_of_one_worker(winner, confirmed, final.workers, final.site.n_threads)
    speed = speed_of_one * final.effective_workers(n_refits)
    # What the confirmation tells may be off by half; where even that would leave room, nothing has to be measured.
    if retraining_share(final.clock.seconds_left(), 2 * n_full * n_refits / speed) < 1:
        speed = _measured_speed(final, winner, n_full, final.n_parallel(n_refits)) or speed
    share = retraining_share(final.clock.seconds_left(), n_full * n_refits / speed)
    return max(1, round(share * n_full))


def _full_length(final: FinalRound, winner: ConfirmRecord) -> int:
    """Return the images of a full retraining: all epochs on all images."""
    return full_length(Recipe.from_dict(winner.recipe).plan.n_epochs, final.n_all_images)


def _measured_speed(final: FinalRound, winner: ConfirmRecord, n_planned: int, n_parallel: int) -> float | None:
    """Return training images per second of all retrainings that run at a time, measured for some seconds.

    A short confirmation spent much of its time on its start and its evaluations, and shared the cores otherwise.
    None if too little time is left for measuring.
    """
    seconds = seconds_of_trying(final.clock.seconds_left())
    if seconds is None:
        return None
    task = _task(final, winner, 0, n_planned, n_parallel)
    with Stopwatch(final.files, "refit"):
        return speed_side_by_side([task] * n_parallel, final.trainer, seconds)


def refit_seed(final: FinalRound, winner: ConfirmRecord, seed_index: int, n_planned: int, n_parallel: int) -> None:
    """Retrain the winner with one seed, and write the model and its record.

    Args:
        final: Where the training runs, and whose files are written.
        winner: The best finalist.
        seed_index: Which seed of the study it is, counted from 0.
        n_planned: Length of the schedule, in images.
        n_parallel: Retrainings that run at a time.

    Raises:
        TrainingFailed: The training came to nothing.
        Interrupted: The run is to stop.
    """
    share = stop_share(winner, final.data.n_images["selection"])
    n_stop = max(1, round(share * n_planned))
    task = _task(final, winner, seed_index, n_planned, n_parallel)
    label = f"seed {seed_index}"
    with final.files.checksums.writing(final.files.refit_model(seed_index)) as temporary:
        saved = replace(task, n_stop_images=n_stop, save_to=temporary)
        result = run_training(final.trainer, final.callback, saved, label)
        write_metadata(temporary, model_metadata(final.data))
    n_cut = result.n_images if result.stopped_by == "time limit" else None
    record = RefitRecord(
        trial=winner.trial,
        seed_index=seed_index,
        seed=task.seed,
        history=result.history,
        n_planned_images=n_planned,
        n_images=result.n_images,
        seconds=result.seconds,
        peak_memory_mb=result.peak_memory_mb,
        rule=_length_in_words(final.n_all_images, _full_length(final, winner), n_planned, share, n_cut),
        n_stop_images=n_stop,
        n_threads=task.n_threads,
        bfloat16=task.bfloat16,
        n_cut_images=n_cut,
    )
    final.files.write_json(final.files.refit_record(seed_index), record)
    final.callback.on_training_end(label, reason_of(result))


def _task(final: FinalRound, winner: ConfirmRecord, seed_index: int, n_planned: int, n_parallel: int) -> TrainTask:
    """Return a retraining's task, without its end and the place of its model."""
    seconds_limit = final.clock.seconds_left()
    if seconds_limit is not None:
        seconds_limit *= LAST_SHARE_OF_TIME
    return final.site.task(
        Recipe.from_dict(winner.recipe),
        seed_of(final.study_seed, "refit", seed_index),
        n_planned,
        retraining_evaluation_interval(n_planned, final.n_all_images),
        seconds_limit=seconds_limit,
        fit_on="together",
        n_threads=final.threads_per_training(n_parallel),
    )


def _length_in_words(n_all_images: int, n_full: int, n_planned: int, share: float, n_cut: int | None) -> str:
    """Say how long a retraining is and why it ended there.

    Args:
        n_all_images: Images of an epoch.
        n_full: Images of a full retraining.
        n_planned: Images of the schedule.
        share: Share of the schedule after which it stops.
        n_cut: Images seen when a timeout cut it; None if none did.
    """
    shortened = ""
    if n_planned != n_full:
        shortened = f", shortened from {n_full:,} images by the timeout"
    if n_cut is not None:
        end = f"cut by the timeout at {n_cut / n_planned:.0%} of the schedule"
    elif share < 1:
        end = f"stopped at {share:.0%} of the schedule, where the confirmation training was best"
    else:
        end = "the schedule to its end"
    return f"{n_planned / n_all_images:.3g} epochs of all {n_all_images:,} training images{shortened}, {end}"
