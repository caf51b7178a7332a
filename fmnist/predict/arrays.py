"""Arrays of images -> pixels as a model takes them: which array of a file is it, and does it fit the model?

Arrays are taken as training takes them (`fmnist.data.arrays.pixels`): whole numbers from 0 to 255, or decimal numbers
from 0 to 1, which are multiplied by 255. Nothing else is done to them: they must have the model's size and channels,
and are never inverted or trimmed, as they are no photographs.

    one image       (height, width), (height, width, channels), (channels, height, width), (height * width,)
    several         the same behind their number: (n, height, width), ...; the shapes without channels are grey
"""

from __future__ import annotations

import gzip
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from fmnist.data.arrays.idx.files import class_names_beside
from fmnist.data.arrays.idx.names import IdxSet, find_idx_sets, has_idx_files, the_idx_set
from fmnist.data.arrays.names import CLASS_NAME_WORDS, POSITIONAL, role_of
from fmnist.data.arrays.numpy_files import (
    NPY_SUFFIX,
    Header,
    headers_of,
    is_numpy_folder,
    read_array,
    read_npy_header,
)
from fmnist.data.arrays.pixels import PixelForm, find_pixel_form
from fmnist.data.checks import check_memory
from fmnist.data.idx import (
    IMAGES,
    N_DIMENSIONS,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    image_shape,
    read_images,
    read_labels,
)
from fmnist.data.images import Shape
from fmnist.errors import UserError, first_few
from fmnist.predict.files import is_picture_entry
from fmnist.reading import ARCHIVE_SUFFIX

GZIP_SUFFIX = ".gz"


@dataclass(frozen=True, eq=False, kw_only=True)
class FoundImages:
    """Images in a file, and their labels where it has some."""

    where: str  # "x_test in shoes.npz"
    names: Sequence[str] = ()  # of each image: "train.csv[12]"; empty: that of the file and a number
    labels_from: str = ""  # where the labels are, or what would hold them
    read_labels: Callable[[], np.ndarray] | None = None  # None: there are none
    read_class_names: Callable[[], Sequence[str] | None] = lambda: None  # by label; None: the file does not say
    notes: Sequence[str] = ()  # sentences: which of several parts it is, and how it is read; some may be empty


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageArray(FoundImages):
    """Images as numbers."""

    shape: tuple[int, ...]  # of the array
    read: Callable[[], np.ndarray]


def find_image_array(path: str, shape: Shape) -> ImageArray | None:
    """Find the images of a file or folder of arrays.

    Of several parts it is the test images.

    Args:
        path: An .npz or .npy file, an IDX file, or a folder of IDX or .npy files.
        shape: Of the model's images, by which arrays without a telling name are recognised.

    Returns:
        None if the path is that of none of these, and so of a picture or of pictures.

    Raises:
        UserError: It is one, but damaged, or holds no images or several sets of them.
    """
    place = Path(path)
    if os.path.isdir(place):
        if has_idx_files(place):
            return _of_idx_folder(place)
        if is_numpy_folder(place) and not _has_pictures(place):
            return _of_named_arrays(place, headers_of(place), shape)
        return None
    if not os.path.isfile(place):
        return None
    if place.suffix.lower() == ARCHIVE_SUFFIX:
        return _of_named_arrays(place, headers_of(place), shape)
    if place.suffix == NPY_SUFFIX:
        return _of_npy_file(place)
    if is_idx_file(place):
        return _of_idx_file(place)
    return None


def is_idx_file(path: Path) -> bool:
    """Tell whether a file begins as IDX files do, gzipped ones too; no if it cannot be read."""
    try:
        with gzip.open(path) if path.suffix == GZIP_SUFFIX else path.open("rb") as file:
            start = file.read(4)
    except (OSError, EOFError, zlib.error):  # which opening it as a picture says
        return False
    return len(start) == 4 and struct.unpack(">i", start)[0] in N_DIMENSIONS


def to_model_pixels(values: np.ndarray, shape: Shape, form: PixelForm, where: str) -> np.ndarray:
    """Return an array as the images that it holds, one or several.

    Args:
        values: In one of the shapes above.
        shape: Of the model's images.
        form: Of the values.
        where: What the array is called in messages.

    Returns:
        uint8 (n, height, width, channels).

    Raises:
        UserError: The shape does not fit the model, or a value is none of the form.
    """
    return form.apply(laid_out(values, shape, where), where)


def laid_out(values: np.ndarray, shape: Shape, where: str) -> np.ndarray:
    """Return an array as (n, height, width, channels), its numbers as they are.

    The arguments are those of `to_model_pixels`. Raises UserError if the array does not fit the model.
    """
    require_fit(values.shape, shape, where)
    of_each = values.shape if holds_one(values.shape, shape) else values.shape[1:]
    height, width, n_channels = shape
    if of_each == (n_channels, height, width) and of_each != shape:
        return np.moveaxis(values.reshape(-1, *of_each), 1, -1)
    return values.reshape(-1, *shape)


def require_fit(shape: tuple[int, ...], model_shape: Shape, where: str) -> None:
    """Raise UserError if an array of this shape holds no images of the model's size and channels."""
    allowed = shapes_of_one(model_shape)
    if shape in allowed or shape[1:] in allowed:
        return
    *several, last = ["(n, " + ", ".join(map(str, each)) + ")" for each in dict.fromkeys(allowed)]
    raise UserError(
        f"{where} must hold images of the model's size and channels, as {', '.join(several)} or {last}, but got "
        f"{shape}; reshape it, or pass pictures, which are fitted: files, or PIL.Image.fromarray(image) from Python"
    )


def holds_one(shape: tuple[int, ...], model_shape: Shape) -> bool:
    """Tell whether an array of this shape is one image for a model, and not several."""
    return shape in shapes_of_one(model_shape)


def shapes_of_one(model_shape: Shape) -> list[tuple[int, ...]]:
    """List the shapes that one image for a model may have in an array: two, and two more where it is grey."""
    height, width, n_channels = model_shape
    shapes: list[tuple[int, ...]] = [model_shape, (n_channels, height, width)]
    if n_channels == 1:
        shapes += [(height, width), (height * width,)]
    return shapes


def read_model_pixels(found: ImageArray, shape: Shape, say: Callable[[str], None]) -> np.ndarray:
    """Read the images of a file as a model takes them: uint8 (n, height, width, channels).

    say: Hears how the numbers are read, where that had to be decided.

    Raises:
        UserError: They do not fit the model, are no pixels, or there is too little memory.
    """
    values = found.read()
    if values.size == 0:
        raise UserError(f"{found.where} must hold an image at least, but got {values.shape}; save some there")
    form = find_pixel_form([values], found.where)
    if form.note:
        say(form.note)
    return to_model_pixels(values, shape, form, found.where)


def _of_named_arrays(place: Path, headers: Mapping[str, Header], model_shape: Shape) -> ImageArray:
    """The images of an archive or of a folder of .npy files."""
    shapes = {name: header.shape for name, header in headers.items()}
    images, others = choose_images(place, shapes, model_shape, "np.savez('new.npz', x=...)")
    labels = labels_beside(images, shapes, model_shape)
    texts = [name for name, header in headers.items() if header.dtype.kind == "U"]
    names = next((name for name in texts if name.lower() in CLASS_NAME_WORDS), None)
    header = headers[images]
    check_memory(shapes[images][0] if header.shape else 0, model_shape, header.dtype.itemsize)
    return ImageArray(
        where=f"{images} in {place}",
        shape=header.shape,
        read=partial(read_array, header),
        labels_from=f"{labels or usual_labels(images)} in {place}",
        read_labels=partial(read_array, headers[labels]) if labels else None,
        read_class_names=lambda: names and [str(name) for name in read_array(headers[names])],
        notes=[note_taken(place, [images], others)],
    )


def note_taken(place: Path, taken: Sequence[str], others: Sequence[str]) -> str:
    """Write the sentence that says which of several parts is taken; nothing where there is no other."""
    if not others:
        return ""
    return f"{place}: {first_few(taken)} {'is' if len(taken) == 1 else 'are'} taken, and not {first_few(others)}"


def choose_images(
    place: Path, shapes: Mapping[str, tuple[int, ...]], model_shape: Shape, how: str
) -> tuple[str, list[str]]:
    """Find the array of images among others, by their names or else by their shapes.

    Args:
        place: The file or folder, for the message.
        shapes: Of each array, by name, in the file's order.
        model_shape: Of the model's images.
        how: How one array is saved alone, for the message.

    Returns:
        Its name, and those of the other parts.

    Raises:
        UserError: There is none, or no telling which it is.
    """
    by_name = [name for name in shapes if (role_of(name) or ("", ""))[1] == "images"]
    tests = [name for name in by_name if (role_of(name) or ("", ""))[0] == "test"]
    if len(tests) == 1:
        return tests[0], [name for name in by_name if name != tests[0]]
    fitting = [name for name, shape in shapes.items() if may_be_images(shape, model_shape)]
    if len(fitting) == 2 and all(POSITIONAL.fullmatch(name) for name in shapes):  # to train on, then to test on
        return fitting[1], [fitting[0]]
    for candidates in (by_name, fitting):
        if len(candidates) == 1:
            return candidates[0], []
    received = first_few([f"{name} {shape}" for name, shape in shapes.items()]) or "none"
    raise UserError(
        f"{place} must hold one array of images to classify, x_test or x, but got {received}; save it alone as x, {how}"
    )


def labels_beside(images: str, shapes: Mapping[str, tuple[int, ...]], model_shape: Shape) -> str | None:
    """The name of the array that has the labels of these images; None if there is none, or no telling which."""
    if role_of(images) is not None:
        return _labels_named_like(images, shapes)
    behind = list(shapes)[list(shapes).index(images) + 1 :]
    length = shapes[images][:1]
    alike = [name for name in behind if shapes[name][:1] == length and not may_be_images(shapes[name], model_shape)]
    return alike[0] if len(alike) == 1 else None


def _labels_named_like(images: str, names: Iterable[str]) -> str | None:
    """The name for the labels of these images among others: y_test for x_test."""
    role = role_of(images)
    if role is None:
        return None
    return next((name for name in names if role_of(name) == (role[0], "labels")), None)


def usual_labels(images: str) -> str:
    """What labels are called beside these images: y_test beside x_test and test_images, y beside x."""
    part, _ = role_of(images) or ("train", "images")
    if part == "train" and part not in images.lower():
        return "y"
    return f"y_{part}"


def may_be_images(shape: tuple[int, ...], model_shape: Shape) -> bool:
    """Whether an array without a telling name is taken for images: of two dimensions at least, as labels have one."""
    allowed = shapes_of_one(model_shape)
    return len(shape) >= 2 and (shape in allowed or shape[1:] in allowed)


def _of_npy_file(path: Path) -> ImageArray:
    """Its labels are in the .npy file beside it that has the name for them: y_test.npy for x_test.npy."""
    header = read_npy_header(path)
    labels = _labels_named_like(path.stem, sorted(each.stem for each in path.parent.glob(f"*{NPY_SUFFIX}")))
    return ImageArray(
        where=str(path),
        shape=header.shape,
        read=partial(read_array, header),
        labels_from=str(path.with_name(f"{labels or usual_labels(path.stem)}{NPY_SUFFIX}")),
        read_labels=partial(_read_npy, path.with_name(f"{labels}{NPY_SUFFIX}")) if labels else None,
    )


def _read_npy(path: Path) -> np.ndarray:
    return read_array(read_npy_header(path))


def _of_idx_folder(folder: Path) -> ImageArray:
    """The test images, or the training images where there are no others."""
    sets = find_idx_sets(folder)
    if len(sets) > 1:
        the_idx_set(folder)  # which refuses them with the choice
    (found,) = sets.values()
    images = [found.paths[name] for name in (TEST_IMAGES, TRAIN_IMAGES) if name in found.paths]
    if not images:
        raise UserError(
            f"{folder} must hold an IDX file of images, {TEST_IMAGES}, but has labels alone; add the images"
        )
    note = note_taken(folder, [images[0].name], [path.name for path in images[1:]])
    return replace(_of_idx_file(images[0]), notes=[note])


def _of_idx_file(path: Path) -> ImageArray:
    """Its labels are in the file of the same data set and part beside it. EMNIST's images are turned upright."""
    n, height, width, n_channels = image_shape(path)
    check_memory(n, (height, width, n_channels))
    found, role = _idx_set_with(path)
    labels, expected = None, path.with_name(re.sub("idx[34]", "idx1", path.name.replace(IMAGES, "labels")))
    if found is not None:
        labels = found.paths.get({TEST_IMAGES: TEST_LABELS, TRAIN_IMAGES: TRAIN_LABELS}.get(role, ""))
    is_turned = found is not None and found.is_emnist
    return ImageArray(
        where=str(path),
        shape=(n, width, height, n_channels) if is_turned else (n, height, width, n_channels),
        read=partial(_read_idx_images, path, is_turned),
        labels_from=str(labels or expected),
        read_labels=partial(read_labels, labels) if labels is not None else None,
        read_class_names=lambda: None if found is None else class_names_beside(found),
    )


def _idx_set_with(path: Path) -> tuple[IdxSet | None, str]:
    """The data set that an IDX file belongs to, and which of its four files it is; None if its name does not say."""
    for folder in (path.parent, path.parent.parent):  # it may lie in a folder of its own name
        for found in find_idx_sets(folder).values():
            for role, paths in found.candidates.items():
                if path in paths:
                    return found, role
    return None, ""


def _read_idx_images(path: Path, is_turned: bool) -> np.ndarray:
    images = read_images(path)
    return np.swapaxes(images, 1, 2) if is_turned else images


def _has_pictures(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(is_picture_entry(entry) or entry.is_dir() for entry in entries)
