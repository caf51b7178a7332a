from __future__ import annotations

import numpy as np
import pytest

from fmnist.recipe import SCHEDULES, TrainingPlan
from fmnist.training.schedule import averaging_rate_at, learning_rate_at


def rates(n_steps: int, **plan) -> np.ndarray:
    return np.array([learning_rate_at(TrainingPlan(**plan), (step + 0.5) / n_steps) for step in range(n_steps)])


def test_constant_schedule_stays_at_the_peak() -> None:
    assert set(rates(7, schedule="constant", peak_learning_rate=0.01)) == {0.01}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("n_steps", [1, 2, 50])
def test_every_rate_is_above_0_and_at_most_the_peak(schedule, warmup_fraction, n_steps) -> None:
    values = rates(n_steps, schedule=schedule, warmup_fraction=warmup_fraction, peak_learning_rate=0.01)
    assert (values > 0).all()
    assert (values <= 0.01).all()


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_the_rate_climbs_for_the_warm_up_and_falls_after_it(schedule) -> None:
    values = rates(1000, schedule=schedule, warmup_fraction=0.2, peak_learning_rate=1.0)
    assert (np.diff(values[:200]) > 0).all()
    assert (np.diff(values[200:]) < 0).all()
    assert values.max() == pytest.approx(1, abs=0.01)
    assert values[-1] < 0.001


def test_one_cycle_follows_its_formula() -> None:
    values = rates(10, schedule="one_cycle", warmup_fraction=0.2, peak_learning_rate=1.0)
    np.testing.assert_allclose(values[:4], [0.25, 0.75, 0.75 / 0.8, 0.65 / 0.8])


def test_cosine_is_halfway_down_in_the_middle() -> None:
    values = rates(101, schedule="cosine", warmup_fraction=0.0, peak_learning_rate=1.0)
    assert values[50] == pytest.approx(0.5)


@pytest.mark.parametrize("progress", [-0.1, 0.0, 1.0])
def test_progress_outside_the_schedule_is_refused(progress) -> None:
    with pytest.raises(ValueError, match=r"above 0 and below 1, but got progress="):
        learning_rate_at(TrainingPlan(), progress)


def test_average_keeps_little_of_the_first_weights_and_ends_with_its_full_memory() -> None:
    plan = TrainingPlan(averaging=0.1)
    assert averaging_rate_at(plan, 0, 1000) == pytest.approx(0.9)
    assert averaging_rate_at(plan, 999, 1000) == pytest.approx(1 / 100)


def test_average_over_less_than_a_step_is_the_weights() -> None:
    assert averaging_rate_at(TrainingPlan(averaging=0.1), 4, 5) == 1
