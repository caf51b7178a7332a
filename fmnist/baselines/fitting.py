"""How is a baseline fitted, or loaded, by its name? Keras or scikit-learn is loaded by whoever needs it, and then only.

Every training process imports this module, and most of them never fit a baseline.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fmnist.baselines.catalog import FittedModel, find_baseline, ignore
from fmnist.data.images import joined
from fmnist.data.split import Split
from fmnist.scoring import ClassWeights
from fmnist.training.history import HistoryPoint


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
    class_weights: ClassWeights = "none",
) -> Fit:
    """Fit the baseline of this name. Same seed, machine and number of threads: the same model.

    Args:
        name: one of BASELINES'.
        split: it learns from all three parts; a baseline that watches the selection split learns from the others.
        seed: of whatever its method draws.
        n_threads: of the fit and of a classifier's predictions.
        on_progress: called by networks after each epoch; classifiers say nothing.
        class_weights: "balanced" weighs the loss by class, as `fmnist.scoring.weights_of_classes` has it, where the
            baseline `weighs_classes`.

    Raises:
        ValueError: there is no baseline of this name.
        RuntimeError: TensorFlow has run something with another number of threads.
    """
    baseline, started = find_baseline(name), time.monotonic()
    if not baseline.weighs_classes:
        class_weights = "none"
    if baseline.watches_selection:
        learned_from, watched = joined(split.train, split.confirmation), split.selection
    else:
        learned_from, watched = split.together(), None
    if baseline.kind == "network":
        from fmnist.baselines.networks import fit_network

        model, reason, n_epochs = fit_network(
            baseline, learned_from, watched, seed, n_threads, on_progress, class_weights
        )
    else:
        from fmnist.baselines.classical import fit_classifier

        model, reason = fit_classifier(baseline, learned_from, seed, n_threads, class_weights)
        n_epochs = None
    return Fit(model, len(learned_from), n_epochs, time.monotonic() - started, reason)


def load_baseline(name: str, path: Path, n_threads: int = 1) -> FittedModel:
    """Load what `save` of the fitted baseline of this name wrote. A classifier's file is a pickle: load your own only.

    Args:
        name: one of BASELINES'.
        path: of the file.
        n_threads: of a classifier's predictions; a network takes TensorFlow's, see `training.execution`.

    Raises:
        ValueError: there is no baseline of this name.
    """
    baseline = find_baseline(name)
    if baseline.kind == "network":
        from fmnist.baselines.networks import load_network

        return load_network(path)
    from fmnist.baselines.classical import load_classifier

    return load_classifier(baseline, path, n_threads)
