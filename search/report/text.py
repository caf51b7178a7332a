"""What a report says in words: numbers in, sentences out. Plain text, no markup."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from fmnist.export.formats import ExportRecord, find_format, in_figures
from fmnist.metrics.evaluation import Confusion, Evaluation
from search.format import count, duplicates_in_words, duration, milliseconds, percent, points, short_count, with_noun
from search.records.models import FINISHED_STATES, ConfirmRecord, TrialRecord
from search.report.analysis import Calibration, PairedComparison, RejectionCurvePoint, Rung, SelectionBias
from search.results import Balance, FinishedStudy

STATE_WORDS = {
    "complete": "trained to the end",
    "pruned": "stopped early",
    "failed": "failed",
    "infeasible": "outside the limits",
}


# ---------------------------------------------------------------------------------------------------------- numbers


# --------------------------------------------------------------------------------------------------------- headline


def headline(study_result: FinishedStudy) -> str:
    winner = study_result.winner
    by = "the default recipe" if winner is study_result.default else f"trial {winner.trial}"
    return (
        f"Of {with_noun(len(study_result.trials), 'trial')} ({trial_states(study_result)}) and "
        f"{with_noun(len(study_result.confirmed), 'confirmed finalist')}, {by} won."
    )


def trial_states(study_result: FinishedStudy) -> str:
    return ", ".join(f"{n} {STATE_WORDS[state]}" for state, n in study_result.n_by_state.items() if n)


def test_spread(study_result: FinishedStudy) -> str:
    n = len(study_result.test_accuracies)
    if study_result.test_sd is None:
        return "one retraining, so the spread over seeds is not known"
    low, high = min(study_result.test_accuracies), max(study_result.test_accuracies)
    return (
        f"mean ± sample standard deviation of {n} retrainings with different seeds ({percent(low)} to {percent(high)})"
    )


def strengths_and_limits(study_result: FinishedStudy, calibration: Calibration) -> list[tuple[str, str]]:
    """Each a heading and what is to be said."""
    uneven = [("Uneven classes", uneven_on_test(study_result))] if study_result.balance.is_uneven else []
    return [
        ("Best and worst classes", best_and_worst_classes(study_result.evaluation)),
        *uneven,
        ("Most confused", confusion_finding(study_result.evaluation)),
        ("From selection to test", gap(study_result)),
        ("Against the default recipe", against_default(study_result)),
        ("Seeds", seeds(study_result)),
        ("Confidence", calibration_in_short(calibration, study_result.evaluation.accuracy)),
    ]


def best_and_worst_classes(evaluation: Evaluation) -> str:
    ranked = sorted(evaluation.per_class, key=lambda score: -score.f1)
    best, worst = ranked[0], ranked[-1]
    if best.f1 == worst.f1:
        return f"All {len(ranked)} classes have the same F1 of {best.f1:.3f}."
    return f"{best.name} is told best (F1 {best.f1:.3f}), {worst.name} worst (F1 {worst.f1:.3f})."


def remarks_on_data(study_result: FinishedStudy) -> list[str]:
    """What was decided or noticed when the images were read, and of images that occur twice."""
    data = study_result.data
    duplicates = duplicates_in_words(data.duplicates) if data.duplicates is not None else []
    return [f"{said[0].upper()}{said[1:]}." for said in (*data.notes, *duplicates)]


def uneven_classes(balance: Balance) -> str:
    return (
        f"the classes are uneven: {balance.rarest} has {percent(balance.share_of_rarest, 1)} of the training images "
        f"({count(balance.n_rarest)}), {balance.commonest} {percent(balance.n_commonest / balance.n_images, 1)} "
        f"({count(balance.n_commonest)}). Every choice is made by accuracy, to which a class counts by its images"
    )


def uneven_on_test(study_result: FinishedStudy) -> str:
    said = uneven_classes(study_result.balance)
    return (
        f"{said[0].upper()}{said[1:]}. Balanced accuracy, the mean of the classes' recalls, is "
        f"{percent(study_result.evaluation.balanced_accuracy)} against {percent(study_result.evaluation.accuracy)} accuracy; "
        f"always answering {study_result.balance.commonest} would be right on {percent(study_result.commonest_test_share, 1)} "
        "of the test images."
    )


def confusion_finding(evaluation: Evaluation) -> str:
    if not evaluation.most_confused:
        return f"Not one of {with_noun(evaluation.n_images, 'test image')} is classified wrongly."
    n_mistakes = sum(sum(row) for row in evaluation.confusion_matrix) - sum(
        row[i] for i, row in enumerate(evaluation.confusion_matrix)
    )
    top = evaluation.most_confused[0]
    return (
        f"{pair(top)} is the commonest mistake: {with_noun(top.n_images, 'image')}, {percent(top.share, 1)} of the class "
        f"{top.true} and {percent(top.n_images / n_mistakes, 0)} of all {with_noun(n_mistakes, 'mistake')}."
    )


def pair(confusion: Confusion) -> str:
    return f"{confusion.true} taken for {confusion.predicted}"


def gap(study_result: FinishedStudy) -> str:
    winner, test = study_result.winner, study_result.test_mean
    chain = (
        f"The winner has {percent(winner.selection_accuracy)} on the selection split, "
        f"{percent(winner.confirm_accuracy)} on the confirmation split and {percent(test)} on the test set. "
    )
    drop = winner.selection_accuracy - winner.confirm_accuracy
    first = (
        f"The first step down, {points(drop)}, is what choosing flatters: the search looked at the selection split "
        f"in every trial, at the confirmation split once per finalist. "
        if drop > 0
        else "The figure that the search chose by is not above the one that it never saw, so it doesn't flatter. "
    )
    step = test - winner.confirm_accuracy
    second = f"From confirmation to test, after retraining on all training images, it is {points(step)} "
    return chain + first + second + ("more." if step > 0 else "less." if step < 0 else "either way.")


def luck(study_result: FinishedStudy, selection_bias: SelectionBias) -> str:
    """What the best of so many equal configurations would show."""
    selection, confirm = selection_bias.selection_luck, selection_bias.confirm_luck
    n_selection, n_confirmation = (count(study_result.data.n_images[name]) for name in ("selection", "confirmation"))
    return (
        f"{with_noun(selection_bias.n_tried, 'configuration')} were scored on {n_selection} selection images. Were all of them "
        f"exactly {percent(selection_bias.confirm_accuracy)} good, the best would show {percent(selection.expected)} there "
        f"on average, and in one case of twenty more than {percent(selection.high)}, by luck alone. The best of "
        f"{with_noun(selection_bias.n_finalists, 'equal finalist')} would show {percent(confirm.expected)} on the "
        f"{n_confirmation} confirmation images. That is the most that luck does: real configurations fail on the same "
        "difficult images. This study opened its test set once, for what had been chosen; it can't know whether the "
        "same images were looked at before, in another study whose outcome led to this one."
    )


def against_default(study_result: FinishedStudy) -> str:
    default, winner = study_result.default, study_result.winner
    if default is None:
        return "The default recipe was not among the finalists, so there is nothing to compare with."
    if default is winner:
        return "The default recipe itself won: the search found nothing better on the confirmation split."
    difference = winner.confirm_accuracy - default.confirm_accuracy
    overlaps = study_result.confirm_interval(winner).overlaps(study_result.confirm_interval(default))
    verdict = (
        "the two 95 % intervals overlap, so these images alone don't settle which is better"
        if overlaps
        else "the two 95 % intervals don't overlap"
    )
    return (
        f"On the confirmation split the winner is {points(difference)} {'above' if difference >= 0 else 'below'} the "
        f"default ({percent(winner.confirm_accuracy)} against {percent(default.confirm_accuracy)}, "
        f"n = {count(study_result.data.n_images['confirmation'])}); {verdict}."
    )


def seeds(study_result: FinishedStudy) -> str:
    if study_result.test_sd is None:
        return "The winner was retrained with one seed: how far another seed would land is not known."
    return (
        f"{len(study_result.test_accuracies)} retrainings differ in nothing but the seed; their test accuracies have a "
        f"standard deviation of {points(study_result.test_sd)}. The 95 % interval speaks of other test images, not of "
        "seeds."
    )


def calibration(found: Calibration) -> str:
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
    before = found.before
    return (
        f"The delivered model is on average {percent(before.mean_confidence, 1)} confident and "
        f"{percent(accuracy, 1)} right; its expected calibration error is {points(before.expected_calibration_error)}, "
        f"{points(found.after.expected_calibration_error)} with the temperature in temperature.json."
    )


def same_in_fresh_process(study_result: FinishedStudy) -> str:
    fresh, here = study_result.test.delivered_accuracy, study_result.evaluation.accuracy
    if math.isclose(fresh, here, abs_tol=0.5 / study_result.evaluation.n_images):
        return "The saved file, loaded in a fresh process without this project, gives the same accuracy."
    return f"The saved file, loaded in a fresh process without this project, gives {percent(fresh)} instead."


def abstaining(rows: Sequence[RejectionCurvePoint]) -> str:
    whole, *others = rows
    row = next((row for row in others if row.share_left >= 0.05), others[-1])
    if row.accuracy_left is None:
        return "There are too few test images to say what it would bring to leave the least sure ones to someone else."
    verb = "raises" if row.accuracy_kept > whole.accuracy_kept else "does not raise"
    return (
        f"Leaving the least sure {percent(row.share_left, 0)} of the images to someone else {verb} accuracy: "
        f"{percent(whole.accuracy_kept)} on all, {percent(row.accuracy_kept)} on the rest; on those left, the model "
        f"would have had {percent(row.accuracy_left, 1)}."
    )


def label_issues(n_suspects: int, n_models: int, n_mistakes: int) -> str:
    if n_models == 1:
        return "Not looked for: one retraining alone cannot tell a wrong label from its own mistake."
    if n_suspects == 0:
        return f"None: on no image are all {n_models} retrainings, calibrated, at least 90 % sure of one other class."
    return (
        f"On {with_noun(n_suspects, 'image')} all {n_models} retrainings, calibrated, are at least 90 % sure of one and "
        f"the same other class: {percent(n_suspects / n_mistakes, 0)} of the delivered model's "
        f"{with_noun(n_mistakes, 'mistake')}. These are suspicions, not findings: the models learned from the same labels "
        "and share their blind spots."
    )


def changed_images(study_result: FinishedStudy) -> str:
    mildest, worst = study_result.test.changed[0], min(study_result.test.changed, key=lambda row: row.accuracy)
    return (
        f"On unchanged images the delivered model has {percent(study_result.evaluation.accuracy, 1)}, on images "
        f"{mildest.change} {percent(mildest.accuracy, 1)}, and least with this change: {worst.change}, "
        f"{percent(worst.accuracy, 1)}."
    )


def paired_comparisons(found: Sequence[PairedComparison]) -> str:
    """Whom the winner beats beyond chance."""
    beaten = [rival for rival in found if rival.p_adjusted < 0.05 and rival.test.n_only_a > rival.test.n_only_b]
    better = [rival for rival in found if rival.p_adjusted < 0.05 and rival.test.n_only_a < rival.test.n_only_b]
    if not found:
        return "There is no one to compare with."
    said = f"The winner is better than {len(beaten)} of {count(len(found))} beyond chance"
    worse = f", and worse than {', '.join(rival.name for rival in better)}" if better else ""
    return f"{said}{worse} (exact McNemar test on the same images, 5 % level, Holm's correction)."


# ------------------------------------------------------------------------------------------------- network, learning


def learning(record: ConfirmRecord, n_train: int) -> str:
    best = record.best
    epoch = best.n_images / n_train
    return (
        f"The best point is at epoch {epoch:.1f} of {record.n_planned_images / n_train:.1f} with "
        f"{percent(best.validation_accuracy)} validation accuracy; there the training accuracy, on augmented images, "
        f"is {percent(best.train_accuracy)}."
    )


# ----------------------------------------------------------------------------------------------------------- search


def history(trials: Sequence[TrialRecord]) -> str:
    complete = [trial for trial in trials if trial.value is not None]
    if not complete:
        return "No trial was trained to its end."
    best = max(complete, key=lambda trial: trial.value)
    before = sum(trial.number < best.number for trial in trials)
    after = len(trials) - before - 1
    return (
        f"The best selection accuracy of the search, {percent(best.value)}, came with trial {best.number} "
        f"({best.origin}); {with_noun(after, 'trial')} after it brought nothing better."
    )


def survival(rungs: Sequence[Rung]) -> str:
    if not rungs:
        return "No trial was trained."
    first, last = rungs[0], rungs[-1]
    return (
        f"{count(first.n_ended)} of {with_noun(first.n_reached, 'trained trial')} ended after {count(first.n_images)} "
        f"training images; {count(last.n_ended)} saw {count(last.n_images)}."
    )


def anytime(curve: Sequence[tuple[int, float]], n_images: int) -> str:
    at, best = curve[-1]
    near = next(n for n, value in curve if value >= best - 0.005)
    return (
        f"The last improvement, to {percent(best)}, came after {percent(at / n_images, 0)} of the search's "
        f"{short_count(n_images)} training images; half a point below it was reached after {percent(near / n_images, 0)}."
    )


def endings(trials: Sequence[TrialRecord]) -> list[tuple[str, str, int]]:
    """(state, reason, number of trials), by state, most trials first. Reasons that differ in a trial's own figures
    count as one."""
    counts = Counter((trial.state, _without_figures(_first_line(trial.reason))) for trial in trials)
    order = {state: i for i, state in enumerate(FINISHED_STATES)}
    ranked = sorted(counts.items(), key=lambda item: (order[item[0][0]], -item[1], item[0][1]))
    return [(state, reason, n) for (state, reason), n in ranked]


def _without_figures(reason: str) -> str:
    """The reason with numbers left out, but for the rung a trial was pruned at, which many have in common."""
    if reason.startswith("pruned after"):
        return reason.split(", at ")[0]
    return re.sub(r"\d[\d,.]*\d|\d", "…", reason)


def _first_line(text: str, limit: int = 140) -> str:
    line = (text.splitlines() or [""])[0]
    return line if len(line) <= limit else line[: limit - 1] + "…"


def importance(importances: dict[str, float]) -> str:
    ranked = sorted(importances, key=importances.get, reverse=True)
    total = sum(importances.values()) or 1.0
    return f"{ranked[0]} weighs most, with {percent(importances[ranked[0]] / total, 0)} of the importance."


IMPORTANCE_CAVEAT = (
    "Importance says which parameters set good trials apart from others within the ranges searched; it doesn't say "
    "which value is good, changes with the ranges, and is uncertain with few trials."
)
IMPORTANCE_ABSENT = (
    "Not shown: importance needs several trials that were trained to the end and differ in their parameters and "
    "results."
)


def finalists(study_result: FinishedStudy) -> str:
    if len(study_result.confirmed) == 1:
        return "One finalist: nothing was left to choose on the confirmation split."
    first, second = study_result.confirmed[:2]
    overlap = study_result.confirm_interval(first).overlaps(study_result.confirm_interval(second))
    lead = points(first.confirm_accuracy - second.confirm_accuracy)
    return (
        f"Trial {first.trial} leads trial {second.trial} by {lead}; "
        f"their 95 % intervals {'overlap' if overlap else 'do not overlap'}."
    )


def exports(study_result: FinishedStudy) -> str:
    """What became of the formats, in one sentence."""
    made, n_failed = study_result.exported, len(study_result.exports) - len(study_result.exported)
    failed = f"{with_noun(n_failed, 'format')} failed" if n_failed else ""
    if not made:
        return f"{failed}, so there is no other file of the model than {study_result.files.model.name}."
    exact = [record for record in made if find_format(record.format).is_exact]
    said = [
        _same_numbers(exact) if exact else "",
        *(_fewer_bits(study_result, record) for record in made if record not in exact),
        _fastest(made),
        failed,
    ]
    sentence = f"{'; '.join(part for part in said if part)}."
    return sentence[0].upper() + sentence[1:]


def _same_numbers(exact: Sequence[ExportRecord]) -> str:
    """What is to be said of the formats that keep float32."""
    furthest = max(exact, key=lambda record: record.largest_difference)
    n_changed = max(record.n_images - record.n_same_class for record in exact)
    n_images = with_noun(furthest.n_images, "test image")
    who = "The file in float32 gives" if len(exact) == 1 else f"{len(exact)} files in float32 give"
    whom = f"all {n_images}" if n_changed == 0 else f"all but {n_changed} of {n_images}"
    near = in_figures(furthest.largest_difference)
    return f"{who} {whom} the model's class and probabilities within {near} of its own"


def _fewer_bits(study_result: FinishedStudy, record: ExportRecord) -> str:
    n_changed = record.n_images - record.n_same_class
    changed = f"{with_noun(n_changed, 'image')} ({percent(n_changed / record.n_images)})" if n_changed else "no image"
    return (
        f"with weights in 8 bits, {changed} got another class, and the file has "
        f"{percent(record.n_bytes / study_result.model_bytes, 0)} of the size of {study_result.files.model.name}"
    )


def _fastest(made: Sequence[ExportRecord]) -> str:
    if len(made) == 1:
        return f"an image alone takes {milliseconds(made[0].milliseconds_by_1)}"
    first = min(made, key=lambda record: record.milliseconds_by_1)
    return (
        f"for an image alone {find_format(first.format).description} is fastest, "
        f"{milliseconds(first.milliseconds_by_1)}"
    )


def export_limits(study_result: FinishedStudy) -> str:
    """What a file had to keep to."""
    formats = [find_format(record.format) for record in study_result.exports]
    limits = {format.is_exact: format.limit for format in formats}
    said = [f"a file in float32 is kept where {limits[True]}" if True in limits else ""]
    said.append(f"one with weights in 8 bits where {limits[False]}" if False in limits else "")
    sentence = f"{', '.join(part for part in said if part)}."
    return sentence[0].upper() + sentence[1:]


def time_spent(study_result: FinishedStudy) -> str:
    total = sum(study_result.seconds.values())
    if not total:
        return "No time was recorded."
    phase = max(study_result.seconds, key=study_result.seconds.get)
    return (
        f"{duration(total)} of wall time in all, {percent(study_result.seconds[phase] / total, 0)} of it in the phase "
        f"“{phase}”.{_overhead(study_result.search_overhead)}"
    )


def _overhead(share: float | None) -> str:
    if share is None:
        return ""
    return (
        f" Of the search's time, workers summed, {percent(share, 1)} went into neither learning nor validation: "
        f"starts of processes, compiling, the sampler."
    )


def flip_averaged(study_result: FinishedStudy) -> str | None:
    """Test accuracy with flip test-time averaging, in words; None where the recipe knows no mirror images."""
    values = study_result.test.flip_accuracies
    if not values:
        return None
    spread = ", ".join(percent(value) for value in values)
    return f"{spread}: each image predicted twice, as it is and mirrored, probabilities averaged; best.keras does not"
