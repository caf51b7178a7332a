"""What does the report say of the images: what was noticed when they were read, and are the classes even?"""

from __future__ import annotations

from fmnist.data.duplicates import Duplicates
from fmnist.scoring import Metric
from search.format import METRIC_WORDS, count, percent, with_noun
from search.results.balance import Balance
from search.results.result import FinishedStudy
from search.results.trainings import Trainings


def what_splits_are_for(study: Trainings) -> str:
    """What each part of the training images was used for."""
    if not study.has_unseen_confirmation:
        return "Training learns the weights; selection scores every trial; confirmation chooses among the finalists."
    return (
        "Trials learn from training and are scored on selection; all others learn from both. Confirmation "
        "chooses among these, and no network learns from it."
    )


def what_the_model_has_seen(study: Trainings) -> str:
    """How many training images the delivered model has learned from, and what the others were used for."""
    n = study.data.n_images
    n_searched = n["train"] + n["selection"]
    if not study.has_unseen_confirmation:
        return (
            f"{count(n_searched + n['confirmation'])} training images, all of which this model has seen (of these, "
            f"{count(n['selection'])} chose among configurations and {count(n['confirmation'])} among finalists before)"
        )
    return (
        f"{count(n_searched)} training images that this model has seen (of these, {count(n['selection'])} chose among "
        f"configurations before), {count(n['confirmation'])} that chose among trained networks and that none has seen"
    )


def remarks_on_data(study: Trainings) -> list[str]:
    """What was decided or noticed when the images were read, and how many of them occur twice.

    Each remark is a sentence. Studies from before duplicates were counted say nothing of them.
    """
    remarks = list(study.data.notes)
    if study.data.duplicates is not None:
        remarks += describe_duplicates(study.data.duplicates)
    return [f"{capitalized(remark)}." for remark in remarks]


def describe_duplicates(duplicates: Duplicates) -> list[str]:
    """How many images occur twice, and where; without full stops. One sentence says so if there is none.

    Such as: "3 training images repeat another one", "1 image bears the labels of several classes".
    """
    n_repeating, n_shared = duplicates.within_training, duplicates.across_splits
    n_ambiguous, n_leaked = duplicates.contradicting, duplicates.test_in_training
    sentences = []
    if n_repeating:
        sentences.append(
            f"{with_noun(n_repeating, 'training image')} {_verb(n_repeating, 'repeats', 'repeat')} another one"
        )
    if n_shared:
        verb = _verb(n_shared, "is", "are")
        sentences.append(f"{with_noun(n_shared, 'image')} {verb} in two of the splits that learn, select and confirm")
    if n_ambiguous:
        verb = _verb(n_ambiguous, "bears", "bear")
        sentences.append(f"{with_noun(n_ambiguous, 'image')} {verb} the labels of several classes")
    if n_leaked:
        said = f"{with_noun(n_leaked, 'test image')} {_verb(n_leaked, 'is', 'are')} among the training images too"
        sentences.append(f"{said}, so the test accuracy flatters")
    return sentences or ["No image occurs twice, pixel by pixel"]


def _verb(n: int, singular: str, plural: str) -> str:
    return singular if n == 1 else plural


HOW_CLASSES_COUNT: dict[Metric, str] = {
    "accuracy": "to which a class counts by its images",
    "balanced_accuracy": "to which every class counts the same",
    "macro_f1": "to which every class counts the same",
    "log_loss": "to which a class counts by its images",
}


def uneven_classes(balance: Balance, metric: Metric = "accuracy") -> str:
    """How uneven the classes are, and what follows; without a capital and a full stop, for a list of remarks.

    Such as: "the classes are uneven: tit has 8.8 % of the training images (438), owl 43.8 % (2,189). Every choice
    is made by accuracy, to which a class counts by its images"

    Args:
        balance: of the training images.
        metric: of the study.
    """
    return (
        f"the classes are uneven: {balance.rarest} has {percent(balance.share_of_rarest, 1)} of the training images "
        f"({count(balance.n_rarest)}), {balance.commonest} {percent(balance.n_commonest / balance.n_images, 1)} "
        f"({count(balance.n_commonest)}). Every choice is made by {METRIC_WORDS[metric]}, {HOW_CLASSES_COUNT[metric]}"
    )


def uneven_on_test(study: FinishedStudy) -> str:
    """How uneven the classes are, and what accuracy is worth on them.

    Such as: "The classes are uneven: ... Balanced accuracy, the mean of the classes' recalls, is 91.00 % against
    94.00 % accuracy; always answering owl would be right on 43.8 % of the test images."
    """
    balanced, plain = percent(study.evaluation.balanced_accuracy), percent(study.evaluation.accuracy)
    uneven = capitalized(uneven_classes(study.balance, study.metric))
    return (
        f"{uneven}. Balanced accuracy, the mean of the classes' recalls, is {balanced} against {plain} accuracy; "
        f"always answering {study.balance.commonest} would be right on {percent(study.commonest_test_share, 1)} of the "
        "test images."
    )


def capitalized(text: str) -> str:
    """Begin the text with a capital and leave the rest as it is, names included."""
    return text[:1].upper() + text[1:]
