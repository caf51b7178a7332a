"""How does Ctrl-C, or a notebook's stop button, end a run? It asks the run to stop, and is raised once that has ended.

Python raises KeyboardInterrupt in the main thread wherever that is. There it would wait for the threads that run
trials until the search is over, and a second one would hit the clean-up. So while a run lasts, the signal sets `Stop`,
which every training heeds within a tenth of a second; what the caller's handler raised is raised where the run has
ended, with everything finished kept. What only reads, or writes files that are complete or not there, is
`Interruptible`: the signal ends it at once.

Signals reach the main thread alone. In any other thread nothing here touches them: `Stop` follows the caller's event.
"""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from fmnist.output import stopping_when_unread
from search.worker.tasks import Interrupted

POLL_SECONDS = 0.05  # how often a waiting thread checks whether it should stop
PATIENCE_SECONDS = 10.0  # after the first Ctrl-C: another one is for a run that does not stop, and acts at once
Handler = Callable[[int, FrameType | None], object]


class Stop(threading.Event):
    """The wish that a run ends. It takes no lock, so a signal's handler may set it whatever it has interrupted.

    Args:
        outer: An event of the caller's that counts too, and that stays as it is.
    """

    def __init__(self, outer: threading.Event | None = None) -> None:
        super().__init__()
        self._outer = outer
        self._was_set = False

    def is_set(self) -> bool:
        """Tell whether the run is to end."""
        return self._was_set or (self._outer is not None and self._outer.is_set())

    def set(self) -> None:
        """Ask the run to end."""
        self._was_set = True

    def clear(self) -> None:
        """Take back what `set` asked for."""
        self._was_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run is to end, for `timeout` seconds at most; tell whether it is."""
        ends = math.inf if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            seconds_left = ends - time.monotonic()
            if seconds_left <= 0:
                return False
            time.sleep(min(POLL_SECONDS, seconds_left))
        return True


class Interruptible:
    """A block that a signal may end at once, wherever it is: one that reads, or writes whole files only.

    Args:
        stop: The wish to end; set by a signal, it raises Interrupted in the block.
    """

    is_open = False  # of the main thread, which alone receives signals; of the class, as the handlers look for it

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def __enter__(self) -> None:
        """Begin the block.

        Raises:
            Interrupted: `stop` was set before.
        """
        Interruptible.is_open = threading.current_thread() is threading.main_thread()
        if self._stop.is_set():
            Interruptible.is_open = False
            raise Interrupted

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the block.

        Raises:
            Interrupted: `stop` was set in the meantime. What a signal raises in a destructor is lost, and what another
                thread sets is seen here only.
        """
        if threading.current_thread() is threading.main_thread():
            Interruptible.is_open = False
        if kind is None and self._stop.is_set():
            raise Interrupted

    @classmethod
    def end_now(cls) -> None:
        """Raise Interrupted if the main thread is in such a block. The clean-up that follows is no part of it."""
        if cls.is_open:
            cls.is_open = False
            raise Interrupted


@contextmanager
def holding_interrupts(outer: threading.Event | None = None, patience: float = PATIENCE_SECONDS) -> Iterator[Stop]:
    """Let Ctrl-C stop what the block runs, and raise KeyboardInterrupt when the block has ended.

    The caller's own handlers, of this and of any other signal, are called as ever and are in place again afterwards.
    Whatever one raises, such as SystemExit at SIGTERM, stops the block and is raised at its end; where it raises
    nothing, nothing is stopped.

    Args:
        outer: An event of the caller's that stops the block too.
        patience: Seconds after the first signal from which on another one is raised at once.

    Yields:
        What the block's parts watch.
    """
    stop = Stop(outer)
    caught: list[BaseException] = []
    first = math.inf  # time.monotonic

    def hold(handler: Handler, number: int, frame: FrameType | None) -> None:
        nonlocal first
        try:
            handler(number, frame)
        except Interrupted:  # of `ending_cleanly`, around this
            raise
        except BaseException as error:
            if time.monotonic() - first > patience:
                raise
            first = min(first, time.monotonic())
            caught.append(error)
            stop.set()
        if stop.is_set():
            Interruptible.end_now()

    with _handling_signals(hold):
        try:
            yield stop
        except Interrupted:
            if not caught:
                raise
    if caught:  # its own traceback tells where the signal arrived, which is of no interest
        raise caught[0].with_traceback(None) from caught[0].__cause__


@contextmanager
def _handling_signals(react: Callable[[Handler, int, FrameType | None], None]) -> Iterator[None]:
    """Call `react` with the handler in place, and what that is called with, at each signal while the block runs.

    Nothing is done in another thread than the main one, and for signals that no function of Python's handles: they are
    ignored, or left to the system or to a program that embeds Python.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with ExitStack() as in_place:
        # SIGINT comes first, so that it is given back last: until then none interrupts the rest.
        for number in sorted(signal.valid_signals(), key=lambda number: number != signal.SIGINT):
            before = signal.getsignal(number)
            if callable(before):
                in_place.enter_context(_handling(number, before, react))
        yield


@contextmanager
def _handling(number: int, before: Handler, react: Callable[[Handler, int, FrameType | None], None]) -> Iterator[None]:
    """Call `react` at one signal, see `_handling_signals`. before: its handler."""

    def handle(number: int, frame: FrameType | None) -> None:
        react(_raising_in_coroutines(before), number, frame)

    signal.signal(number, handle)
    try:
        yield
    finally:
        if signal.getsignal(number) is handle:  # else the caller has set another since
            signal.signal(number, before)


def _raising_in_coroutines(handler: Handler) -> Handler:
    """Return a handler that also raises KeyboardInterrupt where the given one asks the running coroutine to end.

    That is how `asyncio.run` handles Ctrl-C. The coroutine would hear of it at its next await: here, after the run.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        n_before = _times_cancelled()
        handler(number, frame)
        if _times_cancelled() > n_before:
            raise KeyboardInterrupt

    return handle


def _times_cancelled() -> int:
    """Return how often the coroutine's task that runs in this thread has been asked to end; 0 where none runs."""
    asyncio = sys.modules.get("asyncio")  # not imported: what is not loaded runs nothing
    try:
        task = asyncio.current_task() if asyncio else None
    except RuntimeError:  # no loop runs
        return 0
    return 0 if task is None else task.cancelling()


@contextmanager
def ending_cleanly(stop: Stop, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP inside the block into a request to stop, for a command.

    SIGHUP comes where a terminal is closed; where it is ignored, as under nohup, it stays so. A second SIGTERM or
    SIGHUP acts as it did before the block, and so does another SIGINT after a while, so that a run which does not stop
    can still be ended. Standard output that takes no more is a request, too.

    Args:
        stop: Set by the first signal. Whoever works inside the block watches it.
        patience: Seconds after the first signal from which on a SIGINT acts as before.
    """
    before = {}
    first = math.inf  # time.monotonic

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        nonlocal first
        seconds = time.monotonic() - first
        if seconds > patience or (number != signal.SIGINT and seconds >= 0):
            signal.signal(number, before[number])
            signal.raise_signal(number)
            return
        first = min(first, time.monotonic())
        stop.set()
        Interruptible.end_now()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, ask_to_stop)
    try:
        with stopping_when_unread(stop):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class TrainingsUnderWay(Stop):
    """Ends the trainings that are under way at Ctrl-C, and none that begins later, for a loop of somebody else's.

    Such a loop may ask for more after it has caught KeyboardInterrupt. Its threads that were about to begin a training
    are told once, too: the loop waits for them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._to_be_told: set[threading.Thread] = set()
        self._is_over = False

    @contextmanager
    def ending_at_interrupts(self) -> Iterator[None]:
        """End them at each Ctrl-C in the block, and for good at its end. KeyboardInterrupt is raised at once."""

        def pass_on(handler: Handler, number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except BaseException:
                self._to_be_told = set(threading.enumerate()) - {threading.main_thread()}
                self.set()
                raise

        try:
            with _handling_signals(pass_on):
                yield
        finally:
            self._is_over = True
            self.set()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Run a training in the block, with KeyboardInterrupt for Interrupted: other loops know that one only.

        Raises:
            KeyboardInterrupt: Ctrl-C has ended the training, or this thread's next one.
            Interrupted: it began after the end of `ending_at_interrupts`.
        """
        thread = threading.current_thread()
        if self._is_over:
            raise Interrupted
        if thread in self._to_be_told:
            self._to_be_told.discard(thread)
            raise KeyboardInterrupt
        self.clear()
        try:
            yield
        except Interrupted:
            self._to_be_told.discard(thread)
            raise KeyboardInterrupt from None
