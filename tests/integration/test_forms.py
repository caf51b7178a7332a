"""The same images are the same data set, whatever the form of their files: the same split, and the same first trial."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.data.find import find_data
from fmnist.data.split import load_test, load_train
from search import StudyConfig, run_study
from tests.support.data_sets import found, multiset
from tests.support.made_forms import COLOUR, FORMS, GREY, NAMES, Form, Made, class_folders, make

made = cache(make)
CASES = [
    pytest.param(form, kind, id=f"{row}-{name}-{kind}")
    for row, forms in FORMS.items()
    for name, form in forms.items()
    for kind in form.kinds
]


@pytest.fixture(scope="module")
def checksums(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Of the split and of the test set of class folders, by kind of images."""
    found_ones = {}
    for kind in (GREY, COLOUR):
        source = found(class_folders(tmp_path_factory.mktemp(kind), made(kind)))
        found_ones[kind] = (load_train(source, 0).checksum, source.test_checksum)
    return found_ones


@pytest.mark.parametrize(("form", "kind"), CASES)
def test_every_form_gives_the_images_labels_and_split_of_class_folders(
    tmp_path: Path, form: Form, kind: str, checksums: dict[str, tuple[str, str]]
) -> None:
    """Arrays and tables are written in the order of class folders here, and all forms keep it."""
    images = made(kind)
    source = found(form.write(tmp_path, images))
    assert source.class_names == form.names
    assert source.image_shape == (*images.images.shape[1:], 1)[:3]
    split = load_train(source, 0)
    assert (split.checksum, source.test_checksum) == checksums[kind]
    for part, rows in ((source.read_train(), images.train), (load_test(source), images.test)):
        np.testing.assert_array_equal(part.images.squeeze(), images.images[rows])
        np.testing.assert_array_equal(part.labels, images.labels[rows])


@pytest.mark.parametrize("row", FORMS)
def test_image_size_fits_every_form_to_the_same_pixels(tmp_path: Path, row: str) -> None:
    """Of the first way to write each. JPEG files alone may differ from arrays: large ones are decoded reduced."""
    form = next(iter(FORMS[row].values()))
    images = made(form.kinds[0])
    (tmp_path / "form").mkdir()
    paths = (class_folders(tmp_path / "folders", images), form.write(tmp_path / "form", images))
    of_folders, of_form = (found(path, image_size=24).read_train().images for path in paths)
    assert of_folders.shape[1:3] == (24, 24)
    np.testing.assert_array_equal(of_folders, of_form)


def shuffled(images: Made) -> Made:
    order = np.random.default_rng(0).permutation(len(images.labels))
    return dataclasses.replace(images, images=images.images[order], labels=images.labels[order])


@pytest.mark.parametrize(
    ("row", "name"),
    [("NumPy archive (`.npz`)", "named"), ("Parquet with pictures", "names"), ("table of pixels (CSV)", "names")],
)
def test_rows_in_another_order_are_the_same_images_in_another_split(
    tmp_path: Path, row: str, name: str, checksums: dict[str, tuple[str, str]]
) -> None:
    """Folders have no order but that of their names; rows have one of their own.

    It is kept: a split is drawn by the places of images, and who shuffled a file chose other places. To sort the rows
    by class would not bring the folders' order back, as rows have no names.
    """
    images = made(GREY)
    source = found(FORMS[row][name].write(tmp_path, shuffled(images)))
    split = load_train(source, 0)
    assert split.checksum != checksums[GREY][0]
    everything = multiset(split.together()) + multiset(load_test(source))
    expected = [(image.tobytes(), int(label)) for image, label in zip(images.images, images.labels, strict=True)]
    assert sorted(everything) == sorted(expected)


# --- the first trial


def first_trial(dataset: Path, studies: Path) -> dict[str, Any]:
    """The first trial of a study of these images, without what a clock and the memory say."""
    config = StudyConfig(
        study="forms", dataset=str(dataset), studies_dir=studies, trials=1, workers=1, flip=True, pruner="none"
    )
    study = run_study(config, search_only=True)
    (trial,) = study.trials
    assert trial.state == "complete" and trial.history
    return {
        "space": study.files.space.read_text(),
        "params": trial.params,
        "recipe": trial.recipe,
        "history": [dataclasses.replace(point, seconds=0) for point in trial.history],
        "value": trial.value,
    }


@pytest.mark.slow
@pytest.mark.trains
@pytest.mark.process
@pytest.mark.timeout(900)
def test_every_form_gives_the_first_trial_of_class_folders_to_the_bit(tmp_path: Path) -> None:
    """The space is written for the images, and --flip is for it: both are the same too."""
    images = make(COLOUR, side=16)
    forms = {
        "folders": FORMS["class folders"]["png"],
        "zip": FORMS["zip or tar"]["zip"],
        "parquet": FORMS["Parquet with pictures"]["names"],
        "npz": FORMS["NumPy archive (`.npz`)"]["named"],
    }
    trials = {}
    for name, form in forms.items():
        (tmp_path / name / "shapes").mkdir(parents=True)
        path = form.write(tmp_path / name / "shapes", images)
        assert find_data(str(path)).class_names == NAMES
        trials[name] = first_trial(path, tmp_path / name / "studies")
    assert "flip = true" in trials["folders"]["space"]
    for name in forms:
        assert trials[name] == trials["folders"], name
