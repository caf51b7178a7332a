"""Scores on labelled images, of a model whose answers are known: it names the quadrant with the most light."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from fmnist.metrics.intervals import wilson_95
from fmnist.predict import Classifier, EvaluatedImages, evaluate, predict
from fmnist.predict.__main__ import main
from tests.support.drawings import ON_BLACK, QUADRANTS, SIDE, quadrant_model, save

pytestmark = pytest.mark.trains

HALF = SIDE // 2


def image_of(quadrant: int, light: int = 200) -> np.ndarray:
    """More light in one quadrant than in the others: uint8 (SIDE, SIDE)."""
    image = np.full((SIDE, SIDE), 120, np.uint8)
    top, left = quadrant // 2 * HALF, quadrant % 2 * HALF
    image[top : top + HALF, left : left + HALF] = light
    return image


SHOWN = np.array([0, 0, 0, 0, 1, 1, 2, 3, 3, 3])  # by the images
TRUTH = np.array([0, 0, 0, 1, 1, 1, 2, 3, 3, 0])  # two are labelled otherwise: rows 3 and 9
LIGHTS = [200, 190, 180, 150, 170, 200, 200, 210, 220, 200]  # the model is less sure of row 3 than of row 9
IMAGES = np.stack([image_of(quadrant, light) for quadrant, light in zip(SHOWN, LIGHTS, strict=True)])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder, with a model and its temperature."""
    folder = tmp_path_factory.mktemp("study")
    save(quadrant_model(), folder / "best.keras", ON_BLACK)
    (folder / "temperature.json").write_text('{"temperature": 3.0}')
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """The images as pictures in class folders, in the order of the array within each."""
    for i, label in enumerate(TRUTH):
        path = tmp_path / "new" / QUADRANTS[label].replace(" ", "_").upper() / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(IMAGES[i]).save(path)
    return tmp_path / "new"


def assert_known_scores(found: EvaluatedImages) -> None:
    assert (found.n_images, found.accuracy, found.accuracy_interval) == (10, 0.8, wilson_95(8, 10))
    assert [one.recall for one in found.scores.per_class] == pytest.approx([3 / 4, 2 / 3, 1, 1])
    assert found.scores.balanced_accuracy == pytest.approx((3 / 4 + 2 / 3 + 2) / 4)
    assert found.scores.confusion_matrix == ((3, 0, 0, 1), (1, 2, 0, 0), (0, 0, 1, 0), (0, 0, 0, 2))
    assert [(one.label, one.class_name) for one in found.mistakes] == [
        ("top left", "bottom right"),
        ("top right", "top left"),
    ]
    first, second = (one.probability or 0 for one in found.mistakes)
    assert first > second + 0.1


def test_scores_are_those_of_the_known_answers_however_images_and_labels_come(
    study: Path, folders: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "set.npz", x_test=IMAGES / 255, y_test=np.eye(4)[TRUTH])
    rows = [f"{path},{path.parent.name}" for path in sorted(folders.rglob("*.png"))]
    (tmp_path / "table.csv").write_text("\n".join(["file,label", *rows]))
    names = [QUADRANTS[label] for label in TRUTH]
    pictures = [Image.fromarray(image) for image in IMAGES]
    ways: list[tuple[Any, Any]] = [(IMAGES, TRUTH), (pictures, names), (folders, None), (tmp_path / "set.npz", None)]
    ways += [(tmp_path / name, None) for name in ("table.csv", "new.zip", "new.parquet", "pixels.csv")]
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        for path in folders.rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path).as_posix())
    contents = [next(folders.rglob(f"{i}.png")).read_bytes() for i in range(len(TRUTH))]
    parquet.write_table(pa.table({"image": contents, "label": names}), tmp_path / "new.parquet")
    lines = [",".join(map(str, [label, *image.ravel()])) for label, image in zip(names, IMAGES, strict=True)]
    header = ",".join(["label", *map(str, range(IMAGES[0].size))])
    (tmp_path / "pixels.csv").write_text("\n".join([header, *lines]))
    said: list[str] = []
    found = [evaluate(study, images, labels, say=said.append) for images, labels in ways]
    for each in found:
        assert_known_scores(each)
        probabilities = sorted(one.probability or 0 for one in each.predictions)
        assert probabilities == sorted(one.probability or 0 for one in found[0].predictions)
    assert [Path(one.path).name for one in found[2].mistakes] == ["9.png", "3.png"]
    assert [one.path for one in found[0].mistakes] == ["images[9]", "images[3]"]
    assert said == [f"x_test in {tmp_path / 'set.npz'} goes from 0 to 1, so it is multiplied by 255: 1 is white"]


def test_temperature_is_applied_where_it_is_asked_for_and_changes_no_class(study: Path) -> None:
    plain, calibrated = (evaluate(study, IMAGES, TRUTH, temperature=t) for t in (None, study / "temperature.json"))
    assert plain.scores.confusion_matrix == calibrated.scores.confusion_matrix
    assert (calibrated.mistakes[0].probability or 1) < (plain.mistakes[0].probability or 0)


def test_unreadable_pictures_are_not_scored_and_keep_their_places(study: Path, folders: Path) -> None:
    (folders / "TOP_LEFT" / "1b.png").write_text("no picture")
    found = evaluate(study, folders)
    assert_known_scores(found)
    assert (found.n_unreadable, len(found.predictions)) == (1, 11)
    (failed,) = [one for one in found.predictions if one.error]
    assert (Path(failed.path).name, failed.label, failed.class_name) == ("1b.png", "top left", None)


def test_classes_are_uneven_from_half_an_even_share_down(study: Path) -> None:
    for counts, expected in (([4, 4, 4, 4], False), ([9, 9, 9, 3], True), ([9, 9, 9, 4], False), ([9, 0, 0, 9], False)):
        labels = np.repeat(np.arange(4), counts)
        images = np.stack([image_of(label) for label in labels])
        assert evaluate(study, images, labels).is_uneven is expected, counts


def test_command_shows_scores_and_the_most_confident_mistakes(
    study: Path, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(study), str(folders), "--labels", "--top-mistakes", "1"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    lines = output.out.splitlines()
    assert lines[0] == "10 images, 8 right: accuracy 80.00% (95 % interval 49.02% to 94.33%)"
    assert lines[1] == "balanced accuracy 85.42%, the mean recall, as the classes are uneven"
    assert lines[4:9] == [
        "class               n  recall  0 1 2 3",
        "0 top left          4   75.0%  3 . . 1",
        "1 top right         3   66.7%  1 2 . .",
        "2 bottom left       1  100.0%  . . 1 .",
        "3 bottom right      2  100.0%  . . . 2",
    ]
    assert lines[10] == "mistakes, the most confident first: 1 of 2"
    assert re.fullmatch(rf"{folders}/TOP_LEFT/9\.png +\d\d\.\d%  top left taken for bottom right", lines[11])
    assert len(lines) == 12


def test_command_gives_programs_a_line_an_image_and_a_summary_with_all_mistakes(
    study: Path, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "TOP_LEFT" / "z.png").write_text("no picture")
    assert main([str(study), str(folders), "--labels", "--json", "--top-mistakes", "0"]) == 1
    output = capsys.readouterr()
    (error,) = output.err.splitlines()
    assert error.startswith(f"error: {folders / 'TOP_LEFT' / 'z.png'}: not a picture")
    *rows, last = map(json.loads, output.out.splitlines())
    assert len(rows) == 11 and {row["label"] for row in rows} == set(QUADRANTS)
    summary = last["summary"]
    assert (summary["images"], summary["unreadable"], summary["accuracy"]) == (10, 1, 0.8)
    assert summary["accuracy_interval_95"] == pytest.approx([0.4902, 0.9433], abs=1e-4)
    assert [one["recall"] for one in summary["per_class"]] == pytest.approx([3 / 4, 2 / 3, 1, 1])
    assert summary["confusion_matrix"][0] == [3, 0, 0, 1] and summary["classes"] == list(QUADRANTS)
    assert [(one["label"], one["class"]) for one in summary["mistakes"]] == [
        ("top left", "bottom right"),
        ("top right", "top left"),
    ]


def test_with_many_classes_the_most_confused_are_shown(
    tmp_path: Path, study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist.predict.printing.MOST_ROWS", 3)
    np.savez(tmp_path / "set.npz", x=IMAGES, y=TRUTH)
    assert main([str(study), str(tmp_path / "set.npz"), "--labels"]) == 0
    out = capsys.readouterr().out
    assert "lowest recall, of 4 classes with images\n  top right      66.7%  of 3\n  top left       75.0%  of 4" in out
    assert "most confused\n  top left taken for bottom right: 1\n  top right taken for top left: 1" in out


def test_study_s_folder_stands_for_its_best_model_and_an_ensemble_is_told(study: Path, tmp_path: Path) -> None:
    said: list[str] = []
    by_folder = predict(study, IMAGES, say=said.append)
    assert by_folder == predict(study / "best.keras", IMAGES)
    assert said == []
    for name in ("best.keras", "ensemble.keras"):
        (tmp_path / name).write_bytes((study / "best.keras").read_bytes())
    assert predict(tmp_path, IMAGES, say=said.append) == by_folder
    ensemble = tmp_path / "ensemble.keras"
    assert said == [f"{tmp_path} has two models: best.keras is taken; {ensemble} is taken where it is named itself"]
    assert predict(ensemble, IMAGES) == by_folder


def test_classifier_stays_loaded_and_gives_what_predict_gives(study: Path, folders: Path) -> None:
    classifier = Classifier(study)
    assert (classifier.class_names, classifier.image_shape) == (QUADRANTS, (SIDE, SIDE, 1))
    probabilities = classifier.probabilities(IMAGES)
    assert (probabilities.shape, probabilities.dtype) == ((10, 4), np.float64)
    assert probabilities.argmax(axis=1).tolist() == SHOWN.tolist()
    assert classifier.probabilities(IMAGES[0]).shape == (1, 4)
    assert classifier.probabilities([]).shape == (0, 4)
    np.testing.assert_array_equal(classifier.probabilities([Image.fromarray(each) for each in IMAGES]), probabilities)
    mixed = [IMAGES[0], folders, Image.fromarray(IMAGES[4]), IMAGES[5:7]]
    found = classifier.predict(mixed, top=2)
    assert len(found) == 14 and {len(one.top) for one in found} == {2}
    assert [one.path for one in found[:1] + found[11:]] == ["images[0]", "images[2]", "images[3][0]", "images[3][1]"]
    assert found == predict(study / "best.keras", mixed, top=2)


def test_command_names_images_of_a_file_by_their_numbers(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", x=IMAGES)
    assert main([str(study), "x.npz"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [f"x.npz[{i}]" for i in range(10)]
    assert all(QUADRANTS[shown] in line.split("  ")[1] for shown, line in zip(SHOWN, lines, strict=True))
