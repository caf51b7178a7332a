"""Whether memory grows with the number of trials: a long search of the digits, watched from outside.

    python -m tests.benchmarks.memory --trials 200

Prints the resident memory of the supervisor, and the highest of any training process since the row before, at every
twenty trials.
"""

from __future__ import annotations

import argparse
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
EVERY = 20  # trials
MB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    n_trials = parser.parse_args().trials
    print("| trials | supervisor, MB | largest training process, MB |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for n_done, supervisor_mb, worker_mb in watch(Path(folder), n_trials):
            print(f"| {n_done} | {supervisor_mb:.0f} | {worker_mb:.0f} |", flush=True)


def watch(folder: Path, n_trials: int) -> Iterator[tuple[int, float, float]]:
    """Rows of trials that ended, the supervisor's memory then, the most of any training process since the last row."""
    options = ["--dataset", "digits", "--trials", str(n_trials), "--search-only", "--studies-dir", str(folder)]
    with subprocess.Popen([sys.executable, "-m", "search.run", *options], cwd=ROOT, stdout=subprocess.DEVNULL) as run:
        next_row, worker_mb = EVERY, 0.0
        while run.poll() is None:
            time.sleep(0.2)
            with suppress(psutil.NoSuchProcess):
                supervisor = psutil.Process(run.pid)
                supervisor_mb = supervisor.memory_info().rss / MB
                worker_mb = max([worker_mb, *_memory_of(supervisor.children(recursive=True))])
            n_done = _n_done(folder / "digits" / "study.db")
            if n_done >= next_row:
                yield n_done, supervisor_mb, worker_mb
                next_row, worker_mb = next_row + EVERY, 0.0


def _memory_of(processes: list[psutil.Process]) -> Iterator[float]:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            yield process.memory_info().rss / MB


def _n_done(path: Path) -> int:
    if not path.exists():
        return 0
    query = "SELECT COUNT(*) FROM trials WHERE state NOT IN ('RUNNING', 'WAITING')"
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchone()[0]
    return 0


if __name__ == "__main__":
    main()
