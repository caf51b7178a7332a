"""How the cost of a study grows: what one more trial costs where 100, 1,000 or 10,000 are there already.

    python -m tests.benchmarks.study_growth [--trials 100 1000 10000] [--out FILE.json]

A fake trainer takes no time, so everything measured is the supervisor's own: sampler, pruner, storage and the look at
all trials after each one. While it works, one thread holds Python's lock and the trainings' pipes wait. Prints a
Markdown table: wall milliseconds, median (10th to 90th percentile); "growth" is the largest study's median of
processor time over the smallest's, which a busy machine disturbs less. Not covered: several workers at a time,
PostgreSQL, the trainings themselves.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import shutil
import sqlite3
import tempfile
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from fmnist.data.find import find_data
from fmnist.training.history import HistoryPoint, best_point
from search.callbacks.reporter import Reporter, SearchProgress
from search.config import StudyConfig
from search.context import read_context
from search.dashboard.publish import DashboardPublisher
from search.pipeline import OpenStudy, search
from search.refit.schedule import Clock
from search.space.space import Limits, SearchSpace
from search.study.objective import Objective
from search.study.optuna_private import together
from search.study.storage.opening import StudyStorage, open_storage
from search.study.strategy import build_pruner, build_rungs
from search.study.study import create_or_resume
from search.study.trials import count_by_state, read_trials
from search.system.shipped import SHIPPED_SPACES
from search.worker.tasks import TrainingFailed, TrainingSite, TrainResult, TrainTask
from tests.support.spaces import space_from

N_REPEATS = 12  # measurements of each step at each size; the study grows by as many trials meanwhile
N_RESUMES = 3  # of opening a stored study: seconds each at 10,000 trials
PRUNED_SHARE = 0.6  # of the trials that end their first rung: half of all, as a third complete
FAILED_SHARE = 0.05
N_DIFFERENT = 500  # a larger study holds copies of these: SQLite takes some 40 ms to add a trial, under 1 to copy one
MAX_PARAMETERS = 520_000  # about a tenth of random networks is larger
OPTUNA_TABLES = {  # those of its SQLite storage that say something of a trial, and their own ids
    "trials": "trial_id",
    "trial_params": "param_id",
    "trial_values": "trial_value_id",
    "trial_intermediate_values": "trial_intermediate_value_id",
    "trial_user_attributes": "trial_user_attribute_id",
    "trial_system_attributes": "trial_system_attribute_id",
}
LONG_SECONDS = 1e6  # a --timeout that never comes, but has to be asked about


# --- a study made up by the product itself, with a trainer that only says numbers


class DrawnPruner(optuna.pruners.BasePruner):
    """Successive halving that leaves its marks on every trial, and then draws whether the trial goes on."""

    def __init__(self, space: SearchSpace, rng: np.random.Generator) -> None:
        self._halving = build_pruner("asha", space.fidelity)
        self._rng = rng

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        self._halving.prune(study, trial)
        return bool(self._rng.random() < PRUNED_SHARE)


class FakeTrainer:
    """Reports a rising accuracy at every mark at once; a share of the trainings fails."""

    def __init__(self, seed: int, failed_share: float = 0.0) -> None:
        self._rng = np.random.default_rng(seed)
        self._failed_share = failed_share

    def __call__(self, task: TrainTask) -> Iterator[HistoryPoint | TrainResult]:
        end = self._rng.uniform(0.75, 0.93)
        for length in (task.n_planned_images, *task.further_lengths):
            marks = [*range(task.report_every_images, length, task.report_every_images), length]
            history = tuple(_point(mark, end * (0.9 + 0.1 * mark / length)) for mark in marks)
            yield from history
            if self._rng.random() < self._failed_share:
                raise TrainingFailed("error", f"made up at {end:.12f}")
            yield TrainResult(history, best_point(history), length, 12.3, 11.1, "end", 712.3)


def _point(n_images: int, accuracy: float) -> HistoryPoint:
    return HistoryPoint(n_images, n_images / 1234.5, 0.00123456789, 1.2 - accuracy, accuracy, 1.1 - accuracy, accuracy)


def read_fashion_space() -> SearchSpace:
    """The space that ships for Fashion-MNIST, without its portfolio: no trial shall wait in front of the sampler."""
    space = space_from(SHIPPED_SPACES / "fashion-mnist.toml", (28, 28, 1), 10)
    return dataclasses.replace(space, portfolio=())


def make_trials(space: SearchSpace, n_trials: int) -> list[FrozenTrial]:
    """Random trials as `Objective` leaves them: about a third complete, half pruned, a tenth infeasible, few failed."""
    sampler, pruner = optuna.samplers.RandomSampler(seed=0), DrawnPruner(space, np.random.default_rng(0))
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    space = dataclasses.replace(
        space, limits=Limits(max_parameters=MAX_PARAMETERS, max_multiply_adds=space.limits.max_multiply_adds * 10)
    )
    objective = Objective(space, FakeTrainer(0, FAILED_SHARE), site(), 0, build_rungs("asha", space.fidelity))
    study.optimize(objective, n_trials=n_trials, catch=(TrainingFailed,))
    return study.get_trials()


def site() -> TrainingSite:
    return TrainingSite(Path("unused"), 72.9, 90.0, 50_000, memory_limit_mb=None)


def fill_database(path: Path, trials: Sequence[FrozenTrial], n_trials: int) -> None:
    """A database of `n_trials`: these first, as many as fit, then copies of them."""
    with opened(path) as storage:
        _study_in(storage).add_trials(trials[:n_trials])
    with closing(sqlite3.connect(path)) as connection, connection:
        for start in range(len(trials), n_trials, len(trials)):
            _copy_trials(connection, start, min(len(trials), n_trials - start))


def _copy_trials(connection: sqlite3.Connection, start: int, n_copies: int) -> None:
    """Append copies of the first trials, whose ids run from 1, to a study that has `start`."""
    for table, own_id in OPTUNA_TABLES.items():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        changed = {own_id: "NULL"} | {name: f"{name} + {start}" for name in ("trial_id", "number")}
        values = ", ".join(changed.get(column, column) for column in columns)
        connection.execute(f"INSERT INTO {table} SELECT {values} FROM {table} WHERE trial_id <= {n_copies}")


def _study_in(storage: StudyStorage) -> optuna.Study:
    return optuna.create_study(study_name="growth", storage=storage, direction="maximize", load_if_exists=True)


@contextmanager
def opened(path: Path) -> Iterator[StudyStorage]:
    """The product's storage; when the block ends, everything lies in the one file."""
    storage = open_storage(f"sqlite:///{path}")
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


# --- measuring


class Timings:
    """Wall and processor seconds by the name of what took them."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = defaultdict(list)
        self.processor: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall[name].append(time.perf_counter() - wall)
        self.processor[name].append(time.process_time() - processor)


class LapReporter(Reporter):
    """Measures from the end of one trial to the end of the next."""

    def __init__(self, timings: Timings, name: str) -> None:
        self._timings = timings
        self._name = name
        self._lap = None

    def advance(self, progress: SearchProgress) -> None:
        if self._lap is not None:
            self._lap.__exit__(None, None, None)
        self._lap = self._timings.measure(self._name)
        self._lap.__enter__()


def measure_steps(study: optuna.Study, space: SearchSpace, timings: Timings, *, looks: bool) -> None:
    """What a trial consists of, one by one. looks: also what reads all trials, which no sampler changes."""
    rung = space.fidelity.first_rung_images
    for _ in range(N_REPEATS):
        with timings.measure("ask, suggest"):
            trial = study.ask()
            with together(trial):
                space.suggest(trial)
        with timings.measure("report, should_prune"):
            trial.report(0.8, rung)
            trial.should_prune()
        with timings.measure("tell"):
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        if looks:
            with timings.measure("count_by_state"):
                count_by_state(study)
            with timings.measure("read_trials"):
                read_trials(study)


def measure_whole(
    study: optuna.Study,
    storage: StudyStorage,
    space: SearchSpace,
    folder: Path,
    timeout: float | None,
    timings: Timings,
) -> None:
    """The product's own search phase with a trainer that takes no time."""
    n_trials = len(study.get_trials(deepcopy=False)) + N_REPEATS + 1
    config = StudyConfig("growth", trials=n_trials, timeout=timeout, dataset="digits", workers=1, studies_dir=folder)
    name = "whole trial" if timeout is None else "whole trial, --timeout"
    reporter, stop = LapReporter(timings, name), threading.Event()
    context = read_context(config, find_data("digits", None), Clock(timeout), reporter, stop)
    context = dataclasses.replace(context, space=space)
    final = context.final_round(SimpleNamespace(train=FakeTrainer(n_trials), predict=None))
    publisher = DashboardPublisher(study, context.files, n_trials, context.rungs)
    search(context, OpenStudy(study, storage, publisher, workers=None), final, None, n_trials)


def measure_study(storage: StudyStorage, sampler: str, space: SearchSpace, folder: Path) -> Timings:
    """All figures of one sampler in one storage. The whole trial is measured with the product's sampler only."""
    timings, is_default = Timings(), sampler == StudyConfig("growth").sampler
    storage.hold_trials()
    study = create_or_resume(StudyConfig("growth", sampler=sampler), space, storage)
    storage.budget = math.inf  # the study is at its end; each measurement adds a trial
    space.suggest(study.ask())  # the first one imports and allocates
    measure_steps(study, space, timings, looks=is_default)
    if is_default:
        for timeout in (None, LONG_SECONDS):
            measure_whole(study, storage, space, folder, timeout, timings)
    return timings


def measure_resumes(database: Path, space: SearchSpace) -> Timings:
    """Opening a stored study and reading every trial of it once."""
    timings = Timings()
    for _ in range(N_RESUMES):
        with timings.measure("open a stored study"), opened(database) as storage:
            storage.hold_trials()
            create_or_resume(StudyConfig("growth"), space, storage)
    return timings


def measure_size(trials: Sequence[FrozenTrial], n_trials: int, folder: Path, space: SearchSpace) -> list[dict]:
    """Everything at one size."""
    filled, used = folder / "filled.db", folder / "growth" / "study.db"  # used: where the pipeline looks for it
    used.parent.mkdir()
    fill_database(filled, trials, n_trials)
    rows = _rows(measure_resumes(filled, space), n_trials, "SQLite", "tpe")
    for sampler in ("tpe", "random"):
        shutil.copy(filled, used)
        with opened(used) as storage:
            rows += _rows(measure_study(storage, sampler, space, folder), n_trials, "SQLite", sampler)
    return rows


def _rows(timings: Timings, n_trials: int, storage: str, sampler: str) -> list[dict]:
    return [
        {
            "step": step,
            "storage": storage,
            "sampler": sampler,
            "n_trials": n_trials,
            "n": len(timings.wall[step]),
            "wall_ms": _quantiles(timings.wall[step]),
            "processor_ms": _quantiles(timings.processor[step]),
        }
        for step in timings.wall
    ]


def _quantiles(seconds: Sequence[float]) -> list[float]:
    """10th percentile, median, 90th percentile, in milliseconds."""
    return [round(float(q) * 1000, 3) for q in np.quantile(seconds, (0.1, 0.5, 0.9))]


# --- the table


def table_of(rows: Sequence[dict]) -> str:
    sizes = sorted({row["n_trials"] for row in rows})
    cases = list(dict.fromkeys((row["step"], row["storage"], row["sampler"]) for row in rows))
    found = {(row["step"], row["storage"], row["sampler"], row["n_trials"]): row for row in rows}
    lines = [
        f"| ms each | storage | sampler | {' | '.join(f'{size:,} trials' for size in sizes)} | growth |",
        f"| --- | --- | --- | {'---: | ' * (len(sizes) + 1)}".rstrip(),
    ]
    for case in sorted(cases):
        of_case = [found[*case, size] for size in sizes]
        growth = of_case[-1]["processor_ms"][1] / of_case[0]["processor_ms"][1]
        lines.append(f"| {' | '.join(case)} | {' | '.join(map(_cell, of_case))} | {growth:.1f} x |")
    return "\n".join(lines)


def _cell(row: dict) -> str:
    low, median, high = row["wall_ms"]
    return f"{_short(median)} ({_short(low)} to {_short(high)})"


def _short(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 10 else f"{milliseconds:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000], help="sizes of the study")
    parser.add_argument("--out", type=Path, help="write all figures here, as JSON")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    rows = measure_sizes(sorted(options.trials))
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(table_of(rows))


def measure_sizes(sizes: Sequence[int]) -> list[dict]:
    space = read_fashion_space()
    trials = make_trials(space, min(sizes[-1], N_DIFFERENT))
    print(f"trials: {count_by_state_in_words(trials)}; n = {N_REPEATS} a cell, {N_RESUMES} for opening\n", flush=True)
    rows: list[dict] = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure_size(trials, size, Path(folder), space)
    return rows


def count_by_state_in_words(trials: Sequence[FrozenTrial]) -> str:
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return ", ".join(f"{n} {state}" for state, n in count_by_state(study).items() if n)


if __name__ == "__main__":
    main()
