"""What does the report say of how sure its figures are: choosing, luck, seeds, rivals, calibration?"""

from __future__ import annotations

from collections.abc import Sequence

from fmnist.scoring import Metric, shown_value
from search.format import (
    METRIC_WORDS,
    SHARES,
    count,
    difference_in,
    in_metric,
    percent,
    points,
    shown_signed,
    with_noun,
)
from search.report.analysis.evidence import Calibration, PairedComparison, ScoreComparison, SelectionBias
from search.report.text.delivery import SIGNIFICANCE, trainings
from search.results.members import score_interval
from search.results.result import FinishedStudy
from search.results.trainings import Trainings
from search.space.space import DEFAULT_NAME

BASELINES_WITHOUT_PROBABILITIES = (
    "Baselines keep the class that they predict and no probabilities, so they have no log loss: they are compared by "
    "accuracy."
)


def from_selection_to_test(study: FinishedStudy) -> str:
    """How the winner's accuracy falls from the figure it was chosen by to the test set's.

    Such as: "The winner has 95.10 % on the selection split, 94.80 % on the confirmation split and 94.90 % on the
    test set. ... From confirmation to test, after retraining on all training images, it is 0.10 points more."
    """
    winner, test = study.winner, study.test_mean
    if winner.selection_accuracy is None:
        return _from_search_to_test(study)
    drop, step = winner.selection_accuracy - winner.confirm_accuracy, test - winner.confirm_accuracy
    chain = (
        f"The winner has {percent(winner.selection_accuracy)} on the selection split, "
        f"{percent(winner.confirm_accuracy)} on the confirmation split and {percent(test)} on the test set."
    )
    if drop > 0:
        first = (
            f"The first step down, {points(drop)}, is what choosing flatters: the search looked at the selection "
            "split in every trial, at the confirmation split once per finalist."
        )
    else:
        first = "The figure that the search chose by is not above the one that it never saw, so it doesn't flatter."
    difference = "the same"
    if points(step) != points(0):
        difference = f"{points(step)} {'more' if step > 0 else 'less'}"
    return f"{chain} {first} From confirmation to test, after retraining on all training images, it is {difference}."


def _from_search_to_test(study: FinishedStudy) -> str:
    """Say the same where the winner's training as a finalist learned from the selection split too.

    Such as: "In the search, after a shorter training on fewer images, the winner has 94.10 % on the selection split.
    Trained anew as a finalist, it has 94.80 % on the confirmation split, ... The delivered model has 94.90 % on the
    test set."
    """
    winner, test, metric = study.winner, study.test_score, study.metric
    in_search = "The winner is chosen by the confirmation split."
    if len(study.confirmed) == 1:
        in_search = "The winner is the network that the search found best."
    by = "" if metric == "accuracy" else f"{METRIC_WORDS[metric]} "
    if winner.search_accuracy is not None:
        in_search = (
            f"In the search, after a shorter training on fewer images, the winner has "
            f"{by}{in_metric(metric, _decisive(winner.search_accuracy, winner.search_score))} on the selection split."
        )
    n_delivered, known = len(study.test_accuracies), study.refits[0].score
    whose, where = "The delivered model has", "on the confirmation split"
    if n_delivered > 1:
        whose = f"The delivered {with_noun(n_delivered, study.refits[0].kind)} have, on average,"
        where = f"the first has {where}"
    n_finalists = with_noun(len(study.confirmed), "finalist")
    others = f", and which compares {n_finalists}" if len(study.confirmed) > 1 else ""
    step = "" if known is None else f", {_difference(metric, test - known)} {where}"
    return (
        f"{in_search} Trained anew as a finalist, it has {in_metric(metric, winner.score)} on the confirmation split, "
        f"from which no network learns{others}. {whose} "
        f"{in_metric(metric, test)} on the test set{step}."
    )


def _decisive(accuracy: float | None, score: float | None) -> float | None:
    """What decided: the score, or where there is none the accuracy."""
    return accuracy if score is None else score


def _difference(metric: Metric, step: float) -> str:
    """Such as `0.10 points more than`, or `the same as`; of a log loss, which falls where the score rises, its own."""
    if difference_in(metric, step) == difference_in(metric, 0):
        return "the same as"
    return f"{difference_in(metric, step)} {'more' if shown_value(metric, step) > 0 else 'less'} than"


def luck(study: FinishedStudy, bias: SelectionBias) -> str:
    """What the best of so many equally good configurations would show by luck alone.

    It is an upper bound: it takes the configurations' mistakes to be independent, and real ones fail on the same
    images.

    Args:
        study: a finished one.
        bias: its selection bias, as `Evidence` has it.
    """
    n_selection, n_confirmation = study.data.n_images["selection"], study.data.n_images["confirmation"]
    selection, confirm = bias.selection_luck, bias.confirm_luck
    of_finalists, by_accuracy = "", ""
    if study.metric != "accuracy":
        by_accuracy = (
            f"This is reckoned by accuracy; {METRIC_WORDS[study.metric]}, which chose, scatters in its own way. "
        )
    if bias.n_finalists > 1:
        of_finalists = (
            f"The best of {bias.n_finalists} equal finalists would show {percent(confirm.expected)} on the "
            f"{count(n_confirmation)} confirmation images. "
        )
    return (
        f"{with_noun(bias.n_tried, 'configuration')} were scored on {count(n_selection)} selection images. Were all of "
        f"them exactly {percent(bias.confirm_accuracy)} good, the best would show {percent(selection.expected)} there "
        f"on average, and in one case of twenty more than {percent(selection.high)}, by luck alone. {of_finalists}"
        f"{by_accuracy}"
        "That is the most that luck does: real configurations fail on the same difficult images. This study opened its "
        "test set once, for what had been chosen; it can't know whether the same images were looked at before, in "
        "another study whose outcome led to this one."
    )


def against_default(study: Trainings) -> str:
    """How far the winner is above the default recipe on the confirmation split, and whether that settles it.

    Such as: "On the confirmation split the winner is 0.80 points above the default (94.80 % against 94.00 %, n =
    5,000); the two 95 % intervals overlap, so these images alone don't settle which is better."
    """
    default, winner = study.default, study.winner
    if default is None:
        return _against_default_in_the_search(study)
    if default is winner:
        return "The default recipe itself won: the search found nothing better on the confirmation split."
    metric, difference = study.metric, winner.score - default.score
    side = "above" if difference >= 0 else "below"
    if metric == "log_loss":
        side = "better than" if difference >= 0 else "worse than"
    verdict = "the two 95 % intervals don't overlap"
    if score_interval(study, winner).overlaps(score_interval(study, default)):
        verdict = "the two 95 % intervals overlap, so these images alone don't settle which is better"
    return (
        f"On the confirmation split the winner is {difference_in(metric, difference)} {side} the default "
        f"({in_metric(metric, winner.score)} against {in_metric(metric, default.score)}"
        f"{'' if metric == 'accuracy' else f' {METRIC_WORDS[metric]}'}, "
        f"n = {count(study.data.n_images['confirmation'])}); {verdict}."
    )


def _against_default_in_the_search(study: Trainings) -> str:
    """How the winner's trial and the default's did on the longest rung that both were on.

    Such as: "The default recipe was not among the finalists. After 64,000 images it had 90.57 % on the selection split
    in the search, the winner's recipe 91.79 %."
    """
    absent = "The default recipe was not among the finalists"
    of_winner = study.winner_trial.rung_scores
    of_default = next((trial.rung_scores for trial in study.trials if trial.origin == DEFAULT_NAME), {})
    in_both = of_winner.keys() & of_default.keys()
    if not in_both:
        return f"{absent}, so there is nothing to compare with."
    longest, metric = max(in_both), study.metric
    figures = f"{in_metric(metric, of_default[longest])}{'' if metric == 'accuracy' else f' {METRIC_WORDS[metric]}'}"
    return (
        f"{absent}. After {count(longest)} images it had {figures} on the selection split in the search, the winner's "
        f"recipe {in_metric(metric, of_winner[longest])}."
    )


def paired_comparisons(found: Sequence[PairedComparison], one: str = "winner") -> str:
    """How many rivals the one of all comparisons beats beyond chance, and which beat it.

    Such as: "The winner is better than 2 of 3 beyond chance (exact McNemar test on the same images, 5 % level,
    Holm's correction)."

    Args:
        found: the rivals, each against the same one.
        one: what that is called.
    """
    if not found:
        return "There is no one to compare with."
    n_beaten, better = 0, []
    for rival in found:
        if rival.p_adjusted < SIGNIFICANCE and rival.test.n_only_a > rival.test.n_only_b:
            n_beaten += 1
        elif rival.p_adjusted < SIGNIFICANCE and rival.test.n_only_a < rival.test.n_only_b:
            better.append(rival.name)
    worse = f", and worse than {', '.join(better)}" if better else ""
    return (
        f"The {one} is better than {n_beaten} of {count(len(found))} beyond chance{worse} (exact McNemar test on the "
        "same images, 5 % level, Holm's correction)."
    )


def score_comparisons(found: Sequence[ScoreComparison], metric: Metric) -> str:
    """How far each finalist is from the winner by the metric that decided, and how far chance could bring that.

    Such as: "By balanced accuracy, trial 3 has 4.00 points less than the winner (95 % interval of the difference, ..."

    Args:
        found: the finalists but for the winner; at least one.
        metric: of the study.
    """
    said = []
    for rival in found:
        ends = (rival.interval.low, rival.interval.high)
        low, high = (shown_signed(metric, end) for end in sorted(ends, key=lambda end: shown_value(metric, end)))
        said.append(f"{rival.name} {shown_signed(metric, rival.difference)} ({low} to {high})")
    unit = ", in points" if metric in SHARES else ""
    return (
        f"By {METRIC_WORDS[metric]}, which chose the winner, the others differ from it by{unit}: {', '.join(said)}. In "
        "brackets the 95 % interval, by a bootstrap that draws the same images for both, within each class."
    )


def seeds(study: FinishedStudy) -> str:
    """How far trainings lie apart that differ in their seed alone.

    Such as: "3 retrainings differ in nothing but the seed; their test accuracies have a standard deviation of 0.12
    points. ..."
    """
    if study.test_sd is None:
        return "One training is delivered, of one seed: how far another seed would land is not known."
    return (
        f"{trainings(study)} differ in nothing but the seed; their test accuracies have a "
        f"standard deviation of {points(study.test_sd)}. The 95 % interval speaks of other test images, not of "
        "seeds."
    )


def calibration(found: Calibration) -> str:
    """How far confidence and accuracy lie apart, and what one temperature does about it.

    It names the expected calibration error with its bins and its source, the temperature with the number of images it
    was fitted on, and the log loss before and after.
    """
    before, after = found.before, found.after
    lean = "too little" if found.temperature < 1 else "too much"
    return (
        f"As delivered, confidence and accuracy lie {points(before.expected_calibration_error)} apart on average "
        f"(expected calibration error, 15 bins, Guo et al. 2017): the model claims {lean}. One temperature, "
        f"{found.temperature:.2f}, fitted on {count(found.n_fitted_on)} confirmation images, makes it "
        f"{points(after.expected_calibration_error)}; the log loss on the test set goes from {before.log_loss:.4f} to "
        f"{after.log_loss:.4f}."
    )


def calibration_in_short(found: Calibration, accuracy: float) -> str:
    """How confident the delivered model is and how often it is right.

    Such as: "The delivered model is on average 93.1 % confident and 94.0 % right; its expected calibration error is
    1.40 points, 0.60 points with the temperature in temperature.json."

    Args:
        found: of the delivered model.
        accuracy: its own, on the test set.
    """
    before = found.before
    return (
        f"The delivered model is on average {percent(before.mean_confidence, 1)} confident and "
        f"{percent(accuracy, 1)} right; its expected calibration error is {points(before.expected_calibration_error)}, "
        f"{points(found.after.expected_calibration_error)} with the temperature in temperature.json."
    )
