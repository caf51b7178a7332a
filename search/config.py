"""What does a study need to know? `StudyConfig`, from a command line, a script or a test, checked once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic

from fmnist.export.formats import FORMATS, FORMATS_REQUIRED, read_formats, require_runtimes
from fmnist.options import option, options
from fmnist.paths import require_utf8
from fmnist.reading import COLOUR_SPELLINGS, DATASETS, MIRRORED_DATASETS, Colour, Reading, named_dataset
from fmnist.scoring import COUNT_CLASSES_ALIKE, ClassWeights, Metric
from fmnist.training.precision import Precision
from search.cli import check_study_name, legal_study_name, shown_url
from search.system.cluster_address import check_cluster_options
from search.system.extras import OPTIONAL_EXTRAS, require_installed
from search.system.machine import default_workers
from search.system.option_checks import (
    DEFAULT_TARGET,
    check_flip,
    check_front,
    check_precision,
    check_start,
    check_targets,
    read_size,
)
from search.system.shipped import SHIPPED_SPACES

Sampler = Literal["tpe", "random"]
Pruner = Literal["asha", "median", "none"]
MAX_SEED = 2**32 - 1
MAX_WORKERS = 1024  # each is a process and a thread that waits for it: more would end in the system's own refusal
MAX_REFITS = 10_000
ARRAYS_AS_FILE = "write arrays to a file by numpy.savez(path, x_train=..., y_train=...), named .npz, and pass its path"
DEFAULT_DATASET = "fashion-mnist"
WITH_OWN_SPACE = ("fashion-mnist", "digits")  # data sets that a space file ships for

STUDY, DATA, MACHINE = "the study", "data and places", "the machine"  # headings of --help


@options
class StudyConfig:
    """Everything that a run of a study needs to know. Raises UserError where a value cannot be used.

    `StudyConfig(study="mine", dataset="digits", trials=20)` is `--study mine --dataset digits --trials 20`: each field
    is the option of its name, but for memory_limit_mb, which is --memory-limit. `python -m search.run --help` describes
    them. Where None is a field's default, it stands for what --help names as the default.

    Paths may be texts, paths or bytes, numbers may be NumPy's or whole floats, and export takes one name, several
    joined by commas, or a list. The fields hold Python's own types. A configuration cannot be changed:
    `dataclasses.replace` makes another. A dataclass that is derived from it has all its checks.
    """

    study: str = option(
        "its name and folder",
        default_shown="the data set's name",
        requirement="a name",
        remedy="pass a text such as 'digits'; its folder is made in --studies-dir",
        metavar="NAME",
        group=STUDY,
    )
    trials: int = option("trials in the study, however many runs it takes", default=100, ge=1, metavar="N", group=STUDY)
    timeout: float | None = option(
        "of this run, which uses them: a fifth for the search, the rest for full trainings, as many and as long as fit",
        default=None,
        gt=0,
        requirement="a positive number of seconds",
        default_shown="no limit",
        metavar="SECONDS",
        group=STUDY,
    )
    space: Path | None = option(
        "search-space file",
        default=None,
        default_shown="studies/DATASET.toml for fashion-mnist and digits; else one written for the images",
        metavar="FILE",
        group=STUDY,
    )
    dataset: str = option(
        f"{', '.join(DATASETS)}, or your own images: class folders of pictures, pictures with a table labels.csv, CSV "
        "or Parquet tables, NumPy, IDX, MATLAB or CIFAR files, or a zip or tar of these",
        default=DEFAULT_DATASET,
        takes_path=True,
        remedy=ARRAYS_AS_FILE,
        metavar="NAME|PATH",
        group=DATA,
    )
    data_dir: Path | None = option(
        "where the files of a data set that has a name are",
        default=None,
        default_shown="$FMNIST_DATA_DIR for Fashion-MNIST, then the usual places",
        metavar="DIR",
        group=DATA,
    )
    image_size: int | None = option(
        "fit each of your own images whole into N x N pixels, its border repeated",
        default=None,
        default_shown="as they are",
        metavar="N",
        group=DATA,
    )
    colour: Colour | None = option(
        "turn your own pictures, in folders, archives or Parquet, into grey ones or colour ones",
        default=None,
        default_shown="as they are",
        also="--color",
        spellings=COLOUR_SPELLINGS,
        group=DATA,
    )
    flip: bool = option(
        "mirror your own images left-right in training: right for most photographs, wrong for digits, letters and "
        "signs",
        default=False,
        default_shown="not, but for cifar10 and cifar100",
        group=DATA,
    )
    skip_unreadable: bool = option(
        "leave out pictures, in folders, archives or Parquet, that cannot be read",
        default=False,
        default_shown="an error",
        group=DATA,
    )
    storage: str | None = option(
        "Optuna's storage",
        default=None,
        default_shown="SQLite in the study's folder",
        requirement="a URL such as sqlite:///study.db",
        without_secret=shown_url,
        metavar="URL",
        group=DATA,
    )
    workers: int | None = option(
        "training processes at a time; with --cluster the most, as many as fit of which run",
        default=None,
        ge=1,
        le=MAX_WORKERS,
        default_shown=f"the cores, here {default_workers()}, or as many as the cluster has room for",
        metavar="N",
        group=MACHINE,
    )
    cluster: str | None = option(
        "run every training on this Ray cluster: auto for the one that this machine belongs to, HOST:PORT of its head, "
        "or ray://HOST:PORT",
        default=None,
        default_shown="on this machine",
        requirement="auto, HOST:PORT or ray://HOST:PORT",
        metavar="ADDRESS",
        group=MACHINE,
    )
    gpus_per_training: float | None = option(
        "GPUs, or the share of one, that each training on the cluster takes",
        default=None,
        ge=0,
        requirement="a number from 0 on, such as 0.5",
        default_shown="one where the cluster has any, else none",
        metavar="X",
        group=MACHINE,
    )
    insecure_cluster: bool = option(
        "use a cluster of several machines that asks for no token, on which whoever reaches its ports runs code",
        default=False,
        default_shown="such a cluster is refused",
        group=MACHINE,
    )
    seed: int = option("of split, sampler and trainings", default=0, ge=0, le=MAX_SEED, metavar="N", group=STUDY)
    refit_seeds: int = option(
        "students that learn from the finalists, by the recipe of the best of them, or retrainings of a single "
        "finalist; the first is delivered if it is no worse than that",
        default=1,
        ge=1,
        le=MAX_REFITS,
        metavar="K",
        group=STUDY,
    )
    max_parameters: int | None = option(
        "largest network, in weights",
        default=None,
        ge=1,
        default_shown="the space file's limit",
        metavar="N",
        group=STUDY,
    )
    max_multiply_adds: int | None = option(
        "costliest network, in multiply-adds an image",
        default=None,
        ge=1,
        default_shown="the space file's limit",
        metavar="N",
        group=STUDY,
    )
    max_bytes: int | None = option(
        "largest file of the --target, such as 96kB: predicted by a few that are tried first, then compared",
        default=None,
        ge=1,
        default_shown="any size",
        metavar="SIZE",
        reads=read_size,
        group=STUDY,
    )
    max_ms: float | None = option(
        "slowest prediction of the --target, in milliseconds an image alone on one thread, likewise",
        default=None,
        gt=0,
        requirement="a number of milliseconds above 0",
        default_shown="any time",
        metavar="MS",
        group=STUDY,
    )
    target: str = option(
        "the --export that --max-bytes and --max-ms are about",
        default=DEFAULT_TARGET,
        metavar="FORMAT",
        group=STUDY,
    )
    on: str | None = option(
        'command that measures --max-ms elsewhere, such as "ssh pi python3 -", see python -m fmnist.measure --help',
        default=None,
        default_shown="this machine measures",
        metavar="COMMAND",
        group=STUDY,
    )
    front: bool = option(
        "search for the best network of every size instead of one, and deliver up to seven of them in front/, each as "
        "LiteRT, LiteRT in full 8 bits and ONNX, too",
        default=False,
        group=STUDY,
    )
    studies_dir: Path = option("where studies live", default=Path("studies"), metavar="DIR", group=DATA)
    start_from: str | None = option(
        "a study in --studies-dir, of these images or others, in this space or another: its best configurations are "
        "tried first, as far as the space has them",
        default=None,
        default_shown="none",
        metavar="STUDY",
        group=STUDY,
    )
    widen: bool = option(
        "go on with the study in a --space that contains its own: its trials are kept, and the sampler learns from "
        "them",
        default=False,
        default_shown="another space is refused",
        group=STUDY,
    )
    metric: Metric = option(
        "what decides: between trials, finalists and students, and in the report. With balanced_accuracy (the mean "
        "recall) and macro_f1 a rare class counts like a common one; log_loss is of the probabilities",
        default="accuracy",
        group=STUDY,
    )
    class_weights: ClassWeights | None = option(
        "balanced: in every training's loss an image counts the more the rarer its class is",
        default=None,
        default_shown=f"balanced with --metric {' and '.join(COUNT_CLASSES_ALIKE)}, else none",
        group=STUDY,
    )
    sampler: Sampler = option("what suggests configurations", default="tpe", group=STUDY)
    pruner: Pruner = option("what ends bad trials early", default="asha", group=STUDY)
    precision: Precision = option(
        "of convolutions while learning",
        default="auto",
        default_shown="auto, bfloat16 on processors that learn faster by it, without a GPU, else float32",
        group=MACHINE,
    )
    memory_limit_mb: int | None = option(
        "of each training process",
        default=None,
        ge=1,
        name="memory-limit",
        default_shown="80 % of the memory, shared equally",
        metavar="MB",
        group=MACHINE,
    )
    baselines: bool = option(
        "also fit plain networks and classifiers to compare with, before the test set is opened; --timeout does not "
        "cover them",
        default=False,
        group=STUDY,
    )
    tensorboard: Path | None = option(
        "write the curves of all trainings there as they go, as runs of TensorBoard",
        default=None,
        default_shown="not",
        metavar="DIR",
        group=DATA,
    )
    mlflow: Path | None = option(
        "enter all trials there as they end, as runs in a database of MLflow",
        default=None,
        default_shown="not",
        metavar="DIR",
        group=DATA,
    )
    dashboard: bool = option(
        "show the study in Optuna's dashboard, on this machine alone, while the run is under way; later or beside it: "
        "python -m search.dashboard NAME",
        default=False,
        group=DATA,
    )
    export: Sequence[str] = option(
        f"also save the model as all, or some of {', '.join(format.name for format in FORMATS)}, joined by commas, and "
        "compare each file with it; also later, of a finished study; --timeout does not cover them",
        default=(),
        requirement=FORMATS_REQUIRED,
        metavar="FORMATS",
        group=STUDY,
    )

    @pydantic.field_validator("export", mode="before")
    @classmethod
    def _spell_out_formats(cls, words: Any) -> tuple[str, ...]:
        return read_formats(words, "--export")

    @pydantic.field_validator("dataset", mode="after")
    @classmethod
    def _spell_out_dataset(cls, dataset: str) -> str:
        return named_dataset(dataset) or dataset

    def __post_init__(self) -> None:
        check_study_name(self.study, f"choose one with --study, such as {legal_study_name(self.study)}")
        for name in ("studies_dir", "space", "tensorboard", "mlflow", "data_dir", "storage", "dataset"):
            if getattr(self, name) is not None:
                require_utf8(getattr(self, name), f"--{name.replace('_', '-')}")
        check_cluster_options(self.cluster, self.gpus_per_training, insecure_cluster=self.insecure_cluster)
        check_precision(self.precision, self.cluster)
        check_targets(self.target, self.max_bytes, self.max_ms, self.on)
        if self.front:
            check_front(self.pruner, has_targets=self.has_targets)
        if self.has_targets:  # which are kept by a file
            object.__setattr__(self, "export", read_formats([*self.export, self.target], "--export"))
        require_runtimes(self.export, "--export")
        check_start(self.study, self.start_from, widen=self.widen)
        for name in OPTIONAL_EXTRAS:
            if getattr(self, name) is not None:
                require_installed(name)
        check_flip(self.space_path, flip=self.flip)
        self.reading()  # which checks the image size

    @property
    def folder(self) -> Path:
        """The study's folder, which holds all that it leaves."""
        return self.studies_dir / self.study

    @property
    def space_path(self) -> Path | None:
        """The space file: the named one, else the one that ships for the data set.

        None: one is written for the images themselves (see `search.space.default`).
        """
        if self.space is not None or self.dataset not in WITH_OWN_SPACE:
            return self.space
        return SHIPPED_SPACES / f"{self.dataset}.toml"

    @property
    def is_named_data(self) -> bool:
        """Whether the data set is one that the tool knows by name, and not the user's own images."""
        return self.dataset in DATASETS

    @property
    def has_unknown_images(self) -> bool:
        """Whether a run tells first what the images are: all but those that a space file ships for."""
        return self.dataset not in WITH_OWN_SPACE

    @property
    def mirrors(self) -> bool:
        """Whether trainings mirror images left-right where no space file says: by --flip, or as suits the data set."""
        return self.flip or self.dataset in MIRRORED_DATASETS

    @property
    def has_targets(self) -> bool:
        """Whether the delivered file must not be too large, or too slow."""
        return self.max_bytes is not None or self.max_ms is not None

    @property
    def limits(self) -> dict[str, int | None]:
        """Limits of a network's cost by their names in the space, None for the space's own, as an identity has them.

        One that studies from before version 0.7.0 did not know is left out where it was not given.
        """
        limits = {"max_parameters": self.max_parameters}
        if self.max_multiply_adds is not None:
            limits["max_multiply_adds"] = self.max_multiply_adds
        return limits

    @property
    def loss_weights(self) -> ClassWeights:
        """How losses weigh classes: as class_weights says, else "balanced" where the metric counts classes alike."""
        if self.class_weights is None:
            return "balanced" if self.metric in COUNT_CLASSES_ALIKE else "none"
        return self.class_weights

    def reading(self, on_progress: Callable[[int, int], None] = lambda n_read, n_files: None) -> Reading:
        """Return how images of one's own are to be read.

        Args:
            on_progress: Called with the number of files read so far and of all files. It may raise, to end the reading.
        """
        return Reading(self.image_size, self.colour, self.skip_unreadable, self.seed, on_progress)
