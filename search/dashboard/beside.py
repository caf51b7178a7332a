"""The dashboard beside a run: in a process of its own, and the command that shows the study later."""

from __future__ import annotations

import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fmnist.environment import clean_environment, python_command
from fmnist.paths import as_word, shown_path
from search.cli import without_password
from search.records.files import StudyFiles

SECONDS_TO_END = 5.0


def dashboard_command(files: StudyFiles, storage: str | None) -> str:
    """The command that a person types to see the study.

    Args:
        files: the study's folder.
        storage: URL that the study was made with; None: its folder's. One with a password is not stored with the
            study, so the command names it, without the password.
    """
    words = ["python", "-m", "search.dashboard", files.root.name]
    folder = shown_path(files.root.parent)
    if folder != Path("studies"):
        words += ["--studies-dir", as_word(folder)]
    if storage is not None:
        url, password = without_password(storage)
        if password is not None:
            words += ["--storage", url]
    return shlex.join(words)


@contextmanager
def beside_run(files: StudyFiles, storage: str | None, say: Callable[[str], None]) -> Iterator[None]:
    """Run the dashboard of a study in a process of its own while the block runs, on a free port.

    It ends with this process, however that ends.

    Args:
        files: the study's folder.
        storage: URL that the study was made with; None: its folder's.
        say: is told where the dashboard is, and once if it does not start or ends too early.
    """
    command = python_command(
        "search.dashboard.__main__", files.root.name, "--studies-dir", str(files.root.parent.absolute())
    )
    command += ["--port", "0", "--until-input-ends"]
    environment = clean_environment()
    if storage is not None:
        url, password = without_password(storage)
        command += ["--storage", url]
        if password is not None:
            environment["PGPASSWORD"] = password
    is_over = threading.Event()
    with (
        files.dashboard_log.open("wb") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the run, which ends it
        ) as process,
    ):
        arguments = (process, process.stdout, is_over, say, files.dashboard_log)
        listener = threading.Thread(target=pass_on, args=arguments, daemon=True)
        listener.start()
        try:
            yield
        finally:
            is_over.set()
            process.terminate()
            try:
                process.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            listener.join()


def pass_on(
    process: subprocess.Popen[bytes],
    output: IO[bytes],
    is_over: threading.Event,
    say: Callable[[str], None],
    log: Path,
) -> None:
    """Say where the dashboard is, and that it has ended before the run is over, if it has."""
    for line in output:
        say(f"dashboard: {line.decode().split()[-1]}")
    if not is_over.is_set():
        code = process.wait()
        lines = log.read_text(errors="replace").strip().splitlines() or [f"exit code {code}"]
        say(f"the dashboard has ended ({lines[-1]}; see {shown_path(log)}); the search goes on without it")
