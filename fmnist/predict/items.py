"""What is to be classified? Whatever a caller names or passes -> images one by one, each with its label if asked for.

Paths of pictures and of whatever else training reads; arrays and Pillow's pictures in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeGuard

import numpy as np
from PIL import Image

from fmnist.data.arrays.pixels import PixelForm, find_pixel_form
from fmnist.data.decode import UnreadablePicture, picture_suffixes
from fmnist.data.tables.files import has_columns_of_pixels
from fmnist.errors import UserError
from fmnist.model.metadata import ModelMetadata
from fmnist.predict.arrays import (
    FoundImages,
    find_image_array,
    holds_one,
    read_model_pixels,
    require_fit,
    to_model_pixels,
)
from fmnist.predict.files import STDIN, PictureFile, find_picture_files, read_content
from fmnist.predict.forms.archives import OpenArchive, open_archive
from fmnist.predict.forms.arrays import find_array_form
from fmnist.predict.forms.labels_table import find_labelled_pictures
from fmnist.predict.forms.tables import FoundPictures, PictureRows, find_table_form
from fmnist.predict.labels import ClassFinder, is_table, read_table
from fmnist.predict.preprocess import Prepared, prepare
from fmnist.values import shown, to_items, to_text

IN_MEMORY = "images"  # what a caller's arrays and pictures are called


@dataclass(frozen=True, eq=False)
class InMemory:
    """An array or a picture that a caller passes."""

    name: str  # "images", or "images[3]" in a list
    value: np.ndarray | Image.Image


Input = str | InMemory  # a path, or STDIN


class Preparer(Protocol):
    """Makes an image for the model."""

    def __call__(self, metadata: ModelMetadata, *, may_invert: bool) -> Prepared:
        """Return the image. Raises UnreadablePicture if there is none."""
        ...


@dataclass(frozen=True, eq=False)
class Item:
    """One image to classify, read when it is its turn."""

    path: str  # or what stands for one: "x.npz[12]", "images[3]"
    prepare: Preparer
    label: str | int | None = None  # its class' number, or the name that its folder or table gives; None: not asked for


def read_inputs(images: object) -> list[Input]:
    """Take apart what a caller passes: paths, arrays and Pillow's pictures, one or several.

    Raises:
        UserError: Something else is among it.
    """
    if is_in_memory(images):
        return [InMemory(IN_MEMORY, _as_value(images))]
    received = images
    inputs: list[Input] = []
    try:
        for number, item in enumerate(to_items(images)):
            if isinstance(images, list | tuple):
                received = item
            if is_in_memory(item):
                inputs.append(InMemory(f"{IN_MEMORY}[{number}]", _as_value(item)))
            elif isinstance(item, str):
                inputs.append(to_text(item))
            elif isinstance(item, bytes | os.PathLike):
                inputs.append(os.fsdecode(item))
            else:
                raise ValueError(item)
    except ValueError:
        raise UserError(
            f"images must be paths, PIL images or arrays of numbers, one or a list of them, but got {shown(received)}; "
            "make an array of nested lists of pixels by np.asarray, and put paths into one flat list"
        ) from None
    if inputs.count(STDIN) > 1:
        raise UserError("standard input holds one picture, but - was named more than once; name it once")
    return inputs


def is_in_memory(value: object) -> TypeGuard[np.ndarray | Image.Image]:
    """Tell whether a value is a picture of Pillow's, or an array of numbers, of NumPy's or another library's."""
    if isinstance(value, Image.Image):
        return True
    if isinstance(value, str | bytes | os.PathLike) or not hasattr(value, "__array__"):
        return False
    array = np.asarray(value)
    return array.ndim > 0 and array.dtype.kind in "biuf"


def _as_value(value: np.ndarray | Image.Image) -> np.ndarray | Image.Image:
    return value if isinstance(value, Image.Image) else np.asarray(value)


def open_inputs(
    inputs: Sequence[Input], metadata: ModelMetadata, say: Callable[[str], None], *, labelled: bool = False
) -> Iterator[Item]:
    """Find every image of what was named or passed, in its order.

    Arrays, archives and tables are read by the call itself, so that what cannot be used is refused before anything is
    classified; pictures are found and read as their turn comes.

    Args:
        inputs: What `read_inputs` gave.
        metadata: Of the model.
        say: Hears what is skipped, which of several arrays is taken, and how numbers are read.
        labelled: Whether each image is to have its label.

    Raises:
        UserError: A file of arrays, an archive or a table cannot be used or does not fit the model, or there is no
            label for an image.
    """
    forms = _forms_of([each.value for each in inputs if isinstance(each, InMemory)], say)
    opened = []
    for each in inputs:
        if isinstance(each, InMemory):
            opened.append(_in_memory(each, metadata, forms, labelled=labelled))
        else:
            opened.append(_at_path(each, metadata, say, labelled=labelled))
    return (item for items in opened for item in items)


def _forms_of(values: Sequence[np.ndarray | Image.Image], say: Callable[[str], None]) -> dict[str, PixelForm]:
    """How the numbers of all arrays become pixels, by kind: one dark image alone would not tell 1 from 255."""
    forms = {}
    for kinds in ("iu", "f", "b"):
        arrays = [value for value in values if isinstance(value, np.ndarray) and value.dtype.kind in kinds]
        if not arrays:
            continue
        form = find_pixel_form(arrays, "an array of images")
        if form.note:
            say(form.note)
        forms.update(dict.fromkeys(kinds, form))
    return forms


def _in_memory(
    given: InMemory, metadata: ModelMetadata, forms: Mapping[str, PixelForm], *, labelled: bool
) -> Iterator[Item]:
    if labelled:
        _refuse_unlabelled(given.name)
    value, shape = given.value, metadata.image_shape
    if isinstance(value, Image.Image):
        return iter([Item(given.name, partial(_prepare_opened, value))])
    pixels = to_model_pixels(value, shape, forms[value.dtype.kind], given.name)
    return _array_items(given.name, pixels, is_one=holds_one(value.shape, shape))


def _at_path(path: str, metadata: ModelMetadata, say: Callable[[str], None], *, labelled: bool) -> Iterator[Item]:
    if path == STDIN:
        if labelled:
            _refuse_unlabelled(path)
        return _picture_items(path, say)
    if _is_table_of_files(path):
        rows = read_table(path, labelled=labelled)
        return iter([_picture(PictureFile(row.path), row.label if labelled else None) for row in rows])
    if os.path.isfile(path) and os.path.splitext(path)[1].lower() in picture_suffixes():
        return _picture_items(path, say, labelled=labelled)
    shape = metadata.image_shape
    found = find_array_form(path, shape) or find_image_array(path, shape)
    if found is None:
        archive = None if os.path.isdir(path) else open_archive(path)
        if archive is not None:
            return _in_archive(archive, metadata, say, labelled=labelled)
        found = find_table_form(path, shape, labelled=labelled)
    if found is None:
        return _picture_items(path, say, labelled=labelled)
    for note in filter(None, found.notes):
        say(note)
    if isinstance(found, FoundPictures):
        labels = _labels_of(found, len(found.rows), metadata, say) if labelled else None
        return _row_items(found, labels)
    require_fit(found.shape, shape, found.where)
    is_one = holds_one(found.shape, shape)
    labels = _labels_of(found, 1 if is_one else found.shape[0], metadata, say) if labelled else None
    pixels = read_model_pixels(found, shape, say)
    return _array_items(path, pixels, labels, is_one=is_one, names=found.names)


def _is_table_of_files(path: str) -> bool:
    """Whether a path is that of a table of pictures, rather than of pixels."""
    if not is_table(path) or not os.path.isfile(path):
        return False
    try:
        return not has_columns_of_pixels(Path(path))
    except OSError:  # which reading it says
        return True


def _in_archive(
    archive: OpenArchive, metadata: ModelMetadata, say: Callable[[str], None], *, labelled: bool
) -> Iterator[Item]:
    """What an archive holds, by names that begin with the archive's."""
    unpacked = archive.unpacked

    def prepare(item: Item, metadata: ModelMetadata, *, may_invert: bool) -> Prepared:
        with unpacked.naming_the_archive():
            return item.prepare(metadata, may_invert=may_invert)

    with unpacked.naming_the_archive():
        items = _at_path(archive.place, metadata, lambda text: say(unpacked.in_words(text)), labelled=labelled)
    return (replace(item, path=unpacked.in_words(item.path), prepare=partial(prepare, item)) for item in items)


def _labels_of(found: FoundImages, n: int, metadata: ModelMetadata, say: Callable[[str], None]) -> np.ndarray:
    """The class of each of n images in a file: int64 (n,)."""
    if found.read_labels is None:
        raise UserError(
            f"labelled images must have their labels beside them, but for {found.where} there is no {found.labels_from}"
            "; add it, or leave --labels out"
        )
    labels = found.read_labels()
    if labels.shape[:1] != (n,):
        raise UserError(
            f"every image needs a label, but {found.where} has {n:,} images and {found.labels_from} has "
            f"{labels.shape[0] if labels.ndim else 0:,} labels; take both from one data set"
        )
    return ClassFinder(metadata.class_names).find_in_array(labels, found.read_class_names(), found.labels_from, say)


def _array_items(
    name: str,
    pixels: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    is_one: bool = False,
    names: Sequence[str] = (),
) -> Iterator[Item]:
    """pixels: uint8 (n, height, width, channels). labels: int64 (n,). names: of each image; none: name and number."""
    for number, image in enumerate(pixels):
        label = None if labels is None else int(labels[number])
        numbered = name if is_one else f"{name}[{number}]"
        yield Item(names[number] if names else numbered, partial(_prepare_array, image), label)


def _row_items(found: FoundPictures, labels: np.ndarray | None) -> Iterator[Item]:
    """labels: int64 (n,)."""
    for number, (name, row) in enumerate(zip(found.names, found.rows, strict=True)):
        label = None if labels is None else int(labels[number])
        yield Item(name, partial(_prepare_row, found.pictures, row), label)


def _picture_items(place: str, say: Callable[[str], None], *, labelled: bool = False) -> Iterator[Item]:
    by_table = find_labelled_pictures(place, say) if labelled and os.path.isdir(place) else None
    if by_table is not None:
        return iter([_picture(PictureFile(path), label) for path, label in by_table.items()])
    return _found_pictures(place, say, labelled=labelled)


def _found_pictures(place: str, say: Callable[[str], None], *, labelled: bool) -> Iterator[Item]:
    for file in find_picture_files([place], say):
        label = None
        if labelled and file.error is None:
            label = class_folder_of(file.path, place)
        yield _picture(file, label)


def class_folder_of(path: str, place: str) -> str:
    """Name the folder that says what a picture shows: right below the place that was named, or else the one it is in.

    Args:
        path: Of the picture.
        place: The picture itself, or a folder that it is found in.
    """
    below = os.path.relpath(path, place).split(os.sep)
    if len(below) > 1:
        return below[0]
    return os.path.basename(os.path.dirname(os.path.abspath(path)))


def _picture(file: PictureFile, label: str | None) -> Item:
    return Item(file.path, partial(_prepare_file, file), label)


def _prepare_file(file: PictureFile, metadata: ModelMetadata, *, may_invert: bool) -> Prepared:
    if file.error is not None:
        raise UnreadablePicture(file.error)
    return prepare(read_content(file.path), metadata, may_invert=may_invert)


def _prepare_row(pictures: PictureRows, row: Path, metadata: ModelMetadata, *, may_invert: bool) -> Prepared:
    return prepare(pictures.content(row), metadata, may_invert=may_invert)


def _prepare_opened(picture: Image.Image, metadata: ModelMetadata, *, may_invert: bool) -> Prepared:
    return prepare(picture, metadata, may_invert=may_invert)


def _prepare_array(image: np.ndarray, metadata: ModelMetadata, *, may_invert: bool) -> Prepared:
    """Take the pixels of an array as they are: it is no photograph, so that nothing is inverted."""
    return Prepared(image, inverted=False, fitted=False, own_size=metadata.image_shape[:2])


def _refuse_unlabelled(name: str) -> None:
    raise UserError(
        f"every image needs a label, but {name} brings none, as images in memory and from standard input do; pass "
        "evaluate(..., labels=...), or name files in class folders"
    )
