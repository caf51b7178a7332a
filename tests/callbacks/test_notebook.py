"""What a notebook shows of a run, with a kernel that keeps it."""

from __future__ import annotations

import io
import re
import sys

import pytest
from rich.console import Console

from search.callbacks.notebook import MOST_LINES, RunOutput
from search.callbacks.reporter import INFO, NodeLoss
from search.callbacks.terminal import Terminal
from tests.support.fake_notebook import FakeNotebook, notebook_in
from tests.support.reporting import POINT, RECIPE, progress, tell_a_training, tell_the_end


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> FakeNotebook:
    return notebook_in(monkeypatch)


def drawn(terminal: Terminal) -> str:
    """The HTML of the run as it is now."""
    bundle = terminal._draw_output()
    assert bundle is not None
    return bundle["text/html"]


def test_run_is_one_output_whose_last_state_has_all_that_came_out(
    notebook: FakeNotebook, capsys: pytest.CaptureFixture[str]
) -> None:
    with Terminal() as terminal:
        terminal.say("study s in studies/s")
        terminal.begin("trials", 2)
        tell_a_training(terminal)
        terminal.advance(progress(1, 0.9))
        terminal.warn("the storage does not answer")
        tell_the_end(terminal)
    assert len(notebook.outputs) == 1
    for said in (
        *("test accuracy 94.00%", "the storage does not answer", "study s in studies/s", "m.keras", "done in "),
        *("trial 3 90.00% trained to the end", "trial 7, the winner 93.50% 94.60% (94.0 to 95.2)"),
    ):
        assert said in notebook.words
    assert "> trial 7 " in notebook.text and "test accuracy 94.00%" in notebook.text
    assert "\x1b" not in notebook.html + notebook.text
    assert capsys.readouterr() == ("", "")


def test_run_under_way_shows_phase_best_trial_and_a_row_for_each_training(notebook: FakeNotebook) -> None:
    with Terminal() as terminal:
        assert "preparing" in notebook.words
        terminal.begin("trials", 100, 25, progress(25, 0.9372))
        for number in (7, 8):
            terminal.on_training_start(f"trial {number}", RECIPE, 150_000)
            terminal.on_evaluation(f"trial {number}", POINT, 0.9)
        html = drawn(terminal)
    assert "<b>trials 25/100</b>" in html and 'aria-valuenow="25"' in html
    assert "best 93.72% (93.0 to 94.4) · trial 17" in html
    assert html.count("<tr") == 3 and html.count(">150k<") == html.count(">20%<") == html.count(">90.00%<") == 2


def test_run_on_a_cluster_shows_its_nodes_while_it_lasts_and_then_what_was_lost(notebook: FakeNotebook) -> None:
    with Terminal() as terminal:
        terminal.begin("trials", 100)
        terminal.show_nodes({"10.0.0.1": 3, "10.0.0.2": 4})
        assert "trainings on 10.0.0.1: 3, 10.0.0.2: 4" in drawn(terminal)
        terminal.warn_of_loss(NodeLoss("10.0.0.1", True, ("trial 7",), 700, 12.0))
    assert "trainings on" not in notebook.words
    assert "⚠ node 10.0.0.1 was lost: trial 7 runs again, 700 images (12 s) of training are lost" in notebook.words


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyboardInterrupt, "stopped after 0.0 s; everything finished so far is kept, the same call goes on from here"),
        (ValueError, "ended by an error after 0.0 s; everything finished so far is kept"),
    ],
)
def test_run_that_did_not_come_to_its_end_says_so_and_how_far_it_was(
    error: type[BaseException], said: str, notebook: FakeNotebook
) -> None:
    with pytest.raises(error), Terminal() as terminal:
        terminal.begin("trials", 100, 7, progress(7, 0.9372))
        terminal.on_training_start("trial 9", RECIPE, 150_000)
        raise error
    assert notebook.words.startswith("trials 7/100 · 7 complete best 93.72%")
    assert said.partition(" after ")[0] in notebook.words and said.rpartition(";")[2] in notebook.words
    assert "trial 9" not in notebook.words


def test_second_run_of_a_terminal_has_an_output_of_its_own_and_nothing_of_the_first(notebook: FakeNotebook) -> None:
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), terminal:
        terminal.begin("trials", 100)
        terminal.on_training_start("trial 9", RECIPE, 150_000)
        raise KeyboardInterrupt
    with terminal:
        assert notebook.words == "preparing"
    assert len(notebook.outputs) == 2


def test_several_runs_within_a_block_share_its_output(notebook: FakeNotebook) -> None:
    with Terminal() as terminal:
        for name in ("first", "second"):
            with terminal:  # as run_study does
                terminal.say(name)
    assert len(notebook.outputs) == 1 and "first second" in notebook.words


def test_quiet_shows_results_and_problems_alone(notebook: FakeNotebook) -> None:
    with Terminal(verbosity="quiet") as quiet:
        quiet.begin("trials", 2)
        tell_a_training(quiet)
        assert notebook.outputs == []
        quiet.warn("the storage does not answer")
        assert "the storage does not answer" in drawn(quiet) and "trials" not in drawn(quiet)
        tell_the_end(quiet)
    assert "test accuracy 94.00%" in notebook.words and "trial 3" not in notebook.words


def test_names_are_text_and_steer_nothing(notebook: FakeNotebook) -> None:
    with Terminal() as terminal:
        terminal.begin("<b>phase</b>", 2)
        terminal.say("classes: <script>alert(1)</script>, red\x1b[31m")
        terminal.warn("<img src=x>")
        terminal.show_result("<i>", {}, {"model": "<u>"})
    assert not any(tag in notebook.html for tag in ("<script", "<img", "<b>phase", "<i>", "<u>", "\x1b"))
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;, red\x1b[31m" in notebook.html


def test_text_has_the_colours_of_the_notebook(notebook: FakeNotebook) -> None:
    """Which may be light or dark."""
    with Terminal() as terminal:
        terminal.begin("trials", 2, 1, progress(1, 0.9))
        terminal.on_training_start("trial 9", RECIPE, 150_000)
        terminal.warn("the storage does not answer")
        under_way = drawn(terminal)
        tell_the_end(terminal)
    colours = set(re.findall(r"(?<![\w-])color:([^;\"]+)", under_way + notebook.html))
    backgrounds = set(re.findall(r"(?<![\w-])background:([^;\"]+)", notebook.html))
    assert colours == {"inherit"} and backgrounds == {"none"}


def test_long_run_keeps_its_last_lines() -> None:
    output = RunOutput()
    for number in range(MOST_LINES + 10):
        output.say(f"line {number}.", INFO)
    output.end(None)
    html = (output.draw(None, {}) or {})["text/html"]
    assert "line 9." not in html and "line 10." in html and f"the last {MOST_LINES} of {MOST_LINES + 10} lines" in html


def test_console_of_the_caller_s_own_is_written_to_in_a_notebook_too(notebook: FakeNotebook) -> None:
    file = io.StringIO()
    with Terminal(Console(file=file, force_jupyter=False)) as terminal:
        terminal.say("hello")
    assert "hello" in file.getvalue() and notebook.outputs == []


def test_what_is_said_outside_of_a_run_is_plain_text(notebook: FakeNotebook, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    Terminal().say("hello")
    assert file.getvalue().endswith(" hello\n") and notebook.outputs == []
