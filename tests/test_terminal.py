"""What the terminal shows, with a console that writes into memory."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from fmnist.history import HistoryPoint
from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan
from search.terminal import Terminal

RECIPE = Recipe(Architecture((28, 28, 1), 10, (Block(32, 2, 3),) * 4), TrainingPlan())


def terminal(*, is_terminal: bool, width: int = 80) -> Terminal:
    return Terminal(Console(file=io.StringIO(), force_terminal=is_terminal, width=width, color_system=None))


def shown(terminal: Terminal) -> list[str]:
    return terminal._console.file.getvalue().splitlines()


def drawn(terminal: Terminal) -> list[str]:
    """The redrawn lines, as they are now."""
    with terminal._console.capture() as capture:
        terminal._console.print(terminal._render())
    return capture.get().splitlines()


def test_finished_training_is_a_timed_line_without_a_terminal() -> None:
    plain = terminal(is_terminal=False)
    with plain:
        plain.started("trial 3", RECIPE, 1000)
        plain.progressed("trial 3", HistoryPoint(500, 1.0, 0.1, 1.0, 0.5, 0.4, 0.9123), 0.9123)
        plain.ended("trial 3", "pruned at 500 images")
    (line,) = shown(plain)
    assert line[2] == line[5] == ":"
    assert line[9:].startswith("trial 3     91.23%  pruned at 500 images  c32-c32-p")


@pytest.mark.parametrize("width", [80, 140])
def test_running_trainings_are_a_line_each_and_the_study_one(width: int) -> None:
    live = terminal(is_terminal=True, width=width)
    live.begin("trials", 100, 7, "6 complete, 1 pruned")
    for number in (7, 8):
        live.started(f"trial {number}", RECIPE, 150_000)
        live.progressed(f"trial {number}", HistoryPoint(30_000, 1.0, 0.1, 1.0, 0.5, 0.4, 0.9), 0.9)
    lines = drawn(live)
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("trial 7      20% 90.00%    0:00 left  c32-c32-p")
    assert lines[2].strip() == "trials 7/100 · 6 complete, 1 pruned"


def test_fit_of_unknown_length_shows_the_time_it_has_taken() -> None:
    live = terminal(is_terminal=True)
    live.begin("fitting 9 baselines", 9, 4, counts_trainings=True)
    live.started("random-forest", "random forest on the pixels, 100 trees", None)
    assert " ".join(drawn(live)[0].split()) == "random-forest 0:00 so far random forest on the pixels, 100 trees"
    live.ended("random-forest", "fitted to its end")
    assert "fitting 9 baselines 5/9" in drawn(live)[-1]
    assert "fitted to its end  random forest on the pixels, 100 trees" in shown(live)[0]


def test_line_of_a_finished_training_does_not_wrap_in_a_terminal() -> None:
    live = terminal(is_terminal=True)
    live.started("trial 3", RECIPE, 1000)
    live.ended("trial 3", "stopped early at 1,000 images")
    (line,) = shown(live)
    assert len(line) <= 80
    assert line.rstrip().endswith("…")


def test_count_that_comes_late_is_not_shown() -> None:
    plain = terminal(is_terminal=False)
    plain.begin("trials", 30)
    for n_done in (2, 1, 2, 3):
        plain.advance(n_done, f"{n_done} complete")
    assert [line[9:21] for line in shown(plain)] == ["trials 2/30 ", "trials 3/30 "]


def test_phase_counts_its_trainings_and_estimates_its_end() -> None:
    live = terminal(is_terminal=True)
    live.begin("retraining", 3, 1, counts_trainings=True)
    live.started("seed 1", RECIPE, 1000)
    live.ended("seed 1", "trained to the end")
    assert "retraining 2/3 · 0:00 left" in drawn(live)[-1]


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
        live.started(label, "a baseline", 1000)
    first, second, _ = drawn(live)
    assert first.index("a baseline") == second.index("a baseline")
