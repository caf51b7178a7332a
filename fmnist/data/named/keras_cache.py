"""Keras' cache of data sets, and its downloads, for which it is asked in a process of its own.

So the asking process never loads TensorFlow.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from pathlib import Path

from fmnist.environment import clean_environment, python_command
from fmnist.errors import UserError

# A stalled connection must end in an error, and urllib knows no timeout of its own.
SECONDS_TO_END = 1.0  # that an interrupted download has to remove its file
DOWNLOAD_SCRIPT = (
    "import socket; socket.setdefaulttimeout(60); from keras.datasets import {module}; {module}.load_data()"
)


def keras_cache(entry: str) -> Path:
    """Name the file or folder where Keras keeps a data set, by Keras' own rules.

    That is in a folder for temporary files if the home cannot be written to.

    Args:
        entry: The data set's path below Keras' folder of data sets, such as `mnist.npz`.
    """
    home = Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))
    if os.path.exists(home) and not os.access(home, os.W_OK) and not os.path.exists(home / "datasets" / entry):
        temporary = Path("/tmp")
        if not os.path.isdir(temporary):
            temporary = Path(tempfile.gettempdir())
        home = temporary / ".keras"
    return home / "datasets" / entry


def download_with_keras(module: str, cache: Path) -> Path:
    """Let Keras download a data set into its cache, in a process of its own.

    Args:
        module: Of keras.datasets.
        cache: The file or folder that it comes to, as `keras_cache` names it.

    Returns:
        The cache.

    Raises:
        UserError: It cannot; the message is the reason alone.
    """
    datasets = next(folder for folder in cache.parents if folder.name == "datasets")
    try:
        datasets.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{datasets} cannot be made: {error.strerror}") from error
    with tempfile.TemporaryDirectory() as home:  # has the cache, and no file of settings that Keras would heed
        script = Path(home, "download.py")
        script.write_text(DOWNLOAD_SCRIPT.format(module=module), encoding="utf-8")
        os.symlink(datasets.absolute(), Path(home, "datasets"))
        returncode, said = _run_download(script, {"KERAS_HOME": home, "CUDA_VISIBLE_DEVICES": "-1"})
    if returncode == 0:
        return cache
    lines = said.strip().splitlines() or [f"Keras ended with code {returncode}"]
    raise UserError(lines[-1].strip())


def _run_download(script: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Run the script, and return its exit code and what it said on standard error."""
    with subprocess.Popen(
        python_command(script),
        env=clean_environment({"TF_CPP_MIN_LOG_LEVEL": "3", **variables}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C is for this process, which ends the other one
    ) as child:
        try:
            _, said = child.communicate()
        except BaseException:
            end_download(child)
            raise
    return child.returncode, said


def end_download(child: subprocess.Popen[str]) -> None:
    """End Keras as Ctrl-C does, upon which it removes the file that is not complete: the next run fetches it again."""
    child.send_signal(signal.SIGINT)
    try:
        child.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        child.kill()
