"""Which baselines are there? Plain networks and classical classifiers by name, as one would begin without this tool.

They are fitted and scored beside a study's winner, on the same images and the same machine; nothing of them is tuned.
Those that watch nothing learn from all training images; those that stop early, or lower their rate, by the selection
split learn from the rest. The supervisor and the report read this table, so it needs neither Keras nor scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from fmnist.training.history import HistoryPoint


@dataclass(frozen=True)
class Baseline:
    """One way to begin, as the report names it."""

    name: str  # also its files'
    kind: str  # "network" or "classical"
    description: str  # what it is and how it learns, in words
    published_accuracy: float | None = None  # on the test set, as the notebook itself says it, to a hundredth
    n_epochs: int | None = None  # of a network's training, at most
    watches_selection: bool = False  # learns from train and confirmation split only
    stops_early: bool = False
    features: str = "pixels"  # of a classifier: "pixels" or "gradients", histograms of oriented gradients
    weighs_classes: bool = True  # whether classes can count more or less in how it learns

    @property
    def suffix(self) -> str:
        """The suffix of the file that the fitted model is saved in."""
        return ".keras" if self.kind == "network" else ".joblib"


BASELINES = (
    Baseline(
        "three-convolutions",
        "network",
        "three convolutions (32, 64 and 128 filters of 3 x 3), each with max pooling, and two dense layers of 512 with "
        "dropout 0.2; Adam, 15 epochs",
        published_accuracy=0.89,
        n_epochs=15,
    ),
    Baseline(
        "conv-pool-dense",
        "network",
        "one convolution (32 filters of 3 x 3) with max pooling and a dense layer of 100; Adam, 15 epochs",
        published_accuracy=0.91,
        n_epochs=15,
    ),
    Baseline(
        "conv-pool-dense-stopped",
        "network",
        "the same network, stopped after 10 epochs without a lower loss on the selection split, 150 at most, with the "
        "best epoch's weights",
        published_accuracy=0.91,
        n_epochs=150,
        watches_selection=True,
        stops_early=True,
    ),
    Baseline(
        "conv-pool-dense-plateau",
        "network",
        "the same network, 15 epochs of categorical cross-entropy on one-hot labels, its learning rate halved after 3 "
        "epochs without a higher accuracy on the selection split",
        n_epochs=15,
        watches_selection=True,
    ),
    Baseline("logistic-regression", "classical", "logistic regression on the pixels"),
    Baseline(
        "hog-linear-svm",
        "classical",
        "linear support vector machine on histograms of oriented gradients of the image",
        features="gradients",
    ),
    Baseline("gradient-boosting", "classical", "histogram gradient boosting on the pixels, 100 rounds"),
    Baseline("random-forest", "classical", "random forest on the pixels, 100 trees"),
    Baseline(
        "nearest-neighbours",
        "classical",
        "vote of the 5 nearest training images, by Euclidean distance",
        weighs_classes=False,
    ),
)


class FittedModel(Protocol):
    """What a baseline has learned: a network or a classifier."""

    @property
    def n_parameters(self) -> int | None:
        """The number of a network's weights; None for a classifier."""

    def predict_classes(self, images: np.ndarray) -> np.ndarray:
        """Predict the class of each image: uint8 (n,). images: uint8 (n, height, width, channels), n > 0."""
        ...

    def save(self, path: Path) -> None:
        """Write the model where `load_baseline` reads it. The path ends in the baseline's suffix."""


def ignore(point: HistoryPoint) -> None:
    """Do nothing with a progress report."""


def find_baseline(name: str) -> Baseline:
    """Find a baseline by its name.

    Raises:
        ValueError: there is none of this name.
    """
    for baseline in BASELINES:
        if baseline.name == name:
            return baseline
    raise ValueError(f"a baseline must be one of {', '.join(b.name for b in BASELINES)}, but got {name!r}")
