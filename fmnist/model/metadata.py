"""What a model file says about itself beside its network: its classes, and what its training images looked like.

The metadata are one more JSON file inside the .keras file, which is a zip archive. Keras does not look at it, so the
model loads anywhere as before. No Keras is needed here.
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

from pydantic import TypeAdapter, ValidationError

from fmnist.data.decode import Form
from fmnist.errors import UserError

ENTRY = "fmnist-notes.json"  # in the archive
MAX_BYTES = 1 << 20  # of the entry; more is no honest list of names


@dataclass(frozen=True)
class ModelMetadata:
    """All that is needed to use a model on new pictures.

    Raises:
        ValueError: A value is out of range, or there are fewer than two classes.
    """

    class_names: tuple[str, ...]  # by label
    image_shape: tuple[int, int, int]  # height, width, channels
    background: float  # mean border pixel of the training images, 0 to 255
    object_share: float = 1.0  # of the frame's side that an object took up in them, on its longer side
    contrast: float | None = None  # of the median one, between its darkest and lightest pixel; None: unknown
    picture_form: Form | None = None  # how training pictures were read; None: they were no picture files, or unknown

    def __post_init__(self) -> None:
        if len(self.class_names) < 2:
            raise ValueError(f"class_names must be two or more, but got {self.class_names}")
        if min(self.image_shape) < 1:
            raise ValueError(f"image_shape must be positive, but got {self.image_shape}")
        _require_between("background", self.background, 0, 255)
        _require_between("object_share", self.object_share, 0.01, 1)
        if self.contrast is not None:
            _require_between("contrast", self.contrast, 0, 255)
        form = self.picture_form
        if form is None:
            return
        height, width, n_channels = self.image_shape
        if form.channels != n_channels or form.side not in (None, height) or form.side not in (None, width):
            raise ValueError(f"picture_form must give images of {self.image_shape}, but got {form}")


def _require_between(name: str, value: object, low: float, high: float) -> None:
    if not (isinstance(value, int | float) and math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} must be from {low} to {high}, but got {value}")


def read_metadata(path: Path) -> ModelMetadata | None:
    """Read the metadata of a .keras file.

    Returns:
        None if the file has none, as a model that was saved by Keras alone.

    Raises:
        UserError: The file or its metadata are damaged.
    """
    with _archive(path) as archive:
        if ENTRY not in archive.namelist():
            return None
        with archive.open(ENTRY) as file:
            content = file.read(MAX_BYTES + 1)
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"they are longer than {MAX_BYTES:,} bytes")
        return TypeAdapter(ModelMetadata).validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
        raise _unusable(path, reason) from error
    except ValueError as error:
        raise _unusable(path, str(error).splitlines()[0]) from error


def _unusable(path: Path, reason: str) -> UserError:
    return UserError(
        f"the notes in {path} must be those of a model, but {reason}; write them again with "
        "fmnist.model.metadata.write_metadata"
    )


def write_metadata(path: Path, metadata: ModelMetadata) -> None:
    """Write metadata into a .keras file, in place of any that it has.

    The rest of the file stays the same to the byte, and the same model and metadata give the same bytes. At every
    moment the file is complete: the old one until the new one takes its place.

    Raises:
        UserError: The file is no .keras file.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=".writing-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with _archive(path) as archive, zipfile.ZipFile(temporary, "w") as copy:
            for member in archive.infolist():
                if member.filename == ENTRY:
                    continue
                with archive.open(member) as source, copy.open(member, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
            copy.writestr(zipfile.ZipInfo(ENTRY), as_json(metadata))  # a ZipInfo, for its fixed date
        shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def as_json(metadata: ModelMetadata) -> bytes:
    """Write metadata as JSON. Models that were not trained on picture files say nothing about these."""
    exclude = set()
    if metadata.picture_form is None:
        exclude.add("picture_form")
    return TypeAdapter(ModelMetadata).dump_json(metadata, indent=2, exclude=exclude)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The .keras file, opened for reading. Raises UserError if it is none."""
    if os.path.isdir(path):
        raise UserError(f"a model must be a .keras file, but {path} is a folder; name the file in it")
    try:
        file = open(path, "rb")  # noqa: SIM115  closed below
    except OSError as error:
        raise UserError(f"a model must be a .keras file, but {path}: {error.strerror}; check the path") from error
    try:
        with file, zipfile.ZipFile(file) as archive:
            if "config.json" not in archive.namelist():
                raise UserError(f"a model must be a .keras file, but {path} is another archive; save it with Keras 3")
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError(
            f"a model must be a .keras file, but {path} is none, or damaged ({error}); save it with Keras 3"
        ) from error
