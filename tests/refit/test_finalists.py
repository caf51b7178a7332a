"""Which trials become finalists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search.records.models import TrialRecord
from search.refit.finalists import (
    LastStep,
    choose_finalists,
    finalists_by_number,
    most_promising_first,
    nothing_to_confirm,
    sure_finalists,
)
from tests.support.training.fake_trainer import recipe, trial


def test_best_complete_trials_are_finalists_best_first() -> None:
    trials = [trial(number, value=0.1 * number) for number in range(8)]
    assert [finalist.trial for finalist in choose_finalists(trials)] == [7, 6, 5, 4]
    assert [finalist.trial for finalist in choose_finalists(trials, n_finalists=3)] == [7, 6, 5]


def test_price_of_multiply_adds_lets_the_cheaper_of_near_equals_in() -> None:
    trials = [trial(n, 0.9 + 0.001 * n, multiply_adds=1_000_000 * 2**n) for n in range(7)]
    assert [each.trial for each in choose_finalists(trials, accuracy_per_doubling=0.002)] == [0, 1, 2, 3]


def test_default_takes_the_last_place_even_where_it_was_worst() -> None:
    trials = [trial(0, 0.01, origin="default"), *(trial(number, value=0.1 * number) for number in range(1, 9))]
    assert [each.trial for each in choose_finalists(trials)] == [8, 7, 6, 0]


def test_default_whose_trial_was_killed_is_still_a_finalist() -> None:
    trials = [trial(0, None, state="failed", origin="default"), trial(1, 0.9)]
    assert [finalist.trial for finalist in choose_finalists(trials)] == [1, 0]


def test_infeasible_default_is_no_finalist() -> None:
    trials = [trial(0, None, state="infeasible", origin="default"), trial(1, 0.9)]
    assert [finalist.trial for finalist in choose_finalists(trials)] == [1]


def test_equal_recipes_are_one_finalist_with_the_better_score() -> None:
    same = recipe(16).to_dict()
    trials = [trial(1, 0.5, recipe=same), trial(2, 0.7, recipe=same), trial(3, 0.6)]
    assert [finalist.trial for finalist in choose_finalists(trials)] == [2, 3]


def test_default_cut_by_the_clock_is_a_finalist_alone() -> None:
    trials = [trial(0, None, state="pruned", origin="default"), trial(1, None, state="pruned")]
    assert [finalist.trial for finalist in choose_finalists(trials)] == [0]


def test_places_that_no_complete_trial_takes_go_to_those_that_the_clock_has_ended_by_rung_and_accuracy() -> None:
    def cut(number: int, rung: int, accuracy: float | None) -> TrialRecord:
        more = {"state": "pruned", "rung_images": rung, "rung_accuracy": accuracy}
        return trial(number, None, out_of_time=True, **more)

    judged = trial(6, None, state="pruned", rung_images=64_000, rung_accuracy=0.99)
    trials = [trial(1, 0.5), cut(2, 16_000, 0.9), cut(3, 64_000, 0.7), cut(4, 64_000, 0.8), cut(5, 0, None), judged]
    found = choose_finalists(trials)
    assert [finalist.trial for finalist in found] == [1, 4, 3, 2]
    assert [finalist.search_accuracy for finalist in found] == [0.5, None, None, None]
    against_time = choose_finalists(trials, n_finalists=3, against_time=True)
    assert [finalist.trial for finalist in against_time] == [1, 6, 4]


def on_rungs(number: int, *scores: float, origin: str = "sampler", **more) -> TrialRecord:
    """A trial of a search with rungs of 1,000, 4,000 and 16,000 images, with its scores from one of them on."""
    lengths = (1_000, 4_000, 16_000)
    first = 1 if origin != "sampler" else 0
    rungs = dict(zip(lengths[first:], scores, strict=False))
    last = max(rungs)
    state, value = ("complete", rungs[last]) if last == lengths[-1] else ("pruned", None)
    fields = {"rung_images": last, "rung_accuracy": rungs[last], "rung_scores": rungs, **more}
    return trial(number, value, state=state, origin=origin, **fields)


def promising(trials: list[TrialRecord], price: float = 0.0) -> list[int]:
    return [each.number for each in most_promising_first(trials, price)]


def test_short_search_compares_on_the_rung_that_enough_have_reached_not_by_who_came_further() -> None:
    """The default came first, had nobody to be compared with, and alone was trained on the last rung."""
    trials = [
        on_rungs(0, 0.90, 0.92, origin="default"),
        on_rungs(1, 0.918, origin="known"),
        on_rungs(2, 0.88, origin="other"),
        on_rungs(3, 0.85, 0.917),
        on_rungs(4, 0.84, 0.87),
    ]
    assert promising(trials) == [1, 3, 0, 2, 4]
    assert [each.trial for each in choose_finalists(trials, n_finalists=2, against_time=True)] == [1, 0]
    assert [each.trial for each in finalists_by_number(trials, 0.0, against_time=True)[1]] == [1, 3]


def test_who_came_further_is_told_apart_there_and_from_the_rest_by_what_others_gained() -> None:
    further = [on_rungs(0, 0.80, 0.90, 0.92), on_rungs(1, 0.80, 0.89, 0.93), on_rungs(2, 0.80, 0.88, 0.94)]
    pruned = [on_rungs(3, 0.80, 0.885), on_rungs(4, 0.80, 0.895), on_rungs(5, 0.80, 0.901)]  # 0.04 more, at the end
    assert promising([*further, *pruned]) == [5, 2, 4, 1, 3, 0]


def test_trials_of_a_rung_too_short_to_compare_by_come_after_the_others() -> None:
    trials = [*(on_rungs(n, 0.80, 0.85 + n / 100) for n in range(4)), on_rungs(4, 0.99), on_rungs(5, 0.98)]
    assert promising(trials) == [3, 2, 1, 0, 4, 5]


def test_few_trials_of_different_rungs_that_nothing_joins_are_ordered_by_rung() -> None:
    trials = [on_rungs(0, 0.99), on_rungs(1, 0.5, origin="known"), on_rungs(2, 0.6, origin="other")]
    assert promising(trials) == [2, 1, 0]


def test_gain_of_a_longer_training_is_that_of_the_last_rung_carried_on_with_the_square_root_of_the_images() -> None:
    step = LastStep(before=4_000, longest=16_000, gain=0.02)
    assert step.gain_beyond(16_000) == 0
    assert step.gain_beyond(4_000) == pytest.approx(-0.02), "what the last rung brought"
    assert step.gain_beyond(64_000) == pytest.approx(0.01), "half as much each fourfold"
    assert step.gain_beyond(1e15) == pytest.approx(0.02, rel=1e-3)


def test_last_rung_that_brought_nothing_says_nothing_of_longer_trainings() -> None:
    trials = [on_rungs(n, 0.8, 0.92, 0.9 + 0.001 * n, multiply_adds=1_000_000 * 2**n) for n in range(5)]
    lengths = dict.fromkeys(range(5), 64_000.0)
    assert [each.number for each in most_promising_first(trials, 0.002, lengths)] == [0, 1, 2, 3, 4], "their price"


def test_rungs_close_together_are_not_carried_on_but_the_step_before_them() -> None:
    """The last rung, hardly longer than the one before, says by chance that all gain much by little."""

    def close(number: int, score: float) -> TrialRecord:
        rungs = {1_000: score - 0.02, 4_000: score, 4_400: score + 0.03}
        return trial(number, score, rung_images=4_400, rung_accuracy=score + 0.03, rung_scores=rungs)

    trials = [close(0, 0.90), close(1, 0.92), close(2, 0.6), close(3, 0.6)]
    lengths = {0: 32_000.0, 1: 16_000.0, 2: 32_000.0, 3: 32_000.0}  # by the close rungs worth 0.05, in truth 0.01
    assert most_promising_first(trials, 0.0, lengths)[0].number == 1


@pytest.mark.parametrize(("n_images", "best"), [(20_000, 0), (640_000, 1)])
def test_slow_network_is_preferred_where_there_is_time_for_what_it_is_better_at(n_images: int, best: int) -> None:
    """The second network is better on every rung, and would see a third of the images in a full training."""
    known = [on_rungs(n, 0.60, 0.70, 0.74) for n in (2, 3)]
    trials = [on_rungs(0, 0.80, 0.88, 0.92), on_rungs(1, 0.81, 0.89, 0.93), *known]
    lengths = {0: n_images, 1: n_images / 3, 2: n_images, 3: n_images}
    assert most_promising_first(trials, 0.0, lengths)[0].number == best
    assert choose_finalists(trials, n_finalists=1, against_time=True, lengths=lengths)[0].trial == best
    assert promising(trials)[0] == 1, "the better one where no length is known"


def test_multiply_adds_have_no_price_beside_the_time_that_they_take() -> None:
    trials = [on_rungs(n, 0.8, 0.9, 0.92 + 0.001 * n, multiply_adds=1_000_000 * 2**n) for n in range(5)]
    same = dict.fromkeys(range(5), 64_000.0)
    assert promising(trials, 0.002) == [0, 1, 2, 3, 4]
    assert [each.number for each in most_promising_first(trials, 0.002, same)] == [4, 3, 2, 1, 0]


def test_price_of_multiply_adds_counts_in_a_short_search_too() -> None:
    trials = [on_rungs(n, 0.8, 0.9 + 0.001 * n, multiply_adds=1_000_000 * 2**n) for n in range(5)]
    assert promising(trials, 0.002) == [0, 1, 2, 3, 4]


def test_trial_of_an_earlier_version_is_compared_by_the_one_rung_that_it_has_recorded() -> None:
    recorded = {"rung_images": 4_000, "rung_accuracy": 0.9, "rung_score": -0.3}
    old = [trial(n, None, state="pruned", **{**recorded, "rung_score": -0.3 + n / 100}) for n in range(3)]
    complete = trial(3, -0.2, rung_images=16_000)
    assert promising([*old, complete]) == [3, 2, 1, 0]
    assert promising([*old, complete, on_rungs(4, -0.4, -0.25, -0.1)]) == [4, 2, 1, 0, 3]


def test_pruned_failed_and_infeasible_trials_are_no_finalists() -> None:
    trials = [trial(n, None, state=state) for n, state in enumerate(("pruned", "failed", "infeasible"))]
    assert choose_finalists(trials) == []


@pytest.mark.parametrize(
    ("n_trials", "timeout", "remedy"),
    [
        (3, None, "raise --trials above 3"),
        (5, 60.0, "raise --timeout"),
        (3, 60.0, "raise --timeout and --trials above 3"),  # a timeout alone would bring no trial more
        (2, 60.0, "raise --timeout and --trials above 3"),
    ],
)
def test_remedy_of_a_search_without_finalists_adds_trials_where_none_are_left(
    n_trials: int, timeout: float | None, remedy: str
) -> None:
    trials = [trial(n, None, state=state) for n, state in enumerate(("pruned", "failed", "infeasible"))]
    assert str(nothing_to_confirm(trials, n_trials, timeout)).endswith(f"none of 3 did; {remedy}")


def test_search_whose_networks_are_all_over_the_limits_says_so_with_the_smallest() -> None:
    sizes = (500, 300, 400)
    trials = [trial(n, None, state="infeasible", n_parameters=size) for n, size in enumerate(sizes)]
    trials = [replace(each, reason=f"infeasible: {each.n_parameters} is over max_parameters = 1") for each in trials]
    for timeout in (None, 60.0):
        message = str(nothing_to_confirm(trials, 9, timeout))
        assert "of the study's 3 all are over them, the smallest too: 300 is over max_param" in message
        assert "start another study with --study NAME and larger limits, by their options" in message


def test_finalists_are_sure_when_the_trials_that_still_run_cannot_push_them_out() -> None:
    done = [trial(0, 0.01, origin="default"), *(trial(number, value=0.1 * number) for number in range(1, 7))]
    running = [trial(number, None, state="running") for number in range(7, 12)]
    assert [each.trial for each in sure_finalists([*done, *running[:1]], 0.0)] == [6, 5, 0]
    assert [each.trial for each in sure_finalists([*done, *running[:3]], 0.0)] == [0]
    assert sure_finalists([*done, *running], 0.0) == []
    for values in ([0.9], [0.0]):  # whatever the running one becomes
        ended = [*done, *(trial(7 + i, value) for i, value in enumerate(values))]
        assert {6, 5, 0} < {each.trial for each in choose_finalists(ended)}


def test_nobody_is_sure_while_the_default_itself_still_runs() -> None:
    assert sure_finalists([trial(0, None, state="running", origin="default")], 0.0) == []
