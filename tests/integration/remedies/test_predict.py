"""What is said of images and labels that cannot be used is done, and they are classified."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist.errors import UserError
from fmnist.model.metadata import ModelMetadata
from fmnist.predict import Classifier, evaluate
from fmnist.predict.evaluation import labelled_items
from fmnist.predict.items import open_inputs, read_inputs
from fmnist.predict.labels import read_table
from tests.support.drawings import save
from tests.support.made_images import idx
from tests.support.remedies import needs_remedy

METADATA = ModelMetadata(("cat", "dog"), (8, 8, 1), background=0.0)
IMAGES = np.full((3, 8, 8), 100, np.uint8)
SPEECHLESS = pytest.fail  # hears what is decided: nothing here


def n_of(images: object) -> int:
    return len(list(open_inputs(read_inputs(images), METADATA, SPEECHLESS)))


def truth_of(images: object, labels: object = None) -> list[int]:
    return labelled_items(read_inputs(images), labels, METADATA, SPEECHLESS)[1].tolist()


def test_images_are_paths_pictures_and_arrays() -> None:
    nested = IMAGES.tolist()
    with needs_remedy("images must be paths, PIL images or arrays of numbers, one or a list of them, but got {}; make"):
        n_of(nested)
    assert n_of(np.asarray(nested)) == 3
    with needs_remedy("images must be paths, PIL images or arrays of numbers, one or a list of them, but got {}; make"):
        n_of([["a.png"], "b.png"])
    assert n_of(["a.png", "b.png"]) == 2


def test_arrays_fit_the_model_or_are_passed_as_pictures(tmp_path: Path) -> None:
    turned, large = np.moveaxis(IMAGES, 0, 2), np.full((20, 30, 3), 100, np.uint8)
    with needs_remedy("{} must hold images of the model's size and channels, as {} or {}, but got {}; reshape it"):
        n_of(turned)
    assert n_of(np.moveaxis(turned, 2, 0)) == 3
    with needs_remedy("{} must hold images of the model's size and channels, as {} or {}, but got {}; reshape it"):
        n_of(large)
    assert n_of(Image.fromarray(large)) == 1
    np.savez(tmp_path / "x.npz", x=large[np.newaxis])
    with needs_remedy("{} must hold images of the model's size and channels, as {} or {}, but got {}; reshape it"):
        n_of(tmp_path / "x.npz")
    Image.fromarray(large).save(tmp_path / "x.png")
    (item,) = open_inputs([str(tmp_path / "x.png")], METADATA, SPEECHLESS)
    assert item.prepare(METADATA, may_invert=True).image.shape == (8, 8, 1)


def test_file_holds_one_array_of_images_and_some_images(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for arrays in ({"x_train": IMAGES, "x_val": IMAGES}, {"a": np.zeros(3)}):
        np.savez(path, **arrays)
        with needs_remedy("{} must hold one array of images to classify, x_test or x, but got {}; save it alone as x"):
            n_of(path)
    np.savez(path, x=IMAGES)
    assert n_of(path) == 3
    np.savez(path, x=IMAGES[:0])
    with needs_remedy("{} must hold an image at least, but got {}; save some there"):
        n_of(path)
    np.savez(path, x=IMAGES[:1])
    assert n_of(path) == 1


def test_folder_of_idx_files_holds_images(tmp_path: Path) -> None:
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(3)))
    with needs_remedy("{} must hold an IDX file of images, {}, but has labels alone; add the images"):
        n_of(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(IMAGES))
    assert truth_of(tmp_path) == [0, 0, 0]


def test_labels_of_a_data_set_are_beside_its_images_and_as_many(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x_test=IMAGES)
    with needs_remedy("labelled images must have their labels beside them, but for {} there is no {}; add it") as said:
        truth_of(path)
    assert f"x_test in {path} there is no y_test in {path}" in str(said.value)
    assert n_of(path) == 3  # without --labels
    np.savez(path, x_test=IMAGES, y_test=[0, 1])
    with needs_remedy("every image needs a label, but {} has {} images and {} has {} labels; take both from one"):
        truth_of(path)
    np.savez(path, x_test=IMAGES, y_test=[0, 1, 1])
    assert truth_of(path) == [0, 1, 1]
    np.savez(path, x_test=IMAGES, y_test=np.eye(3))
    with needs_remedy("{} must have a column for each of the model's {} classes, but got {} columns; number the"):
        truth_of(path)
    np.savez(path, x_test=IMAGES[:2], y_test=np.eye(3)[:2].argmax(axis=1))
    assert truth_of(path) == [0, 1]


def test_labels_are_classes_of_the_model(tmp_path: Path) -> None:
    for name in ("around/test/cat", "around/test/Dog"):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(IMAGES[0]).save(tmp_path / name / "a.png")
    with needs_remedy("{} must be classes of the model ({}), but got {}; {}") as said:
        truth_of(tmp_path / "around")
    assert "call them as the model does, or name the folder right around the class folders" in str(said.value)
    assert truth_of(tmp_path / "around" / "test") == [1, 0]
    with needs_remedy("{} must be classes of the model ({}), but got {}; {}") as said:
        truth_of(IMAGES, ["cat", "dog", "hound"])
    assert "call them as the model does, or leave these images out" in str(said.value)
    assert truth_of(IMAGES, ["cat", "dog", "dog"]) == [0, 1, 1] == [*truth_of(IMAGES[:2], ["cat", "dog"]), 1]


def test_images_in_memory_are_labelled_by_the_caller(tmp_path: Path) -> None:
    for images in (IMAGES, "-"):
        with needs_remedy("every image needs a label, but {} brings none, as images in memory and from standard input"):
            truth_of(images)
    assert truth_of(IMAGES, labels=[0, 1, 0]) == [0, 1, 0]
    (tmp_path / "dog").mkdir()
    Image.fromarray(IMAGES[0]).save(tmp_path / "dog" / "a.png")
    assert truth_of(tmp_path / "dog" / "a.png") == [1]
    for labels in ([0, 1], "cat", 5, [[0], [1, 2], [3]]):
        with needs_remedy("labels must be one number or name for each of the {} images, in their order, but got {}"):
            truth_of(IMAGES, labels)
    assert truth_of(IMAGES, [0, 1, 1]) == [0, 1, 1]
    assert truth_of(tmp_path) == [1]  # left out, where class folders name them


def test_table_names_its_columns_and_every_file_and_label(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("picture of,animal\na.png,cat\n")
    with needs_remedy("{} must be a table whose first line names its columns, one of them file and one label, but"):
        read_table(str(path), labelled=True)
    path.write_text("file,label\na.png,cat\nb.png,\n")
    with needs_remedy("{} must name a file and its label in every line, but line {} lacks one; add it, or delete"):
        read_table(str(path), labelled=True)
    path.write_text("file,label\na.png,cat\n")
    assert truth_of(path) == [0]
    for content in ("file,label\ncafé.png,cat\n".encode("latin-1"), b'file,label\n"' + b"x" * 200_000):
        path.write_bytes(content)
        with needs_remedy("{} must be a table in UTF-8, but: {}; save it so"):
            read_table(str(path), labelled=True)
    path.write_text("file,label\ncafé.png,cat\n", encoding="utf-8")
    assert truth_of(path) == [0]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    import keras

    inputs = keras.Input((8, 8, 1))
    dense = keras.layers.Dense(2, activation="softmax", kernel_initializer="zeros")
    outputs = dense(keras.layers.Flatten()(inputs))
    return save(keras.Model(inputs, outputs), tmp_path / "model.keras", METADATA)


@pytest.mark.trains
def test_pictures_are_readable_to_be_scored(tmp_path: Path, model: Path) -> None:
    (tmp_path / "cat").mkdir()
    path = tmp_path / "cat" / "a.png"
    with needs_remedy("an image at least must be readable to be scored, but {}; name other files"):
        evaluate(model, path)
    with needs_remedy("every picture must be readable, but {}: {}; leave it out, or use predict, which names it"):
        Classifier(model).probabilities([IMAGES[0], path])
    assert Classifier(model).probabilities([IMAGES[0]]).shape == (1, 2)
    assert [one.error for one in Classifier(model).predict([IMAGES[0], path])] == [None, "No such file or directory"]
    Image.fromarray(IMAGES[0]).save(tmp_path / "cat" / "b.png")
    assert evaluate(model, tmp_path / "cat" / "b.png").n_images == 1


@pytest.mark.trains
def test_images_that_need_no_model_to_be_refused_load_no_keras(tmp_path: Path, model: Path) -> None:
    np.savez(tmp_path / "shape.npz", x=IMAGES[:, :4])
    np.savez(tmp_path / "values.npz", x=IMAGES - 100.5)
    np.savez(tmp_path / "labels.npz", x=IMAGES, y=[0, 1, 2])
    script = (
        "import sys; from fmnist.predict.__main__ import main\n"
        f"for name in ('shape', 'values', 'labels'): main([{str(model)!r}, f'{tmp_path}/{{name}}.npz', '--labels'])\n"
        f"main([{str(model)!r}, '{tmp_path}/values.npz'])\n"
        "print(sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert child.stdout == "[]\n", child.stderr
    assert [line.startswith("error: ") for line in child.stderr.splitlines()] == [True] * 4


def test_pixels_of_no_kind_are_refused_as_in_training() -> None:
    with pytest.raises(UserError, match=r"an array of images must be whole numbers from 0 to 255, or decimal numbers"):
        n_of(IMAGES - 100.5)
