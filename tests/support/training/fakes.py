"""A search with training processes that train nothing, see `fake_process`.

    python -m tests.support.training.fakes OPTIONS

is `python -m search.run OPTIONS` with them.
"""

from __future__ import annotations

import os
import sys
from functools import partial

from search.run import main
from search.study import storage
from search.worker.local import WorkerProcesses
from tests.support.training.fake_process import serve

fake_workers = partial(WorkerProcesses, serve=serve, preload=("tests.support.training.fake_process",))


def shorten_heartbeat() -> None:
    """As $FAKE_HEARTBEAT says: interval, grace and the longest idle transaction, in seconds."""
    if "FAKE_HEARTBEAT" in os.environ:
        interval, grace, idle = map(int, os.environ["FAKE_HEARTBEAT"].split())
        storage.HEARTBEAT_SECONDS, storage.GRACE_SECONDS, storage.IDLE_SECONDS = interval, grace, idle


if __name__ == "__main__":
    shorten_heartbeat()
    sys.exit(main(worker_processes=fake_workers))
