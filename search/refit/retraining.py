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
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fmnist.baselines.catalog import BASELINES, Baseline, find_baseline
from fmnist.cli import EXIT_FAILURE, EXIT_INTERRUPTED, ending_cleanly, exit_code_of
from fmnist.data.find import DATASETS, find_data
from fmnist.data.framing import measure_appearance
from fmnist.data.images import LabelledImages
from fmnist.data.source import DataSource, Reading
from fmnist.data.split import Split, load_test, load_train, open_split, pixel_statistics, save_split
from fmnist.errors import UserError
from fmnist.export.export import export_model
from fmnist.export.formats import ExportRecord, find_format, in_figures
from fmnist.metrics.evaluation import least_confident_hits
from fmnist.metrics.intervals import wilson_95
from fmnist.metrics.robustness import changes
from fmnist.model.layers import count_multiply_adds
from fmnist.model.metadata import ModelNotes, add_notes
from fmnist.recipe import Recipe, TrainingPlan
from fmnist.training.history import HistoryPoint, best_point
from fmnist.training.precision import has_bfloat16
from search import __version__
from search.callbacks.base import Watcher
from search.callbacks.terminal import Terminal
from search.machine import has_gpu
from search.records.files import StudyFiles
from search.records.io import read_json, whole_file, write_arrays, write_json
from search.records.ledger import Stopwatch
from search.records.models import (
    FINISHED_STATES,
    BaselineRecord,
    BestRecipe,
    ChangedTestScore,
    ConfirmRecord,
    DataRecord,
    RefitRecord,
    Retraining,
    TestRecord,
    TrialRecord,
)
from search.refit.options import RefitOptions, parse
from search.refit.schedule import Clock
from search.space.space import DEFAULT_NAME
from search.study.strategy import seed_of, worth
from search.worker.local import WorkerProcesses
from search.worker.probes import speed_side_by_side
from search.worker.tasks import (
    BaselinePredictTask,
    BaselineResult,
    BaselineTask,
    ImagesSeen,
    Interrupted,
    Predictor,
    PredictTask,
    Trainer,
    TrainingFailed,
    TrainingSite,
    TrainResult,
    TrainTask,
    reason_of,
)

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")  # whose versions change what a recipe trains to
N_FINALISTS = 5  # the default recipe always among them: five epochs, which chose them, tell good recipes apart badly
N_FINALISTS_AGAINST_TIME = 3  # under a timeout, where each takes time from the retraining
CONFIRM_LENGTH = 0.4  # of a full training: enough to tell finalists apart, and the time goes into the retraining
N_UNSURE_KEPT = 24  # of the right answers given with the least confidence, for the report to show
CONFIRM_SHARE_OF_TIME = 0.2  # of that, at most for confirmations that are longer only so as not to be too short
GAIN_OF_THREADS = 0.5  # of a worker's speed, by each further thread (two threads: 1.33 and 1.65 times one; two probes)
SHARE_OF_TRYING = 0.02  # of the time left, for trying how fast the retrainings are, where they have to be shortened;
FEWEST_SECONDS_OF_TRYING, MOST_SECONDS_OF_TRYING = 4, 20  # less is over before a training is under way
SHARE_OF_TIME = 0.9  # of what a timeout leaves for the full trainings; the rest is for starts and the evaluation
LAST_SHARE_OF_TIME = 0.96  # of that, when a retraining is cut that turned out slower; the evaluation needs the rest


@dataclass(frozen=True)
class Finalist:
    """A recipe that has reached the final round."""

    trial: int  # number
    origin: str  # "sampler", or the portfolio's name for it
    recipe: Recipe
    search_accuracy: float | None  # on the selection split; None if the trial did not complete
    searched_images: int = 0  # length of the longest rung that its trial was trained on to the end


@dataclass(frozen=True)
class FinalRound:
    """What confirmation, retraining and baselines have in common. One object serves all, and the tests."""

    files: StudyFiles
    site: TrainingSite
    data: DataRecord
    study_seed: int
    trainer: Trainer
    predict: Predictor  # in a process of its own
    workers: int
    clock: Clock
    stop: threading.Event
    watcher: Watcher

    @property
    def n_all_images(self) -> int:
        """Training images of a retraining: train, selection and confirmation split together."""
        return sum(self.data.n_images[name] for name in ("train", "selection", "confirmation"))


def choose_finalists(
    trials: Sequence[TrialRecord],
    accuracy_per_doubling: float = 0.0,
    n_finalists: int = N_FINALISTS,
    *,
    against_time: bool = False,
) -> list[Finalist]:
    """The best complete trials by selection accuracy, n_finalists at most, the default recipe always among them: also
    where its own trial failed (a process may be killed for reasons that are not the recipe's), unless it is infeasible.
    Places that are left over go to trials that the clock alone kept from the last rung, the highest rung first.
    against_time: to pruned trials too, for in a search that a timeout ended early the pruner has judged by few others,
    and let the default pass whatever it was worth.

    accuracy_per_doubling: the price of multiply-adds, see `strategy.worth`. Equal recipes count once. Raises UserError
    if there is none.
    """
    complete = [(math.inf, trial.value, trial) for trial in trials if trial.state == "complete"]
    unfinished = [
        (trial.rung_images, trial.rung_accuracy, trial)
        for trial in trials
        if trial.rung_images and (trial.out_of_time or (against_time and trial.state == "pruned"))
    ]
    ranked = sorted(
        [*complete, *unfinished],
        key=lambda entry: (-entry[0], -worth(entry[1], entry[2].multiply_adds, accuracy_per_doubling)),
    )
    by_recipe: dict[str, TrialRecord] = {}
    for *_, trial in ranked:  # best first: the first of equal recipes stays, in its place
        by_recipe.setdefault(json.dumps(trial.recipe), trial)
    distinct = list(by_recipe.values())
    default = next((trial for trial in trials if trial.origin == DEFAULT_NAME and trial.state != "infeasible"), None)
    chosen = distinct[:n_finalists]
    if default is not None and default.recipe is not None and all(default.recipe != t.recipe for t in chosen):
        chosen = [*distinct[: n_finalists - 1], default]
    if not chosen:
        raise UserError(
            "no trial of this study was trained to its end, so there is nothing to confirm; raise --trials or --timeout"
        )
    return [Finalist(t.number, t.origin, Recipe.from_dict(t.recipe), t.value, t.rung_images) for t in chosen]


def sure_finalists(
    trials: Sequence[TrialRecord], accuracy_per_doubling: float, n_finalists: int = N_FINALISTS
) -> list[Finalist]:
    """Those that will be among the finalists however well the trials do that still run: each of them can push out one,
    but never the default recipe."""
    finished = [trial for trial in trials if trial.state in FINISHED_STATES]
    n_sure = n_finalists - sum(trial.state == "running" for trial in trials)
    if n_sure < 1 or not any(trial.state == "complete" for trial in finished):
        return []
    return choose_finalists(finished, accuracy_per_doubling, n_sure)


def full_training_images(n_epochs: int, data: DataRecord, n_refits: int, workers: int) -> int:
    """Training images that one worker sees in confirmation and retraining under a timeout, for the clock."""
    n_train = data.n_images["train"]
    n_all = sum(data.n_images[name] for name in ("train", "selection", "confirmation"))
    return math.ceil(n_epochs * (N_FINALISTS_AGAINST_TIME * CONFIRM_LENGTH * n_train + n_refits * n_all) / workers)


# --- confirm


class EarlyConfirmation:
    """Confirms finalists by workers that the search has no trial left for, while its last trials still run: the last
    rung takes long, and all but one of the workers would wait for it.

    Use it as a context manager around the search and `confirm`; without a timeout only, since one may shorten the
    confirmations by what the search has left. Thread-safe.
    """

    def __init__(self, final: FinalRound) -> None:
        self._final = final
        self._executor = ThreadPoolExecutor(max_workers=final.workers, thread_name_prefix="early-confirmation")
        self._lock = threading.Lock()
        self.begun: dict[int, Future[None]] = {}  # by trial number
        self._search_ended: float | None = None  # time.monotonic

    def __enter__(self) -> EarlyConfirmation:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._final.stop.set()
        self._executor.shutdown()

    def begin_one(self, finalists: Sequence[Finalist]) -> None:
        """Begin with the longest of them that nobody has begun with, on the threads of one worker."""
        with self._lock:
            done = {record.trial for record in self._final.files.read_confirm_records()}
            missing = [finalist for finalist in finalists if finalist.trial not in done | self.begun.keys()]
            if missing:
                chosen = max(missing, key=_cost)
                self.begun[chosen.trial] = self._executor.submit(self._confirm, chosen)

    def search_has_ended(self) -> None:
        self._search_ended = time.monotonic()

    def _confirm(self, finalist: Finalist) -> None:
        started = time.monotonic()

        def seconds_beside_search() -> float:
            now = time.monotonic()
            return min(now, self._search_ended or now) - started

        _confirm_one(self._final, finalist, CONFIRM_LENGTH, self._final.workers, seconds_beside_search)


def confirm(
    final: FinalRound,
    finalists: Sequence[Finalist],
    n_refits: int,
    images_per_second: float,
    early: EarlyConfirmation | None = None,
) -> list[ConfirmRecord]:
    """Train each finalist for CONFIRM_LENGTH of a full training, the whole schedule squeezed into it, with a fresh seed
    on the training split, and score it on the confirmation split.

    images_per_second: of one worker, as measured before; used where a timeout shortens the trainings, all by the same
    share. early: has begun with some of them, see there. Returns the records, best confirmation accuracy first; the
    first is the winner. What an earlier run of the study confirmed stays in the race, also where trials have since
    taken its place among the finalists. A finalist whose training fails is left out; raises TrainingFailed if all do.
    """
    done = {record.trial: record for record in final.files.read_confirm_records()}
    missing = sorted((finalist for finalist in finalists if finalist.trial not in done), key=_cost, reverse=True)
    share = _length_share(final, finalists, list(done.values()), n_refits, images_per_second)
    n_parallel = _n_parallel(final, len(missing))
    begun = {} if early is None else early.begun
    missing.sort(key=lambda finalist: finalist.trial not in begun)  # first what has a worker already
    jobs = [
        begun[finalist.trial].result
        if finalist.trial in begun
        else lambda finalist=finalist: _confirm_one(final, finalist, share, n_parallel)
        for finalist in missing
    ]
    outcomes = _in_parallel(final, "confirm", jobs, n_parallel)
    failures = [outcome for outcome in outcomes if isinstance(outcome, TrainingFailed)]
    records = final.files.read_confirm_records()
    if not records:
        raise failures[0]
    return records


def _cost(finalist: Finalist) -> int:
    """Multiply-adds of a full training, about. The longest goes first, so that no worker waits for it at the end."""
    return finalist.recipe.plan.n_epochs * count_multiply_adds(finalist.recipe.architecture)


def n_confirmed(final: FinalRound, finalists: Sequence[Finalist]) -> int:
    """How many of the finalists have been confirmed already."""
    chosen = {finalist.trial for finalist in finalists}
    return sum(record.trial in chosen for record in final.files.read_confirm_records())


def _length_share(
    final: FinalRound,
    finalists: Sequence[Finalist],
    done: Sequence[ConfirmRecord],
    n_refits: int,
    images_per_second: float,
) -> float:
    """How much of the full length every finalist gets. An interrupted round goes on as it began, to stay fair.

    Where a timeout leaves room for a share of the trainings only, confirmation is shortened by its square: comparing
    needs less than the retraining, which takes all that is left. But a training shorter than those that two or more of
    them were chosen by would tell less than these did, so it is as long, as far as a share of the time allows.
    """
    n_train = final.site.n_train_images
    if done:
        return done[0].n_planned_images / _full_length(Recipe.from_dict(done[0].recipe), n_train)
    longest = max(_full_length(finalist.recipe, n_train) for finalist in finalists)
    confirmations = longest * len(finalists) / _workers_worth(final, len(finalists))
    retrainings = longest * n_refits * final.n_all_images / n_train / _workers_worth(final, n_refits)
    share = final.clock.share_that_fits(confirmations * CONFIRM_LENGTH + retrainings, images_per_second, SHARE_OF_TIME)
    as_searched = second_longest([finalist.searched_images for finalist in finalists]) / longest
    at_most = final.clock.share_that_fits(confirmations, images_per_second, CONFIRM_SHARE_OF_TIME)
    return min(CONFIRM_LENGTH, max(CONFIRM_LENGTH * share**2, min(as_searched, at_most)))


def second_longest(lengths: Sequence[int]) -> int:
    """0 where there are fewer than two."""
    return sorted((0, 0, *lengths))[-2]


def looks_of_confirmation(n_planned_images: int, n_train_images: int) -> int:
    """After how many images each a confirmation looks at the selection split."""
    return max(1, min(n_planned_images // 2, n_train_images))


def _full_length(recipe: Recipe, n_train_images: int) -> int:
    return recipe.plan.n_epochs * n_train_images


def _confirm_one(
    final: FinalRound,
    finalist: Finalist,
    share: float,
    n_parallel: int,
    seconds_beside_search: Callable[[], float] = lambda: 0.0,
) -> None:
    n_planned = max(1, round(share * _full_length(finalist.recipe, final.site.n_train_images)))
    seed = seed_of(final.study_seed, "confirm", finalist.trial)
    task = final.site.task(
        finalist.recipe,
        seed,
        n_planned,
        looks_of_confirmation(n_planned, final.site.n_train_images),
        patience_images=max(1, n_planned // 2),
        seconds_limit=final.clock.seconds_left(),
        score_on_confirmation=True,
        n_threads=_n_threads(final, n_parallel),
    )
    label = f"finalist {finalist.trial}"
    result = _train(final.trainer, final.watcher, task, label)
    labels = np.array(open_split(task.split_folder).confirmation.labels)
    write_arrays(
        final.files.confirm_arrays(finalist.trial), probabilities=result.confirmation_probabilities, labels=labels
    )
    record = ConfirmRecord(
        trial=finalist.trial,
        origin=finalist.origin,
        recipe=finalist.recipe.to_dict(),
        seed=seed,
        search_accuracy=finalist.search_accuracy,
        selection_accuracy=result.best.validation_accuracy,
        confirm_accuracy=float(np.mean(result.confirmation_probabilities.argmax(axis=1) == labels)),
        history=result.history,
        best=result.best,
        n_planned_images=n_planned,
        n_images=result.n_images,
        seconds=result.seconds,
        reason=reason_of(result),
        peak_memory_mb=result.peak_memory_mb,
        seconds_beside_search=round(seconds_beside_search(), 3),
        n_side_by_side=n_parallel,
    )
    write_json(final.files.confirm_record(finalist.trial), record)
    final.watcher.ended(label, record.reason)


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
    n_parallel = _n_parallel(final, len(missing))
    jobs = [lambda index=index: _refit_one(final, winner, index, n_planned, n_parallel) for index in missing]
    outcomes = _in_parallel(final, "refit", jobs, n_parallel)
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
    with whole_file(files.model) as beside:
        shutil.copyfile(files.refit_model(0), beside)


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
    speed = _speed_of_one_worker(final, winner) * _workers_worth(final, n_refits)
    # What the confirmation tells may be off by half; where even that would leave room, nothing has to be tried.
    if final.clock.share_that_fits(n_wanted * n_refits, speed / 2, SHARE_OF_TIME) < 1:
        speed = _tried_speed(final, winner, n_wanted, _n_parallel(final, n_refits)) or speed
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
        return winner.n_images / winner.seconds * n_running / _workers_worth(final, n_running)
    others = sorted(each.seconds for each in together if each.trial != winner.trial and each.seconds < winner.seconds)
    worker_seconds, since = 0.0, 0.0
    for end in (*others, winner.seconds):
        worker_seconds += (end - since) * min(1.0, final.workers / n_running)
        n_running, since = n_running - 1, end
    return winner.n_images / worker_seconds


def _wanted_refit_length(final: FinalRound, winner: ConfirmRecord) -> int:
    return _full_length(Recipe.from_dict(winner.recipe), final.n_all_images)


def stop_share(winner: ConfirmRecord, n_selection: int) -> float:
    """At which share of its schedule a retraining stops: where the confirmation training was best on the selection
    split, if that was better than its last look by more than one standard error; else at the end, also where that
    training ended early because it could not get any better.

    The highest of many looks is often noise, and a schedule that is cut short keeps a learning rate that is too high.
    The one-standard-error rule: Breiman et al. 1984. The error as of Agresti and Coull 1998, two right and two wrong
    images added: that of the share itself would be 0 where all are right, and one image would decide.
    """
    best, last = winner.best.validation_accuracy, winner.history[-1].validation_accuracy
    share = (best * n_selection + 2) / (n_selection + 4)
    if best - last > math.sqrt(share * (1 - share) / (n_selection + 4)):
        return winner.best.n_images / winner.n_planned_images
    return 1.0


def _refit_one(final: FinalRound, winner: ConfirmRecord, seed_index: int, n_planned: int, n_parallel: int) -> None:
    best_share = stop_share(winner, final.data.n_images["selection"])
    n_stop = max(1, round(best_share * n_planned))
    task = _refit_task(final, winner, seed_index, n_planned, n_parallel)
    label = f"seed {seed_index}"
    with whole_file(final.files.refit_model(seed_index)) as beside:
        result = _train(final.trainer, final.watcher, replace(task, n_stop_images=n_stop, save_to=beside), label)
        add_notes(beside, _notes(final.data))
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
    final.watcher.ended(label, reason_of(result))


def _refit_task(
    final: FinalRound, winner: ConfirmRecord, seed_index: int, n_planned: int, n_parallel: int
) -> TrainTask:
    left = final.clock.seconds_left()
    return final.site.task(
        Recipe.from_dict(winner.recipe),
        seed_of(final.study_seed, "refit", seed_index),
        n_planned,
        _report_every(n_planned, final.n_all_images),
        seconds_limit=None if left is None else LAST_SHARE_OF_TIME * left,
        fit_on="together",
        n_threads=_n_threads(final, n_parallel),
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


def _report_every(n_planned_images: int, n_all_images: int) -> int:
    """Twice an epoch: for whoever watches."""
    return max(1, min(n_planned_images, n_all_images) // 2)


def _notes(data: DataRecord) -> ModelNotes:
    """What every model file says of itself, so that it can be used on pictures without this study."""
    return ModelNotes(data.class_names, data.image_shape, data.background, data.object_share, data.contrast)


# --- baselines


def fit_baselines(final: FinalRound, memory_limit_mb: float | None) -> list[BaselineRecord]:
    """Fit the baselines that this study still lacks, one after another, each in a process of its own with the threads
    of all workers. One that fails is recorded with its reason, and the others go on.

    memory_limit_mb: of each process. Returns the records of all.
    """
    with Stopwatch(final.files, "baselines") as stopwatch:
        for baseline in lacking_baselines(final.files):
            _fit_one_baseline(final, baseline, memory_limit_mb)
            stopwatch.lap()
    return final.files.read_baseline_records()


def lacking_baselines(files: StudyFiles) -> list[Baseline]:
    """Those that have neither been fitted nor failed."""
    done = {record.name for record in files.read_baseline_records()}
    return [baseline for baseline in BASELINES if baseline.name not in done]


def _fit_one_baseline(final: FinalRound, baseline: Baseline, memory_limit_mb: float | None) -> None:
    seed, started = seed_of(final.study_seed, "baseline", BASELINES.index(baseline)), time.monotonic()
    final.watcher.started(baseline.name, baseline.description, _length_of(final, baseline))
    try:
        with whole_file(final.files.baseline_model(baseline)) as beside:
            n_threads = _n_threads(final, n_parallel=1)
            task = BaselineTask(baseline.name, seed, final.site.split_folder, beside, memory_limit_mb, n_threads)
            outcome = asdict(_result_of(final.trainer, final.watcher, task, baseline.name))
    except TrainingFailed as failure:
        outcome = {**_as_failed(failure), "seconds": time.monotonic() - started}
    record = BaselineRecord(
        name=baseline.name,
        kind=baseline.kind,
        description=baseline.description,
        # What the notebooks say of their own data set is no figure for another.
        published_accuracy=baseline.published_accuracy if final.data.dataset == "fashion-mnist" else None,
        seed=seed,
        **outcome,
    )
    write_json(final.files.baseline_record(baseline.name), record)
    final.watcher.ended(baseline.name, record.reason)


def _length_of(final: FinalRound, baseline: Baseline) -> int | None:
    """In training images; None where nobody knows."""
    if baseline.n_epochs is None or baseline.stops_early:
        return None
    n_watched = final.data.n_images["selection"] if baseline.watches_selection else 0
    return baseline.n_epochs * (final.n_all_images - n_watched)


def _as_failed(failure: TrainingFailed) -> dict[str, str]:
    """What a BaselineRecord says of it."""
    return {
        "reason": f"failed ({failure.kind}): {failure.reason}",
        "failure": failure.kind,
        "trace": failure.trace,
    }


# --- the test set


def evaluate(final: FinalRound, source: DataSource, n_trials_asked: int) -> TestRecord:
    """Open the test set, once: predict with every retrained model, with best.keras as a user will load it, and with
    every baseline that was fitted.

    Raises RuntimeError if best.keras, loaded by plain Keras in a process that knows nothing of this project, does not
    score exactly what is about to be reported.
    """
    if final.files.test.exists():
        return read_json(TestRecord, final.files.test)
    with Stopwatch(final.files, "evaluate"):
        return _open_test_set(final, source, n_trials_asked)


def _open_test_set(final: FinalRound, source: DataSource, n_trials_asked: int) -> TestRecord:
    started = time.monotonic()
    models = [final.files.refit_model(record.seed_index) for record in final.files.read_refit_records()]
    test = load_test(source)
    probabilities = np.stack([final.predict(PredictTask(model, test.images)) for model in models])
    accuracies = tuple(_accuracy(seed_probabilities, test) for seed_probabilities in probabilities)
    flip_accuracies = _flip_accuracies(final, models, probabilities, test)
    delivered = _accuracy(predict_outside(final.files.model, test.images), test)
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
    record = TestRecord(
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
            task = BaselinePredictTask(record.name, model, test.images, _n_threads(final, n_parallel=1))
            try:
                write_arrays(arrays, predicted=final.predict(task))
            except TrainingFailed as failure:
                write_json(final.files.baseline_record(record.name), replace(record, **_as_failed(failure)))
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
    return tuple(_accuracy(seed_probabilities, test) for seed_probabilities in both)


def _winning_plan(files: StudyFiles) -> TrainingPlan:
    return Recipe.from_dict(read_json(BestRecipe, files.best_recipe).recipe).plan


def _scores_of_changed_images(final: FinalRound, test: LabelledImages) -> tuple[ChangedTestScore, ...]:
    """Of the delivered model."""
    border = _winning_plan(final.files).border
    task = PredictTask(final.files.model, test.images, _n_threads(final, 1), changed=True, border=border)
    return tuple(
        ChangedTestScore(change.kind, change.name, _accuracy(probabilities, test))
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
        environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
        # A session of its own: Ctrl-C reaches the whole group, and what it breaks here would look like a bad model.
        outcome = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, start_new_session=True
        )
        if outcome.returncode != 0:
            raise RuntimeError(f"{model} does not load with plain Keras:\n{outcome.stderr}")
        return np.load(outputs)


def _accuracy(probabilities: np.ndarray, test: LabelledImages) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == test.labels))


# --- exports


Exporter = Callable[..., Iterator[ExportRecord]]  # as `fmnist.export.export.export_model`


def make_exports(
    files: StudyFiles,
    source: DataSource,
    names: Sequence[str],
    n_threads: int,
    stop: threading.Event,
    watcher: Watcher,
    *,
    export: Exporter = export_model,
) -> list[ExportRecord]:
    """Export the delivered model in those of these formats that the study lacks, and compare each file with it on the
    whole test set, which must have been opened before. One that fails is recorded with its reason, and the others go
    on. Returns the records of all that were ever made.

    Raises Interrupted once `stop` is set. export: tests give another.
    """

    def heed_stop() -> None:
        if stop.is_set():
            raise Interrupted

    lacking = lacking_exports(files, names)
    if not lacking:
        return files.read_export_records()
    test = load_test(source)
    how = {"images": test.images, "labels": test.labels, "n_threads": n_threads, "heed_stop": heed_stop}
    with Stopwatch(files, "exports") as stopwatch, closing(export(files.model, lacking, files.exports, **how)) as made:
        for record in made:
            write_json(files.export_record(record.format), record)
            watcher.started(record.format, find_format(record.format).description, None)
            watcher.ended(record.format, _export_in_words(record))
            stopwatch.lap()
    return files.read_export_records()


def lacking_exports(files: StudyFiles, names: Sequence[str]) -> list[str]:
    """Those of these formats that have not been made. One that failed is tried again when it is asked for again."""
    done = {
        record.format
        for record in files.read_export_records()
        if record.failure is None and (files.exports / record.file).exists()
    }
    return [name for name in names if name not in done]


def _export_in_words(record: ExportRecord) -> str:
    if record.failure is not None:
        return f"failed: {record.failure}"
    return (
        f"{record.file}: same class for {record.n_same_class:,} of {record.n_images:,} test images, probabilities "
        f"within {in_figures(record.largest_difference)}"
    )


# --- shared


def _train(trainer: Trainer, watcher: Watcher, task: TrainTask, label: str) -> TrainResult:
    """Drive one training. Whoever calls tells the watcher of its end, once the result is on disk."""
    watcher.started(label, task.recipe, task.n_stop_images or task.n_planned_images)
    try:
        return _result_of(trainer, watcher, task, label)
    except TrainingFailed as failure:
        watcher.ended(label, f"failed ({failure.kind}): {failure.reason}")
        raise


def _result_of(
    trainer: Trainer, watcher: Watcher, task: TrainTask | BaselineTask, label: str
) -> TrainResult | BaselineResult:
    """Run the task, the watcher hearing of its points."""
    history: list[HistoryPoint] = []
    with closing(trainer(task)) as messages:
        for message in messages:
            if isinstance(message, ImagesSeen):
                watcher.advanced(label, message.n_images)
                continue
            if not isinstance(message, HistoryPoint):
                return message
            history.append(message)
            best = best_point(history)
            watcher.progressed(label, message, best.validation_accuracy if best else None)
    raise TrainingFailed("error", "the training ended without a result")


def side_by_side(n_jobs: int, workers: int) -> int:
    """How many trainings run at a time: as many as there are workers; all of them, sharing the cores, where else some
    cores would lie idle while the last one runs."""
    return n_jobs if n_jobs <= 2 * workers else workers


def threads_of_each(n_parallel: int, workers: int, n_threads: int) -> int:
    """Threads of each training: all cores are used where there are fewer trainings than workers, of n_threads each."""
    return max(1, n_threads * workers // n_parallel)


def _n_parallel(final: FinalRound, n_jobs: int) -> int:
    return side_by_side(n_jobs, final.workers)


def _n_threads(final: FinalRound, n_parallel: int) -> int:
    return threads_of_each(n_parallel, final.workers, final.site.n_threads)


def _workers_worth(final: FinalRound, n_jobs: int) -> float:
    """How many workers' speed a round of so many trainings has: with fewer trainings than workers each has several
    threads, which bring less than as many workers."""
    n_parallel = min(_n_parallel(final, n_jobs), final.workers)
    more_threads = _n_threads(final, n_parallel) / final.site.n_threads - 1
    return n_parallel * (1 + GAIN_OF_THREADS * more_threads)


def _in_parallel(
    final: FinalRound, phase: str, jobs: Sequence[Callable[[], None]], n_parallel: int
) -> list[TrainingFailed | None]:
    """Run the jobs, n_parallel at a time, their time going to the phase's account.

    A TrainingFailed is an outcome; any other error stops the others and is raised.
    """
    if not jobs:
        return []
    with Stopwatch(final.files, phase) as stopwatch, ThreadPoolExecutor(max_workers=n_parallel) as executor:
        futures = [executor.submit(_outcome, job) for job in jobs]
        try:
            return [_lapped(future.result(), stopwatch) for future in as_completed(futures)]
        except BaseException:
            final.stop.set()
            executor.shutdown(cancel_futures=True)
            raise


def _lapped(outcome: TrainingFailed | None, stopwatch: Stopwatch) -> TrainingFailed | None:
    stopwatch.lap()
    return outcome


def _outcome(job: Callable[[], None]) -> TrainingFailed | None:
    try:
        job()
    except TrainingFailed as failure:
        return failure
    return None


# --- once more, from best_recipe.json alone


@dataclass(frozen=True)
class Retrained:
    """What `retrain` came to."""

    test_accuracy: float
    n_images: int  # of the test set
    expected: float | None  # what the study's own training with this seed scored; None: it had no such training


def retrain(
    best: BestRecipe, source: DataSource, seed: int, out: Path, watcher: Watcher, stop: threading.Event
) -> Retrained:
    """Train a study's winner on all training images as its study did, write the model to `out`
    (.keras), then score it on the test set.

    seed: one of the study's, which gives the same model to the bit on the same CPU and versions; or any other. On a GPU
    retrainings equal each other, the study's own only nearly. Raises UserError where the images or their order are not
    the study's, TrainingFailed, and Interrupted once `stop` is set.
    """
    _require_same_data(best, source)
    split = load_train(source, best.split_seed)
    _require_same("the split of the training images", best.split_checksum, split.checksum)
    own, label = next((each for each in best.retrainings if each.seed == seed), None), f"seed {seed}"
    with tempfile.TemporaryDirectory() as folder:
        task = _retraining_task(best, own, split, seed, Path(folder, "split"))
        save_split(split, task.split_folder)
        workers = WorkerProcesses(Path(folder, "worker.log"), stop)
        with whole_file(out) as beside:
            result = _train(workers.train, watcher, replace(task, save_to=beside), label)
            appearance = measure_appearance(split.train.images)
            add_notes(beside, ModelNotes(source.class_names, source.image_shape, **asdict(appearance)))
        watcher.ended(label, reason_of(result))
        test = load_test(source)
        accuracy = _accuracy(workers.predict(PredictTask(out, test.images)), test)
    return Retrained(accuracy, len(test), own.test_accuracy if own else None)


def _retraining_task(
    best: BestRecipe, own: Retraining | None, split: Split, seed: int, split_folder: Path
) -> TrainTask:
    """own: the study's training with this seed, whose end is then this one's too."""
    n_stop = best.n_stop_images if own is None or own.n_cut_images is None else own.n_cut_images
    pixel_mean, pixel_std = pixel_statistics(split.train.images)
    return TrainTask(
        recipe=Recipe.from_dict(best.recipe),
        seed=seed,
        split_folder=split_folder,
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
        n_planned_images=best.n_planned_images,
        n_stop_images=n_stop,
        report_every_images=_report_every(best.n_planned_images, len(split.together())),
        n_threads=(own or best.retrainings[0]).n_threads,
        bfloat16=best.bfloat16,
        fit_on="together",
        deterministic=has_gpu(),  # a CPU repeats itself anyway, but by other sums than TensorFlow's deterministic ones
    )


def _require_same_data(best: BestRecipe, source: DataSource) -> None:
    for name in sorted(best.data_checksums.keys() | source.checksums.keys()):
        _require_same(name, best.data_checksums.get(name), source.checksums.get(name))


def _require_same(what: str, expected: str | None, received: str | None) -> None:
    if expected != received:
        raise UserError(
            f"{what} must be as it was in the study (checksum {expected}), but got {received}; pass the study's images "
            f"with --dataset or --data-dir, and use the versions that best_recipe.json names"
        )


# --- command line


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0; 1 where the training fails; 2 for input that cannot be used, said
    in one line; 130 when interrupted."""
    return exit_code_of(lambda: _main(parse(sys.argv[1:] if argv is None else argv)))


def _main(options: RefitOptions) -> int:
    best = read_json(BestRecipe, options.recipe)
    if best.bfloat16 and not has_bfloat16():
        raise UserError("the recipe must be retrained in bfloat16, which this processor has not; use one that has it")
    reading = Reading(best.image_size, best.colour, best.skip_unreadable, best.split_seed)
    source = find_data(options.dataset or best.dataset, options.data_dir, reading)
    seed = best.retrainings[0].seed if options.seed is None else options.seed
    stop, terminal = threading.Event(), Terminal()
    terminal.say(f"retraining trial {best.trial} of study {best.study} with seed {seed}")
    try:
        with ending_cleanly(stop), terminal:
            outcome = retrain(best, source, seed, options.out, terminal, stop)
    except Interrupted:
        terminal.say("stopped; nothing was written")
        return EXIT_INTERRUPTED
    except TrainingFailed as failure:
        print(f"error: {failure}\n{failure.trace}".rstrip(), file=sys.stderr)
        return EXIT_FAILURE
    interval = wilson_95(round(outcome.test_accuracy * outcome.n_images), outcome.n_images)
    terminal.say(
        f"test accuracy {outcome.test_accuracy:.2%}, 95 % interval {interval.low:.2%} to {interval.high:.2%}; "
        f"{_beside_the_study(outcome)}"
    )
    terminal.say(f"model: {options.out}")
    return 0


def _beside_the_study(outcome: Retrained) -> str:
    if outcome.expected is None:
        return "the study has no training with this seed"
    if outcome.expected == outcome.test_accuracy:
        return "exactly what the study measured with this seed"
    return f"the study measured {outcome.expected:.2%} with this seed, on another processor or with other versions"


if __name__ == "__main__":
    sys.exit(main())
