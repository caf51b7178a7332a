"""What does the report say first: what was found, how good it is, and where the time went?"""

from __future__ import annotations

import math

from search.format import duration, percent, with_noun
from search.report.analysis.evidence import Evidence
from search.report.text.certainty import against_default, calibration_in_short, from_selection_to_test, seeds
from search.report.text.data import uneven_on_test
from search.report.text.delivery import delivered, ensemble, kind_of_training, phase_words, trainings
from search.report.text.front import found as networks_of_every_size
from search.report.text.model import best_and_worst_classes, commonest_mistake
from search.results.card import STATE_WORDS
from search.results.result import FinishedStudy
from search.results.trainings import Trainings


def headline(study: Trainings) -> str:
    """How many configurations were tried, and which won.

    Such as: "Of 40 trials (16 trained to the end, 20 stopped early, 4 failed) and 4 finalists, trial 7 won."
    """
    winner = study.winner
    by = "the default recipe" if winner is study.default else f"trial {winner.trial}"
    states = ", ".join(f"{n} {STATE_WORDS[state]}" for state, n in study.n_by_state.items() if n)
    return (
        f"Of {with_noun(len(study.trials), 'trial')} ({states}) and "
        f"{with_noun(len(study.confirmed), 'finalist')}, {by} won."
    )


def test_spread(study: FinishedStudy) -> str:
    """What the mean test accuracy is the mean of, and how far these trainings lie apart.

    Such as: "mean ± sample standard deviation of 3 retrainings with different seeds (94.80 % to 95.10 %)". It
    stands behind the figure.
    """
    if study.test_sd is None:
        return f"one {kind_of_training(study)}, so the spread over seeds is not known"
    low, high = percent(min(study.test_accuracies)), percent(max(study.test_accuracies))
    return f"mean ± sample standard deviation of {trainings(study)} with different seeds ({low} to {high})"


def same_in_fresh_process(study: FinishedStudy) -> str:
    """Whether the saved model gives the same accuracy where it was loaded anew.

    It was measured by another process, which knows nothing of this project. A difference of less than half an image is
    none: the two sum in another order.
    """
    fresh, here = study.test.delivered_accuracy, study.evaluation.accuracy
    found = f"{percent(fresh)} instead"
    if math.isclose(fresh, here, abs_tol=0.5 / study.evaluation.n_images):
        found = "the same accuracy"
    if study.has_checksums:
        return f"The saved file, loaded in a fresh process without this project, gives {found}."
    return (
        f"When the test set was opened, the saved file, loaded in a fresh process without this project, gave {found}; "
        "that version kept no checksums, so whether the study's files are still the same was not checked."
    )


def flip_averaged(study: FinishedStudy) -> str | None:
    """Test accuracy with flip test-time averaging; None where the recipe was not trained on mirror images.

    Such as: "Each image predicted twice, as it is and mirrored, probabilities averaged; best.keras does not. One
    training each: 95.20 %, 95.10 %."
    """
    accuracies = study.test.flip_accuracies
    if not accuracies:
        return None
    how = "Each image predicted twice, as it is and mirrored, probabilities averaged; best.keras does not."
    if len(accuracies) == 1:
        return how
    return f"{how} One training each: {', '.join(map(percent, accuracies))}."


def strengths_and_limits(study: FinishedStudy, evidence: Evidence) -> list[tuple[str, str]]:
    """What a reader in a hurry should know.

    Args:
        study: a finished one.
        evidence: of its figures.

    Returns:
        (heading, what is to be said), in the report's order.
    """
    said, which = [], delivered(study, evidence)
    if study.front:
        said.append(("Networks of every size", networks_of_every_size(study)))
    if which is not None:
        said.append(("What is delivered", which))
    if evidence.ensemble is not None:
        said.append(("The ensemble", ensemble(study, evidence.ensemble)))
    said.append(("Best and worst classes", best_and_worst_classes(study.evaluation)))
    if study.balance.is_uneven:
        said.append(("Uneven classes", uneven_on_test(study)))
    return [
        *said,
        ("Most confused", commonest_mistake(study.evaluation)),
        ("From selection to test", from_selection_to_test(study)),
        ("Against the default recipe", against_default(study)),
        ("Seeds", seeds(study)),
        ("Confidence", calibration_in_short(evidence.calibration, study.evaluation.accuracy)),
    ]


def time_spent(study: Trainings) -> str:
    """How long the study took, which phase took longest, and what the search spent on other things than trainings.

    Such as: "1 h 23 min of wall time in all, 80 % of it in the phase “search”."
    """
    total = sum(study.seconds.values())
    if not total:
        return "No time was recorded."
    phase, seconds = max(study.seconds.items(), key=lambda item: item[1])
    name = phase_words(study)[phase]
    said = f"{duration(total)} of wall time in all, {percent(seconds / total, 0)} of it in the phase “{name}”."
    if study.search_overhead is None:
        return said
    return (
        f"{said} Of the search's time, workers summed, {percent(study.search_overhead, 1)} went into neither learning "
        "nor validation: starts of processes, compiling, the sampler."
    )
