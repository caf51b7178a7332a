"""Pictures, in class folders or elsewhere -> DataSource.

`fmnist.data.image_folder.layout` says where those in class folders may lie.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fmnist.data.checks import (
    MIN_IMAGES_PER_CLASS,
    MIN_IMAGES_WITH_TEST,
    check_class_sizes,
    check_memory,
    check_sides,
)
from fmnist.data.checksums import md5_of_all, md5_of_file
from fmnist.data.decode import Form
from fmnist.data.image_folder.checks import check_alike, counted, note_pictures, shown_name
from fmnist.data.image_folder.files import OpenContents, PictureFiles, Progress, on_disk, read_pictures
from fmnist.data.image_folder.layout import TEST, TRAIN, VALIDATION, FilesOfClass, Layout, find_layout
from fmnist.data.images import LabelledImages, Shape
from fmnist.data.source import DataSource, PreloadedReader, checksum_of_test_set
from fmnist.data.split import hold_out, note_held_out
from fmnist.errors import UserError, first_few
from fmnist.reading import COLOURS, Reading

TRAINING_PICTURES, TEST_PICTURES, ALL_PICTURES = "training pictures", "test pictures", "pictures"  # of checksums


@dataclass(frozen=True, eq=False)
class LabelledFiles:
    """Picture files and the class that each of them shows."""

    files: list[Path]
    labels: np.ndarray  # uint8 (n,)

    def rows(self, indices: Sequence[int] | np.ndarray) -> LabelledFiles:
        """Select files by their rows, in the order given."""
        return LabelledFiles([self.files[i] for i in indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Pictures to train on and to test on, wherever they lie, none of which has been read."""

    place: Path  # what the user named; the paths of the pictures begin with it
    class_names: tuple[str, ...]  # by label
    train: LabelledFiles
    test: LabelledFiles
    notes: list[str]  # sentences: how they were found and divided
    checksums: Callable[[PictureFiles, PictureFiles], dict[str, str]]  # of both parts, once they were read
    opened: OpenContents = on_disk  # gives what reads the content of a picture


def class_folders_source(folder: Path, reading: Reading) -> DataSource:
    """Read all pictures, keep those to train on, and make the folder a data set.

    Raises:
        UserError: Classes or pictures do not go together, or a file is unreadable and not to be skipped.
    """
    layout = find_layout(folder)
    train, test, notes = divide(folder, layout, reading)
    pictures = PictureSet(
        place=folder,
        class_names=layout.class_names,
        train=train,
        test=test,
        notes=notes,
        checksums=lambda train, test: checksums_of(folder, layout, train, test),
    )
    return pictures_source(pictures, folder.name, reading)


def pictures_source(pictures: PictureSet, dataset: str, reading: Reading) -> DataSource:
    """Read all pictures, keep those to train on, and make them a data set.

    Args:
        pictures: What to read.
        dataset: What the data set is called.
        reading: How the pictures are to be read.

    Raises:
        UserError: Pictures do not go together, or one is unreadable and not to be skipped.
    """
    place, train, test, notes = pictures.place, pictures.train, pictures.test, list(pictures.notes)
    train_found, test_found = _read_parts(pictures, reading)
    failures = [*_named_failures(place, train_found), *_named_failures(place, test_found)]
    if failures:
        _refuse_heic(place, train_found, test_found, reading)
        _require_skipping(place, failures, test_found, reading)
        train, test = train.rows(train_found.readable_rows()), test.rows(test_found.readable_rows())
        train_found, test_found = train_found.without_failures(), test_found.without_failures()
        check_labels(pictures.class_names, train, place, MIN_IMAGES_PER_CLASS)
        notes.append(f"Left out, as {counted(len(failures), 'picture')} unreadable: {first_few(failures)}")
    check_alike(place, (train_found, test_found))

    assert train_found.images is not None  # there is a readable picture in every class
    images = LabelledImages(train_found.images, train.labels)
    form = form_of(reading)
    return DataSource(
        dataset=dataset,
        folder=place,
        checksums=pictures.checksums(train_found, test_found),
        class_names=pictures.class_names,
        image_shape=images.shape,
        test_digests=tuple(test_found.digests),
        test_checksum=checksum_of_test_set(test_found.digests, test.labels),
        read_train=PreloadedReader(
            images, SamePictures(pictures, train, train_found.md5s, form, reading.on_progress), place
        ),
        read_test=SamePictures(pictures, test, test_found.md5s, form, reading.on_progress),
        notes=(*notes, *note_pictures(place, train_found, test_found, reading)),
        picture_form=replace(form, channels=images.shape[2]),  # all had as many: new ones are to have them too
    )


def divide(folder: Path, layout: Layout, reading: Reading) -> tuple[LabelledFiles, LabelledFiles, list[str]]:
    """Decide which files to train on and which to test on, and write sentences about that.

    Raises:
        UserError: A class has too few files.
    """
    notes = list(layout.notes)
    if layout.ignored:
        names = first_few([shown_name(folder, path) for path in layout.ignored])
        notes.append(f"{counted(len(layout.ignored), 'file')} passed over, being no picture or of no class: {names}")
    train = labelled([layout.parts[part] for part in (TRAIN, VALIDATION) if part in layout.parts])
    if TEST in layout.parts:
        check_labels(layout.class_names, train, folder, MIN_IMAGES_PER_CLASS)
        return train, labelled([layout.parts[TEST]]), notes
    check_labels(layout.class_names, train, folder, MIN_IMAGES_WITH_TEST)
    missing = "test folder with class folders" if layout.has_unlabelled else "test folder"
    if layout.tables:
        missing = f"column split in {layout.tables[0].name} and no test folder"
    train, test, note = draw_test(train, reading, missing)
    return train, test, [*notes, note]


def draw_test(everything: LabelledFiles, reading: Reading, missing: str) -> tuple[LabelledFiles, LabelledFiles, str]:
    """Draw the files to test on, by class, and write a sentence about that. missing: what would have held them."""
    of_train, of_test = hold_out(everything.labels, reading.seed)
    note = note_held_out(len(of_test), len(everything.files), reading.seed, missing=missing)
    return everything.rows(of_train), everything.rows(of_test), note


def labelled(parts: Sequence[Sequence[FilesOfClass]]) -> LabelledFiles:
    """Number the classes of parts, which all have the same ones in the same order."""
    files, labels = [], []
    for part in parts:
        for label, each in enumerate(part):
            files += each.files
            labels += [label] * len(each.files)
    # Labels beyond 255 wrap here; so many classes are refused in the next step.
    return LabelledFiles(files, np.array(labels).astype(np.uint8))


def check_labels(names: Sequence[str], train: LabelledFiles, where: object, min_images: int) -> None:
    """Check that there are not too many classes, each with enough files to train on, as `check_class_sizes` does."""
    counts = np.bincount(train.labels, minlength=len(names))[: len(names)]
    check_class_sizes(names, counts, where, min_images)


def form_of(reading: Reading) -> Form:
    """Say how pictures come out when they are read with these options."""
    if reading.colour is None:
        return Form(side=reading.image_size)
    return Form(side=reading.image_size, channels=COLOURS[reading.colour])


def _read_parts(pictures: PictureSet, reading: Reading) -> tuple[PictureFiles, PictureFiles]:
    """The training pictures with their pixels, the test pictures without."""
    train, test, opened = pictures.train, pictures.test, pictures.opened
    n_train, n_all = len(train.files), len(train.files) + len(test.files)

    def check_shape(shape: Shape) -> None:
        check_sides(shape, pictures.place, reading)
        check_memory(n_train, shape, remedy="use fewer images or a smaller --image-size")

    form = form_of(reading)
    train_found = read_pictures(
        train.files,
        form,
        opened=opened,
        check_shape=check_shape,
        on_progress=lambda n, _: reading.on_progress(n, n_all),
    )
    test_found = read_pictures(
        test.files,
        form,
        opened=opened,
        keep=False,
        on_progress=lambda n, _: reading.on_progress(n_train + n, n_all),
    )
    return train_found, test_found


class SamePictures:
    """A reader of pictures, of one part, that must not have changed since they were checked."""

    def __init__(
        self, pictures: PictureSet, part: LabelledFiles, md5s: Sequence[str], form: Form, on_progress: Progress
    ) -> None:
        self._place, self._opened = pictures.place, pictures.opened
        self._part = part
        self._md5s = md5s  # of the pictures, when they were checked
        self._form = form
        self._on_progress = on_progress

    def __call__(self) -> LabelledImages:
        found = read_pictures(self._part.files, self._form, opened=self._opened, on_progress=self._on_progress)
        changed = []
        for path, old, new in zip(self._part.files, self._md5s, found.md5s, strict=True):
            if old != new:
                changed.append(shown_name(self._place, path))
        if changed:
            raise UserError(
                f"pictures must stay as they were when the run began, but in {self._place} "
                f"{counted(len(changed), 'picture')} changed or gone: {first_few(changed)}; restore them, then the "
                "same command goes on from here"
            )
        assert found.images is not None  # unchanged files are readable
        return LabelledImages(found.images, self._part.labels)


def _named_failures(folder: Path, found: PictureFiles) -> Iterator[str]:
    for row, reason in sorted(found.failures.items()):
        yield f"{shown_name(folder, found.files[row])} ({reason})"


def _refuse_heic(folder: Path, train: PictureFiles, test: PictureFiles, reading: Reading) -> None:
    """Raise UserError if there are HEIC pictures, nothing that reads them, and they are not to be skipped."""
    names = [shown_name(folder, found.files[row]) for found in (train, test) for row in sorted(found.lacking_heic)]
    if names and not reading.skip_unreadable:
        raise UserError(
            f"HEIC pictures need pillow-heif, which is not installed, but {folder} holds {first_few(names)}; run pip "
            "install 'fmnist-search[heic]', convert them to JPEG, or leave them out with --skip-unreadable"
        )


def _require_skipping(folder: Path, failures: Sequence[str], test: PictureFiles, reading: Reading) -> None:
    """Raise UserError unless unreadable files are to be skipped and some test picture is left without them."""
    if not reading.skip_unreadable:
        raise UserError(
            f"every picture must be readable, but in {folder} {counted(len(failures), 'picture')} not: "
            f"{first_few(failures)}; fix or delete them, or pass --skip-unreadable"
        )
    if not test.readable_rows():
        raise UserError(f"some test pictures must be readable, but in {folder} none is; fix them")


def checksums_of(folder: Path, layout: Layout, train: PictureFiles, test: PictureFiles) -> dict[str, str]:
    """Compute a checksum for each part, over names and contents of files in an order of their own, and for each table.

    A test set that was drawn has no checksum of its own, as the seed decides what belongs to it.
    """
    tables = {shown_name(folder, path): md5_of_file(path) for path in layout.tables}
    if TEST in layout.parts:
        return {TRAINING_PICTURES: checksum_of(folder, [train]), TEST_PICTURES: checksum_of(folder, [test]), **tables}
    return {ALL_PICTURES: checksum_of(folder, [train, test]), **tables}


def checksum_of(folder: Path, parts: Sequence[PictureFiles]) -> str:
    """Compute the md5 over the names below the folder and the md5s of all these files, sorted by name."""
    entries = []
    for part in parts:
        for path, md5 in zip(part.files, part.md5s, strict=True):
            entries.append((os.fsencode(path.relative_to(folder).as_posix()), md5.encode()))
    return md5_of_all(name + b"\0" + md5 + b"\n" for name, md5 in sorted(entries))
