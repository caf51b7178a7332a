"""The server of training processes: a small process beside the supervisor that starts them, one fresh one per task.

On a CPU they are forked from this process, which has imported Keras and run no operation; with an NVIDIA GPU each is a
new interpreter, since CUDA does not survive a fork. This process is their parent, so it alone ends them and says how
they ended. Of each it holds a connection to the supervisor, the lifeline:

    to the supervisor     ("started", process id) or ("refused", why), then ("exited", exit code)
    from the supervisor   anything means: end the process; so does its end, when the supervisor dies

The supervisor asks for a process by sending two file descriptors, the process's own pipe and the lifeline, over the
control socket, and ends this server by closing that. The task goes over the pipe, and does not pass through here.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

from fmnist.environment import python_command

LONGEST_REASON = 2000  # characters of the reason why this server cannot work


def main() -> None:
    """Serve, or spend the life of one training process: see `server_arguments` and `run_apart`."""
    match sys.argv[1:]:
        case ["serve", control, group, forks, *preload]:
            ignore_signals(int(group))
            serve_forever(socket.socket(fileno=int(control)), preload, forks=forks == "fork")
        case ["live", pipe]:
            ignore_signals()
            live(int(pipe))


def ignore_signals(group: int | None = None) -> None:
    """Leave to the supervisor what is to be done about signals that reach its whole group, such as those of Ctrl-C.

    Args:
        group: The supervisor's process group, to be a member of, so that Ctrl-Z stops trainings too. The process was
            started in one of its own, so that no signal could reach it before.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if group is not None:
        with suppress(PermissionError, ProcessLookupError):  # the supervisor has left it, or has ended
            os.setpgid(0, group)


def serve_forever(control: socket.socket, preload: list[str], *, forks: bool) -> None:
    """Start processes until the supervisor closes the control socket, then end them.

    Args:
        control: Over which processes are asked for.
        preload: Modules that forked processes find loaded.
        forks: Whether to fork this process, or start new interpreters.
    """
    try:
        for name in preload:
            importlib.import_module(name)
    except BaseException as error:
        lines = str(error).strip().splitlines() or [""]
        control.sendall(f"{type(error).__name__}: {lines[0]}"[:LONGEST_REASON].encode())
        raise
    gc.freeze()  # else the collector of each process would write to, and so copy, all pages that hold modules
    Server(control, forks=forks).run()


class Server:
    """The processes under way, by their ids, and their lifelines."""

    def __init__(self, control: socket.socket, *, forks: bool) -> None:
        self._control = control
        self._start = self._fork if forks else run_apart
        self._lifelines: dict[int, Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_end = os.pipe()  # readable when a process has ended
        os.set_blocking(self._wakeup, False)
        os.set_blocking(self._wakeup_end, False)

    def run(self) -> None:
        """Serve until the control socket ends."""
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a signal without a handler wakes nobody
        signal.set_wakeup_fd(self._wakeup_end)
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.data is not None:
                    self._end(key.data)
                elif key.fileobj is self._control:
                    if not self._serve_request():
                        self._end_all()
                        return
                else:
                    os.read(self._wakeup, 65536)
                    self._reap()

    def _serve_request(self) -> bool:
        """Start a process, if the supervisor still asks for any."""
        data, handles, _, _ = socket.recv_fds(self._control, 1, 2, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return False
        if len(handles) < 2:  # too many files are open here; the supervisor sees the end of its lifeline
            for handle in handles:
                os.close(handle)
            return True
        lifeline = Connection(handles[1])
        try:
            pid = self._start(handles[0], lifeline)
        except OSError as error:  # no memory, or too many processes
            tell(lifeline, "refused", error.strerror or str(error))
            lifeline.close()
        else:
            self._lifelines[pid] = lifeline
            self._selector.register(lifeline, selectors.EVENT_READ, pid)
            tell(lifeline, "started", pid)
        finally:
            os.close(handles[0])
        return True

    def _fork(self, pipe: int, own_lifeline: Connection) -> int:
        pid = os.fork()
        if pid > 0:
            return pid
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            self._control.close()
            for lifeline in (own_lifeline, *self._lifelines.values()):  # else they would not end with the server
                lifeline.close()
            os.close(self._wakeup)
            os.close(self._wakeup_end)
            code = live(pipe)
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(OSError):  # the disk is full
                sys.stderr.flush()
                sys.stdout.flush()
            os._exit(code)

    def _end(self, pid: int) -> None:
        """Kill a process unless it has been reaped just now: only until then its id is its own."""
        if pid in self._lifelines:
            self._selector.unregister(self._lifelines[pid])
            os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        for pid in list(self._lifelines):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                lifeline = self._lifelines.pop(pid)
                with suppress(KeyError):  # it has been killed on request
                    self._selector.unregister(lifeline)
                tell(lifeline, "exited", os.waitstatus_to_exitcode(status))
                lifeline.close()

    def _end_all(self) -> None:
        for pid in self._lifelines:
            os.kill(pid, signal.SIGKILL)


def tell(lifeline: Connection, what: str, value: object) -> None:
    """Send a message to the supervisor, if it still listens."""
    with suppress(BrokenPipeError, ConnectionResetError):
        lifeline.send((what, value))


def run_apart(pipe: int, _: Connection) -> int:
    """Start a process that is a new interpreter, and inherits nothing but the pipe. Returns its id."""
    command = python_command("search.worker.server", "live", str(pipe))
    os.set_inheritable(pipe, True)
    return os.posix_spawn(command[0], command, os.environ)


def live(handle: int) -> int:
    """Spend the life of a training process: receive what to call with the pipe and a task, and call it.

    Returns the exit code.
    """
    pipe = Connection(handle)
    try:
        received = pipe.recv_bytes()
    except (EOFError, ConnectionResetError):  # the supervisor does not need it any more
        return 1
    serve: Callable[..., None]
    serve, task = pickle.loads(received)
    serve(pipe, task)
    return 0
