from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fmnist.errors import UserError
from search.space.smaller import with_smaller
from tests.benchmarks import front_area, front_samplers, sampler_history, supervisor_load
from tests.benchmarks.peers import __main__ as peers
from tests.benchmarks.peers.curves import (
    CurvePoint,
    HistoryMark,
    accuracy_at,
    improvements,
    points_ending_at,
    seconds_to_reach,
    trial_points,
)
from tests.benchmarks.peers.picture import draw, spread
from tests.benchmarks.peers.records import Assignment, Images, Ledger, Outcome, read_meta, read_outcome, write_outcome
from tests.benchmarks.peers.table import make_markdown, make_rows
from tests.support.spaces import FASHION_MNIST, space_from

ROOT = Path(__file__).resolve().parents[2]
SURROUNDINGS = {
    "machine": {"cores": 2, "gpu": False, "processor": "a processor"},
    "versions": {"keras": "3.0", "keras-tuner": None},
}


def curve(*points: tuple[float, float]) -> tuple[CurvePoint, ...]:
    return improvements(CurvePoint(*point) for point in points)


def outcome(contender: str, seed: int = 0, *, n_correct: int | None = None, points=((10, 0.5), (90, 0.9))) -> Outcome:
    n_test_images = None if n_correct is None else 10_000
    return Outcome(contender, seed, curve(*points), 7, 2_500_000, 101.0, n_correct, n_test_images)


# --- curves


def test_improvements_come_by_time_and_each_is_better_than_the_last():
    merged = curve((30, 0.8), (10, 0.5), (20, 0.4), (40, 0.8), (50, 0.9))
    assert merged == (CurvePoint(10, 0.5), CurvePoint(30, 0.8), CurvePoint(50, 0.9))


def test_of_two_points_at_one_time_the_better_counts():
    assert curve((10, 0.5), (10, 0.6)) == (CurvePoint(10, 0.6),)


def test_accuracy_holds_until_the_next_improvement_and_is_unknown_before_the_first():
    steps = curve((10, 0.5), (20, 0.7))
    assert [accuracy_at(steps, seconds) for seconds in (9.9, 10, 19, 20, 99)] == [None, 0.5, 0.5, 0.7, 0.7]


def test_first_time_is_of_at_least_that_accuracy_or_never():
    steps = curve((10, 0.5), (20, 0.7))
    assert [seconds_to_reach(steps, accuracy) for accuracy in (0.4, 0.5, 0.6, 0.71)] == [10, 10, 20, None]


def test_a_history_is_placed_by_its_end():
    history = [HistoryMark(100, 4.0, 0.5), HistoryMark(200, 7.0, 0.6)]
    assert points_ending_at(history, ended=100.0) == [CurvePoint(97.0, 0.5), CurvePoint(100.0, 0.6)]


def test_trainings_one_after_the_other_are_placed_one_before_the_other():
    history = [HistoryMark(100, 4.0, 0.5), HistoryMark(100, 3.0, 0.55), HistoryMark(200, 7.0, 0.6)]
    assert [point.seconds for point in points_ending_at(history, ended=100.0)] == [93.0, 96.0, 100.0]


def test_rungs_that_a_history_leaves_out_are_filled_in_from_the_reports():
    last_rung = [HistoryMark(200, 10.0, 0.7), HistoryMark(400, 20.0, 0.8)]
    reports = {50: 0.4, 100: 0.5, 300: 0.7, 500: 0.8}  # a first rung of 100 images before it
    points = trial_points(last_rung, reports, n_images=500, started=1000.0, ended=1030.0)
    assert points == [CurvePoint(*point) for point in ((1005, 0.4), (1010, 0.5), (1020, 0.7), (1030, 0.8))]


def test_a_whole_history_needs_no_reports():
    history = [HistoryMark(100, 5.0, 0.5), HistoryMark(500, 25.0, 0.8)]
    points = trial_points(history, {100: 0.5, 500: 0.8}, n_images=500, started=0.0, ended=30.0)
    assert [point.seconds for point in points] == [10.0, 30.0]


def test_a_trial_without_history_has_no_points():
    assert trial_points([], {}, n_images=0, started=0.0, ended=3.0) == []


# --- what contenders leave


def test_an_outcome_is_read_as_it_was_written(tmp_path):
    assignment = Assignment("optuna", 3, 60.0, 0.6, Images(), str(tmp_path), started=0.0)
    ledger = Ledger(started=0.0, seconds=60.0)
    ledger.began_trial()
    ledger.trained_on(500)
    ledger.enter([CurvePoint(20.0, 0.7), CurvePoint(10.0, 0.8)])
    assignment.files.model.touch()
    write_outcome(assignment, ledger, SURROUNDINGS)
    written = read_outcome(assignment.files, {"n_correct": 9_000, "n_images": 10_000})
    assert (written.contender, written.seed, written.n_trials, written.n_images) == ("optuna", 3, 1, 500)
    assert (written.curve, written.n_correct) == ((CurvePoint(10.0, 0.8),), 9_000)


def test_nothing_to_deliver_is_an_error_and_leaves_the_contender_unfinished(tmp_path):
    assignment = Assignment("optuna", 0, 60.0, 0.6, Images(), str(tmp_path), started=0.0)
    with pytest.raises(RuntimeError, match="optuna has validated no model within 60 s"):
        write_outcome(assignment, Ledger(0.0, 60.0), SURROUNDINGS)
    assert not assignment.files.is_finished


def test_a_ledger_knows_a_new_best():
    ledger = Ledger(started=0.0, seconds=60.0)
    assert [ledger.saw(accuracy) for accuracy in (0.5, 0.5, 0.6, 0.4)] == [True, False, True, False]
    assert ledger.seconds_left() == 0  # it began long ago


def test_a_damaged_record_is_named(tmp_path):
    files = Assignment("optuna", 0, 60.0, 0.6, Images(), str(tmp_path), started=0.0).files
    files.meta.write_text("{")
    with pytest.raises(UserError, match=r"meta\.json cannot be read"):
        read_meta(files)


# --- the table


def test_rows_follow_the_contenders_order_and_count_seeds():
    rows = make_rows([outcome("default"), outcome("ours", 1), outcome("ours", 0)], seconds=100)
    assert [(row.contender, row.n_seeds) for row in rows] == [("ours", 2), ("default", 1)]


def test_a_row_has_means_and_spreads_over_seeds():
    (row,) = make_rows([outcome("ours", 0, n_correct=9_000), outcome("ours", 1, n_correct=9_200)], seconds=100)
    assert row.test_accuracy.mean == pytest.approx(0.91)
    assert row.test_accuracy.sd == pytest.approx(0.01414, abs=1e-5)
    assert row.test_wilson_95 == pytest.approx((0.9042, 0.9154), abs=1e-4)
    assert (row.accuracy_at_quarter.mean, row.accuracy_at_end.mean) == (0.5, 0.9)


def test_others_are_timed_to_what_optuna_had_at_three_quarters_with_the_same_seed():
    outcomes = [
        outcome("optuna", 0, points=((10, 0.5), (70, 0.8), (80, 0.85))),
        outcome("optuna", 1, points=((10, 0.95),)),
        outcome("ours", 0, points=((30, 0.81),)),
        outcome("ours", 1, points=((30, 0.9),)),
    ]
    ours, optuna = make_rows(outcomes, seconds=100)
    assert (ours.seconds_to_reference.mean, ours.seconds_to_reference.n) == (30, 1)  # seed 1 never got there
    assert optuna.seconds_to_reference.mean == pytest.approx((70 + 10) / 2)
    assert "30 (40%, 1 of 2 seeds)" in make_markdown([ours, optuna], 100, SURROUNDINGS)


def test_without_optuna_or_a_score_the_cells_are_empty():
    (row,) = make_rows([outcome("ours")], seconds=100)
    assert (row.seconds_to_reference, row.test_accuracy, row.test_wilson_95) == (None, None, None)
    line = next(line for line in make_markdown([row], 100, SURROUNDINGS).splitlines() if line.startswith("| ours"))
    assert line == "| ours | 7 | 2.5 | 50.00 | 50.00 | 90.00 | - | - | - | - | 101 |"


# --- the picture


def test_labels_keep_their_order_and_stay_apart_within_the_axis():
    placed = spread([0.5, 0.9, 0.91, 0.05], low=0.0, high=1.0, gap=0.1)
    assert placed == pytest.approx([0.5, 0.9, 1.0, 0.05])


def test_a_picture_is_drawn_of_one_seed_of_several_and_of_none_in_time(tmp_path):
    one = [outcome("ours"), outcome("optuna", points=((40, 0.7),))]
    late = outcome("random", points=((120, 0.9),))
    for number, outcomes in enumerate((one, [*one, outcome("ours", 1, points=((20, 0.6),))], [*one, late], [late])):
        path = tmp_path / f"{number}.png"
        draw(outcomes, 100, path)
        assert path.read_bytes().startswith(b"\x89PNG")


# --- the command line


def test_the_peers_small_space_is_a_valid_space():
    space = space_from(ROOT / "tests/benchmarks/peers/small-space.toml", (28, 28, 1), 10)
    assert set(space.filters[0].values) == {16, 32, 64}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seconds", "3"], "--seconds must be at least 30, but got 3"),
        (["--seconds", "nan"], "--seconds must be at least 30, but got nan"),
        (["--seconds", "soon"], "invalid float value: 'soon'"),
        (["--seeds", "0"], "--seeds must be at least 1, but got 0"),
        (["--only", "ours,optnua"], "--only must name some of ours.*, but got optnua"),
        (["--only", ","], "but got nothing"),
        (["--one-epoch-share", "1"], "--one-epoch-share must be between 0 and 1, but got 1"),
        (["--data-dir", "nowhere"], "Fashion-MNIST is four files, but missing"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, message, capsys, tmp_path):
    with pytest.raises(UserError, match=message):
        peers._check(peers.parse(arguments))
    assert peers.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and not (tmp_path / "out").exists()


def test_only_keeps_the_order_in_which_contenders_run():
    options = peers.parse(["--only", "default, ours", "--seeds", "2"])
    assert options.jobs == [("ours", 0), ("default", 0), ("ours", 1), ("default", 1)]


def test_a_finished_contender_of_another_length_is_refused(tmp_path):
    folder = tmp_path / "ours-0"
    folder.mkdir()
    (folder / "meta.json").write_text(json.dumps({"seconds_asked": 60.0, "one_epoch_share": 0.6}))
    options = peers.parse(["--only", "ours", "--seconds", "90", "--out", str(tmp_path)])
    with pytest.raises(UserError, match="ours-0 was made with --seconds 60, but got 90"):
        peers._check_same(options, options.files("ours", 0))


@pytest.mark.process
def test_the_command_loads_neither_tensorflow_nor_keras_tuner():
    script = (
        "import sys, tests.benchmarks.peers.__main__; print({'keras', 'tensorflow', 'keras_tuner'} & set(sys.modules))"
    )
    child = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert child.stdout.strip() == "set()", child.stderr


# --- what the sampler learns from


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_both_histories_are_the_same_below_the_bound_and_stand_in_the_table():
    names, arms = list(sampler_history.FUNCTIONS), (sampler_history.FULL, sampler_history.BOUND)
    results = {f"{name}, {arm}, 0": sampler_history.search(name, arm, 0, [6, 14]) for name in names for arm in arms}
    for name in names:
        assert results[f"{name}, {arms[0]}, 0"] == results[f"{name}, {arms[1]}, 0"]
    lines = sampler_history.table(results, [6, 14]).splitlines()
    assert len(lines) == 2 + len(names) * 2 * 2


# --- what finds a better front


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_fronts_of_all_samplers_have_an_area_and_stand_in_the_table():
    space = with_smaller(space_from(FASHION_MNIST, (28, 28, 1), 10))
    results = {}
    for arm in front_samplers.ARMS:
        for seed in (0, 1):
            results[f"{arm}, 10 trials, {seed}"] = front_samplers.search(arm, seed, 10, space)
    assert all(0 < found < 0.3 * 2.58 for found in results.values())
    assert len(front_samplers.table(results).splitlines()) == 2 + len(front_samplers.ARMS)


def test_area_is_what_the_front_dominates_between_two_costs():
    points = [(0.8, 5.0), (0.9, 6.0), (0.85, 6.5)]
    assert front_area.dominated_area(points, 0.7, 4.5, 7.0) == pytest.approx(0.1 * 1.0 + 0.2 * 1.0)
    assert front_area.dominated_area(points, 0.7, 5.5, 6.5) == pytest.approx(0.1 * 0.5 + 0.2 * 0.5)
    assert front_area.dominated_area([(0.8, 5.0), (0.9, 8.0)], 0.7, 4.5, 7.0) == pytest.approx(0.1 * 2.0)


def test_fronts_and_separate_searches_are_compared_by_what_they_deliver():
    network = {"confirm_accuracy": 0.95, "multiply_adds": 1_000_000, "n_parameters": 50_000}
    front = {"front": [network, network | {"confirm_accuracy": 0.9, "multiply_adds": 100_000}]}
    search = {"delivered": {"confirm_accuracy": 0.95}, "best": network}
    of_front, of_search = front_area.networks_of_front(front), front_area.network_of_search(search)
    assert of_search == of_front[0]
    areas = [[front_area.area(each, 10_000_000) for each in (of_front, [of_search])]]
    assert areas[0][0] - areas[0][1] == pytest.approx(0.05 * 0.5)
    assert front_area.table([3], areas).splitlines()[-1] == "| 3 | 0.1250 | 0.1000 | +0.0250 |"
    assert "mean ± standard deviation" in front_area.table([3, 4], areas * 2)


def test_study_whose_networks_are_in_the_results_is_not_run_again(tmp_path, monkeypatch):
    ran = []

    def run(study, *_):
        ran.append(study)
        return {"front": [{"confirm_accuracy": 0.9, "multiply_adds": 100_000, "n_parameters": 50_000, "more": 1}]}

    monkeypatch.setattr(front_area, "_run", run)
    options = argparse.Namespace(results=tmp_path / "delivered.json")
    first, again = (front_area.delivered_by("front-0", 0, None, options) for _ in range(2))
    assert first == again == [front_area.Delivered(0.9, 100_000, 50_000)]
    assert ran == ["front-0"]


# --- what one supervisor takes


def test_part_that_calls_another_counts_for_itself_alone():
    times = supervisor_load.ProcessorTimes()

    def spend(seconds):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    inner = times.measured("inner", lambda: spend(0.04))

    def both():
        inner()
        spend(0.02)

    times.measured("outer", both)()
    assert times.seconds["inner"] >= 0.04
    assert 0.02 <= times.seconds["outer"] < times.seconds["inner"]


def test_share_busy_is_the_mean_of_those_that_trained():
    trainer = supervisor_load.SleepingTrainer(1.0)
    trainer.busy = [(1.0, 1), (2.0, 2), (4.0, 1), (6.0, 0)]
    assert trainer.mean_busy(0.0, 8.0) == pytest.approx((1 + 4 + 2) / 8)
    assert trainer.mean_busy(3.0, 5.0) == pytest.approx((2 + 1) / 2)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_supervisor_is_measured_on_a_search_of_its_own(tmp_path):
    options = supervisor_load.parse(["--workers", "3", "--trials", "5", "--seconds", "0.1", "--pruner", "asha"])
    measured = supervisor_load.measure(options, tmp_path)
    assert measured.n_trials == 5 and 0 < measured.busy_of_all <= 1
    assert measured.by_part["sampler"] > 0 and measured.by_part["storage writes"] > 0
    assert "everything else" in supervisor_load.in_words(measured)
