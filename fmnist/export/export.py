"""How does a model get to be saved in other formats? Converted, loaded back, compared, and only then given its name.

    python -m fmnist.export MODEL --format all     MODEL: a .keras file, as studies deliver it

A file gets its name only once its probabilities have been compared with the model's own: what fails is not there. The
supervisor loads this module; Keras and TensorFlow run in the processes of `scripts` alone. Not covered: models with
several inputs or outputs.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist.errors import UserError, unreadable
from fmnist.export.embedding import describe
from fmnist.export.formats import (
    HALF_WRITTEN,
    N_TIMED_THREADS,
    ExportRecord,
    Format,
    find_format,
    read_formats,
    require_calibration,
)
from fmnist.export.images import check_images
from fmnist.export.parity import ExportFailed, compare, require_parity
from fmnist.export.scripts import STAGED_MODEL, Conversion, ExportScripts
from fmnist.model.metadata import read_metadata, write_metadata
from fmnist.paths import absolute, shown_path, size_of
from fmnist.values import require

LONGEST_SECONDS = 1800.0  # of a conversion, or of a check: a process that takes longer is taken for hung
HERE = Path(__file__).parent


def never_cancel() -> None:
    """Let an export go on."""


def export_model(
    model: str | os.PathLike[str],
    names: Sequence[str] | str,
    folder: str | os.PathLike[str],
    *,
    images: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    calibration: np.ndarray | None = None,
    license: str | None = None,
    n_threads: int = 1,
    check_cancelled: Callable[[], None] = never_cancel,
    scripts: Path = HERE,
    longest_seconds: float = LONGEST_SECONDS,
) -> Generator[ExportRecord, None, None]:
    """Write the model into the folder in each of these formats, each compared with the model.

    A file of an earlier export is replaced, or removed where the format fails now.

    Args:
        model: a .keras file.
        names: of FORMATS; a text may join several by commas, and `all` stands for all that can be made.
        folder: made if it is not there.
        images: raw pixels 0 to 255, (n, height, width, channels), n > 0, to compare on; None: those of `calibration`,
            or else 256 of noise, always the same.
        labels: integers (n,); None if unknown.
        calibration: training images, in the form of `images`, by which the formats that compute in 8 bits set the
            ranges of what flows between layers; a few hundred are enough. None: there are none, and no such format.
        license: name of the model's licence, such as Apache-2.0, which goes into files whose format has a place for it
            (LiteRT, ONNX), as the model's class names do; None: nothing is said of one.
        n_threads: of the conversion and of the checks; times are measured on one thread.
        check_cancelled: called all the time; may raise, which ends the export and leaves nothing half-written.
        scripts: folder of conversion.py and runtimes.py; tests give others.
        longest_seconds: after which a process is taken for hung.

    Returns:
        A generator that exports as it is read: a record of each format, as it is done.

    Raises:
        UserError: nothing can be exported of this model, or compared on these images. What is wrong with an argument is
            said by the call, before anything is exported.
    """
    formats = [find_format(name) for name in read_formats(names, "names", is_calibrated=calibration is not None)]
    path, folder = absolute(require(Path, model, "model")), absolute(require(Path, folder, "folder"))
    if images is not None:
        images, labels = check_images(images, labels, "images")
    elif labels is not None:
        raise UserError("labels must be those of images, but got labels without images; pass both")
    if calibration is not None:
        calibration, _ = check_images(calibration, None, "calibration")
    else:
        require_calibration([format.name for format in formats], "pass some hundreds as calibration")
    n_threads = require(int, n_threads, "n_threads", at_least=1)

    def scripts_in(staging: Path) -> ExportScripts:
        return ExportScripts(scripts, staging, n_threads, check_cancelled, longest_seconds)

    arrays = {"images.npy": calibration if images is None else images, "calibration.npy": calibration}
    license = require(str, license, "license") if license is not None else None
    return _export(path, formats, folder, arrays, labels, license, scripts_in)


def _export(
    model: Path,
    formats: Sequence[Format],
    folder: Path,
    arrays: Mapping[str, np.ndarray | None],
    labels: np.ndarray | None,
    license: str | None,
    scripts_in: Callable[[Path], ExportScripts],
) -> Generator[ExportRecord, None, None]:
    """Export as `export_model` does.

    arrays: Images for the scripts, by the file that they find them in.
    scripts_in: Makes what runs in processes, given the folder that they run in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{HALF_WRITTEN}exports-", dir=folder) as name:
        staging = Path(name)
        for array_name, array in arrays.items():
            if array is not None:
                np.save(staging / array_name, array)
        try:
            shutil.copyfile(model, staging / STAGED_MODEL)
        except OSError as error:
            raise unreadable(shown_path(model), error) from error
        job = ExportJob(model, folder, labels, license, scripts_in(staging))
        conversions = job.scripts.convert(model, {format.name: staged_name(format) for format in formats})
        for format in formats:
            yield job.finish(format, conversions[format.name])


@dataclass(frozen=True, eq=False)
class ExportJob:
    """What the checks of all formats of one model share."""

    model: Path
    folder: Path  # where finished files go
    labels: np.ndarray | None  # integers (n,)
    license: str | None
    scripts: ExportScripts

    def finish(self, format: Format, conversion: Conversion) -> ExportRecord:
        """Check what the conversion has written, and put it in its place where it is as it should be."""
        started, file = time.monotonic(), format.file_name(self.model)
        staging = self.scripts.staging
        made, target = staging / staged_name(format), self.folder / file
        reference = np.load(staging / "reference.npy")
        record = ExportRecord(
            format=format.name,
            file=file,
            seconds=conversion.seconds,
            n_threads=N_TIMED_THREADS,
            n_images=len(reference),
            model=self.model.name,
            n_model_bytes=size_of(staging / STAGED_MODEL),
        )
        try:
            if conversion.error is not None:
                raise ExportFailed(f"the conversion failed: {conversion.error}", conversion.trace)
            self.describe(format, made)
            record = dataclasses.replace(record, n_bytes=size_of(made))
            probabilities, runtime = self.scripts.predict(format, made)
            record = dataclasses.replace(record, runtime=runtime)
            comparison = compare(reference, probabilities, self.labels)
            record = dataclasses.replace(record, **dataclasses.asdict(comparison))
            require_parity(format, reference, probabilities)
            record = dataclasses.replace(record, **self.scripts.measure(format, made))
        except ExportFailed as failure:
            remove(target)
            record = dataclasses.replace(record, failure=str(failure), trace=failure.trace)
        else:
            # Renamed, so that a reader never meets half a file. A folder cannot take another's place: that goes first.
            if target.is_dir():
                os.replace(target, staging / "replaced")
            os.replace(made, target)
        return dataclasses.replace(record, seconds=round(conversion.seconds + time.monotonic() - started, 3))

    def describe(self, format: Format, made: Path) -> None:
        """Have the file say what the model's own metadata do, which its conversion has left behind."""
        metadata = read_metadata(self.scripts.staging / STAGED_MODEL)
        if metadata is None:
            return
        if format.name == "keras":
            write_metadata(made, metadata)
        else:
            describe(made, format.runtime, metadata, self.license)


def staged_name(format: Format) -> str:
    """Name the file of a format in the staging folder, whatever the model and its folder are called.

    TensorFlow takes `[x]` and a backslash in a path for a pattern, and no runtime takes names that are not UTF-8.
    """
    return f"{format.name}{format.file_name(Path(STAGED_MODEL))}"


def remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
