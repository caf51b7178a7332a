"""How are the two scripts of this folder run, that convert a model and that load a file back?

Keras, TensorFlow and the other runtimes run in `conversion.py` and `runtimes.py` alone, each time in a fresh process
that knows nothing of this project. They are started by their paths, and speak through files in a staging folder. It is
their current folder, and they name its files by relative paths: no library meets a path of the user's.

    model.keras       to conversion.py: a copy of the model
    request.json      to conversion.py: the model, the files to write, the number of threads
    images.npy        what is predicted; written by conversion.py where none were given
    calibration.npy   training images, for formats that compute in 8 bits
    reference.npy     from conversion.py: what the model says of them
    results.jsonl     from conversion.py: a line for whatever has happened
    FORMAT-check.npy  from runtimes.py: what the file says of them
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.environment import clean_environment, python_command
from fmnist.errors import UserError
from fmnist.export.formats import N_TIMED_THREADS, Format
from fmnist.export.parity import ExportFailed
from fmnist.paths import shown_path

STAGED_MODEL = "model.keras"
POLL_SECONDS = 0.1
SETTINGS = {  # environment variables of the scripts
    "CUDA_VISIBLE_DEVICES": "-1",  # on a GPU convolutions may round to 10 bits, and no two runtimes agree
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime would leave an id of this machine in the home folder
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
LONGEST_TRACE = 5000  # characters that are kept of what a process said
MEASURED = (  # fields of an ExportRecord
    *("n_threads", "milliseconds_by_1", "p95_milliseconds_by_1", "milliseconds_by_256", "p95_milliseconds_by_256"),
    *("peak_bytes", "runtime_bytes", "unaccelerated"),
)


@dataclass(frozen=True)
class Conversion:
    """What became of one format before it was checked."""

    seconds: float
    error: str | None = None  # None: it was written
    trace: str = ""


@dataclass(frozen=True)
class ScriptOutcome:
    """What became of a script's process."""

    exit_code: int | None  # None: it was ended, as it took too long
    seconds: float
    said: str  # the end of what it wrote to standard output and error

    @property
    def ending(self) -> str:
        """How the process ended, in words that follow "its process"."""
        if self.exit_code is None:
            return f"was ended after {self.seconds:.0f} s without a result"
        return f"ended with exit code {self.exit_code}"


@dataclass(frozen=True, eq=False)
class ExportScripts:
    """The two scripts, and what they work with."""

    folder: Path  # of conversion.py and runtimes.py
    staging: Path  # folder of the files above and of whatever is not finished
    n_threads: int
    check_cancelled: Callable[[], None]  # called all the time; may raise
    longest_seconds: float  # of a process: one that takes longer is taken for hung

    def convert(self, model: Path, files: dict[str, str]) -> dict[str, Conversion]:
        """Write the model's file of each format into the staging folder, and what the model says of the images.

        One process writes all, since its imports take longest; where it dies at a format, another goes on with those
        after it.

        Args:
            model: a .keras file, of which the staging folder has a copy.
            files: format -> name of the file to write.

        Raises:
            UserError: the model or the images cannot be used.
        """
        done: dict[str, Conversion] = {}
        while len(done) < len(files):
            missing = {name: file for name, file in files.items() if name not in done}
            request = {
                "model": STAGED_MODEL,
                "shown": str(shown_path(model)),
                "files": missing,
                "n_threads": self.n_threads,
            }
            (self.staging / "request.json").write_text(json.dumps(request), encoding="utf-8")
            (self.staging / "results.jsonl").write_text("", encoding="utf-8")
            outcome = self.run("conversion.py", ".")
            begun = self._read_results(done)
            if begun is not None:
                done[begun] = Conversion(outcome.seconds, f"its process {outcome.ending}", outcome.said)
            elif len(done) < len(files):
                raise RuntimeError(f"the conversion of {model} {outcome.ending}:\n{outcome.said}")
        return done

    def predict(self, format: Format, file: Path) -> tuple[np.ndarray, str]:
        """Predict the staging folder's images with a file in it, by its runtime alone in a fresh process.

        Returns:
            Probabilities, float32 (n, n_classes), and the runtime with its version.

        Raises:
            ExportFailed: the runtime does not run it.
        """
        out = f"{format.name}-check"
        found = self._run_file(format, "predict", format.runtime, file.name, "images.npy", out, str(self.n_threads))
        return np.load(self.staging / f"{out}.npy"), found["runtime"]

    def measure(self, format: Format, file: Path) -> dict[str, Any]:
        """Time a file in the staging folder, by its runtime alone in a fresh process, on one thread.

        Returns:
            The fields of an ExportRecord that speak of times and memory.

        Raises:
            ExportFailed: the runtime does not run it.
        """
        found = self._run_file(format, "measure", format.runtime, file.name, str(N_TIMED_THREADS))
        unaccelerated = found["unaccelerated"]
        fields = {name: found[name] for name in MEASURED if name != "unaccelerated"}
        return {**fields, "unaccelerated": None if unaccelerated is None else tuple(unaccelerated)}

    def _run_file(self, format: Format, *arguments: str) -> dict[str, Any]:
        """Run runtimes.py and return what it found. Raises ExportFailed where the runtime does not run the file."""
        outcome = self.run("runtimes.py", *arguments)
        found = last_object(outcome.said) or {}
        if outcome.exit_code != 0 or "error" in found or not found:
            reason = found.get("error") or f"its process {outcome.ending}"
            raise ExportFailed(f"{format.runtime} does not run it: {reason}", outcome.said)
        return found

    def run(self, name: str, *arguments: str) -> ScriptOutcome:
        """Run one of the scripts, without this project and in a session of its own.

        Ctrl-C reaches the whole group otherwise, and what it breaks here would look like a bad file.
        """
        started = time.monotonic()
        # TensorFlow leaves files among the temporary ones, so the process has a folder of its own for them. It is not
        # the staging folder: TensorFlow gives their paths to C++, which takes none that is not UTF-8.
        with tempfile.TemporaryDirectory() as temporary, tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                python_command(self.folder / name, *arguments),
                cwd=self.staging,
                env=clean_environment({**SETTINGS, "TMPDIR": temporary}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            exit_code = None
            try:
                while exit_code is None and time.monotonic() - started < self.longest_seconds:
                    self.check_cancelled()
                    with suppress(subprocess.TimeoutExpired):
                        exit_code = process.wait(POLL_SECONDS)
            finally:
                process.kill()
                process.wait()
            log.seek(0)
            said = log.read().decode(errors="replace")
        return ScriptOutcome(exit_code, time.monotonic() - started, said[-LONGEST_TRACE:])

    def _read_results(self, done: dict[str, Conversion]) -> str | None:
        """Enter the formats that were converted, or failed; the one that was begun only is returned."""
        begun = None
        for line in (self.staging / "results.jsonl").read_text(encoding="utf-8").splitlines():
            match json.loads(line):
                case {"unusable": reason}:
                    raise UserError(reason)
                case {"begun": name}:
                    begun = name
                case {"ended": name, **outcome}:
                    done[name], begun = Conversion(**outcome), None
        return begun


def last_object(said: str) -> dict[str, Any] | None:
    """Return the last JSON object that takes a line of a process's output by itself; None where there is none."""
    for line in reversed(said.splitlines()):
        with suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    return None
