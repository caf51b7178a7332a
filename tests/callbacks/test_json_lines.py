"""What a program reads of a run: one JSON object a line."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from search.callbacks.json_lines import JsonReporter
from search.callbacks.reporter import NodeLoss
from tests.support.reporting import POINT, RECIPE, progress, tell_a_training, tell_the_end


def events(console: Console) -> list[dict[str, Any]]:
    return [json.loads(line) for line in console.file.getvalue().splitlines()]


def test_json_lines_say_all_that_the_terminal_shows() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)  # even there: one object a line, unbroken
    reporter = JsonReporter(console, "verbose")
    with reporter:
        reporter.begin("trials", 2)
        reporter.say("a message\nof two lines")
        tell_a_training(reporter)
        reporter.advance(progress(1, 0.9, pruned=1))
        tell_the_end(reporter)
    written = events(console)
    assert all(event["time"].endswith("+00:00") for event in written)
    by_name: dict[str, Any] = {event["event"]: event for event in written}
    assert [event["event"] for event in written] == list(by_name)
    assert by_name["phase"]["n_total"] == 2
    assert by_name["message"]["text"] == "a message\nof two lines"
    assert by_name["training_started"]["network"] == str(RECIPE)
    assert by_name["progress"]["validation_accuracy"] == by_name["training_ended"]["best_accuracy"] == 0.9
    assert by_name["standing"]["counts"]["pruned"] == 1
    assert by_name["standing"]["best"]["interval"] == {"low": 0.93, "high": 0.944}
    assert [row["trial"] for row in by_name["finalists"]["rows"]] == [7, 0]
    assert by_name["result"]["test_accuracy"] == 0.94 and by_name["result"]["model"] == "m.keras"


def test_count_that_comes_late_is_not_written() -> None:
    console = Console(file=io.StringIO())
    reporter = JsonReporter(console)
    reporter.begin("trials", 30)
    for n_done in (2, 1, 2, 3):
        reporter.advance(progress(n_done))
    assert [event["counts"]["complete"] for event in events(console)[1:]] == [2, 3]


def test_table_is_written_as_rows_of_text() -> None:
    console = Console(file=io.StringIO())
    table = Table("name", "seconds")
    table.add_row("search", "3")
    JsonReporter(console).show(table)
    assert (events(console)[0]["columns"], events(console)[0]["rows"]) == (["name", "seconds"], [["search", "3"]])


def test_quiet_writes_the_result_and_what_went_wrong_alone() -> None:
    console = Console(file=io.StringIO())
    reporter = JsonReporter(console, "quiet")
    reporter.begin("trials", 2)
    reporter.warn("the storage does not answer")
    tell_a_training(reporter)
    tell_the_end(reporter)
    assert [event["event"] for event in events(console)] == ["message", "finalists", "result"]


@pytest.mark.parametrize(
    "name", ["red\x1b[31m", "two\nlines", '"', "\u2028", "\u202e", "猫", "👩\u200d🌾", "\udcff", "\0", "x" * 9999]
)
def test_any_name_is_one_line_of_json_in_ascii(name: str) -> None:
    file = io.StringIO()
    JsonReporter(Console(file=file)).say(f"classes: {name}")
    (line,) = file.getvalue().splitlines()
    assert line.isascii() and json.loads(line)["text"] == f"classes: {name}"


def test_scores_are_there_where_another_metric_than_accuracy_decides_and_only_there() -> None:
    names = {}
    for score in (None, -0.5):
        console = Console(file=io.StringIO(), width=80)
        with JsonReporter(console, "verbose") as reporter:
            reporter.on_training_start("trial 3", RECIPE, 1000)
            reporter.on_evaluation("trial 3", replace(POINT, validation_score=score), 0.9)
            reporter.on_training_end("trial 3", "trained to the end")
            best = replace(progress(1, 0.9).best, score=score)
            reporter.advance(replace(progress(1, 0.9), best=best))
        _, evaluated, ended, standing = events(console)
        found = [evaluated.get("validation_score"), evaluated.get("best_score"), ended.get("best_score")]
        assert [*found, standing["best"].get("score")] == [score] * 4
        names[score] = [name for event in (evaluated, ended, standing["best"]) for name in event if "score" in name]
    assert names == {None: [], -0.5: ["best_score", "validation_score", "best_score", "score"]}


def test_length_that_a_timeout_changed_is_told_with_the_progress() -> None:
    for verbosity, told in (("verbose", [2000]), ("normal", [])):
        console = Console(file=io.StringIO(), width=80)
        with JsonReporter(console, verbosity) as reporter:
            reporter.on_training_start("finalist 3", RECIPE, 1000)
            reporter.on_training_length("finalist 3", 2000)
            reporter.on_training_end("finalist 3", "trained to the end")
        lengths = [event for event in events(console) if event["event"] == "training_length"]
        assert [event["n_planned_images"] for event in lengths] == told


def test_nodes_are_written_as_they_change_and_a_lost_one_with_what_it_cost() -> None:
    console = Console(file=io.StringIO())
    reporter = JsonReporter(console)
    reporter.show_nodes({"a": 1, "b": 0})
    reporter.show_nodes({"a": 1, "b": 0})
    reporter.show_nodes({"a": 1, "b": 2})
    reporter.show_nodes({"b": 2}, 1)
    reporter.warn_of_loss(NodeLoss("a", True, ("trial 3",), 700, 12.0))
    reporter.show_nodes(None)
    *nodes, lost = events(console)
    assert [(event["trainings"], event["n_waiting"]) for event in nodes] == [
        ({"a": 1, "b": 0}, 0),
        ({"b": 2}, 0),
        ({"a": None}, 1),
    ]
    assert lost["event"] == "node_lost" and lost["text"].startswith("node a was lost: trial 3 runs again, 700 images")
    assert (lost["node"], lost["is_whole"], lost["trainings"]) == ("a", True, ["trial 3"])
    assert (lost["n_images"], lost["seconds"]) == (700, 12.0)
