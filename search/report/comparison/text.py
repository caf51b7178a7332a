"""What a comparison says in words: numbers in, sentences out. Plain text, no markup."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from search.format import duration, p_value, percent, points, ratio, with_noun
from search.report.analysis import BestSoFar
from search.report.comparison.data import Comparison, Entry, multiply_adds, n_parameters
from search.results import FinishedStudy

SIGNIFICANCE = 0.05
NEAR_BEST = 0.005  # accuracy below a search's own best that counts as near it
DECIDES_SPEED = ("system", "cores", "gpu", "workers", "threads_per_worker", "precision")  # of a machine's entries


# --------------------------------------------------------------------------------------------------------- findings


def verdict(comparison: Comparison) -> str:
    if comparison.is_same_test:
        return f"{accuracies(comparison)} {delivered(comparison)}"
    return (
        f"{_tested_on(comparison.a)}, {_tested_on(comparison.b)}. These are not the same images, so accuracies, "
        f"classes and calibration of the two answer different questions and are left out here; each study's own report "
        f"has them. Only the searches and what they cost can be compared."
    )


def _tested_on(study_result: FinishedStudy) -> str:
    return (
        f"{study_result.files.root.name} was tested on {with_noun(len(study_result.arrays.labels), 'image')} of "
        f"{study_result.data.dataset}"
    )


def accuracies(comparison: Comparison) -> str:
    better, worse = sorted(comparison.both, key=lambda study_result: -study_result.test_mean)
    if better.test_mean == worse.test_mean:
        return f"Both have a mean test accuracy of {percent(better.test_mean)}."
    return (
        f"The mean test accuracy of {better.files.root.name} is {points(better.test_mean - worse.test_mean)} above "
        f"that of {worse.files.root.name}, {percent(better.test_mean)} against {percent(worse.test_mean)}; "
        f"{_seeds_apart(better, worse)}."
    )


def _seeds_apart(better: FinishedStudy, worse: FinishedStudy) -> str:
    if min(len(study_result.test_accuracies) for study_result in (better, worse)) == 1:
        return "one retraining does not tell how far another seed would land"
    apart = min(better.test_accuracies) > max(worse.test_accuracies)
    return "every retraining of the one beats every one of the other" if apart else "their retrainings overlap"


def delivered(comparison: Comparison) -> str:
    """What McNemar's test says of the two delivered models."""
    (name_a, name_b), test = comparison.names, comparison.test
    n = with_noun(len(comparison.a.arrays.labels), "test image")
    if test.n_only_a + test.n_only_b == 0:
        return f"The two delivered models have the same ones of {n} right."
    return (
        f"Of {n}, the delivered model of {name_a} alone has {test.n_only_a:,} right, that of {name_b} alone "
        f"{test.n_only_b:,}; were the two equally good, so uneven a division would have a probability of "
        f"{_probability(test.p_value)} (exact McNemar test), {_settles(comparison)}."
    )


def _probability(p: float) -> str:
    return "less than 0.001" if p < 0.001 else p_value(p)


def _settles(comparison: Comparison) -> str:
    test = comparison.test
    if test.p_value >= SIGNIFICANCE:
        return "so these images don't settle which model is better"
    return f"so the model of {comparison.names[test.n_only_b > test.n_only_a]} is better on images like these"


def classes(comparison: Comparison) -> str:
    most = max(comparison.classes, key=lambda it: abs(it.recall_difference))
    if most.recall_difference == 0:
        return "Both models find the same share of every class."
    finder = comparison.names[most.recall_difference > 0]
    n_beyond = sum(it.p_adjusted < SIGNIFICANCE for it in comparison.classes)
    return (
        f"They differ most on {most.name}, of which {finder} finds {points(most.recall_difference)} more "
        f"(n = {most.n_images:,}); by more than chance would explain, {n_beyond} of {len(comparison.classes)} classes "
        f"{'differs' if n_beyond == 1 else 'differ'}."
    )


def calibration(comparison: Comparison) -> str:
    a, b = (study_result.evaluation for study_result in comparison.both)
    better = comparison.names[b.log_loss < a.log_loss]
    return (
        f"Confidence and accuracy lie {points(a.expected_calibration_error)} apart in {comparison.names[0]} and "
        f"{points(b.expected_calibration_error)} in {comparison.names[1]}; by log loss, which counts mistakes too, the "
        f"probabilities of {better} are better."
    )


def searches(comparison: Comparison) -> str:
    (name_a, name_b), (a, b) = comparison.names, comparison.both
    return f"{name_a} tried {_tried(a)}; {name_b} tried {_tried(b)}."


def _tried(study_result: FinishedStudy) -> str:
    return f"{with_noun(len(study_result.trials), 'configuration')} and trained {study_result.n_by_state['complete']:,} to the end"


def curves(comparison: Comparison) -> str:
    if not all(comparison.curves):
        without = [name for name, curve in zip(comparison.names, comparison.curves, strict=True) if not curve]
        return f"No trial of {' and '.join(without)} was trained to its end, so there is nothing to compare."
    return _who_was_faster(comparison) if comparison.is_same_test else _each_by_itself(comparison)


def _who_was_faster(comparison: Comparison) -> str:
    ends = [curve[-1].selection_accuracy for curve in comparison.curves]
    if ends[0] == ends[1]:
        return f"Both searches ended at the same best selection accuracy, {percent(ends[0])}."
    leader = int(ends[1] > ends[0])
    first = reached(comparison.curves[leader], ends[1 - leader])
    return (
        f"{comparison.names[leader]} ended higher, at {percent(ends[leader])} against {percent(ends[1 - leader])}, and "
        f"had passed the other's best after {_spent(first)}."
    )


def _each_by_itself(comparison: Comparison) -> str:
    (name_a, name_b), (a, b) = comparison.names, comparison.curves
    near_a, near_b = (reached(curve, curve[-1].selection_accuracy - NEAR_BEST) for curve in (a, b))
    return (
        f"{name_a} came within {points(NEAR_BEST)} of its own best after {_spent(near_a)}, {name_b} after "
        f"{_spent(near_b)}."
    )


def reached(curve: Sequence[BestSoFar], accuracy: float) -> BestSoFar:
    """Where a search first had this accuracy. It must have had it."""
    return next(point for point in curve if point.selection_accuracy >= accuracy)


def _spent(point: BestSoFar) -> str:
    return f"{with_noun(point.n_trials, 'trial')} and {with_noun(point.n_images, 'training image')}"


def curve_note(comparison: Comparison) -> str:
    """What the reader has to know to read the two curves together."""
    notes = ["Trials count when they end; stopped ones count with their images, not with their accuracy."]
    if not comparison.is_same_test:
        notes.append("Each curve is measured from its own end: accuracies on different images say nothing together.")
    elif not comparison.is_same_selection:
        notes.append("The selection images differ, so small differences in height mean nothing.")
    if not comparison.is_same_length:
        notes.append("The two searches train their trials for different lengths.")
    return " ".join(notes)


def costs(comparison: Comparison) -> str:
    (name_a, name_b), (a, b) = comparison.names, comparison.both
    images_a, images_b = (sum(study_result.n_images_trained.values()) for study_result in (a, b))
    return (
        f"{name_a} took {duration(sum(a.seconds.values()))}, {name_b} {duration(sum(b.seconds.values()))}; {name_b} "
        f"saw {ratio(images_a, images_b)} times as many training images, and its network has "
        f"{ratio(multiply_adds(a), multiply_adds(b))} times as many multiply-adds."
    )


def time_spent(comparison: Comparison) -> str:
    return f"The phase that took longest is {_largest_shares(comparison, lambda study_result: study_result.seconds)}."


def images_seen(comparison: Comparison) -> str:
    shares = _largest_shares(comparison, lambda study_result: study_result.n_images_trained)
    return f"The phase that saw the most images is {shares}."


def _largest_shares(comparison: Comparison, of: Callable[[FinishedStudy], Mapping[str, float]]) -> str:
    """Such as `refit in alpha (45 %) and search in beta (52 %)`."""
    return " and ".join(
        _largest_share(of(study_result), name)
        for name, study_result in zip(comparison.names, comparison.both, strict=True)
    )


def _largest_share(by_phase: Mapping[str, float], name: str) -> str:
    phase, total = max(by_phase, key=by_phase.get), sum(by_phase.values())
    return f"{phase} in {name} ({percent(by_phase[phase] / total if total else None, 0)})"


def networks(comparison: Comparison) -> str:
    (name_a, name_b), (a, b) = comparison.names, comparison.both
    return (
        f"The network of {name_b} has {ratio(n_parameters(a), n_parameters(b))} times the parameters of that of "
        f"{name_a} and {ratio(multiply_adds(a), multiply_adds(b))} times its multiply-adds."
    )


def cost_note(comparison: Comparison) -> str:
    differing = [entry.name for entry in comparison.machines if entry.differs and entry.name in DECIDES_SPEED]
    if not differing:
        return "By what was recorded, both ran on the same kind of machine; what else ran there is not known."
    return (
        f"They ran with different {', '.join(name.replace('_', ' ') for name in differing)}, so seconds compare "
        f"machines as much as searches; images and multiply-adds don't."
    )


def what_differs(found: Sequence[Entry]) -> str:
    differing = [entry.name for entry in found if entry.differs]
    if not differing:
        return f"All {len(found)} entries are the same."
    shown = ", ".join(differing[:6]) + (f" and {len(differing) - 6} more" if len(differing) > 6 else "")
    return f"{len(differing)} of {len(found)} entries {'differs' if len(differing) == 1 else 'differ'}: {shown}."
