"""How fast does a model file predict, and with how much memory? Measured here, or wherever a command reaches.

The command is given a Python program on standard input, in which the model file is packed, and runs it: `python3 -`
does, and so does `ssh HOST python3 -`. The program writes the file and `fmnist.export.runtimes` into a temporary
folder, measures it in a fresh process, removes the folder, and prints what it found as a JSON object in one line, the
last of its standard output. It needs Python 3.9 or newer, NumPy and the runtime there, and nothing of this project.

Not covered: a SavedModel, which is a folder; machines without Python.
"""

from __future__ import annotations

import base64
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from fmnist.environment import clean_environment, command_words, unusable_command
from fmnist.errors import UserError, unreadable
from fmnist.export.export import HERE, never_cancel
from fmnist.export.formats import N_TIMED_THREADS
from fmnist.export.scripts import POLL_SECONDS, SETTINGS, last_object
from fmnist.paths import absolute, shown_path
from fmnist.values import require

RUNTIMES = {".tflite": "ai_edge_litert", ".onnx": "onnxruntime", ".keras": "keras"}  # by a file's ending
SECONDS_TO_END = 5.0  # that a command has for it
PACKAGES = {"ai_edge_litert": "ai-edge-litert"}  # where pip calls it otherwise
PROGRAM = """\
import base64, os, subprocess, sys, tempfile
with tempfile.TemporaryDirectory() as folder:
    script, model = os.path.join(folder, "runtimes.py"), os.path.join(folder, {name!r})
    for path, content in (script, {script!r}), (model, {model!r}):
        with open(path, "wb") as file:
            file.write(base64.b64decode(content))
    command = [sys.executable, script, "measure", {runtime!r}, model, "{n_threads}"]
    exit_code = subprocess.call(command, env=dict(os.environ, **{settings!r}))
sys.exit(exit_code)
"""


@dataclass(frozen=True)
class Measurement:
    """What was measured of a file. Times are of an image, given alone or with 255 others."""

    file: str
    n_bytes: int
    runtime: str  # and its version
    processor: str  # or the board's name
    n_threads: int
    milliseconds_by_1: float  # the median of the calls in the quietest tenth of a second
    p95_milliseconds_by_1: float  # what 95 % of the calls take at most
    n_calls_by_1: int
    milliseconds_by_256: float
    p95_milliseconds_by_256: float
    n_calls_by_256: int
    peak_bytes: (
        int | None
    )  # memory of a process that predicts images one at a time; None where the system does not tell
    runtime_bytes: int | None  # of these, before the file was loaded
    unaccelerated: tuple[str, ...] | None  # operations that the runtime's fast kernels leave out; None: unknown


def measure(
    model: str | os.PathLike[str],
    *,
    on: str | Sequence[str] | None = None,
    n_threads: int = N_TIMED_THREADS,
    check_cancelled: Callable[[], None] = never_cancel,
) -> Measurement:
    """Measure a model file, in a fresh process on noise of the size that it takes.

    Args:
        model: A .tflite, .onnx or .keras file.
        on: Command that runs a Python program given on its standard input, such as `ssh pi python3 -`, as one text or
            as its words. None: this interpreter.
        n_threads: Threads of the runtime.
        check_cancelled: Called all the time; may raise, which ends the command.

    Raises:
        UserError: The file cannot be read or measured, or the command does not do what it should.
    """
    path = absolute(require(Path, model, "model"))
    n_threads = require(int, n_threads, "n_threads", at_least=1)
    runtime = runtime_of(path)
    words = command_words(on)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(shown_path(path), error) from error
    program = PROGRAM.format(
        name=f"model{path.suffix}",
        script=base64.b64encode((HERE / "runtimes.py").read_bytes()),
        model=base64.b64encode(content),
        runtime=runtime,
        n_threads=n_threads,
        settings=SETTINGS,
    )
    found = _run(words, program, path, runtime, check_cancelled)
    return TypeAdapter(Measurement).validate_python({**found, "file": path.name, "n_bytes": len(content)})


def runtime_of(path: Path) -> str:
    """Return the runtime of a model file. Raises UserError for a file of another kind."""
    if path.suffix not in RUNTIMES or path.is_dir():
        raise UserError(
            f"a file to measure must end in {', '.join(RUNTIMES)}, but got {shown_path(path)}; export the model by "
            "python -m fmnist.export MODEL.keras --format litert,onnx"
        )
    return RUNTIMES[path.suffix]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it has started, as Ctrl-C would, so that the program removes its folder."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, sign)
            process.wait(SECONDS_TO_END)


def _run(
    words: Sequence[str], program: str, path: Path, runtime: str, check_cancelled: Callable[[], None]
) -> dict[str, object]:
    """Run the program by the command and return what it found. Raises UserError where it found nothing."""
    with tempfile.TemporaryFile() as standard_input:  # a pipe's rest would not be sent after a timeout
        standard_input.write(program.encode())
        standard_input.seek(0)
        try:
            # In a session of its own: what Ctrl-C breaks would look like a bad command.
            process = subprocess.Popen(
                words,
                stdin=standard_input,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=clean_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise unusable_command(shlex.join(words), error.strerror or str(error)) from error
        try:
            while True:
                try:
                    output, errors = process.communicate(timeout=POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    check_cancelled()
        except BaseException:
            _end(process)
            raise
    found = last_object(output.decode(errors="replace"))
    if found is not None and "error" in found:
        package = PACKAGES.get(runtime, runtime)
        raise UserError(
            f"{shown_path(path)} must run by {package}, but: {found['error']}; export it anew, or run "
            f"pip install {package} where it is measured"
        )
    if process.returncode != 0 or found is None:
        said = errors.decode(errors="replace").strip().splitlines()
        reason = said[-1] if said else "it printed no measurement"
        raise unusable_command(shlex.join(words), f"exit code {process.returncode}, {reason}")
    return found
