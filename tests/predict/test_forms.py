"""Every form of images that trains is classified: the same pixels, names of rows and labels. No Keras."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from scipy.io import savemat

from fmnist.data.arrays.per_class import ClassArrays
from fmnist.errors import UserError
from fmnist.model.metadata import ModelMetadata
from fmnist.predict.evaluation import labelled_items
from fmnist.predict.items import Item, open_inputs, read_inputs
from tests.support.remedies import needs_remedy

N, SIDE = 5, 8
NAMES = ("ant", "bee", "cat")
GREY = ModelMetadata(NAMES, (SIDE, SIDE, 1), background=0.0, contrast=255.0)
COLOUR = ModelMetadata(NAMES, (32, 32, 3), background=0.0)
IMAGES = np.random.default_rng(0).integers(0, 256, (N, SIDE, SIDE), np.uint8)
LABELS = np.array([2, 0, 1, 1, 0])
TEXTS = [NAMES[label] for label in LABELS]


def items_of(path: Path | str, metadata: ModelMetadata = GREY, say: Any = pytest.fail) -> list[Item]:
    return list(open_inputs(read_inputs(path), metadata, say))


def pixels_of(items: Sequence[Item], metadata: ModelMetadata = GREY) -> np.ndarray:
    return np.stack([item.prepare(metadata, may_invert=True).image for item in items])


def truth_of(path: Path | str, metadata: ModelMetadata = GREY, say: Any = pytest.fail) -> list[int]:
    return labelled_items(read_inputs(path), None, metadata, say)[1].tolist()


def assert_images(path: Path | str, expected: np.ndarray = IMAGES, say: Any = pytest.fail) -> None:
    """The images of a path are these grey ones, in their order."""
    np.testing.assert_array_equal(pixels_of(items_of(path, say=say)), expected[..., np.newaxis])


def names_of(path: Path, say: Any = pytest.fail) -> list[str]:
    """What its images are called, from the folder around it on."""
    return [str(Path(item.path).relative_to(path.parent)) for item in items_of(path, say=say)]


def write_text(path: Path, images: np.ndarray = IMAGES, labels: Sequence[object] | None = None) -> Path:
    """A table with a first line, as Kaggle has them."""
    rows = images.reshape(len(images), -1)
    lines = [",".join(f"pixel{i}" for i in range(rows.shape[1])), *(",".join(map(str, row)) for row in rows)]
    if labels is not None:
        lines = [f"{label},{line}" for label, line in zip(["label", *labels], lines, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return path


def png_of(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


def write_parquet(path: Path, contents: Sequence[bytes | None], **columns: Any) -> Path:
    """Pictures as the Hugging Face hub stores them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [{"bytes": content, "path": None} for content in contents]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(pictures, kind), **columns})
    parquet.write_table(table, path, row_group_size=2)
    return path


def zipped(path: Path, content: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(content.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(content).as_posix())
    return path


def write_cifar(folder: Path, n_train: int = 2, *, has_test: bool = True) -> tuple[Path, np.ndarray]:
    images = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), np.uint8)
    folder.mkdir(parents=True)
    batch = {"data": np.moveaxis(images, -1, 1).reshape(4, -1), "labels": [2, 0, 1, 1]}
    for name in [*(f"data_batch_{i + 1}" for i in range(n_train)), *(["test_batch"] if has_test else [])]:
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["Cat", "ant", "bee"]}))
    return folder, images


@pytest.mark.parametrize("n", [N, 1])
def test_table_of_pixels_needs_no_label_and_is_read_with_one(tmp_path: Path, n: int) -> None:
    unlabelled = write_text(tmp_path / "test.csv", IMAGES[:n])
    labelled = write_text(tmp_path / "train.csv", IMAGES[:n], TEXTS[:n])
    for path in (unlabelled, labelled):
        assert_images(path, IMAGES[:n])
    assert names_of(unlabelled) == [f"test.csv[{i}]" for i in range(n)]
    assert truth_of(labelled) == LABELS[:n].tolist()
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(unlabelled.read_text().splitlines()[1:]))
    assert_images(bare, IMAGES[:n])
    labelled.write_text(labelled.read_text().replace("cat,", ",", 1))  # which does not matter without --labels
    assert_images(labelled, IMAGES[:n])


def test_table_without_labels_cannot_be_scored(tmp_path: Path) -> None:
    path = write_text(tmp_path / "test.csv")
    with needs_remedy("labelled images must have their labels beside them, but for {} there is no {}"):
        truth_of(path)
    assert_images(path)  # as the line says: leave --labels out
    write_text(path, labels=TEXTS)  # or add it
    assert truth_of(path) == LABELS.tolist()


def test_bare_table_whose_label_is_not_told_is_refused_until_columns_are_named(tmp_path: Path) -> None:
    path = write_text(tmp_path / "new.csv", labels=LABELS.tolist())
    named = path.read_text()
    path.write_text("\n".join(named.splitlines()[1:]))
    with needs_remedy("must have one column of labels, but it is not told which, of {}; name the columns, that one"):
        items_of(path)
    path.write_text(named)
    assert_images(path)


def test_label_that_is_told_by_its_values_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    path, said = tmp_path / "new.csv", []
    images = np.random.default_rng(4).integers(0, 256, (60, SIDE, SIDE), np.uint8)
    labels = np.repeat(LABELS, 12)
    path.write_text("\n".join(write_text(path, images, labels.tolist()).read_text().splitlines()[1:]))
    assert_images(path, images, said.append)
    assert truth_of(path, say=said.append) == labels.tolist()
    assert said == 2 * [f"The first column of {path} is read as the label, by its values"]


def test_of_tables_in_a_folder_those_to_test_on_are_taken_and_that_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    write_text(folder / "train.csv", IMAGES[:2], TEXTS[:2])
    assert_images(folder, IMAGES[:2])
    write_text(folder / "test.csv", IMAGES[2:])
    said: list[str] = []
    assert_images(folder, IMAGES[2:], said.append)
    assert said == [f"{folder}: test.csv is taken, and not train.csv"]
    assert names_of(folder, said.append)[0] == "digits/test.csv[0]"
    (folder / "train.csv").unlink()
    assert_images(folder, IMAGES[2:])


def test_table_of_other_images_than_the_model_s_is_refused(tmp_path: Path) -> None:
    path = write_text(tmp_path / "large.csv", np.zeros((2, 9, 9), np.uint8))
    with pytest.raises(UserError, match="must hold images of the model's size and channels"):
        items_of(path)


def test_pictures_are_the_same_in_files_archives_and_parquet(tmp_path: Path) -> None:
    """Photographs, which are inverted, trimmed and fitted, so that anything done otherwise would show."""
    generator = np.random.default_rng(2)
    folder = tmp_path / "photos"
    contents = []
    for i in range(N):
        photo = np.full((40 + i, 60, 3), 240, np.uint8)
        photo[10:30, 15 : 30 + i] = generator.integers(0, 120, (20, 15 + i, 3))
        contents.append(png_of(photo))
        path = folder / TEXTS[i] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[-1])
    files = {Path(item.path).stem: item.prepare(GREY, may_invert=True) for item in items_of(folder)}
    assert all(each.inverted and each.fitted for each in files.values())
    archive = zipped(tmp_path / "photos.zip", folder)
    with tarfile.open(tmp_path / "photos.tar.gz", "w:gz") as tar:
        tar.add(folder, "photos")
    table = write_parquet(tmp_path / "new.parquet", contents)
    assert names_of(archive)[0] == f"photos.zip/{TEXTS[1]}/1.png"
    assert names_of(table) == [f"new.parquet[{i}]" for i in range(N)]
    for path in (archive, tmp_path / "photos.tar.gz", table):
        for item in items_of(path):
            number = item.path.rpartition("[")[2].rstrip("]") if path == table else Path(item.path).stem
            prepared, expected = item.prepare(GREY, may_invert=True), files[number]
            np.testing.assert_array_equal(prepared.image, expected.image)
            assert (prepared.inverted, prepared.fitted, prepared.own_size) == (True, True, expected.own_size)
    assert truth_of(archive) == truth_of(tmp_path / "photos.tar.gz") == truth_of(folder)
    (lone,) = items_of(f"{archive}/cat/0.png")
    np.testing.assert_array_equal(lone.prepare(GREY, may_invert=True).image, files["0"].image)


@pytest.mark.parametrize("labels", [LABELS, TEXTS], ids=["numbers", "texts"])
def test_parquet_of_pictures_is_scored_by_its_labels(tmp_path: Path, labels: Any) -> None:
    contents = [png_of(image) for image in IMAGES]
    assert truth_of(write_parquet(tmp_path / "new.parquet", contents, label=labels)) == LABELS.tolist()


def test_classes_that_parquet_names_in_another_order_are_found_by_name(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "new.parquet", [png_of(image) for image in IMAGES[:3]], label=[0, 1, 2])
    table = parquet.read_table(path)
    features = b'{"info": {"features": {"label": {"names": ["Cat", "bee", "ant"], "_type": "ClassLabel"}}}}'
    parquet.write_table(table.replace_schema_metadata({b"huggingface": features}), path)
    assert truth_of(path) == [2, 1, 0]


def test_of_parquet_files_those_to_test_on_are_taken_and_secret_labels_are_none(tmp_path: Path) -> None:
    data = tmp_path / "insects" / "data"
    contents = [png_of(image) for image in IMAGES]
    write_parquet(data / "train-00000-of-00001.parquet", contents[:1], label=[0])
    for i in range(2):
        write_parquet(data / f"test-0000{i}-of-00002.parquet", contents[2 * i : 2 * i + 2], label=[-1, -1])
    said: list[str] = []
    assert names_of(data.parent, said.append)[1:3] == [
        f"insects/data/test-0000{i}-of-00002.parquet[{1 - i}]" for i in range(2)
    ]
    assert said == [
        f"{data.parent}: test-00000-of-00002.parquet, test-00001-of-00002.parquet are taken, and not "
        "train-00000-of-00001.parquet"
    ]
    with pytest.raises(UserError, match=r"there is no label in .*; add it, or leave --labels out"):
        truth_of(data.parent, say=said.append)


def test_folder_of_several_data_sets_is_refused_with_one_that_can_be_named(tmp_path: Path) -> None:
    for name in ("ants", "bees"):
        write_parquet(tmp_path / name / "test.parquet", [png_of(IMAGES[0])])
    with needs_remedy("must hold the tables of one data set, but got {}; pass ") as error:
        items_of(tmp_path)
    place = str(error.value).rpartition("; pass ")[2]
    assert [item.path for item in items_of(place)] == [f"{tmp_path}/bees/test.parquet[0]"]


def test_parquet_row_without_a_picture_is_unreadable_and_the_others_go_on(tmp_path: Path) -> None:
    first, second = items_of(write_parquet(tmp_path / "new.parquet", [None, png_of(IMAGES[0])]))
    with pytest.raises(Exception, match="the row holds no picture"):
        first.prepare(GREY, may_invert=True)
    np.testing.assert_array_equal(pixels_of([second])[0, ..., 0], IMAGES[0])


def test_parquet_of_numbers_is_taken_pixel_by_pixel(tmp_path: Path) -> None:
    columns = {f"pixel{i}": column for i, column in enumerate(IMAGES.reshape(N, -1).T)}
    parquet.write_table(pa.table(columns), tmp_path / "columns.parquet")
    parquet.write_table(pa.table({"image": IMAGES.tolist(), "label": LABELS}), tmp_path / "lists.parquet")
    for name in ("columns.parquet", "lists.parquet"):
        assert_images(tmp_path / name)
    assert truth_of(tmp_path / "lists.parquet") == LABELS.tolist()
    assert names_of(tmp_path / "columns.parquet")[-1] == "columns.parquet[4]"


def test_cifar_batches_are_those_to_test_on_or_all_or_the_one_that_is_named(tmp_path: Path) -> None:
    folder, images = write_cifar(tmp_path / "cifar")
    said: list[str] = []
    items = items_of(folder, COLOUR, said.append)
    np.testing.assert_array_equal(pixels_of(items, COLOUR), images)
    assert said == [f"{folder}: test_batch is taken, and not data_batch_1, data_batch_2"]
    assert items[3].path == str(folder / "test_batch[3]")
    assert truth_of(folder, COLOUR, said.append) == truth_of(folder / "data_batch_2", COLOUR) == [1, 2, 0, 0]
    folder, _ = write_cifar(tmp_path / "training", has_test=False)
    assert [Path(item.path).name for item in items_of(folder, COLOUR)][4] == "data_batch_2[0]"
    folder, _ = write_cifar(tmp_path / "test", n_train=0)
    assert len(items_of(zipped(tmp_path / "test.zip", folder), COLOUR)) == 4


def test_hostile_pickle_is_refused(tmp_path: Path) -> None:
    folder, _ = write_cifar(tmp_path / "cifar")
    (folder / "test_batch").write_bytes(pickle.dumps(Path))
    with pytest.raises(UserError, match="test_batch must be"):
        items_of(folder, COLOUR, [].append)


def test_hostile_archive_is_refused_and_unpacked_where_the_line_says(tmp_path: Path) -> None:
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../out.png", png_of(IMAGES[0]))
    with pytest.raises(UserError, match=r"bad\.zip holds '\.\./out\.png', which leads out of it"):
        items_of(path)
    assert not list(tmp_path.rglob("out.png"))


def test_messages_about_what_an_archive_holds_name_the_archive(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    np.savez(tmp_path / "in" / "x.npz", x=np.zeros((2, 9, 9), np.uint8))
    path = zipped(tmp_path / "arrays.zip", tmp_path / "in")
    with pytest.raises(UserError, match=r"^x in .*/arrays\.zip/x\.npz must hold images of the model's size"):
        items_of(path)


def test_matlab_files_need_no_labels_and_are_scored_with_them(tmp_path: Path) -> None:
    last = np.moveaxis(IMAGES, 0, -1)
    path = tmp_path / "a.mat"
    for variables in ({"X": last, "y": LABELS + 1}, {"X": last}, {"x": IMAGES}, {"x": IMAGES.reshape(N, -1).T}):
        savemat(path, variables)
        assert_images(path)
    assert names_of(path)[0] == "a.mat[0]"
    savemat(path, {"x": IMAGES[0]})
    assert_images(path, IMAGES[:1])
    assert names_of(path) == ["a.mat"]
    with pytest.raises(UserError, match=r"there is no y in .*a\.mat; add it, or leave --labels out"):
        truth_of(path)
    said: list[str] = []
    savemat(path, {"x_train": last[..., :1], "y_train": [0], "x_test": last, "y_test": LABELS})
    assert_images(path, say=said.append)
    assert said == [f"{path}: x_test is taken, and not x_train"]
    assert truth_of(path, say=said.append) == LABELS.tolist()
    savemat(path, {"X": last, "y": LABELS + 1, "class_names": np.array(["bee", "ant", "cat"], object)})
    assert truth_of(path, say=said.append) == [2, 1, 0, 0, 1]
    assert said[-1] == f"y in {path} number the classes from 1 to 3: 1 is bee"


def test_matlab_images_whose_number_may_be_the_first_dimension_or_the_last_are_refused(tmp_path: Path) -> None:
    images = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, SIDE), np.uint8)
    savemat(tmp_path / "a.mat", {"x": images})
    with needs_remedy("must have one dimension of {}, the number of labels, but its shape is {}; reshape it to"):
        items_of(tmp_path / "a.mat")
    savemat(tmp_path / "a.mat", {"x": images.reshape(SIDE, SIDE, 1, SIDE)})
    assert_images(tmp_path / "a.mat", np.moveaxis(images, -1, 0))


def test_matlab_file_with_several_arrays_of_images_is_refused_until_one_is_saved_alone(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"x_train": IMAGES, "x_val": IMAGES})
    with needs_remedy("must hold one array of images to classify, x_test or x, but got {}; save it alone as x, {}"):
        items_of(tmp_path / "a.mat")
    savemat(tmp_path / "a.mat", {"x": IMAGES})
    assert_images(tmp_path / "a.mat")


def test_arrays_of_a_class_each_are_all_taken_and_their_names_are_the_labels(tmp_path: Path) -> None:
    folder = tmp_path / "insects"
    folder.mkdir()
    parts = {"bee": IMAGES[:1], "cat": IMAGES[1:].reshape(4, -1)}
    for name, images in parts.items():
        np.save(folder / f"full_numpy_bitmap_{name}.npy", images)
    np.savez(tmp_path / "insects.npz", **parts)  # pyright: ignore[reportArgumentType]
    for path in (folder, tmp_path / "insects.npz"):
        said: list[str] = []
        assert_images(path, say=said.append)
        assert truth_of(path, say=said.append) == [1, 2, 2, 2, 2]
        assert said[0].startswith(f"{path}: Each of the 2 arrays is a class, called by the array's name")
    assert names_of(folder, [].append)[1] == "insects/full_numpy_bitmap_cat.npy[0]"
    assert names_of(tmp_path / "insects.npz", [].append)[1] == "insects.npz/cat[0]"
    assert not ClassArrays.has_test


def test_pictures_are_labelled_by_a_table_among_them(tmp_path: Path) -> None:
    folder = tmp_path / "insects"
    rows = ["id,species"]
    for i, image in enumerate(IMAGES):
        path = folder / ("test" if i > 3 else "train") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png_of(image))
        if i <= 3:
            rows.append(f"{i},{TEXTS[i]}")
    (folder / "train.csv").write_text("\n".join(rows))
    said: list[str] = []
    assert truth_of(folder, say=said.append) == LABELS[:4].tolist()
    assert said[0] == f"{folder}: Labels are read from train.csv: pictures from id, classes from species"
    assert truth_of(zipped(tmp_path / "insects.zip", folder), say=said.append) == LABELS[:4].tolist()
    assert len(items_of(folder, say=said.append)) == N


def test_table_that_divides_pictures_says_which_are_to_test_on(tmp_path: Path) -> None:
    folder = tmp_path / "insects"
    folder.mkdir()
    rows = ["file,label,split"]
    for i, image in enumerate(IMAGES):
        (folder / f"{i}.png").write_bytes(png_of(image))
        rows.append(f"{i}.png,{TEXTS[i]},{'test' if i < 2 else 'train'}")
    (folder / "labels.csv").write_text("\n".join(rows))
    said: list[str] = []
    assert truth_of(folder, say=said.append) == LABELS[:2].tolist()
    assert said[-1] == f"{folder}: the pictures to test on are taken, and not those to train on"


def test_class_folders_stay_the_labels_where_a_table_says_something_else(tmp_path: Path) -> None:
    folder = tmp_path / "insects"
    for i, image in enumerate(IMAGES):
        path = folder / TEXTS[i] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png_of(image))
    (folder / "weights.csv").write_text("\n".join(["file,grams", *(f"{i}.png,{i * 1.5}" for i in range(N))]))
    assert truth_of(folder, say=[].append) == [0, 0, 1, 1, 2]


def test_matlab_folders_and_emnist_give_the_images_to_test_on(tmp_path: Path) -> None:
    folder, said = tmp_path / "insects", []
    folder.mkdir()
    last = np.moveaxis(IMAGES, 0, -1)
    savemat(folder / "train.mat", {"X": last[..., :1], "y": [0]})
    savemat(folder / "test.mat", {"X": last, "y": LABELS})
    assert_images(folder, say=said.append)
    assert truth_of(folder, say=said.append) == LABELS.tolist()
    upright = np.random.default_rng(5).integers(0, 256, (3, 28, 28), np.uint8)
    part = {"images": upright.swapaxes(1, 2).reshape(3, -1), "labels": np.array([[2], [0], [1]])}
    mapping = np.array([[0, ord("a")], [1, ord("b")], [2, ord("c")]])
    savemat(tmp_path / "emnist.mat", {"dataset": {"train": part, "test": part, "mapping": mapping}})
    letters = ModelMetadata(("c", "b", "a"), (28, 28, 1), background=0.0)
    items = items_of(tmp_path / "emnist.mat", letters, said.append)
    np.testing.assert_array_equal(pixels_of(items, letters)[..., 0], upright)
    assert truth_of(tmp_path / "emnist.mat", letters, said.append) == [0, 2, 1]
    assert set(said) == {
        f"{place}: the test images are taken, and not those to train on" for place in (folder, tmp_path / "emnist.mat")
    }
