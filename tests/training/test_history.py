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
