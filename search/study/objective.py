"""The objective: suggest a recipe, train it rung by rung, report, prune, record. Its value is the selection score."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

import numpy as np
import optuna

from fmnist.errors import UserError
from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Recipe
from fmnist.scoring import Metric
from fmnist.training.history import HistoryPoint, best_point
from fmnist.values import shown
from search.callbacks.base import Callback
from search.space.space import DEFAULT_NAME, SearchSpace
from search.study.attributes import attributes_of, set_attributes
from search.study.optuna_private import stored, together
from search.study.strategy import build_pruner, directions_of, seed_of
from search.worker.drive import drive
from search.worker.tasks import (
    Interrupted,
    RecipeTrainer,
    TrainingFailed,
    TrainingSite,
    TrainResult,
    TrainTask,
    WorkerLost,
    reason_of,
)


@dataclass(frozen=True)
class RungEnd:
    """A rung on which a trial was trained to the end."""

    history: tuple[HistoryPoint, ...]
    n_images_before: int  # training images of the trial's rungs before it
    confusion: np.ndarray | None  # int64 (n_classes, n_classes): selection images by true and predicted class


@dataclass(frozen=True)
class Outcome:
    """What became of a trial."""

    recipe: Recipe
    reason: str  # why it ended, in words
    score: float | None  # its value; of one that is not complete the best of the last rung begun
    seconds: float
    ended: tuple[RungEnd, ...]  # in order
    got_far: bool  # to the end of the second of the study's rungs, or of the only one
    metric: Metric = "accuracy"  # of the score


Keep = Callable[[optuna.Trial, Outcome], None]


def keep_nothing(trial: optuna.Trial, outcome: Outcome) -> None:
    """Store nothing beside a trial."""


def never_ends() -> float | None:
    """Tell a search without a timeout how many seconds are left."""
    return None


Values = float | tuple[float, float]  # of a trial: its score; with --front also the cost, see `Objective`


class Objective:
    """Trains what a trial suggests; any `optuna.Study` that maximises can call it.

    A trial climbs rungs. Each is a training of its own, from new weights and with the whole schedule squeezed into the
    rung's length, and the pruner is asked at its end only: in the middle of a schedule, accuracy ranks recipes badly
    (one that still warms up looks worse than one that never will be better). The last rung's score is the value: by the
    site's metric, larger is better, so by log loss it is the negative log loss. With `front` a trial has two values,
    that score and the decimal logarithm of the network's multiply-adds: their study maximises one, minimises the other.

    Args:
        space: What may be suggested, and the limits of a network's cost.
        trainer: Where trainings run.
        site: What all trainings of the study have in common.
        study_seed: Seed of the study, from which each trial's seed is drawn.
        rungs: Lengths of the rungs in training images, rising. Reports to the pruner count the rungs before too.
        seconds_left: How long a training that starts now may take; None means as long as it wants.
        callback: Follows the trainings.
        keep: Called with each trial that has an outcome just before it ends; Optuna accepts nothing for it later.
        stop: Set it to have each trial that has not begun to train raise Interrupted.
        front: Whether networks of every size are searched for.
    """

    def __init__(
        self,
        space: SearchSpace,
        trainer: RecipeTrainer,
        site: TrainingSite,
        study_seed: int,
        rungs: Sequence[int],
        *,
        seconds_left: Callable[[], float | None] = never_ends,
        callback: Callback | None = None,
        keep: Keep = keep_nothing,
        stop: threading.Event | None = None,
        front: bool = False,
    ) -> None:
        self.rungs = tuple(rungs)
        self.front = front
        self.seconds_left = seconds_left
        self.callback = callback or Callback()
        self.keep = keep
        self.trainer = trainer
        self._space = space
        self._site = site
        self._study_seed = study_seed
        self._stop = stop
        self._suggesting = threading.Lock()
        self._is_closed = False

    def close(self) -> None:
        """Refuse trials from now on: what trains has ended."""
        self._is_closed = True

    @property
    def pruner(self) -> optuna.pruners.BasePruner:
        """Asynchronous successive halving, asked at the end of each of this objective's rungs."""
        return build_pruner("asha" if len(self.rungs) > 1 else "none", self._space.fidelity, front=self.front)

    def __call__(self, trial: optuna.Trial) -> Values:
        """Train the trial's recipe and return its best selection score; with `front` that and the cost.

        The trial's user attributes say why it ended, whichever way it ends.

        Raises:
            optuna.TrialPruned: The trial was pruned, ran out of time or is infeasible.
            TrainingFailed: The training came to nothing.
            UserError: The trial is none of a study that maximises one value, or what trains has ended.
            Interrupted: `stop` was set.
        """
        refusal = self._refusal_of(trial)
        if refusal is not None:
            if isinstance(trial, optuna.Trial):
                set_attributes(trial, reason=refusal)  # for a caller whose `catch` takes every exception
            raise UserError(refusal)
        # One thread at a time: Python computes for one, and a thousand that wait for its lock at once keep two cores
        # busy with waiting.
        with together(trial), self._suggesting:
            if self._stop is not None and self._stop.is_set():
                raise Interrupted
            recipe = self._space.suggest(trial)
            set_attributes(trial, recipe=recipe.to_dict())
            self._refuse_costly(trial, recipe)
        score = TrialTraining(self, trial, recipe).train()
        return (score, math.log10(count_multiply_adds(recipe.architecture))) if self.front else score

    def _refusal_of(self, trial: object) -> str | None:
        """Return why the trial cannot be trained; None if it can."""
        if not isinstance(trial, optuna.Trial):
            return (
                f"the objective must be called with a trial of a study, but got {shown(trial)}; call "
                "study.optimize(objective, ...), after study.enqueue_trial(params) for parameters of your own"
            )
        if self._is_closed:
            return (
                "the objective trains inside its `with open_objective(...)` block, but the block has ended; call "
                "study.optimize inside it"
            )
        directions = tuple(direction.name.lower() for direction in trial.study.directions)
        if directions != directions_of(front=self.front):
            wanted, made = "one value", 'direction="maximize"'
            if self.front:
                wanted, made = "it and minimize the second value, the cost", 'directions=["maximize", "minimize"]'
            return (
                f"the objective's value is larger the better, so its study must maximize {wanted}, but got "
                f"{' and '.join(directions)}; make it by optuna.create_study({made})"
            )
        return None

    @property
    def metric(self) -> Metric:
        """What the score of a trial is by."""
        return self._site.metric

    def task_of(self, trial: optuna.Trial, recipe: Recipe, rungs: Sequence[int]) -> TrainTask:
        """Describe the trainings of a trial on these rungs; its seed follows from its number."""
        fidelity = self._space.fidelity
        return self._site.task(
            recipe,
            seed_of(self._study_seed, "trial", trial.number),
            rungs[0],
            fidelity.report_every_images,
            further_lengths=tuple(rungs[1:]),
            patience_images=fidelity.patience_images,
            seconds_limit=self.seconds_left(),
        )

    def _refuse_costly(self, trial: optuna.Trial, recipe: Recipe) -> None:
        """Set the constraints, on cheap trials too: that is how the sampler learns where the border runs."""
        n_parameters = count_parameters(recipe.architecture)
        multiply_adds = count_multiply_adds(recipe.architecture)
        set_attributes(trial, n_parameters=n_parameters, multiply_adds=multiply_adds)
        reasons = []
        is_set = stored(trial).constraints  # a trial that runs again has them, and Optuna warns of a second time
        for each in self._space.limited_costs(recipe.architecture):
            if each.name not in is_set:
                trial.set_constraint(each.name, each.cost / each.limit - 1)  # above 0 is infeasible
            if each.is_over:
                reasons.append(str(each))
        if reasons:
            reason = f"infeasible: {' and '.join(reasons)}"
            set_attributes(trial, reason=reason)
            self.keep(trial, Outcome(recipe, reason, None, 0.0, (), got_far=False, metric=self.metric))
            raise optuna.TrialPruned(reasons[0])


class TrialTraining:
    """One trial's trainings, and what is known of them so far."""

    def __init__(self, objective: Objective, trial: optuna.Trial, recipe: Recipe) -> None:
        self._objective = objective
        self._trial = trial
        self._recipe = recipe
        self._origin = attributes_of(trial).get("origin")
        self._passed_step = attributes_of(trial).get("passed_step", 0)
        self._reported = set(stored(trial).intermediate_values)  # steps: Optuna warns of a second report
        self._history: list[HistoryPoint] = []  # of the rung under way, or the last one
        self._n_images_before = 0  # training images of the rungs before it
        self._step_before = 0  # the same with rungs that the trial was spared: steps mean the same in every trial
        self._seconds_in_steps = 0.0  # of learning and validation, of the rungs that ended
        self._rung_images = 0  # length of the last rung that ended, and its best point
        self._rung_best: HistoryPoint | None = None
        self._ended: list[RungEnd] = []
        self._started = time.monotonic()
        self._label = f"trial {trial.number}"

    def train(self) -> float:
        """Climb the rungs, and record how that ended. Returns and raises what the objective does."""
        reason = "interrupted"
        try:
            result = self._climb()
            reason = reason_of(result)
            return _score_of(result)
        except optuna.TrialPruned as pruned:
            reason = str(pruned)
            raise
        except WorkerLost:  # it runs again
            raise
        except TrainingFailed as failure:
            reason = f"failed ({failure.kind}): {failure.reason}"
            set_attributes(self._trial, trace=failure.trace)
            raise
        finally:
            self._objective.callback.on_training_end(self._label, reason)
            with together(self._trial):
                self._record(reason)
                if reason != "interrupted":  # else it runs again
                    self._objective.keep(self._trial, self._outcome(reason))

    def _climb(self) -> TrainResult:
        """Return the last rung's result, or raise TrialPruned if the trial does not get there."""
        objective, rungs = self._objective, self._own_rungs()
        self._step_before = sum(objective.rungs) - sum(rungs)
        task = objective.task_of(self._trial, self._recipe, rungs)
        trainings = drive(objective.trainer, task, on_point=self._on_point, on_images=self._on_images)
        with closing(trainings) as results:
            for n_images, next_rung in pairwise(rungs):
                result = self._finish_rung(results, n_images)
                self._ask_pruner(n_images, result)
                self._require_time_for(next_rung, result.n_images)
                self._n_images_before += result.n_images  # fewer than planned where it stopped early
                self._step_before += n_images
            return self._finish_rung(results, rungs[-1])

    def _own_rungs(self) -> Sequence[int]:
        """Choose the rungs that the trial climbs.

        The default recipe is what the search has to beat, so it trains on the last rung at once; but under a timeout,
        that would take a good part of a short search, and it has to earn its place there like any other. The rest of
        the portfolio is known to be good: the first rung, which says least, cannot add to that (one that had won the
        confirmation of one search fell there in the next).
        """
        rungs = self._objective.rungs
        if self._origin == DEFAULT_NAME and self._objective.seconds_left() is None:
            return rungs[-1:]
        if self._origin is not None and len(rungs) > 1:
            return rungs[1:]
        return rungs

    def _finish_rung(self, results: Generator[TrainResult, None, None], n_images: int) -> TrainResult:
        """Train one rung to its result.

        One that --timeout has cut is no complete trial: it would rank above better ones that were pruned, and the
        sampler would take its value for a full one.
        """
        self._history = []
        self._objective.callback.on_training_start(self._label, self._recipe, n_images)
        result = next(results)
        self._seconds_in_steps += result.seconds_in_steps
        set_attributes(self._trial, peak_memory_mb=round(result.peak_memory_mb, 1))
        if result.stopped_by == "time limit":
            self._end_by_clock("the time for the search was over")
        self._rung_images, self._rung_best = n_images, result.best
        self._ended.append(RungEnd(tuple(self._history), self._n_images_before, result.confusion))
        scores = attributes_of(self._trial).get("rung_scores", {})
        set_attributes(self._trial, rung_scores={**scores, str(n_images): _score_of(result)})
        return result

    def _on_images(self, n_images: int) -> None:
        self._objective.callback.on_training_progress(self._label, n_images)

    def _on_point(self, point: HistoryPoint) -> None:
        """Report best-so-far, so that early stopping and the pruner judge a trial by the same number."""
        self._history.append(point)
        best = best_point(self._history)
        assert best is not None and best.score is not None, "trainings of a search are validated"
        self._report(best.score, self._step_before + point.n_images)
        self._objective.callback.on_evaluation(self._label, point, best.validation_accuracy)

    def _report(self, score: float, step: int) -> None:
        if not self._objective.front and step not in self._reported:
            self._reported.add(step)
            self._trial.report(score, step)

    def _ask_pruner(self, n_images: int, result: TrainResult) -> None:
        """Let the pruner decide at the end of a rung, but never of the last one, which is paid for in full.

        A trial that runs again after a kill was let go on before, and its later reports would mislead the pruner: it
        is not asked a second time.
        """
        step = self._step_before + n_images
        if step <= self._passed_step:
            return
        if result.stopped_by == "early stopping":  # its last report lies before the rung
            self._report(_score_of(result), step)
        if self._should_prune():
            raise optuna.TrialPruned(f"pruned after {n_images:,} images")
        set_attributes(self._trial, passed_step=step)

    def _should_prune(self) -> bool:
        """Ask the study's pruner. Optuna asks none for a study of several values."""
        if not self._objective.front:
            return self._trial.should_prune()
        return self._trial.study.pruner.prune(self._trial.study, stored(self._trial))

    def _require_time_for(self, n_images: int, n_images_here: int) -> None:
        """Do not begin a rung that --timeout would cut: another trial may still use that time."""
        if self._objective.seconds_left() is None:
            return
        n_seen, seconds = self._n_images_before + n_images_here, time.monotonic() - self._started
        # The schedule takes speeds from these, before any trial has ended.
        set_attributes(self._trial, n_images=n_seen, seconds=round(seconds, 3))
        seconds_left = self._objective.seconds_left()
        if seconds_left is not None and n_images * seconds / n_seen > seconds_left:
            self._end_by_clock(f"no time was left for {n_images:,} images more")

    def _end_by_clock(self, reason: str) -> NoReturn:
        set_attributes(self._trial, out_of_time=True)
        raise optuna.TrialPruned(reason)

    def _outcome(self, reason: str) -> Outcome:
        rungs, best = self._objective.rungs, best_point(self._history)
        return Outcome(
            self._recipe,
            reason,
            None if best is None else best.score,
            time.monotonic() - self._started,
            tuple(self._ended),
            got_far=self._rung_images >= rungs[min(1, len(rungs) - 1)],
            metric=self._objective.metric,
        )

    def _record(self, reason: str) -> None:
        best = best_point(self._history)
        n_images_here = self._history[-1].n_images if self._history else 0
        set_attributes(
            self._trial,
            reason=reason,
            history=[point.to_dict() for point in self._history],
            best=None if best is None else best.to_dict(),
            n_images=self._n_images_before + n_images_here,
            seconds=round(time.monotonic() - self._started, 3),
            seconds_in_steps=round(self._seconds_in_steps, 3),
            rung_images=self._rung_images,
            rung_accuracy=None if self._rung_best is None else self._rung_best.validation_accuracy,
        )
        if self._rung_best is not None and self._rung_best.validation_score is not None:
            set_attributes(self._trial, rung_score=self._rung_best.validation_score)


def _score_of(result: TrainResult) -> float:
    """Best selection score of a training that was validated, as all of a search are."""
    assert result.best is not None and result.best.score is not None
    return result.best.score
