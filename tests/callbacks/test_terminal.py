"""What the terminal shows, with a console that writes into memory."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console
from rich.table import Table

from fmnist.metrics.intervals import Interval
from fmnist.scoring import Metric
from fmnist.training.history import HistoryPoint
from search.callbacks.progress import nodes_line
from search.callbacks.reporter import FinalistRow, NodeLoss, SearchProgress
from search.callbacks.terminal import Terminal
from search.format import METRIC_WORDS
from tests.support.reporting import POINT, RECIPE, progress, tell_a_training, tell_the_end


def terminal(*, is_terminal: bool, width: int = 80, verbosity: str = "normal") -> Terminal:
    return Terminal(Console(file=io.StringIO(), force_terminal=is_terminal, width=width, color_system=None), verbosity)


def shown(terminal: Terminal) -> list[str]:
    return terminal._console.file.getvalue().splitlines()


def drawn(terminal: Terminal) -> list[str]:
    """The redrawn lines, as they are now."""
    with terminal._console.capture() as capture:
        terminal._console.print(terminal.render())
    return capture.get().splitlines()


def test_finished_training_is_a_timed_line_without_a_terminal() -> None:
    plain = terminal(is_terminal=False)
    with plain:
        plain.on_training_start("trial 3", RECIPE, 1000)
        plain.on_evaluation("trial 3", HistoryPoint(500, 1.0, 0.1, 1.0, 0.5, 0.4, 0.9123), 0.9123)
        plain.on_training_end("trial 3", "pruned at 500 images")
    (line,) = shown(plain)
    assert line[2] == line[5] == ":"
    assert line[9:].startswith("trial 3     91.23%  pruned at 500 images  c32-c32-p")


@pytest.mark.parametrize("width", [80, 140])
def test_running_trainings_are_a_line_each_and_the_study_one(width: int) -> None:
    live = terminal(is_terminal=True, width=width)
    live.begin("trials", 100, 7, progress(6, 0.9372, pruned=1))
    for number in (7, 8):
        live.on_training_start(f"trial {number}", RECIPE, 150_000)
        live.on_evaluation(f"trial {number}", POINT, 0.9)
    lines = drawn(live)
    assert len(lines) == 4
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("trial 7      150k  20% 90.00%    0:00 left  c32-c32-p")
    assert lines[2].startswith("best 93.72% (93.0 to 94.4) · trial 17 · c32-c32-p | c32-c32-p")
    assert lines[3].startswith("trials 7/100 · ") and lines[3].strip().endswith(" images/s · 6 complete, 1 pruned")


def test_progress_between_looks_is_shown_and_counts_for_the_speed() -> None:
    live = terminal(is_terminal=True)
    live.begin("trials", 100)
    live.on_training_start("trial 0", RECIPE, 256_000)
    live.on_training_progress("trial 0", 64_000)
    assert "256k  25%" in drawn(live)[0]
    live.on_evaluation("trial 0", POINT, 0.9)  # a point bears its nominal mark, which may lie before what is known
    assert live._phase.n_images == 64_000
    live.on_training_start("trial 0", RECIPE, 1_024_000)  # the next rung
    live.on_training_progress("trial 0", 1_000)
    assert live._phase.n_images == 65_000
    assert " 1.0M   0%" in drawn(live)[0]


def test_fit_of_unknown_length_shows_the_time_it_has_taken() -> None:
    live = terminal(is_terminal=True)
    live.begin("fitting 9 baselines", 9, 4, counts_trainings=True)
    live.on_training_start("random-forest", "random forest on the pixels, 100 trees", None)
    assert " ".join(drawn(live)[0].split()).startswith("random-forest 0:00 so far random forest on the pixels, 100")
    live.on_training_end("random-forest", "fitted to its end")
    assert "fitting 9 baselines 5/9" in drawn(live)[-1]
    assert "fitted to its end  random forest on the pixels, 100 trees" in shown(live)[0]


def test_line_of_a_finished_training_does_not_wrap_in_a_terminal() -> None:
    live = terminal(is_terminal=True)
    live.on_training_start("trial 3", RECIPE, 1000)
    live.on_training_end("trial 3", "stopped early at 1,000 images")
    (line,) = shown(live)
    assert len(line) <= 80
    assert line.rstrip().endswith("…")


def test_count_that_comes_late_is_not_shown() -> None:
    plain = terminal(is_terminal=False)
    plain.begin("trials", 30)
    for n_done in (2, 1, 2, 3):
        plain.advance(progress(n_done))
    assert [line[9:21] for line in shown(plain)] == ["trials 2/30 ", "trials 3/30 "]


def test_quiet_tells_what_came_out_and_what_went_wrong_alone() -> None:
    quiet = terminal(is_terminal=True, verbosity="quiet")
    with quiet:
        quiet.begin("trials", 2)
        quiet.say("study s in studies/s")
        tell_a_training(quiet)
        quiet.advance(progress(1))
        quiet.warn("the storage does not answer")
        tell_the_end(quiet)
    lines = [line.strip() for line in shown(quiet)]
    assert lines[0] == "the storage does not answer"
    assert lines[1].startswith("finalists") and lines[2].startswith("> trial 7 ")
    assert lines[4:] == ["test accuracy 94.00%", "model   m.keras", "report  r.html"]


def test_verbose_tells_of_every_look() -> None:
    verbose = terminal(is_terminal=False, verbosity="verbose")
    tell_a_training(verbose)
    begun, looked, ended = [line[9:] for line in shown(verbose)]
    assert begun.startswith("trial 3     begins 150,000 images of c32-c32-p")
    assert looked == "trial 3     selection 90.00%, training 50.00% after 30,000 images"
    assert ended.startswith("trial 3     90.00%  trained to the end")


def test_finalists_fit_into_80_columns_and_the_winner_is_marked() -> None:
    live = terminal(is_terminal=True)
    tell_the_end(live)
    head, winner, default, *_ = shown(live)
    assert all(len(line) <= 80 for line in (head, winner, default))
    assert winner.startswith("> trial 7                 93.50%  94.60% (94.0 to 95.2)    c32-c32-p")
    assert default.startswith("  trial 0 default                 93.00% (92.3 to 93.7)")
    assert head.index("network") == winner.index("c32-c32-p")


def test_phase_counts_its_trainings_and_estimates_its_end() -> None:
    live = terminal(is_terminal=True)
    live.begin("training 3 finalists", 3, 1, counts_trainings=True)
    live.on_training_start("finalist 1", RECIPE, 1000)
    live.on_training_end("finalist 1", "94.60% confirmed, trained to the end")
    assert "training 3 finalists 2/3 · 0:00 left" in drawn(live)[-1]


def test_accuracies_of_trials_and_of_what_is_validated_by_nothing_align() -> None:
    """A finalist learns from the selection split, so it has no accuracy before its end."""
    live = terminal(is_terminal=True)
    tell_a_training(live)
    live.on_training_start("finalist 12", RECIPE, 1000)
    live.on_evaluation("finalist 12", replace(POINT, validation_loss=None, validation_accuracy=None), None)
    live.on_training_end("finalist 12", "94.60% confirmed, trained to the end")
    trial, finalist = shown(live)
    assert trial.startswith("trial 3     90.00%  trained to the end  c32-c32-p")
    assert finalist.startswith("finalist 12 94.60% confirmed, trained to the end  c32-c32-p")


@pytest.mark.parametrize("name", ["training 8 finalists", "training 10 students by trial 100's recipe"])
def test_line_of_a_phase_fits_into_80_columns(name: str) -> None:
    live = terminal(is_terminal=True)
    live.begin(name, 10, 0, counts_trainings=True)
    live.on_training_start("student 9", RECIPE, 2_000_000)
    live.on_training_progress("student 9", 100_000)
    assert drawn(live)[-1].rstrip().endswith(" images/s")


def test_share_done_is_of_the_length_that_a_timeout_gives_a_training() -> None:
    live = terminal(is_terminal=True)
    live.begin("training 1 finalist", 1, 0, counts_trainings=True)
    live.on_training_start("finalist 9", RECIPE, 1_000_000)
    live.on_training_progress("finalist 9", 500_000)
    assert " 50% " in drawn(live)[0]
    live.on_training_length("finalist 9", 2_000_000)
    assert " 25% " in drawn(live)[0]


def test_time_left_is_no_longer_than_a_timeout_leaves() -> None:
    live = terminal(is_terminal=True)
    live.begin("trials", 1000, 0, SearchProgress(progress().counts, None, 90.0))
    assert "trials 0/1000 · 1:30 left" in drawn(live)[-1]
    live.advance(SearchProgress(progress(20).counts, None, 61.0))
    minutes, seconds = re.findall(r"trials 20/1000 · (\d+):(\d\d) left", drawn(live)[-1])[0]
    assert 60 * int(minutes) + int(seconds) <= 61


def test_phase_without_steps_shows_no_count() -> None:
    live = terminal(is_terminal=True)
    live.begin("opening the test set")
    assert drawn(live)[-1].strip() == "opening the test set"


def test_command_to_copy_is_never_cut() -> None:
    live = terminal(is_terminal=True, width=40)
    live.say("optuna-dashboard sqlite:///studies/fashion-mnist/study.db --host 127.0.0.1")
    assert "".join(shown(live)) == "optuna-dashboard sqlite:///studies/fashion-mnist/study.db --host 127.0.0.1"


def test_lines_of_long_labels_align() -> None:
    live = terminal(is_terminal=True)
    labels = ("random-forest", "conv-pool-dense-stopped")
    live.begin("fitting 2 baselines", 2, counts_trainings=True, labels=labels)
    for label in labels:
        live.on_training_start(label, "a baseline", 1000)
    first, second, _ = drawn(live)
    assert first.index("a baseline") == second.index("a baseline")


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"TERM": "dumb"},
        {"TERM": "unknown"},
        {"FORCE_COLOR": "1"},
        {"TTY_COMPATIBLE": "1"},
        {"NO_COLOR": "1", "TERM": "xterm-256color"},
        {"COLUMNS": "1"},
        {"COLUMNS": "20"},
        {"COLUMNS": "100000"},
        {"COLUMNS": "many"},
    ],
    ids=str,
)
def test_file_gets_plain_whole_lines_whatever_the_environment(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    file = io.StringIO()
    monkeypatch.setattr("sys.stdout", file)
    with Terminal() as plain:
        plain.begin("trials", 100)
        tell_a_training(plain)
        plain.advance(progress(1, 0.9))
        plain.show(figures())
        tell_the_end(plain)
    text = file.getvalue()
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0][9:].startswith("trial 3     90.00%  trained to the end  c32-c32-p | c32-c32-p")
    assert lines[0].endswith(str(RECIPE)) and lines[1][9:].startswith("trials 1/100 · ")
    assert [line.split() for line in lines[2:4]] == [["phase", "images", "time", "from", "to"], FIGURES]


FIGURES = ["retraining", "1,234,567", "2.5_hours", "1.9_hours", "3.2_hours"]


def figures() -> Table:
    """As --check shows them, but without spaces within a cell."""
    table = Table("phase", "images", "time", "from", "to", box=None)
    table.add_row(*FIGURES)
    return table


@pytest.mark.parametrize("width", [1, 20, 80, 100_000])
def test_redrawing_fits_any_width(width: int) -> None:
    live = terminal(is_terminal=True, width=width)
    live.begin("trials", 100, 7, progress(6, 0.9372, pruned=1))
    live.on_training_start("trial 7", RECIPE, 150_000)
    lines = drawn(live)
    assert len(lines) == 3 and all(len(line) <= width for line in lines)


def test_terminal_that_cannot_go_back_gets_lines_and_no_escapes() -> None:
    """Such as a shell inside an editor: it would show nothing until the end."""
    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    with Terminal(console) as plain:
        plain.begin("trials", 100)
        tell_a_training(plain)
        plain.advance(progress(1, 0.9))
    first, second = shown(plain)
    assert first[9:].startswith("trial 3     90.00%") and second[9:].startswith("trials 1/100 · ")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_names_steer_no_terminal(is_terminal: bool) -> None:
    plain = terminal(is_terminal=is_terminal)
    plain.say("classes: red\x1b[31m, [bold]猫[/bold], \u202ednuor\nsecond line")
    first, second = shown(plain)
    assert first.endswith(r"classes: red\x1b[31m, [bold]猫[/bold], \u202ednuor") and second == "second line"


def test_program_without_standard_output_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under pythonw."""
    monkeypatch.setattr("sys.stdout", None)
    with Terminal() as plain:
        tell_a_training(plain)
        plain.show(figures())
        tell_the_end(plain)


@pytest.mark.parametrize(
    ("metric", "scores", "shown_scores"),
    [
        ("balanced_accuracy", (0.75, 0.5), ("75.00%", "50.00%")),
        ("macro_f1", (0.75, 0.5), ("0.750", "0.500")),
        ("log_loss", (-0.25, -0.5), ("0.2500", "0.5000")),
    ],
)
def test_figures_of_a_study_by_another_metric_are_of_that_metric(
    metric: Metric, scores: tuple[float, float], shown_scores: tuple[str, str]
) -> None:
    plain = terminal(is_terminal=False, verbosity="verbose")
    plain.metric = metric
    with plain:
        plain.begin("trials", 2)
        plain.on_training_start("trial 3", RECIPE, 1000)
        for score in scores:
            plain.on_evaluation("trial 3", replace(POINT, validation_score=score), 0.9)
        plain.on_training_end("trial 3", "trained to the end")
        found = progress(1, 0.9)
        plain.advance(replace(found, best=replace(found.best, score=scores[0])))
        finalist = FinalistRow(3, "sampler", 0.9, 0.8, Interval(0.7, 0.9), str(RECIPE), True, scores[1], scores[0])
        plain.show_finalists([finalist])
    lines = shown(plain)
    assert f"selection 90.00%, {METRIC_WORDS[metric]} {shown_scores[1]}, training" in lines[2]
    assert lines[3][9:].split()[:3] == ["trial", "3", shown_scores[0]]
    assert f"best {METRIC_WORDS[metric]} {shown_scores[0]}, accuracy 90.00% · trial" in lines[4]
    assert lines[5][9:].startswith(f"by {METRIC_WORDS[metric]}")
    assert lines[6][9:].split()[3:5] == [shown_scores[1], shown_scores[0]]


def test_baseline_in_such_a_study_has_its_accuracy() -> None:
    plain = terminal(is_terminal=False)
    plain.metric = "log_loss"
    with plain:
        plain.on_training_start("conv-pool-dense", "one convolution", 1000)
        plain.on_evaluation("conv-pool-dense", POINT, 0.9)
        plain.on_training_end("conv-pool-dense", "trained for 15 epochs")
    assert "90.00%  trained for 15 epochs" in shown(plain)[0]


def test_nodes_of_a_cluster_have_a_line_until_the_run_leaves_it() -> None:
    live = terminal(is_terminal=True)
    live.begin("trials", 100, 7, progress(6, 0.9372))
    live.show_nodes({"10.0.0.1": 3, "10.0.0.2": 4})
    assert drawn(live)[0].rstrip() == "trainings on 10.0.0.1: 3, 10.0.0.2: 4"
    live.show_nodes(None)
    assert drawn(live)[0].startswith("best 93.72%")


@pytest.mark.parametrize(
    ("trainings", "n_waiting", "line"),
    [
        ({"a": 1}, 0, "trainings on a: 1"),
        ({"a": 3, "b": 0}, 1, "trainings on a: 3, b: 0 · 1 waiting"),
        ({}, 2, "no nodes · 2 waiting"),
        (
            {f"10.0.0.{i}": 8 - (i == 7) for i in range(20)},
            0,
            "20 nodes · 159 trainings · most on 10.0.0.0: 8",
        ),
        (
            {f"192.168.100.{i}": 5 * (i % 2) + (i == 101) for i in range(200)},
            9,
            "200 nodes · 501 trainings · 100 idle · 9 waiting · most on 192.168.100.101: 6",
        ),
        ({f"{i:060}": 9 for i in range(200)}, 7, "200 nodes · 1,800 trainings · 7 waiting"),
        ({f"192.168.100.{i}": 0 for i in range(200)}, 0, "200 nodes · 0 trainings · 200 idle"),
    ],
)
def test_any_number_of_nodes_is_one_short_line(trainings: dict[str, int], n_waiting: int, line: str) -> None:
    assert nodes_line(trainings, n_waiting) == line
    assert len(line) <= 80


def test_lines_of_the_study_stay_visible_under_more_trainings_than_the_terminal_has_lines() -> None:
    live = Terminal(Console(file=io.StringIO(), force_terminal=True, width=80, height=20, color_system=None))
    live.begin("trials", 100, 7, progress(6, 0.9372))
    live.show_nodes({"10.0.0.1": 40})
    for number in range(40):
        live.on_training_start(f"trial {number}", RECIPE, 1_000)
    lines = drawn(live)
    assert len(lines) == 15, "five lines of what was said stay visible"
    assert lines[10].startswith("trial 10 ") and lines[11].rstrip() == "… and 29 more trainings"
    assert lines[12].startswith("trainings on ") and lines[13].startswith("best ")
    assert lines[14].startswith("trials 7/100")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["trial 12"], "trial 12 runs again"),
        (["trial 12", "trial 15"], "trials 12 and 15 run again"),
        (["finalist 3", "student 1"], "finalist 3 and student 1 run again"),
        (["a prediction", "a prediction"], "a prediction and a prediction run again"),
        ([f"trial {i}" for i in range(64)], "trials 0, 1, 2, 3, 4, 5 and 58 more run again"),
        (["random-forest"], "random-forest runs again"),
    ],
)
def test_lost_node_is_told_with_what_runs_again(labels: list[str], words: str) -> None:
    plain = terminal(is_terminal=False, verbosity="quiet")
    plain.warn_of_loss(NodeLoss("10.0.0.5", True, tuple(labels), 48_000, 31.4))
    (line,) = shown(plain)
    assert line[9:] == f"node 10.0.0.5 was lost: {words}, 48,000 images (31 s) of training are lost"
