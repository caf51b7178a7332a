"""One small data set in every form that `--dataset` reads, written without the product's help.

`FORMS` has an entry for each row of the first table of docs/own-images.md, called as the row is.
"""

from __future__ import annotations

import csv
import gzip
import json
import pickle
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.io import savemat

from fmnist.data.split import hold_out
from tests.support.made_images import NAMES, digits_of_each, encoded, idx, in_colour

N_EACH = 30
NUMBERS = tuple(map(str, range(len(NAMES))))  # what classes are called that nobody names
GREY, COLOUR = "grey", "colour"


@dataclass(frozen=True, eq=False)
class Made:
    """Images in the order of class folders: class by class, and in each by the numbers in the files' names."""

    images: np.ndarray  # uint8 (n, side, side), in colour (n, side, side, 3)
    labels: np.ndarray  # uint8 (n,)
    train: np.ndarray  # the rows that are left where seed 0 draws the test set
    test: np.ndarray  # the rows that it draws; forms that are divided have them as their test images

    @property
    def parts(self) -> tuple[tuple[str, np.ndarray], ...]:
        """The rows by what they are for."""
        return ("train", self.train), ("test", self.test)

    def file_of(self, row: int) -> str:
        """Names that go through the classes in turn, and that plain text sorts in another order than numbers."""
        return f"{(row % N_EACH) * len(NAMES) + int(self.labels[row])}.png"

    def one_hot(self) -> np.ndarray:
        return np.eye(len(NAMES), dtype=np.float32)[self.labels]

    def texts(self) -> np.ndarray:
        return np.array(NAMES)[self.labels]

    def rows(self) -> np.ndarray:
        """uint8 (n, numbers of an image)."""
        return self.images.reshape(len(self.images), -1)

    def pngs(self, rows: np.ndarray) -> list[bytes]:
        return [encoded(Image.fromarray(self.images[row])) for row in rows]

    def everything(self) -> np.ndarray:
        return np.arange(len(self.images))


def make(kind: str, side: int = 0, n_each: int = N_EACH) -> Made:
    """kind: GREY, of 16 pixels a side, or COLOUR, of 32 as CIFAR's files need them."""
    images, labels = digits_of_each([n_each] * len(NAMES), side or {GREY: 16, COLOUR: 32}[kind])
    return Made(images if kind == GREY else in_colour(images), labels, *hold_out(labels, 0))


Write = Callable[[Path, Made], Path]  # into an empty folder; returns what --dataset is given


@dataclass(frozen=True)
class Form:
    """A way to write a data set."""

    write: Write
    kinds: tuple[str, ...] = (GREY, COLOUR)  # of images that it can hold
    names: tuple[str, ...] = NAMES  # of the classes, as they are read back


# --- pictures


def in_folders(path_of: Callable[[str, str], Path], suffix: str = ".png") -> Write:
    """path_of: the folder of a picture, by its part and class. suffix: of a format that loses nothing."""

    def write(folder: Path, made: Made) -> Path:
        for part, rows in made.parts:
            for row in rows:
                path = folder / path_of(part, NAMES[made.labels[row]]) / made.file_of(row)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(made.images[row]).save(path.with_suffix(suffix))
        return folder

    return write


def with_table(name: str, columns: Sequence[str], folder_of: Callable[[str], Path] = lambda part: Path()) -> Write:
    """Pictures that no folder sorts, and a table in another order than theirs. columns: of file, label, split."""

    def write(folder: Path, made: Made) -> Path:
        in_folders(lambda part, _: folder_of(part))(folder, made)
        part_of = {row: part for part, rows in made.parts for row in rows}
        with (folder / name).open("w", newline="") as file:
            table = csv.DictWriter(file, columns, delimiter="\t" if name.endswith(".tsv") else ",")
            table.writeheader()
            for row in np.random.default_rng(0).permutation(len(made.labels)):
                values = {"file": made.file_of(row), "label": NAMES[made.labels[row]], "split": part_of[row]}
                values["image_id"] = values["file"].removesuffix(".png")
                table.writerow({column: values[column] for column in columns})
        return folder

    return write


# --- arrays


def arrays_of(names: Sequence[str], change: Callable[[Made], tuple[np.ndarray, np.ndarray]]) -> Write:
    """An .npz archive. names: of images and labels, of the test images and labels too where there are four."""

    def write(folder: Path, made: Made) -> Path:
        images, labels = change(made)
        if len(names) == 2:
            arrays = [images, labels]
        else:
            arrays = [array[rows] for rows in (made.train, made.test) for array in (images, labels)]
        np.savez_compressed(folder / "shapes.npz", **dict(zip(names, arrays, strict=True)))
        return folder / "shapes.npz"

    return write


def plainly(made: Made) -> tuple[np.ndarray, np.ndarray]:
    return made.images, made.labels


def named_npz(folder: Path, made: Made) -> Path:
    np.savez(folder / "shapes.npz", x_train=made.images, y_train=made.labels, class_names=np.array(NAMES))
    return folder / "shapes.npz"


def nameless_npz(folder: Path, made: Made) -> Path:
    arrays = [array[rows] for _, rows in made.parts for array in (made.images, made.labels)]
    np.savez(folder / "shapes.npz", *arrays)
    return folder / "shapes.npz"


def channels_first(made: Made) -> tuple[np.ndarray, np.ndarray]:
    return np.moveaxis(made.images, -1, 1), made.labels.astype(np.float64)


def files_of_arrays(form: str, save: Callable[[Path, np.ndarray], None]) -> Write:
    def write(folder: Path, made: Made) -> Path:
        for part, rows in made.parts:
            save(folder / form.format(content="imgs", part=part), made.images[rows])
            save(folder / form.format(content="labels", part=part), made.texts()[rows])
        return folder

    return write


def npy_of_each_class(folder: Path, made: Made) -> Path:
    for label, name in enumerate(NAMES):
        np.save(folder / f"full_numpy_bitmap_{name}.npy", made.rows()[made.labels == label])
    return folder


def npz_of_classes(folder: Path, made: Made) -> Path:
    np.savez(folder / "shapes.npz", **{name: made.images[made.labels == i] for i, name in enumerate(NAMES)})
    return folder / "shapes.npz"


# --- tables of pixels


def csv_lines(made: Made, rows: np.ndarray, header: bool = True) -> str:
    """As Kaggle has them; in colour with names that tell the colours."""
    n = made.rows().shape[1]
    pixels = [f"pixel{i + 1}" for i in range(n)]
    if made.images.ndim == 4:
        pixels = [f"{colour}{i}" for i in range(n // 3) for colour in "rgb"]
    lines = [",".join(["label", *pixels])] if header else []
    lines += [f"{made.labels[row]}," + ",".join(map(str, made.rows()[row])) for row in rows]
    return "\n".join(lines) + "\n"


def csv_file(folder: Path, made: Made) -> Path:
    (folder / "shapes.csv").write_text(csv_lines(made, made.everything()))
    return folder / "shapes.csv"


def csv_headless(folder: Path, made: Made) -> Path:
    with gzip.open(folder / "shapes.csv.gz", "wt") as file:
        file.write(csv_lines(made, made.everything(), header=False))
    return folder / "shapes.csv.gz"


def csv_of_names(folder: Path, made: Made) -> Path:
    """Labels last, in words and quotation marks, between semicolons."""
    with (folder / "shapes.csv").open("w", newline="") as file:
        table = csv.writer(file, delimiter=";", quoting=csv.QUOTE_ALL)
        table.writerow([*(f"pixel{i}" for i in range(made.rows().shape[1])), "class"])
        table.writerows([*pixels, name] for pixels, name in zip(made.rows(), made.texts(), strict=True))
    return folder / "shapes.csv"


def two_csv_files(folder: Path, made: Made) -> Path:
    for part, rows in made.parts:
        (folder / f"shapes_{part}.csv").write_text(csv_lines(made, rows))
    return folder


def hub_metadata() -> dict[str, str]:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": NAMES}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def pictures_in_table(made: Made, rows: np.ndarray) -> pa.Table:
    pictures = [{"bytes": png, "path": made.file_of(row)} for row, png in zip(rows, made.pngs(rows), strict=True)]
    return pa.table({"image": pictures, "label": made.labels[rows].astype(np.int64)})


def parquet_of_hub(folder: Path, made: Made) -> Path:
    """Two files to train on and one to test on, with the names of the classes."""
    (folder / "data").mkdir()
    first, second = np.array_split(made.train, 2)
    for name, rows in (
        ("train-00000-of-00002", first),
        ("train-00001-of-00002", second),
        ("test-00000-of-00001", None),
    ):
        table = pictures_in_table(made, made.test if rows is None else rows)
        pq.write_table(table.replace_schema_metadata(hub_metadata()), folder / "data" / f"{name}.parquet")
    return folder


def parquet_of_pictures(folder: Path, made: Made) -> Path:
    """One file of bytes alone, with labels in words, in small groups of rows."""
    table = pa.table({"image": made.pngs(made.everything()), "label": made.texts()})
    pq.write_table(table, folder / "shapes.parquet", row_group_size=7)
    return folder / "shapes.parquet"


def parquet_of_lists(folder: Path, made: Made) -> Path:
    pq.write_table(pa.table({"image": made.images.tolist(), "label": made.texts()}), folder / "shapes.parquet")
    return folder / "shapes.parquet"


def parquet_of_columns(folder: Path, made: Made) -> Path:
    pixels = {f"pixel{i}": values for i, values in enumerate(made.rows().T)}
    pq.write_table(pa.table({"label": made.texts(), **pixels}), folder / "shapes.parquet")
    return folder / "shapes.parquet"


# --- files of others


def idx_files(form: str, test: str = "t10k", names: bool = False) -> Write:
    def write(folder: Path, made: Made) -> Path:
        for part, rows in (("train", made.train), (test, made.test)):
            for content, array in (("images", made.images[rows]), ("labels", made.labels[rows])):
                path = folder / form.format(part=part, content=content, n=array.ndim)
                path.write_bytes(gzip.compress(idx(array)) if path.suffix == ".gz" else idx(array))
        if names:
            (folder / "classes.txt").write_text("\n".join(NAMES))
        return folder

    return write


def matlab_file(folder: Path, made: Made) -> Path:
    savemat(folder / "shapes.mat", {"images": made.images, "labels": made.texts().astype(object)})
    return folder / "shapes.mat"


def matlab_files(folder: Path, made: Made) -> Path:
    """As SVHN has them: a file for each part, in it the number of images last, classes numbered from 1."""
    for part, rows in made.parts:
        variables = {"X": np.moveaxis(made.images[rows], 0, -1), "y": made.labels[rows, np.newaxis] + 1}
        savemat(folder / f"{part}_32x32.mat", variables, do_compression=True)
    return folder


def cifar_10(folder: Path, made: Made) -> Path:
    planes = np.moveaxis(made.images, -1, 1).reshape(len(made.images), -1)
    batches = [*np.array_split(made.train, 5), made.test]
    for name, rows in zip([*(f"data_batch_{i + 1}" for i in range(5)), "test_batch"], batches, strict=True):
        (folder / name).write_bytes(pickle.dumps({"data": planes[rows], "labels": made.labels[rows].tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(NAMES)}))
    return folder


def cifar_100(folder: Path, made: Made) -> Path:
    planes = np.moveaxis(made.images, -1, 1).reshape(len(made.images), -1)
    for part, rows in made.parts:
        labels = made.labels[rows].tolist()
        content = {"data": planes[rows], "fine_labels": labels, "coarse_labels": [0] * len(rows)}
        (folder / part).write_bytes(pickle.dumps(content))
    names = {"fine_label_names": list(NAMES), "coarse_label_names": ["all"]}
    (folder / "meta").write_bytes(pickle.dumps(names))
    return folder


# --- archives


def packed(format: str, write: Write) -> Write:
    """By Python's own module, with a folder around everything."""

    def write_packed(folder: Path, made: Made) -> Path:
        inner = folder / "unpacked" / "shapes"
        inner.mkdir(parents=True)
        write(inner, made)
        return Path(shutil.make_archive(str(folder / "shapes"), format, inner.parent, "shapes"))

    return write_packed


class_folders = in_folders(lambda part, name: Path(name))
FOUR = ("x_train", "y_train", "x_test", "y_test")
FORMS: dict[str, dict[str, Form]] = {
    "class folders": {
        "png": Form(class_folders),
        "bmp": Form(in_folders(lambda part, name: Path(name), ".bmp")),
        "below": Form(in_folders(lambda part, name: Path("all", name, "inner"))),
    },
    "class folders, divided": {
        "parts outside": Form(in_folders(lambda part, name: Path(part, name))),
        "parts inside": Form(in_folders(lambda part, name: Path(name, f"{part}ing"))),
    },
    "pictures and a table of labels": {
        "labels": Form(with_table("labels.csv", ["file", "label"])),
        "split": Form(with_table("annotations.tsv", ["label", "image_id", "split"])),
        "folders": Form(with_table("labels.csv", ["file", "label"], Path)),
    },
    "table of pixels (CSV)": {
        "columns": Form(csv_file, names=NUMBERS),
        "no header, gzipped": Form(csv_headless, (GREY,), NUMBERS),
        "names": Form(csv_of_names, (GREY,)),
    },
    "two tables of pixels (CSV)": {"parts": Form(two_csv_files, names=NUMBERS)},
    "Parquet with pictures": {"hub": Form(parquet_of_hub), "names": Form(parquet_of_pictures)},
    "Parquet with numbers": {"lists": Form(parquet_of_lists), "columns": Form(parquet_of_columns, (GREY,))},
    "NumPy archive (`.npz`)": {
        "plain": Form(arrays_of(("x_train", "y_train"), plainly), names=NUMBERS),
        "divided": Form(arrays_of(FOUR, plainly), names=NUMBERS),
        "named": Form(named_npz),
        "words": Form(arrays_of(("images", "labels"), lambda made: (made.images, made.texts()))),
        "floats": Form(
            arrays_of(
                ("train_images", "train_labels", "test_images", "test_labels"),
                lambda made: (made.images.astype(np.float32) / 255, made.one_hot()),
            ),
            names=NUMBERS,
        ),
        "channels first": Form(arrays_of(("trainX", "trainY", "testX", "testY"), channels_first), (COLOUR,), NUMBERS),
        "rows": Form(arrays_of(("X", "y"), lambda made: (made.rows(), made.labels + 1)), (GREY,), ("1", "2", "3")),
        "nameless": Form(nameless_npz, names=NUMBERS),
    },
    "folder of arrays": {
        "npy": Form(files_of_arrays("{part}_{content}.npy", np.save)),
        "npz": Form(files_of_arrays("shapes-{part}-{content}.npz", np.savez)),
    },
    "one array per class": {"npy": Form(npy_of_each_class, (GREY,)), "npz": Form(npz_of_classes)},
    "IDX files": {
        "published": Form(idx_files("{part}-{content}-idx{n}-ubyte.gz", names=True)),
        "Windows": Form(idx_files("{part}-{content}.idx{n}-ubyte", test="test"), names=NUMBERS),
    },
    "MATLAB file (`.mat`)": {
        "words": Form(matlab_file),
        "parts": Form(matlab_files, names=("1", "2", "3")),
    },
    "CIFAR's Python files": {"10": Form(cifar_10, (COLOUR,)), "100": Form(cifar_100, (COLOUR,))},
    "zip or tar": {
        "zip": Form(packed("zip", class_folders)),
        "tar.gz": Form(packed("gztar", class_folders)),
        "tar.xz of tables": Form(packed("xztar", parquet_of_hub)),
        "zip of arrays": Form(packed("zip", arrays_of(FOUR, plainly)), names=NUMBERS),
    },
}
