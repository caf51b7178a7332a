"""The objective: suggest a recipe, drive one training of it, report, prune, record. Returns selection accuracy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import NoReturn

import numpy as np
import optuna

from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint, best_point
from search.callbacks.base import Callback
from search.space.space import DEFAULT_NAME, SearchSpace
from search.study.strategy import build_pruner, seed_of
from search.worker.tasks import ImagesSeen, Trainer, TrainingFailed, TrainingSite, TrainResult, TrainTask, reason_of


@dataclass(frozen=True)
class RungEnd:
    """A rung that a trial was trained on to its end."""

    history: tuple[HistoryPoint, ...]
    n_images_before: int  # training images of the trial's rungs before it
    confusion: np.ndarray | None  # int64 (n_classes, n_classes): selection images by true and predicted class


@dataclass(frozen=True)
class Outcome:
    """What became of a trial."""

    recipe: Recipe
    reason: str  # why it ended, in words
    accuracy: float | None  # its value; of one that is not complete the best of the last rung begun
    seconds: float
    ended: tuple[RungEnd, ...]  # in order
    got_far: bool  # to the end of the second of the study's rungs, or of the only one


Keep = Callable[[optuna.Trial, Outcome], None]


class Objective:
    """Call it with a trial; any `optuna.Study` that maximises can use it.

    A trial climbs rungs. Each is a training of its own, from new weights and with the whole schedule squeezed into the
    rung's length, and the pruner looks at its end only: in the middle of a schedule, accuracy ranks recipes badly (one
    that still warms up looks worse than one that never will be better). The last rung's accuracy is the value.

    rungs: their lengths in training images, rising; reports to the pruner count the images of the rungs before too.
    seconds_left: how long a training may still take when it starts; None: as long as it wants.
    keep: called with each trial that has an outcome just before it ends; later Optuna takes nothing of it.
    """

    def __init__(
        self,
        space: SearchSpace,
        trainer: Trainer,
        site: TrainingSite,
        study_seed: int,
        rungs: Sequence[int],
        *,
        max_parameters: int | None = None,
        seconds_left: Callable[[], float | None] = lambda: None,
        callback: Callback | None = None,
        keep: Keep = lambda trial, outcome: None,
    ) -> None:
        self._space = space
        self._limits = replace(space.limits, max_parameters=max_parameters) if max_parameters else space.limits
        self._trainer = trainer
        self._site = site
        self._study_seed = study_seed
        self._rungs = rungs
        self._seconds_left = seconds_left
        self._callback = callback or Callback()
        self._keep = keep

    @property
    def pruner(self) -> optuna.pruners.BasePruner:
        """Asynchronous successive halving, asked at the end of each of this objective's rungs."""
        return build_pruner("asha" if len(self._rungs) > 1 else "none", self._space.fidelity)

    def __call__(self, trial: optuna.Trial) -> float:
        """Best selection accuracy. Raises TrialPruned (pruned, out of time, infeasible) or TrainingFailed; the
        trial's user attributes say why, whichever way it ends."""
        recipe = self._space.suggest(trial)
        trial.set_user_attr("recipe", recipe.to_dict())
        self._refuse_costly(trial, recipe)
        return _Run(self, trial, recipe).train()

    def _refuse_costly(self, trial: optuna.Trial, recipe: Recipe) -> None:
        """Set the constraints, on cheap trials too: that is how the sampler learns where the border runs."""
        n_parameters = count_parameters(recipe.architecture)
        multiply_adds = count_multiply_adds(recipe.architecture)
        trial.set_user_attr("n_parameters", n_parameters)
        trial.set_user_attr("multiply_adds", multiply_adds)
        excess = [
            _set_constraint(trial, "max_parameters", n_parameters, self._limits.max_parameters),
            _set_constraint(trial, "max_multiply_adds", multiply_adds, self._limits.max_multiply_adds),
        ]
        reasons = [reason for reason in excess if reason]
        if reasons:
            trial.set_user_attr("reason", reason := f"infeasible: {' and '.join(reasons)}")
            self._keep(trial, Outcome(recipe, reason, None, 0.0, (), got_far=False))
            raise optuna.TrialPruned(reasons[0])

    def _task(self, trial: optuna.Trial, recipe: Recipe, rungs: Sequence[int]) -> TrainTask:
        fidelity = self._space.fidelity
        return self._site.task(
            recipe,
            seed_of(self._study_seed, "trial", trial.number),
            rungs[0],
            fidelity.report_every_images,
            further_lengths=tuple(rungs[1:]),
            patience_images=fidelity.patience_images,
            seconds_limit=self._seconds_left(),
        )


class _Run:
    """One trial's trainings, and what is known of them so far."""

    def __init__(self, objective: Objective, trial: optuna.Trial, recipe: Recipe) -> None:
        self._objective = objective
        self._trial = trial
        self._recipe = recipe
        self._history: list[HistoryPoint] = []  # of the rung under way, or the last one
        self._n_images_before = 0  # training images of the rungs before it
        self._step_before = 0  # the same with rungs that the trial was spared: steps mean the same in every trial
        self._seconds_in_steps = 0.0  # of learning and validation, of the rungs that ended
        self._rung_images = 0  # length of the last rung that ended, and its best accuracy
        self._rung_accuracy: float | None = None
        self._ended: list[RungEnd] = []
        self._started = time.monotonic()
        self._label = f"trial {trial.number}"

    def train(self) -> float:
        reason = "interrupted"
        try:
            result = self._climb()
            reason = reason_of(result)
            return result.best.validation_accuracy
        except optuna.TrialPruned as pruned:
            reason = str(pruned)
            raise
        except TrainingFailed as failure:
            reason = f"failed ({failure.kind}): {failure.reason}"
            self._trial.set_user_attr("trace", failure.trace)
            raise
        finally:
            self._objective._callback.on_training_end(self._label, reason)
            self._record(reason)
            if reason != "interrupted":  # else it runs again
                self._objective._keep(self._trial, self._outcome(reason))

    def _climb(self) -> TrainResult:
        """The last rung's result. Raises TrialPruned where the trial does not get there."""
        objective, rungs = self._objective, self._own_rungs()
        self._step_before = sum(objective._rungs) - sum(rungs)
        with closing(objective._trainer(objective._task(self._trial, self._recipe, rungs))) as messages:
            for n_images, next_rung in pairwise(rungs):
                result = self._finish_rung(messages, n_images)
                self._pass(n_images, result)
                self._require_time_for(next_rung, n_images)
                self._n_images_before += n_images
                self._step_before += n_images
            return self._finish_rung(messages, rungs[-1])

    def _require_time_for(self, n_images: int, n_images_here: int) -> None:
        """A rung that the clock would cut is not begun: another trial may still use that time."""
        if self._objective._seconds_left() is None:
            return
        n_seen, seconds = self._n_images_before + n_images_here, time.monotonic() - self._started
        for name, value in (("n_images", n_seen), ("seconds", round(seconds, 3))):
            self._trial.set_user_attr(name, value)  # what the clock knows speeds by, before any trial has ended
        if n_images * seconds / n_seen > self._objective._seconds_left():
            self._end_by_clock(f"no time was left for {n_images:,} images more")

    def _end_by_clock(self, reason: str) -> NoReturn:
        self._trial.set_user_attr("out_of_time", True)
        raise optuna.TrialPruned(reason)

    def _finish_rung(self, messages: Iterator[HistoryPoint | ImagesSeen | TrainResult], n_images: int) -> TrainResult:
        """Hear of one rung's training until its result. One that the clock has cut is no complete trial: it would rank
        above better ones that were pruned, and the sampler would take its value for a full one."""
        self._history = []
        self._objective._callback.on_training_start(self._label, self._recipe, n_images)
        for message in messages:
            if isinstance(message, ImagesSeen):
                self._objective._callback.on_training_progress(self._label, message.n_images)
                continue
            if isinstance(message, HistoryPoint):
                self._hear(message)
                continue
            self._seconds_in_steps += message.seconds_in_steps
            self._trial.set_user_attr("peak_memory_mb", round(message.peak_memory_mb, 1))
            if message.stopped_by == "time limit":
                self._end_by_clock("the time for the search was over")
            self._rung_images, self._rung_accuracy = n_images, message.best.validation_accuracy
            self._ended.append(RungEnd(tuple(self._history), self._n_images_before, message.confusion))
            return message
        raise TrainingFailed("error", "the training ended without a result")

    def _hear(self, point: HistoryPoint) -> None:
        """Report best-so-far, so that early stopping and the pruner judge a trial by the same number."""
        self._history.append(point)
        best = best_point(self._history)
        self._trial.report(best.validation_accuracy, self._step_before + point.n_images)
        self._objective._callback.on_evaluation(self._label, point, best.validation_accuracy)

    def _pass(self, n_images: int, result: TrainResult) -> None:
        """Let the pruner decide at the end of a rung: never at the last one's, which is paid for in full. A trial that
        runs again after a kill was let go on before, and its later reports would mislead the pruner: it isn't asked."""
        step = self._step_before + n_images
        if step <= self._trial.user_attrs.get("passed_step", 0):
            return
        if result.stopped_by == "early stopping":  # its last report lies before the rung
            self._trial.report(result.best.validation_accuracy, step)
        if self._trial.user_attrs.get("origin") != DEFAULT_NAME and self._trial.should_prune():
            raise optuna.TrialPruned(f"pruned after {n_images:,} images")
        self._trial.set_user_attr("passed_step", step)

    def _own_rungs(self) -> Sequence[int]:
        """The default recipe is what the search has to beat: nothing prunes it, so it trains on the last rung at once,
        unless a clock may leave no time for that. The rest of the portfolio is known to be good: the first rung, which
        says least, cannot add to that (one that had won the confirmation of one search fell there in the next)."""
        rungs = self._objective._rungs
        origin = self._trial.user_attrs.get("origin")
        if origin == DEFAULT_NAME and self._objective._seconds_left() is None:
            return rungs[-1:]
        return rungs if origin is None else rungs[1:] or rungs

    def _outcome(self, reason: str) -> Outcome:
        best, rungs = best_point(self._history), self._objective._rungs
        return Outcome(
            self._recipe,
            reason,
            best.validation_accuracy if best else None,
            time.monotonic() - self._started,
            tuple(self._ended),
            got_far=self._rung_images >= rungs[min(1, len(rungs) - 1)],
        )

    def _record(self, reason: str) -> None:
        best = best_point(self._history)
        attributes = {
            "reason": reason,
            "history": [asdict(point) for point in self._history],
            "best": asdict(best) if best else None,
            "n_images": self._n_images_before + (self._history[-1].n_images if self._history else 0),
            "seconds": round(time.monotonic() - self._started, 3),
            "seconds_in_steps": round(self._seconds_in_steps, 3),
            "rung_images": self._rung_images,
            "rung_accuracy": self._rung_accuracy,
        }
        for name, value in attributes.items():
            self._trial.set_user_attr(name, value)


def _set_constraint(trial: optuna.Trial, name: str, received: int, limit: int | None) -> str | None:
    """Tell Optuna how far over the limit (above 0 is infeasible), and in words why; None: within it."""
    if limit is None:
        return None
    trial.set_constraint(name, received / limit - 1)
    return f"{received:,} is over {name} = {limit:,}" if received > limit else None
