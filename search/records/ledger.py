"""How long each phase of a study took, kept across its runs."""

from __future__ import annotations

import errno
import threading
import time

from search.records.files import StudyFiles


class Stopwatch:
    """Adds the seconds of a phase to the study's ledger, lap by lap, so that a killed run loses its last lap at most.

    It starts when it is made, and leaving it as a context manager ends the last lap. Thread-safe.

    Args:
        files: The study's files.
        phase: One of PHASES.
        n_workers: See `StudyFiles.add_to_ledger`.
    """

    def __init__(self, files: StudyFiles, phase: str, n_workers: int | None = None) -> None:
        self._files = files
        self._phase = phase
        self._n_workers = n_workers
        self._lock = threading.Lock()
        self._since = time.monotonic()

    def lap(self) -> None:
        """Add the seconds since the last lap. On a full disk the next lap brings them too: no search ends for them."""
        with self._lock:
            now = time.monotonic()
            try:
                self._files.add_to_ledger(self._phase, now - self._since, self._n_workers)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            else:
                self._since = now

    def __enter__(self) -> Stopwatch:
        return self

    def __exit__(self, *_: object) -> None:
        self.lap()
