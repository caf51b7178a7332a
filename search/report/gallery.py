"""Which test images does a report show, and what is written below each?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fmnist.metrics.evaluation import Mistake
from search.format import percent
from search.report.analysis.evidence import Evidence
from search.report.charts.images import strip_png
from search.results.result import FinishedStudy
from search.results.trainings import Trainings

N_MISTAKES_SHOWN = 24
N_PAIRS_PICTURED = 5
N_IMAGES_PER_PAIR = 6
SAMPLE_BYTES = 1_200_000  # raw pixels of the sample images; with more, they are shrunk to keep the page light
NEAR_CERTAIN = 0.995  # confidence from here on would round to 100 %, so it gets another digit


@dataclass(frozen=True, eq=False)
class Tile:
    """A test image with what the model takes it for."""

    image: np.ndarray  # uint8 (h, w, c)
    index: int  # in the test set
    true: str  # class
    predicted: str
    confidence: str  # in percent

    @property
    def captions(self) -> tuple[str, ...]:
        """The lines below the image: what it is, what it is taken for if that is something else, and how surely."""
        if self.true == self.predicted:
            return f"is {self.true}", self.confidence
        return f"is {self.true}", f"not {self.predicted}", self.confidence


@dataclass(frozen=True)
class ConfusedSide:
    """Images of one class that are taken for another one."""

    true: str
    predicted: str
    n_images: int  # in all
    mistakes: list[Tile]  # the most confident of them


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes that are taken for each other."""

    names: tuple[str, str]  # in the order of the classes
    sides: list[ConfusedSide]  # those that have images


def tile_of(study: FinishedStudy, mistake: Mistake, image: np.ndarray) -> Tile:
    """Name the classes of a prediction and put its confidence into words.

    Args:
        study: whose test image it is.
        mistake: the prediction, right or wrong.
        image: uint8 (h, w, c).
    """
    names = study.data.class_names
    confidence = percent(mistake.confidence, 0)
    if mistake.confidence >= NEAR_CERTAIN:
        confidence = percent(mistake.confidence, 1)
    return Tile(image, mistake.index, names[mistake.true], names[mistake.predicted], confidence)


def worst_mistakes(study: FinishedStudy) -> list[Tile]:
    """The delivered model's most confident mistakes."""
    return [tile_of(study, mistake, image) for mistake, image in study.mistakes(N_MISTAKES_SHOWN)]


def confused_pairs(study: FinishedStudy) -> list[ConfusedPair]:
    """The pairs of classes that are most often taken for each other.

    Returns:
        At most N_PAIRS_PICTURED pairs with images from both sides; the pair that is confused most comes first.
    """
    index_of = {name: i for i, name in enumerate(study.data.class_names)}
    names: list[tuple[str, str]] = []
    for found in study.evaluation.most_confused:
        pair = (found.true, found.predicted)
        if index_of[found.true] > index_of[found.predicted]:
            pair = (found.predicted, found.true)
        if pair not in names:
            names.append(pair)
    pairs = []
    for first, second in names[:N_PAIRS_PICTURED]:
        sides = []
        for true, predicted in ((first, second), (second, first)):
            n_images = study.evaluation.confusion_matrix[index_of[true]][index_of[predicted]]
            if n_images:
                shown = study.mistakes(N_IMAGES_PER_PAIR, true=index_of[true], predicted=index_of[predicted])
                tiles = [tile_of(study, mistake, image) for mistake, image in shown]
                sides.append(ConfusedSide(true, predicted, n_images, tiles))
        pairs.append(ConfusedPair((first, second), sides))
    return pairs


def suspect_labels(study: FinishedStudy, evidence: Evidence) -> list[Tile]:
    """Test images whose label may be wrong, each with what all retrainings take it for."""
    row_of = {int(index): row for row, index in enumerate(study.arrays.mistake_indices)}
    tiles = []
    for mistake in evidence.label_issues[:N_MISTAKES_SHOWN]:
        tiles.append(tile_of(study, mistake, study.arrays.mistake_images[row_of[mistake.index]]))
    return tiles


def unsure_hits(study: FinishedStudy) -> list[Tile]:
    """The right answers given with the least confidence, least first.

    Returns:
        Empty for studies of before version 0.4.0, which kept none.
    """
    arrays = study.arrays
    if arrays.unsure_indices is None or arrays.unsure_images is None:
        return []
    confidences = arrays.probabilities[0].max(axis=1)
    tiles = []
    for index, image in zip(arrays.unsure_indices, arrays.unsure_images, strict=True):
        label = int(arrays.labels[index])
        tiles.append(tile_of(study, Mistake(int(index), label, label, confidences[index]), image))
    return tiles


def sample_strips(study: Trainings) -> list[tuple[str, bytes]]:
    """Each class with some of its training images side by side, as PNG."""
    shrink = min(1.0, math.sqrt(SAMPLE_BYTES / study.samples.nbytes))
    strips = []
    for name, images in zip(study.data.class_names, study.samples, strict=True):
        strips.append((name, strip_png(images, shrink)))
    return strips
