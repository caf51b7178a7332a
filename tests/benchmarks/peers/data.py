"""The images that the peers learn from: the tool's own split, its confirmation part given back to training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fmnist.data.find import find_data
from fmnist.data.images import LabelledImages
from fmnist.data.split import load_train
from tests.benchmarks.peers.records import Assignment


def load_for_peers(assignment: Assignment) -> tuple[LabelledImages, LabelledImages]:
    """55,000 images to train on, and the 5,000 that the tool, with the same seed, selects on."""
    data_dir = Path(assignment.data_dir) if assignment.data_dir is not None else None
    split = load_train(find_data("fashion-mnist", data_dir), assignment.seed)
    parts = (split.train, split.confirmation)
    together = LabelledImages(
        np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts])
    )
    return together, split.selection
