"""Which columns of a Parquet file are images and labels?

    image: {bytes, path} or binary     pictures, as the Hugging Face hub stores them
    image: lists of numbers            pixels: flat, or lists of rows
    pixel1, ..., pixel784              pixels, as in tables of text

pyarrow is imported when a file is read, since it is no part of the base installation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist.data.arrays.names import IMAGE_WORDS
from fmnist.data.tables.columns import (
    INDEX_NAMES,
    LABEL_NAMES,
    PixelColumns,
    find_pixels,
    in_words,
    label_not_told,
    labels_by_name,
    plain,
)
from fmnist.errors import UserError, not_installed, unreadable

if TYPE_CHECKING:
    from pyarrow import DataType, Schema
    from pyarrow.parquet import ParquetFile

IMAGE_NAMES = (*IMAGE_WORDS, "picture", "pictures", "pixels", "photo")
PATH_NAMES = ("file", "file_name", "filename", "path", "image_path", "file_path", "filepath")
IN_WORDS = tuple(f"{word}_{suffix}" for word in LABEL_NAMES for suffix in ("name", "names", "text"))
FINE, COARSE = ("fine_label", "fine_labels"), ("coarse_label", "coarse_labels")  # as the hub's CIFAR-100 has them
PICTURES, LISTS, NUMBERS, TEXTS = "pictures", "lists of numbers", "numbers", "texts"  # what a column may hold
PATHS = "paths of pictures"  # which are elsewhere


@dataclass(frozen=True)
class ParquetLayout:
    """Which columns are images and labels."""

    image: str | None  # the column of pictures, or of lists of numbers; None: `pixels`
    has_pictures: bool  # encoded ones, in bytes
    pixels: PixelColumns | None  # of all columns, those that are pixels
    names: tuple[str, ...]  # of all columns
    label: str | None  # None: there is none, and need not be
    numbered_by: str | None  # the column that numbers the classes which `label` names; None: there is none
    note: str  # which label was taken, in words; empty where there is one
    class_names: tuple[str, ...] | None  # by label, from what the hub notes in the file; None: it does not
    unread: tuple[str, ...]  # other columns


@contextmanager
def opened(path: Path) -> Iterator[ParquetFile]:
    """Open a Parquet file, and name it in the errors of whatever is read from it.

    Raises:
        UserError: pyarrow is not installed, or the file is damaged.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise not_installed(str(path), ["pyarrow"], ["parquet"]) from error
    with naming_damage(path), parquet.ParquetFile(path, page_checksum_verification=True) as file:
        yield file


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Turn what pyarrow makes of a damaged file into a UserError that names it."""
    import pyarrow

    try:
        yield
    except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
        raise unreadable(path, error) from error
    except (pyarrow.ArrowException, OSError, ValueError, UnicodeDecodeError, OverflowError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} must be a whole Parquet file, but: {reason}; fetch it again") from error


def find_layout(path: Path, *, needs_label: bool = True) -> ParquetLayout:
    """Find which columns are images and labels.

    Args:
        path: Of the file.
        needs_label: Whether there must be a label.

    Raises:
        UserError: They cannot be told, or the file cannot be read.
    """
    schema = read_schema(path)
    names = tuple(schema.names)
    image, has_pictures = _find_image(path, schema)
    label, numbered_by, note = _find_label(path, schema, [image] if image is not None else [], needs_label=needs_label)
    pixels = None
    rest = [name for name in names if name not in (image, label, numbered_by)]
    if image is None:
        taken = [i for i, name in enumerate(names) if name in rest and plain(name) not in INDEX_NAMES]
        pixels = find_pixels(names, taken, str(path))
        rest = [names[i] for i in range(len(names)) if i not in taken and names[i] not in (label, numbered_by)]
    return ParquetLayout(
        image=image,
        has_pictures=has_pictures,
        pixels=pixels,
        names=names,
        label=label,
        numbered_by=numbered_by,
        note=note,
        class_names=None if label is None else class_names_in(schema, label),
        unread=tuple(name for name in rest if plain(name) not in INDEX_NAMES),
    )


def read_schema(path: Path) -> Schema:
    """Read the names and types of the columns. Raises UserError if the file cannot be read."""
    with opened(path) as file:
        return file.schema_arrow


def class_names_in(schema: Schema, label: str) -> tuple[str, ...] | None:
    """Return the names of the classes by label, as the hub notes them in a file; None if it does not."""
    names = _features(schema).get(label, {}).get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def _features(schema: Schema) -> Mapping[str, Mapping[str, Any]]:
    """What the Hugging Face library noted of each column; nothing if it did not write the file."""
    metadata = schema.metadata or {}
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    if not isinstance(features, dict):
        return {}
    return {name: feature for name, feature in features.items() if isinstance(feature, dict)}


def _find_image(path: Path, schema: Schema) -> tuple[str | None, bool]:
    """The column of pictures, or else of lists of numbers, and whether it is one of pictures; None if neither."""
    names: dict[str, list[str]] = {PICTURES: [], LISTS: [], NUMBERS: [], PATHS: [], TEXTS: []}
    for field in schema:
        names.setdefault(kind_of(field.type), []).append(field.name)
    for kind in (PICTURES, LISTS):
        found = names[kind]
        called_so = [name for name in found if plain(name) in IMAGE_NAMES]
        if len(found) == 1 or len(called_so) == 1:
            return (called_so or found)[0], kind == PICTURES
    if not names[PICTURES] and not names[LISTS]:
        if len(names[NUMBERS]) > 3:
            return None, False
        paths = [*names[PATHS], *(name for name in names[TEXTS] if plain(name) in (*IMAGE_NAMES, *PATH_NAMES))]
        if paths:
            raise not_embedded(path, paths[0])
    columns = [f"{field.name} ({field.type})" for field in schema]
    raise UserError(
        f"{path} must have one column of pictures as bytes, or of pixels as numbers, but got {in_words(columns)}; call "
        "it image, and no other"
    )


def not_embedded(path: Path, column: str) -> UserError:
    """Build the error to raise when a file has only the paths of pictures."""
    return UserError(
        f"{path} must hold the pictures themselves, but they are not embedded: {column} has at most their paths; write "
        "their bytes into it, as push_to_hub does, or pass a folder of the pictures"
    )


def kind_of(kind: DataType) -> str:
    """Say what a column of this type holds, in words: PICTURES or one of the others where it is one of them."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        if _is_bytes(fields.get("bytes")):
            return PICTURES
        return PATHS if "path" in fields else str(kind)
    if _is_bytes(kind):
        return PICTURES
    inner = kind
    while is_list(inner):
        inner = inner.value_type
    if types.is_integer(inner) or types.is_floating(inner):
        return NUMBERS if inner is kind else LISTS
    return TEXTS if types.is_string(kind) or types.is_large_string(kind) else str(kind)


def _is_bytes(kind: DataType | None) -> bool:
    from pyarrow import types

    return kind is not None and (
        types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    )


def is_list(kind: Any) -> bool:
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _find_label(
    path: Path, schema: Schema, taken: Sequence[str], *, needs_label: bool
) -> tuple[str | None, str | None, str]:
    """The column of labels: by its name, by what the hub says, or because there is no other that could be it.

    Returns:
        It, the column that numbers the classes which it names, and a note on which of two was taken.
    """
    kinds = {field.name: kind_of(field.type) for field in schema if field.name not in taken}
    possible = [name for name, kind in kinds.items() if kind in (NUMBERS, TEXTS)]
    features = _features(schema)
    called_so = [possible[i] for i in labels_by_name(possible)]
    of_hub = [name for name in possible if features.get(name, {}).get("_type") == "ClassLabel"]
    fine = [name for name in possible if plain(name) in FINE]
    others = [name for name in possible if plain(name) not in INDEX_NAMES]
    if not called_so and len(fine) == 1 and any(plain(name) in COARSE for name in possible):
        coarse = [name for name in possible if plain(name) in COARSE]
        return fine[0], None, f"{fine[0]} is read as the label, and not {in_words(coarse)}"
    for found in (called_so, of_hub, others):
        if len(found) > 1 and needs_label:
            raise label_not_told(path, in_words(found))
        if len(found) == 1:
            (label,) = found
            words = [name for name in possible if plain(name) in IN_WORDS and kinds[name] == TEXTS]
            if len(words) == 1 and kinds[label] == NUMBERS and class_names_in(schema, label) is None:
                return words[0], label, f"The names of the classes are those in {words[0]}, which {label} numbers"
            return label, None, ""
    if needs_label:
        raise label_not_told(path, in_words(schema.names))
    return None, None, ""
