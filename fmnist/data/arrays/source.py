"""Files of arrays or tables, in whatever form -> DataSource."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fmnist.data.arrays.labels import LabelForm, find_label_form
from fmnist.data.arrays.parts import ArrayFiles, Part
from fmnist.data.arrays.pixels import (
    Brightness,
    Layout,
    PixelForm,
    brightness_of,
    find_layout,
    find_pixel_form,
    note_dark,
    require_one_range,
)
from fmnist.data.checks import (
    MIN_IMAGES_PER_CLASS,
    MIN_IMAGES_WITH_TEST,
    check_sides,
    check_test_labels,
    check_train_labels,
    note_constant,
)
from fmnist.data.checksums import md5_of_file
from fmnist.data.decode import fit_all
from fmnist.data.images import LabelledImages, is_constant, joined
from fmnist.data.source import DataSource, PreloadedReader, build_source
from fmnist.data.split import hold_out, note_held_out
from fmnist.errors import UserError
from fmnist.reading import Reading


def arrays_source(files: ArrayFiles, reading: Reading, dataset: str | None = None) -> DataSource:
    """Check files of images and labels and make them a data set.

    Args:
        files: Reads the files.
        reading: How the images are to be read.
        dataset: What the data set is called; None: by its file or folder.

    Raises:
        UserError: A file is damaged, lacks something, or holds other values than it must.
    """
    arrays = _Arrays(files, reading)
    everything = arrays.read_not_test()
    where = arrays.train_labels_from
    least = MIN_IMAGES_PER_CLASS if files.has_test else MIN_IMAGES_WITH_TEST
    labels, class_names = everything.labels.astype(np.int64), arrays.class_names
    n_classes = check_train_labels(labels, where, class_names, least)
    notes = [*files.notes(), *arrays.notes]
    if not files.has_test:
        arrays.held_out = hold_out(everything.labels, reading.seed)
        n_test = len(arrays.held_out[1])
        notes.append(note_held_out(n_test, len(everything), reading.seed, missing=files.wanted_test))
    train, test = arrays.train_of(everything), arrays.test_of(everything, n_classes)
    return build_source(
        dataset=dataset or files.place.stem,
        folder=files.place,
        checksums={_name_within(files, path): md5_of_file(path) for path in files.files},
        class_names=class_names or list(map(str, range(n_classes))),
        image_shape=train.shape,
        test=test,
        read_train=PreloadedReader(train, arrays.read_train, files.place),
        read_test=arrays.read_test,
        notes=[*notes, *note_constant(is_constant(train.images), lambda i: f"training image {i:,}")],
    )


@dataclass(frozen=True)
class _Form:
    """The form of the training images and labels, which the test images and labels must have too."""

    layout: Layout
    pixels: PixelForm
    labels: LabelForm
    brightness: Brightness


class _Arrays:
    """The labelled images of files, each read when it is asked for, in the form of the training images."""

    def __init__(self, files: ArrayFiles, reading: Reading) -> None:
        self._files = files
        self._reading = reading
        self._form: _Form | None = None
        self.train_labels_from = ""
        self.held_out: tuple[np.ndarray, np.ndarray] | None = None  # rows to train and to test on, if drawn

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes; None if nobody names them. Known once the training images were read."""
        assert self._form is not None
        return self._form.labels.class_names

    @property
    def notes(self) -> list[str]:
        """Sentences about the form of images and labels. Known once the training images were read."""
        assert self._form is not None
        form = self._form
        found = (form.layout.note, form.pixels.note, note_dark(form.brightness), *form.labels.notes)
        return [note for note in found if note]

    def read_not_test(self) -> LabelledImages:
        """Read the training images, and the validation images behind them."""
        parts = self._files.read_train()
        if self._form is None:
            self._form = self._find_form(parts)
        found = [self._labelled(part, self._form) for part in parts]
        for other, part in zip(found[1:], parts[1:], strict=True):
            self._require_shape(found[0], other, part)
        return joined(*found) if len(found) > 1 else found[0]

    def read_train(self) -> LabelledImages:
        """Read the images to train on."""
        return self.train_of(self.read_not_test())

    def read_test(self) -> LabelledImages:
        """Read the images to test on."""
        if self.held_out is not None:
            return self.test_of(self.read_not_test(), 0)
        assert self._form is not None
        return self._labelled(self._files.read_test(), self._form)

    def train_of(self, everything: LabelledImages) -> LabelledImages:
        """Select the images to train on from what `read_not_test` gave."""
        if self.held_out is None:
            return everything
        return everything.rows(self.held_out[0])

    def test_of(self, everything: LabelledImages, n_classes: int) -> LabelledImages:
        """Select the images to test on from what `read_not_test` gave, or read and check them if they are apart."""
        if self.held_out is not None:
            return everything.rows(self.held_out[1])
        assert self._form is not None
        form, part = self._form, self._files.read_test()
        numbers = form.labels.apply(part.labels, part.labels_from)
        check_test_labels(numbers, part.labels_from, n_classes, form.labels.first)
        test = self._labelled(part, form)
        self._require_shape(everything, test, part)
        require_one_range(form.brightness, brightness_of([part.images], form.pixels, part.images_from))
        return test

    def _find_form(self, parts: Sequence[Part]) -> _Form:
        first = parts[0]
        self.train_labels_from = first.labels_from
        for part in parts:
            _require_labels_for_images(part)
        layout = find_layout(first.images.shape, first.images_from)
        check_sides(layout.shape, first.images_from, self._reading)
        images = [part.images for part in parts]
        pixels = find_pixel_form(images, first.images_from)
        labels = find_label_form([part.labels for part in parts], self._files.class_names(), first.labels_from)
        return _Form(layout, pixels, labels, brightness_of(images, pixels, first.images_from))

    def _labelled(self, part: Part, form: _Form) -> LabelledImages:
        """Return the images and labels of a part in the form of the training images."""
        _require_labels_for_images(part)
        layout = find_layout(part.images.shape, part.images_from)
        check_sides(layout.shape, part.images_from, self._reading)
        images = np.ascontiguousarray(layout.apply(form.pixels.apply(part.images, part.images_from)))
        if self._reading.image_size is not None:
            images = fit_all(images, self._reading.image_size)
        labels = form.labels.apply(part.labels, part.labels_from)
        return LabelledImages(images, labels.astype(np.uint8))

    def _require_shape(self, train: LabelledImages, other: LabelledImages, part: Part) -> None:
        if train.shape != other.shape:
            raise UserError(
                f"training and test images must have one shape, but those in {part.images_from} have "
                f"{_in_words(other.shape)} instead of {_in_words(train.shape)}; make them alike, or pass --image-size "
                "where only the sides differ"
            )


def _require_labels_for_images(part: Part) -> None:
    if part.images.ndim == 0 or part.labels.ndim == 0:
        return  # which the form of each says more of
    if len(part.images) != len(part.labels):
        raise UserError(
            f"every image needs a label, but there are {len(part.images):,} images in {part.images_from} and "
            f"{len(part.labels):,} labels in {part.labels_from}; take both from one data set"
        )


def _name_within(files: ArrayFiles, path: os.PathLike[str]) -> str:
    """Name a file of a data set by its path within the folder that was named."""
    return os.path.basename(path) if path == files.place else os.path.relpath(path, files.place)


def _in_words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
