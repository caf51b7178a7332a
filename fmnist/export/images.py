"""On which images of the user's are exports compared? Read from an .npz file and checked."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from fmnist.errors import UserError
from fmnist.values import shown


def read_images(path: Path, option: str = "--images") -> tuple[np.ndarray, np.ndarray | None]:
    """Read the arrays x and y of an .npz file.

    Args:
        path: of the file.
        option: that it came with, for messages.

    Returns:
        x, raw pixels 0 to 255, (n, height, width, channels), n > 0, and y, integer labels (n,); None if the file has no
        y. In the file x may lack the channels.

    Raises:
        UserError: the file or its arrays cannot be used.
    """
    try:
        with np.load(path) as arrays:
            x, y = (arrays.get(name) for name in ("x", "y"))
    except (OSError, EOFError, ValueError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{option} must be an .npz file of arrays, but {path}: {error}; write it with numpy.savez"
        ) from error
    if x is None:
        raise UserError(f"{path} must hold images as x, but it has no x; write it with numpy.savez(path, x=images)")
    return check_images(x, y, f"x of {path}", f"y of {path}")


def check_images(
    images: object, labels: object, images_name: str, labels_name: str = "labels"
) -> tuple[np.ndarray, np.ndarray | None]:
    """Check images to compare on, and their labels.

    Args:
        images: raw pixels 0 to 255, (n, height, width, channels) or (n, height, width), n > 0, an array or lists.
        labels: whole numbers, (n,); None if unknown.
        images_name: what the images are called in messages.
        labels_name: what the labels are called.

    Returns:
        Both as arrays, the images with their channels.

    Raises:
        UserError: they cannot be used.
    """
    x = _as_array(images)
    if x is None or x.ndim not in (3, 4) or len(x) == 0 or x.dtype.kind not in "uif":
        raise UserError(
            f"{images_name} must be an array of images, (n, height, width) or (n, height, width, channels), but got "
            f"{shown(images if x is None else x)}; stack them by numpy.stack, one by images[np.newaxis]"
        )
    low, high = x.min(), x.max()
    if not (low >= 0 and 1 < high <= 255):
        raise UserError(
            f"{images_name} must be raw pixels from 0 to 255, as the model takes them, but got {low:g} to {high:g}; "
            "multiply shares of 1 by 255"
        )
    if x.ndim == 3:
        x = x[..., np.newaxis]
    if labels is None:
        return x, None
    y = _as_array(labels)
    if y is None or y.shape != (len(x),) or y.dtype.kind not in "ui":
        received = shown(labels if y is None else y)
        raise UserError(
            f"{labels_name} must be {len(x):,} whole numbers, one for each image, but got {received}; leave them out "
            "if they are not known"
        )
    return x, y


def _as_array(value: object) -> np.ndarray | None:
    """Return an array, or lists of numbers or arrays, as an array; None for what is no array, and for ragged lists."""
    if not isinstance(value, list | tuple | np.ndarray):
        return None
    try:
        return np.asarray(value)
    except ValueError:
        return None
