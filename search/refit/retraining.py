"""After the search: confirm the finalists, retrain the winner, fit the baselines, open the test set once, export.

The order is the point. Finalists are compared on a confirmation split that no trial has seen; the winner is fixed by
that, and at which point of its schedule it stops; only when every retrained model is on disk, and every baseline that
was asked for, is the test set read, here and nowhere else. Exports come after that, and are compared with the model on
it; nothing is chosen by them. Each training that is finished is on disk before the next
step, so a killed run repeats at most what was running.

    python -m search.refit --recipe best_recipe.json     trains a study's winner once more, to the bit
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Sequence
from dataclasses import replace

from fmnist.data.find import DATASETS
from fmnist.model.metadata import ModelMetadata, write_metadata
from fmnist.recipe import Recipe
from search import __version__
from search.records.files import StudyFiles
from search.records.io import atomic_write, write_json
from search.records.ledger import Stopwatch
from search.records.models import (
    BestRecipe,
    ConfirmRecord,
    DataRecord,
    RefitRecord,
    Retraining,
)
from search.refit.confirmation import full_length
from search.refit.round import (
    FinalRound,
    effective_workers,
    n_parallel_trainings,
    run_parallel,
    run_training,
    threads_for,
)
from search.refit.schedule import (
    FEWEST_SECONDS_OF_TRYING,
    LAST_SHARE_OF_TIME,
    MOST_SECONDS_OF_TRYING,
    SHARE_OF_TIME,
    SHARE_OF_TRYING,
    retraining_evaluation_interval,
    stop_share,
)
from search.study.strategy import seed_of
from search.worker.probes import speed_side_by_side
from search.worker.tasks import (
    TrainingFailed,
    TrainTask,
    reason_of,
)

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")  # whose versions change what a recipe trains to


# --- confirm


# --- retrain


def refit(final: FinalRound, winner: ConfirmRecord, n_seeds: int) -> list[RefitRecord]:
    """Retrain the winner on all training images with `n_seeds` seeds, in full.

    The rule for the length: the recipe's own number of epochs; training stops before its end only where the
    confirmation training did better before its own, see `stop_share`. Nothing is held out, so nothing else can end it
    but a timeout.
    """
    _forget_other_winner(final.files, winner.trial)
    done = {record.seed_index for record in final.files.read_refit_records()}
    missing = [index for index in range(n_seeds) if index not in done]
    n_planned = _refit_length(final, winner, len(missing))
    n_parallel = n_parallel_trainings(final, len(missing))
    jobs = [lambda index=index: _refit_one(final, winner, index, n_planned, n_parallel) for index in missing]
    outcomes = run_parallel(final, "refit", jobs, n_parallel)
    failures = [outcome for outcome in outcomes if isinstance(outcome, TrainingFailed)]
    if failures:
        raise failures[0]
    records = final.files.read_refit_records()  # an earlier run may have been asked for more: all of them are tested
    write_json(final.files.best_recipe, _best_recipe(final, winner, records))
    deliver(final.files)
    return records[:n_seeds]


def _best_recipe(final: FinalRound, winner: ConfirmRecord, records: Sequence[RefitRecord]) -> BestRecipe:
    data, first = final.data, records[0]
    return BestRecipe(
        made_with={"fmnist-search": __version__, **{name: importlib.metadata.version(name) for name in PACKAGES}},
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
        retrainings=tuple(
            Retraining(record.seed, record.n_threads, n_cut_images=record.n_cut_images) for record in records
        ),
    )


def deliver(files: StudyFiles) -> None:
    """Put the first seed's model in its place: never the best one's, which luck has chosen."""
    with atomic_write(files.model) as temporary:
        shutil.copyfile(files.refit_model(0), temporary)


def n_refitted(final: FinalRound, winner: ConfirmRecord) -> int:
    """How many times the winner has been retrained already."""
    return sum(record.trial == winner.trial for record in final.files.read_refit_records())


def _forget_other_winner(files: StudyFiles, trial: int) -> None:
    if any(record.trial != trial for record in files.read_refit_records()):
        shutil.rmtree(files.refit)


def _refit_length(final: FinalRound, winner: ConfirmRecord, n_refits: int) -> int:
    """Images of a retraining's schedule: as many epochs as the confirmation's, or what a timeout leaves room for."""
    done = final.files.read_refit_records()
    if done:
        return done[0].n_planned_images
    n_wanted = _wanted_refit_length(final, winner)
    speed = _speed_of_one_worker(final, winner) * effective_workers(final, n_refits)
    # What the confirmation tells may be off by half; where even that would leave room, nothing has to be tried.
    if final.clock.share_that_fits(n_wanted * n_refits, speed / 2, SHARE_OF_TIME) < 1:
        speed = _tried_speed(final, winner, n_wanted, n_parallel_trainings(final, n_refits)) or speed
    return max(1, round(final.clock.share_that_fits(n_wanted * n_refits, speed, SHARE_OF_TIME) * n_wanted))


def _tried_speed(final: FinalRound, winner: ConfirmRecord, n_planned: int, n_parallel: int) -> float | None:
    """Training images per second of all retrainings that run at a time, tried for a moment: of a short confirmation
    much went into its start and its looks, and it shared the cores otherwise. None where too little time is left."""
    seconds = min(MOST_SECONDS_OF_TRYING, SHARE_OF_TRYING * final.clock.seconds_left())
    if seconds < FEWEST_SECONDS_OF_TRYING:
        return None
    task = _refit_task(final, winner, 0, n_planned, n_parallel)
    with Stopwatch(final.files, "refit"):
        return speed_side_by_side([task] * n_parallel, final.trainer, seconds)


def _speed_of_one_worker(final: FinalRound, winner: ConfirmRecord) -> float:
    """Training images per second, by the winner's confirmation. Several trainings to a worker began at once, and each
    had its share of the workers until another one ended."""
    together = [each for each in final.files.read_confirm_records() if each.n_side_by_side == winner.n_side_by_side]
    n_running = min(winner.n_side_by_side, len(together))  # what failed or was killed is taken to have left at once
    if n_running <= final.workers:
        return winner.n_images / winner.seconds * n_running / effective_workers(final, n_running)
    others = sorted(each.seconds for each in together if each.trial != winner.trial and each.seconds < winner.seconds)
    worker_seconds, since = 0.0, 0.0
    for end in (*others, winner.seconds):
        worker_seconds += (end - since) * min(1.0, final.workers / n_running)
        n_running, since = n_running - 1, end
    return winner.n_images / worker_seconds


def _wanted_refit_length(final: FinalRound, winner: ConfirmRecord) -> int:
    return full_length(Recipe.from_dict(winner.recipe), final.n_all_images)


def _refit_one(final: FinalRound, winner: ConfirmRecord, seed_index: int, n_planned: int, n_parallel: int) -> None:
    best_share = stop_share(winner, final.data.n_images["selection"])
    n_stop = max(1, round(best_share * n_planned))
    task = _refit_task(final, winner, seed_index, n_planned, n_parallel)
    label = f"seed {seed_index}"
    with atomic_write(final.files.refit_model(seed_index)) as temporary:
        result = run_training(
            final.trainer, final.callback, replace(task, n_stop_images=n_stop, save_to=temporary), label
        )
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
        rule=_length_in_words(final, _wanted_refit_length(final, winner), n_planned, best_share, n_cut),
        n_stop_images=n_stop,
        n_threads=task.n_threads,
        bfloat16=task.bfloat16,
        n_cut_images=n_cut,
    )
    write_json(final.files.refit_record(seed_index), record)
    final.callback.on_training_end(label, reason_of(result))


def _refit_task(
    final: FinalRound, winner: ConfirmRecord, seed_index: int, n_planned: int, n_parallel: int
) -> TrainTask:
    left = final.clock.seconds_left()
    return final.site.task(
        Recipe.from_dict(winner.recipe),
        seed_of(final.study_seed, "refit", seed_index),
        n_planned,
        retraining_evaluation_interval(n_planned, final.n_all_images),
        seconds_limit=None if left is None else LAST_SHARE_OF_TIME * left,
        fit_on="together",
        n_threads=threads_for(final, n_parallel),
    )


def _length_in_words(final: FinalRound, n_wanted: int, n_planned: int, best_share: float, n_cut: int | None) -> str:
    shortened = "" if n_planned == n_wanted else f", shortened from {n_wanted:,} images by the timeout"
    if n_cut is not None:
        end = f"cut by the timeout at {n_cut / n_planned:.0%} of the schedule"
    elif best_share < 1:
        end = f"stopped at {best_share:.0%} of the schedule, where the confirmation training was best"
    else:
        end = "the schedule to its end"
    return (
        f"{n_planned / final.n_all_images:.3g} epochs of all {final.n_all_images:,} training images{shortened}, {end}"
    )


def model_metadata(data: DataRecord) -> ModelMetadata:
    """What every model file says of itself, so that it can be used on pictures without this study."""
    return ModelMetadata(
        class_names=data.class_names,
        image_shape=data.image_shape,
        background=data.background,
        object_share=data.object_share,
        contrast=data.contrast,
        picture_form=data.picture_form,
    )


# --- baselines


# --- the test set


# --- exports


# --- shared


# --- once more, from best_recipe.json alone


# --- command line
