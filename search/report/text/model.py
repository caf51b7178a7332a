"""What does the report say of the delivered model: how it learned, what it confuses, what it is not sure of?"""

from __future__ import annotations

from collections.abc import Sequence

from fmnist.metrics.evaluation import Confusion, Evaluation, RejectionCurvePoint
from search.format import percent, with_noun
from search.report.analysis.learning import LearningCurve
from search.results.result import FinishedStudy

SHARE_LEFT = 0.05  # of the images, left to someone else: what a sentence is made of


def learning(curve: LearningCurve) -> str:
    """Where the best point of a training lies, or where it ended if nothing was validated.

    Such as: "The best point is at epoch 9.2 of 10.0 with 94.10 % validation accuracy; there the training accuracy,
    on augmented images, is 95.00 %."

    Args:
        curve: of the training; it must have a point.
    """
    n_epochs, best, last = f"{curve.epochs(curve.n_planned_images):.1f}", curve.best, curve.history[-1]
    on_augmented = ", on augmented images" if curve.plan.augments else ""
    if best is None:
        return (
            f"It ended at epoch {curve.epochs(last.n_images):.1f} of {n_epochs} with a training accuracy of "
            f"{percent(last.train_accuracy)}{on_augmented}; nothing was held out to validate on."
        )
    return (
        f"The best point is at epoch {curve.epochs(best.n_images):.1f} of {n_epochs} with "
        f"{percent(best.validation_accuracy)} validation accuracy; there the training accuracy"
        f"{on_augmented + ',' if on_augmented else ''} is {percent(best.train_accuracy)}."
    )


def learning_note(curve: LearningCurve) -> str:
    """What the reader has to know to read a learning curve."""
    images = "augmented images" if curve.plan.augments else "images"
    figures = f"Training figures are means over {images} in the midst of learning, with dropout and label smoothing"
    whose = f"{curve.whose[:1].upper()}{curve.whose[1:]}"
    if curve.best is None:
        return (
            f"{whose}, on the training and the selection split. {figures}{curve.targets}, so they may look worse than "
            f"the finished network."
        )
    return (
        f"{whose}, on the training split; the star marks the best point, whose weights were scored. {figures}, so they "
        f"may look worse than validation."
    )


def best_and_worst_classes(evaluation: Evaluation) -> str:
    """The classes with the highest and the lowest F1.

    Such as: "Trouser is told best (F1 0.992), Shirt worst (F1 0.851)."
    """
    ranked = sorted(evaluation.per_class, key=lambda score: -score.f1)
    best, worst = ranked[0], ranked[-1]
    if best.f1 == worst.f1:
        return f"All {len(ranked)} classes have the same F1 of {best.f1:.3f}."
    return f"{best.name} is told best (F1 {best.f1:.3f}), {worst.name} worst (F1 {worst.f1:.3f})."


def commonest_mistake(evaluation: Evaluation) -> str:
    """The pair of classes that is confused most often.

    Such as: "Shirt taken for T-shirt/top is the commonest mistake: 82 images, 8.2 % of the class Shirt and 16 % of
    all 500 mistakes."
    """
    if not evaluation.most_confused:
        return f"Not one of {with_noun(evaluation.n_images, 'test image')} is classified wrongly."
    n_mistakes = 0
    for true, row in enumerate(evaluation.confusion_matrix):
        n_mistakes += sum(row) - row[true]
    top = evaluation.most_confused[0]
    return (
        f"{pair(top)} is the commonest mistake: {with_noun(top.n_images, 'image')}, {percent(top.share, 1)} of the "
        f"class {top.true} and {percent(top.n_images / n_mistakes, 0)} of all {with_noun(n_mistakes, 'mistake')}."
    )


def pair(confusion: Confusion) -> str:
    """The two classes of a confusion, such as `Shirt taken for Coat`."""
    return f"{confusion.true} taken for {confusion.predicted}"


def abstaining(rows: Sequence[RejectionCurvePoint]) -> str:
    """What it would bring to leave the least confident answers to someone else.

    Such as: "Leaving the least sure 5 % of the images to someone else raises accuracy: 94.00 % on all, 96.10 % on
    the rest; on those left, the model would have had 54.0 %."

    Args:
        rows: the rejection curve, its first point with all images.
    """
    whole, *others = rows
    row = next((row for row in others if row.share_left >= SHARE_LEFT), others[-1])
    if row.accuracy_left is None:
        return "There are too few test images to say what it would bring to leave the least sure ones to someone else."
    verb = "raises" if row.accuracy_kept > whole.accuracy_kept else "does not raise"
    return (
        f"Leaving the least sure {percent(row.share_left, 0)} of the images to someone else {verb} accuracy: "
        f"{percent(whole.accuracy_kept)} on all, {percent(row.accuracy_kept)} on the rest; on those left, the model "
        f"would have had {percent(row.accuracy_left, 1)}."
    )


def label_issues(n_suspects: int, n_models: int, n_mistakes: int) -> str:
    """How many test images may bear a wrong label, and what that is worth.

    Args:
        n_suspects: images that all delivered trainings are sure to belong to one other class.
        n_models: delivered trainings.
        n_mistakes: the delivered model's, on the test set.
    """
    if n_models == 1:
        return "Not looked for: one model alone cannot tell a wrong label from its own mistake."
    if n_suspects == 0:
        return f"None: on no image are all {n_models} models, calibrated, at least 90 % sure of one other class."
    return (
        f"On {with_noun(n_suspects, 'image')} all {n_models} models, calibrated, are at least 90 % sure of one "
        f"and the same other class: {percent(n_suspects / n_mistakes, 0)} of the delivered model's "
        f"{with_noun(n_mistakes, 'mistake')}. These are suspicions, not findings: the models learned from the same "
        "labels and share their blind spots."
    )


def changed_images(study: FinishedStudy) -> str:
    """How accuracy falls on changed test images, from the mildest change to the worst. Only where some were tried.

    Such as: "On unchanged images the delivered model has 94.0 %, on images moved by 1 px, one of four ways 93.2 %, and
    least with this change: upside down, 67.2 %."
    """
    mildest, worst = study.test.changed[0], min(study.test.changed, key=lambda row: row.accuracy)
    return (
        f"On unchanged images the delivered model has {percent(study.evaluation.accuracy, 1)}, on images "
        f"{mildest.change} {percent(mildest.accuracy, 1)}, and least with this change: {worst.change}, "
        f"{percent(worst.accuracy, 1)}."
    )
