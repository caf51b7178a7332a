"""What a model file says of itself beside its network: names of classes, and what its training images looked like.

The notes are one more JSON file inside the .keras file, which is a zip archive. Keras does not look at it, so the model
loads anywhere as before. Needs no Keras.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter, ValidationError

from fmnist.errors import UserError

ENTRY = "fmnist-notes.json"  # in the archive
MAX_BYTES = 1 << 20  # of the notes; more is no honest list of names


@dataclass(frozen=True)
class ModelNotes:
    """What it takes to use a model on pictures from elsewhere. Raises ValueError for values that cannot be."""

    class_names: tuple[str, ...]  # by label
    image_shape: tuple[int, int, int]  # height, width, channels
    background: float  # mean border pixel of the training images, 0 to 255
    object_share: float = 1.0  # of the frame's side that an object took up in them, on its longer side
    contrast: float | None = None  # of the median one, between its darkest and lightest pixel; None: unknown

    def __post_init__(self) -> None:
        if len(self.class_names) < 2:
            raise ValueError(f"class_names must be two or more, but got {self.class_names}")
        if min(self.image_shape) < 1:
            raise ValueError(f"image_shape must be positive, but got {self.image_shape}")
        for name, value, low, high in (
            ("background", self.background, 0, 255),
            ("object_share", self.object_share, 0.01, 1),
            ("contrast", self.contrast, 0, 255),
        ):
            if value is None and name == "contrast":
                continue
            if not (isinstance(value, int | float) and math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name} must be from {low} to {high}, but got {value}")


def read_notes(path: Path) -> ModelNotes | None:
    """The notes in a .keras file; None where it has none. Raises UserError where the file or its notes are damaged."""
    with _archive(path) as archive:
        if ENTRY not in archive.namelist():
            return None
        with archive.open(ENTRY) as file:
            content = file.read(MAX_BYTES + 1)
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"they are longer than {MAX_BYTES:,} bytes")
        return TypeAdapter(ModelNotes).validate_json(content)
    except ValueError as error:
        raise UserError(
            f"the notes in {path} must be those of a model, but {_first_line(error)}; write them again with "
            "fmnist.model.metadata.add_notes"
        ) from error


def add_notes(path: Path, notes: ModelNotes) -> None:
    """Write the notes into a .keras file, instead of those that it has; the rest of it stays the same to the byte. The
    file is whole at every moment. Raises UserError where it is none."""
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=".writing-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with _archive(path) as archive, zipfile.ZipFile(temporary, "w") as copy:
            for member in archive.infolist():
                if member.filename != ENTRY:
                    _copy_member(archive, member, copy)
            # A ZipInfo, for its fixed date: the same model and notes are the same bytes.
            copy.writestr(zipfile.ZipInfo(ENTRY), TypeAdapter(ModelNotes).dump_json(notes, indent=2))
        shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _copy_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, copy: zipfile.ZipFile) -> None:
    with archive.open(member) as source, copy.open(member, "w") as target:
        shutil.copyfileobj(source, target, 1 << 20)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The .keras file, opened for reading."""
    try:
        with _opened(path) as file, zipfile.ZipFile(file) as archive:
            if "config.json" not in archive.namelist():
                raise UserError(f"a model must be a .keras file, but {path} is another archive; save it with Keras 3")
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError(
            f"a model must be a .keras file, but {path} is none, or damaged ({error}); save it with Keras 3"
        ) from error


def _opened(path: Path) -> IO[bytes]:
    if os.path.isdir(path):
        raise UserError(f"a model must be a .keras file, but {path} is a folder; name the file in it")
    try:
        return open(path, "rb")
    except OSError as error:
        raise UserError(f"a model must be a .keras file, but {path}: {error.strerror}; check the path") from error


def _first_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}" if where else first["msg"]
    return str(error).splitlines()[0]
