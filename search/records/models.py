"""What a study's files hold: one frozen dataclass for each kind of record.

They are stored as JSON by field name, so a field's name is part of the format of a study: add fields with a default,
and rename none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fmnist.data.decode import Form
from fmnist.data.duplicates import Duplicates
from fmnist.scoring import ClassWeights
from fmnist.training.course import Rescheduling
from fmnist.training.history import HistoryPoint

PHASES = ("search", "confirm", "refit", "baselines", "evaluate", "exports")
WORKERS_SUMMED = "search, workers summed"  # in the ledger beside the phases
FINISHED_STATES = ("complete", "pruned", "failed", "infeasible")  # of a TrialRecord


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a study, read back from Optuna's storage."""

    number: int
    state: str  # complete, pruned, failed, infeasible, running or waiting
    value: float | None  # best selection score of a complete trial: accuracy, unless the study has another metric
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
    rung_accuracy: float | None = None  # selection accuracy there, at the best point
    out_of_time: bool = False  # stopped by --timeout, not by the pruner
    rung_score: float | None = None  # by the study's metric, at that point; None where that is accuracy
    # By the study's metric at the end of each rung, by the rung's length; empty before version 0.7.0:
    rung_scores: Mapping[int, float] = field(default_factory=dict)

    @property
    def score_at_rung(self) -> float | None:
        """What decides between trials that were trained to the end of the same rung."""
        return self.rung_accuracy if self.rung_score is None else self.rung_score

    @property
    def known_rung_scores(self) -> Mapping[float, float]:
        """The scores at the ends of rungs, by length; where only the last is recorded, that one. Infinite is the length
        of a complete trial's last rung where it is not recorded either."""
        if self.rung_scores:
            return {float(length): score for length, score in self.rung_scores.items()}
        length, score = float(self.rung_images), self.score_at_rung
        if self.state == "complete":
            length, score = length or math.inf, self.value
        return {} if length == 0 or score is None else {length: score}


@dataclass(frozen=True)
class ConfirmRecord:
    """A finalist's full training, scored on the confirmation split, which it has not learned from.

    Before version 0.7.0 it was shorter, and validated on the selection split, from which it did not learn.
    """

    trial: int  # number of the trial whose recipe this is
    origin: str  # as in TrialRecord
    recipe: dict[str, Any]
    seed: int
    search_accuracy: float | None  # selection accuracy in the search; None if that trial did not complete
    selection_accuracy: float | None  # at the best point of this training; None: it learned from these images
    confirm_accuracy: float  # of the finished network
    history: tuple[HistoryPoint, ...]
    best: HistoryPoint | None  # None where nothing was validated
    n_planned_images: int  # length of the schedule
    n_images: int  # training images seen
    seconds: float
    reason: str  # why the training ended
    peak_memory_mb: float
    seconds_beside_search: float = 0.0  # that a worker gave to it while the search's last trials still ran
    n_side_by_side: int = 1  # trainings at a time, as planned for its round
    # Before version 0.7.0 the trained network was not kept, and these were not recorded:
    fit_on: str = "train"  # as in TrainTask
    n_threads: int = 1  # what a training computes depends on their number, in the last bits
    bfloat16: bool = False  # whether its steps convolved in bfloat16
    n_cut_images: int | None = None  # where the timeout ended it; None: it went as far as planned
    reschedulings: tuple[Rescheduling, ...] = ()  # changes of its length, so that it ended before the timeout
    # By the study's metric, larger is better; None where that is accuracy:
    search_score: float | None = None
    confirm_score: float | None = None
    seconds_compared: float | None = None  # as in Finalist

    @property
    def score(self) -> float:
        """What decides whether it is better than another finalist."""
        return self.confirm_accuracy if self.confirm_score is None else self.confirm_score


@dataclass(frozen=True)
class MemberRecord:
    """A trained network of the study and its weight in an average of several."""

    model: str  # its file in the study's folder, such as "confirm/trial-0007.keras"
    weight: float  # of its probabilities; the weights of an average sum to 1


def kind_of_refit(*, is_taught: bool) -> str:
    """Return what a further training of the winner's recipe is called: student or retraining."""
    return "student" if is_taught else "retraining"


@dataclass(frozen=True)
class RefitRecord:
    """One training of the winner's recipe after the finalists': a delivered one, or one that may be delivered.

    That is a student, which learns from finalists, or a retraining from labels alone.
    """

    trial: int
    seed_index: int  # 0 to refit_seeds - 1; 0 is the delivered model
    seed: int
    history: tuple[HistoryPoint, ...]  # train figures only: nothing is held out to validate on
    n_planned_images: int  # length of the schedule
    n_images: int  # training images seen, less than planned where the rule stops before the schedule's end
    seconds: float
    peak_memory_mb: float
    rule: str  # how the length was chosen, in words
    n_stop_images: int | None = None  # where the schedule is cut short; None: nowhere
    n_threads: int = 1  # what a training computes depends on their number, in the last bits
    bfloat16: bool = False  # whether its steps convolved in bfloat16
    n_cut_images: int | None = None  # where the timeout ended it; None: it went as far as planned
    reschedulings: tuple[Rescheduling, ...] = ()  # changes of its length, so that it ended before the timeout
    fit_on: str = "together"  # as in TrainTask
    teachers: tuple[MemberRecord, ...] = ()  # networks whose mean probabilities it learned from; empty: labels alone
    confirm_accuracy: float | None = None  # None before version 0.7.0, when it learned from these images
    confirm_score: float | None = None  # as in ConfirmRecord

    @property
    def is_taught(self) -> bool:
        """Whether it is a student, which has learned from finalists too."""
        return bool(self.teachers)

    @property
    def kind(self) -> str:
        """What it is called that was trained after the finalists: student or retraining."""
        return kind_of_refit(is_taught=self.is_taught)

    @property
    def score(self) -> float | None:
        """What decides whether it is delivered; None before version 0.7.0."""
        return self.confirm_accuracy if self.confirm_score is None else self.confirm_score


@dataclass(frozen=True)
class EnsembleRecord:
    """The average of trained networks of the study, or of one's two views, chosen on the confirmation split."""

    members: tuple[MemberRecord, ...]  # by weight, the heaviest first
    n_candidates: int  # networks that they were chosen from
    confirm_accuracy: float  # on the images that the members were chosen by, so it flatters a little
    n_parameters: int
    multiply_adds: int  # per image, forward
    confirm_score: float | None = None  # as in ConfirmRecord; it flatters like the accuracy
    mirrored: bool = False  # each member predicts the image and its mirror image, and both count the same


@dataclass(frozen=True)
class Retraining:
    """What repeats one of the winner's retrainings, as a BestRecipe has it."""

    seed: int
    n_threads: int
    test_accuracy: float | None = None  # None until the test set was opened
    n_cut_images: int | None = None  # where the timeout ended it; None: it went as far as planned
    reschedulings: tuple[Rescheduling, ...] = ()  # changes of its length, so that it ended before the timeout
    bfloat16: bool | None = None  # None: as the BestRecipe says, which had that of all before


@dataclass(frozen=True)
class BestRecipe:
    """Everything that is needed to train a study's winner again, on the same images."""

    made_with: dict[str, str]  # package -> version
    study: str
    trial: int
    recipe: dict[str, Any]  # Recipe.to_dict()
    dataset: str  # one of DATASETS, else the path of the images
    data_checksums: dict[str, str]  # file -> md5
    image_size: int | None  # how images of one's own were read, see fmnist.reading.Reading
    colour: str | None
    skip_unreadable: bool
    split_seed: int
    split_checksum: str  # the order of all training images depends on the split
    n_planned_images: int  # length of the schedule
    n_stop_images: int | None  # where it is cut short; None: nowhere
    bfloat16: bool
    retrainings: tuple[Retraining, ...]  # the first is the delivered model's
    fit_on: str = "together"  # as in TrainTask
    teachers: tuple[MemberRecipe, ...] = ()  # what it learned from beside the labels, see `MemberRecipe`
    class_weights: ClassWeights = "none"  # of its loss and its teachers'


@dataclass(frozen=True)
class MemberRecipe:
    """Everything that is needed to train one network of an average again."""

    trial: int
    recipe: dict[str, Any]  # Recipe.to_dict()
    seed: int
    n_planned_images: int  # length of the schedule
    n_cut_images: int | None  # where the timeout ended it; None: it went as far as planned
    n_threads: int
    fit_on: str  # as in TrainTask
    weight: float  # of its probabilities
    is_taught: bool = False  # whether it learns from the average of the teachers too
    bfloat16: bool = False  # whether its steps convolve in bfloat16
    reschedulings: tuple[Rescheduling, ...] = ()  # changes of its length, so that it ended before the timeout


@dataclass(frozen=True)
class EnsembleRecipe:
    """Everything that is needed to train a study's ensemble again, on the same images."""

    made_with: dict[str, str]  # package -> version
    study: str
    dataset: str  # these as in BestRecipe
    data_checksums: dict[str, str]
    image_size: int | None
    colour: str | None
    skip_unreadable: bool
    split_seed: int
    split_checksum: str
    members: tuple[MemberRecipe, ...]  # what is averaged
    teachers: tuple[MemberRecipe, ...]  # what its taught members learn from; empty if it has none
    test_accuracy: float | None = None  # None until the test set was opened
    class_weights: ClassWeights = "none"  # of the losses of all
    mirrored: bool = False  # as in EnsembleRecord


@dataclass(frozen=True)
class BaselineRecord:
    """The fit of a baseline, or why it failed."""

    name: str  # of one of fmnist.baselines.catalog.BASELINES
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
    """A baseline with its predictions on the test set."""

    record: BaselineRecord
    predicted: np.ndarray | None  # uint8 (n,): the class of each test image; None where it failed


@dataclass(frozen=True)
class DataRecord:
    """The images that a study was made on."""

    dataset: str  # one of DATASETS, or the folder's or file's name
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
    object_share: float | None = None  # as in fmnist.data.framing.Framing
    contrast: float | None = None
    picture_form: Form | None = None  # how picture files were read; None: the images were in no such files
    has_test: bool = True  # False: no test images were given, so none are scored


@dataclass(frozen=True)
class ChangedTestScore:
    """Accuracy of the delivered model on changed test images (see `fmnist.metrics.robustness`)."""

    kind: str
    change: str  # in words
    accuracy: float


@dataclass(frozen=True)
class EvaluationRecord:
    """What the one opening of the test set gave; the predictions are EvaluationArrays."""

    opened: str  # ISO 8601, UTC
    n_images: int
    accuracies: tuple[float, ...]  # one per refit seed, in order of seed_index
    delivered_accuracy: float  # accuracy of best.keras, loaded in a fresh process without this project
    seconds: float
    flip_accuracies: tuple[float, ...] | None = None  # probabilities averaged over each image and its mirror image, one
    # per refit seed; None where the recipe was not trained on mirror images
    n_trials_asked: int | None = None  # the budget of the run that opened it: more trials after it would be tuned on it
    changed: tuple[ChangedTestScore, ...] = ()  # none in studies before version 0.4.0
    ensemble_accuracy: float | None = None  # of ensemble.keras; None where the study has none
    front_accuracies: tuple[float, ...] = ()  # of the front's networks, as FrontRecord has them; none without --front


@dataclass(frozen=True)
class EvaluationArrays:
    """Predictions on the test set. `probabilities[0]` is the delivered model's."""

    labels: np.ndarray  # uint8 (n,)
    probabilities: np.ndarray  # float32 (n_seeds, n, n_classes)
    mistake_indices: np.ndarray  # int64 (m,): test images that the delivered model gets wrong
    mistake_images: np.ndarray  # uint8 (m, height, width, channels)
    unsure_indices: np.ndarray | None = None  # int64 (k,): its least confident right answers, None before 0.4.0
    unsure_images: np.ndarray | None = None  # uint8 (k, height, width, channels)
    ensemble_probabilities: np.ndarray | None = None  # float32 (n, n_classes); None where the study has no ensemble
    front_probabilities: np.ndarray | None = None  # float32 (n_points, n, n_classes), in the order of FrontRecord


@dataclass(frozen=True)
class SpaceRecord:
    """One of the spaces that a study has searched."""

    file: str  # in the study's folder, such as "spaces/1.toml"
    first_trial: int  # number of the first trial that was drawn in it
    grown: tuple[str, ...] = ()  # what grew since the space before it, in words
    began: str | None = None  # ISO 8601, UTC; None for the first


@dataclass(frozen=True)
class TargetOutcome:
    """Whether the delivered file keeps to what was asked of it."""

    file: str  # its name in the folder of exports
    n_bytes: int
    max_bytes: int | None  # None: any size will do
    milliseconds: float | None = None  # for an image alone, on one thread; None where times don't matter
    max_ms: float | None = None
    processor: str | None = None  # that it was measured on
    unmeasured: str | None = None  # why its time is not known; None where it is, or does not matter

    @property
    def is_kept(self) -> bool:
        """Whether the file is as small and as fast as it was to be; what is not known keeps to nothing."""
        is_small = self.max_bytes is None or self.n_bytes <= self.max_bytes
        is_fast = self.max_ms is None or (self.milliseconds is not None and self.milliseconds <= self.max_ms)
        return is_small and is_fast


@dataclass(frozen=True)
class FrontPointRecord:
    """A network of the front of accuracy against cost, as it was chosen from the search."""

    name: str  # of its folder and its files, by its number of weights: "48k"
    trial: int  # in which its recipe was found
    n_parameters: int
    multiply_adds: int  # per image, forward


@dataclass(frozen=True)
class FrontRecord:
    """The networks that a study with --front trains in full."""

    points: tuple[FrontPointRecord, ...]  # by multiply-adds, the cheapest first


@dataclass(frozen=True)
class SpacesRecord:
    """The spaces of a study that was widened, in their order."""

    spaces: tuple[SpaceRecord, ...]
