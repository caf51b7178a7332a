"""A data set is found by its name or its path, and what is none is refused."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from fmnist.data.find import find_data
from fmnist.errors import UserError
from fmnist.reading import Reading
from tests.support.data_sets import found, labels_of, refused, write_folder
from tests.support.made_forms import COLOUR, FORMS, make
from tests.support.made_images import write_divided


def test_unknown_dataset_names_what_is_known() -> None:
    with pytest.raises(
        UserError, match=r"must be fashion-mnist, digits, mnist, .* or a folder .* but got 'fasion-mnist'"
    ):
        find_data("fasion-mnist")


@pytest.mark.parametrize("dataset", ["", "./~nobody-of-this-name/data"])
def test_dataset_that_is_no_folder_is_unknown(dataset: str) -> None:
    with pytest.raises(UserError, match=r"must be fashion-mnist, digits, mnist, .* or a folder"):
        find_data(dataset)


def test_folder_that_is_called_like_a_data_set_is_not_that_data_set(tmp_path: Path) -> None:
    assert find_data(str(write_divided(tmp_path / "digits"))).dataset == "./digits"


def test_data_dir_is_refused_for_other_datasets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave --data-dir out"):
        find_data("digits", tmp_path)


@pytest.mark.parametrize("dataset", ["digits", "fashion-mnist"])
@pytest.mark.parametrize("option", [{"image_size": 16}, {"colour": "grey"}, {"skip_unreadable": True}])
def test_named_data_sets_are_read_as_they_are(dataset: str, option: dict) -> None:
    with pytest.raises(UserError, match=rf"are for images of your own, but got '{dataset}'; leave them out"):
        find_data(dataset, reading=Reading(**option))


def test_pictures_options_are_refused_for_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "shapes.npz", x_train=np.zeros((9, 8, 8), np.uint8))
    refused(
        tmp_path / "shapes.npz",
        "are for picture files, in folders, archives or Parquet, but .*shapes.npz holds pixels as numbers; leave them",
        colour="grey",
    )


@pytest.mark.parametrize("option", [{"colour": "grey"}, {"skip_unreadable": True}])
@pytest.mark.parametrize(
    "row", ["class folders", "pictures and a table of labels", "Parquet with pictures", "zip or tar"]
)
def test_pictures_have_their_options_wherever_they_are(tmp_path: Path, row: str, option: dict) -> None:
    path = next(iter(FORMS[row].values())).write(tmp_path, make(COLOUR, side=16))
    assert found(path, **option).image_shape == (16, 16, 1 if "colour" in option else 3)


def test_path_that_is_misspelt_is_told_so_whatever_the_options(tmp_path: Path) -> None:
    refused(tmp_path / "shoos", "check the spelling of --dataset", colour="grey")


def test_file_that_is_no_archive_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1,2")
    refused(
        tmp_path / "a.txt",
        r"must be fashion-mnist, digits, .* or a folder of images .* or a zip or tar of these, but got",
    )


@pytest.mark.follows("the dataset must be what holds the images, but {} is a folder around {}")
def test_folder_around_a_data_set_of_arrays_is_refused_with_what_to_pass(tmp_path: Path) -> None:
    write_folder(tmp_path / "idx" / "raw data")
    (tmp_path / "npz").mkdir()
    labels = labels_of(72)
    np.savez(tmp_path / "npz" / "a.npz", x_train=np.zeros((72, 6, 6), np.uint8), y_train=labels)
    for outer in ("idx", "npz"):
        (tmp_path / outer / "notes").mkdir()
    for outer, inner in (("idx", "raw data"), ("npz", "a.npz")):
        with pytest.raises(UserError, match=f"is a folder around .*{inner}; pass --dataset ") as caught:
            find_data(str(tmp_path / outer))
        (proposed,) = shlex.split(str(caught.value).partition("--dataset ")[2])
        assert len(find_data(proposed).class_names) == 3


@pytest.mark.parametrize("kind", ["idx", "npz", "csv", "parquet"])
def test_folders_around_nothing_but_a_data_set_are_passed_through(tmp_path: Path, kind: str) -> None:
    outer = tmp_path / "shapes"
    inner = outer / "snapshots" / "9ab3" / "data"
    inner.mkdir(parents=True)
    images, labels = np.random.default_rng(0).integers(0, 256, (72, 6, 6), np.uint8), labels_of(72)
    flat = images.reshape(len(images), -1)
    if kind == "idx":
        write_folder(inner)
    elif kind == "npz":
        np.savez(inner / "a.npz", x_train=images, y_train=labels)
    elif kind == "csv":
        np.savetxt(inner / "train.csv", np.column_stack([labels, flat]), "%d", delimiter=",")
    else:
        columns = {"label": pyarrow.array(labels), "image": pyarrow.array(flat.tolist())}
        pyarrow.parquet.write_table(pyarrow.table(columns), inner / "train-00000-of-00001.parquet")
    source = find_data(str(outer))
    assert source.dataset == "shapes"
    assert source.checksums == find_data(str(inner)).checksums
    assert f"what {outer} holds is read from snapshots/9ab3/data" in source.notes[0]


def test_folder_whose_name_is_no_utf8_is_refused(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"caf\xe9")))
    refused(write_divided(folder), r"must be UTF-8, but got .*caf.xe9'; rename")


@pytest.mark.process
@pytest.mark.process
def test_finding_data_leaves_keras_unloaded() -> None:
    script = "import sys; from fmnist.data.find import find_data; find_data('digits'); print('keras' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "False"
