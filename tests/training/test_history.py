from __future__ import annotations

from fmnist.training.history import HistoryPoint, best_point


def point(n_images: int, validation_accuracy: float | None) -> HistoryPoint:
    return HistoryPoint(n_images, 1.0, 0.01, 0.5, 0.8, None, validation_accuracy)


def test_best_point_is_the_first_with_the_highest_validation_accuracy() -> None:
    history = [point(1, 0.5), point(2, 0.7), point(3, None), point(4, 0.7), point(5, 0.6)]
    assert best_point(history) is history[1]


def test_without_validation_there_is_no_best_point() -> None:
    assert best_point([point(1, None)]) is None
    assert best_point([]) is None


def test_score_by_another_metric_decides_in_place_of_the_accuracy() -> None:
    scores = [-0.9, -0.4, -0.5]  # of negative log losses
    history = [HistoryPoint(1, 1.0, 0.01, 0.5, 0.8, 0.9, 0.9 - i / 10, score) for i, score in enumerate(scores)]
    assert best_point(history) is history[1]


def test_history_of_a_study_by_accuracy_is_written_as_before_there_was_a_choice() -> None:
    assert "validation_score" not in point(1, 0.5).to_dict()
    scored = HistoryPoint(1, 1.0, 0.01, 0.5, 0.8, 0.9, 0.9, 0.25)
    assert HistoryPoint(**scored.to_dict()) == scored
