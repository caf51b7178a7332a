"""What a contender is told and what it leaves: sole owner of the paths under the benchmark's folder.

`OUT/<contender>-<seed>/` holds curve.json, model.keras, log.txt and, written last, meta.json: where it is, the
contender has finished.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fmnist.data.find import find_data
from fmnist.data.source import DataSource
from fmnist.errors import UserError
from fmnist.reading import Reading
from search.config import DEFAULT_DATASET, StudyConfig
from search.space.default import own_space
from search.space.schema import read_space_text, space_of
from search.space.space import SearchSpace
from tests.benchmarks.peers.curves import Curve, CurvePoint, improvements

TITLES = {  # contender -> how tables and pictures call it, in the order in which they run
    "ours": "ours",
    "ours-small-space": "ours, small space",
    "optuna": "optuna",
    "keras-tuner": "keras-tuner",
    "random": "random",
    "i-epoch": "i-epoch",
    "default": "default",
    "hand": "by hand",
}
ENSEMBLE = "ensemble of "  # before a contender's name in tables: its second model, where it delivers one


@dataclass(frozen=True)
class Images:
    """Which images all contenders learn from, as the tool's options name them."""

    dataset: str = DEFAULT_DATASET  # a name, or the path of images of one's own
    data_dir: str | None = None  # where Fashion-MNIST is; None: the usual places
    image_size: int | None = None
    space: str | None = None  # search-space file; None: the one that the tool takes by itself

    def find(self, seed: int) -> DataSource:
        """Find the images. seed: draws a test set from images that have none."""
        data_dir = None if self.data_dir is None else Path(self.data_dir)
        return find_data(self.dataset, data_dir, Reading(self.image_size, None, False, seed))

    def read_space(self, image_shape: tuple[int, int, int], n_classes: int, n_train: int) -> SearchSpace:
        """Read the space that the tool searches on these images."""
        config = StudyConfig(
            study="peers", dataset=self.dataset, space=None if self.space is None else Path(self.space)
        )
        if config.space_path is None:
            text = own_space(image_shape, n_classes, n_train, flip=False)
            return space_of(text, "the default space", image_shape, n_classes)
        return space_of(read_space_text(config.space_path), config.space_path, image_shape, n_classes)


@dataclass(frozen=True)
class Assignment:
    """What one contender is to do."""

    contender: str  # one of TITLES
    seed: int  # of the split and of everything random
    seconds: float  # wall time from `started`, all included
    one_epoch_share: float  # of the seconds, that i-epoch spends on trainings of one epoch
    images: Images
    folder: str  # what it leaves goes here
    started: float  # time.time() when its process was started

    @property
    def files(self) -> ContenderFiles:
        return ContenderFiles(Path(self.folder))


class ContenderFiles:
    """The paths of one contender and seed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.curve = root / "curve.json"  # list of {seconds, validation_accuracy}: the improvements
        self.model = root / "model.keras"  # takes raw 0-255 images
        self.ensemble = root / "ensemble.keras"  # the same, of a contender that delivers one
        self.log = root / "log.txt"
        self.meta = root / "meta.json"
        self.scratch = root / "scratch"  # removed when the contender ends

    @property
    def is_finished(self) -> bool:
        return self.meta.exists()


@dataclass(frozen=True)
class Outcome:
    """What one contender came to with one seed."""

    contender: str
    seed: int
    curve: Curve
    n_trials: int  # that trained at all
    n_images: int  # training images seen, over all trainings
    seconds: float  # wall time until it was done
    n_correct: int | None = None  # of the test images, by the delivered model; None: not scored
    n_test_images: int | None = None
    n_correct_of_ensemble: int | None = None  # of the same images; None where it has no ensemble


class Ledger:
    """A contender's clock and account. Threads may share it."""

    def __init__(self, started: float, seconds: float) -> None:
        self._started = started
        self._seconds = seconds
        self._lock = threading.Lock()
        self._points: list[CurvePoint] = []
        self.n_trials = 0
        self.n_images = 0

    def seconds(self) -> float:
        """Since the contender's start."""
        return time.time() - self._started

    def seconds_left(self) -> float:
        return max(0.0, self._seconds - self.seconds())

    def began_trial(self) -> int:
        """Count one more. Returns how many there are now."""
        with self._lock:
            self.n_trials += 1
            return self.n_trials

    def trained_on(self, n_images: int) -> None:
        with self._lock:
            self.n_images += n_images

    def saw(self, validation_accuracy: float) -> bool:
        """Enter a validation that was made just now. True if there was no better one yet."""
        with self._lock:
            point = CurvePoint(self.seconds(), float(validation_accuracy))
            is_best = all(point.validation_accuracy > other.validation_accuracy for other in self._points)
            self._points.append(point)
            return is_best

    def enter(self, points: list[CurvePoint]) -> None:
        """Enter validations whose time is known."""
        with self._lock:
            self._points += points

    def curve(self) -> Curve:
        return improvements(self._points)


def write_outcome(assignment: Assignment, ledger: Ledger, surroundings: dict[str, Any]) -> None:
    """Leave the curve, then the meta file. Raises RuntimeError where there is nothing to deliver."""
    files, curve = assignment.files, ledger.curve()
    if not curve or not files.model.exists():
        raise RuntimeError(f"{assignment.contender} has validated no model within {assignment.seconds:g} s")
    files.curve.write_text(json.dumps([asdict(point) for point in curve], indent=1) + "\n")
    meta = {
        "contender": assignment.contender,
        "seed": assignment.seed,
        "seconds_asked": assignment.seconds,
        "one_epoch_share": assignment.one_epoch_share,
        "seconds": round(ledger.seconds(), 2),
        "n_trials": ledger.n_trials,
        "n_images": ledger.n_images,
        **surroundings,
    }
    temporary = files.meta.with_suffix(".part")
    temporary.write_text(json.dumps(meta, indent=2) + "\n")
    temporary.replace(files.meta)


def read_meta(files: ContenderFiles) -> dict[str, Any]:
    """Raises UserError where it is damaged."""
    return _read(files.meta)


def read_outcome(files: ContenderFiles, score: dict[str, int] | None) -> Outcome:
    """A finished contender's outcome. score: {"n_correct", "n_images"} on the test set."""
    meta, points = _read(files.meta), _read(files.curve)
    return Outcome(
        contender=meta["contender"],
        seed=meta["seed"],
        curve=tuple(CurvePoint(**point) for point in points),
        n_trials=meta["n_trials"],
        n_images=meta["n_images"],
        seconds=meta["seconds"],
        n_correct=score["n_correct"] if score else None,
        n_test_images=score["n_images"] if score else None,
        n_correct_of_ensemble=score.get("n_correct_of_ensemble") if score else None,
    )


def read_scores(path: Path) -> dict[str, dict[str, int]]:
    """The test scores so far, by the name of the contender's folder."""
    return _read(path) if path.exists() else {}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete its folder, to run that contender again") from error
