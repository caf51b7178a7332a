"""Confirm the finalists on a split that no trial has seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from fmnist.data.split import open_split
from fmnist.recipe import Recipe
from search.records.io import write_arrays, write_json
from search.records.models import ConfirmRecord
from search.refit.finalists import Finalist, training_cost
from search.refit.round import (
    FinalRound,
    effective_workers,
    n_parallel_trainings,
    run_parallel,
    run_training,
    threads_for,
)
from search.refit.schedule import (
    CONFIRM_LENGTH,
    CONFIRM_SHARE_OF_TIME,
    SHARE_OF_TIME,
    looks_of_confirmation,
    second_longest,
)
from search.study.strategy import seed_of
from search.worker.tasks import TrainingFailed, reason_of


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
                chosen = max(missing, key=training_cost)
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
    missing = sorted(
        (finalist for finalist in finalists if finalist.trial not in done), key=training_cost, reverse=True
    )
    share = _length_share(final, finalists, list(done.values()), n_refits, images_per_second)
    n_parallel = n_parallel_trainings(final, len(missing))
    begun = {} if early is None else early.begun
    missing.sort(key=lambda finalist: finalist.trial not in begun)  # first what has a worker already
    jobs = [
        begun[finalist.trial].result
        if finalist.trial in begun
        else lambda finalist=finalist: _confirm_one(final, finalist, share, n_parallel)
        for finalist in missing
    ]
    outcomes = run_parallel(final, "confirm", jobs, n_parallel)
    failures = [outcome for outcome in outcomes if isinstance(outcome, TrainingFailed)]
    records = final.files.read_confirm_records()
    if not records:
        raise failures[0]
    return records


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
        return done[0].n_planned_images / full_length(Recipe.from_dict(done[0].recipe), n_train)
    longest = max(full_length(finalist.recipe, n_train) for finalist in finalists)
    confirmations = longest * len(finalists) / effective_workers(final, len(finalists))
    retrainings = longest * n_refits * final.n_all_images / n_train / effective_workers(final, n_refits)
    share = final.clock.share_that_fits(confirmations * CONFIRM_LENGTH + retrainings, images_per_second, SHARE_OF_TIME)
    as_searched = second_longest([finalist.searched_images for finalist in finalists]) / longest
    at_most = final.clock.share_that_fits(confirmations, images_per_second, CONFIRM_SHARE_OF_TIME)
    return min(CONFIRM_LENGTH, max(CONFIRM_LENGTH * share**2, min(as_searched, at_most)))


def full_length(recipe: Recipe, n_train_images: int) -> int:
    return recipe.plan.n_epochs * n_train_images


def _confirm_one(
    final: FinalRound,
    finalist: Finalist,
    share: float,
    n_parallel: int,
    seconds_beside_search: Callable[[], float] = lambda: 0.0,
) -> None:
    n_planned = max(1, round(share * full_length(finalist.recipe, final.site.n_train_images)))
    seed = seed_of(final.study_seed, "confirm", finalist.trial)
    task = final.site.task(
        finalist.recipe,
        seed,
        n_planned,
        looks_of_confirmation(n_planned, final.site.n_train_images),
        patience_images=max(1, n_planned // 2),
        seconds_limit=final.clock.seconds_left(),
        score_on_confirmation=True,
        n_threads=threads_for(final, n_parallel),
    )
    label = f"finalist {finalist.trial}"
    result = run_training(final.trainer, final.callback, task, label)
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
    final.callback.on_training_end(label, record.reason)
