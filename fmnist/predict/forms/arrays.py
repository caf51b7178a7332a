"""Arrays in the forms that training reads besides: CIFAR's batches, MATLAB files, and one array a class."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fmnist.data.arrays.cifar.batches import CifarBatches, is_cifar_batch
from fmnist.data.arrays.kinds import find_opener
from fmnist.data.arrays.matlab.contents import TEXTS, Variable, images_first, list_variables
from fmnist.data.arrays.matlab.emnist import EmnistFile, is_emnist
from fmnist.data.arrays.matlab.files import (
    MatlabFiles,
    Source,
    matlab_files,
    read_class_names,
    read_images_alone,
    read_part,
)
from fmnist.data.arrays.names import CLASS_NAME_WORDS, role_of
from fmnist.data.arrays.numpy_files import headers_of
from fmnist.data.arrays.parts import ArrayFiles, Part, parts_to_classify
from fmnist.data.arrays.per_class import ClassArrays, are_classes, numpy_files
from fmnist.data.images import Shape
from fmnist.predict.arrays import (
    ImageArray,
    choose_images,
    labels_beside,
    laid_out,
    may_be_images,
    note_taken,
    shapes_of_one,
    usual_labels,
)

AS_MATLAB = "save('new.mat', 'x', '-v7')"


def find_array_form(path: str, shape: Shape) -> ImageArray | None:
    """Find the images of CIFAR's batches, of MATLAB files, or of arrays of a class each.

    Of several parts it is the test images, else all that there are.

    Args:
        path: Of a file or a folder.
        shape: Of the model's images.

    Returns:
        None if the path is that of none of these, or cannot be read.

    Raises:
        UserError: It is one, but damaged, or does not fit the model.
    """
    place = Path(path)
    opener = find_opener(place)
    if opener is CifarBatches:
        return _of_cifar(CifarBatches(place, to_train=False), shape)
    if opener is matlab_files:
        return _of_matlab(place, shape)
    if opener is numpy_files:
        return _of_classes(place, shape)
    if _is_cifar_batch(place):
        batches = CifarBatches(place.parent, to_train=False)
        return joined([(path, batches.read_batch(place))], shape, batches.class_names)
    return None


def joined(
    parts: Sequence[tuple[str, Part]],
    shape: Shape,
    class_names: Callable[[], Sequence[str] | None] = lambda: None,
    *,
    has_labels: bool = True,
    notes: Sequence[str] = (),
) -> ImageArray:
    """Put the images of parts behind each other.

    Args:
        parts: Each with its name, by which its images are called.
        shape: Of the model's images.
        class_names: What the classes are called, by label.
        has_labels: Whether the labels of the parts are any.
        notes: Sentences: which of several parts these are, and how they are read.

    Raises:
        UserError: A part does not fit the model.
    """
    images = np.concatenate([laid_out(_several(part), shape, part.images_from) for _, part in parts])
    first = parts[0][1]
    return ImageArray(
        where=first.images_from,
        names=[f"{name}[{i}]" for name, part in parts for i in range(len(_several(part)))],
        labels_from=first.labels_from,
        read_labels=(lambda: np.concatenate([part.labels for _, part in parts])) if has_labels else None,
        read_class_names=class_names,
        notes=notes,
        shape=images.shape,
        read=lambda: images,
    )


def _several(part: Part) -> np.ndarray:
    """The images of a part. Grey ones get a channel, as three could be taken for one in colour."""
    if part.images.ndim == 3 and len(part.images) == len(part.labels):
        return part.images[..., np.newaxis]
    return part.images


def _is_cifar_batch(path: Path) -> bool:
    try:
        return os.path.isfile(path) and is_cifar_batch(path)
    except OSError:  # which opening it as a picture says
        return False


def _of_cifar(batches: CifarBatches, shape: Shape) -> ImageArray:
    taken, others = [path for path in batches.train_files if path.is_file()], []
    if batches.has_test:
        taken, others = [batches.test_file], taken
    parts = parts_to_classify(batches)
    note = note_taken(batches.place, [path.name for path in taken], [path.name for path in others])
    return joined(
        [(str(path), part) for path, part in zip(taken, parts, strict=True)], shape, batches.class_names, notes=[note]
    )


def _of_classes(place: Path, shape: Shape) -> ImageArray | None:
    """Arrays of a class each; None where a name or the only fitting shape tells one array from the others."""
    headers = headers_of(place)
    fitting = [name for name, header in headers.items() if may_be_images(header.shape, shape)]
    if not are_classes(headers) or any(map(role_of, headers)) or len(fitting) == 1:
        return None
    arrays = ClassArrays(place, headers, least=0)
    names = arrays.class_names()
    parts = []
    for part, name, image_name in zip(arrays.read_train(), names, arrays.array_names(), strict=True):
        labels = np.full(len(part.images), name)
        parts.append((str(place / image_name), Part(part.images, labels, part.images_from, f"the arrays of {place}")))
    return joined(parts, shape, notes=[f"{place}: {arrays.notes()[0]}"])


def _of_matlab(place: Path, shape: Shape) -> ImageArray:
    if os.path.isdir(place):
        return _of_files(MatlabFiles(place), shape)
    variables = list_variables(place)
    if is_emnist(variables):
        return _of_files(EmnistFile(place), shape)
    return _of_matlab_file(place, variables, shape)


def _of_files(files: ArrayFiles, shape: Shape) -> ImageArray:
    """The test images, or else all; the file or folder must say what is to train on."""
    notes = []
    if files.has_test:
        notes.append(f"{files.place}: the test images are taken, and not those to train on")
    parts = [(str(files.place), part) for part in parts_to_classify(files)]
    return joined(parts, shape, files.class_names, notes=notes)


def _of_matlab_file(path: Path, variables: dict[str, Variable], shape: Shape) -> ImageArray:
    """The images of a file of any variables, with or without labels."""
    shapes = {name: variable.shape for name, variable in variables.items() if variable.kind not in TEXTS}
    images, others = choose_images(path, shapes, shape, AS_MATLAB)
    labels = labels_beside(images, {name: variable.shape for name, variable in variables.items()}, shape)
    names = next((name for name in variables if name.lower() in CLASS_NAME_WORDS), None)
    note = note_taken(path, [images], others)
    if labels is not None:
        part = read_part(Source(path, images, labels), path)
        return joined(
            [(str(path), part)], shape, lambda: None if names is None else read_class_names(path, names), notes=[note]
        )
    where = f"{images} in {path}"
    values = _in_order(read_images_alone(path, images), shape, where)
    return ImageArray(
        where=where,
        labels_from=f"{usual_labels(images)} in {path}",
        notes=[note],
        shape=values.shape,
        read=lambda: values,
    )


def _in_order(values: np.ndarray, shape: Shape, where: str) -> np.ndarray:
    """Images whose number is unknown, which MATLAB has in the last dimension: in front where the rest fits the model.

    A single image has lost that dimension. Raises UserError if the number may be the first or the last.
    """
    allowed = shapes_of_one(shape)
    if values.shape in allowed or values.shape[:-1] not in allowed:
        return values
    if values.shape[1:] in allowed:
        return images_first(values, values.shape[-1], where)
    return np.moveaxis(values, -1, 0)
