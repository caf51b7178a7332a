"""Two finished studies put together: what both were measured on, what each paid, and in what they differ.

From records to numbers; `search.report.comparison.text` puts them into words and `search.report.comparison.charts` into pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fmnist.data.idx import TEST_IMAGES, TEST_LABELS
from fmnist.metrics.evaluation import ClassScore
from fmnist.metrics.intervals import McNemar, holm, mcnemar
from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Block, Recipe
from search.records.io import flat
from search.report.analysis import BestSoFar, best_so_far
from search.results import FinishedStudy

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
        """b's less a's."""
        return self.b.recall - self.a.recall


@dataclass(frozen=True)
class Comparison:
    """Two finished studies. Differences are b's figure less a's."""

    a: FinishedStudy
    b: FinishedStudy

    @property
    def both(self) -> tuple[FinishedStudy, FinishedStudy]:
        return self.a, self.b

    @property
    def names(self) -> tuple[str, str]:
        return self.a.files.root.name, self.b.files.root.name

    @cached_property
    def is_same_test(self) -> bool:
        """Whether both were tested on the same images: only then do their accuracies answer the same question."""
        files_a, files_b = (_test_checksums(study_result.data.checksums) for study_result in self.both)
        pixels_a, pixels_b = (study_result.data.test_checksum for study_result in self.both)
        is_same = files_a == files_b if None in (pixels_a, pixels_b) else pixels_a == pixels_b
        return is_same and np.array_equal(self.a.arrays.labels, self.b.arrays.labels)

    @property
    def is_same_selection(self) -> bool:
        """Whether both searches scored their trials on the same images."""
        a, b = self.a.data, self.b.data
        return a.checksums == b.checksums and a.split_checksum == b.split_checksum

    @property
    def is_same_length(self) -> bool:
        """Whether both searches trained their trials for the same number of images."""
        a, b = (study_result.config.get("space", {}).get("fidelity") for study_result in self.both)
        return a == b

    @cached_property
    def test(self) -> McNemar:
        """Of the two delivered models. Only where `is_same_test`."""
        return mcnemar(self.a.arrays.labels, *(_predicted(study_result) for study_result in self.both))

    @cached_property
    def classes(self) -> tuple[ClassContrast, ...]:
        """Only where `is_same_test`."""
        labels, (predicted_a, predicted_b) = self.a.arrays.labels, map(_predicted, self.both)
        scores = list(zip(self.a.evaluation.per_class, self.b.evaluation.per_class, strict=True))
        of_class = [labels == label for label in range(len(scores))]
        tests = [mcnemar(labels[rows], predicted_a[rows], predicted_b[rows]) for rows in of_class]
        adjusted = holm([test.p_value for test in tests])
        return tuple(
            ClassContrast(a.name, a.support, a, b, test, p)
            for (a, b), test, p in zip(scores, tests, adjusted, strict=True)
        )

    @cached_property
    def curves(self) -> tuple[tuple[BestSoFar, ...], tuple[BestSoFar, ...]]:
        return best_so_far(self.a.trials), best_so_far(self.b.trials)

    @cached_property
    def recipes(self) -> tuple[Entry, ...]:
        """Of the two winners."""
        return entries(*(_recipe_entries(study_result.recipe) for study_result in self.both))

    @cached_property
    def data_and_seeds(self) -> tuple[Entry, ...]:
        return entries(*(_data_entries(study_result) for study_result in self.both))

    @cached_property
    def machines(self) -> tuple[Entry, ...]:
        return entries(self.a.environment, self.b.environment)

    @cached_property
    def settings(self) -> tuple[Entry, ...]:
        """Of the two searches, the search space included."""
        return entries(*(flat(_without(study_result.config, NOT_SETTINGS)) for study_result in self.both))


def entries(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Entry, ...]:
    """All names of both, a's first."""
    return tuple(Entry(name, a.get(name), b.get(name)) for name in {**a, **b})


def n_parameters(study_result: FinishedStudy) -> int:
    return count_parameters(study_result.recipe.architecture)


def multiply_adds(study_result: FinishedStudy) -> int:
    """Per image, forward."""
    return count_multiply_adds(study_result.recipe.architecture)


def mean_confidence(study_result: FinishedStudy) -> float:
    """Of the delivered model, on the test set."""
    return float(study_result.arrays.probabilities[0].max(axis=1).mean())


def _predicted(study_result: FinishedStudy) -> np.ndarray:
    """By the delivered model: int (n,)."""
    return study_result.arrays.probabilities[0].argmax(axis=1)


def _test_checksums(checksums: Mapping[str, str]) -> Mapping[str, str]:
    """Those of the test images' files; of data in one piece, that piece's."""
    of_test = {name: md5 for name, md5 in checksums.items() if name.startswith((TEST_IMAGES, TEST_LABELS))}
    return of_test or checksums


def _recipe_entries(recipe: Recipe) -> dict[str, Any]:
    architecture, plan = dataclasses.asdict(recipe.architecture), dataclasses.asdict(recipe.plan)
    blocks = {f"block {i}": _block_in_words(block) for i, block in enumerate(recipe.architecture.blocks, start=1)}
    rest = {_spaced(name): value for name, value in (architecture | plan).items() if name != "blocks"}
    return {**blocks, **rest}


def _block_in_words(block: Block) -> str:
    convolutions = "1 convolution" if block.n_convolutions == 1 else f"{block.n_convolutions} convolutions"
    parts = [
        f"{convolutions} of {block.kernel_size} x {block.kernel_size}, {block.filters} filters",
        f"dropout {block.dropout:g}" if block.dropout else "",
        "residual" if block.residual else "",
    ]
    return ", ".join(part for part in parts if part)


def _data_entries(study_result: FinishedStudy) -> dict[str, Any]:
    data = study_result.data
    images = {f"{part} images": n for part, n in data.n_images.items() if part != "test"}
    return {
        "data set": data.dataset,
        **{f"MD5 of {name}": md5 for name, md5 in data.checksums.items()},
        "image shape": data.image_shape,
        "classes": data.class_names,
        **images,
        "test images": len(study_result.arrays.labels),
        "seed of the study": study_result.config.get("seed"),
        "seed of the split": data.split_seed,
        "checksum of the split": data.split_checksum,
        "seed of the winner's confirmation": study_result.winner.seed,
        "seeds of the retrainings": tuple(refit.seed for refit in study_result.refits),
        "trials asked for": study_result.test.n_trials_asked,
        "test set opened": study_result.test.opened,
    }


def _spaced(name: str) -> str:
    return name.replace("n_", "number of ", 1).replace("_", " ") if name.startswith("n_") else name.replace("_", " ")


def _without(mapping: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}
