"""Which configuration comes next, and which trial ends early: sampler and pruner by name."""

from __future__ import annotations

import math
import warnings

import numpy as np
import optuna

from search.space.space import Fidelity


def build_sampler(name: str, seed: int, *draws_before: int) -> optuna.samplers.BaseSampler:
    """A sampler for one run of a study.

    "tpe" is the tree-structured Parzen estimator (Bergstra et al. 2011; multivariate: Falkner et al. 2018). Grouped,
    it samples the parameters of deeper layers jointly too, not only those that all trials share. "random" samples
    independently. draws_before: numbers that no other run of the study has, such as that of the trials that it finds;
    they go into the seed, since it would else repeat the draws of the others.
    """
    run_seed = seed_of(seed, "sampler", *draws_before)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=run_seed)
    with warnings.catch_warnings():  # `group` is marked experimental since 2.8; the pinned version has it
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(multivariate=True, group=True, seed=run_seed)


def build_rungs(pruner: str, fidelity: Fidelity) -> tuple[int, ...]:
    """Lengths of a trial's trainings in images, rising by the reduction factor; a single one where nothing prunes."""
    rungs = []
    length = fidelity.first_rung_images
    while pruner != "none" and length < fidelity.search_images:
        rungs.append(length)
        length *= fidelity.reduction_factor
    return (*rungs, fidelity.search_images)


def build_pruner(name: str, fidelity: Fidelity) -> optuna.pruners.BasePruner:
    """A pruner over steps that are training images seen, asked at the end of each rung (see `Objective`).

    "asha": asynchronous successive halving (Li et al. 2020), see `RecentHalvingPruner`. "median": what is below the
    median of the complete trials at the same step does not go on, once there are five of them. "none": all train on
    the last rung at once.
    """
    if name == "none":
        return optuna.pruners.NopPruner()
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=fidelity.first_rung_images)
    return RecentHalvingPruner(fidelity.reduction_factor, fidelity.accuracy_per_doubling)


class RecentHalvingPruner(optuna.pruners.BasePruner):
    """Asynchronous successive halving against the trials that came last, and never more than one in reduction_factor.

    A trial goes on if its worth (`cost_adjusted_accuracy`) is among the best 1 / reduction_factor of those at the same step, its own
    and the last WINDOW before it, and no more than that share of all at this step has gone on. Optuna's
    SuccessiveHalvingPruner compares with all trials and has no such limit; where the sampler learns, later trials beat
    most of the earlier ones, and nearly half went on instead of a quarter (43 of 90, one study of Fashion-MNIST; with
    the window alone 25 of 69, and 12 of these 25 at the next rung). Ask it at the ends of rungs only.
    """

    WINDOW = 32

    def __init__(self, reduction_factor: int, accuracy_per_doubling: float = 0.0) -> None:
        self._reduction_factor = reduction_factor
        self._accuracy_per_doubling = accuracy_per_doubling

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        step = trial.last_step
        if step is None:
            return False
        others = [
            other
            for other in study.get_trials(deepcopy=False)
            if step in other.intermediate_values and other.number != trial.number
        ]
        n_went_on = sum(_went_on(other, step) for other in others)
        recent = others[-self.WINDOW :]
        n_better = sum(self._worth(other, step) > self._worth(trial, step) for other in recent)  # the study maximizes
        is_among_the_best = n_better < max(1, (len(recent) + 1) // self._reduction_factor)
        has_room = n_went_on < math.ceil((len(others) + 1) / self._reduction_factor)
        return not (is_among_the_best and has_room)

    def _worth(self, trial: optuna.trial.FrozenTrial, step: int) -> float:
        multiply_adds = trial.user_attrs.get("multiply_adds")
        return cost_adjusted_accuracy(trial.intermediate_values[step], multiply_adds, self._accuracy_per_doubling)


def _went_on(trial: optuna.trial.FrozenTrial, step: int) -> bool:
    """Whether a trial that has reported this step was let go on from it: it has come further, or is on its way."""
    return trial.last_step > step or trial.state == optuna.trial.TrialState.RUNNING


def cost_adjusted_accuracy(accuracy: float, multiply_adds: int | None, accuracy_per_doubling: float) -> float:
    """By what trials are compared: accuracy less a price, accuracy_per_doubling for each doubling of the multiply-adds.

    Seconds go with multiply-adds, and twice the seconds, spent on a longer training, would bring accuracy too. None: a
    trial whose cost is not known has no price.
    """
    return accuracy - accuracy_per_doubling * math.log2(multiply_adds or 1)


_PURPOSES = ("sampler", "trial", "confirm", "refit", "baseline")


def seed_of(study_seed: int, purpose: str, *numbers: int) -> int:
    """A seed for one use, independent of every other use's: purpose is one of _PURPOSES."""
    sequence = np.random.SeedSequence(study_seed, spawn_key=(_PURPOSES.index(purpose), *numbers))
    return int(sequence.generate_state(1)[0])
