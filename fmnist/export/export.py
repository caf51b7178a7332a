"""Every saved format of a model: made in one process, loaded back in another by its own runtime alone, compared.

    python -m fmnist.export MODEL --format all     MODEL: a .keras file, as studies deliver it

A file gets its name only once its probabilities have been compared with the model's own: what fails is not there. This
module is loaded by the supervisor; Keras and TensorFlow run in `fmnist.export.conversion` and `fmnist.export.runtimes`, scripts that
are started by their paths and know nothing of this project. Does not cover: models with several inputs or outputs.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmnist.errors import UserError
from fmnist.export.formats import (
    CLEAR_LEAD,
    HALF_WRITTEN,
    LARGEST_DIFFERENCE,
    MOST_CHANGED,
    ExportRecord,
    Format,
    find_format,
)
from fmnist.model.metadata import read_metadata, write_metadata

if TYPE_CHECKING:
    pass

POLL_SECONDS = 0.1
LONGEST_SECONDS = 1800.0  # of a conversion, or of a check: a process that takes longer is taken for hung
LONGEST_TRACE = 5000  # characters that are kept of what a failed process said

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Conversion:
    """What became of one format before it was checked."""

    seconds: float
    error: str | None = None  # None: it was written
    trace: str = ""


class ExportFailed(Exception):
    """There will be no file of this format. The message is the reason, in one line."""

    def __init__(self, reason: str, trace: str = "") -> None:
        super().__init__(reason)
        self.trace = trace


def never_cancel() -> None:
    """Never stop."""


@dataclass(frozen=True, eq=False)
class ExportJob:
    """What the conversions and checks of one model share."""

    model: Path
    staging: Path  # folder for whatever is not finished; images.npy lies there where images were given
    labels: np.ndarray | None  # integers (n,)
    n_threads: int
    check_cancelled: Callable[[], None]  # called all the time; may raise
    scripts: Path  # folder of conversion.py and runtimes.py
    longest_seconds: float  # of a process


# --- make and check


def export_model(
    model: Path,
    names: Sequence[str],
    folder: Path,
    *,
    images: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    n_threads: int = 1,
    check_cancelled: Callable[[], None] = never_cancel,
    scripts: Path = HERE,
    longest_seconds: float = LONGEST_SECONDS,
) -> Iterator[ExportRecord]:
    """Write the model, a .keras file, into the folder in each of these formats; a record of each, as it is done. A file
    of an earlier export is replaced, or removed where the format fails now.

    images: raw pixels 0 to 255, (n, height, width, channels), n > 0, to compare on; None: 256 of noise, always the
    same. labels: integers (n,). heed_stop: called all the time; may raise. scripts: folder of conversion.py and
    runtimes.py; tests give others. longest_seconds: after which a process is taken for hung. Raises UserError where
    nothing can be exported of this model, or compared on these images.
    """
    formats = [find_format(name) for name in names]
    folder = folder.absolute()  # the scripts run in a folder of their own
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{HALF_WRITTEN}exports-", dir=folder) as name:
        bench = ExportJob(model, Path(name), labels, n_threads, check_cancelled, scripts, longest_seconds)
        if images is not None:
            np.save(bench.staging / "images.npy", images)
        conversions = _convert(bench, formats)
        for format in formats:
            yield _finish(bench, format, conversions[format.name], folder)


def _finish(bench: ExportJob, format: Format, conversion: Conversion, folder: Path) -> ExportRecord:
    """Check what the conversion has written, and put it in its place where it is as it should be."""
    started, file = time.monotonic(), format.file_name(bench.model)
    made, target = bench.staging / file, folder / file
    reference = np.load(bench.staging / "reference.npy")
    record = ExportRecord(format.name, file, conversion.seconds, bench.n_threads, len(reference))
    try:
        if conversion.error is not None:
            raise ExportFailed(f"the conversion failed: {conversion.error}", conversion.trace)
        if format.name == "keras" and (notes := read_metadata(bench.model)) is not None:
            write_metadata(made, notes)  # Keras has left them behind
        record = dataclasses.replace(record, n_bytes=_n_bytes(made))
        probabilities, found = _run_alone(bench, format, made)
        record = dataclasses.replace(record, **found)
        record = dataclasses.replace(record, **_compared(reference, probabilities, bench.labels))
        _require_parity(format, reference, probabilities)
    except ExportFailed as failure:
        _remove(target)
        record = dataclasses.replace(record, failure=str(failure), trace=failure.trace)
    else:
        _put(made, target, bench.staging)
    return dataclasses.replace(record, seconds=round(conversion.seconds + time.monotonic() - started, 3))


def _compared(reference: np.ndarray, probabilities: np.ndarray, labels: np.ndarray | None) -> dict[str, object]:
    """What an ExportRecord says of it. Raises ExportFailed where there is nothing to compare."""
    if probabilities.shape != reference.shape:
        raise ExportFailed(f"it gives outputs of shape {probabilities.shape} instead of {reference.shape}")
    if not np.isfinite(probabilities).all():
        raise ExportFailed("it gives probabilities that are not finite")
    classes = probabilities.argmax(axis=1)
    return {
        "largest_difference": float(np.abs(probabilities - reference).max()),
        "n_same_class": int((classes == reference.argmax(axis=1)).sum()),
        "accuracy": None if labels is None else float((classes == labels).mean()),
    }


def _require_parity(format: Format, reference: np.ndarray, probabilities: np.ndarray) -> None:
    """Raises ExportFailed unless the format says what the model does, see `Format.limit`. Within the limit of the exact
    ones, the likeliest class can only change where two are closer than twice that."""
    if format.is_exact:
        difference = np.abs(probabilities - reference).max()
        if difference > LARGEST_DIFFERENCE:
            raise ExportFailed(
                f"its probabilities differ by up to {difference:.2g} from the model's, more than {LARGEST_DIFFERENCE:g}"
            )
        return
    second, first = np.sort(reference, axis=1)[:, -2:].T
    has_changed = probabilities.argmax(axis=1) != reference.argmax(axis=1)
    share = float(np.mean(has_changed & (first - second > CLEAR_LEAD)))
    if share > MOST_CHANGED:
        raise ExportFailed(
            f"on {share:.1%} of the images, more than {MOST_CHANGED:.0%}, it changes a class that led by more than "
            f"{CLEAR_LEAD:g}"
        )


def _n_bytes(path: Path) -> int:
    """Of a file, or of all files in a folder."""
    return sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())


def _put(made: Path, target: Path, staging: Path) -> None:
    """Rename: a reader never meets half a file. A folder cannot take another's place, so that one goes first."""
    if target.is_dir():
        os.replace(target, staging / "replaced")
    os.replace(made, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# --- processes


def _convert(bench: ExportJob, formats: Sequence[Format]) -> dict[str, Conversion]:
    """Write each format's file into the staging folder, and reference.npy (see `fmnist.export.conversion`). One process for
    all, since its imports take longest; where it dies at a format, another goes on with those after it.

    Raises UserError for a model or images that cannot be used.
    """
    done: dict[str, Conversion] = {}
    while missing := [format for format in formats if format.name not in done]:
        files = {format.name: format.file_name(bench.model) for format in missing}
        request = {"model": str(bench.model.absolute()), "files": files, "n_threads": bench.n_threads}
        (bench.staging / "request.json").write_text(json.dumps(request), encoding="utf-8")
        results = bench.staging / "results.jsonl"
        results.write_text("", encoding="utf-8")
        outcome = _run_script(bench, "conversion.py", str(bench.staging))
        begun = _read_results(results, done)
        if begun is not None:
            done[begun] = Conversion(outcome.seconds, f"its process {outcome.ending}", outcome.said)
        elif len(done) < len(formats):
            raise RuntimeError(f"the conversion of {bench.model} {outcome.ending}:\n{outcome.said}")
    return done


def _read_results(path: Path, done: dict[str, Conversion]) -> str | None:
    """Enter the formats that were converted, or failed; the one that was begun only is returned."""
    begun = None
    for line in path.read_text(encoding="utf-8").splitlines():
        match json.loads(line):
            case {"unusable": reason}:
                raise UserError(reason)
            case {"begun": name}:
                begun = name
            case {"ended": name, **outcome}:
                done[name], begun = Conversion(**outcome), None
    return begun


def _run_alone(bench: ExportJob, format: Format, made: Path) -> tuple[np.ndarray, dict[str, object]]:
    """What the file says of the staging folder's images, by its runtime alone in a fresh process: probabilities float32
    (n, n_classes), and what an ExportRecord holds of the runtime. Raises ExportFailed."""
    images, out = bench.staging / "images.npy", bench.staging / f"{format.name}-check"
    outcome = _run_script(bench, "runtimes.py", format.runtime, str(made), str(images), str(out), str(bench.n_threads))
    found = Path(f"{out}.json")
    result = json.loads(found.read_text(encoding="utf-8")) if found.exists() else {}
    if outcome.exit_code != 0:
        reason = result.get("error") or f"its process {outcome.ending}"
        raise ExportFailed(f"{format.runtime} does not run it: {reason}", outcome.said)
    return np.load(f"{out}.npy"), result


@dataclass(frozen=True)
class _Outcome:
    """What became of a script's process."""

    exit_code: int | None  # None: it was ended, as it took too long
    seconds: float
    said: str  # the end of what it wrote to standard output and error

    @property
    def ending(self) -> str:
        if self.exit_code is None:
            return f"was ended after {self.seconds:.0f} s without a result"
        return f"ended with exit code {self.exit_code}"


def _run_script(bench: ExportJob, name: str, *arguments: str) -> _Outcome:
    """Run one of the two scripts, without this project and in a session of its own: Ctrl-C reaches the whole group, and
    what it breaks here would look like a bad file."""
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",  # on a GPU convolutions may round to 10 bits, and no two runtimes agree
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    started = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-I", str(bench.scripts / name), *arguments],
            cwd=bench.staging,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            exit_code = _wait(process, bench, started)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace")
    return _Outcome(exit_code, time.monotonic() - started, said[-LONGEST_TRACE:])


def _wait(process: subprocess.Popen, bench: ExportJob, started: float) -> int | None:
    """Its exit code; None where it takes too long."""
    while time.monotonic() - started < bench.longest_seconds:
        bench.check_cancelled()
        with suppress(subprocess.TimeoutExpired):
            return process.wait(POLL_SECONDS)
    return None


# --- command line
