"""The phases of a study with --front after its search: the networks are confirmed, then taught, then delivered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from search.config import StudyConfig
from search.format import with_noun
from search.front.choice import choose_points, name_points
from search.front.training import deliver_best, plan_front, train_students, trained_points, write_front
from search.records.models import ConfirmRecord, TrialRecord
from search.refit.confirmation import confirm, n_confirmed
from search.refit.finalists import nothing_to_confirm
from search.refit.retraining import deliver_better, forget_stale
from search.refit.round import FinalRound


def confirm_front(
    final: FinalRound,
    trials: Sequence[TrialRecord],
    config: StudyConfig,
    n_test: int,
    announce: Callable[..., None],
) -> ConfirmRecord:
    """Choose the networks of the front, train them as finalists, and return the record of the best of them.

    Args:
        final: Where trainings run.
        trials: Every trial of the study.
        config: The study's options.
        n_test: Test images.
        announce: Is told of a phase, of how many trainings it has, and how many of them are done.

    Raises:
        UserError: No trial came far enough to be confirmed.
        TrainingFailed: Every network's training failed.
    """
    points = choose_points(trials, config.metric)
    is_any_trained = any(point.images_per_second for point in points)
    if not points or (config.timeout is not None and not is_any_trained):
        raise nothing_to_confirm(trials, config.trials, config.timeout)
    write_front(final, name_points(points))
    announce("planning the full trainings")
    plan = plan_front(final, points, config.refit_seeds, n_test)
    announce(f"training {with_noun(len(points), 'network')} of the front", len(points), n_confirmed(final, points))
    return confirm(final, points, plan)[0]


def refit_front(final: FinalRound, winner: ConfirmRecord, n_seeds: int, announce: Callable[..., None]) -> ConfirmRecord:
    """Train students of every network of the front, and deliver the better of each network's first and its own.

    All learn from the same average of the best finalists. The one that is best then, on the confirmation split, is the
    study's single network, best.keras.

    Args:
        final: Where trainings run.
        winner: The best finalist.
        n_seeds: Students of each network; those that an earlier run finished count.
        announce: As for `confirm_front`.

    Returns:
        The record of the finalist whose recipe best.keras has.

    Raises:
        TrainingFailed: A student's training met a bug.
        Interrupted: The run is to stop.
    """
    points = trained_points(final)
    for point in points:
        forget_stale(point.final.files, point.finalist)
    obstacles = train_students(final, winner, points, n_seeds, announce)
    scores = []
    for point in points:
        first = deliver_better(point.final, point.finalist, obstacles.get(point.record.name, ""))[0]
        assert first.score is not None, "finalists and students are scored"
        scores.append(first.score)
    write_front(final, tuple(point.record for point in points))  # without those whose trainings failed
    best = points[scores.index(max(scores))]  # of equal ones the cheapest
    deliver_best(final, best)
    return best.finalist
