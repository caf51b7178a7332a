"""The report of made-up studies: every number recomputed from the stored predictions, and a page that stands alone."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import warnings
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

from fmnist.data.duplicates import Duplicates
from fmnist.errors import UserError
from fmnist.export.formats import FORMATS
from fmnist.metrics.calibration import fit_temperature
from search.records.files import StudyFiles
from search.records.models import TrialRecord
from search.report.charts.model import confusion_png
from search.report.text.exports import exports
from search.results.reading import read_finished_study
from tests.support.made_study import make_study, write_made_report
from tests.support.made_trials import Made

pytestmark = pytest.mark.renders

COMMAND = "python -m search.run --trials 40"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFiles, list[TrialRecord], dict]:
    files, trials = make_study(tmp_path_factory.mktemp("studies") / "made")
    report = write_made_report(files, trials, command=COMMAND, importances={"n_blocks": 0.7, "dropout": 0.3})
    return files, trials, report


def test_table_of_trials_is_written_with_the_report_and_named_in_the_guide(study) -> None:
    files, trials, _ = study
    with open(files.history, newline="") as file:
        assert [int(row["number"]) for row in csv.DictReader(file)] == [trial.number for trial in trials]
    assert f"`{files.history.name}`" in files.guide.read_text()


def test_trials_add_up(study) -> None:
    _, trials, report = study
    assert sum(report["trials"].values()) == len(trials) == 40
    assert report["trials"]["complete"] == sum(trial.state == "complete" for trial in trials)


def test_test_figures_are_those_of_the_stored_predictions(study) -> None:
    files, _, report = study
    arrays = files.read_test_arrays()
    predicted = arrays.probabilities.argmax(axis=2)
    values = [metrics.accuracy_score(arrays.labels, seed) for seed in predicted]
    test = report["test"]
    assert test["accuracy"]["values"] == pytest.approx(values)
    assert test["accuracy"]["mean"] == pytest.approx(np.mean(values))
    assert test["accuracy"]["sd"] == pytest.approx(np.std(values, ddof=1))
    assert test["accuracy"]["delivered"]["value"] == pytest.approx(values[0])
    assert test["macro_f1"] == pytest.approx(metrics.f1_score(arrays.labels, predicted[0], average="macro"))
    assert test["confusion_matrix"] == metrics.confusion_matrix(arrays.labels, predicted[0]).tolist()
    of_true = arrays.probabilities[0][np.arange(len(arrays.labels)), arrays.labels]
    assert test["log_loss"] == pytest.approx(-np.log(of_true.astype(float)).mean(), rel=1e-5)
    assert test["n_images"] == len(arrays.labels)
    recalls = metrics.recall_score(arrays.labels, predicted[0], average=None)
    assert [score["recall"] for score in test["per_class"]] == pytest.approx(list(recalls))


def test_interval_is_wilsons_of_the_mean_over_seeds(study) -> None:
    accuracy, n = study[2]["test"]["accuracy"], study[2]["test"]["n_images"]
    z, share = 1.959963984540054, round(accuracy["mean"] * n) / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    assert accuracy["wilson_95"] == pytest.approx([middle - half, middle + half])


def test_winner_is_the_best_finalist_on_the_confirmation_split(study) -> None:
    files, trials, report = study
    confirmed = {}
    for row in report["finalists"]:
        with np.load(files.confirm_arrays(row["trial"])) as arrays:
            confirmed[row["trial"]] = float((arrays["probabilities"].argmax(axis=1) == arrays["labels"]).mean())
    assert report["best"]["trial"] == max(confirmed, key=confirmed.get)
    assert report["validation"]["confirm_accuracy"] == pytest.approx(max(confirmed.values()))
    assert report["best"]["params"] == trials[report["best"]["trial"]].params


def test_images_and_seconds_are_sums_of_the_records(study) -> None:
    files, trials, report = study
    trained = report["images_trained"]
    assert trained["search"] == sum(trial.n_images for trial in trials)
    assert trained["confirm"] == sum(record.n_images for record in files.read_confirm_records())
    assert trained["refit"] == sum(record.n_images for record in files.read_refit_records())
    assert trained["total"] == sum(trained[phase] for phase in ("search", "confirm", "refit"))
    assert report["seconds"] == {
        "search": 4000.5,
        "confirm": 500.25,
        "refit": 481.5,
        "baselines": 0.0,
        "evaluate": 12.25,
        "exports": 0.0,
    }


class Page(HTMLParser):
    """The elements of a page, flat."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))


def test_page_asks_for_nothing_from_outside(study) -> None:
    html = study[0].report_html.read_text()
    addresses = [v for _, a in Page(html).elements for k, v in a.items() if k in ("src", "href", "xlink:href")]
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert not re.search(r"url\(\s*['\"]?(?!#|data:)", html)
    assert "@import" not in html


def test_every_picture_says_what_it_shows(study) -> None:
    pictures = [a for tag, a in Page(study[0].report_html.read_text()).elements if tag == "img"]
    assert pictures
    assert all("alt" in attributes for attributes in pictures)
    assert any(attributes["alt"] for attributes in pictures)


def test_headings_descend_without_a_gap(study) -> None:
    levels = [int(t[1]) for t, _ in Page(study[0].report_html.read_text()).elements if re.fullmatch(r"h[1-6]", t)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_contents_lead_to_sections_that_exist(study) -> None:
    elements = Page(study[0].report_html.read_text()).elements
    ids = {attributes["id"] for _, attributes in elements if attributes.get("id")}
    links = {a["href"][1:] for tag, a in elements if tag == "a" and a.get("href", "").startswith("#")}
    assert links
    assert links <= ids


def test_page_is_light_enough_to_send(study) -> None:
    assert study[0].report_html.stat().st_size < 3_000_000


def test_markdown_shows_pictures_that_lie_beside_it(study) -> None:
    files = study[0]
    pictures = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", files.report_markdown.read_text())
    assert pictures
    assert all(alt and (files.root / path).is_file() for alt, path in pictures)


@pytest.mark.parametrize("name", ["x", "x" * 200, "$x_{$", "猫"], ids=["short", "long", "formula", "other script"])
def test_pictures_can_show_classes_of_any_name(tmp_path: Path, name: str) -> None:
    names = (f"{name}1", f"{name}2")
    files, trials = make_study(tmp_path / "s", Made(n_trials=3, n_finalists=1, class_names=names))
    evaluation = read_finished_study(files, trials, command=COMMAND, importances=None).evaluation
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib warns where axes have no room
        picture = Image.open(io.BytesIO(confusion_png(evaluation)))
    assert picture.size[0] < 800


REMARKS = Made(
    n_trials=4,
    n_finalists=2,
    class_names=("owl", "gull", "auk", "tern", "tit"),
    dataset="birds",
    notes=("there is no test folder, so 20 of the 120 images are held out", "2 files are passed over: a_b.txt, c.txt"),
    duplicates=Duplicates(3, 1, 1, 0, 5),
    with_baselines=True,
)


@pytest.fixture(scope="module", params=["birds", "fashion-mnist"])
def remarkable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFiles, dict]:
    """One study of uneven birds, and one of Fashion-MNIST."""
    made = replace(REMARKS, dataset=request.param, is_uneven=request.param == "birds")
    files, trials = make_study(tmp_path_factory.mktemp("remarkable") / "s", made)
    return files, write_made_report(files, trials)


def texts_of(files: StudyFiles) -> dict[str, str]:
    return {path.name: path.read_text() for path in (files.report_html, files.report_markdown, files.model_card)}


def test_report_says_what_was_noticed_of_the_images(remarkable: tuple[StudyFiles, dict]) -> None:
    files, report = remarkable
    assert report["data"]["duplicates"]["test_in_training"] == 5
    for text in texts_of(files).values():
        assert "There is no test folder, so 20 of the 120 images are held out." in text
        assert "5 test images are among the training images too, so the test accuracy flatters." in text
    assert "| owl |" in files.report_markdown.read_text()  # images by split and class


def test_study_from_before_duplicates_were_counted_says_nothing_of_them(study) -> None:
    assert all("occurs twice" not in text for text in texts_of(study[0]).values())


def test_uneven_classes_are_told_with_balanced_accuracy_and_even_ones_are_not(
    remarkable: tuple[StudyFiles, dict],
) -> None:
    files, report = remarkable
    is_uneven = report["data"]["dataset"] == "birds"
    assert report["balance"]["is_uneven"] is is_uneven
    assert report["test"]["balanced_accuracy"] == pytest.approx(report["test"]["macro_recall"])
    for text in texts_of(files).values():
        assert ("The classes are uneven: tit has" in text) is is_uneven
        assert ("Balanced accuracy |" in text or "<dt>Balanced accuracy</dt>" in text) is is_uneven


OF_FASHION_MNIST = re.compile(r"fashion|mnist|zalando|clothes|its notebook|published", re.IGNORECASE)


def test_report_speaks_of_fashion_mnist_where_that_is_the_data_set_alone(remarkable: tuple[StudyFiles, dict]) -> None:
    files, report = remarkable
    for name, text in texts_of(files).items():
        found = OF_FASHION_MNIST.findall(text)
        assert bool(found) is (report["data"]["dataset"] == "fashion-mnist"), (name, found)


def test_texts_from_data_cannot_break_the_page(tmp_path: Path) -> None:
    names = ("<script>alert(1)</script>", "a & b", "c | d")
    files, trials = make_study(tmp_path / "s", Made(n_trials=6, class_names=names))
    write_made_report(files, trials, command=COMMAND)
    assert "<script>alert" not in files.report_html.read_text()
    assert "&lt;script&gt;" in files.report_html.read_text()


@pytest.mark.parametrize(
    "made",
    [
        Made(n_trials=1, n_finalists=1, n_seeds=1),
        Made(n_trials=6, mistake_share=0.0),
        Made(n_trials=6, n_finalists=1, with_history=False, with_mirror_images=False),
        Made(n_trials=6, image_shape=(16, 16, 3)),
        Made(n_trials=6, class_names=("no", "maybe", "yes")),
        Made(n_trials=6, n_test=1300, class_names=tuple(f"{'long ' * 12}name {i}" for i in range(130)), is_uneven=True),
    ],
    ids=["one trial", "no mistakes", "default alone, no history", "colour", "3 classes", "130 classes of long names"],
)
@pytest.mark.filterwarnings("error")  # Matplotlib warns where a figure has no room for what it shows
def test_unusual_studies_have_a_report(tmp_path: Path, made: Made) -> None:
    files, trials = make_study(tmp_path / "s", made)
    report = write_made_report(files, trials, command=COMMAND)
    assert report["test"]["accuracy"]["sd"] is None or made.n_seeds > 1
    assert all(path.stat().st_size > 0 for path in (files.report_html, files.report_markdown, files.report_json))


def test_study_that_has_not_come_to_its_end_has_no_report_and_says_why(tmp_path: Path) -> None:
    files, trials = make_study(tmp_path / "s", Made(n_trials=3))
    files.test.unlink()
    with pytest.raises(UserError, match="test"):
        write_made_report(files, trials, command=COMMAND)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFiles, list[TrialRecord], dict]:
    files, trials = make_study(tmp_path_factory.mktemp("exported") / "s", Made(n_trials=6, with_exports=True))
    return files, trials, write_made_report(files, trials, command=COMMAND)


def test_exports_are_in_every_report_with_what_was_measured(exported) -> None:
    files, _, report = exported
    records = files.read_export_records()
    assert {record.model for record in records} == {"best.keras", "ensemble.keras"}
    for row, record in zip(report["exports"], records, strict=True):
        assert (row["model"], row["format"]) == (record.model, record.format)
        assert (row["accuracy"], row["largest_difference"]) == (record.accuracy, record.largest_difference)
    page, markdown = files.report_html.read_text(), files.report_markdown.read_text()
    for text in (page, markdown, files.model_card.read_text()):
        assert all(record.file in text for record in records if record.failure is None)
        assert "/best.onnx" not in text and ">best.onnx" not in text  # they failed
    assert "11. Exports" in page and "12. Time and reproduction" in page and '<a href="#exports">' in page
    assert "\n## Exports\n" in markdown and "[Exports](#exports)" in markdown
    assert (
        "ONNX could not be exported, and there is no file of it: the conversion failed: RuntimeError: tf2onnx" in page
    )
    assert "ONNX of ensemble.keras could not be exported" in page
    assert "its trace" not in page
    card = files.model_card.read_text()
    assert "The same model in other formats" in card and "The ensemble, `ensemble.keras`, in other formats" in card


def test_finding_on_exports_follows_from_their_figures(exported) -> None:
    finding = (
        "3 files in float32 give all 1,000 test images the model's class and probabilities within 6.2e-7 of its own; "
        "LiteRT with weights in 8 bits: another class for 3 images (0.30 %), 0.30 points of accuracy less, 25 "
        "% of the size of best.keras; "
        "LiteRT in 8 bits: another class for 3 images (0.30 %), 0.30 points of accuracy less, 25 % of the "
        "size of best.keras; "
        "ONNX in 8 bits: another class for 3 images (0.30 %), 0.30 points of accuracy less, 25 % of the "
        "size of best.keras; "
        "for an image alone ONNX in 8 bits is fastest, 0.21 ms; "
        "1 format failed."
    )
    assert finding in exported[0].report_markdown.read_text()
    assert finding in unescape(exported[0].report_html.read_text())


@pytest.mark.parametrize(
    ("kept", "finding"),
    [
        ({"onnx": {}}, "1 format failed, so there is no other file of the model than best.keras."),
        (
            {"litert": {"n_same_class": 998}},
            "The file in float32 gives all but 2 of 1,000 test images the model's class and probabilities within "
            "6.2e-7 of its own; an image alone takes 0.50 ms.",
        ),
        (
            {"litert-int8": {"n_same_class": 1000, "milliseconds_by_1": 0.0312}},
            "LiteRT with weights in 8 bits: another class for no image, 0.30 points of accuracy less, 25 % of "
            "the size of best.keras; an image alone takes 0.031 ms.",
        ),
        (
            {"onnx-int8": {"n_same_class": 990, "n_only_file_right": 1, "n_only_model_right": 9}},
            "ONNX in 8 bits: another class for 10 images (1.00 %), 0.80 points of accuracy less (more than the 0.50 "
            "points that it should cost), 25 % of the size of best.keras; an image alone takes 0.21 ms.",
        ),
        (
            {"onnx-int8": {"n_only_file_right": 3, "n_only_model_right": 1}},
            "ONNX in 8 bits: another class for 3 images (0.30 %), 0.20 points of accuracy more, 25 % of the "
            "size of best.keras; an image alone takes 0.21 ms.",
        ),
        (
            {"onnx-int8": {"n_only_file_right": None, "n_only_model_right": None}},
            "ONNX in 8 bits: another class for 3 images (0.30 %), 25 % of the size of best.keras; an image "
            "alone takes 0.21 ms.",
        ),
    ],
    ids=["none", "float32 alone", "8 bits alone", "a notable loss", "a gain", "of an older version"],
)
def test_finding_on_one_export(exported, kept: dict[str, dict], finding: str) -> None:
    records = [record for record in exported[0].read_export_records()[: len(FORMATS)] if record.format in kept]
    changed = tuple(replace(record, **kept[record.format]) for record in records)
    study_result = read_finished_study(exported[0], exported[1], command="", importances=None)
    assert exports(replace(study_result, exports=changed)) == finding


def test_what_fewer_bits_cost_is_tested_on_the_test_images(exported) -> None:
    files, _, report = exported
    rows = [row for row in report["exports"] if "loss" in row]
    assert [row["file"] for row in rows] == [
        *("best-int8.tflite", "best-int8-full.tflite", "best-int8.onnx"),
        *("ensemble-int8.tflite", "ensemble-int8-full.tflite", "ensemble-int8.onnx"),
    ]
    for row in rows:
        assert (row["n_only_file_right"], row["n_only_model_right"], row["loss"]) == (0, 3, 0.003)
        assert row["p_mcnemar_holm"] == 1.0  # six times 0.25
        low, high = row["wilson_95"]
        assert low < row["accuracy"] < high
    page = files.report_html.read_text()
    assert "with Holm&#39;s correction for 6 files" in page or "with Holm's correction for 6 files" in page
    assert "Without fast kernels (XNNPACK's): GELU, SOFTMAX of LiteRT in 8 bits." in unescape(page)
    assert "0.83 ms" in page and "14.0 MB" in page  # what 95 % of LiteRT's calls take at most, and its memory


def test_finding_on_exports_of_two_models_tells_them_apart(exported) -> None:
    kept = [record for record in exported[0].read_export_records() if record.format in ("litert", "litert-int8")]
    kept[2] = replace(kept[2], failure="no such layer")
    study_result = read_finished_study(exported[0], exported[1], command="", importances=None)
    finding = exports(replace(study_result, exports=tuple(kept)))
    assert finding == (
        "best.keras: The file in float32 gives all 1,000 test images the model's class and probabilities within "
        "6.2e-7 of its own; LiteRT with weights in 8 bits: another class for 3 images (0.30 %), 0.30 points of "
        "accuracy less, 25 % of the size of best.keras; for an image alone LiteRT with weights in 8 bits is "
        "fastest, 0.38 ms. "
        "ensemble.keras: LiteRT with weights in 8 bits: another class for 3 images (0.30 %), 0.30 points of accuracy "
        "less, 12 % of the size of ensemble.keras; an image alone takes 0.38 ms; 1 format failed."
    )


def test_study_without_exports_has_no_section_on_them(study) -> None:
    files, _, report = study
    assert report["exports"] == []
    assert "Exports" not in files.report_html.read_text() + files.report_markdown.read_text()
    assert "11. Time and reproduction" in files.report_html.read_text()
    assert "other formats" not in files.model_card.read_text()


def test_ensemble_of_the_report_is_that_of_the_stored_predictions(study) -> None:
    files, _, report = study
    arrays, record = files.read_test_arrays(), files.read_ensemble_record()
    assert arrays.ensemble_probabilities is not None and record is not None
    averaged, single = (it.argmax(axis=1) for it in (arrays.ensemble_probabilities, arrays.probabilities[0]))
    ensemble = report["ensemble"]
    assert ensemble["accuracy"]["value"] == pytest.approx(metrics.accuracy_score(arrays.labels, averaged))
    assert ensemble["log_loss"] == pytest.approx(
        metrics.log_loss(arrays.labels, arrays.ensemble_probabilities.astype(float)), rel=1e-5
    )
    is_right, single_is_right = averaged == arrays.labels, single == arrays.labels
    against = ensemble["against_delivered"]
    assert against["n_only_b"] == int((is_right & ~single_is_right).sum())
    assert against["n_only_a"] == int((~is_right & single_is_right).sum())
    assert [(it["model"], it["weight"]) for it in ensemble["members"]] == [
        (member.model, member.weight) for member in record.members
    ]
    assert ensemble["members"][0]["name"] == "student 0" and ensemble["model_bytes"] == files.ensemble.stat().st_size
    temperatures = json.loads(files.temperature.read_text())["temperatures"]
    assert temperatures["ensemble.keras"] == ensemble["calibration"]["temperature"]
    assert temperatures["best.keras"] == report["evidence"]["calibration"]["temperature"]


def test_temperature_is_fitted_on_what_the_delivered_student_predicts(study) -> None:
    files, _, report = study
    of_student = files.read_arrays(files.student_arrays(0))
    expected = fit_temperature(of_student["labels"].astype(int), of_student["probabilities"])
    assert report["evidence"]["calibration"]["temperature"] == pytest.approx(expected)


def written(folder: Path, made: Made) -> dict[str, str]:
    """Each text of a study's report, spaces joined, by file name."""
    files, trials = make_study(folder / "made", made)
    write_made_report(files, trials, command=COMMAND)
    names = (files.report_html, files.report_markdown, files.model_card, files.guide)
    return {path.name: " ".join(unescape(path.read_text()).split()) for path in names}


SMALL = Made(n_trials=6, n_seeds=2, n_finalists=2, n_test=200, n_train=1000, class_names=("owl", "gull", "auk"))


def test_every_file_names_students_teachers_and_ensemble(tmp_path: Path) -> None:
    texts = written(tmp_path, SMALL)
    for name in ("report.html", "report.md", "model-card.md"):
        assert "The delivered model is student 0" in texts[name] and "taught by trial" in texts[name]
        assert "The ensemble averages the probabilities of student 0 (weight 0.65)" in texts[name]
        assert "retraining" not in texts[name]
    assert "Selection, longer" not in texts["report.html"] + texts["report.md"]
    assert "Selection split, longer training" not in texts["report.html"] + texts["report.md"]
    assert "10. The ensemble" in texts["report.html"] and "11. Time" in texts["report.html"]
    assert "`ensemble.keras`" in texts["README.md"] and "`ensemble_recipe.json`" in texts["README.md"]
    assert "student-*" in texts["README.md"] and "trial-*.keras" in texts["README.md"]


def test_every_file_says_that_the_ensemble_predicts_mirror_images_too(tmp_path: Path) -> None:
    texts = written(tmp_path, replace(SMALL, ensemble_is_mirrored=True))
    for name in ("report.html", "report.md", "model-card.md"):
        assert re.search(r"\(0\.35\), each for an image and its mirror image, chosen among 4 networks on", texts[name])
    for name in ("report.html", "report.md"):
        assert "the average of 2 networks with mirror images, 654 k parameters in all" in texts[name]
        assert re.search("Predicts.{1,40}an image and its mirror image.{1,30}an image", texts[name])
    assert "costs as much as its members on two images each" in texts["README.md"]
    for text in written(tmp_path / "plain", SMALL).values():
        assert "its mirror image" not in text and "on two images" not in text


def test_every_file_says_that_the_winner_itself_is_delivered(tmp_path: Path) -> None:
    texts = written(tmp_path, replace(SMALL, student_is_delivered=False, with_ensemble=False))
    for name in ("report.html", "report.md", "model-card.md"):
        assert "'s own training as a finalist: on the confirmation split" in texts[name]
        assert "nsemble" not in texts[name]
    assert "the winner's own training" in texts["README.md"] and "ensemble" not in texts["README.md"]
    assert "10. Time" in texts["report.html"]


@pytest.mark.parametrize("is_delivered", [True, False])
def test_every_file_calls_a_retraining_so_and_speaks_of_no_student(tmp_path: Path, is_delivered: bool) -> None:
    made = replace(SMALL, n_seeds=1, students_are_taught=False, student_is_delivered=is_delivered)
    texts = written(tmp_path, made)
    for name in ("report.html", "report.md"):
        assert "retraining 0" in texts[name] and "A retraining has the finalist's recipe" in texts[name]
        assert "the first retraining" in texts[name]
    assert "of each retraining a record" in texts["README.md"]
    for text in texts.values():
        assert "student" not in text.lower().replace("student-", "").replace('"students"', "")


def test_report_of_a_version_without_students_is_as_it_was(tmp_path: Path) -> None:
    texts = written(tmp_path, replace(SMALL, with_students=False))
    for text in texts.values():
        assert "student" not in text and "nsemble" not in text
    for name in ("report.html", "report.md"):
        assert "Selection, longer" in texts[name] and "Selection split, longer training" in texts[name]
        assert "2 retrainings" in texts[name] and "The best point is at epoch" in texts[name]
    assert "all of which this model has seen" in texts["model-card.md"]
    assert "of each retraining a record and its model" in texts["README.md"]
