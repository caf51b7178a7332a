"""What does the report say of the search: how it rose, where trials ended, what parameters did, who came last?"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from fmnist.scoring import Metric
from search.format import METRIC_WORDS, SHARES, count, difference_in, in_metric, percent, short_count, with_noun
from search.records.models import FINISHED_STATES, SpaceRecord, TrialRecord
from search.report.analysis.trials import BestSoFar, DepthScore, Rung, rank_correlations, reached
from search.results.members import score_interval
from search.results.trainings import Trainings

NEAR_BEST = 0.005  # accuracy below the best that counts as near it: half a point
LONGEST_REASON = 140  # characters
IMPORTANCE_CAVEAT = (
    "Importance says which parameters set good trials apart from others within the ranges searched; it doesn't say "
    "which value is good, changes with the ranges, and is uncertain with few trials."
)
IMPORTANCE_ABSENT = (
    "importance needs several trials that were trained to the end and differ in their parameters and results."
)


def history(trials: Sequence[TrialRecord], metric: Metric = "accuracy") -> str:
    """When the search found its best trial.

    Such as: "The best selection accuracy of the search, 95.10 %, came with trial 23 (sampler); 16 trials after it
    brought nothing better."

    Args:
        trials: of the search.
        metric: of the study.
    """
    best: TrialRecord | None = None
    best_value = 0.0
    for trial in trials:
        if trial.value is not None and (best is None or trial.value > best_value):
            best, best_value = trial, trial.value
    if best is None:
        return "No trial was trained to its end."
    n_after = sum(trial.number >= best.number for trial in trials) - 1
    shown = in_metric(metric, best_value)
    return (
        f"The best selection {METRIC_WORDS[metric]} of the search, {shown}, came with trial {best.number} "
        f"({best.origin}); {with_noun(n_after, 'trial')} after it brought nothing better."
    )


def spaces(records: Sequence[SpaceRecord], trials: Sequence[TrialRecord]) -> str:
    """How many trials were drawn in each of the spaces that a study has searched, and what grew.

    Such as: "The search drew 20 trials in its first space, and 30 after that was widened (architecture.n_blocks: 1 to
    2 -> 1 to 3)."

    Args:
        records: the spaces, in their order, at least two.
        trials: of the search.
    """
    ends = [record.first_trial for record in records[1:]]
    parts = []
    for record, end in zip(records, [*ends, math.inf], strict=True):
        n_trials = sum(record.first_trial <= trial.number < end for trial in trials)
        if not record.grown:
            parts.append(f"The search drew {with_noun(n_trials, 'trial')} in its first space")
        else:
            again = " again" if len(parts) > 1 else ""
            parts.append(f"and {count(n_trials)} after that was widened{again} ({'; '.join(record.grown)})")
    return f"{', '.join(parts)}."


def survival(rungs: Sequence[Rung]) -> str:
    """How many trials ended at the first length of training, and how many saw the last.

    Such as: "12 of 36 trained trials ended after 5,000 training images; 14 saw 60,000."
    """
    if not rungs:
        return "No trial was trained."
    first, last = rungs[0], rungs[-1]
    return (
        f"{count(first.n_ended)} of {with_noun(first.n_reached, 'trained trial')} ended after {count(first.n_images)} "
        f"training images; {count(last.n_ended)} saw {count(last.n_images)}."
    )


def anytime(improvements: Sequence[BestSoFar], n_images: int, metric: Metric = "accuracy") -> str:
    """After which share of its training images the search had its best, and nearly had it.

    Such as: "The last improvement, to 95.10 %, came after 61 % of the search's 1.10 M training images; half a point
    below it was reached after 23 %."

    Args:
        improvements: each new best, at least one.
        n_images: training images of all trials.
        metric: of the study.
    """
    best = improvements[-1]
    near = reached(improvements, best.selection_accuracy - NEAR_BEST)
    below = "half a point below it" if metric in SHARES else f"what is {NEAR_BEST:g} worse"
    return (
        f"The last improvement, to {in_metric(metric, best.selection_accuracy)}, came after "
        f"{percent(best.n_images / n_images, 0)} of the search's {short_count(n_images)} training images; "
        f"{below} was reached after {percent(near.n_images / n_images, 0)}."
    )


def endings(trials: Sequence[TrialRecord]) -> list[tuple[str, str, int]]:
    """How trials ended. Reasons that differ in a trial's own figures count as one.

    Returns:
        (state, reason, number of trials), by state, most trials first.
    """
    counts = Counter((trial.state, shared_reason(trial.reason)) for trial in trials)
    rows = [(state, reason, n) for (state, reason), n in counts.items()]
    return sorted(rows, key=lambda row: (FINISHED_STATES.index(row[0]), -row[2], row[1]))


def shared_reason(reason: str) -> str:
    """The first line of a reason, without numbers but for the rung a trial was pruned at, which many have in common."""
    line = (reason.splitlines() or [""])[0]
    if len(line) > LONGEST_REASON:
        line = line[: LONGEST_REASON - 1] + "…"
    if line.startswith("pruned after"):
        return line.split(", at ")[0]
    return re.sub(r"\d[\d,.]*\d|\d", "…", line)


def importance(importances: Mapping[str, float]) -> str:
    """Which parameter weighs most.

    Such as: "peak_learning_rate weighs most, with 61 % of the importance."

    Args:
        importances: parameter -> share, as Optuna has it; at least one.
    """
    name, value = max(importances.items(), key=lambda item: item[1])
    total = sum(importances.values()) or 1.0
    return f"{name} weighs most, with {percent(value / total, 0)} of the importance."


def parameter_effects(trials: Sequence[TrialRecord], names: Sequence[str], metric: Metric = "accuracy") -> str:
    """Which numeric parameter goes most clearly with the score: the one whose rank correlation is farthest from 0.

    Args:
        trials: of the search.
        names: parameters to look at; those in words are passed over.
        metric: of the study.
    """
    correlations = rank_correlations(trials, names)
    if not correlations:
        return "Too few trials were trained to the end to say what a parameter did."
    name, (rho, n) = max(correlations.items(), key=lambda item: abs(item[1][0]))
    direction = "higher" if rho > 0 else "lower"
    return (
        f"Among numeric parameters, {name} goes most clearly with {METRIC_WORDS[metric]}: {direction} values did "
        f"better (rank correlation {rho:+.2f}, n = {n} trials trained to the end). The sampler moves all parameters "
        "together, so this is no proof of cause."
    )


def depth(rows: Sequence[DepthScore], metric: Metric = "accuracy") -> str:
    """Which depth has the best trial.

    Such as: "The best trial has 3 blocks: 95.10 %, the best of 9 trials trained to the end at that depth."

    Args:
        rows: as `search.report.analysis.trials.depths` has them.
        metric: of the study.
    """
    best: DepthScore | None = None
    best_score = 0.0
    for row in rows:
        if row.best is not None and (best is None or row.best > best_score):
            best, best_score = row, row.best
    if best is None:
        return "No depth has a trial that was trained to its end."
    return (
        f"The best trial has {with_noun(best.n_blocks, 'block')}: {in_metric(metric, best_score)}, the best of "
        f"{with_noun(best.n_complete, 'trial')} trained to the end at that depth."
    )


def finalists_note(study: Trainings) -> str:
    """How the finalists were trained and scored."""
    n = f"(n = {count(study.data.n_images['confirmation'])})"
    if not study.has_unseen_confirmation:
        return (
            "The best of the search and the default recipe, trained anew for longer and scored once on the "
            f"confirmation split {n}, which no trial has seen."
        )
    who = "The best of the search and the default recipe"
    if study.default is None:
        who = "The best of the search"
    return (
        f"{who}, trained anew on training and selection split, and scored on the confirmation split {n}, from which no "
        "network learns."
    )


def finalists(study: Trainings) -> str:
    """How far the best finalist leads the second on the confirmation split.

    Such as: "Trial 7 leads trial 23 by 0.20 points; their 95 % intervals overlap."
    """
    if len(study.confirmed) == 1:
        return "One finalist: nothing was left to choose on the confirmation split."
    first, second = study.confirmed[:2]
    lead = difference_in(study.metric, first.score - second.score)
    verb = "do not overlap"
    if score_interval(study, first).overlaps(score_interval(study, second)):
        verb = "overlap"
    by = "" if study.metric == "accuracy" else f" in {METRIC_WORDS[study.metric]}"
    return f"Trial {first.trial} leads trial {second.trial} by {lead}{by}; their 95 % intervals {verb}."
