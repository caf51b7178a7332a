"""How are training images changed at random? Arrays in, arrays out; never inside a model, where it would be exported.

Images are uint8 (n, height, width, channels) and stay so. No function changes its input; where there is nothing to do
it may return the input itself.
"""

from __future__ import annotations

import numpy as np

from fmnist.recipe import TrainingPlan

ERASED_AREA = (0.02, 0.2)  # smallest and largest share of the image (Zhong et al. 2017 go up to 0.4)
ERASED_ASPECT = (0.3, 1 / 0.3)  # height / width


def augment(
    images: np.ndarray, plan: TrainingPlan, first_flip: np.ndarray, epoch: int, generator: np.random.Generator
) -> np.ndarray:
    """Apply the plan's flips, shifts and erasures, in this order.

    Args:
        images: uint8 (n, height, width, channels).
        plan: says what is done, and how much of it.
        first_flip: bool (n,), the images mirrored in epoch 0, see `alternating_flip`.
        epoch: from 0.
        generator: draws shifts and erasures.

    Returns:
        uint8 (n, height, width, channels).
    """
    if plan.flip:
        images = alternating_flip(images, first_flip, epoch)
    if plan.shift > 0:
        images = shift(images, plan.shift, generator, plan.border)
    if plan.erasing > 0:
        images = erase(images, plan.erasing, None, generator)
    return images


def alternating_flip(images: np.ndarray, first_flip: np.ndarray, epoch: int) -> np.ndarray:
    """Mirror images left-right in every second epoch: those of `first_flip`, bool (n,), in epochs 0, 2, 4...

    The others are mirrored in epochs 1, 3, 5... Any two epochs in a row show both views of an image; coin flips often
    repeat one (Jordan 2024).
    """
    mirrored = first_flip if epoch % 2 == 0 else ~first_flip
    flipped = images.copy()
    flipped[mirrored] = images[mirrored, :, ::-1]
    return flipped


def shift(images: np.ndarray, max_pixels: int, generator: np.random.Generator, border: str = "black") -> np.ndarray:
    """Move every image by its own whole number of pixels down or up and right or left, all equally likely.

    Args:
        images: uint8 (n, height, width, channels).
        max_pixels: the largest move in each direction.
        generator: draws the moves.
        border: what comes in over the border, "black" for 0 or "edge" for the pixel next to it.
    """
    if max_pixels == 0:
        return images
    n, height, width, channels = images.shape
    padded = with_margin(images, max_pixels, border)
    top, left = generator.integers(0, 2 * max_pixels + 1, size=(2, n))
    # Every run of `width` pixels in a row as one item, void (n, height, offsets): several times as fast as by pixels.
    runs = np.ndarray(
        (n, padded.shape[1], 2 * max_pixels + 1),
        np.dtype((np.void, width * channels)),
        buffer=padded.data,
        strides=padded.strides[:3],
    )
    moved = runs[np.arange(n)[:, None], top[:, None] + np.arange(height), left[:, None]]
    return moved.view(np.uint8).reshape(images.shape)


def with_margin(images: np.ndarray, n_pixels: int, border: str) -> np.ndarray:
    """Add this many pixels on each of the images' four sides. border: as in `shift`."""
    margins = ((0, 0), (n_pixels, n_pixels), (n_pixels, n_pixels), (0, 0))
    if border == "edge":
        return np.pad(images, margins, mode="edge")
    return np.pad(images, margins)


def erase(images: np.ndarray, probability: float, fill: int | None, generator: np.random.Generator) -> np.ndarray:
    """Cover one rectangle of each chosen image (random erasing, Zhong et al. 2017).

    A rectangle has 2 to 20 % of the image's area and a height of 0.3 to 3.3 widths, rounded to whole pixels and cut to
    the image's sides; it lies anywhere within.

    Args:
        images: uint8 (n, height, width, channels).
        probability: of each image to be chosen.
        fill: the value of erased pixels, 0 to 255; None: uniform random ones.
        generator: draws images, rectangles and pixels.
    """
    chosen = np.flatnonzero(generator.random(len(images)) < probability)
    subset = images[chosen]
    height, width = images.shape[1:3]
    mask = _rectangles(len(chosen), height, width, generator)[..., None]
    pixels = generator.integers(0, 256, size=subset.shape, dtype=np.uint8) if fill is None else np.uint8(fill)
    erased = images.copy()
    erased[chosen] = np.where(mask, pixels, subset)
    return erased


def _rectangles(n: int, height: int, width: int, generator: np.random.Generator) -> np.ndarray:
    """Draw random rectangles as masks: bool (n, height, width)."""
    area = generator.uniform(*ERASED_AREA, size=n) * height * width
    smallest, largest = np.log(ERASED_ASPECT)
    aspect = np.exp(generator.uniform(smallest, largest, size=n))
    rows = _intervals(np.sqrt(area * aspect), height, generator)
    columns = _intervals(np.sqrt(area / aspect), width, generator)
    return rows[:, :, None] & columns[:, None, :]


def _intervals(lengths: np.ndarray, side: int, generator: np.random.Generator) -> np.ndarray:
    """Place intervals of these lengths, rounded to 1...side, anywhere on a side: bool (n, side)."""
    whole_lengths = np.clip(np.rint(lengths), 1, side).astype(np.int64)
    starts = generator.integers(0, side - whole_lengths + 1)[:, None]
    positions = np.arange(side)
    return (positions >= starts) & (positions < starts + whole_lengths[:, None])
