"""Drawings whose top left quadrant differs from the rest, and what tells in which quadrant most light is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from fmnist.model.metadata import ModelMetadata, write_metadata

if TYPE_CHECKING:
    import keras

QUADRANTS = ("top left", "top right", "bottom left", "bottom right")
SIDE = 16
ON_BLACK = ModelMetadata(QUADRANTS, (SIDE, SIDE, 1), background=10.0, contrast=255.0)
ON_WHITE = ModelMetadata(QUADRANTS, (SIDE, SIDE, 1), background=250.0, contrast=255.0)
IN_COLOUR = ModelMetadata(QUADRANTS, (SIDE, SIDE, 3), background=120.0)

Colour = str | int | tuple[int, ...]


def drawing(
    mode: str = "L", size: tuple[int, int] = (90, 60), ground: Colour = "white", ink: Colour = "black"
) -> Image.Image:
    """A frame around a square block in its top left quadrant, somewhere to the right on its ground."""
    picture = Image.new(mode, size, ground)
    width, height = size
    side = min(size) // 2
    left, top = width - side - side // 6, (height - side) // 2
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left, top, left + side, top + side), outline=ink, width=max(1, side // 20))
    draw.rectangle((left, top, left + side // 2 - 1, top + side // 2 - 1), fill=ink)
    return picture


def written(path: Path, picture: Image.Image, **options: Any) -> Path:
    """The path, once the picture is there."""
    picture.save(path, **options)
    return path


def brightest_quadrant(image: np.ndarray) -> str:
    """What `quadrant_model` finds most probable, without Keras. image: (height, width, channels)."""
    middle = image.shape[0] // 2
    light = image.mean(axis=2)
    quadrants = (light[:middle, :middle], light[:middle, middle:], light[middle:, :middle], light[middle:, middle:])
    return QUADRANTS[int(np.argmax([quadrant.sum() for quadrant in quadrants]))]


def quadrant_model(n_channels: int = 1, side: int = SIDE) -> keras.Model:
    """Says in which quadrant most light is, by its logits: twenty times the share of all light in each."""
    import keras

    inputs = keras.Input((side, side, n_channels))
    x = keras.layers.AveragePooling2D(side // 2)(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Flatten()(keras.ops.mean(x, axis=-1, keepdims=True))
    return keras.Model(inputs, keras.layers.Softmax()(20 * x))


def save(model: keras.Model, path: Path, metadata: ModelMetadata | None) -> Path:
    """The path, once the model is there with its metadata."""
    model.save(path)
    if metadata is not None:
        write_metadata(path, metadata)
    return path
