"""Fit a baseline by its name, and load what was fitted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist.baselines.catalog import Baseline, FittedModel, find_baseline, ignore
from fmnist.baselines.classical import Classifier, fit_classifier
from fmnist.baselines.networks import Network, fit_network
from fmnist.data.images import LabelledImages, joined
from fmnist.data.split import Split
from fmnist.training.history import HistoryPoint

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Fit:
    """A baseline, fitted."""

    model: FittedModel
    n_images: int  # that it learned from
    n_epochs: int | None  # of a network's training
    seconds: float  # wall time, features included
    reason: str  # why the fit ended, in words


def fit_baseline(
    name: str,
    split: Split,
    seed: int,
    n_threads: int = 1,
    *,
    on_progress: Callable[[HistoryPoint], None] = ignore,
) -> Fit:
    """Fit the baseline of this name. Networks call on_progress after each epoch; classifiers say nothing.

    Same seed, machine and number of threads: the same model. Raises ValueError for an unknown name; RuntimeError where
    TensorFlow has run something with another number of threads.
    """
    baseline, started = find_baseline(name), time.monotonic()
    learned_from, watched = _images_for(baseline, split)
    if baseline.kind == "network":
        model, reason, n_epochs = fit_network(baseline, learned_from, watched, seed, n_threads, on_progress)
    else:
        model, reason = fit_classifier(baseline, learned_from, seed, n_threads)
        n_epochs = None
    return Fit(model, len(learned_from), n_epochs, time.monotonic() - started, reason)


def load_baseline(name: str, path: Path, n_threads: int = 1) -> FittedModel:
    """What `save` of the fitted baseline of this name wrote. A classifier's file is a pickle: load your own only.

    n_threads: of a classifier's predictions; a network takes TensorFlow's, see `training.limit_threads`.
    """
    if find_baseline(name).kind == "network":
        import keras

        return Network(keras.saving.load_model(path, compile=False))
    import joblib

    return Classifier(name, joblib.load(path), n_threads)


def _images_for(baseline: Baseline, split: Split) -> tuple[LabelledImages, LabelledImages | None]:
    """What it learns from, and what it watches meanwhile."""
    if baseline.watches_selection:
        return joined(split.train, split.confirmation), split.selection
    return split.together(), None
