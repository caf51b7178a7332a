"""What does the report say of what is delivered: finalist, student or retraining, and the ensemble beside it?"""

from __future__ import annotations

from collections.abc import Sequence

from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.scoring import COUNT_CLASSES_ALIKE, Metric, score_of
from search.format import (
    METRIC_WORDS,
    count,
    file_size,
    in_metric,
    p_value,
    percent,
    percent_range,
    points,
    short_count,
    with_noun,
)
from search.records.models import ConfirmRecord, EnsembleRecord, RefitRecord
from search.report.analysis.evidence import EnsembleScore, Evidence, TrainingEvidence
from search.results.members import Member, averaged_in_words
from search.results.result import FinishedStudy
from search.results.trainings import Trainings

SIGNIFICANCE = 0.05
METRIC_MEANINGS: dict[Metric, str] = {
    "accuracy": "the share of images that are right",
    "balanced_accuracy": "the mean of the classes' recalls",
    "macro_f1": "the mean of the classes' F1",
    "log_loss": "the mean cross-entropy",
}
STUDENTS_LEARN = (
    "Students learn from the labels and from what their teachers predict on average for each image as the student sees "
    "it, shifted or erased alike (distillation, Hinton et al. 2015; Beyer et al. 2021)."
)
RETRAININGS_LEARN = (
    "A retraining has the finalist's recipe and images, and another seed: other first weights, another order of the "
    "images and other changes to them. Which of the two is better is largely chance, and their average is better than "
    "either as a rule."
)


def kind_of_training(study: Trainings) -> str:
    """What a delivered training is called: `student`, `training as a finalist`, or `retraining`."""
    return "training as a finalist" if study.delivers_finalist else study.refits[0].kind


def trainings(study: FinishedStudy) -> str:
    """How many trainings the test accuracy is of, such as `2 students` or `1 training as a finalist`."""
    return with_noun(len(study.test_accuracies), kind_of_training(study))


def phase_words(study: Trainings) -> dict[str, str]:
    """What each phase of the ledger is called in words: phase -> name."""
    words = {phase: phase for phase in study.seconds}
    further = (*study.students, *study.front_students)
    taught = study.has_unseen_confirmation and all(record.is_taught for record in further)
    return words | {"confirm": "finalists", "refit": "students" if taught else "retraining"}


def how_students_learn(study: Trainings) -> str:
    """What the further trainings of the winner's recipe have learned from; only where the study has any."""
    return STUDENTS_LEARN if study.students[0].is_taught else RETRAININGS_LEARN


def delivered(study: Trainings, evidence: TrainingEvidence) -> str | None:
    """Which training is delivered, and by which figures; None before version 0.7.0, when nothing else was trained.

    Such as: "The delivered model is student 0: the recipe of trial 7, taught by trial 7 (weight 0.60) and trial 3
    (0.40). On the confirmation split (n = 5,000) it has 95.10 %, and trial 7 itself 94.90 %."
    """
    if not study.has_unseen_confirmation:
        return None
    winner, own = study.winner, confirmed_in_words(study, study.winner)
    n = f"n = {count(study.data.n_images['confirmation'])}"
    if not study.students:
        return (
            f"The delivered model is trial {winner.trial}'s own training as a finalist: on the confirmation split "
            f"({n}) it has {own}, and nothing else was trained by its recipe that could be better."
        )
    first, taught = study.students[0], "with another seed"
    name = f"{first.kind} {first.seed_index}"
    if first.is_taught:
        taught = f"taught by {members_in_words(evidence.teachers)}"
    others = confirmed_in_words(study, first)
    if not study.delivers_finalist:
        return (
            f"The delivered model is {name}: the recipe of trial {winner.trial}, {taught}. On the "
            f"confirmation split ({n}) it has {others}, and trial {winner.trial}'s own training as a finalist {own}."
        )
    return (
        f"The delivered model is trial {winner.trial}'s own training as a finalist: on the confirmation split "
        f"({n}) it has {own}, and {name}, of the same recipe and {taught}, only {others}."
    )


def confirmed_in_words(study: Trainings, record: ConfirmRecord | RefitRecord) -> str:
    """What a training has on the confirmation split: `95.10 %`, or `95.10 % balanced accuracy` by another metric."""
    by = "" if study.metric == "accuracy" else f" {METRIC_WORDS[study.metric]}"
    return f"{in_metric(study.metric, record.score)}{by}"


def decided_by(study: Trainings) -> str:
    """What decided in this study, and what its losses did about rare classes; for a study by another metric.

    Such as: "Trials, finalists and students were compared by balanced accuracy, the mean of the classes' recalls, and
    in all losses an image counted the more the rarer its class is."
    """
    losses = "all images counted the same in the losses"
    if study.config.get("class_weights") == "balanced":
        losses = "in all losses an image counted the more the rarer its class is"
    return (
        f"Trials, finalists and {study.kind_of_student}s were compared by {METRIC_WORDS[study.metric]}, "
        f"{METRIC_MEANINGS[study.metric]}, and {losses}. Teachers and ensemble were weighted by cross-entropy"
        f"{', in which every class counted alike' if study.metric in COUNT_CLASSES_ALIKE else ''}. Tests of single "
        "images (McNemar's) are of accuracy."
    )


def members_in_words(members: Sequence[Member]) -> str:
    """Name the networks of an average with their weights, such as `trial 7 (weight 0.60) and student 1 (0.40)`."""
    if len(members) == 1:
        return f"{members[0].name} alone"
    named = []
    for member in members:
        named.append(f"{member.name} ({'' if named else 'weight '}{member.weight:.2f})")
    return f"{', '.join(named[:-1])} and {named[-1]}"


def ensemble_in_short(study: FinishedStudy, score: EnsembleScore) -> str:
    """What the ensemble is made of, such as "the average of 3 networks, 1.20 M parameters in all"."""
    assert study.ensemble is not None
    n_parameters = short_count(study.ensemble.n_parameters)
    return f"the average of {averaged_in_words(study.ensemble)}, {n_parameters} parameters in all"


def ensemble(study: FinishedStudy, score: EnsembleScore) -> str:
    """What the ensemble is, how good, and whether it beats the delivered model beyond chance.

    Such as: "The ensemble averages trial 7 (weight 0.60) and student 1 (0.40), chosen among 5 networks on the
    confirmation split. On the test set it has 95.40 %, 0.30 points more than the delivered model: ..."
    """
    assert study.ensemble is not None
    test, rival = score.rival.test, score.rival
    difference = rival.accuracy - study.evaluation.accuracy
    compared = "as much as the delivered model"
    if points(difference) != points(0):
        compared = f"{points(difference)} {'more' if difference > 0 else 'less'} than the delivered model"
    settles = "these images don't settle which is better"
    if rival.p_adjusted < SIGNIFICANCE:
        settles = "that is more than chance explains (exact McNemar test, 5 % level)"
    return (
        f"{averages(study.ensemble, score.members)} On the test set it has "
        f"{percent(rival.accuracy)} (95 % interval {percent_range(score.accuracy_interval)}), {compared}: it alone is "
        f"right on {with_noun(test.n_only_b, 'image')}, the delivered model alone on {count(test.n_only_a)}; {settles}."
    )


def averages(ensemble: EnsembleRecord, members: Sequence[Member]) -> str:
    """What the ensemble averages, and what it was chosen from, as a sentence.

    Such as: "The ensemble averages the probabilities of trial 7 (weight 0.60) and student 1 (0.40), each for an image
    and its mirror image, chosen among 5 networks on the confirmation split."
    """
    averaged = members_in_words(members)
    if len(members) == 1:
        averaged = f"{members[0].name} for an image and its mirror image"
    elif ensemble.mirrored:
        averaged += ", each for an image and its mirror image"
    chosen = f"chosen among {with_noun(ensemble.n_candidates, 'network')} on the confirmation split"
    if ensemble.n_candidates == 1:
        chosen = "which is better on the confirmation split than the image alone"
    return f"The ensemble averages the probabilities of {averaged}, {chosen}."


def ensemble_rows(study: FinishedStudy, evidence: Evidence) -> list[tuple[str, str, str]]:
    """Set the ensemble's figures beside those of the delivered model; only where the study has an ensemble.

    Returns:
        (what, of the ensemble, of the delivered model) in the report's order.
    """
    score, calibration, single = evidence.ensemble, evidence.calibration, study.evaluation
    assert score is not None and study.ensemble is not None and study.ensemble_bytes is not None
    record, averaged, architecture = study.ensemble, score.calibration, study.recipe.architecture
    before, own = averaged.before, calibration.before
    after, own_after = averaged.after, calibration.after
    p = p_value(score.rival.p_adjusted)
    decisive = []
    if study.metric != "accuracy":
        name = f"{METRIC_WORDS[study.metric].capitalize().replace('f1', 'F1')}, which decided"
        of_single = score_of(study.metric, study.arrays.labels, study.arrays.probabilities[0])
        decisive.append((name, in_metric(study.metric, study.ensemble_score), in_metric(study.metric, of_single)))
    return [
        *decisive,
        ("Test accuracy", percent(score.rival.accuracy), percent(single.accuracy)),
        ("Wilson 95 % interval", percent_range(score.accuracy_interval), percent_range(single.accuracy_interval)),
        ("Right alone", with_noun(score.rival.test.n_only_b, "image"), with_noun(score.rival.test.n_only_a, "image")),
        ("p, exact McNemar", p, p),
        ("Macro F1", f"{score.macro_f1:.3f}", f"{single.macro_f1:.3f}"),
        ("Log loss", f"{before.log_loss:.4f}", f"{own.log_loss:.4f}"),
        (
            "Calibration error (15 bins)",
            points(before.expected_calibration_error),
            points(own.expected_calibration_error),
        ),
        ("Temperature that calibrates it", f"{averaged.temperature:.2f}", f"{calibration.temperature:.2f}"),
        (
            "Calibration error with that",
            points(after.expected_calibration_error),
            points(own_after.expected_calibration_error),
        ),
        *([("Predicts", "an image and its mirror image", "an image")] if record.mirrored else []),
        ("Parameters", count(record.n_parameters), count(count_parameters(architecture))),
        ("Multiply-adds an image", count(record.multiply_adds), count(count_multiply_adds(architecture))),
        ("Size of the file", file_size(study.ensemble_bytes), file_size(study.model_bytes)),
    ]
