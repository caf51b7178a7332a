"""The options of a study, checked once. `StudyConfig` is what the command line, a test or a script hands over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnist.data.find import DATASETS
from fmnist.data.source import COLOURS, Reading
from fmnist.errors import UserError
from fmnist.export.formats import read_formats, require_runtimes
from fmnist.training.precision import BFLOAT16_FLAGS, PRECISIONS, has_bfloat16
from search.cli import check_study_name
from search.extras import OPTIONAL_EXTRAS, require_installed
from search.machine import default_workers

SHIPPED_SPACES = Path(__file__).resolve().parent.parent / "studies"
SAMPLERS = ("tpe", "random")
PRUNERS = ("asha", "median", "none")
MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class StudyConfig:
    """Everything a run needs to know. Raises UserError where a value cannot be used."""

    study: str  # name; also the folder's
    trials: int = 100  # in the study, however many runs it takes
    timeout: float | None = None  # seconds for this run, confirmation and retraining included; None: no limit
    space: Path | None = None  # search-space file; None: the one that ships for the data set
    dataset: str = "fashion-mnist"  # one of DATASETS, or a folder or .npz file of one's own images
    data_dir: Path | None = None  # the one place to look for Fashion-MNIST; None: see fmnist.data.named.find_data
    image_size: int | None = None  # pixels, of the square that one's own images are fitted into; None: as they are
    colour: str | None = (
        None  # one of fmnist.data.source.COLOURS, that one's own pictures are turned into; None: as they are
    )
    flip: bool = False  # whether the default space of one's own images mirrors them in training
    skip_unreadable: bool = False  # leave out picture files that cannot be read
    storage: str | None = None  # SQLAlchemy URL of Optuna's storage; None: SQLite in the study's folder
    workers: int = dataclasses.field(default_factory=default_workers)  # training processes at a time
    seed: int = 0  # of the split, the sampler, the trials and the retraining
    refit_seeds: int = 3  # how many times the winner is retrained
    max_parameters: int | None = None  # None: the space file's own limit
    studies_dir: Path = Path("studies")
    sampler: str = "tpe"  # one of SAMPLERS
    pruner: str = "asha"  # one of PRUNERS
    precision: str = "auto"  # one of PRECISIONS; "auto": bfloat16 where the processor has it and there is no GPU
    memory_limit_mb: int | None = None  # per training process; None: 80 % of the machine's memory, shared equally
    baselines: bool = False  # fit those of fmnist.baselines.networks too, before the test set is opened
    tensorboard: Path | None = None  # folder that takes every training as a run of TensorBoard, STUDY/LABEL/LENGTH
    mlflow: Path | None = None  # folder of the MLflow database that takes every trial as a run
    dashboard: bool = False  # show the study in Optuna's dashboard on this machine while the run is under way
    export: Sequence[str] = ()  # formats that the model is exported in after that, as --export takes them

    def __post_init__(self) -> None:
        check_study_name(self.study, "choose one with --study")
        self._require_at_least("--trials", self.trials, 1)
        self._require_at_least("--workers", self.workers, 1)
        self._require_at_least("--refit-seeds", self.refit_seeds, 1)
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise UserError(f"--timeout must be a positive number of seconds, but got {self.timeout}")
        if self.max_parameters is not None:
            self._require_at_least("--max-parameters", self.max_parameters, 1)
        if self.memory_limit_mb is not None:
            self._require_at_least("--memory-limit", self.memory_limit_mb, 1)
        self._require_one_of("--sampler", self.sampler, SAMPLERS)
        self._require_one_of("--pruner", self.pruner, PRUNERS)
        self._require_one_of("--precision", self.precision, PRECISIONS)
        if self.precision == "bfloat16" and not has_bfloat16():
            raise UserError(
                f"--precision bfloat16 needs a processor with {' or '.join(sorted(BFLOAT16_FLAGS))}, which this one "
                "has not; leave it at auto"
            )
        object.__setattr__(self, "export", read_formats(self.export, "--export"))  # all spelt out, in one order
        require_runtimes(self.export, "--export")
        for name in OPTIONAL_EXTRAS:
            if getattr(self, name) is not None:
                require_installed(name)
        if not 0 <= self.seed <= MAX_SEED:
            raise UserError(f"--seed must be between 0 and {MAX_SEED}, but got {self.seed}")
        if self.colour is not None:
            self._require_one_of("--colour", self.colour, tuple(COLOURS))
        if self.flip and self.space_path is not None:
            raise UserError(
                f"--flip is for the default space of your own images, but got the space {self.space_path}; write "
                "flip = true into a copy of it, and pass that with --space"
            )
        self.reading()  # which checks the image size

    @property
    def folder(self) -> Path:
        return self.studies_dir / self.study

    @property
    def space_path(self) -> Path | None:
        """The space file: the named one, else the one that ships for the data set. None: one is written for the images
        themselves (see `search.space.default`)."""
        if self.space is not None or not self.is_named_data:
            return self.space
        return SHIPPED_SPACES / f"{self.dataset}.toml"

    @property
    def is_named_data(self) -> bool:
        return self.dataset in DATASETS

    def reading(self, on_progress: Callable[[int, int], None] = lambda n_read, n_files: None) -> Reading:
        """How images of one's own are to be read. on_progress: see there."""
        return Reading(self.image_size, self.colour, self.skip_unreadable, self.seed, on_progress)

    @staticmethod
    def _require_one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
        if value not in choices:
            raise UserError(f"{option} must be one of {', '.join(choices)}, but got {value!r}")

    @staticmethod
    def _require_at_least(option: str, value: int, least: int) -> None:
        if value < least:
            raise UserError(f"{option} must be at least {least}, but got {value}")
