"""What does the report say of a study without test images: what its figures are of, and what they leave open?"""

from __future__ import annotations

from fmnist.metrics.intervals import Interval, score_95
from search.format import count, percent, percent_range, points
from search.report.analysis.evidence import TrainingEvidence
from search.report.text.certainty import against_default
from search.report.text.data import capitalized, uneven_classes
from search.report.text.delivery import averages, delivered
from search.results.result import TrainedStudy

UNTESTED = (
    "No test images were given, so how good the model is on new images is not measured here: score it on images that "
    "are not among these."
)


def confirmed_interval(study: TrainedStudy) -> Interval:
    """Wilson 95 % interval of the delivered model's accuracy on the confirmation split."""
    return study.on_confirmation(study.confirm_accuracy)


def confirmed_score_interval(study: TrainedStudy, evidence: TrainingEvidence) -> Interval:
    """95 % interval of what the delivered model has on the confirmation split by the study's metric."""
    return score_95(study.metric, *evidence.confirmed)


def confirmed(study: TrainedStudy) -> str:
    """How good the delivered model is on the images that chose it, and why that flatters.

    Such as: "On the confirmation split (n = 300), from which no network learned, the delivered model has 97.00 %. It
    is the best of 4 networks that were compared there, so the figure flatters a little."
    """
    n_compared = len(study.confirmed) + min(1, len(study.students))
    chosen = "It alone was tried there, so nothing was chosen by the figure."
    if n_compared > 1:
        chosen = f"It is the best of {count(n_compared)} networks that were compared there, so the figure flatters a "
        chosen += "little."
    return (
        f"On the confirmation split (n = {count(study.data.n_images['confirmation'])}), from which no network learned, "
        f"the delivered model has {percent(study.confirm_accuracy)}{_of_accuracy(study)}, 95 % interval "
        f"{percent_range(confirmed_interval(study))}. {chosen}"
    )


def ensemble(study: TrainedStudy, evidence: TrainingEvidence) -> str:
    """What the ensemble is made of, and how good it is on the images that its members were chosen by."""
    assert study.ensemble is not None
    difference = study.ensemble.confirm_accuracy - study.confirm_accuracy
    compared = "as much as the delivered model"
    if points(difference) != points(0):
        compared = f"{points(difference)} {'more' if difference > 0 else 'less'} than the delivered model"
    return (
        f"{averages(study.ensemble, evidence.members)} There it has "
        f"{percent(study.ensemble.confirm_accuracy)}{_of_accuracy(study)}, {compared}; the choice flatters both."
    )


def strengths_and_limits(study: TrainedStudy, evidence: TrainingEvidence) -> list[tuple[str, str]]:
    """What a reader in a hurry should know: (heading, what is to be said), in the report's order."""
    said = [("No test images", UNTESTED)]
    which = delivered(study, evidence)
    if which is not None:
        said.append(("What is delivered", which))
    if study.ensemble is not None:
        said.append(("The ensemble", ensemble(study, evidence)))
    if study.balance.is_uneven:
        said.append(("Uneven classes", f"{capitalized(uneven_classes(study.balance))}."))
    return [*said, ("Against the default recipe", against_default(study))]


def _of_accuracy(study: TrainedStudy) -> str:
    """What a share is of, where another metric stands beside it."""
    return "" if study.metric == "accuracy" else " accuracy"
