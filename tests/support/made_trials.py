"""Made trials: their recipes, histories and states, and how they are stored in a study."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import optuna

from fmnist.data.duplicates import Duplicates
from fmnist.recipe import Architecture, Block, Recipe, TrainingPlan, max_blocks
from fmnist.training.history import HistoryPoint, best_point
from search.records.files import StudyFiles
from search.records.models import TrialRecord

FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


@dataclass(frozen=True)
class Made:
    """What a made-up study is like."""

    n_trials: int = 40
    n_seeds: int = 3  # students, or retrainings
    with_students: bool = True  # taught by the finalists; False: a study of a version before 0.7.0, with retrainings
    students_are_taught: bool = True  # False: they are retrainings from labels alone
    student_is_delivered: bool = True  # the first student beats the winner's own training, which is delivered otherwise
    with_ensemble: bool = True  # where there are students
    ensemble_is_mirrored: bool = False  # it averages over mirror images too
    n_finalists: int = 4  # the default included
    with_mirror_images: bool = True
    with_changed_images: bool = True  # and least confident right answers: what studies before 0.4.0 lack
    with_baselines: bool = False  # all of them, the last one failed
    with_exports: bool = False  # all formats, the last one failed
    with_front: bool = False  # networks of every size, see `tests.support.made_front`
    has_test: bool = True  # False: no test images were given
    n_test: int = 1000
    n_train: int = 5000
    class_names: tuple[str, ...] = FASHION
    is_uneven: bool = False  # class i has 1 / (i + 1) of the images of the first one
    notes: tuple[str, ...] = ()
    duplicates: Duplicates | None = None
    dataset: str = "made-up"
    image_shape: tuple[int, int, int] = (28, 28, 1)
    mistake_share: float = 0.06  # of the test images
    with_history: bool = True
    test_images: np.ndarray | None = None  # uint8 (n_test, h, w, c); drawn if None
    test_labels: np.ndarray | None = None
    samples: np.ndarray | None = None  # uint8 (n_classes, 10, h, w, c); drawn if None
    seed: int = 0


def store_trials(files: StudyFiles, trials: list[TrialRecord]) -> None:
    """Put the trials where a search keeps them: into `study.db`."""
    url = f"sqlite:///{files.storage.absolute()}"
    study = optuna.create_study(study_name=files.root.name, storage=url, direction="maximize")
    study.add_trials([_stored(trial) for trial in trials])


STORED_STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL", "infeasible": "PRUNED"}


def _stored(trial: TrialRecord) -> optuna.trial.FrozenTrial:
    fields = dataclasses.asdict(trial)
    own_to_optuna = ("number", "state", "value", "params", "started", "finished")
    made = optuna.create_trial(
        state=optuna.trial.TrialState[STORED_STATES[trial.state]],
        value=trial.value,
        params=trial.params,
        distributions={name: _distribution(value) for name, value in trial.params.items()},
        user_attrs={name: value for name, value in fields.items() if name not in own_to_optuna},
    )
    made.datetime_start, made.datetime_complete = (
        datetime.fromisoformat(time).astimezone().replace(tzinfo=None) for time in (trial.started, trial.finished)
    )
    return made


def _distribution(value: object) -> optuna.distributions.BaseDistribution:
    """One that all made values of a parameter fit into."""
    if isinstance(value, bool):
        return optuna.distributions.CategoricalDistribution([False, True])
    if isinstance(value, str):
        return optuna.distributions.CategoricalDistribution(ACTIVATIONS)
    if isinstance(value, int):
        return optuna.distributions.IntDistribution(1, 64)
    return optuna.distributions.FloatDistribution(0.0, 1.0)


def trial(number: int, made: Made, rng: np.random.Generator) -> TrialRecord:
    state = "complete" if number == 0 else str(rng.choice(STATES, p=(0.4, 0.5, 0.06, 0.04)))
    params = _params(made, rng) if number else {"n_blocks": 2, "filters": 32, "peak_learning_rate": 6e-3, "flip": True}
    trial = TrialRecord(
        number=number,
        state=state,
        value=None,
        params=params,
        origin={0: "default", 1: "wide"}.get(number, "sampler"),
        reason="infeasible: 8,400,000 is over max_parameters = 5,000,000",
        started=(FIRST_END + timedelta(minutes=number - 1)).isoformat(),
        finished=(FIRST_END + timedelta(minutes=number)).isoformat(),
    )
    return trial if state == "infeasible" else _run(trial, made, rng)


FIRST_END = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ACTIVATIONS = ("relu", "elu", "silu")
STATES = ("complete", "pruned", "failed", "infeasible")


def _run(trial: TrialRecord, made: Made, rng: np.random.Generator) -> TrialRecord:
    """The trial, as it would be had it been trained."""
    n_images = {"complete": 60_000, "pruned": int(rng.choice([5_000, 15_000])), "failed": 1_000}[trial.state]
    reason = {
        "complete": "trained to the end",
        "pruned": f"pruned at {n_images:,} images",
        "failed": "ResourceExhaustedError: out of memory while allocating a tensor",
    }[trial.state]
    history = made_history(n_images, _quality(trial.params, rng), rng) if trial.state != "failed" else ()
    best = best_point(history)
    value = best.validation_accuracy if trial.state == "complete" else None
    return dataclasses.replace(
        trial,
        value=value,
        reason=reason,
        recipe=_recipe(trial.params, made).to_dict(),
        history=history if made.with_history else (),
        best=best if made.with_history else None,
        seconds=float(n_images / 400 * rng.uniform(0.7, 1.5)),
        n_images=n_images,
        n_parameters=int(rng.integers(50_000, 900_000)),
        multiply_adds=int(rng.integers(3_000_000, 60_000_000)),
        peak_memory_mb=float(rng.uniform(500, 900)),
    )


def _params(made: Made, rng: np.random.Generator) -> dict[str, object]:
    n_blocks = int(rng.integers(1, 1 + min(4, max_blocks(made.image_shape, "global_max"))))
    params: dict[str, object] = {
        "n_blocks": n_blocks,
        "filters": int(rng.choice([16, 32, 48, 64])),
        "activation": str(rng.choice(ACTIVATIONS)),
        "peak_learning_rate": float(10 ** rng.uniform(-4, -1.5)),
        "dropout": float(rng.uniform(0, 0.5)),
        "flip": bool(rng.random() < 0.5),
    }
    return params | {f"kernel_{i}": int(rng.choice([3, 5])) for i in range(n_blocks)}


def _recipe(params: dict[str, object], made: Made) -> Recipe:
    filters = int(params["filters"])
    blocks = tuple(Block(filters * 2**i, 2 if i else 1, 3) for i in range(int(params["n_blocks"])))
    architecture = Architecture(made.image_shape, len(made.class_names), blocks, dense_units=(128,), head_dropout=0.2)
    return Recipe(architecture, TrainingPlan(peak_learning_rate=float(params["peak_learning_rate"])))


def _quality(params: dict[str, object], rng: np.random.Generator) -> float:
    off = abs(np.log10(float(params["peak_learning_rate"])) + 2.3)
    return float(0.925 + 0.006 * int(params["n_blocks"]) - 0.03 * off**2 + rng.normal(0, 0.004))


def made_history(n_images: int, end: float, rng: np.random.Generator) -> tuple[HistoryPoint, ...]:
    steps = np.arange(1, 13) * n_images // 12
    rise = 1 - np.exp(-steps / 12_000)
    validation = np.clip(end - 0.4 * (1 - rise) + rng.normal(0, 0.002, 12), 0.05, 0.99)
    return tuple(
        HistoryPoint(
            n_images=int(n),
            seconds=float(n / 400),
            learning_rate=6e-3,
            train_loss=float(2.2 - 1.4 * up),
            train_accuracy=float(np.clip(v - 0.02 + 0.03 * up, 0, 1)),
            validation_loss=float(0.17 + 1.2 * (1 - v)),
            validation_accuracy=float(v),
        )
        for n, up, v in zip(steps, rise, validation, strict=True)
    )
