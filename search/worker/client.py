"""The supervisor's side of the server of training processes: starts it, and asks it for processes.

The server is a plain child process, so it needs nothing of the caller: no main module that can be imported, no start
method of `multiprocessing`, no main thread.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

from fmnist.environment import clean_environment, python_command
from fmnist.errors import UserError
from search.worker.server import LONGEST_REASON
from search.worker.tasks import Interrupted, Task

POLL_SECONDS = 0.1  # how often whoever waits checks whether to stop
PAUSE_SECONDS = 1.0  # before a machine that could not start a process is asked again
PATIENCE_SECONDS = 20.0  # for how long it is asked
LONGEST_START_SECONDS = 900.0  # of a server, and of a process that it starts
SECONDS_TO_END = 0.5  # of a server that is not needed any more
MAX_SERVERS = 3  # servers in a row that die before they have started a process


class ServerLost(Exception):
    """The server has ended, so that nobody knows what became of a process."""


@dataclass(frozen=True)
class TrainingProcess:
    """A process that a server has started."""

    pipe: Connection  # to it
    lifeline: Connection  # to the server, about it
    process: psutil.Process | None  # None: it has ended already

    def exit_code(self) -> int:
        """Wait for its end and return how it ended. Raises ServerLost if nobody can tell any more."""
        try:
            _, code = self.lifeline.recv()
        except (EOFError, OSError) as error:
            raise ServerLost from error
        return code

    def end(self) -> None:
        """End it now, if it has not ended, and return when it has."""
        self.pipe.close()
        try:
            self.lifeline.send("end")
            self.lifeline.recv()
        except (EOFError, OSError):  # it has ended and was reported, or there is no server any more that could do it
            if self.process is not None:
                with suppress(psutil.NoSuchProcess):
                    self.process.kill()
        self.lifeline.close()


@dataclass(frozen=True)
class Running:
    """A server, and the socket over which it is asked for processes."""

    server: subprocess.Popen[bytes]
    control: socket.socket

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, or is about to and says why over its socket; or another thread has seen that it has."""
        return self.control.fileno() < 0 or bool(wait([self.control], 0))

    def end(self) -> None:
        """End the server and all of its processes."""
        self.control.close()
        try:
            self.server.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:  # it still loads modules, so it has no processes
            self.server.kill()
            self.server.wait()


class ProcessServer:
    """A server of training processes, started anew if it was killed. Thread-safe.

    Args:
        log: File for the standard error and output of the server and its processes.
        preload: Modules that its processes find loaded.
        forks: Whether processes are forked; False: each is a new interpreter.

    Raises:
        UserError: The machine does not let it start.
    """

    def __init__(self, log: Path, preload: Sequence[str], *, forks: bool) -> None:
        self._log = log.absolute()
        self._preload = list(preload) if forks else []
        self._forks = forks
        self._lock = threading.Lock()
        self._n_in_vain = 0  # servers in a row that have started no process
        self._start()

    def close(self) -> None:
        """End the server and all of its processes. Forgotten servers end with this object."""
        self._end()

    def start_process(self, serve: Callable[..., None], task: Task, stop: threading.Event) -> TrainingProcess:
        """Start a process that calls `serve` with its pipe and the task.

        What keeps the machine from starting one for a moment is waited for.

        Raises:
            UserError: The machine does not let a process start. No training is at fault.
            Interrupted: `stop` was set.
        """
        content = pickle.dumps((serve, task))
        gives_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            with self._lock:
                running = self._require_running()
            try:
                process = self._ask(running, stop)
            except OSError as error:
                if time.monotonic() > gives_up:
                    raise cannot_start(error.strerror or str(error)) from error
                if stop.wait(PAUSE_SECONDS):
                    raise Interrupted from None
                continue
            if process is not None:
                break
        self._n_in_vain = 0
        with suppress(BrokenPipeError, ConnectionResetError):  # it has died since, as its lifeline tells
            process.pipe.send_bytes(content)
        return process

    def _require_running(self) -> Running:
        """Return the server, or a new one if it has ended."""
        if not self._running.has_ended:
            return self._running
        reason = b""
        with suppress(OSError):  # killed, or closed by another thread that found it ended
            reason = self._running.control.recv(LONGEST_REASON)
        self._end()
        if reason:
            said = reason.decode(errors="replace")
            raise UserError(
                f"training processes must be able to load their libraries, but {said}; see {self._log}, repair the "
                "installation, and run the same command again"
            )
        self._n_in_vain += 1
        if self._n_in_vain >= MAX_SERVERS:
            code = self._running.server.returncode
            raise cannot_start(f"the process that starts them ended {MAX_SERVERS} times in a row (exit code {code})")
        self._start()
        return self._running

    def _start(self) -> None:
        how = "fork" if self._forks else "spawn"
        try:
            ours, theirs = socket.socketpair()
            with ExitStack() as cleanup, theirs, open(self._log, "ab") as log:
                cleanup.callback(ours.close)
                server = subprocess.Popen(
                    python_command(
                        "search.worker.server", "serve", str(theirs.fileno()), str(os.getpgrp()), how, *self._preload
                    ),
                    cwd=os.sep,
                    env=clean_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # until it ignores Ctrl-C, see `search.worker.server.ignore_signals`
                )
                cleanup.pop_all()
        except OSError as error:
            raise cannot_start(error.strerror or str(error)) from error
        self._running = Running(server, ours)
        self._end = weakref.finalize(self, self._running.end)

    def _ask(self, running: Running, stop: threading.Event) -> TrainingProcess | None:
        """Ask the server for a process. None: it has died. Raises OSError where the machine does not let it start."""
        with ExitStack() as cleanup:
            pipe, its_pipe = multiprocessing.Pipe()
            cleanup.callback(pipe.close)
            with its_pipe:
                lifeline, its_lifeline = multiprocessing.Pipe()
                cleanup.callback(lifeline.close)
                with its_lifeline:
                    try:
                        socket.send_fds(running.control, [b"\0"], [its_pipe.fileno(), its_lifeline.fileno()])
                    except (BrokenPipeError, ConnectionResetError):
                        return None
            try:
                what, value = await_message(lifeline, stop)
            except (EOFError, ConnectionResetError):
                if running.has_ended:
                    return None
                raise OSError("the process that starts them has too many files open") from None
            if what == "refused":
                raise OSError(value)
            process = None
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(value)
            cleanup.pop_all()
            return TrainingProcess(pipe, lifeline, process)


def await_message(lifeline: Connection, stop: threading.Event) -> tuple[str, Any]:
    """Receive the server's first message about a process; the server may still load modules.

    Raises:
        Interrupted: `stop` was set.
        EOFError: The server has ended.
        UserError: It says nothing.
    """
    waited = 0.0  # counted in waits, as all of them may be stopped for long (Ctrl-Z)
    while not lifeline.poll(POLL_SECONDS):
        if stop.is_set():
            raise Interrupted
        waited += POLL_SECONDS
        if waited > LONGEST_START_SECONDS:
            raise cannot_start(f"the process that starts them has not answered for {LONGEST_START_SECONDS:.0f} s")
    return lifeline.recv()


def cannot_start(reason: str) -> UserError:
    """Build the error to raise when the machine does not let training processes start."""
    return UserError(
        f"the machine must let training processes start, but it does not: {reason}; free memory, disk, processes or "
        "open files (ulimit), or lower --workers, and run the same command again: it goes on from here"
    )
