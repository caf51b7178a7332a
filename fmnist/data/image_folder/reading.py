"""Folders of pictures, one for each class -> DataSource. See `fmnist.data.image_folder.layout` for where they may lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist.data.checksums import digests_of, md5_of_all
from fmnist.data.decode import Form, PictureFiles, read_pictures
from fmnist.data.image_folder.layout import TEST, TRAIN, VALIDATION, FilesOfClass, Layout, find_layout
from fmnist.data.images import LabelledImages
from fmnist.data.source import (
    COLOURS,
    MIN_IMAGES_PER_CLASS,
    MIN_IMAGES_WITH_TEST,
    DataSource,
    Reading,
    ReadOnce,
    Shape,
    build_source,
    check_class_sizes,
    check_memory,
    check_sides,
    hold_out,
    note_constant,
    note_held_out,
)
from fmnist.errors import UserError, first_few

TRAINING_PICTURES, TEST_PICTURES, ALL_PICTURES = "training pictures", "test pictures", "pictures"  # of checksums
COLOUR_NAMES = {1: "grey", 3: "in colour"}
N_KINDS = 3  # of sizes that an error tells of, beside the commonest


@dataclass(frozen=True, eq=False)
class _Part:
    """Files and what they show."""

    files: list[Path]
    labels: np.ndarray  # uint8 (n,)

    def rows(self, indices: Iterable[int]) -> _Part:
        chosen = list(indices)
        return _Part([self.files[i] for i in chosen], self.labels[chosen])


def class_folders_source(folder: Path, reading: Reading) -> DataSource:
    """Read all pictures and keep those to train on. Raises UserError where classes or pictures do not go together, or
    a file is unreadable and not to be skipped."""
    layout = find_layout(folder)
    train, test, notes = _parts(folder, layout, reading)
    train_found, test_found = _read(folder, train, test, reading)
    failures = [*_failures(folder, train_found), *_failures(folder, test_found)]
    if failures:
        train, test = _without_unreadable(folder, failures, (train, train_found), (test, test_found), reading)
        train_found, test_found = train_found.without_failures(), test_found.without_failures()
        _check_sizes(folder, layout, train, MIN_IMAGES_PER_CLASS)
        notes.append(f"Left out, as {_are(len(failures), 'file')} unreadable: {first_few(failures)}")
    _check_alike(folder, (train_found, test_found), reading)
    form, test_md5s = _form(reading), test_found.md5s
    images = LabelledImages(train_found.images, train.labels)
    return build_source(
        folder.name,
        folder,
        _checksums(folder, layout, train_found, test_found),
        layout.class_names,
        images.images.shape[1:],
        test_digests=test_found.digests,
        test_labels=test.labels,
        read_train=ReadOnce(images, _reader_again(folder, train, train_found.md5s, form)),
        read_test=_reader_again(folder, test, test_md5s, form),
        notes=[*notes, *_notes_on_pictures(folder, train_found, test_found, reading)],
    )


def _parts(folder: Path, layout: Layout, reading: Reading) -> tuple[_Part, _Part, list[str]]:
    """What to train and to test on, and what is to be said of that."""
    notes = []
    if VALIDATION in layout.parts:
        notes.append("The pictures of the validation folder join the training pictures")
    if layout.passed_over:
        names = [_name(folder, path) for path in layout.passed_over]
        notes.append(f"{_are(len(names), 'file')} passed over, being no picture or of no class: {first_few(names)}")
    train = _joined([layout.parts[part] for part in (TRAIN, VALIDATION) if part in layout.parts])
    _check_sizes(folder, layout, train, MIN_IMAGES_PER_CLASS if TEST in layout.parts else MIN_IMAGES_WITH_TEST)
    if TEST in layout.parts:
        return train, _joined([layout.parts[TEST]]), notes
    of_train, of_test = hold_out(train.labels, reading.seed)
    notes.append(note_held_out(len(of_test), len(train.files), reading.seed, lacks="test folder"))
    return train.rows(of_train), train.rows(of_test), notes


def _joined(parts: Sequence[Sequence[FilesOfClass]]) -> _Part:
    """Parts have the same classes in the same order."""
    rows = [(path, label) for part in parts for label, each in enumerate(part) for path in each.files]
    # Labels beyond 255 wrap here; so many classes are refused in the next step.
    return _Part([path for path, _ in rows], np.array([label for _, label in rows]).astype(np.uint8))


def _check_sizes(folder: Path, layout: Layout, train: _Part, least: int) -> None:
    names = layout.class_names
    check_class_sizes(names, np.bincount(train.labels, minlength=len(names))[: len(names)], folder, least)


# --- reading


def _form(reading: Reading) -> Form:
    return Form(reading.image_size, COLOURS[reading.colour] if reading.colour else None)


def _read(folder: Path, train: _Part, test: _Part, reading: Reading) -> tuple[PictureFiles, PictureFiles]:
    n_train, n_all = len(train.files), len(train.files) + len(test.files)

    def check_shape(shape: Shape) -> None:
        check_sides(shape, folder, reading)
        check_memory(n_train, shape)

    train_found = read_pictures(
        train.files, _form(reading), check_shape=check_shape, on_progress=lambda n, _: reading.on_progress(n, n_all)
    )
    test_found = read_pictures(
        test.files, _form(reading), keep=False, on_progress=lambda n, _: reading.on_progress(n_train + n, n_all)
    )
    return train_found, test_found


def _reader_again(folder: Path, part: _Part, md5s: Sequence[str], form: Form) -> Callable[[], LabelledImages]:
    """Reads the same files once more. Raises UserError where one of them has changed since."""

    def read() -> LabelledImages:
        found = read_pictures(part.files, form)
        changed = [
            _name(folder, path) for path, old, new in zip(part.files, md5s, found.md5s, strict=True) if old != new
        ]
        if changed:
            raise UserError(
                f"pictures must stay as they were when the run began, but in {folder} {_are(len(changed), 'file')} "
                f"changed or gone: {first_few(changed)}; restore them, then the same command goes on from here"
            )
        return LabelledImages(found.images, part.labels)

    return read


def _failures(folder: Path, found: PictureFiles) -> list[str]:
    return [f"{_name(folder, found.files[i])} ({reason})" for i, reason in sorted(found.failures.items())]


def _without_unreadable(
    folder: Path,
    failures: Sequence[str],
    train: tuple[_Part, PictureFiles],
    test: tuple[_Part, PictureFiles],
    reading: Reading,
) -> tuple[_Part, _Part]:
    if not reading.skip_unreadable:
        raise UserError(
            f"every picture must be readable, but in {folder} {_are(len(failures), 'file')} not: "
            f"{first_few(failures)}; mend or delete them, or pass --skip-unreadable"
        )
    train, test = (
        part.rows(i for i in range(len(part.files)) if i not in found.failures) for part, found in (train, test)
    )
    if not test.files:
        raise UserError(f"some test pictures must be readable, but in {folder} none is; mend them")
    return train, test


# --- checks


def _check_alike(folder: Path, parts: Sequence[PictureFiles], reading: Reading) -> None:
    """Raises UserError where pictures differ in colour, or in size where they are not fitted into one."""
    files = [path for part in parts for path in part.files]
    shapes = np.concatenate([part.shapes for part in parts])
    of_colour = _groups([COLOUR_NAMES[channels] for channels in shapes[:, 2].tolist()])
    if len(of_colour) > 1:
        raise UserError(
            f"pictures must be all grey or all in colour, but in {folder} "
            f"{_groups_in_words(folder, files, of_colour)}; pass --colour grey or --colour rgb, to turn all into that"
        )
    of_size = _groups([f"{height} x {width}" for height, width in shapes[:, :2].tolist()])
    if len(of_size) > 1:
        raise UserError(
            f"pictures must have one size, but in {folder} {_groups_in_words(folder, files, of_size)}; pass "
            "--image-size N, such as 32, which fits each into N x N pixels"
        )


def _groups(kinds: Sequence[str]) -> dict[str, list[int]]:
    """The rows of each kind, the commonest kind first."""
    rows: dict[str, list[int]] = {}
    for i, kind in enumerate(kinds):
        rows.setdefault(kind, []).append(i)
    return dict(sorted(rows.items(), key=lambda item: -len(item[1])))


def _groups_in_words(folder: Path, files: Sequence[Path], groups: dict[str, list[int]]) -> str:
    """Such as `310 are grey and 2 in colour (a.png, b.png)`: the commonest without names."""
    (first, rows), *others = groups.items()
    named = []
    for kind, rows_of_kind in others[:N_KINDS]:
        names = first_few([_name(folder, files[i]) for i in rows_of_kind])
        named.append(f"{len(rows_of_kind):,} {'is' if len(rows_of_kind) == 1 else 'are'} {kind} ({names})")
    more = [f"there are {len(others) - N_KINDS:,} more kinds"] if len(others) > N_KINDS else []
    return ", ".join([f"{len(rows):,} are {first}", *named, *more])


# --- what is said of them


def _notes_on_pictures(folder: Path, train: PictureFiles, test: PictureFiles, reading: Reading) -> list[str]:
    notes = note_constant(train.is_constant, lambda i: _name(folder, train.files[i]))
    notes += _notes_on_repeated(folder, train, test)
    if reading.colour is not None:
        notes.append(f"All pictures are read {'as grey ones' if reading.colour == 'grey' else 'in colour'}")
    sizes = np.unique(np.concatenate([train.own_sizes, test.own_sizes]), axis=0)
    side = reading.image_size
    if side is not None and sizes.tolist() != [[side, side]]:
        sizes = sizes[np.argsort(sizes.prod(axis=1), kind="stable")]
        ends = dict.fromkeys(f"{height} x {width}" for height, width in (sizes[0], sizes[-1]))
        notes.append(
            f"Pictures of {' to '.join(ends)} pixels are fitted into {side} x {side}, the border repeated along the "
            "shorter side"
        )
    return notes


def _notes_on_repeated(folder: Path, train: PictureFiles, test: PictureFiles) -> list[str]:
    """The names of files that hold the same pixels; how many they are is counted elsewhere, for data of all kinds."""
    first_with: dict[bytes, Path] = {}
    repeated = []
    for path, digest in zip(train.files, digests_of(train.images), strict=True):
        if first_with.setdefault(digest, path) is not path:
            repeated.append(f"{_name(folder, path)} is {_name(folder, first_with[digest])}")
    shared = [
        f"{_name(folder, path)} is {_name(folder, first_with[digest])}"
        for path, digest in zip(test.files, test.digests, strict=True)
        if digest in first_with
    ]
    named = (("Training pictures that occur twice", repeated), ("Test pictures that are training pictures too", shared))
    return [f"{what}: {first_few(names)}" for what, names in named if names]


def _checksums(folder: Path, layout: Layout, train: PictureFiles, test: PictureFiles) -> dict[str, str]:
    """Over the names and contents of files, in whatever order the file system has them."""
    if TEST in layout.parts:
        return {TRAINING_PICTURES: _checksum(folder, [train]), TEST_PICTURES: _checksum(folder, [test])}
    return {ALL_PICTURES: _checksum(folder, [train, test])}


def _checksum(folder: Path, parts: Sequence[PictureFiles]) -> str:
    entries = [
        (os.fsencode(path.relative_to(folder).as_posix()), md5)
        for part in parts
        for path, md5 in zip(part.files, part.md5s, strict=True)
    ]
    return md5_of_all(name + b"\0" + md5.encode() + b"\n" for name, md5 in sorted(entries))


def _name(folder: Path, path: Path) -> str:
    """Below the data set's folder, for people: bytes that are no UTF-8 (an old archive's) are written as \\xe9."""
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")


def _are(n: int, noun: str) -> str:
    return f"1 {noun} is" if n == 1 else f"{n:,} {noun}s are"
