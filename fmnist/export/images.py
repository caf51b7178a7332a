"""On which images of the user's are exports compared? Read from an .npz file and checked."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from fmnist.errors import UserError


def read_images(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the arrays x and y of an .npz file.

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
            f"--images must be an .npz file of arrays, but {path}: {error}; write it with numpy.savez"
        ) from error
    if x is None or x.ndim not in (3, 4) or len(x) == 0 or x.dtype.kind not in "uif":
        got = "it has no x" if x is None else f"x is {x.dtype} of shape {x.shape}"
        raise UserError(f"x of {path} must be images, (n, height, width) or (n, height, width, channels), but {got}")
    low, high = x.min(), x.max()
    if not (low >= 0 and 1 < high <= 255):
        raise UserError(
            f"x of {path} must be raw pixels from 0 to 255, as the model takes them, but goes from {low:g} to {high:g}"
        )
    if y is not None and (y.shape != (len(x),) or y.dtype.kind not in "ui"):
        raise UserError(f"y of {path} must be {len(x):,} whole numbers, one for each image, but is {y.dtype} {y.shape}")
    if x.ndim == 3:
        x = x[..., np.newaxis]
    return x, y
