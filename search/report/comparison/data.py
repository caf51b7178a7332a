"""What do two finished studies say side by side: what was each measured on, what did it cost, where do they differ?

From records to numbers; `search.report.comparison.text` puts them into words and `search.report.comparison.charts` into
pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fmnist.data.arrays.idx.names import parse_idx_name
from fmnist.data.idx import TEST_IMAGES, TEST_LABELS
from fmnist.metrics.evaluation import ClassScore
from fmnist.metrics.intervals import McNemar, holm, mcnemar
from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Recipe
from fmnist.scoring import BEFORE_THE_CHOICE, Metric
from search.records.io import flat
from search.report.analysis.trials import BestSoFar, best_so_far
from search.report.text.recipe import describe_block
from search.results.result import FinishedStudy

# Of the configuration, what is told among data, seeds and versions
NOT_SETTINGS = ("study", "format", "version", "dataset", "data_checksums", "split_checksum", "seed")


@dataclass(frozen=True)
class Entry:
    """One thing that two studies say of themselves. None: not said."""

    name: str
    a: Any
    b: Any

    @property
    def differs(self) -> bool:
        """Whether the two say different things."""
        return self.a != self.b


@dataclass(frozen=True)
class ClassContrast:
    """One class of the same test images, by the two delivered models."""

    name: str
    n_images: int
    a: ClassScore
    b: ClassScore
    test: McNemar  # on the images of this class
    p_adjusted: float  # by Holm, for all classes

    @property
    def recall_difference(self) -> float:
        """Recall by b's model less recall by a's."""
        return self.b.recall - self.a.recall


@dataclass(frozen=True)
class Comparison:
    """Two finished studies. Differences are b's figure less a's."""

    a: FinishedStudy
    b: FinishedStudy

    @property
    def both(self) -> tuple[FinishedStudy, FinishedStudy]:
        """The studies, a first."""
        return self.a, self.b

    @property
    def names(self) -> tuple[str, str]:
        """The names of the studies, a's first."""
        return self.a.files.root.name, self.b.files.root.name

    @cached_property
    def is_same_test(self) -> bool:
        """Whether both were tested on the same images: only then do their accuracies answer the same question."""
        pixels_a, pixels_b = self.a.data.test_checksum, self.b.data.test_checksum
        if pixels_a is not None and pixels_b is not None:
            is_same = pixels_a == pixels_b
        else:
            is_same = checksums_of_test(self.a.data.checksums) == checksums_of_test(self.b.data.checksums)
        return is_same and np.array_equal(self.a.arrays.labels, self.b.arrays.labels)

    @property
    def is_same_selection(self) -> bool:
        """Whether both searches scored their trials on the same images."""
        a, b = self.a.data, self.b.data
        return a.checksums == b.checksums and a.split_checksum == b.split_checksum

    @property
    def is_same_length(self) -> bool:
        """Whether both searches trained their trials for the same number of images."""
        fidelity_a = self.a.config.get("space", {}).get("fidelity")
        return fidelity_a == self.b.config.get("space", {}).get("fidelity")

    @property
    def metric(self) -> Metric | None:
        """What decided in both studies; None where one was decided by another metric than the other."""
        return self.a.metric if self.a.metric == self.b.metric else None

    @property
    def has_comparable_curves(self) -> bool:
        """Whether the best trials of both searches can be set against each other: figures of one kind, of like images.

        Strictly they would have to be the same images; those of another split of the same set are near enough.
        """
        return self.is_same_test and self.metric is not None

    @cached_property
    def test(self) -> McNemar:
        """McNemar's exact test of the two delivered models. Only where `is_same_test`."""
        return mcnemar(self.a.arrays.labels, predicted_classes(self.a), predicted_classes(self.b))

    @cached_property
    def ensembles(self) -> McNemar | None:
        """McNemar's exact test of the two ensembles; None where one study has none. Only where `is_same_test`."""
        of_a, of_b = self.a.arrays.ensemble_probabilities, self.b.arrays.ensemble_probabilities
        if of_a is None or of_b is None:
            return None
        return mcnemar(self.a.arrays.labels, of_a.argmax(axis=1), of_b.argmax(axis=1))

    @cached_property
    def classes(self) -> tuple[ClassContrast, ...]:
        """Each class by the two delivered models, in the order of the classes. Only where `is_same_test`."""
        labels = self.a.arrays.labels
        predicted_a, predicted_b = predicted_classes(self.a), predicted_classes(self.b)
        scores = list(zip(self.a.evaluation.per_class, self.b.evaluation.per_class, strict=True))
        tests = []
        for label in range(len(scores)):
            rows = labels == label
            tests.append(mcnemar(labels[rows], predicted_a[rows], predicted_b[rows]))
        adjusted = holm([test.p_value for test in tests])
        contrasts = []
        for (a, b), test, p_adjusted in zip(scores, tests, adjusted, strict=True):
            contrasts.append(ClassContrast(a.name, a.support, a, b, test, p_adjusted))
        return tuple(contrasts)

    @cached_property
    def curves(self) -> tuple[tuple[BestSoFar, ...], tuple[BestSoFar, ...]]:
        """How the best trial of each search rose; empty where no trial was trained to its end."""
        return best_so_far(self.a.trials), best_so_far(self.b.trials)

    @cached_property
    def recipes(self) -> tuple[Entry, ...]:
        """The recipes of the two winners, by block and by parameter."""
        return entries(recipe_entries(self.a.recipe), recipe_entries(self.b.recipe))

    @cached_property
    def data_and_seeds(self) -> tuple[Entry, ...]:
        """The images that the two saw, and the seeds that they drew from."""
        return entries(data_entries(self.a), data_entries(self.b))

    @cached_property
    def machines(self) -> tuple[Entry, ...]:
        """The machines and versions that the two were made with."""
        return entries(self.a.environment, self.b.environment)

    @cached_property
    def settings(self) -> tuple[Entry, ...]:
        """The settings of the two searches, the search space included."""
        return entries(settings_of(self.a), settings_of(self.b))


def entries(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Entry, ...]:
    """Set what two studies say of themselves side by side.

    Args:
        a: name -> value, of the first study.
        b: of the second.

    Returns:
        An entry for each name, a's first, then those that only b has.
    """
    found = []
    for name in {**a, **b}:
        found.append(Entry(name, a.get(name), b.get(name)))
    return tuple(found)


def n_parameters(study: FinishedStudy) -> int:
    """Parameters of the delivered network."""
    return count_parameters(study.recipe.architecture)


def multiply_adds(study: FinishedStudy) -> int:
    """Multiply-adds of the delivered network per image, forward."""
    return count_multiply_adds(study.recipe.architecture)


def mean_confidence(study: FinishedStudy) -> float:
    """Mean confidence of the delivered model on the test set."""
    return float(study.arrays.probabilities[0].max(axis=1).mean())


def predicted_classes(study: FinishedStudy) -> np.ndarray:
    """What the delivered model takes each test image for: int (n,)."""
    return study.arrays.probabilities[0].argmax(axis=1)


def checksums_of_test(checksums: Mapping[str, str]) -> Mapping[str, str]:
    """Checksums of the test images' files; of data in one piece, that piece's."""
    of_test = {}
    for name, md5 in checksums.items():
        parsed = parse_idx_name(name.rpartition("/")[2])
        if parsed is not None and parsed.role in (TEST_IMAGES, TEST_LABELS):
            of_test[name] = md5
    return of_test or checksums


def recipe_entries(recipe: Recipe) -> dict[str, Any]:
    """What a recipe says by name: each block in words, every other parameter as it is."""
    said: dict[str, Any] = {}
    for i, block in enumerate(recipe.architecture.blocks, start=1):
        said[f"block {i}"] = describe_block(block)
    parameters = dataclasses.asdict(recipe.architecture) | dataclasses.asdict(recipe.plan)
    del parameters["blocks"]
    for name, value in parameters.items():
        if name.startswith("n_"):
            name = f"number of {name.removeprefix('n_')}"
        said[name.replace("_", " ")] = value
    return said


def data_entries(study: FinishedStudy) -> dict[str, Any]:
    """What a study says of its images and its seeds, by name."""
    data = study.data
    return {
        "data set": data.dataset,
        **{f"MD5 of {name}": md5 for name, md5 in data.checksums.items()},
        "image shape": data.image_shape,
        "classes": data.class_names,
        **{f"{part} images": n for part, n in data.n_images.items() if part != "test"},
        "test images": len(study.arrays.labels),
        "seed of the study": study.config.get("seed"),
        "seed of the split": data.split_seed,
        "checksum of the split": data.split_checksum,
        "seed of the winner as a finalist": study.winner.seed,
        "seeds of what is delivered": tuple(refit.seed for refit in study.refits),
        "trials asked for": study.test.n_trials_asked,
        "test set opened": study.test.opened,
    }


def settings_of(study: FinishedStudy) -> dict[str, Any]:
    """The settings of a study's search, nested ones by dotted names."""
    settings = dict(study.config)
    for name in NOT_SETTINGS:
        settings.pop(name, None)
    for name, value in BEFORE_THE_CHOICE.items():
        if settings.get(name) is None:
            settings[name] = value
    return flat(settings)
