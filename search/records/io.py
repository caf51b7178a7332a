"""Read and write JSON, text and arrays; a file is whole or not there."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from fmnist.errors import UserError
from fmnist.export.formats import HALF_WRITTEN

T = TypeVar("T")


def read_json(kind: type[T], path: Path) -> T:
    """A record of this kind. Raises UserError where the file is missing, damaged or of another shape."""
    with naming_damage(path):
        return TypeAdapter(kind).validate_json(path.read_bytes())


def read_plain(path: Path) -> dict[str, Any]:
    """A file of plain JSON. Raises UserError where it is missing or damaged."""
    with naming_damage(path):
        return TypeAdapter(dict[str, Any]).validate_json(path.read_bytes())


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Plain JSON as one level, keys joined by dots; tables in a list go by their name, or by their place. Other lists
    stay as they are."""
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        children = ((str(item.get("name", index)), item) for index, item in enumerate(value))
    else:
        return {prefix: value}
    return {
        key: leaf
        for name, child in children
        for key, leaf in flat(child, f"{prefix}.{name}" if prefix else name).items()
    }


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file by name. Raises UserError where it is missing or damaged."""
    with naming_damage(path), np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """We write files whole, so one that cannot be read was damaged from outside: its owner has to hear which."""
    try:
        yield
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        cause = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error).splitlines()[0]
        raise UserError(
            f"{path} cannot be read ({cause}); restore it, or start a new study with --study NAME"
        ) from error


def write_json(path: Path, record: Any) -> None:
    write_text(path, TypeAdapter(type(record)).dump_json(record, indent=2).decode() + "\n")


def write_text(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # pyright: ignore[reportArgumentType]  # none is named allow_pickle


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path`, of the same suffix, renamed to it when the block ends well and removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{HALF_WRITTEN}{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
