"""The seconds that each phase of a study took, kept across its runs."""

from __future__ import annotations

import errno
import threading
import time

from search.records.files import StudyFiles


class Stopwatch:
    """Adds the seconds of a phase to the ledger, lap by lap, so that a killed run loses its last lap at most.

    n_workers: see `StudyFiles.add_to_ledger`.
    """

    def __init__(self, files: StudyFiles, phase: str, n_workers: int | None = None) -> None:
        self._files = files
        self._phase = phase
        self._n_workers = n_workers
        self._lock = threading.Lock()
        self._since = time.monotonic()

    def lap(self) -> None:
        """On a full disk the next lap brings these seconds too: no search has to end for them."""
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
