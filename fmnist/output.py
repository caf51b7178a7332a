"""Where do a command's words go? To standard streams that take any text, whatever they are connected to.

A terminal, a file, a pipe whose reader is slow or has gone, a full disk, an encoding without most letters, nothing.
"""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

READABLE = "fmnist.readable"  # how an encoding's missing characters are written, see `_readable`
NEAREST_ASCII = {  # of the punctuation that this program writes, each one column wide as before
    "\N{MIDDLE DOT}": "-",
    "\N{HORIZONTAL ELLIPSIS}": "~",
    "\N{MINUS SIGN}": "-",
    "\N{PLUS-MINUS SIGN}": "~",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
}
HARMLESS = ("\u200c", "\u200d")  # they join letters of Persian and Hindi, and parts of emoji
SPACES = "Zs"  # Unicode's category: the wide space of Japanese is one


class OutputLost(Exception):
    """Standard output takes no more: its reader has gone, or its disk is full. The cause is the system's own error."""


class StandardOutput:
    """Standard output while a command runs: it knows what failed, and whom to ask to stop then.

    The first failure sets the events in `stops`, and what is written afterwards is dropped: the work behind has to end
    in its own way. Where there are none, the write raises OutputLost.
    """

    def __init__(self) -> None:
        self.failure: OSError | None = None
        self.stops: list[threading.Event] = []
        self.was_asked_to_stop = False  # whether the failure came while there were some

    def fail(self, error: OSError) -> None:
        """Take note of the first failure, and ask whoever works to stop."""
        self.failure = error
        if not self.stops:
            raise OutputLost(str(error)) from error
        self.was_asked_to_stop = True
        for stop in self.stops:
            stop.set()

    def flush(self) -> None:
        """Write what is still to be written. Raises OutputLost, see above."""
        if sys.stdout is not None:
            sys.stdout.flush()


_current: list[StandardOutput] = []  # of the command that runs


@contextmanager
def standard_streams() -> Iterator[StandardOutput]:
    """Make the standard streams take any text while a command runs; afterwards they are as before.

    What an encoding lacks is written readably, a slow reader is waited for, and closed streams take everything and
    give nothing. Streams that somebody has put in their place, such as `io.StringIO`, stay there.
    """
    output, before = StandardOutput(), (sys.stdin, sys.stdout, sys.stderr)
    with open_descriptors(), _taking_any_text(sys.stdout), _taking_any_text(sys.stderr):
        if sys.stdin is None:
            sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  nothing is to be closed
        sys.stdout = _guarded(sys.stdout, 1, output)
        sys.stderr = _guarded(sys.stderr, 2, None)
        _current.append(output)
        try:
            yield output
        finally:
            _current.remove(output)
            made = (sys.stdout, sys.stderr)
            sys.stdin, sys.stdout, sys.stderr = before
            for stream in made:
                with suppress(OutputLost, ValueError):  # said already; ValueError: somebody has closed it
                    stream.flush()


@contextmanager
def stopping_when_unread(stop: threading.Event) -> Iterator[None]:
    """Set an event if the command's standard output fails while the block runs."""
    if not _current:  # a library call
        yield
        return
    output = _current[-1]
    output.stops.append(stop)
    try:
        yield
    finally:
        with suppress(ValueError):
            output.flush()  # while somebody can still be asked to stop
        output.stops.remove(stop)


@contextmanager
def open_descriptors() -> Iterator[None]:
    """Keep the descriptors 0 to 2 open while the block runs, leading nowhere where they were closed.

    Else the next file to be opened, a database perhaps, gets the number 2, and what TensorFlow says goes into it.
    """
    opened = []
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            made = os.open(os.devnull, os.O_RDWR)
            if made != descriptor:
                os.dup2(made, descriptor)
                os.close(made)
            os.set_inheritable(descriptor, True)
            opened.append(descriptor)
    try:
        yield
    finally:
        for descriptor in opened:
            os.close(descriptor)


def printable(text: str) -> str:
    """Escape whatever could break a line, steer a terminal or turn its direction round: a name may hold anything."""
    shown = []
    for character in text:
        if character.isprintable() or character in HARMLESS or unicodedata.category(character) == SPACES:
            shown.append(character)
        else:
            shown.append(character.encode("unicode_escape").decode("ascii"))
    return "".join(shown)


def printable_lines(text: str) -> str:
    """Escape as `printable` does, but keep line breaks."""
    return "\n".join(map(printable, text.split("\n")))


@contextmanager
def _taking_any_text(stream: object) -> Iterator[None]:
    if not isinstance(stream, io.TextIOWrapper):
        yield
        return
    errors = stream.errors
    stream.reconfigure(errors=READABLE)
    try:
        yield
    finally:
        with suppress(ValueError):  # it has been closed
            stream.reconfigure(errors=errors)


def _guarded(stream: Any, descriptor: int, output: StandardOutput | None) -> Any:
    """A stream to the same place that never fails but through `output`; the stream itself where it is no file."""
    if stream is None:
        return open(descriptor, "w", encoding="utf-8", errors=READABLE, closefd=False)
    if type(stream) is not io.TextIOWrapper:  # a notebook's, or a test's
        return stream
    try:
        descriptor = stream.fileno()
        stream.flush()
    except (OSError, ValueError):  # it has none; what cannot be written now will fail again
        return stream
    raw = _Descriptor(descriptor, output)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=READABLE,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Descriptor(io.RawIOBase):
    """Writes to a descriptor, waits where it is full for now, and drops everything once it has failed."""

    def __init__(self, descriptor: int, output: StandardOutput | None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._output = output  # None: a failure has nobody to be told to
        self._has_failed = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, content: Any, /) -> int:
        while not self._has_failed:
            try:
                return os.write(self._descriptor, content)
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self._has_failed = True
                if self._output is not None:
                    self._output.fail(error)
        return len(content)


def _readable(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks: punctuation by its like, other characters by their escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    parts = []
    for character in error.object[error.start : error.end]:
        parts.append(NEAREST_ASCII.get(character) or character.encode("ascii", "backslashreplace").decode("ascii"))
    return "".join(parts), error.end


codecs.register_error(READABLE, _readable)
