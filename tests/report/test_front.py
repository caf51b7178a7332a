"""The report of a study with --front: its networks of every size in figure, table, sentences and JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from search.records.files import StudyFiles
from search.report.analysis.evidence import Evidence
from search.report.analysis.front import FrontView, PlottedNetwork, front_views
from search.report.charts.front import names_below, page_data
from search.report.text import front as text
from search.results.front import FrontPoint
from search.results.reading import read_finished_study
from search.results.result import FinishedStudy
from tests.support.made_front import fail_export
from tests.support.made_study import make_study, write_made_report
from tests.support.made_trials import Made

FRONT = Made(n_trials=20, with_front=True, with_baselines=True)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> FinishedStudy:
    """Four networks; the second is dominated, the third within half a point of the last, which is best.keras."""
    return read(*make_study(tmp_path_factory.mktemp("studies") / "made", FRONT))


@pytest.fixture(scope="module")
def views(study: FinishedStudy) -> dict[str, FrontView]:
    return {view.key: view for view in front_views(study, Evidence(study).baselines)}


def read(files: StudyFiles, trials: list) -> FinishedStudy:
    return read_finished_study(files, trials, command="", importances=None)


def with_points(study: FinishedStudy, change: Callable[[int, FrontPoint], FrontPoint]) -> FinishedStudy:
    return dataclasses.replace(study, front=tuple(change(i, point) for i, point in enumerate(study.front)))


def with_score(point: FrontPoint, accuracy: float) -> FrontPoint:
    return dataclasses.replace(point, training=dataclasses.replace(point.training, confirm_accuracy=accuracy))


def test_there_is_a_view_for_each_cost_and_for_files_one_in_each_format(views: dict[str, FrontView]) -> None:
    of_files = [f"{cost} {name}" for cost in ("bytes", "ms") for name in ("litert", "litert-int8-full", "onnx")]
    assert list(views) == ["multiply_adds", "parameters", *of_files]


def test_networks_stand_at_their_cost_and_test_accuracy(study: FinishedStudy, views: dict[str, FrontView]) -> None:
    shown = {network.name: network for network in views["parameters"].networks}
    for point, predicted in zip(study.front, study.arrays.front_probabilities, strict=True):
        network = shown[point.name]
        assert network.cost == point.record.n_parameters
        assert network.accuracy == pytest.approx(np.mean(predicted.argmax(axis=1) == study.arrays.labels))
    assert shown["ensemble"].cost == study.ensemble.n_parameters
    assert shown["ensemble"].accuracy == study.ensemble_accuracy


def test_files_are_plotted_with_their_own_accuracy(study: FinishedStudy, views: dict[str, FrontView]) -> None:
    first = study.front[0]
    record = first.exported("litert-int8-full")
    network = next(it for it in views["bytes litert-int8-full"].networks if it.name == first.name)
    assert (network.cost, network.accuracy) == (record.n_bytes, record.accuracy)
    assert network.accuracy < first.test_accuracy


def test_intervals_of_all_networks_hold_together(study: FinishedStudy, views: dict[str, FrontView]) -> None:
    n, n_networks = len(study.arrays.labels), len(study.front)
    for key in ("multiply_adds", "bytes litert-int8-full", "ms onnx"):
        for network in views[key].networks:
            if network.interval is None:
                continue
            z = stats.norm.ppf(1 - 0.05 / (2 * n_networks))
            middle = (network.accuracy + z * z / (2 * n)) / (1 + z * z / n)
            half = z / (1 + z * z / n) * np.sqrt(network.accuracy * (1 - network.accuracy) / n + z * z / (4 * n * n))
            assert (network.interval.low, network.interval.high) == pytest.approx((middle - half, middle + half))


def test_axis_shows_every_network_with_its_whole_interval(views: dict[str, FrontView]) -> None:
    for view in views.values():
        for network in view.networks:
            assert view.low < network.accuracy < view.high
            assert network.interval is None or view.low < network.interval.low <= network.interval.high < view.high
        assert all(view.low <= accuracy <= view.high for _, accuracy in view.trials)


def test_trials_are_shown_against_costs_of_networks_only(study: FinishedStudy, views: dict[str, FrontView]) -> None:
    n_complete = sum(trial.state == "complete" for trial in study.trials)
    for view in views.values():
        n = len(view.trials) + view.n_trials_outside
        assert n == (0 if view.cost.is_of_file else n_complete)
    values = {trial.value for trial in study.trials if trial.state == "complete"}
    assert {accuracy for _, accuracy in views["multiply_adds"].trials} <= values


def test_kinds_tell_winner_and_dominated_ones_apart(study: FinishedStudy, views: dict[str, FrontView]) -> None:
    kinds = {network.name: network.kind for network in views["multiply_adds"].networks}
    assert [kinds[point.name] for point in study.front] == ["point", "dominated", "point", "best"]
    assert study.front[-1].record.trial == study.winner.trial


def test_names_of_networks_of_nearly_one_cost_stand_above_and_below() -> None:
    costs = {"a": 100.0, "b": 100.0, "c": 110.0, "far": 1_000.0, "d": 5_000.0, "e": 5_100.0}
    networks = [PlottedNetwork(name, "point", cost, 0.9, None, "") for name, cost in costs.items()]
    assert names_below(networks, 0.1) == {"b", "e"}
    assert names_below(networks[:1], 0.1) == set()
    better = [networks[0], dataclasses.replace(networks[1], accuracy=0.95)]
    assert names_below([*better, networks[3]], 0.1) == {"a"}


def test_network_without_a_file_is_missing_in_that_view_alone(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "s", dataclasses.replace(FRONT, n_trials=12))
    name = files.read_front()[0].name
    fail_export(files, name, "onnx")
    study = read(files, trials)
    for view in front_views(study, ()):
        assert any(network.name == name for network in view.networks) is (view.format != "onnx")
    assert text.failures(study) == [f"ONNX of {name} could not be exported: it failed."]


def test_file_that_was_lost_since_is_not_claimed(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "s", dataclasses.replace(FRONT, n_trials=12))
    name = files.read_front()[-1].name
    (files.front / name / f"{name}-int8-full.tflite").unlink()
    study = read(files, trials)
    assert study.front[-1].exported("litert-int8-full") is None
    (failure,) = text.failures(study)
    assert failure.startswith(f"LiteRT in 8 bits of {name} could not be exported: the file has been removed since")
    assert failure.endswith("the study's command makes it anew.")


def test_front_without_any_file_has_views_of_its_networks(study: FinishedStudy) -> None:
    bare = with_points(study, lambda _, point: dataclasses.replace(point, exports=()))
    assert [view.key for view in front_views(bare, ())] == ["multiply_adds", "parameters"]
    assert text.fewer_bits(bare) == ""


def test_bad_baseline_does_not_squeeze_the_picture(study: FinishedStudy, views: dict[str, FrontView]) -> None:
    (best, *_) = Evidence(study).baselines
    bad = dataclasses.replace(best, rival=dataclasses.replace(best.rival, accuracy=0.2))
    view = front_views(study, [bad])[0]
    assert view.best_baseline is None and view.low > 0.5
    assert views["multiply_adds"].best_baseline == (best.record.name, best.rival.accuracy)


def test_cheapest_within_half_a_point_is_found_by_confirmation_not_by_test(study: FinishedStudy) -> None:
    third, last = study.front[2:]
    said = text.smallest_near_best(study)
    assert f"within half a point of the best ({last.name}, {100 * last.confirm_accuracy:.2f} %) is {third.name}" in said
    ratio = third.record.multiply_adds / last.record.multiply_adds
    assert f"{100 * ratio:.0f} % of its multiply-adds" in said
    lucky = with_points(study, lambda i, point: dataclasses.replace(point, test_accuracy=0.99 if i == 0 else 0.9))
    assert text.smallest_near_best(lucky) == said


def test_where_no_cheaper_network_is_near_that_is_said(study: FinishedStudy) -> None:
    far = with_points(study, lambda i, point: with_score(point, 0.5 + 0.1 * i))
    assert f"no cheaper network is within half a point of the best, {study.front[-1].name} (80.00 %)" in (
        text.smallest_near_best(far)
    )


def test_score_decides_what_is_near_where_the_metric_is_another(study: FinishedStudy) -> None:
    def score(i: int, point: FrontPoint) -> FrontPoint:
        return dataclasses.replace(point, training=dataclasses.replace(point.training, confirm_score=0.9 - 0.1 * i))

    by_f1 = dataclasses.replace(with_points(study, score), config={**study.config, "metric": "macro_f1"})
    said = text.smallest_near_best(by_f1)
    assert said.startswith("By macro F1 on the confirmation split")
    assert said.endswith(f" the cheapest network, {study.front[0].name} (0.900), is the best.")


def test_file_that_loses_too_much_by_8_bits_is_named_with_one_correction_for_all(study: FinishedStudy) -> None:
    said = text.fewer_bits(study)
    p = min(1.0, len(study.front) * 2 * 0.5**8)  # eight images that the model alone has right, of four files
    assert f"In 8 bits {study.front[0].name} loses 0.80 points (p = {p:.3f})" in said
    assert "Holm's correction for 4 files" in said
    assert not any(point.name in said for point in study.front[1:])


def test_where_8_bits_cost_little_the_largest_loss_is_said(study: FinishedStudy) -> None:
    rest = dataclasses.replace(study, front=study.front[1:])
    assert text.fewer_bits(rest).startswith("No network loses more than the 0.50 points")
    assert "the most is 0.10 points" in text.fewer_bits(rest)


def test_dominated_networks_are_named_and_none_is_where_all_are_worth_their_cost(study: FinishedStudy) -> None:
    assert text.dominated(study).startswith(f"{study.front[1].name} is dominated on the confirmation split")
    worth = with_points(study, lambda _, point: dataclasses.replace(point, is_dominated=False))
    assert text.dominated(worth) == ""


def test_single_network_is_spoken_of_in_the_singular(study: FinishedStudy) -> None:
    alone = dataclasses.replace(study, front=study.front[-1:])
    assert text.found(alone).startswith("One network is delivered")
    assert "no cheaper network" in text.smallest_near_best(alone)
    assert "together" not in text.intervals(alone)


def test_page_s_data_is_json_and_cannot_end_its_script(study: FinishedStudy, views: dict[str, FrontView]) -> None:
    data = page_data(list(views.values()))
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    network = next(it for it in data[0]["networks"] if it["name"] == study.front[0].name)
    assert network["link"] == f"#front-{study.front[0].name}"
    assert any("95 % interval" in line for line in network["lines"])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[FinishedStudy, dict]:
    """The study with its written reports, and report.json's content."""
    made = dataclasses.replace(FRONT, class_names=("</script><b>", "a & b", "c"), with_exports=True)
    files, trials = make_study(tmp_path_factory.mktemp("written") / "made", made)
    return read(files, trials), write_made_report(files, trials)


@pytest.mark.renders
def test_every_document_has_every_network_with_its_figures(written: tuple[FinishedStudy, dict]) -> None:
    study, _ = written
    files = study.files
    page, markdown, card = (path.read_text() for path in (files.report_html, files.report_markdown, files.model_card))
    for point in study.front:
        interval = f"{100 * point.test_interval.low:.2f} to {100 * point.test_interval.high:.2f} %"
        for document in (page, markdown, card):
            assert point.name in document and interval in document
        assert f'<tr id="front-{point.name}"' in page
    for sentence in (text.found(study), text.smallest_near_best(study), text.how_chosen(study), text.fewer_bits(study)):
        assert sentence in unescape(page)
        assert sentence in markdown.replace("\\", "")
    guide = files.guide.read_text()
    assert "`front/`" in guide and "`front.json`" in guide


@pytest.mark.renders
def test_sections_are_numbered_on_and_the_contents_lead_to_the_front(written: tuple[FinishedStudy, dict]) -> None:
    page = written[0].files.report_html.read_text()
    numbers = [int(number) for number in re.findall(r"<h2 [^>]*>(\d+)\. ", page)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert '<a href="#front">Networks of every size</a>' in page and "2. Networks of every size" in page


@pytest.mark.renders
def test_json_has_every_figure_of_the_front(written: tuple[FinishedStudy, dict]) -> None:
    study, report = written
    assert [row["name"] for row in report["front"]] == [point.name for point in study.front]
    for row, point in zip(report["front"], study.front, strict=True):
        assert row["test_accuracy"] == point.test_accuracy
        assert row["confirm_accuracy"] == point.confirm_accuracy
        assert row["wilson_95"] == [point.test_interval.low, point.test_interval.high]
        assert (row["is_best"], row["is_dominated"]) == (point.is_best, point.is_dominated)
        assert (study.files.root / row["model"]) == point.model
        assert [(file["format"], file["n_bytes"]) for file in row["exports"]] == [
            (record.format, record.n_bytes) for record in point.exports
        ]
    (of_8_bits,) = [file for file in report["front"][0]["exports"] if "loss" in file]
    assert of_8_bits["loss"] == pytest.approx(0.008)


@pytest.mark.renders
def test_still_picture_is_there_for_pages_and_notebooks(written: tuple[FinishedStudy, dict]) -> None:
    study, _ = written
    assert (study.files.report_pictures / "front.png").read_bytes().startswith(b"\x89PNG")
    assert "report-pictures/front.png" in study.files.report_markdown.read_text()
    figure = study.figures()["front"]
    assert figure.caption.startswith(text.found(study))


@pytest.mark.renders
def test_names_from_data_cannot_break_out_of_the_script(written: tuple[FinishedStudy, dict]) -> None:
    page = written[0].files.report_html.read_text()
    assert page.count("</script>") == page.count("<script") == 2
    data = re.search(r'<script type="application/json" id="front-data">(.*?)</script>', page, re.DOTALL)
    assert data is not None and "<" not in data[1]
    assert len(json.loads(data[1])) == 8


@pytest.mark.renders
def test_report_of_another_study_has_nothing_of_it(tmp_path: Path) -> None:
    made = dataclasses.replace(FRONT, n_trials=6, with_front=False)
    files, trials = make_study(tmp_path / "s", made)
    report = write_made_report(files, trials)
    assert "front" not in report
    page = files.report_html.read_text()
    assert "<script" not in page and "front-" not in page
    assert "Networks of every size" not in files.report_markdown.read_text()
    assert "front" not in read(files, trials).figures()
