"""What does one supervisor take for a trial, and how busy does it keep many trainings? Trainings that only sleep.

    python -m tests.benchmarks.supervisor_load --workers 64 --trials 1000 --seconds 20 [--pruner asha]

Everything is the product's own but the trainings, which sleep in this process: no node, no Ray. While it sleeps, a
training says once a second how far it is, and is evaluated as often as a real one. Prints the share of the workers'
time in which they trained, and the supervisor's processor seconds a trial by what took them. Not covered: Ray's own
work for each message, the network, what a node does.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import optuna
import psutil
from optuna.storages._cached_storage import _CachedStorage

from fmnist.data.find import find_data
from fmnist.training.history import HistoryPoint
from search.callbacks.reporter import Reporter
from search.config import StudyConfig
from search.context import read_context
from search.dashboard.publish import DashboardPublisher
from search.messages import progress_of
from search.pipeline import OpenStudy, run_search
from search.refit.schedule import Clock
from search.study.storage.opening import StudyStorage, open_storage
from search.study.strategy import BoundedTPESampler, RecentHalvingPruner
from search.study.study import create_or_resume
from search.worker.resources import Resources
from search.worker.tasks import ImagesSeen, TrainMessage, TrainResult, TrainTask
from tests.benchmarks.study_growth import fill_database, make_trials, read_fashion_space

SECONDS_BETWEEN_MESSAGES = 1.0
PARTS: dict[str, tuple[tuple[type, tuple[str, ...]], ...]] = {  # what takes time, outermost first
    "sampler": (
        (BoundedTPESampler, ("infer_relative_search_space", "sample_relative", "sample_independent")),
        (BoundedTPESampler, ("before_trial", "after_trial")),
    ),
    "pruner": ((RecentHalvingPruner, ("prune",)),),
    "reading trials": ((_CachedStorage, ("get_all_trials", "get_trial")), (StudyStorage, ("get_trial", "_get_trials"))),
    "storage writes": (
        (StudyStorage, ("set_trial_user_attr", "set_trial_system_attr", "set_trial_intermediate_value")),
        (StudyStorage, ("_set_trial_param", "set_trial_state_values", "_create_new_trial")),
        (StudyStorage, ("set_study_user_attr", "set_study_system_attr", "_store")),
    ),
    "dashboard": ((DashboardPublisher, ("store_trial", "update")),),
}


class ProcessorTimes:
    """Processor seconds of this process by part. What a part calls of another counts for the other alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._of_thread = threading.local()

    def measured(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, and counts for the part."""

        def call(*arguments: Any, **named: Any) -> Any:
            inner = getattr(self._of_thread, "inner", 0.0)  # seconds of the parts that this one has called
            self._of_thread.inner = 0.0
            began = time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                whole = time.thread_time() - began
                with self._lock:
                    self.seconds[part] += whole - self._of_thread.inner
                    self.calls[part] += 1
                self._of_thread.inner = inner + whole

        return call

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Measure PARTS while the block runs."""
        with ExitStack() as stack:
            for part, places in PARTS.items():
                for owner, names in places:
                    for name in names:
                        measured = self.measured(part, getattr(owner, name))
                        stack.enter_context(mock.patch.object(owner, name, measured))
            yield


class SleepingTrainer:
    """Sleeps, and says an accuracy that follows from the task's seed, as often as a training does."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._n_under_way = 0
        self._of_thread = threading.local()
        self.busy: list[tuple[float, int]] = []  # time.monotonic, and how many train from then on
        self.pauses: list[float] = []  # seconds between two trainings of one worker

    def __call__(self, task: TrainTask) -> Generator[TrainMessage, None, None]:
        """Train as the task says; all of a trial's rungs together take the seconds, shared by their images."""
        accuracy = float(np.random.default_rng(task.seed).uniform(0.8, 0.95))
        lengths = (task.n_planned_images, *task.further_lengths)
        ended = getattr(self._of_thread, "ended", None)
        if ended is not None:
            self.pauses.append(time.monotonic() - ended)
        self._count(1)
        try:
            for length in lengths:
                yield from self._train(length, self._seconds * length / sum(lengths), accuracy, task)
        finally:
            self._count(-1)
            self._of_thread.ended = time.monotonic()

    def _train(
        self, length: int, seconds: float, accuracy: float, task: TrainTask
    ) -> Generator[TrainMessage, None, None]:
        history, began = [], time.monotonic()
        for mark in [*range(task.report_every_images, length, task.report_every_images), length]:
            due = began + seconds * mark / length
            while time.monotonic() < due:
                time.sleep(max(0.0, min(SECONDS_BETWEEN_MESSAGES, due - time.monotonic())))
                yield ImagesSeen(round(length * min(1.0, (time.monotonic() - began) / seconds)))
            reached = accuracy * (0.9 + 0.1 * mark / length)
            history.append(HistoryPoint(mark, seconds * mark / length, 0.01, 0.5, reached, 0.5, reached))
            yield history[-1]
        yield TrainResult(tuple(history), history[-1], length, seconds, seconds, "end", 712.3, confusion=_CONFUSION)

    def _count(self, change: int) -> None:
        with self._lock:
            self._n_under_way += change
            self.busy.append((time.monotonic(), self._n_under_way))

    def mean_busy(self, since: float, until: float) -> float:
        """How many trained at a time, on average between two times."""
        total, before, n_before = 0.0, since, 0
        for when, n in [*self.busy, (until, 0)]:
            if when > since:
                total += (min(when, until) - before) * n_before if before < until else 0.0
                before = max(since, min(when, until))
            n_before = n
        return total / (until - since)


_CONFUSION = np.full((10, 10), 5) + np.diag(np.full(10, 450))


class Progress(Reporter):
    """Notes when each trial ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def advance(self, progress: Any) -> None:
        self.ends.append(time.monotonic())


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a run of the search came to."""

    seconds: float
    n_trials: int
    busy_of_all: float  # share of the workers' time, start and end included
    busy_while_full: float  # from when all had begun to when no trial was left to begin
    begun_seconds: float  # until every worker had its first trial
    pauses: tuple[float, float]  # seconds between two trainings of a worker: median, 90th percentile
    processor: float  # seconds of the whole process
    megabytes: float  # resident, at the end
    by_part: dict[str, float]


def measure(options: argparse.Namespace, folder: Path) -> Measured:
    """Run the search phase with trainings that sleep."""
    times, trainer, reporter = ProcessorTimes(), SleepingTrainer(options.seconds), Progress()
    config = StudyConfig(
        "load", trials=options.before + options.trials, dataset="digits", pruner=options.pruner, studies_dir=folder
    )
    n = options.workers
    resources = Resources(n, 1, 1, bfloat16=False, memory_mb=None, memory_limit_mb=700.0, most_workers=n)
    context = read_context(
        config, find_data("digits", None), Clock(None), reporter, threading.Event(), resources=resources
    )
    space = read_fashion_space()
    context = dataclasses.replace(context, space=space)
    context.files.root.mkdir(parents=True)
    if options.before:
        fill_database(context.files.storage, make_trials(space, min(500, options.before)), options.before)
    storage = open_storage(f"sqlite:///{context.files.storage}")
    storage.hold_trials()
    study = create_or_resume(dataclasses.replace(config, study="growth" if options.before else "load"), space, storage)
    publisher = DashboardPublisher(study, context.files, config.trials, context.rungs)
    final = context.final_round(SimpleNamespace(train=trainer, predict=None))
    progress_of(context, study)
    began, processor = time.monotonic(), time.process_time()
    with times.watching():
        run_search(context, OpenStudy(study, storage, publisher, workers=None), final, None, config.trials)
    seconds, processor = time.monotonic() - began, time.process_time() - processor
    storage.engine.dispose()
    all_begun = next((when for when, n_busy in trainer.busy if n_busy == n), began)
    last_begun = [when for i, (when, n_busy) in enumerate(trainer.busy[1:]) if n_busy > trainer.busy[i][1]][-1]
    return Measured(
        seconds=seconds,
        n_trials=options.trials,
        busy_of_all=trainer.mean_busy(began, began + seconds) / n,
        busy_while_full=trainer.mean_busy(all_begun, last_begun) / n,
        begun_seconds=all_begun - began,
        pauses=tuple(np.quantile(trainer.pauses or [0.0], (0.5, 0.9)).tolist()),
        processor=processor,
        megabytes=psutil.Process().memory_info().rss / 1e6,
        by_part={part: times.seconds[part] for part in PARTS},
    )


def in_words(measured: Measured) -> str:
    """Give the figures as lines of text."""
    n, (median, high) = measured.n_trials, measured.pauses
    of_trial, share = measured.processor / n * 1000, measured.processor / measured.seconds
    lines = [
        f"{n} trials in {measured.seconds:.0f} s ({n / measured.seconds:.2f} a second), {measured.megabytes:.0f} MB",
        f"busy {measured.busy_of_all:.1%} of all time, {measured.busy_while_full:.1%} from when all trained "
        f"(after {measured.begun_seconds:.0f} s) to the last beginning",
        f"pause between two trainings of a worker: {median:.2f} s, 90th percentile {high:.2f}",
        f"{of_trial:.0f} ms of a processor a trial, {share:.0%} of one",
    ]
    rest = measured.processor - sum(measured.by_part.values())
    for part, seconds in [*measured.by_part.items(), ("everything else", rest)]:
        lines.append(f"  {part:<16} {seconds / n * 1000:7.1f} ms a trial")
    return "\n".join(lines)


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        print(in_words(measure(parse(), Path(folder))), flush=True)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=64, help="trainings at a time")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--before", type=int, default=0, help="trials that the study has already")
    parser.add_argument("--seconds", type=float, default=20.0, help="of all rungs of a trial together")
    parser.add_argument("--pruner", default="none")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
