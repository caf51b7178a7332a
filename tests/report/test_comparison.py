"""Two made-up studies compared: every number recomputed, and nothing said that the images do not bear out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from fmnist.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES
from search.records.io import read_json, write_arrays, write_json
from search.records.models import DataRecord, TrialRecord
from search.report.analysis.trials import best_so_far
from search.report.comparison import text as words
from search.report.comparison.data import Comparison, entries
from search.report.comparison.page import write_comparison
from search.report.comparison.rows import accuracy_rows
from search.report.comparison.summary import summarize
from search.results.reading import read_finished_study
from search.results.result import FinishedStudy
from tests.support.made_study import make_study
from tests.support.made_trials import Made

pytestmark = pytest.mark.renders

SMALL = Made(n_trials=20, n_test=600)


def study_result(root: Path, made: Made) -> FinishedStudy:
    files, trials = make_study(root, made)
    return read_finished_study(files, trials, command=f"python -m search.run --study {root.name}", importances=None)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """alpha and beta, both tested on the same images; beta makes fewer mistakes."""
    folder = tmp_path_factory.mktemp("studies")
    beta = replace(SMALL, seed=1, n_trials=30, n_seeds=2, mistake_share=0.02)
    return Comparison(
        study_result(folder / "alpha", replace(SMALL, mistake_share=0.1)), study_result(folder / "beta", beta)
    )


@pytest.fixture(scope="module")
def found(compared: Comparison) -> dict:
    return summarize(compared)


def predictions(study_result: FinishedStudy) -> tuple[np.ndarray, np.ndarray]:
    """Labels and, of each retraining, predicted classes, from the stored file."""
    with np.load(study_result.files.test_arrays) as arrays:
        return arrays["labels"], arrays["probabilities"].argmax(axis=2)


@pytest.mark.parametrize("side", ["a", "b"])
def test_accuracies_are_those_of_the_stored_predictions(compared: Comparison, found: dict, side: str) -> None:
    labels, predicted = predictions(getattr(compared, side))
    values, test = [np.mean(seed == labels) for seed in predicted], found["test"][side]
    assert test["values"] == pytest.approx(values)
    assert test["mean"] == pytest.approx(np.mean(values))
    assert test["sd"] == pytest.approx(np.std(values, ddof=1))
    assert test["wilson_95"] == pytest.approx(wilson(round(np.mean(values) * len(labels)), len(labels)))
    assert test["delivered"]["wilson_95"] == pytest.approx(wilson(int(sum(predicted[0] == labels)), len(labels)))
    assert test["macro_f1"] == pytest.approx(metrics.f1_score(labels, predicted[0], average="macro"))


def wilson(n_right: int, n: int) -> list[float]:
    z, share = 1.959963984540054, n_right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return [middle - half, middle + half]


def test_mcnemar_is_the_binomial_of_the_images_that_one_alone_has_right(compared: Comparison, found: dict) -> None:
    labels, (a, *_) = predictions(compared.a)
    _, (b, *_) = predictions(compared.b)
    n_only_a = sum(bool(x == y != z) for x, y, z in zip(labels, a, b, strict=True))
    n_only_b = sum(bool(x == z != y) for x, y, z in zip(labels, a, b, strict=True))
    assert found["test"]["mcnemar"] == {
        "n_only_a": n_only_a,
        "n_only_b": n_only_b,
        "p_value": pytest.approx(two_sided(n_only_a, n_only_b)),
    }
    assert found["test"]["mean_difference"] == pytest.approx(found["test"]["b"]["mean"] - found["test"]["a"]["mean"])


def two_sided(n_a: int, n_b: int) -> float:
    """Probability of a division as uneven, were each image as likely to fall to either."""
    n, fewer = n_a + n_b, min(n_a, n_b)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(fewer + 1)) / 2**n)


def test_classes_are_scored_and_tested_one_by_one(compared: Comparison, found: dict) -> None:
    labels, (a, *_) = predictions(compared.a)
    _, (b, *_) = predictions(compared.b)
    for figure, score in (
        ("precision", metrics.precision_score), ("recall", metrics.recall_score), ("f1", metrics.f1_score)
    ):  # fmt: skip
        for side, predicted in (("a", a), ("b", b)):
            expected = score(labels, predicted, average=None)
            assert [row[f"{figure}_{side}"] for row in found["classes"]] == pytest.approx(list(expected))
    for label, row in enumerate(found["classes"]):
        of_class = labels == label
        n_only_a = int(np.sum(of_class & (a == labels) & (b != labels)))
        n_only_b = int(np.sum(of_class & (b == labels) & (a != labels)))
        assert (row["n_only_a"], row["n_only_b"]) == (n_only_a, n_only_b)
        assert row["p_value"] == pytest.approx(two_sided(n_only_a, n_only_b))
        assert row["recall_difference"] == pytest.approx(row["recall_b"] - row["recall_a"])
        assert row["n_images"] == of_class.sum()


def test_p_values_of_classes_are_adjusted_by_holm(found: dict) -> None:
    rows = sorted(found["classes"], key=lambda row: row["p_value"])
    highest = 0.0
    for rank, row in enumerate(rows):
        highest = max(highest, min(1.0, row["p_value"] * (len(rows) - rank)))
        assert row["p_adjusted"] == pytest.approx(highest)


def test_calibration_is_that_of_the_delivered_model(compared: Comparison, found: dict) -> None:
    with np.load(compared.b.files.test_arrays) as arrays:
        labels, probabilities = arrays["labels"], arrays["probabilities"][0].astype(float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert found["test"]["b"]["mean_confidence"] == pytest.approx(probabilities.max(axis=1).mean())
    assert found["test"]["b"]["log_loss"] == pytest.approx(metrics.log_loss(labels, probabilities), rel=1e-5)
    confidences, is_right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidences * 15 - 1e-12).astype(int), 14)
    error = sum(abs(np.sum(is_right[bins == i] - confidences[bins == i])) for i in range(15)) / len(labels)
    assert found["test"]["b"]["expected_calibration_error"] == pytest.approx(error)


@pytest.mark.parametrize("side", ["a", "b"])
def test_costs_are_sums_of_the_records(compared: Comparison, found: dict, side: str) -> None:
    files, trials, cost = getattr(compared, side).files, getattr(compared, side).trials, found["cost"][side]
    assert cost["images_trained"]["search"] == sum(trial.n_images for trial in trials)
    assert cost["images_trained"]["confirm"] == sum(record.n_images for record in files.read_confirm_records())
    assert cost["images_trained"]["refit"] == sum(record.n_images for record in files.read_refit_records())
    assert cost["seconds"]["total"] == pytest.approx(sum(files.read_ledger().values()))
    assert cost["model_bytes"] == files.model.stat().st_size


def trial(number: int, value: float | None, n_images: int, minute: int) -> TrialRecord:
    return TrialRecord(
        number, "pruned" if value is None else "complete", value, {}, "sampler", "", n_images=n_images,
        finished=f"2026-01-02T03:{minute:02}:00+00:00",
    )  # fmt: skip


def test_best_so_far_follows_the_order_in_which_trials_ended() -> None:
    trials = [
        trial(0, 0.7, 10, 9),
        trial(1, None, 1, 1),
        trial(2, 0.5, 10, 2),
        trial(3, 0.6, 20, 3),
        trial(4, 0.2, 10, 4),
    ]
    points = [(point.n_trials, point.n_images, point.selection_accuracy) for point in best_so_far(trials)]
    assert points == [(2, 11, 0.5), (3, 31, 0.6), (5, 51, 0.7)]


def test_search_that_ends_without_a_new_best_still_has_its_end() -> None:
    points = best_so_far([trial(0, 0.7, 10, 1), trial(1, 0.6, 10, 2), trial(2, None, 5, 3)])
    assert [(point.n_trials, point.n_images, point.selection_accuracy) for point in points] == [
        (1, 10, 0.7),
        (3, 25, 0.7),
    ]


def test_search_without_a_trial_trained_to_its_end_has_no_curve() -> None:
    assert best_so_far([trial(0, None, 10, 1), trial(1, None, 10, 2)]) == ()


def test_curves_end_with_all_trials_and_all_images(compared: Comparison, found: dict) -> None:
    for side in ("a", "b"):
        trials, end = getattr(compared, side).trials, found["searches"][side]["best_so_far"][-1]
        assert end["n_trials"] == len(trials) == sum(found["searches"][side]["trials"].values())
        assert end["n_images"] == sum(it.n_images for it in trials)
        assert end["selection_accuracy"] == max(it.value for it in trials if it.value is not None)


def test_entries_of_both_are_set_side_by_side() -> None:
    found = {entry.name: (entry.a, entry.b, entry.differs) for entry in entries({"x": 1, "y": 2}, {"y": 2, "z": [3]})}
    assert found == {"x": (1, None, True), "y": (2, 2, False), "z": (None, [3], True)}


def test_what_differs_between_two_studies_is_marked(compared: Comparison, found: dict) -> None:
    differing = {entry["name"] for entry in found["recipes"] if entry["differs"]}
    a, b = compared.a.recipe, compared.b.recipe
    assert ("peak learning rate" in differing) == (a.plan.peak_learning_rate != b.plan.peak_learning_rate)
    assert {f"block {i + 1}" for i in range(4)} & differing == {
        f"block {i + 1}"
        for i in range(4)
        if a.architecture.blocks[i : i + 1] != b.architecture.blocks[i : i + 1]
    }  # fmt: skip
    assert {entry["name"]: entry["differs"] for entry in found["data_and_seeds"]} == {
        "data set": False,
        "MD5 of train-images.gz": False,
        "MD5 of train-labels.gz": False,
        "image shape": False,
        "classes": False,
        "train images": False,
        "selection images": False,
        "confirmation images": False,
        "test images": False,
        "seed of the study": True,
        "seed of the split": False,
        "checksum of the split": False,
        "seed of the winner as a finalist": compared.a.winner.seed != compared.b.winner.seed,
        "seeds of what is delivered": True,
        "trials asked for": False,
        "test set opened": False,
    }


def test_sentences_name_the_better_one_and_its_lead(compared: Comparison, found: dict) -> None:
    said = words.verdict(compared)
    assert "The mean test accuracy of beta is" in said
    assert f"{100 * found['test']['mean_difference']:.2f} points above that of alpha" in said
    assert found["test"]["mcnemar"]["p_value"] < 0.05
    assert "so the model of beta is better on images like these" in said
    swapped = words.verdict(Comparison(compared.b, compared.a))
    assert "so the model of beta is better on images like these" in swapped


def test_a_difference_that_chance_explains_settles_nothing(tmp_path: Path) -> None:
    a, b = (study_result(tmp_path / name, replace(SMALL, seed=seed)) for name, seed in (("a", 0), ("b", 1)))
    comparison = Comparison(a, b)
    assert comparison.test.p_value > 0.05
    assert "so these images don't settle which model is better" in words.delivered(comparison)


def test_equal_models_are_called_equal(tmp_path: Path) -> None:
    comparison = Comparison(study_result(tmp_path / "a", SMALL), study_result(tmp_path / "b", SMALL))
    path = write_comparison(comparison.a, comparison.b, tmp_path)
    assert comparison.test.p_value == 1.0
    assert "Both have a mean test accuracy of" in words.verdict(comparison)
    assert "have the same ones of 600 test images right" in words.verdict(comparison)
    assert words.classes(comparison) == "Both models find the same share of every class."
    assert "Both searches ended at the same best" in words.curves(comparison)
    assert "are the same" in words.what_differs(comparison.recipes)
    assert path.exists()


def test_one_training_is_said_to_tell_nothing_of_seeds(compared: Comparison, tmp_path: Path) -> None:
    single = study_result(tmp_path / "single", replace(SMALL, n_seeds=1))
    assert "one training does not tell how far another seed would land" in words.accuracies(
        Comparison(compared.b, single)
    )


def test_page_is_one_file_with_a_sentence_for_every_picture_and_table(compared: Comparison, tmp_path: Path) -> None:
    html = write_comparison(compared.a, compared.b, tmp_path).read_text()
    assert json.loads((tmp_path / "compare-alpha-beta.json").read_text()) == summarize(compared)
    for say in (
        "verdict", "accuracies", "delivered", "classes", "calibration", "curves", "searches", "costs", "time_spent",
        "images_seen", "networks",
    ):  # fmt: skip
        assert text_in_html(getattr(words, say)(compared)) in html
    for found in (compared.recipes, compared.data_and_seeds, compared.machines, compared.settings):
        assert text_in_html(words.what_differs(found)) in html
    assert html.count("<img ") == html.count("<figcaption>") == 3


def text_in_html(text: str) -> str:
    return text.replace("&", "&amp;").replace("'", "&#39;").replace("<", "&lt;").replace(">", "&gt;")


def with_checksums(
    study_result: FinishedStudy, checksums: dict[str, str], of_pixels: str | None = None
) -> FinishedStudy:
    """of_pixels: of the test images."""
    record = read_json(DataRecord, study_result.files.data)
    write_json(study_result.files.data, replace(record, checksums=checksums, test_checksum=of_pixels))
    return read_finished_study(study_result.files, study_result.trials, command="", importances=None)


def with_first_label_changed(study_result: FinishedStudy) -> FinishedStudy:
    """And with predictions that still miss the same images."""
    arrays = study_result.arrays
    labels, probabilities = arrays.labels.copy(), arrays.probabilities.copy()
    averaged = arrays.ensemble_probabilities
    assert averaged is not None
    labels[0] = (labels[0] + 1) % 10
    probabilities[:, 0] = np.roll(probabilities[:, 0], 1, axis=1)
    write_arrays(
        study_result.files.test_arrays,
        labels=labels,
        probabilities=probabilities,
        mistake_indices=arrays.mistake_indices,
        mistake_images=arrays.mistake_images,
        ensemble_probabilities=np.vstack((np.roll(averaged[:1], 1, axis=1), averaged[1:])),
    )  # fmt: skip
    return read_finished_study(study_result.files, study_result.trials, command="", importances=None)


OTHER_IMAGES: dict[str, Callable[[Path], FinishedStudy]] = {
    "other classes": lambda root: study_result(root, replace(SMALL, class_names=("no", "maybe", "yes"))),
    "other number": lambda root: study_result(root, replace(SMALL, n_test=500)),
    "other files": lambda root: with_checksums(study_result(root, SMALL), {"train-images.gz": "1" * 32}),
    "other labels": lambda root: with_first_label_changed(study_result(root, SMALL)),
}


@pytest.mark.parametrize("make", OTHER_IMAGES.values(), ids=OTHER_IMAGES)
def test_of_other_images_only_costs_and_searches_are_compared(
    compared: Comparison, tmp_path: Path, make: Callable[[Path], FinishedStudy]
) -> None:
    comparison = Comparison(compared.a, make(tmp_path / "other"))
    found = summarize(comparison)
    html = write_comparison(comparison.a, comparison.b, tmp_path).read_text()
    assert (found["test"], found["classes"], found["is_same_test"]) == (None, None, False)
    assert "selection_accuracy" not in json.dumps(found["searches"])
    assert found["searches"]["a"]["best_so_far"][-1]["below_own_best"] == 0
    assert "Only the searches and what they cost can be compared." in html
    for heading in ("Accuracy on the test set", "Class by class", "Calibration", "McNemar"):
        assert heading not in html
    assert found["cost"]["a"]["images_trained"]["total"] > 0


@pytest.mark.parametrize(("sums", "is_same"), [(("1", "1"), True), (("1", "2"), False)])
def test_pixels_of_the_test_images_say_whether_they_are_the_same_whatever_the_files(
    tmp_path: Path, sums: tuple[str, str], is_same: bool
) -> None:
    """A test set may be held out by another seed of the same files, or be stored in files of another kind."""
    files = ({"pictures": "1" * 32}, {"pictures": "1" * 32} if not is_same else {"shoes.npz": "2" * 32})
    a, b = (
        with_checksums(study_result(tmp_path / name, replace(SMALL, seed=i)), files[i], of_pixels)
        for i, (name, of_pixels) in enumerate(zip(("a", "b"), sums, strict=True))
    )
    assert Comparison(a, b).is_same_test is is_same


def test_other_training_files_leave_the_test_the_same(tmp_path: Path) -> None:
    test_files = {f"{TEST_IMAGES}.gz": "1" * 32, f"{TEST_LABELS}.gz": "2" * 32}
    a, b = (
        with_checksums(
            study_result(tmp_path / name, replace(SMALL, seed=i)), test_files | {f"{TRAIN_IMAGES}.gz": str(i)}
        )
        for i, name in enumerate(("a", "b"))
    )
    assert Comparison(a, b).is_same_test
    assert not Comparison(a, b).is_same_selection
    assert "The selection images differ" in words.curve_note(Comparison(a, b))


def test_class_names_cannot_break_the_page(tmp_path: Path) -> None:
    made = replace(SMALL, class_names=("<script>alert(1)</script>", "a & b", "c | d"))
    a, b = (study_result(tmp_path / name, replace(made, seed=i)) for i, name in enumerate(("a", "b")))
    html = write_comparison(a, b, tmp_path).read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html


def test_search_without_a_full_training_is_compared_without_curves(compared: Comparison) -> None:
    stopped = tuple(replace(it, state="pruned", value=None) if it.value is not None else it for it in compared.b.trials)
    comparison = Comparison(compared.a, replace(compared.b, trials=stopped))
    assert words.curves(comparison).startswith("No trial of beta was trained to its end")


def test_studies_of_unlike_depth_have_rows_for_all_blocks(compared: Comparison) -> None:
    deepest = max(len(side.recipe.architecture.blocks) for side in compared.both)
    assert [entry.name for entry in compared.recipes if entry.name.startswith("block ")] == [
        f"block {i + 1}" for i in range(deepest)
    ]


def test_files_of_a_study_are_left_alone(compared: Comparison, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in compared.a.files.root.rglob("*")}
    write_comparison(compared.a, compared.b, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in compared.a.files.root.rglob("*")} == before
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".html", ".json"]


def test_ensembles_are_compared_where_both_have_one(compared: Comparison, found: dict, tmp_path: Path) -> None:
    averaged = [study.arrays.ensemble_probabilities for study in compared.both]
    labels = compared.a.arrays.labels
    assert averaged[0] is not None and averaged[1] is not None
    is_right = [it.argmax(axis=1) == labels for it in averaged]
    test = found["test"]["ensembles_mcnemar"]
    assert test["n_only_a"] == int((is_right[0] & ~is_right[1]).sum())
    assert found["test"]["b"]["ensemble"]["value"] == pytest.approx(is_right[1].mean())
    assert "Ensemble" in [row.what for row in accuracy_rows(compared)]
    without = study_result(tmp_path / "without", replace(SMALL, with_ensemble=False))
    comparison = Comparison(compared.a, without)
    assert summarize(comparison)["test"]["ensembles_mcnemar"] is None and words.ensembles(comparison) is None
    assert "Ensemble" not in [row.what for row in accuracy_rows(comparison)]


def test_study_with_students_is_compared_with_one_of_a_version_without(compared: Comparison, tmp_path: Path) -> None:
    old = study_result(tmp_path / "old", replace(SMALL, with_students=False))
    html = write_comparison(old, compared.b, tmp_path).read_text()
    assert "retraining or students" in html
