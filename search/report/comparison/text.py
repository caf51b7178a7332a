"""What does a comparison say in words? Numbers in, sentences out; plain text without markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.format import (
    METRIC_WORDS,
    NOT_KNOWN,
    SHARES,
    count,
    duration,
    in_metric,
    p_value,
    percent,
    points,
    ratio,
    with_noun,
)
from search.report.analysis.trials import BestSoFar, reached
from search.report.comparison.data import Comparison, Entry, multiply_adds, n_parameters
from search.report.text.delivery import phase_words
from search.results.result import FinishedStudy

SIGNIFICANCE = 0.05
NEAR_BEST = 0.005  # accuracy below a search's own best that counts as near it
DECIDES_SPEED = ("system", "cores", "gpu", "workers", "threads_per_worker", "precision")  # of a machine's entries
MOST_NAMED = 6  # entries that differ


def verdict(comparison: Comparison) -> str:
    """Which study is better, or why that cannot be said.

    Where both were tested on the same images, the seeds speak first and then the two delivered models.
    """
    if comparison.is_same_test:
        return f"{scores(comparison)}{accuracies(comparison)} {delivered(comparison)}"
    return (
        f"{_tested_on(comparison.a)}, {_tested_on(comparison.b)}. These are not the same images, so accuracies, "
        f"classes and calibration of the two answer different questions and are left out here; each study's own report "
        f"has them. Only the searches and what they cost can be compared."
    )


def _tested_on(study: FinishedStudy) -> str:
    n_images = with_noun(len(study.arrays.labels), "image")
    return f"{study.files.root.name} was tested on {n_images} of {study.data.dataset}"


def scores(comparison: Comparison) -> str:
    """Which study has the better mean of the figure that decided in both, with a space behind; empty for accuracy.

    Where the two were decided by different metrics, it says so.
    """
    a, b = comparison.both
    if comparison.metric is None:
        (name_a, name_b), (words_a, words_b) = comparison.names, (METRIC_WORDS[a.metric], METRIC_WORDS[b.metric])
        return f"{name_a} was decided by {words_a}, {name_b} by {words_b}: each may well be behind by the other's. "
    metric = comparison.metric
    if metric == "accuracy":
        return ""
    better, worse = sorted(comparison.both, key=lambda study: -study.test_score)
    return (
        f"By {METRIC_WORDS[metric]}, which decided in both, {better.files.root.name} has "
        f"{in_metric(metric, better.test_score)} and {worse.files.root.name} {in_metric(metric, worse.test_score)} on "
        "average over the seeds. "
    )


def accuracies(comparison: Comparison) -> str:
    """Which study has the higher mean test accuracy, and whether its trainings say so one by one.

    Such as: "The mean test accuracy of beta is 0.42 points above that of alpha, 95.10 % against 94.68 %; their
    trainings overlap."
    """
    better, worse = sorted(comparison.both, key=lambda study: -study.test_mean)
    if better.test_mean == worse.test_mean:
        return f"Both have a mean test accuracy of {percent(better.test_mean)}."
    if min(len(better.test_accuracies), len(worse.test_accuracies)) == 1:
        apart = "one training does not tell how far another seed would land"
    elif min(better.test_accuracies) > max(worse.test_accuracies):
        apart = "every training of the one beats every one of the other"
    else:
        apart = "their trainings overlap"
    return (
        f"The mean test accuracy of {better.files.root.name} is {points(better.test_mean - worse.test_mean)} above "
        f"that of {worse.files.root.name}, {percent(better.test_mean)} against {percent(worse.test_mean)}; {apart}."
    )


def delivered(comparison: Comparison) -> str:
    """What McNemar's test says of the two delivered models.

    Such as: "Of 10,000 test images, the delivered model of alpha alone has 210 right, that of beta alone 262; were
    the two equally good, so uneven a division would have a probability of 0.019 (exact McNemar test), so the model
    of beta is better on images like these."
    """
    (name_a, name_b), test = comparison.names, comparison.test
    n = with_noun(len(comparison.a.arrays.labels), "test image")
    if test.n_only_a + test.n_only_b == 0:
        return f"The two delivered models have the same ones of {n} right."
    probability = p_value(test.p_value).replace("<", "less than")
    settles = "so these images don't settle which model is better"
    if test.p_value < SIGNIFICANCE:
        better = name_b if test.n_only_b > test.n_only_a else name_a
        by = "" if comparison.metric == "accuracy" else "by accuracy "
        settles = f"so {by}the model of {better} is better on images like these"
    return (
        f"Of {n}, the delivered model of {name_a} alone has {count(test.n_only_a)} right, that of {name_b} alone "
        f"{count(test.n_only_b)}; were the two equally good, so uneven a division would have a probability of "
        f"{probability} (exact McNemar test), {settles}."
    )


def ensembles(comparison: Comparison) -> str | None:
    """What McNemar's test says of the two ensembles; None where one study has none.

    Such as: "The ensemble of alpha alone has 20 images right, that of beta alone 31 (exact McNemar test, p = 0.161)."
    """
    (name_a, name_b), test = comparison.names, comparison.ensembles
    if test is None:
        return None
    p = p_value(test.p_value)
    return (
        f"The ensemble of {name_a} alone has {with_noun(test.n_only_a, 'image')} right, that of {name_b} alone "
        f"{count(test.n_only_b)} (exact McNemar test, p {p if p.startswith('<') else f'= {p}'})."
    )


def classes(comparison: Comparison) -> str:
    """On which class the two delivered models differ most, and on how many they differ beyond chance.

    Such as: "They differ most on Shirt, of which beta finds 3.10 points more (n = 1,000); by more than chance would
    explain, 1 of 10 classes differs."
    """
    most = max(comparison.classes, key=lambda contrast: abs(contrast.recall_difference))
    if most.recall_difference == 0:
        return "Both models find the same share of every class."
    finder = comparison.names[most.recall_difference > 0]
    n_beyond = sum(contrast.p_adjusted < SIGNIFICANCE for contrast in comparison.classes)
    verb = "differs" if n_beyond == 1 else "differ"
    return (
        f"They differ most on {most.name}, of which {finder} finds {points(most.recall_difference)} more "
        f"(n = {count(most.n_images)}); by more than chance would explain, {n_beyond} of {len(comparison.classes)} "
        f"classes {verb}."
    )


def calibration(comparison: Comparison) -> str:
    """How far confidence and accuracy lie apart in each delivered model, and whose probabilities are better.

    Such as: "Confidence and accuracy lie 1.40 points apart in alpha and 0.90 points in beta; by log loss, which
    counts mistakes too, the probabilities of beta are better."
    """
    (name_a, name_b), a, b = comparison.names, comparison.a.evaluation, comparison.b.evaluation
    better = name_b if b.log_loss < a.log_loss else name_a
    return (
        f"Confidence and accuracy lie {points(a.expected_calibration_error)} apart in {name_a} and "
        f"{points(b.expected_calibration_error)} in {name_b}; by log loss, which counts mistakes too, the "
        f"probabilities of {better} are better."
    )


def searches(comparison: Comparison) -> str:
    """How many configurations each search tried, and how many it trained to the end.

    Such as: "alpha tried 40 configurations and trained 16 to the end; beta tried 60 configurations and trained 25
    to the end."
    """
    (name_a, name_b), (a, b) = comparison.names, comparison.both
    return f"{name_a} tried {_tried(a)}; {name_b} tried {_tried(b)}."


def _tried(study: FinishedStudy) -> str:
    n_complete = count(study.n_by_state["complete"])
    return f"{with_noun(len(study.trials), 'configuration')} and trained {n_complete} to the end"


def curves(comparison: Comparison) -> str:
    """Which search was faster.

    Where their accuracies cannot be compared, it says how fast each came near its own best instead; where one trained
    no trial to the end, that there is nothing to compare.
    """
    (name_a, name_b), (curve_a, curve_b) = comparison.names, comparison.curves
    without = [name for name, curve in ((name_a, curve_a), (name_b, curve_b)) if not curve]
    if without:
        return f"No trial of {' and '.join(without)} was trained to its end, so there is nothing to compare."
    end_a, end_b = curve_a[-1].selection_accuracy, curve_b[-1].selection_accuracy
    metric = comparison.metric
    if not comparison.has_comparable_curves or metric is None:
        near_a, near_b = reached(curve_a, end_a - NEAR_BEST), reached(curve_b, end_b - NEAR_BEST)
        return (
            f"{name_a} came within {_near(comparison)} of its own best after {_spent(near_a)}, {name_b} after "
            f"{_spent(near_b)}."
        )
    if end_a == end_b:
        return f"Both searches ended at the same best selection {METRIC_WORDS[metric]}, {in_metric(metric, end_a)}."
    leader, curve, lower = name_a, curve_a, end_b
    if end_b > end_a:
        leader, curve, lower = name_b, curve_b, end_a
    led, behind = in_metric(metric, curve[-1].selection_accuracy), in_metric(metric, lower)
    return (
        f"{leader} ended {'better' if metric == 'log_loss' else 'higher'}, at {led} against {behind}, and had passed "
        f"the other's best after {_spent(reached(curve, lower))}."
    )


def _near(comparison: Comparison) -> str:
    """How near a search's own best counts as near it, in points where both searches were decided by shares."""
    if all(study.metric in SHARES for study in comparison.both):
        return points(NEAR_BEST)
    return f"{NEAR_BEST:g}"


def _spent(point: BestSoFar) -> str:
    return f"{with_noun(point.n_trials, 'trial')} and {with_noun(point.n_images, 'training image')}"


def curve_note(comparison: Comparison) -> str:
    """What the reader has to know to read the two curves together."""
    notes = ["Trials count when they end; stopped ones count with their images, not with their accuracy."]
    if comparison.metric is None:
        notes.append("Each curve is measured from its own end: the two searches were decided by different metrics.")
    elif not comparison.is_same_test:
        notes.append("Each curve is measured from its own end: accuracies on different images say nothing together.")
    elif not comparison.is_same_selection:
        notes.append("The selection images differ, so small differences in height mean nothing.")
    if not comparison.is_same_length:
        notes.append("The two searches train their trials for different lengths.")
    return " ".join(notes)


def costs(comparison: Comparison) -> str:
    """What each study took, in time, training images and multiply-adds.

    Such as: "alpha took 1 h 23 min, beta 2 h 10 min; beta saw 1.60 times as many training images, and its network
    has 0.80 times as many multiply-adds."
    """
    (name_a, name_b), (a, b) = comparison.names, comparison.both
    images_a, images_b = sum(a.n_images_trained.values()), sum(b.n_images_trained.values())
    return (
        f"{name_a} took {duration(sum(a.seconds.values()))}, {name_b} {duration(sum(b.seconds.values()))}; {name_b} "
        f"saw {ratio(images_a, images_b)} times as many training images, and its network has "
        f"{ratio(multiply_adds(a), multiply_adds(b))} times as many multiply-adds."
    )


def time_spent(comparison: Comparison) -> str:
    """Which phase took longest in each study.

    Such as: "The phase that took longest is search in alpha (80 %) and search in beta (71 %)."
    """
    a, b = comparison.both
    return f"The phase that took longest is {_largest_share(a, a.seconds)} and {_largest_share(b, b.seconds)}."


def images_seen(comparison: Comparison) -> str:
    """Which phase saw the most training images in each study.

    Such as: "The phase that saw the most images is students in alpha (45 %) and search in beta (52 %)."
    """
    a, b = comparison.both
    share_a, share_b = _largest_share(a, a.n_images_trained), _largest_share(b, b.n_images_trained)
    return f"The phase that saw the most images is {share_a} and {share_b}."


def _largest_share(study: FinishedStudy, by_phase: Mapping[str, float]) -> str:
    """Such as `students in alpha (45 %)`."""
    phase, largest = max(by_phase.items(), key=lambda item: item[1])
    total = sum(by_phase.values())
    share = percent(largest / total, 0) if total else NOT_KNOWN
    return f"{phase_words(study)[phase]} in {study.files.root.name} ({share})"


def networks(comparison: Comparison) -> str:
    """How much larger the one network is than the other.

    Such as: "The network of beta has 0.50 times the parameters of that of alpha and 0.80 times its multiply-adds."
    """
    (name_a, name_b), (a, b) = comparison.names, comparison.both
    return (
        f"The network of {name_b} has {ratio(n_parameters(a), n_parameters(b))} times the parameters of that of "
        f"{name_a} and {ratio(multiply_adds(a), multiply_adds(b))} times its multiply-adds."
    )


def cost_note(comparison: Comparison) -> str:
    """Whether seconds can be compared: only on the same kind of machine.

    Such as: "They ran with different cores, so seconds compare machines as much as searches; images and multiply-
    adds don't."
    """
    differing = []
    for entry in comparison.machines:
        if entry.differs and entry.name in DECIDES_SPEED:
            differing.append(entry.name.replace("_", " "))
    if not differing:
        return "By what was recorded, both ran on the same kind of machine; what else ran there is not known."
    return (
        f"They ran with different {', '.join(differing)}, so seconds compare machines as much as searches; images and "
        "multiply-adds don't."
    )


def what_differs(found: Sequence[Entry]) -> str:
    """How many entries differ, and which.

    Such as: "2 of 31 entries differ: seed, trials."
    """
    differing = []
    for entry in found:
        if entry.differs:
            differing.append(entry.name)
    if not differing:
        return f"All {len(found)} entries are the same."
    shown = ", ".join(differing[:MOST_NAMED])
    if len(differing) > MOST_NAMED:
        shown = f"{shown} and {len(differing) - MOST_NAMED} more"
    verb = "differs" if len(differing) == 1 else "differ"
    return f"{len(differing)} of {len(found)} entries {verb}: {shown}."
