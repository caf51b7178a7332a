"""Which configuration comes next, which trial ends early, and which seed each use has."""

from __future__ import annotations

import heapq
import math
import operator
import threading
import warnings
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from search.space.space import Fidelity
from search.study.attributes import attributes_of
from search.study.domination import spread_first
from search.study.optuna_private import StudyExcerpt, params_drawn_for

SEED_PURPOSES = ("sampler", "trial", "confirm", "refit", "baseline")
Directions = tuple[Literal["maximize", "minimize"], ...]  # of a study's values, as Optuna names them
DIRECTIONS: Directions = ("maximize",)  # the selection score
FRONT_DIRECTIONS: Directions = ("maximize", "minimize")  # that, and the decimal logarithm of the multiply-adds


def directions_of(*, front: bool) -> Directions:
    """Return the directions of a study's values. front: whether networks of every size are searched for."""
    return FRONT_DIRECTIONS if front else DIRECTIONS


def build_sampler(name: str, seed: int, *draws_before: int) -> optuna.samplers.BaseSampler:
    """Make the sampler of one run of a study.

    Args:
        name: "tpe" is the tree-structured Parzen estimator (Bergstra et al. 2011; multivariate: Falkner et al. 2018).
            Grouped, it samples the parameters of deeper layers jointly too, not only those that all trials share.
            "random" samples independently.
        seed: The study's seed.
        draws_before: Numbers that no other run of the study has, such as that of the trials it finds. They go into
            the sampler's seed; without them a run would repeat the draws of the run before.
    """
    run_seed = seed_of(seed, "sampler", *draws_before)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=run_seed)
    with warnings.catch_warnings():  # `group` is marked experimental since 2.8; the pinned version has it
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return BoundedTPESampler(multivariate=True, group=True, seed=run_seed)


class BoundedTPESampler(optuna.samplers.TPESampler):
    """Optuna's sampler, learning from no more than HISTORY ended trials however many a study has.

    Up to HISTORY it draws what Optuna's draws, to the bit. In a larger study the N_GOOD best trials, from which it
    learns where to look, are all kept. Of the others, which only say where the rest lies, it takes an even selection
    in the order of their numbers: their density stays what it was, and so does the weight of old against new.
    """

    HISTORY: int = 500
    N_GOOD = 25  # as many as Optuna's sampler calls good in any study of 250 trials or more

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._ended: dict[int, EndedTrial] = {}  # by number
        self._running: dict[int, RunningTrial] = {}  # by number
        self._of_thread = threading.local()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As Optuna's, from the selected trials."""
        excerpt = StudyExcerpt(study, self._select, is_recent=True)
        self._of_thread.last = study, trial.number, excerpt
        return super().infer_relative_search_space(StudyExcerpt(excerpt, one_of_each_space), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As Optuna's, from the same trials as the search space: they were read a moment ago."""
        of_study, of_trial, excerpt = vars(self._of_thread).pop("last", (None, None, None))
        if of_study is not study or of_trial != trial.number:
            excerpt = StudyExcerpt(study, self._select, is_recent=True)
        return super().sample_relative(excerpt, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As Optuna's, from the selected trials."""
        excerpt = StudyExcerpt(study, self._select)
        return super().sample_independent(excerpt, trial, param_name, param_distribution)

    def _select(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Return the ended trials of a study, no more than HISTORY of them, and the running ones."""
        complete, pruned, running = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING
        ended = [trial for trial in trials if trial.state in (complete, pruned)]  # ten thousand: each look-up counts
        known = self._ended
        ended = [known.get(trial.number) or self._keep(trial) for trial in ended]
        under_way = self._under_way([trial for trial in trials if trial.state is running])
        if len(ended) <= self.HISTORY:
            return sorted([*ended, *under_way], key=operator.attrgetter("number"))
        good = set(self._good(ended))
        rest = [i for i in range(len(ended)) if i not in good]
        selected = good.union(evenly_spaced(rest, self.HISTORY - len(good)))
        return [ended[i] for i in sorted(selected)] + under_way

    def _good(self, ended: list[EndedTrial]) -> list[int]:
        """Return which are the best N_GOOD; of a study of two values those on its front, and next to it."""
        first_complete = next((trial for trial in ended if trial.rank[0] == 0), None)
        if first_complete is not None and len(first_complete.values) > 1:
            complete = [i for i, trial in enumerate(ended) if trial.rank[0] == 0]
            scores, costs = zip(*(ended[i].values for i in complete), strict=True)
            first = islice(spread_first(scores, costs), self.N_GOOD)
            return [complete[place] for place in first]
        ranks = [trial.rank for trial in ended]
        return heapq.nsmallest(self.N_GOOD, range(len(ended)), key=ranks.__getitem__)

    def _under_way(self, running: list[FrozenTrial]) -> list[FrozenTrial]:
        """Return running trials with what was drawn for them, which Optuna's sampler would parse a dozen times."""
        now: dict[int, RunningTrial] = {}
        for trial in running:
            known = self._running.get(trial.number)
            if known is None or known.of is not trial:
                known = RunningTrial(trial)
            now[trial.number] = known
        self._running = now
        return list(now.values())

    def _keep(self, trial: FrozenTrial) -> EndedTrial:
        self._ended[trial.number] = kept = EndedTrial(trial)
        return kept


class EndedTrial(FrozenTrial):
    """A trial that does not change any more, so that what follows from it is found out once.

    Optuna's sampler asks for the constraints of each trial a dozen times a suggestion.
    """

    def __init__(self, trial: FrozenTrial) -> None:
        vars(self).update(vars(trial))
        self._constraints = trial.constraints
        self.rank = rank_of(trial)

    @property
    def constraints(self) -> dict[str, float]:
        """As those of any trial."""
        return self._constraints


class RunningTrial(FrozenTrial):
    """A running trial whose parameters are all those that were drawn for it."""

    def __init__(self, trial: FrozenTrial) -> None:
        vars(self).update(vars(trial))
        self.of = trial
        self.params = params_drawn_for(trial)
        self.system_attrs = {}


def one_of_each_space(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Pick the first of the ended trials that have the same parameters: the others add nothing to the search space."""
    of_spaces: dict[frozenset[str], FrozenTrial] = {}
    for trial in trials:
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            of_spaces.setdefault(frozenset(trial.distributions), trial)
    return list(of_spaces.values())


def evenly_spaced(numbers: Sequence[int], n: int) -> list[int]:
    """Pick n of the numbers at even distances, the last one included."""
    return [numbers[(i + 1) * len(numbers) // n - 1] for i in range(n)]


def rank_of(trial: FrozenTrial) -> tuple[float, ...]:
    """Sort key of an ended trial by its first value, which is maximised, least for the best, as Optuna's TPE orders.

    Complete trials come first, by value; then pruned ones, who came further before who scored higher; then those that
    break a constraint, by how much.
    """
    violation = sum(value for value in trial.constraints.values() if value > 0)
    if violation > 0:
        return (2, violation)
    if trial.state == TrialState.COMPLETE:
        return (0, -float(trial.values[0]))
    if not trial.intermediate_values:
        return (1, 1, 0.0)
    step, score = max(trial.intermediate_values.items())
    return (1, -step, math.inf if math.isnan(score) else -score)


def build_rungs(pruner: str, fidelity: Fidelity) -> tuple[int, ...]:
    """Lengths of a trial's trainings in images, rising by the reduction factor; one where the pruner is "none"."""
    rungs = []
    length = fidelity.first_rung_images
    while pruner != "none" and length < fidelity.search_images:
        rungs.append(length)
        length *= fidelity.reduction_factor
    return (*rungs, fidelity.search_images)


def build_pruner(
    name: str, fidelity: Fidelity, *, front: bool = False, against_time: bool = False
) -> optuna.pruners.BasePruner:
    """Make a pruner whose steps are training images seen; it is asked at the end of each rung (see `Objective`).

    Args:
        name: "asha" is asynchronous successive halving (Li et al. 2020), see `RecentHalvingPruner`. "median" ends a
            trial below the median of the complete trials at the same step, once there are five of them. "none" trains
            every trial on the last rung at once.
        fidelity: First rung, reduction factor and the price of multiply-adds.
        front: Whether the study has two values, see `FrontHalvingPruner`; then the pruner is "asha" or "none".
        against_time: Whether a timeout ends the search, see `RecentHalvingPruner`.
    """
    if name == "none":
        return optuna.pruners.NopPruner()
    if front:
        return FrontHalvingPruner(fidelity.reduction_factor)
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=fidelity.first_rung_images)
    return RecentHalvingPruner(fidelity.reduction_factor, fidelity.accuracy_per_doubling, against_time=against_time)


class RecentHalvingPruner(optuna.pruners.BasePruner):
    """Asynchronous successive halving against the latest trials, with a limit on how many go on.

    A trial goes on if its cost-adjusted score is among the best 1 / reduction_factor of those at the same step, its
    own and the last WINDOW before it, and no more than that share of all trials at this step has gone on. Optuna's
    SuccessiveHalvingPruner compares with all trials and has no such limit; where the sampler learns, later trials beat
    most of the earlier ones, and nearly half went on instead of a quarter (43 of 90, one study of Fashion-MNIST; with
    the window alone 25 of 69, and 12 of these 25 at the next rung). Ask it at the ends of rungs only.

    Args:
        reduction_factor: One trial in so many goes on.
        accuracy_per_doubling: Price of multiply-adds, see `cost_adjusted_score`.
        against_time: Let nobody go on before reduction_factor trials have come to the step, as the paper's algorithm
            does. Otherwise the first one goes on whatever its score, so that there are complete trials early. That
            costs a short search a good part of its time, and it needs no complete ones: see
            `search.refit.finalists.most_promising_first`.
    """

    WINDOW = 32

    def __init__(
        self, reduction_factor: int, accuracy_per_doubling: float = 0.0, *, against_time: bool = False
    ) -> None:
        self._reduction_factor = reduction_factor
        self._accuracy_per_doubling = accuracy_per_doubling
        self._rounded = math.floor if against_time else math.ceil

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether the trial ends at its last reported step. The study must maximise."""
        step = max(self._reports(trial), default=None)
        if step is None:
            return False
        others = []
        for other in study.get_trials(deepcopy=False):
            if step in self._reports(other) and other.number != trial.number:
                others.append(other)
        n_went_on = sum(self._went_on(other, step) for other in others)
        recent = others[-self.WINDOW :]
        is_among_the_best = self._n_better(trial, recent, step) < max(1, (len(recent) + 1) // self._reduction_factor)
        has_room = n_went_on < self._rounded((len(others) + 1) / self._reduction_factor)
        return not (is_among_the_best and has_room)

    def _reports(self, trial: FrozenTrial) -> Mapping[int, float]:
        """Return what a trial reported, by step."""
        return trial.intermediate_values

    def _went_on(self, trial: FrozenTrial, step: int) -> bool:
        """Whether a trial that reported at this step was let go on from it: it came further, or is on its way."""
        return max(self._reports(trial)) > step or trial.state == TrialState.RUNNING

    def _n_better(self, trial: FrozenTrial, others: Sequence[FrozenTrial], step: int) -> int:
        """Return how many of the others deserve more than the trial to go on from this step."""
        own_score = self._adjusted_score(trial, step)
        return sum(self._adjusted_score(other, step) > own_score for other in others)

    def _adjusted_score(self, trial: FrozenTrial, step: int) -> float:
        multiply_adds = attributes_of(trial).get("multiply_adds")
        return cost_adjusted_score(trial.intermediate_values[step], multiply_adds, self._accuracy_per_doubling)


class FrontHalvingPruner(RecentHalvingPruner):
    """The same for networks of every size: those go on that the front of accuracy against multiply-adds needs most.

    Trials are ordered as in multi-objective asynchronous successive halving (Schmucker et al. 2021), by non-dominated
    sorting and then by their distance from each other, see `domination.spread_first`. Multiply-adds have no price here.
    Optuna has no reports for a study of several values, so scores are read from the trials' own records.
    """

    def __init__(self, reduction_factor: int) -> None:
        super().__init__(reduction_factor)

    def _reports(self, trial: FrozenTrial) -> Mapping[int, float]:
        scores = attributes_of(trial).get("rung_scores", {})
        return {int(step): score for step, score in scores.items()}

    def _n_better(self, trial: FrozenTrial, others: Sequence[FrozenTrial], step: int) -> int:
        together = [*others, trial]
        scores = [self._reports(each)[step] for each in together]
        costs = [math.log(attributes_of(each).get("multiply_adds", 1)) for each in together]
        return list(spread_first(scores, costs)).index(len(others))


def cost_adjusted_score(score: float, multiply_adds: int | None, accuracy_per_doubling: float) -> float:
    """Subtract a price from a score: accuracy_per_doubling for each doubling of the network's multiply-adds.

    Trials are compared by it, whatever the metric: it is the same figure in balanced accuracy, in macro F1 and, in
    nats, in log loss. Seconds go with multiply-adds, and twice the seconds, spent on a longer training, would
    bring accuracy too. A trial whose cost is not known (None) has no price.
    """
    return score - accuracy_per_doubling * math.log2(multiply_adds or 1)


def seed_of(study_seed: int, purpose: str, *numbers: int) -> int:
    """Draw the 32-bit seed of one use, independent of every other use's.

    Args:
        study_seed: The study's seed; 0 is a seed like any other.
        purpose: One of SEED_PURPOSES.
        numbers: What tells the uses of one purpose apart, such as a trial's number.

    Raises:
        ValueError: The purpose is none of SEED_PURPOSES.
    """
    sequence = np.random.SeedSequence(study_seed, spawn_key=(SEED_PURPOSES.index(purpose), *numbers))
    return int(sequence.generate_state(1)[0])
