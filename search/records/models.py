"""What a study writes and reads back, and where: sole owner of the paths under `studies/<name>/`.

Files are written beside their place and renamed, so that a reader never meets half a file. Trials live in Optuna's
storage (see `search.study.study`); everything else of a study is a file here. Reading needs neither TensorFlow nor a storage
connection, except for the trials.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from fmnist.baselines.catalog import BASELINES, Baseline
from fmnist.data.duplicates import Duplicates
from fmnist.errors import UserError
from fmnist.export.formats import FORMATS, HALF_WRITTEN, ExportRecord
from fmnist.training.history import HistoryPoint

T = TypeVar("T")

PHASES = ("search", "confirm", "refit", "baselines", "evaluate", "exports")
WORKERS_SUMMED = "search, workers summed"  # in the ledger beside the phases


FINISHED_STATES = ("complete", "pruned", "failed", "infeasible")  # of a TrialRecord


@dataclass(frozen=True)
class TrialRecord:
    """One trial of the study, as the report sees it."""

    number: int
    state: str  # complete, pruned, failed, infeasible, running or waiting
    value: float | None  # best selection accuracy of a complete trial
    params: dict[str, Any]  # as suggested, by parameter name
    origin: str  # "sampler", or the name of the portfolio's configuration
    reason: str  # why it ended, in words: "trained to the end", "pruned at 20,000 images", ...
    recipe: dict[str, Any] | None = None  # Recipe.to_dict(); None if the trial never got that far
    history: tuple[HistoryPoint, ...] = ()
    best: HistoryPoint | None = None
    seconds: float = 0.0  # wall time of the trial
    seconds_in_steps: float = 0.0  # of these, in steps of learning and validation
    n_images: int = 0  # training images seen
    n_parameters: int | None = None
    multiply_adds: int | None = None  # per image, forward
    peak_memory_mb: float | None = None  # of the training process
    started: str | None = None  # ISO 8601, UTC
    finished: str | None = None  # the same
    rung_images: int = 0  # length of the longest rung that it was trained on to the end
    rung_accuracy: float | None = None  # best selection accuracy there
    out_of_time: bool = False  # the clock ended it, nobody's judgement


@dataclass(frozen=True)
class ConfirmRecord:
    """A finalist, trained on the training split and scored on the confirmation split."""

    trial: int  # number of the trial whose recipe this is
    origin: str  # as in TrialRecord
    recipe: dict[str, Any]
    seed: int
    search_accuracy: float | None  # selection accuracy in the search; None if that trial did not complete
    selection_accuracy: float  # selection accuracy at the best point of this training
    confirm_accuracy: float  # confirmation accuracy of the same weights
    history: tuple[HistoryPoint, ...]
    best: HistoryPoint
    n_planned_images: int  # length of the schedule
    n_images: int  # training images seen
    seconds: float
    reason: str  # why the training ended
    peak_memory_mb: float
    seconds_beside_search: float = 0.0  # that a worker gave to it while the search's last trials still ran
    n_side_by_side: int = 1  # trainings at a time, as planned for its round


@dataclass(frozen=True)
class RefitRecord:
    """The winner, trained once more on all training images with one seed."""

    trial: int
    seed_index: int  # 0 to refit_seeds - 1; 0 is the delivered model
    seed: int
    history: tuple[HistoryPoint, ...]  # train figures only: nothing is held out
    n_planned_images: int  # length of the schedule
    n_images: int  # training images seen, less than planned where the rule stops before the schedule's end
    seconds: float
    peak_memory_mb: float
    rule: str  # how the length was chosen, in words
    n_stop_images: int | None = None  # where the schedule is cut short; None: nowhere
    n_threads: int = 1  # what a training computes depends on their number, in the last bits
    bfloat16: bool = False  # whether its steps convolved in bfloat16
    n_cut_images: int | None = None  # where the timeout ended it; None: it went as far as planned


@dataclass(frozen=True)
class Retraining:
    """One of the winner's trainings, as a BestRecipe has it."""

    seed: int
    n_threads: int
    test_accuracy: float | None = None  # None until the test set was opened
    n_cut_images: int | None = None  # where the timeout ended it; None: it went as far as planned


@dataclass(frozen=True)
class BestRecipe:
    """All that is needed to train a study's winner again, on the same images."""

    made_with: dict[str, str]  # package -> version
    study: str
    trial: int
    recipe: dict[str, Any]  # Recipe.to_dict()
    dataset: str  # "fashion-mnist" or "digits", else the path of the images
    data_checksums: dict[str, str]  # file -> md5
    image_size: int | None  # how images of one's own were read, see fmnist.data.source.Reading
    colour: str | None
    skip_unreadable: bool
    split_seed: int
    split_checksum: str  # the order of all training images depends on the split
    n_planned_images: int  # length of the schedule
    n_stop_images: int | None  # where it is cut short; None: nowhere
    bfloat16: bool
    retrainings: tuple[Retraining, ...]  # the first is the delivered model's


@dataclass(frozen=True)
class BaselineRecord:
    """A baseline, fitted once, or why it could not be."""

    name: str  # of one of fmnist.baselines.networks.BASELINES
    kind: str  # "network" or "classical"
    description: str  # what it is and how it learns, in words
    published_accuracy: float | None  # on the test set, by the notebook's own account; None: none is known
    seed: int
    reason: str  # why the fit ended, or how it or the prediction failed, in words
    seconds: float  # wall time of the fit, without the start of the process; until it failed, where it did
    n_images: int | None = None  # that it learned from
    n_parameters: int | None = None  # of a network
    n_epochs: int | None = None  # of a network's training
    peak_memory_mb: float | None = None  # of the process that fitted it
    failure: str | None = None  # its kind, as TrainingFailed has it; None where there was none
    trace: str = ""  # of the failed process, where it could send one


@dataclass(frozen=True, eq=False)
class BaselineOutcome:
    """A baseline and what it says about the test set."""

    record: BaselineRecord
    predicted: np.ndarray | None  # uint8 (n,): the class of each test image; None where it failed


@dataclass(frozen=True)
class DataRecord:
    """The data a study was made on."""

    dataset: str  # "fashion-mnist", "digits" or the folder's or file's name
    source: str  # where it was found
    checksums: dict[str, str]  # file -> md5
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]  # height, width, channels
    n_images: dict[str, int]  # "train", "selection", "confirmation", "test" (0 until opened)
    class_counts: dict[str, tuple[int, ...]]  # same keys -> images per class; no "test"
    pixel_mean: float  # of the training split, 0 to 255
    pixel_std: float
    split_checksum: str  # md5 of the three index arrays
    split_seed: int
    notes: tuple[str, ...] = ()  # sentences on the images: what was decided or noticed when they were read
    # None in studies from before their versions:
    duplicates: Duplicates | None = None
    test_checksum: str | None = None  # md5 over the test images' pixels and labels
    image_size: int | None = None  # as the study's options have them: how images of one's own were read
    colour: str | None = None
    skip_unreadable: bool = False
    background: float | None = None  # mean border pixel of the training split, 0 to 255; None in studies without it
    object_share: float | None = None  # as in fmnist.data.framing.Appearance
    contrast: float | None = None


@dataclass(frozen=True)
class ChangedTestScore:
    """How the delivered model fares on the test images once they are changed (see `fmnist.metrics.robustness`)."""

    kind: str
    change: str  # in words
    accuracy: float


@dataclass(frozen=True)
class TestRecord:
    """What the one opening of the test set gave, beside the arrays of `test.npz` (see `TestArrays`)."""

    __test__ = False  # not a pytest class

    opened: str  # ISO 8601, UTC
    n_images: int
    accuracies: tuple[float, ...]  # one per refit seed, in order of seed_index
    delivered_accuracy: float  # accuracy of best.keras, loaded in a fresh process without this project
    seconds: float
    flip_accuracies: tuple[float, ...] | None = None  # probabilities averaged over each image and its mirror image, one
    # per refit seed; None where the recipe was not trained on mirror images
    n_trials_asked: int | None = None  # the budget of the run that opened it: more trials after it would be tuned on it
    changed: tuple[ChangedTestScore, ...] = ()  # none in studies before version 0.4.0


@dataclass(frozen=True)
class TestArrays:
    """Predictions on the test set. `probabilities[0]` is the delivered model's."""

    __test__ = False

    labels: np.ndarray  # uint8 (n,)
    probabilities: np.ndarray  # float32 (n_seeds, n, n_classes)
    mistake_indices: np.ndarray  # int64 (m,): test images that the delivered model gets wrong
    mistake_images: np.ndarray  # uint8 (m, height, width, channels)
    unsure_indices: np.ndarray | None = None  # int64 (k,): its least confident right answers, None before 0.4.0
    unsure_images: np.ndarray | None = None  # uint8 (k, height, width, channels)


class StudyFiles:
    """The paths of one study and how each is read and written. `root` is `studies/<name>`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.json"  # StudyConfig, checksums and versions the study was made with
        self.space = root / "space.toml"  # copy of the search space
        self.storage = root / "study.db"  # Optuna's SQLite storage, unless another is named
        self.lock = root / "run.lock"  # held while a run is under way
        self.split = root / "split"  # the arrays that training processes map; removed when the run ends
        self.worker_log = root / "worker.log"  # what TensorFlow says in the workers
        self.data = root / "data.json"  # DataRecord
        self.samples = root / "samples.npz"  # images uint8 (n_classes, 10, h, w, c): training images of each class
        self.ledger = root / "ledger.json"  # seconds by phase
        self.environment = root / "environment.json"  # versions, cores, threads
        self.command = root / "command.txt"  # the command line that makes the study
        self.history = root / "history.csv"  # a row a trial, see search.records.history_csv
        self.confirm = root / "confirm"  # one ConfirmRecord and one .npz of confirmation probabilities per finalist
        self.refit = root / "refit"  # one RefitRecord and one .keras per seed
        self.baselines = root / "baselines"  # of each a BaselineRecord and, once the test set was opened, an .npz
        self.artifacts = root / "artifacts"  # pictures that Optuna's dashboard shows, under its names
        self.dashboard_log = root / "dashboard.log"  # what the dashboard beside a run says
        self.exports = root / "exports"  # the model in other formats, and of each an ExportRecord
        self.test = root / "test.json"  # TestRecord
        self.test_arrays = root / "test.npz"  # TestArrays
        self.best_recipe = root / "best_recipe.json"  # BestRecipe
        self.model = root / "best.keras"
        self.temperature = root / "temperature.json"  # what calibrates the model's probabilities
        self.model_card = root / "model-card.md"
        self.guide = root / "README.md"  # what each of these is
        self.report_html = root / "report.html"
        self.report_markdown = root / "report.md"
        self.report_json = root / "report.json"
        self.report_pictures = root / "report-pictures"  # of report.md

    def confirm_record(self, trial: int) -> Path:
        return self.confirm / f"trial-{trial:04d}.json"

    def confirm_arrays(self, trial: int) -> Path:
        return self.confirm / f"trial-{trial:04d}.npz"  # "probabilities" float32 (n, n_classes), "labels" uint8 (n,)

    def refit_record(self, seed_index: int) -> Path:
        return self.refit / f"seed-{seed_index}.json"

    def refit_model(self, seed_index: int) -> Path:
        return self.refit / f"seed-{seed_index}.keras"

    def baseline_record(self, name: str) -> Path:
        return self.baselines / f"{name}.json"

    def baseline_model(self, baseline: Baseline) -> Path:
        """Removed once its predictions are stored: a forest takes hundreds of megabytes."""
        return self.baselines / f"{baseline.name}{baseline.suffix}"

    def baseline_arrays(self, name: str) -> Path:
        return self.baselines / f"{name}.npz"  # "predicted" uint8 (n,), of the test set

    def export_record(self, name: str) -> Path:
        return self.exports / f"{name}.json"

    def read_confirm_records(self) -> list[ConfirmRecord]:
        """All finalists confirmed so far, best confirmation accuracy first."""
        records = [read_json(ConfirmRecord, path) for path in sorted(self.confirm.glob("trial-*.json"))]
        return sorted(records, key=lambda record: -record.confirm_accuracy)

    def read_refit_records(self) -> list[RefitRecord]:
        """All retrainings so far, by seed_index."""
        records = [read_json(RefitRecord, path) for path in self.refit.glob("seed-*.json")]
        return sorted(records, key=lambda record: record.seed_index)

    def read_baseline_records(self) -> list[BaselineRecord]:
        """All baselines fitted or failed so far, in the order of BASELINES; others, of another version, last."""
        records = [read_json(BaselineRecord, path) for path in sorted(self.baselines.glob("[!.]*.json"))]
        names = [baseline.name for baseline in BASELINES]
        return sorted(records, key=lambda record: names.index(record.name) if record.name in names else len(names))

    def read_baselines(self) -> list[BaselineOutcome]:
        """The same with their predictions. Call it once the test set was opened."""
        return [
            BaselineOutcome(
                record, None if record.failure else read_arrays(self.baseline_arrays(record.name))["predicted"]
            )
            for record in self.read_baseline_records()
        ]

    def read_export_records(self) -> list[ExportRecord]:
        """All formats exported or failed so far, in the order of FORMATS."""
        paths = [self.export_record(format.name) for format in FORMATS]
        return [read_json(ExportRecord, path) for path in paths if path.exists()]

    def read_command(self) -> str:
        """The command line that makes the study. One of before version 0.4.0 has it in its report only."""
        if not self.command.exists():
            return read_plain(self.report_json)["command"]
        with _naming_damage(self.command):
            return self.command.read_text(encoding="utf-8").strip()

    def read_ledger(self) -> dict[str, float]:
        """Seconds by phase (see PHASES), summed over every run of the study."""
        seconds = self._read_whole_ledger()
        return {phase: seconds.get(phase, 0.0) for phase in PHASES}

    def read_worker_seconds(self) -> float:
        """Seconds of the search, those of all its workers summed; 0 where that was not recorded."""
        return self._read_whole_ledger().get(WORKERS_SUMMED, 0.0)

    def add_to_ledger(self, phase: str, seconds: float, n_workers: int | None = None) -> None:
        """n_workers: of the search, in this run."""
        ledger = self.read_ledger()
        ledger[phase] += seconds
        worker_seconds = self.read_worker_seconds() + seconds * (n_workers or 0)
        write_text(self.ledger, json.dumps({**ledger, WORKERS_SUMMED: worker_seconds}, indent=2))

    def _read_whole_ledger(self) -> dict[str, float]:
        return read_plain(self.ledger) if self.ledger.exists() else {}

    @property
    def is_shared(self) -> bool:
        """Whether other machines may work on the study too."""
        return self.config.exists() and str(read_plain(self.config).get("storage")).startswith("postgresql")

    def remove_half_written(self) -> None:
        """What killed runs were writing. Call it while no other run can be writing."""
        for path in list(self.root.rglob(f"{HALF_WRITTEN}*")):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)  # it may have been in such a folder

    def read_test_arrays(self) -> TestArrays:
        return TestArrays(**read_arrays(self.test_arrays))


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


def read_json(kind: type[T], path: Path) -> T:
    """A record of this kind. Raises UserError where the file is missing, damaged or of another shape."""
    with _naming_damage(path):
        return TypeAdapter(kind).validate_json(path.read_bytes())


def read_plain(path: Path) -> dict[str, Any]:
    """A file of plain JSON. Raises UserError where it is missing or damaged."""
    with _naming_damage(path):
        return TypeAdapter(dict[str, Any]).validate_json(path.read_bytes())


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Plain JSON as one level, keys joined by dots; tables in a list go by their name, or by their place. Other lists
    stay as they are."""
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        children = ((str(item.get("name", index)), item) for index, item in enumerate(value))
    else:
        return {prefix: value}
    return {
        key: leaf
        for name, child in children
        for key, leaf in flat(child, f"{prefix}.{name}" if prefix else name).items()
    }


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file by name. Raises UserError where it is missing or damaged."""
    with _naming_damage(path), np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    """We write files whole, so one that cannot be read was damaged from outside: its owner has to hear which."""
    try:
        yield
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        cause = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error).splitlines()[0]
        raise UserError(
            f"{path} cannot be read ({cause}); restore it, or start a new study with --study NAME"
        ) from error


def write_json(path: Path, record: Any) -> None:
    write_text(path, TypeAdapter(type(record)).dump_json(record, indent=2).decode() + "\n")


def write_text(path: Path, text: str) -> None:
    with whole_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    with whole_file(path) as beside:
        np.savez_compressed(beside, **arrays)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside `path`, of the same suffix, renamed to it when the block ends well and removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{HALF_WRITTEN}{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        beside.chmod(0o644)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
