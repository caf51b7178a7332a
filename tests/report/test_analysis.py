"""What a report says of its own figures, each recomputed from the stored predictions in another way."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from search.records.files import StudyFiles
from search.records.models import EvaluationArrays, TrialRecord
from tests.support.made_study import make_study, write_made_report
from tests.support.made_trials import Made

pytestmark = pytest.mark.renders


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFiles, list[TrialRecord], dict]:
    files, trials = make_study(tmp_path_factory.mktemp("studies") / "made")
    return files, trials, write_made_report(files, trials)


@pytest.fixture
def arrays(study) -> EvaluationArrays:
    return study[0].read_test_arrays()


def confirmation(files: StudyFiles, trial: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(files.confirm_arrays(trial)) as stored:
        return stored["labels"].astype(int), stored["probabilities"].astype(float)


def sharpened(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    powers = probabilities.astype(float) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def test_steps_from_selection_to_test_are_those_of_the_records(study, arrays) -> None:
    files, trials, report = study
    selection_bias = report["evidence"]["optimism"]
    labels, probabilities = confirmation(files, report["best"]["trial"])
    assert selection_bias["confirm_accuracy"] == pytest.approx(
        metrics.accuracy_score(labels, probabilities.argmax(axis=1))
    )
    assert selection_bias["test_accuracy"] == pytest.approx(
        (arrays.probabilities.argmax(axis=2) == arrays.labels).mean()
    )
    assert selection_bias["search_accuracy"] == trials[report["best"]["trial"]].value
    assert selection_bias["n_tried"] == sum(bool(trial.history) for trial in trials)
    assert selection_bias["n_finalists"] == len(report["finalists"])


def test_luck_is_what_equal_configurations_show_in_a_simulation(study) -> None:
    selection_bias = study[2]["evidence"]["optimism"]
    draws = np.random.default_rng(0).binomial(
        500, selection_bias["confirm_accuracy"], (20_000, selection_bias["n_tried"])
    )
    best = draws.max(axis=1) / 500
    assert selection_bias["selection_luck"]["expected"] == pytest.approx(best.mean(), abs=5e-4)
    assert selection_bias["selection_luck"]["high"] == pytest.approx(np.quantile(best, 0.95), abs=2e-3)


def test_finalists_are_tested_against_the_winner_on_the_same_images(study) -> None:
    files, _, report = study
    labels, winner = confirmation(files, report["best"]["trial"])
    p_values = {}
    for row in report["evidence"]["finalists_against_winner"]:
        _, other = confirmation(files, int(row["name"].removeprefix("trial ")))
        a, b = winner.argmax(axis=1) == labels, other.argmax(axis=1) == labels
        only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
        assert (row["test"]["n_only_a"], row["test"]["n_only_b"]) == (only_a, only_b)
        n, k = only_a + only_b, min(only_a, only_b)
        p_values[row["name"]] = min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)
        assert row["test"]["p_value"] == pytest.approx(p_values[row["name"]])
        assert row["accuracy"] == pytest.approx(b.mean())
    assert len(p_values) == len(report["finalists"]) - 1
    smallest = min(p_values, key=p_values.get)
    adjusted = {row["name"]: row["p_adjusted"] for row in report["evidence"]["finalists_against_winner"]}
    assert adjusted[smallest] == pytest.approx(min(1.0, len(p_values) * p_values[smallest]))


def test_temperature_is_the_best_of_a_grid_on_the_confirmation_split(study) -> None:
    files, _, report = study
    labels, probabilities = confirmation(files, report["best"]["trial"])
    grid = np.geomspace(0.2, 5, 400)
    losses = [metrics.log_loss(labels, sharpened(probabilities, t), labels=range(10)) for t in grid]
    calibration = report["evidence"]["calibration"]
    assert calibration["temperature"] == pytest.approx(grid[np.argmin(losses)], rel=0.02)
    assert calibration["n_fitted_on"] == len(labels)


@pytest.mark.parametrize("part", ["before", "after"])
def test_calibration_figures_are_those_of_the_stored_predictions(study, arrays, part: str) -> None:
    calibration = study[2]["evidence"]["calibration"]
    temperature = calibration["temperature"] if part == "after" else 1.0
    probabilities = sharpened(arrays.probabilities[0], temperature)
    found, confidences = calibration[part], probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == arrays.labels
    assert found["log_loss"] == pytest.approx(metrics.log_loss(arrays.labels, probabilities), rel=1e-4)
    assert found["mean_confidence"] == pytest.approx(confidences.mean(), rel=1e-5)
    error = 0.0
    for i in range(15):
        inside = (confidences > i / 15) & (confidences <= (i + 1) / 15)
        error += abs((is_right[inside] - confidences[inside]).sum()) / len(is_right)
    assert found["expected_calibration_error"] == pytest.approx(error, abs=1e-5)


def test_temperature_lies_beside_the_model_with_what_it_brings(study) -> None:
    files, _, report = study
    note, calibration = json.loads(files.temperature.read_text()), report["evidence"]["calibration"]
    assert note["temperature"] == calibration["temperature"]
    assert note["test_log_loss"] == {part: calibration[part]["log_loss"] for part in ("before", "after")}


def test_accuracy_by_confidence_leaves_the_least_sure_out(study, arrays) -> None:
    order = np.argsort(arrays.probabilities[0].max(axis=1), kind="stable")
    is_right = (arrays.probabilities[0].argmax(axis=1) == arrays.labels)[order]
    rows = study[2]["evidence"]["accuracy_by_confidence"]
    assert [row["share_left"] for row in rows] == [0.0, 0.01, 0.05, 0.1, 0.2]
    for row in rows:
        n_left = len(is_right) - row["n_kept"]
        assert n_left == round(row["share_left"] * len(is_right))
        assert row["accuracy_kept"] == pytest.approx(is_right[n_left:].mean())


def test_suspect_labels_are_those_all_retrainings_disagree_with(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "made")
    with np.load(files.test_arrays) as stored:
        changed = dict(stored)
    wrong = int(changed["mistake_indices"][0])
    other = int(changed["probabilities"][0, wrong].argmax())
    changed["probabilities"][:, wrong] = 0.05 / 9
    changed["probabilities"][:, wrong, other] = 0.95
    np.savez(files.test_arrays, **changed)
    (suspect,) = write_made_report(files, trials)["evidence"]["suspect_labels"]
    assert (suspect["index"], suspect["true"], suspect["predicted"]) == (wrong, int(changed["labels"][wrong]), other)
    assert "Labels that may be wrong" in files.report_html.read_text()
    assert (files.report_pictures / "suspects.png").exists()


def test_rungs_count_where_trials_ended(study) -> None:
    _, trials, report = study
    lengths = Counter(trial.n_images for trial in trials if trial.n_images)
    rungs = report["evidence"]["rungs"]
    assert {rung["n_images"]: rung["n_ended"] for rung in rungs} == dict(lengths)
    assert [rung["n_reached"] for rung in rungs] == [
        sum(n for length, n in lengths.items() if length >= rung["n_images"]) for rung in rungs
    ]


def test_changed_images_are_in_report_and_page(study) -> None:
    files, _, report = study
    rows = report["evidence"]["changed_images"]
    assert len(rows) > 8
    assert rows == [{"kind": row["kind"], "change": row["change"], "accuracy": row["accuracy"]} for row in rows]
    assert 'id="errors"' in files.report_html.read_text()


def test_model_card_names_use_data_figures_and_limits(study) -> None:
    files, _, report = study
    card = files.model_card.read_text()
    for heading in ("## Model", "## Intended use", "## Data", "## How good it is", "## Limits"):
        assert heading in card
    assert f"{100 * report['test']['accuracy']['delivered']['value']:.2f} %" in card
    assert "Fashion-MNIST" not in card  # these are other images


@pytest.mark.parametrize("dataset", ["fashion-mnist", "../odd: [1] 'x' # \N{PILE OF POO}"])
def test_hub_reads_the_metadata_of_a_model_card(tmp_path: Path, dataset: str) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="needs the extra test")
    files, trials = make_study(tmp_path / "made", Made(dataset=dataset))
    report = write_made_report(files, trials)
    data = huggingface_hub.ModelCard(files.model_card.read_text()).data
    assert (data.library_name, data.pipeline_tag) == ("keras", "image-classification")
    assert data.datasets == (["zalando-datasets/fashion_mnist"] if dataset == "fashion-mnist" else None)
    accuracy, f1 = data.eval_results
    assert (accuracy.task_type, accuracy.dataset_name, accuracy.metric_type) == (
        "image-classification",
        dataset,
        "accuracy",
    )
    assert accuracy.metric_value == report["test"]["accuracy"]["delivered"]["value"]
    assert (f1.metric_type, f1.dataset_split) == ("f1", "test")


def test_report_of_a_study_without_changed_images_leaves_them_out(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "made", Made(with_changed_images=False))
    report = write_made_report(files, trials)
    assert report["evidence"]["changed_images"] == []
    assert "Right, but only just" not in files.report_html.read_text()


def test_baselines_are_tested_against_the_delivered_model_on_the_same_images(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "made", Made(with_baselines=True))
    evidence = write_made_report(files, trials)["evidence"]
    arrays = files.read_test_arrays()
    is_right = arrays.probabilities[0].argmax(axis=1) == arrays.labels
    smallest, p_values = None, []
    for score in evidence["baselines"]:
        with np.load(files.baseline_arrays(score["record"]["name"])) as stored:
            predicted = stored["predicted"]
        theirs = predicted == arrays.labels
        assert score["rival"]["accuracy"] == pytest.approx(theirs.mean())
        assert score["macro_f1"] == pytest.approx(metrics.f1_score(arrays.labels, predicted, average="macro"))
        only_model, only_baseline = int((is_right & ~theirs).sum()), int((theirs & ~is_right).sum())
        assert (score["rival"]["test"]["n_only_a"], score["rival"]["test"]["n_only_b"]) == (only_model, only_baseline)
        p_values.append(score["rival"]["test"]["p_value"])
        smallest = min(p_values)
    assert evidence["baselines"] == sorted(evidence["baselines"], key=lambda score: -score["rival"]["accuracy"])
    adjusted = min(score["rival"]["p_adjusted"] for score in evidence["baselines"])
    assert adjusted == pytest.approx(min(1.0, len(p_values) * smallest))
    assert len(evidence["failed_baselines"]) == 1
    page = files.report_html.read_text()
    assert all(score["record"]["name"] in page for score in evidence["baselines"])
    assert "could not be scored" in page
