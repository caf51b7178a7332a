"""Tables of images: in text, an image a row, and Parquet files of numbers or of pictures."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fmnist.data.arrays.parts import Part
from fmnist.data.image_folder.tree import read_tree
from fmnist.data.images import Shape
from fmnist.data.tables.card import class_names_in_card
from fmnist.data.tables.csv_files import find_layout as find_text_layout
from fmnist.data.tables.csv_files import read_rows
from fmnist.data.tables.files import TableFiles, candidates, find_tables
from fmnist.data.tables.parquet_files import are_told, read_images, read_labels, require_alike, require_all
from fmnist.data.tables.parquet_layout import ParquetLayout, opened
from fmnist.data.tables.parquet_layout import find_layout as find_parquet_layout
from fmnist.data.tables.parquet_pictures import pictures_of
from fmnist.errors import UserError
from fmnist.predict.arrays import FoundImages, ImageArray, note_taken
from fmnist.predict.forms.arrays import joined


class PictureRows:
    """Reads the pictures of a column of Parquet files. The files are closed with the object."""

    def __init__(self, column: str) -> None:
        stack = ExitStack()
        self._read = stack.enter_context(pictures_of(column))
        weakref.finalize(self, stack.close)

    def content(self, row: Path) -> bytes:
        """Return the content of a picture.

        Args:
            row: The file, and in it the row: `new.parquet/row 12`.

        Raises:
            UnreadablePicture: There is none.
            UserError: The file is damaged.
        """
        return self._read(row)


@dataclass(frozen=True, eq=False, kw_only=True)
class FoundPictures(FoundImages):
    """Pictures in the rows of Parquet files, none of which has been read."""

    rows: Sequence[Path]  # as `PictureRows` takes them
    pictures: PictureRows


def find_table_form(path: str, shape: Shape, *, labelled: bool) -> ImageArray | FoundPictures | None:
    """Find the images of a table, or of tables in a folder that has no pictures.

    Of several parts it is the test images, else all that there are.

    Args:
        path: Of a file or a folder.
        shape: Of the model's images.
        labelled: Whether their labels are read where there are some.

    Returns:
        None if there are no tables.

    Raises:
        UserError: They are damaged, do not go together, or do not fit the model.
    """
    place = Path(path)
    if os.path.isdir(place) and (not candidates(place) or read_tree(place).n_pictures):
        return None
    try:
        tables = find_tables(place, to_train=False)
    except UserError as error:
        raise UserError(without_option(str(error))) from error
    if tables is None:
        return None
    taken, others = list(tables.test), [*tables.train, *tables.validation]
    if not taken:
        taken, others = others, []
    note = note_taken(place, [file.name for file in taken], [file.name for file in others])
    if tables.kind == "csv":
        return _of_texts(taken, shape, note, labelled=labelled)
    return _of_parquet(tables, taken, shape, note, labelled=labelled)


def without_option(message: str) -> str:
    """Write the message of an error for prediction, where images are named without training's option."""
    return message.replace(" --dataset ", " ")


def _of_texts(files: Sequence[Path], shape: Shape, note: str, *, labelled: bool) -> ImageArray:
    layouts = [find_text_layout(file, n_pixels=math.prod(shape)) for file in files]
    if not labelled:
        layouts = [
            layout if layout.label is None else replace(layout, label=None, unread=(*layout.unread, layout.label))
            for layout in layouts
        ]
    parts = [(str(file), read_rows(file, layout)) for file, layout in zip(files, layouts, strict=True)]
    notes = [note, *(each for layout in layouts for each in layout.notes)]
    return joined(parts, shape, has_labels=all(layout.label is not None for layout in layouts), notes=notes)


def _of_parquet(
    tables: TableFiles, files: Sequence[Path], shape: Shape, note: str, *, labelled: bool
) -> ImageArray | FoundPictures:
    layout = find_parquet_layout(files[0], needs_label=False)
    for file in files[1:]:
        require_alike(file, layout, needs_label=labelled)
    labels = _labels(files, layout) if labelled else None
    labels_from = f"{layout.label or 'column label'} in {files[0]}"

    def class_names() -> Sequence[str] | None:
        return layout.class_names or class_names_in_card(tables.place)

    if not layout.has_pictures:
        parts = []
        for i, file in enumerate(files):
            images = read_images(file, layout)
            of_rows = np.zeros(len(images), np.int64) if labels is None else labels[i]
            parts.append((str(file), Part(images, of_rows, str(file), labels_from)))
        notes = [note, layout.pixels.note if layout.pixels is not None else ""]
        return joined(parts, shape, class_names, has_labels=labels is not None, notes=notes)
    assert layout.image is not None
    numbers = [range(_n_rows(file)) for file in files]
    return FoundPictures(
        where=str(files[0]),
        names=[f"{file}[{i}]" for file, each in zip(files, numbers, strict=True) for i in each],
        labels_from=labels_from,
        read_labels=None if labels is None else lambda: np.concatenate(labels),
        read_class_names=class_names,
        notes=[note],
        rows=[file / f"row {i}" for file, each in zip(files, numbers, strict=True) for i in each],
        pictures=PictureRows(layout.image),
    )


def _labels(files: Sequence[Path], layout: ParquetLayout) -> list[np.ndarray] | None:
    """The labels of each file; None if there are none, or nothing but -1, as where they are kept secret."""
    if layout.label is None:
        return None
    found = [read_labels(file, layout.label) for file in files]
    if not any(map(are_told, found)):
        return None
    for file, labels in zip(files, found, strict=True):
        require_all(labels, file)
    return found


def _n_rows(file: Path) -> int:
    with opened(file) as table:
        return table.metadata.num_rows
