"""Which columns of a Parquet file are images and labels?

    image: {bytes, path} or binary     pictures, as the Hugging Face hub stores them
    image: lists of numbers            pixels: flat, or lists of rows
    pixel1, ..., pixel784              pixels, as in tables of text

pyarrow is imported when a file is read, since it is no part of the base installation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmnist.data.arrays.names import IMAGE_WORDS
from fmnist.data.tables.columns import (
    INDEX_NAMES,
    PixelColumns,
    find_pixels,
    in_words,
    label_not_told,
    labels_by_name,
    plain,
)
from fmnist.errors import UserError, not_installed, unreadable

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

IMAGE_NAMES = (*IMAGE_WORDS, "picture", "pictures", "pixels", "photo")


@dataclass(frozen=True)
class ParquetLayout:
    """Which columns are images and labels."""

    image: str | None  # the column of pictures, or of lists of numbers; None: `pixels`
    has_pictures: bool  # encoded ones, in bytes
    pixels: PixelColumns | None  # of all columns, those that are pixels
    names: tuple[str, ...]  # of all columns
    label: str | None  # None: there is none, and need not be
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
    with opened(path) as file:
        schema = file.schema_arrow
    names = tuple(schema.names)
    features = _features(schema.metadata or {})
    image, has_pictures = _find_image(path, schema)
    label = _find_label(path, schema, features, [image] if image is not None else [], needs_label=needs_label)
    pixels = None
    rest = [name for name in names if name not in (image, label)]
    if image is None:
        taken = [i for i, name in enumerate(names) if name in rest and plain(name) not in INDEX_NAMES]
        pixels = find_pixels(names, taken, str(path))
        rest = [names[i] for i in range(len(names)) if i not in taken and names[i] != label]
    class_names = features.get(label or "", {}).get("names")
    if not isinstance(class_names, list) or not all(isinstance(name, str) for name in class_names):
        class_names = None
    return ParquetLayout(
        image=image,
        has_pictures=has_pictures,
        pixels=pixels,
        names=names,
        label=label,
        class_names=None if class_names is None else tuple(class_names),
        unread=tuple(name for name in rest if plain(name) not in INDEX_NAMES),
    )


def _features(metadata: dict[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """What the Hugging Face library noted of each column; nothing if it did not write the file."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    if not isinstance(features, dict):
        return {}
    return {name: feature for name, feature in features.items() if isinstance(feature, dict)}


def _find_image(path: Path, schema: Any) -> tuple[str | None, bool]:
    """The column of pictures, or else of lists of numbers, and whether it is one of pictures; None if neither."""
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)

    pictures, lists = [], []
    n_numbers = 0
    for field in schema:
        kind = field.type
        if is_bytes(kind) or (types.is_struct(kind) and any(f.name == "bytes" and is_bytes(f.type) for f in kind)):
            pictures.append(field.name)
        elif is_list(kind):
            while is_list(kind):
                kind = kind.value_type
            if types.is_integer(kind) or types.is_floating(kind):
                lists.append(field.name)
        elif types.is_integer(kind) or types.is_floating(kind):
            n_numbers += 1
    for found in (pictures, lists):
        called_so = [name for name in found if plain(name) in IMAGE_NAMES]
        if len(found) == 1 or len(called_so) == 1:
            return (called_so or found)[0], found is pictures
    if not pictures and not lists and n_numbers > 3:
        return None, False
    columns = [f"{field.name} ({field.type})" for field in schema]
    raise UserError(
        f"{path} must have one column of pictures as bytes, or of pixels as numbers, but got {in_words(columns)}; call "
        "it image, and no other"
    )


def is_list(kind: Any) -> bool:
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _find_label(
    path: Path, schema: Any, features: dict[str, dict[str, Any]], taken: Sequence[str], *, needs_label: bool
) -> str | None:
    """The column of labels: by its name, by what the hub says, or because there is no other that could be it."""
    from pyarrow import types

    possible = []
    for field in schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        is_text = types.is_string(kind) or types.is_large_string(kind)
        if field.name not in taken and (is_text or types.is_integer(kind) or types.is_floating(kind)):
            possible.append(field.name)
    called_so = [possible[i] for i in labels_by_name(possible)]
    of_hub = [name for name in possible if features.get(name, {}).get("_type") == "ClassLabel"]
    others = [name for name in possible if plain(name) not in INDEX_NAMES]
    for found in (called_so, of_hub, others):
        if len(found) == 1:
            return found[0]
        if found and needs_label:
            raise label_not_told(path, in_words(found))
    if needs_label:
        raise label_not_told(path, in_words(schema.names))
    return None
