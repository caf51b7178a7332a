"""A rare class that some images of the common one look like, so that accuracy is best without it."""

from __future__ import annotations

import numpy as np

N_COMMON, N_RARE = 400, 15  # training images
SHARE_ALIKE = 16  # every so many images of the common class look like the rare one: 25 of them to its 15


def rare_class(n_common: int, n_rare: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Grey noise, with a bright square on all images of the rare class, 1, and some of the common one, 0.

    An image with the square is of the rare class with probability 3/8, so who counts images calls everything common;
    who finds what has the square finds all of the rare class and 15 of 16 of the common one.

    Returns:
        Images, uint8 (n, 8, 8, 1), and labels, uint8 (n,).
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.array([0, 1], np.uint8), [n_common, n_rare])
    images = rng.normal(110.0, 30.0, (len(labels), 8, 8, 1))
    has_square = (labels == 1) | (np.arange(len(labels)) % SHARE_ALIKE == 0)
    images[has_square, 2:6, 2:6] += 80.0
    return images.clip(0, 255).astype(np.uint8), labels
