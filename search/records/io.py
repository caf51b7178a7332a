"""How JSON, text and arrays are read and written: a file is complete or not there, and a damaged one is named."""

from __future__ import annotations

import os
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from fmnist.errors import UserError
from fmnist.export.formats import HALF_WRITTEN
from fmnist.paths import shown_path
from fmnist.values import require

T = TypeVar("T")


def read_json(kind: type[T], path: str | os.PathLike[str]) -> T:
    """Read a record.

    Args:
        kind: The record's dataclass.
        path: A file that `write_json` wrote.

    Raises:
        UserError: The file is missing, damaged or of another shape.
    """
    path = require(Path, path, "path")
    with naming_damage(path):
        return TypeAdapter(kind).validate_json(path.read_bytes())


def read_plain(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: The file is missing or damaged.
    """
    with naming_damage(path):
        return TypeAdapter(dict[str, Any]).validate_json(path.read_bytes())


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten plain JSON to one level, its keys joined by dots.

    Objects in a list go by their "name", or by their place. Other lists stay as they are.

    Args:
        value: Plain JSON.
        prefix: Key of `value` within what is flattened.
    """
    if isinstance(value, dict):
        children = dict(value)
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        children = {str(item.get("name", index)): item for index, item in enumerate(value)}
    else:
        return {prefix: value}
    leaves = {}
    for name, child in children.items():
        key = f"{prefix}.{name}" if prefix else name
        leaves.update(flat(child, key))
    return leaves


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file, by name.

    Raises:
        UserError: The file is missing or damaged.
    """
    with naming_damage(path), np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Turn what goes wrong while the block reads a file into a UserError that names it.

    Files are written whole, so one that cannot be read was damaged from outside: its owner has to know which.
    """
    try:
        yield
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        cause = str(error).splitlines()[0]
        if isinstance(error, ValidationError):
            cause = error.errors()[0]["msg"]
        raise UserError(
            f"{shown_path(path)} cannot be read ({cause}); restore it, or start a new study with --study NAME"
        ) from error


def write_json(path: Path, record: Any) -> None:
    """Write a record, a dataclass or plain JSON, indented."""
    write_text(path, TypeAdapter(type(record)).dump_json(record, indent=2).decode() + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays to a compressed .npz file, by name."""
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # pyright: ignore[reportArgumentType]  # none is named allow_pickle


@contextmanager
def atomic_write(path: Path, before_naming: Callable[[Path], None] = lambda temporary: None) -> Iterator[Path]:
    """Write a file so that no reader meets half of it.

    Args:
        path: where it goes.
        before_naming: called with the temporary path, once all is written there.

    Raises:
        UserError: A folder is in the file's place, or a file in that of its folder.

    Yields:
        A temporary path beside `path`, of the same suffix. It is renamed to `path` when the block ends well, and
        removed when it does not.
    """
    _require_place(path)
    # Names have 255 bytes at most, so that of the file is no part of it.
    temporary = path.with_name(f"{HALF_WRITTEN}{secrets.token_hex(8)}{path.suffix}")
    temporary.touch(exist_ok=False)  # with the permissions that the umask leaves it; tempfile's are the owner's alone
    try:
        yield temporary
        before_naming(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _require_place(path: Path) -> None:
    """Make a file's folder. Raises UserError where something else is in the place of either."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"{shown_path(path.parent)} must be a folder, but something else is in its place; move it away"
        ) from None
    if path.is_dir():
        raise UserError(f"{shown_path(path)} must be a file, but a folder is in its place; move it away")
