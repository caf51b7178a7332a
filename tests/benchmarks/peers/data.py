"""The images that the peers learn from: the tool's own split, its confirmation part given back to training."""

from __future__ import annotations

import numpy as np

from fmnist.data.images import LabelledImages
from fmnist.data.split import load_train
from tests.benchmarks.peers.records import Assignment


def load_for_peers(assignment: Assignment) -> tuple[LabelledImages, LabelledImages]:
    """All training images but those that the tool, with the same seed, selects on; and these."""
    split = load_train(assignment.images.find(assignment.seed), assignment.seed)
    parts = (split.train, split.confirmation)
    together = LabelledImages(
        np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts])
    )
    return together, split.selection
