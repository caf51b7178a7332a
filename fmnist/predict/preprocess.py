"""From a picture to an image like those that a model was trained on. Pillow and NumPy, no Keras.

A model that was trained on picture files says in its file how they were read, and new ones are read the same way.

All other pictures are taken for photographs, which are made to look like training images: laid on a background where
they are transparent, inverted where their background is light and the training images' was dark, trimmed to their
object and fitted into the model's frame. So Fashion-MNIST was made from the photographs of a shop: trimmed, scaled to
the frame, centred, negated, its background black and its contrast full.

Does not cover: finding one object among several, backgrounds with a pattern (the whole picture is then fitted), colour
profiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from fmnist.data.decode import (
    FORMATS,
    Content,
    Layers,
    UnknownFormat,
    UnreadablePicture,
    decode,
    decode_layers,
    size_of,
    without_warnings,
)
from fmnist.data.framing import Objects, border_level, find_objects
from fmnist.model.metadata import ModelMetadata

OVERSIZE = 4  # a photograph is measured in about so many times the model's size: enough for the object's box
DARK, LIGHT = 64.0, 191.0  # a mean border pixel up to the one, or from the other on, is of a black or a white ground
MIN_GAIN = 64.0  # by which the border comes nearer to the training images' one, for it alone to decide
NEARLY_WHITE = 240.0  # a transparent picture whose object is lighter would vanish on white
FULL_CONTRAST = 240.0  # training images from which on a photograph's contrast is stretched to all of 0 to 255
FORMAT_NAMES = {"WEBP": "WebP", "JPEG2000": "JPEG 2000", "HEIF": "HEIC"}  # where they differ from Pillow's


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image for the model, and what was done to make it."""

    image: np.ndarray  # uint8 (height, width, channels)
    inverted: bool  # light and dark were exchanged
    fitted: bool  # scaled, and trimmed if it is a photograph; False: it had the model's size and was taken as it was
    own_size: tuple[int, int]  # height and width of the file's picture, upright


def prepare(content: Content, metadata: ModelMetadata, *, may_invert: bool = True) -> Prepared:
    """Make an image for a model from the content of a picture file, or from a picture that Pillow has opened.

    Args:
        content: The file's bytes, or the picture, which stays as it is.
        metadata: Of the model.
        may_invert: False keeps the light backgrounds of photographs light.

    Raises:
        UnreadablePicture: The content cannot be decoded.
    """
    try:
        with without_warnings():
            if can_read_as_in_training(content, metadata):
                return prepare_as_in_training(content, metadata)
            return prepare_photograph(content, metadata, may_invert=may_invert)
    except UnknownFormat as error:
        names = [FORMAT_NAMES.get(name, name) for name in FORMATS]
        readable = f"{', '.join(names[:-1])} or {names[-1]}"
        raise UnreadablePicture(f"not a picture that can be read ({readable})") from error


def can_read_as_in_training(content: Content, metadata: ModelMetadata) -> bool:
    """Tell whether training could have read this picture.

    It could not if the model was not trained on picture files, or if these were not fitted, so that they all had one
    size, and this one has another.
    """
    if metadata.picture_form is None:
        return False
    return metadata.picture_form.side is not None or size_of(content) == metadata.image_shape[:2]


def prepare_as_in_training(content: Content, metadata: ModelMetadata) -> Prepared:
    """Read a picture file pixel by pixel as training would have. Raises UnreadablePicture."""
    assert metadata.picture_form is not None
    picture = decode(content, metadata.picture_form)
    is_fitted = picture.own_size != metadata.image_shape[:2]
    return Prepared(picture.pixels, inverted=False, fitted=is_fitted, own_size=picture.own_size)


def prepare_photograph(content: Content, metadata: ModelMetadata, *, may_invert: bool = True) -> Prepared:
    """Make a photograph look like a training image.

    A picture of exactly the model's size is taken as it is, but for its colours, and inverted if need be; its bytes
    stay the same if it is grey on a background like the training images'.

    Args:
        content: The file's bytes, or the picture, which stays as it is.
        metadata: Of the model.
        may_invert: False keeps light light.

    Raises:
        UnreadablePicture: The content cannot be decoded.
    """
    height, width, n_channels = metadata.image_shape
    layers = decode_layers(content, n_channels, OVERSIZE * max(height, width))
    may_invert = may_invert and n_channels == 1  # inverting a colour image makes no sense
    pixels = made_opaque(layers, metadata, may_invert)
    if layers.own_size == (height, width):
        inverted = may_invert and border_gain(pixels, metadata) > MIN_GAIN
        if inverted:
            pixels = 255 - pixels
    else:
        found = find_objects(pixels[np.newaxis])
        inverted = may_invert and should_invert(pixels, found, metadata)
        pixels = fitted_into_frame(pixels, found, metadata, inverted)
    image = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return Prepared(image, inverted, layers.own_size != (height, width), layers.own_size)


def made_opaque(layers: Layers, metadata: ModelMetadata, may_invert: bool) -> np.ndarray:
    """Lay a picture on a background where it is transparent.

    The background is white, as in a shop's photographs, or black if the object would vanish on white. If the picture
    cannot be inverted later, it is the training images' own.

    Returns:
        float32 (height, width, channels).
    """
    if layers.opacity is None:
        return layers.pixels
    ground = ground_of(metadata)
    if may_invert:
        weights = None
        if layers.opacity.any():
            weights = layers.opacity
        ground = 255.0
        if np.average(layers.pixels, weights=weights) >= NEARLY_WHITE:
            ground = 0.0
    return layers.pixels * layers.opacity + np.float32(ground) * (1 - layers.opacity)


def ground_of(metadata: ModelMetadata) -> float:
    """Say what is behind the objects of the training images: black, white, or the mean of borders that are neither.

    Borders also show some of the objects, so that a nearly black or white one is taken for black or white.
    """
    if metadata.background < DARK:
        return 0.0
    if metadata.background > LIGHT:
        return 255.0
    return metadata.background


def border_gain(pixels: np.ndarray, metadata: ModelMetadata) -> float:
    """Say by how much inverting a grey picture brings its border nearer to the training images' background."""
    level = float(border_level(pixels[np.newaxis])[0, 0])
    return abs(level - metadata.background) - abs(255 - level - metadata.background)


def should_invert(pixels: np.ndarray, found: Objects, metadata: ModelMetadata) -> bool:
    """Decide whether to exchange light and dark in a grey photograph.

    Its border decides, if it is clearly light or dark. If it is not and an object is found, the object must be on the
    same side of its background, lighter or darker, as those of the training images.
    """
    gain = border_gain(pixels, metadata)
    ground = ground_of(metadata)
    if abs(gain) > MIN_GAIN or not found.is_found[0] or ground not in (0, 255):
        return gain > MIN_GAIN
    return is_lighter(pixels - found.backgrounds[0]) != (ground == 0)


def is_lighter(differences: np.ndarray) -> bool:
    """Tell whether an object is, all in all, lighter than its background, by its differences from it."""
    return float(differences.sum()) > 0


def fitted_into_frame(pixels: np.ndarray, found: Objects, metadata: ModelMetadata, inverted: bool) -> np.ndarray:
    """Trim a photograph to its object, scale it, and centre it in the model's frame.

    Around it is the training images' background if the photograph's own is plain, and else the colour of its border.

    Returns:
        float32 of the model's image shape.
    """
    background = found.backgrounds[0]
    if inverted:
        pixels, background = 255 - pixels, 255 - background
    ground = ground_of(metadata)
    is_light = ground == 0  # what the training images' objects are, against their background
    is_plain = found.is_found[0] and pixels.shape[2] == 1 and ground in (0, 255)
    if not is_plain or is_lighter(pixels - background) != is_light:
        return _centred(_scaled(_trimmed(pixels, found), metadata), border_level(pixels[np.newaxis])[0], metadata)
    sign = -1
    if is_light:
        sign = 1
    contrast = _scaled(_trimmed(sign * (pixels - background), found), metadata) - 2 * found.noise[0]
    full_contrast = 255 - abs(float(background.mean()) - ground)
    if (metadata.contrast or 0) >= FULL_CONTRAST:
        full_contrast = contrast.max()
    levelled = ground + sign * 255 * np.clip(contrast / max(full_contrast, 1), 0, 1)
    return _centred(levelled, ground, metadata)


def _trimmed(pixels: np.ndarray, found: Objects) -> np.ndarray:
    return pixels[found.top[0] : found.bottom[0], found.left[0] : found.right[0]]


def _scaled(pixels: np.ndarray, metadata: ModelMetadata) -> np.ndarray:
    """So that it takes up as much of the model's frame as the training images' objects did."""
    height, width, _ = metadata.image_shape
    factor = metadata.object_share * min(height / pixels.shape[0], width / pixels.shape[1])
    size = (max(1, round(factor * pixels.shape[1])), max(1, round(factor * pixels.shape[0])))
    channels = []
    for channel in np.moveaxis(pixels, 2, 0):
        picture = Image.fromarray(np.ascontiguousarray(channel))
        channels.append(np.asarray(picture.resize(size, Image.Resampling.LANCZOS)))
    return np.stack(channels, axis=2)


def _centred(small: np.ndarray, around: np.ndarray | float, metadata: ModelMetadata) -> np.ndarray:
    frame = np.empty(metadata.image_shape, np.float32)
    frame[...] = around
    top, left = (frame.shape[0] - small.shape[0]) // 2, (frame.shape[1] - small.shape[1]) // 2
    frame[top : top + small.shape[0], left : left + small.shape[1]] = small
    return frame
