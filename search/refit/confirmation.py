"""Train the finalists anew, and score them on a split that no training has seen; the best of them is the winner."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from fmnist.model.metadata import write_metadata
from fmnist.recipe import Recipe
from search.config import StudyConfig
from search.format import shown_score
from search.records.files import StudyFiles
from search.records.models import ConfirmRecord, TrialRecord
from search.refit.finalists import Finalist, finalist_of, finalists_by_number, n_views_of, possible_finalists
from search.refit.round import FinalRound, model_metadata, n_cut_images, run_training, write_confirmation
from search.refit.schedule import (
    COST_OF_TEACHERS,
    FINALIST_LENGTH,
    LONGEST_BESIDE_STUDENTS,
    SHARE_OF_TIME,
    FinalistsPlan,
    full_evaluation_interval,
    full_length,
    length_of_share,
    plan_finalists,
    seconds_of_testing,
    share_that_fits,
)
from search.space.space import Fidelity
from search.study.strategy import seed_of
from search.worker.tasks import Interrupted, TrainingFailed, TrainTask, reason_of


def may_begin_early(config: StudyConfig, *, search_only: bool) -> bool:
    """Whether workers that find no trial left train finalists, beside the last trials.

    Not where a timeout decides how many finalists there are, nor on a cluster, whose hosts the other trials may need,
    nor where any trial that is still running may belong to the front.
    """
    return not (search_only or config.timeout or config.cluster or config.front)


class EarlyConfirmation:
    """Confirms finalists on workers that the search has no trial left for, while its last trials still run.

    A trial's last rung takes long, and all workers but one would wait for it. Use it as a context manager around the
    search and `confirm`. `begin_one` is for runs without a timeout only, since under one the length of the trainings
    depends on what the search leaves. Thread-safe.
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
            done = {record.trial for record in trained_finalists(self._final)}
            missing = [finalist for finalist in finalists if finalist.trial not in done | self.begun.keys()]
            if missing:
                chosen = max(missing, key=lambda finalist: finalist.training_cost)
                forget_finalist(self._final.files, chosen.trial)
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
            _confirm_one(self._final, finalist, FINALIST_LENGTH, self._final.workers, seconds_beside_search)
        except (TrainingFailed, Interrupted):  # `confirm` asks for the outcome
            raise
        except BaseException as error:
            self._error = error
            self._final.stop.set()  # the search need not go on
            raise


def confirm(
    final: FinalRound,
    finalists: Sequence[Finalist],
    plan: FinalistsPlan | None = None,
    early: EarlyConfirmation | None = None,
    substitutes: Sequence[Finalist] = (),
) -> list[ConfirmRecord]:
    """Train each finalist anew on training and selection split, and score it on the confirmation split.

    What an earlier run of the study confirmed stays in the race, also where trials have since taken its place among the
    finalists; but what an earlier version confirmed, or what has lost its network, is forgotten. A finalist whose
    training fails is left out.

    Args:
        final: Where trainings run.
        finalists: The recipes to compare.
        plan: How long they are trained, see `plan_confirmations`; None: FINALIST_LENGTH each.
        early: Has begun with some of the finalists.
        substitutes: Trained where no finalist could be, for another reason than a bug.

    Returns:
        The records, best on the confirmation split first, by the study's metric: the first one is the winner.

    Raises:
        TrainingFailed: No finalist could be trained.
        Interrupted: The run is to stop.
    """
    begun = early.begun if early is not None else {}
    if plan is None:
        plan = FinalistsPlan(len(finalists), FINALIST_LENGTH)
    in_full = full_seconds(final, finalists)
    shares, clocks = {}, {}  # by trial
    for each, seconds, stretch in zip(finalists, in_full, plan.stretches(in_full, final.workers), strict=True):
        # In whole images before it is stretched: a round that is resumed knows the lengths of what is done alone.
        n_epochs = each.recipe.plan.n_epochs
        length = length_of_share(n_epochs, final.n_searched_images, plan.share)
        shares[each.trial] = share = stretch * length / full_length(n_epochs, final.n_searched_images)
        clocks[each.trial] = plan.clock_of(final.clock, share * seconds)
    done = {record.trial for record in trained_finalists(final)}
    for record in final.files.read_confirm_records():
        if record.trial not in done | begun.keys():
            forget_finalist(final.files, record.trial)
    missing = [finalist for finalist in finalists if finalist.trial not in done]
    missing.sort(key=lambda finalist: finalist.training_cost, reverse=True)
    missing.sort(key=lambda finalist: finalist.trial not in begun)  # first what has a worker already
    n_parallel = final.n_parallel(len(missing))
    jobs: list[Callable[[], None]] = []
    for finalist in missing:
        if finalist.trial in begun:
            jobs.append(begun[finalist.trial].result)
        else:
            share, of_one = shares[finalist.trial], final
            if n_parallel < len(missing):  # others wait for its worker
                of_one = replace(final, clock=clocks[finalist.trial])
            train = partial(_confirm_one, of_one, finalist, share, n_parallel)
            jobs.append(partial(train, most_share=plan.most_share, seconds_kept=plan.seconds_kept))
    failures = final.run_parallel("confirm", jobs, n_parallel)
    records = trained_finalists(final)
    if records:
        return records
    if substitutes and failures[0].kind != "error":
        # They have all of the time that is left: a student after them would leave them none.
        return confirm(final, substitutes, replace(plan, seconds_kept=0.0))
    raise failures[0]


def trained_finalists(final: FinalRound) -> list[ConfirmRecord]:
    """Return the finalists that have been trained anew, best on the confirmation split first.

    A study that an earlier version began may have others, whose networks were not kept.
    """
    files = final.files
    trained = []
    for record in files.read_confirm_records():
        if record.fit_on != "searched":
            continue
        if all(map(files.checksums.is_whole, (files.confirm_model(record.trial), files.confirm_arrays(record.trial)))):
            trained.append(record)
    return trained


def forget_finalist(files: StudyFiles, trial: int) -> None:
    """Remove what is left of a finalist's training, with the students that it taught and the ensemble."""
    model = files.relative_name(files.confirm_model(trial))
    for of_one in (files, *(files.of_point(point.name) for point in files.read_front())):
        if any(teacher.model == model for student in of_one.read_student_records() for teacher in student.teachers):
            of_one.checksums.forget(of_one.refit)
    files.forget_ensemble()
    for path in (files.confirm_record(trial), files.confirm_arrays(trial), files.confirm_model(trial)):
        files.checksums.forget(path)


def finalists_of_search(
    final: FinalRound, trials: Sequence[TrialRecord], fidelity: Fidelity, *, against_time: bool
) -> list[list[Finalist]]:
    """Return who the finalists of all trials are if there is one, two and so on, see `finalists_by_number`.

    Under a timeout (against_time) a fast network can see more images than a slow one, and what that brings counts: each
    is taken to be the only finalist, with all cores for half of the time, as what follows it has the other half. A
    round that is resumed counts with the time with which it began, so that it chooses the same ones.
    """
    price = fidelity.accuracy_per_doubling
    if not against_time:
        return finalists_by_number(trials, price, against_time=False)
    seconds_left = final.clock.seconds_left_for_training() or 0.0
    begun_with = [record.seconds_compared for record in trained_finalists(final) if record.seconds_compared is not None]
    seconds = begun_with[0] if begun_with else SHARE_OF_TIME * seconds_left / 2
    lengths = lengths_in_time(final, trials, seconds)
    chosen = finalists_by_number(trials, price, against_time=True, lengths=lengths)
    return [[replace(each, seconds_compared=seconds) for each in finalists] for finalists in chosen]


def lengths_in_time(final: FinalRound, trials: Sequence[TrialRecord], seconds: float) -> dict[int, float]:
    """Return how many images a training of each possible finalist sees in so many seconds on all cores, by trial."""
    finalists = [finalist_of(trial) for trial in possible_finalists(trials, against_time=True)]
    lengths = {}  # of finalists that others follow, so not the longest that there are
    for finalist, in_full in zip(finalists, full_seconds(final, finalists), strict=True):
        share = min(LONGEST_BESIDE_STUDENTS, share_that_fits(seconds, final.seconds_together([in_full])))
        lengths[finalist.trial] = share * full_length(finalist.recipe.plan.n_epochs, final.n_searched_images)
    return lengths


def n_confirmed(final: FinalRound, finalists: Sequence[Finalist]) -> int:
    """Return how many of the finalists have been confirmed already."""
    chosen = {finalist.trial for finalist in finalists}
    return sum(record.trial in chosen for record in trained_finalists(final))


def plan_confirmations(
    final: FinalRound, by_number: Sequence[Sequence[Finalist]], n_students: int, n_test: int
) -> FinalistsPlan:
    """Return how many finalists are trained, and how long: as the time allows, or as an interrupted round began.

    The clock is told how long the test set will take.

    Args:
        final: Where trainings run.
        by_number: Who the finalists are if there are one, two, three and so on.
        n_students: Students, or retrainings of a single finalist, that are trained after them.
        n_test: Test images.
    """
    seconds_in_full = []
    for finalists in by_number:
        seconds = full_seconds(final, finalists)
        seconds_in_full.append(final.seconds_together(seconds))
    each = full_seconds(final, by_number[-1])
    of_student = COST_OF_TEACHERS * sum(each) / len(each)
    students_in_full = final.seconds_together([of_student] * n_students)
    again_in_full = final.seconds_together(full_seconds(final, by_number[0]) * n_students)
    speeds = [finalist.images_per_second for finalist in by_number[-1] if finalist.images_per_second is not None]
    plan = plan_finalists(final.clock.seconds_left_for_training(), seconds_in_full, students_in_full, again_in_full)
    if speeds:
        speed = final.speed_with_all_threads(speeds)
        n_confirmation = final.data.n_images["confirmation"]
        n_finalists, n_tested = len(by_number), n_students
        n_views = n_views_of(by_number[-1])
        for _ in range(2):  # the second time for those that are trained, which are fewer to test
            kept = seconds_of_testing(n_test, n_confirmation, n_finalists, n_tested, speed, n_views=n_views)
            final.clock.keep_for_testing(kept)
            left = final.clock.seconds_left_for_training()
            plan = plan_finalists(left, seconds_in_full, students_in_full, again_in_full)
            n_finalists = plan.n_finalists
            n_tested = n_students if plan.seconds_kept else 1  # without them, the winner's own training
    done = trained_finalists(final)
    if not done:
        return plan
    return _resumed(final, by_number, plan, done)


def _resumed(
    final: FinalRound, by_number: Sequence[Sequence[Finalist]], plan: FinalistsPlan, done: Sequence[ConfirmRecord]
) -> FinalistsPlan:
    """Return the plan of an interrupted round: lengths as it began, as many finalists as then have time.

    Args:
        final: Where trainings run.
        by_number: Who the finalists are if there are one, two, three and so on.
        plan: What would be trained now.
        done: Finalists that have been trained.
    """
    n_epochs = Recipe.from_dict(done[0].recipe).plan.n_epochs
    share_done = done[0].n_planned_images / full_length(n_epochs, final.n_searched_images)
    trained = {record.trial for record in done}
    n_finalists = plan.n_finalists
    while True:
        finalists = by_number[n_finalists - 1]
        seconds = full_seconds(final, finalists)
        stretches = plan.stretches(seconds, final.workers)
        share, missing = share_done, []
        for finalist, in_full, stretch in zip(finalists, seconds, stretches, strict=True):
            if finalist.trial == done[0].trial:
                share = share_done / stretch
            if finalist.trial not in trained:
                missing.append(in_full * stretch)
        if n_finalists == 1 or not missing or share * final.seconds_together(missing) <= plan.seconds:
            return replace(plan, n_finalists=n_finalists, share=share)
        n_finalists -= 1


def _task(final: FinalRound, finalist: Finalist, n_planned: int, n_parallel: int) -> TrainTask:
    """Return a finalist's task, without a limit of time, its scoring, and the place of its model."""
    return final.site.task(
        finalist.recipe,
        seed_of(final.study_seed, "confirm", finalist.trial),
        n_planned,
        full_evaluation_interval(n_planned, final.n_searched_images),
        fit_on="searched",
        n_threads=final.threads_per_training(n_parallel),
        memory_limit_mb=final.memory_limit_of_each(n_parallel),
    )


def full_seconds(final: FinalRound, finalists: Sequence[Finalist]) -> list[float]:
    """Return what each finalist's full training would take on one worker.

    One whose trial came to nothing is as fast for its cost as the others; where no speed is known, each takes a second.
    """
    seconds: dict[int, float] = {}  # by trial
    for finalist in finalists:
        if finalist.images_per_second is not None:
            n_images = full_length(finalist.recipe.plan.n_epochs, final.n_searched_images)
            seconds[finalist.trial] = n_images / finalist.images_per_second
    cost = sum(finalist.training_cost for finalist in finalists if finalist.trial in seconds)
    seconds_of_cost = sum(seconds.values()) / cost if cost else None
    found = []
    for finalist in finalists:
        unknown = 1.0 if seconds_of_cost is None else seconds_of_cost * finalist.training_cost
        found.append(seconds.get(finalist.trial, unknown))
    return found


def _confirm_one(
    final: FinalRound,
    finalist: Finalist,
    share: float,
    n_parallel: int,
    seconds_beside_search: Callable[[], float] = lambda: 0.0,
    most_share: float = 0.0,
    seconds_kept: float = 0.0,
) -> None:
    """Train a finalist, and write its record and what it predicts.

    Args:
        final: Where the training runs.
        finalist: The recipe.
        share: Length of the training, as a share of a full one.
        n_parallel: Trainings that run at a time.
        seconds_beside_search: Returns how long this training has run while the search did.
        most_share: How long it may become under a timeout, if it is faster than planned; less than share: no longer.
        seconds_kept: See `FinalistsPlan`.
    """
    seconds_left = final.clock.seconds_left_for_training()
    n_planned = length_of_share(finalist.recipe.plan.n_epochs, final.n_searched_images, share)
    seconds_limit = None if seconds_left is None else max(0.0, seconds_left - seconds_kept)
    task = _task(final, finalist, n_planned, n_parallel)
    task = replace(
        task,
        seconds_limit=seconds_limit,
        ends_in_time=seconds_limit is not None,
        n_most_images=length_of_share(finalist.recipe.plan.n_epochs, final.n_searched_images, most_share),
        score_on_confirmation=True,
    )
    label = f"finalist {finalist.trial}"
    with final.files.checksums.writing(final.files.confirm_model(finalist.trial)) as temporary:
        result = run_training(final.trainer, final.callback, replace(task, save_to=temporary), label)
        write_metadata(temporary, model_metadata(final.data))
    confirmed = write_confirmation(final, final.files.confirm_arrays(finalist.trial), result)
    record = ConfirmRecord(
        trial=finalist.trial,
        origin=finalist.origin,
        recipe=finalist.recipe.to_dict(),
        seed=task.seed,
        search_accuracy=finalist.search_accuracy,
        selection_accuracy=None,
        confirm_accuracy=confirmed.accuracy,
        history=result.history,
        best=None,
        n_planned_images=n_planned,
        n_images=result.n_images,
        seconds=result.seconds,
        reason=reason_of(result),
        peak_memory_mb=result.peak_memory_mb,
        seconds_beside_search=round(seconds_beside_search(), 3),
        n_side_by_side=n_parallel,
        fit_on=task.fit_on,
        n_threads=task.n_threads,
        bfloat16=task.bfloat16,
        n_cut_images=n_cut_images(result),
        reschedulings=result.reschedulings,
        search_score=finalist.search_score,
        seconds_compared=finalist.seconds_compared,
        confirm_score=confirmed.score,
    )
    final.files.write_json(final.files.confirm_record(finalist.trial), record)
    final.callback.on_training_end(label, f"{shown_score(final.site.metric, record.score)} confirmed, {record.reason}")
