"""The whole of a run, composed: data, study, search, finalists, retraining, test, report. From Python: `run_study`,
`open_objective`."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import optuna

from fmnist.baselines.catalog import BASELINES
from fmnist.data.find import find_data
from fmnist.data.images import LabelledImages
from fmnist.data.source import DataSource
from fmnist.data.split import Split, load_train, save_split
from fmnist.errors import UserError
from fmnist.metrics.intervals import wilson_95
from fmnist.recipe import Recipe
from search.callbacks.base import Callback, CallbackList
from search.callbacks.terminal import DETAIL, RESULT, BestTrial, FinalistRow, SearchProgress, Terminal
from search.config import StudyConfig
from search.dashboard.publish import DashboardPublisher, publish_report
from search.dashboard.server import beside_run, dashboard_command
from search.format import count
from search.provenance import (
    as_arguments,
    command_with_exports,
    describe_data,
    describe_environment,
    memory_limit_of,
    study_identity,
    threads_per_worker,
    trains_in_bfloat16,
)
from search.records.files import StudyFiles
from search.records.history_csv import write_history
from search.records.io import read_json, write_arrays, write_json, write_text
from search.records.ledger import Stopwatch
from search.records.models import FINISHED_STATES, ConfirmRecord, DataRecord, EvaluationRecord
from search.refit.baselines import fit_baselines, missing_baselines
from search.refit.confirmation import EarlyConfirmation, confirm, n_confirmed
from search.refit.evaluation import evaluate
from search.refit.exports import make_exports, missing_exports
from search.refit.finalists import N_FINALISTS, N_FINALISTS_AGAINST_TIME, choose_finalists, sure_finalists
from search.refit.retraining import deliver, n_refitted, refit
from search.refit.round import FinalRound
from search.refit.schedule import Clock, full_training_images
from search.report.page import report_study
from search.report.text import uneven_classes
from search.results import FinishedStudy, balance_of
from search.space.default import own_space
from search.space.schema import read_space_text, space_of
from search.space.space import SearchSpace
from search.study.locks import hold, hold_storage, require_free
from search.study.loop import run_trials
from search.study.objective import Keep, Objective
from search.study.retry import RetryPolicy
from search.study.storage import look_into_storage, open_storage
from search.study.strategy import build_rungs
from search.study.study import check_identity, create_or_resume, find_study, require_identity, storage_url
from search.study.trials import count_by_state, read_best, read_speeds, read_trials
from search.worker.local import WorkerProcesses
from search.worker.tasks import Interrupted, Trainer, TrainingSite

if TYPE_CHECKING:
    from search.callbacks.mlflow import MLflowRuns

N_SAMPLES_PER_CLASS = 10
MANY_PICTURES = 5_000  # files, of which it is told that they are read: seconds go by
_MIRRORED = "training mirrors images left-right, as --flip says"
_NOT_MIRRORED = (
    "training does not mirror images: pass --flip where a mirror image still shows its class, as most photographs do, "
    "and digits, letters and signs do not"
)


def run_study(
    config: StudyConfig,
    terminal: Terminal | None = None,
    stop: threading.Event | None = None,
    *,
    search_only: bool = False,
    callbacks: Sequence[Callback] = (),
    worker_processes: Callable[[Path, threading.Event], WorkerProcesses] = WorkerProcesses,
) -> FinishedStudy | None:
    """Do whatever the study still lacks, as `python -m search.run` does. Returns the finished study's records, whose
    properties are the figures of its report; None with search_only, and where another machine of the study confirms
    and retrains.

    watchers: hear of every training, as the terminal does. stop: set it to end the run; then Interrupted is raised and
    everything finished is kept. Raises UserError for input that cannot be used, SearchStopped or TrainingFailed where
    training fails again and again.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    clock = Clock(config.timeout)
    terminal, stop = terminal or Terminal(), stop or threading.Event()
    if config.space_path is not None:  # before many pictures are read
        read_space_text(config.space_path)
    source = find_data(config.dataset, config.data_dir, config.reading(_reading_watcher(terminal, stop)))
    files = StudyFiles(config.folder)
    if config.storage is not None:  # before anything is written: it may not answer
        open_storage(config.storage)
    run = _Run(config, files, source, clock, terminal, callbacks, stop, worker_processes)
    with hold(files):
        return run.whole(search_only)


@contextmanager
def open_objective(config: StudyConfig, callback: Callback | None = None) -> Iterator[Objective]:
    """The search's objective for a study of your own, with any sampler, pruner and storage of Optuna's that maximises;
    nothing else of this project is needed:

        with open_objective(StudyConfig(study="mine", dataset="digits")) as objective:
            study = optuna.create_study(direction="maximize", pruner=objective.pruner)
            study.optimize(objective, n_trials=20, n_jobs=2, catch=TrainingFailed)

    A training that comes to nothing (weights that diverge, memory, a killed process) raises TrainingFailed; `catch`
    lets the study go on. The value is selection accuracy; the test set stays out of reach. Of the configuration,
    images, space, seed, limits and machine count, and the pruner for the rungs ("none": one); `workers` should be
    study.optimize's n_jobs, which share the cores. Nothing is written to the study's folder. Raises UserError for
    input that cannot be used.
    """
    source = find_data(config.dataset, config.data_dir, config.reading())
    split = load_train(source, config.seed)
    space = space_of(*_space_text(config, source, len(split.train)), source.image_shape, len(source.class_names))
    with tempfile.TemporaryDirectory() as folder:
        save_split(split, Path(folder, "split"))
        stop = threading.Event()
        workers = WorkerProcesses(Path(folder, "worker.log"), stop)
        site = _site(config, describe_data(config, source, split), Path(folder, "split"))
        try:
            yield _objective(config, space, workers.train, site, callback=callback)
        finally:
            stop.set()


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What a run knows of its study before it writes anything."""

    config: StudyConfig
    files: StudyFiles
    split: Split
    space: SearchSpace
    data: DataRecord
    n_test_images: int
    study: optuna.Study | None  # as it is in the storage, to be read; None: the run would begin it
    is_finished: bool  # its test set has been opened, here or on another machine

    def site(self, split_folder: Path) -> TrainingSite:
        return _site(self.config, self.data, split_folder)

    def objective(self, trainer: Trainer, site: TrainingSite, seconds_left: Callable[[], float | None]) -> Objective:
        return _objective(self.config, self.space, trainer, site, seconds_left=seconds_left)


def prepare(config: StudyConfig, terminal: Terminal, stop: threading.Event, scratch: Path) -> Prepared:
    """Everything that `run_study` does before it writes, with what it says and refuses. Nothing is written but into the
    folder `scratch`. Raises UserError."""
    config = dataclasses.replace(config, tensorboard=None, mlflow=None)  # each makes its folder
    files = StudyFiles(config.folder)
    require_free(files, _sqlite_file(config, files))
    if config.space_path is not None:
        read_space_text(config.space_path)
    storage = look_into_storage(storage_url(config, files), scratch)
    source = find_data(config.dataset, config.data_dir, config.reading(_reading_watcher(terminal, stop)))
    run = _Run(config, files, source, Clock(config.timeout), terminal, (), stop, WorkerProcesses)
    if storage is None:
        return run.prepared(None)
    try:
        return run.prepared(find_study(config.study, storage))
    finally:
        storage.engine.dispose()  # opened again where the study is read


def _sqlite_file(config: StudyConfig, files: StudyFiles) -> Path | None:
    """None where the trials are in another database, or at an address that says nothing."""
    if config.storage is None:
        return files.storage
    return Path(config.storage.removeprefix("sqlite:///")) if config.storage.startswith("sqlite:///") else None


class _Run:
    """One run of a study, phase by phase. Holds what the phases share."""

    def __init__(
        self,
        config: StudyConfig,
        files: StudyFiles,
        source: DataSource,
        clock: Clock,
        terminal: Terminal,
        callbacks: Sequence[Callback],
        stop: threading.Event,
        worker_processes: Callable[[Path, threading.Event], WorkerProcesses],
    ) -> None:
        self._config = config
        self._files = files
        self._source = source
        self._clock = clock
        self._terminal = terminal
        self._stop = stop
        self._worker_processes = worker_processes
        # Here, while the study has no folder yet: what is wrong with space or images leaves none.
        self._split = load_train(source, config.seed)
        self._space_text, where = _space_text(config, source, len(self._split.train))
        self._space = space_of(self._space_text, where, source.image_shape, len(source.class_names))
        self._data = describe_data(config, source, self._split)
        self._callback = CallbackList([terminal, *_tensorboard(config), *callbacks])
        self._mlflow = _mlflow(config)

    def prepared(self, study: optuna.Study | None) -> Prepared:
        """Refuse what `whole` would refuse at its beginning, and change nothing."""
        if not self._config.is_named_data:
            self._tell_of_own_images()
        self._refuse_more_trials_after_test()
        self._refuse_baselines_after_test()
        require_identity(self._files, study, study_identity(self._config, self._source, self._space, self._split))
        self._refuse_missing_storage()
        is_finished = self._files.test.exists()
        if study is not None:
            self._study = study
            is_finished = self._is_finished_elsewhere() or is_finished
        n_test = len(self._source.test_digests)
        return Prepared(self._config, self._files, self._split, self._space, self._data, n_test, study, is_finished)

    def whole(self, search_only: bool) -> FinishedStudy | None:
        if not self._config.is_named_data:
            self._tell_of_own_images()
        self._refuse_more_trials_after_test()
        if self._files.test.exists():
            opened = read_json(EvaluationRecord, self._files.test).opened
            self._terminal.say(
                f"study {self._config.study} is finished (test set opened {opened}): rebuilding its report"
            )
            self._tell_of_retrainings_not_made()
        self._refuse_baselines_after_test()
        identity = study_identity(self._config, self._source, self._space, self._split)
        require_identity(self._files, None, identity)
        self._refuse_missing_storage()
        self._storage = open_storage(storage_url(self._config, self._files))
        self._storage.patience = RetryPolicy(self._terminal.warn, self._stop)
        with nullcontext() if self._config.storage is None else hold_storage(self._storage):
            try:
                # What is refused leaves nothing in the folder, where it would be refused again after its correction.
                require_identity(self._files, find_study(self._config.study, self._storage), identity)
                check_identity(self._files, identity)
                self._files.remove_half_written()
                if not self._files.test.exists():  # they load for seconds, beside what comes here until the first trial
                    self._workers = self._worker_processes(self._files.worker_log, self._stop)
                self._write_beginnings()
                self._study = create_or_resume(self._config, self._space, self._storage, identity)
                self._refuse_missing_trials()
                return self._whole(search_only)
            finally:  # whoever called from Python may go on for long
                self._storage.remove_session()
                self._storage.engine.dispose()

    def _whole(self, search_only: bool) -> FinishedStudy | None:
        if self._is_finished_elsewhere():
            return None
        if self._mlflow is not None:
            self._mlflow.add_missing(self._study)
        if self._storage.is_shared:
            self._study.set_user_attr(f"supervisor {self._name()}", describe_environment(self._config))
        rungs = build_rungs(self._config.pruner, self._space.fidelity)
        self._publisher = DashboardPublisher(self._study, self._files, self._config.trials, rungs)
        with self._publisher.open(), self._dashboard():
            return self._rest(search_only)

    def _dashboard(self) -> AbstractContextManager[None]:
        if not self._config.dashboard:
            return nullcontext()
        return beside_run(self._files, self._config.storage, self._terminal.warn)

    def _rest(self, search_only: bool) -> FinishedStudy | None:
        if not self._files.test.exists() and not self._train_everything(search_only):
            return None
        if search_only:
            self._tell_what_the_search_came_to()
            return None
        self._tell_that_test_is_open()
        if not self._files.model.exists() and self._files.refit_model(0).exists():
            deliver(self._files)
        self._export()
        return self._report()

    def _tell_what_the_search_came_to(self) -> None:
        standing = self._standing()
        best = standing.best
        found = f"; best {best.accuracy:.2%}, trial {best.number}: {best.network}" if best else ""
        self._terminal.show_result(
            f"the search is complete: {standing}{found}",
            {"trials": dict(standing.counts), "best": dataclasses.asdict(best) if best else None},
            {
                "next": "the same command without --search-only confirms, retrains and opens the test set",
                "dashboard": self._show_command(),
            },
        )

    def _tell_of_own_images(self) -> None:
        """What was found, decided and noticed: whoever brings images has to know before hours go by."""
        data, n_test = self._data, len(self._source.test_digests)
        height, width, channels = data.image_shape
        self._terminal.say(
            f"{data.dataset}: {len(data.class_names)} classes, {sum(data.n_images.values()):,} training images and "
            f"{n_test:,} test images of {height} x {width} pixels, {'grey' if channels == 1 else 'in colour'}"
        )
        notes = [*data.notes, *data.duplicates.sentences()]
        balance = balance_of(data)
        if balance.is_uneven:
            notes.append(uneven_classes(balance))
        if self._config.space_path is None:
            notes.append(_MIRRORED if self._config.flip else _NOT_MIRRORED)
        for note in notes:
            self._terminal.say(note)

    def _tell_that_test_is_open(self) -> None:
        """To the machines that share the study."""
        test = read_json(EvaluationRecord, self._files.test)
        missing = [baseline.name for baseline in missing_baselines(self._files)]
        opened = {"by": self._name(), "opened": test.opened, "trials": test.n_trials_asked, "lacks": missing}
        if self._study.user_attrs.get("test_opened") != opened:
            self._study.set_user_attr("test_opened", opened)

    def _name(self) -> str:
        """Of this machine, and where on it the study's files are."""
        return f"{socket.gethostname()}:{self._files.root.absolute()}"

    def _is_finished_elsewhere(self) -> bool:
        """Whether another machine of the study has opened its test set. Raises UserError where trials or baselines were
        to be added after that."""
        opened = self._study.user_attrs.get("test_opened")
        if opened is None or self._files.test.exists():
            return False
        if self._config.trials > opened["trials"]:
            self._refuse_more_trials(opened["trials"])
        if self._config.baselines:
            self._refuse_baselines(opened["lacks"])
        self._terminal.say(
            f"study {self._config.study} is finished: its model and report are at {opened['by']} "
            f"(test set opened {opened['opened']}){'; it is exported there' if self._config.export else ''}"
        )
        return True

    def _refuse_more_trials_after_test(self) -> None:
        """A search that went on after its test score was seen could be steered by it."""
        if not self._files.test.exists():
            return
        test = read_json(EvaluationRecord, self._files.test)
        if self._config.trials > test.n_trials_asked:
            self._refuse_more_trials(test.n_trials_asked)

    def _refuse_more_trials(self, n_trials_asked: int) -> NoReturn:
        raise UserError(
            f"study {self._config.study} has opened its test set (with --trials {n_trials_asked}), so it takes no more "
            f"trials; start another with --study NAME, and use --search-only while a study may still grow"
        )

    def _refuse_baselines_after_test(self) -> None:
        """The test set is opened once, for all that it is to score."""
        if self._config.baselines and self._files.test.exists():
            self._refuse_baselines([baseline.name for baseline in missing_baselines(self._files)])

    def _refuse_baselines(self, missing: Sequence[str]) -> None:
        if missing:
            raise UserError(
                f"study {self._config.study} has opened its test set without the baselines {', '.join(missing)}, so it "
                f"takes none any more; leave --baselines out, or start another with --study NAME"
            )

    def _refuse_missing_storage(self) -> None:
        """An empty storage in its place would begin the search anew, beside finalists of the old one."""
        if self._config.storage is None and self._files.ledger.exists() and not self._files.storage.exists():
            raise UserError(
                f"{self._files.storage} is missing, and the study's trials with it; restore it, or start a new study "
                f"with --study NAME"
            )

    def _refuse_missing_trials(self) -> None:
        """Trials deleted in a dashboard, say: others by their numbers would be taken for those that were confirmed."""
        if self._files.ledger.exists() and not any(count_by_state(self._study)[state] for state in FINISHED_STATES):
            raise UserError(
                f"the trials of study {self._config.study} are gone, but {self._files.root} has what came of them; "
                f"restore them, or start a new study with --study NAME"
            )

    def _tell_of_retrainings_not_made(self) -> None:
        n_made = len(self._files.read_refit_records())
        if self._config.refit_seeds > n_made:
            self._terminal.say(
                f"it has {count(n_made, 'retraining')}: --refit-seeds {self._config.refit_seeds} adds none to a "
                f"finished study"
            )

    def _write_beginnings(self) -> None:
        if not self._files.data.exists():  # the last to be written: where it is, all are
            write_arrays(self._files.samples, images=_samples(self._split.train, len(self._source.class_names)))
            write_text(self._files.space, self._space_text)
            write_json(self._files.data, self._data)
        is_tested = self._files.test.exists()  # to build its report again, or to export it, makes no study
        if not (is_tested and self._files.environment.exists()):
            write_json(self._files.environment, describe_environment(self._config))
        if not (is_tested and self._files.command.exists()):
            has_baselines = self._config.baselines or bool(self._files.read_baseline_records())
            arguments = as_arguments(dataclasses.replace(self._config, baselines=has_baselines, dashboard=False))
            command = shlex.join(["python", "-m", "search.run", *arguments])
            write_text(self._files.command, f"{command}\n")

    def _train_everything(self, search_only: bool) -> bool:
        """Returns whether the whole of it was done here: another machine may confirm and retrain instead."""
        save_split(self._split, self._files.split)
        final = self._final_round()
        try:
            with EarlyConfirmation(final) as early:
                self._search(None if search_only or self._storage.is_shared or self._config.timeout else early)
                return search_only or self._finish_if_leading(final, early)
        finally:
            shutil.rmtree(self._files.split)

    def _finish_if_leading(self, final: FinalRound, early: EarlyConfirmation) -> bool:
        with self._storage.leading(self._config.study) as leads:

            def is_mine() -> bool:
                if leads():
                    return not self._is_finished_elsewhere()
                self._terminal.say(
                    f"the search is complete; {self._study.user_attrs.get('final_round', 'another machine')} confirms "
                    f"and retrains, and the report will be there. Nothing is left to do here.",
                    RESULT,
                )
                return False

            if not is_mine():
                return False
            self._study.set_user_attr("final_round", self._name())
            if not self._finish(final, early, is_mine):
                return False
            self._tell_that_test_is_open()
            return True

    # --- search

    def _search(self, early: EarlyConfirmation | None) -> None:
        """early: takes the workers for which no trial is left. However it ends, the table of trials is written."""
        try:
            self._run_trials(early)
        finally:
            with suppress(Interrupted):  # the storage is away too
                write_history(self._files, read_trials(self._study))
        if self._mlflow is not None:
            self._mlflow.add_missing(self._study)

    def _run_trials(self, early: EarlyConfirmation | None) -> None:
        standing = self._standing()
        if standing.n_finished >= self._config.trials:
            self._terminal.say(f"the search is complete: {standing}")
            return
        self._terminal.say(f"study {self._config.study} in {self._files.root}; dashboard: {self._show_command()}")
        self._say_details()
        self._terminal.begin("trials", self._config.trials, standing.n_finished, standing)
        stopwatch = Stopwatch(self._files, "search", self._config.workers)

        def after_trial(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            stopwatch.lap()
            if self._mlflow is not None:
                self._mlflow.add(study, trial)
            self._terminal.advance(self._standing())
            self._publisher.update()

        def when_idle() -> None:
            if early is not None:
                early.begin_one(sure_finalists(read_trials(self._study), self._space.fidelity.accuracy_per_doubling))

        run_trials(
            self._study,
            _objective(
                self._config,
                self._space,
                self._workers.train,
                self._site(),
                seconds_left=self._seconds_left_for_search,
                callback=self._callback,
                keep=self._publisher.keep,
            ),
            self._storage,
            n_trials=self._config.trials,
            n_jobs=self._config.workers,
            stop=self._stop,
            timeout=lambda: self._seconds_left_for_search() == 0,
            after_trial=after_trial,
            when_idle=when_idle,
            say=self._terminal.warn,
        )
        if early is not None:
            early.search_has_ended()

    def _standing(self) -> SearchProgress:
        counts, seconds_left = count_by_state(self._study), self._seconds_left_for_search()
        best = next(iter(read_best(self._study, 1)), None)
        if best is None:
            return SearchProgress(counts, None, seconds_left)
        n_selection = self._data.n_images["selection"]
        interval = wilson_95(round(best.value * n_selection), n_selection)
        network = str(Recipe.from_dict(best.recipe))
        return SearchProgress(counts, BestTrial(best.number, best.value, interval, network), seconds_left)

    def _say_details(self) -> None:
        config, site = self._config, self._site()
        rungs = ", ".join(f"{n:,}" for n in build_rungs(config.pruner, self._space.fidelity))
        machine = ", ".join(f"{name} {value}" for name, value in describe_environment(config).items())
        for text in (
            f"rungs: {rungs} training images; sampler {config.sampler}, pruner {config.pruner}, seed {config.seed}",
            f"{config.workers} workers of {site.n_threads} threads, each up to {site.memory_limit_mb:,.0f} MB; "
            f"TensorFlow's own words: {self._files.worker_log}",
            machine,
        ):
            self._terminal.say(text, DETAIL)

    def _seconds_left_for_search(self) -> float | None:
        if self._config.timeout is None:
            return None
        n_epochs = self._space.longest_training
        images = full_training_images(n_epochs, self._data, self._config.refit_seeds, self._config.workers)
        return self._clock.seconds_left_for_search(images, read_speeds(self._study, N_FINALISTS_AGAINST_TIME))

    def _site(self) -> TrainingSite:
        return _site(self._config, self._data, self._files.split)

    # --- after the search

    def _final_round(self) -> FinalRound:
        return FinalRound(
            files=self._files,
            site=self._site(),
            data=self._data,
            study_seed=self._config.seed,
            trainer=self._workers.train,
            predict=self._workers.predict,
            workers=self._config.workers,
            clock=self._clock,
            stop=self._stop,
            callback=self._callback,
        )

    def _finish(self, final: FinalRound, early: EarlyConfirmation, is_mine: Callable[[], bool]) -> bool:
        """Returns whether it came to its end. is_mine: whether this machine may still open the test set; an outage of
        the database may have let another one take over."""
        trials = read_trials(self._study)
        n_seeds, speeds = self._config.refit_seeds, read_speeds(self._study, N_FINALISTS_AGAINST_TIME)
        if not speeds and self._config.timeout is not None:
            raise UserError(
                f"--timeout {self._config.timeout:g} is too short: no trial got as far as its first look at the "
                f"selection split; raise it"
            )
        speed = min(speeds, default=1.0)  # without a timeout nothing depends on it
        against_time = self._config.timeout is not None
        n_most = N_FINALISTS_AGAINST_TIME if against_time else N_FINALISTS
        price = self._space.fidelity.accuracy_per_doubling
        finalists = choose_finalists(trials, price, n_most, against_time=against_time)
        n_finalists = len(finalists)
        self._announce(f"confirming {count(n_finalists, 'finalist')}", n_finalists, n_confirmed(final, finalists))
        winner = confirm(final, finalists, n_seeds, speed, early)[0]
        self._announce(
            f"retraining trial {winner.trial} with {count(n_seeds, 'seed')} on all images",
            n_seeds,
            n_refitted(final, winner),
        )
        refit(final, winner, n_seeds)
        if self._config.baselines:
            n_baselines = len(BASELINES)
            n_done = n_baselines - len(missing_baselines(self._files))
            names = [baseline.name for baseline in BASELINES]
            self._announce(f"fitting {n_baselines} baselines", n_baselines, n_done, names)
            fit_baselines(final, memory_limit_of(self._config, n_processes=1))
        if not is_mine():
            return False
        self._announce("opening the test set")
        evaluate(final, self._source, self._config.trials)
        return True

    def _announce(self, phase: str, n_total: int = 0, n_done: int = 0, labels: Sequence[str] = ()) -> None:
        if self._stop.is_set():
            raise Interrupted
        self._terminal.say(phase)
        self._terminal.begin(phase, n_total, n_done, counts_trainings=True, labels=labels)
        self._publisher.set_phase(phase)

    def _export(self) -> None:
        """Make the formats that are asked for and lacking. The study's command then has them too."""
        names = self._config.export
        missing = missing_exports(self._files, names)
        if missing:
            self._announce(f"exporting {self._files.model.name} as {', '.join(missing)}", len(missing), labels=missing)
            n_threads = self._config.workers * threads_per_worker(self._config)
            make_exports(self._files, self._source, names, n_threads, self._stop, self._callback)
            write_text(self._files.command, command_with_exports(self._files) + "\n")

    def _report(self) -> FinishedStudy:
        study_result = report_study(self._files, self._study)
        publish_report(self._study, study_result)
        self._terminal.show_finalists([_finalist_row(study_result, record) for record in study_result.confirmed])
        interval, n_seeds = study_result.test_interval, len(study_result.test_accuracies)
        of = f"mean of {count(n_seeds, 'seed')}" if n_seeds > 1 else "one retraining"
        self._terminal.show_result(
            f"test accuracy {study_result.test_mean:.2%}, {of}, 95 % interval {interval.low:.2%} to {interval.high:.2%}",
            {
                "test_accuracy": study_result.test_mean,
                "test_accuracies": list(study_result.test_accuracies),
                "test_wilson_95": [interval.low, interval.high],
                "trial": study_result.winner.trial,
            },
            {
                "report": str(self._files.report_html),
                "model": str(self._files.model),
                "dashboard": self._show_command(),
                "predict": shlex.join(["python", "-m", "fmnist.predict", str(self._files.model), "IMAGE"]),
            },
        )
        return study_result

    def _show_command(self) -> str:
        return dashboard_command(self._files, self._config.storage)


def _tensorboard(config: StudyConfig) -> list[Callback]:
    if config.tensorboard is None:
        return []
    from search.callbacks.tensorboard import TensorBoardRuns  # an extra

    return [TensorBoardRuns(config.tensorboard / config.study)]


def _mlflow(config: StudyConfig) -> MLflowRuns | None:
    if config.mlflow is None:
        return None
    from search.callbacks.mlflow import MLflowRuns  # an extra

    return MLflowRuns(config.mlflow, config.study)


def _objective(
    config: StudyConfig,
    space: SearchSpace,
    trainer: Trainer,
    site: TrainingSite,
    *,
    seconds_left: Callable[[], float | None] = lambda: None,
    callback: Callback | None = None,
    keep: Keep = lambda trial, outcome: None,
) -> Objective:
    return Objective(
        space,
        trainer,
        site,
        config.seed,
        build_rungs(config.pruner, space.fidelity),
        max_parameters=config.max_parameters,
        seconds_left=seconds_left,
        callback=callback,
        keep=keep,
    )


def _site(config: StudyConfig, data: DataRecord, split_folder: Path) -> TrainingSite:
    return TrainingSite(
        split_folder=split_folder,
        pixel_mean=data.pixel_mean,
        pixel_std=data.pixel_std,
        n_train_images=data.n_images["train"],
        memory_limit_mb=memory_limit_of(config, config.workers),
        n_threads=threads_per_worker(config),
        bfloat16=trains_in_bfloat16(config),
    )


def _space_text(config: StudyConfig, source: DataSource, n_train: int) -> tuple[str, object]:
    """The text of the space file, and its name."""
    if config.space_path is not None:
        return read_space_text(config.space_path), config.space_path
    text = own_space(source.image_shape, len(source.class_names), n_train, flip=config.flip)
    return text, "the default space"


def _finalist_row(study_result: FinishedStudy, record: ConfirmRecord) -> FinalistRow:
    return FinalistRow(
        trial=record.trial,
        origin=record.origin,
        search_accuracy=record.search_accuracy,
        confirm_accuracy=record.confirm_accuracy,
        interval=study_result.confirm_interval(record),
        network=str(Recipe.from_dict(record.recipe)),
        is_winner=record.trial == study_result.winner.trial,
    )


def _reading_watcher(terminal: Terminal, stop: threading.Event) -> Callable[[int, int], None]:
    """Says once that many pictures are read, and ends that where the run is to stop."""
    has_told = threading.Event()

    def watch(n_read: int, n_files: int) -> None:
        if stop.is_set():
            raise Interrupted
        if n_files >= MANY_PICTURES and not has_told.is_set():
            has_told.set()
            terminal.say(f"reading {n_files:,} pictures")

    return watch


def _samples(train: LabelledImages, n_classes: int) -> np.ndarray:
    """The first images of each class: uint8 (n_classes, up to N_SAMPLES_PER_CLASS, height, width, channels)."""
    by_class = [np.flatnonzero(train.labels == label)[:N_SAMPLES_PER_CLASS] for label in range(n_classes)]
    n_each = min(len(indices) for indices in by_class)
    return np.stack([train.images[indices[:n_each]] for indices in by_class])
