"""Confirm the finalists on a split that no trial has seen; the best of them is the winner."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np

from fmnist.data.split import open_split
from fmnist.recipe import Recipe
from search.records.models import ConfirmRecord
from search.refit.finalists import Finalist
from search.refit.round import FinalRound, run_training
from search.refit.schedule import (
    CONFIRM_LENGTH,
    confirmation_evaluation_interval,
    confirmation_length,
    confirmation_share,
    full_length,
)
from search.study.strategy import seed_of
from search.worker.tasks import Interrupted, TrainingFailed, reason_of


class EarlyConfirmation:
    """Confirms finalists on workers that the search has no trial left for, while its last trials still run.

    A trial's last rung takes long, and all workers but one would wait for it. Use it as a context manager around the
    search and `confirm`; without a timeout only, since a timeout may shorten the confirmations by what the search
    leaves. Thread-safe.
    """

    def __init__(self, final: FinalRound) -> None:
        self._final = final
        self._executor = ThreadPoolExecutor(max_workers=final.workers, thread_name_prefix="early-confirmation")
        self._lock = threading.Lock()
        self.begun: dict[int, Future[None]] = {}  # by trial number
        self._error: BaseException | None = None  # that ends the run: a bug, such as a callback's
        self._search_ended: float | None = None  # time.monotonic

    def __enter__(self) -> EarlyConfirmation:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._final.stop.set()
        self._executor.shutdown()
        if kind is Interrupted and self._error is not None:
            raise self._error

    def begin_one(self, finalists: Sequence[Finalist]) -> None:
        """Start the most expensive finalist that is not running yet, on one worker's threads."""
        with self._lock:
            done = {record.trial for record in self._final.files.read_confirm_records()}
            missing = [finalist for finalist in finalists if finalist.trial not in done | self.begun.keys()]
            if missing:
                chosen = max(missing, key=lambda finalist: finalist.training_cost)
                self.begun[chosen.trial] = self._executor.submit(self._confirm, chosen)

    def search_has_ended(self) -> None:
        """Note that confirmations no longer run beside the search."""
        self._search_ended = time.monotonic()

    def _confirm(self, finalist: Finalist) -> None:
        started = time.monotonic()

        def seconds_beside_search() -> float:
            now = time.monotonic()
            return min(now, self._search_ended or now) - started

        try:
            _confirm_one(self._final, finalist, CONFIRM_LENGTH, self._final.workers, seconds_beside_search)
        except (TrainingFailed, Interrupted):  # `confirm` asks for the outcome
            raise
        except BaseException as error:
            self._error = error
            self._final.stop.set()  # the search need not go on
            raise


def confirm(
    final: FinalRound,
    finalists: Sequence[Finalist],
    n_refits: int,
    images_per_second: float,
    early: EarlyConfirmation | None = None,
) -> list[ConfirmRecord]:
    """Train each finalist anew on the training split and score it on the confirmation split.

    A confirmation lasts CONFIRM_LENGTH of a full training, the whole learning-rate schedule squeezed into that, with a
    fresh seed. What an earlier run of the study confirmed stays in the race, also where trials have since taken its
    place among the finalists. A finalist whose training fails is left out.

    Args:
        final: Where trainings run.
        finalists: The recipes to compare.
        n_refits: Seeds of the retraining that follows.
        images_per_second: Speed of one worker, as measured in the search; used where a timeout shortens the trainings,
            all by the same share.
        early: Has begun with some of the finalists.

    Returns:
        The records, best confirmation accuracy first: the first one is the winner.

    Raises:
        TrainingFailed: No finalist could be trained.
        Interrupted: The run is to stop.
    """
    done = {record.trial: record for record in final.files.read_confirm_records()}
    share = length_share(final, finalists, n_refits, images_per_second)
    begun = early.begun if early is not None else {}
    missing = [finalist for finalist in finalists if finalist.trial not in done]
    missing.sort(key=lambda finalist: finalist.training_cost, reverse=True)
    missing.sort(key=lambda finalist: finalist.trial not in begun)  # first what has a worker already
    n_parallel = final.n_parallel(len(missing))
    jobs: list[Callable[[], None]] = []
    for finalist in missing:
        if finalist.trial in begun:
            jobs.append(begun[finalist.trial].result)
        else:
            jobs.append(partial(_confirm_one, final, finalist, share, n_parallel))
    failures = final.run_parallel("confirm", jobs, n_parallel)
    records = final.files.read_confirm_records()
    if not records:
        raise failures[0]
    return records


def n_confirmed(final: FinalRound, finalists: Sequence[Finalist]) -> int:
    """Return how many of the finalists have been confirmed already."""
    chosen = {finalist.trial for finalist in finalists}
    return sum(record.trial in chosen for record in final.files.read_confirm_records())


def length_share(final: FinalRound, finalists: Sequence[Finalist], n_refits: int, images_per_second: float) -> float:
    """Return the length of every confirmation, as a share of a full training.

    An interrupted round goes on as it began, so that all finalists get the same. For the arguments see `confirm`.
    """
    n_train = final.site.n_train_images
    done = final.files.read_confirm_records()
    if done:
        return done[0].n_planned_images / full_length(Recipe.from_dict(done[0].recipe).plan.n_epochs, n_train)
    longest = max(full_length(finalist.recipe.plan.n_epochs, n_train) for finalist in finalists)
    confirmations = longest * len(finalists) / final.effective_workers(len(finalists))
    retrainings = longest * n_refits * final.n_all_images / n_train / final.effective_workers(n_refits)
    return confirmation_share(
        final.clock.seconds_left(),
        confirming=confirmations / images_per_second,
        retraining=retrainings / images_per_second,
        searched_lengths=[finalist.searched_images for finalist in finalists],
        longest=longest,
    )


def _confirm_one(
    final: FinalRound,
    finalist: Finalist,
    share: float,
    n_parallel: int,
    seconds_beside_search: Callable[[], float] = lambda: 0.0,
) -> None:
    """Train a finalist, and write its record and what it predicts.

    Args:
        final: Where the training runs.
        finalist: The recipe.
        share: Length of the training, as a share of a full one.
        n_parallel: Trainings that run at a time.
        seconds_beside_search: Returns how long this training has run while the search did.
    """
    n_train = final.site.n_train_images
    n_planned = confirmation_length(finalist.recipe.plan.n_epochs, n_train, share)
    seed = seed_of(final.study_seed, "confirm", finalist.trial)
    task = final.site.task(
        finalist.recipe,
        seed,
        n_planned,
        confirmation_evaluation_interval(n_planned, n_train),
        patience_images=max(1, n_planned // 2),
        seconds_limit=final.clock.seconds_left(),
        score_on_confirmation=True,
        n_threads=final.threads_per_training(n_parallel),
    )
    label = f"finalist {finalist.trial}"
    result = run_training(final.trainer, final.callback, task, label)
    best, probabilities = result.best, result.confirmation_probabilities
    if best is None or best.validation_accuracy is None or probabilities is None:
        raise RuntimeError(f"{label} must have been evaluated and have predicted, but its training gave {result}")
    labels = np.array(open_split(task.split_folder).confirmation.labels)
    final.files.write_arrays(final.files.confirm_arrays(finalist.trial), probabilities=probabilities, labels=labels)
    record = ConfirmRecord(
        trial=finalist.trial,
        origin=finalist.origin,
        recipe=finalist.recipe.to_dict(),
        seed=seed,
        search_accuracy=finalist.search_accuracy,
        selection_accuracy=best.validation_accuracy,
        confirm_accuracy=float(np.mean(probabilities.argmax(axis=1) == labels)),
        history=result.history,
        best=best,
        n_planned_images=n_planned,
        n_images=result.n_images,
        seconds=result.seconds,
        reason=reason_of(result),
        peak_memory_mb=result.peak_memory_mb,
        seconds_beside_search=round(seconds_beside_search(), 3),
        n_side_by_side=n_parallel,
    )
    final.files.write_json(final.files.confirm_record(finalist.trial), record)
    final.callback.on_training_end(label, record.reason)
