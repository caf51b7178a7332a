"""Charts of a report: how a parameter's values become places on an axis, and which trials its axis shows."""

from __future__ import annotations

from typing import Any

import pytest

from search.records.models import TrialRecord
from search.report.analysis.trials import accuracy_floor, best_so_far, improvements
from search.report.charts.search import AccuracyAxis, Scale


@pytest.mark.parametrize(
    ("values", "labels", "places"),
    [
        (["relu", "elu", "relu"], ("elu", "relu"), {"elu": 0.0, "relu": 1.0}),
        ([True, False], ("no", "yes"), {False: 0.0, True: 1.0}),
        ([64, 16, 16], ("16", "64"), {16: 0.0, 64: 1.0}),
        ([0.1, 0.5], (), {0.1: 0.1, 0.5: 0.5}),
        ([1, 2, 3, 4, 5, 6, 7], (), {1: 1.0, 7: 7.0}),
    ],
    ids=["words", "truth values", "few whole numbers", "floats", "many whole numbers"],
)
def test_values_have_strips_unless_they_are_numbers_of_many_kinds(
    values: list[Any], labels: tuple[str, ...], places: dict[Any, float]
) -> None:
    scale = Scale.of(values)
    assert scale.labels == labels
    assert {value: scale.place(value) for value in places} == places


@pytest.mark.parametrize(
    ("values", "is_logarithmic"), [([0.001, 0.05], True), ([0.001, 0.04], False), ([0, 9.5], False)]
)
def test_axis_is_logarithmic_where_values_span_magnitudes(values: list[float], is_logarithmic: bool) -> None:
    assert Scale.of(values).is_logarithmic is is_logarithmic


def trial(number: int, value: float | None, finished: int, n_images: int = 10) -> TrialRecord:
    state = "failed" if value is None else "complete"
    moment = f"2026-01-02T03:{finished:02}:00+00:00"
    return TrialRecord(number, state, value, {}, "sampler", "", n_images=n_images, finished=moment)


def test_best_so_far_counts_trials_as_they_ended_and_goes_to_the_end() -> None:
    trials = [
        trial(0, 0.7, finished=3),
        trial(1, 0.8, finished=1),
        trial(2, 0.9, finished=4),
        trial(3, None, finished=5),
    ]
    states = [(state.n_trials, state.n_images, state.selection_accuracy) for state in best_so_far(trials)]
    assert states == [(1, 10, 0.8), (3, 30, 0.9), (4, 40, 0.9)]
    assert improvements(trials) == best_so_far(trials)[:2]
    assert best_so_far(trials[3:]) == improvements(trials[3:]) == ()


def test_trial_without_a_score_or_far_below_lies_under_the_floor() -> None:
    trials = [trial(i, value, i) for i, value in enumerate((0.1, 0.9, 0.91, 0.92, 0.93, None))]
    axis = AccuracyAxis.of(trials)
    assert axis.floor == accuracy_floor(trials) > 0.8
    assert axis.height(trials[4]) == 0.93
    assert axis.height(trials[0]) == axis.height(trials[5]) == axis.edge < axis.floor
    assert axis.n_below(trials) == 1


def test_trial_just_under_the_floor_is_drawn_at_its_score() -> None:
    losses = (0.5, 0.27, 0.2, 0.21, 0.22, 0.23, 0.24, 0.25)
    trials = [trial(i, -loss, i) for i, loss in enumerate(losses)]
    axis = AccuracyAxis.of(trials)
    assert axis.edge < -0.27 < axis.floor
    assert axis.height(trials[1]) == -0.27 and axis.n_below(trials) == 1
