"""A search with training processes that train nothing, see `fake_process`.

    python -m tests.support.training.fakes OPTIONS

is `python -m search.run OPTIONS` with them.
"""

from __future__ import annotations

import sys
from functools import partial

from search.run import main
from search.worker.local import WorkerProcesses
from tests.support.training.fake_process import serve

fake_workers = partial(WorkerProcesses, serve=serve, preload=("tests.support.training.fake_process",))


if __name__ == "__main__":
    sys.exit(main(worker_processes=fake_workers))
