"""Sheets and strips of images, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont


def image_png(image: np.ndarray, shrink: float = 1.0) -> bytes:
    """One image as a PNG file.

    Args:
        image: uint8 (h, w, c) with 1 or 3 channels.
        shrink: what its sides are multiplied by; 1 leaves it as it is.
    """
    picture = _picture(image)
    if shrink < 1:
        picture = picture.resize([max(1, round(side * shrink)) for side in picture.size], Image.Resampling.BOX)
    return _encoded(picture)


def strip_png(images: np.ndarray, shrink: float = 1.0) -> bytes:
    """Images side by side, one pixel apart, as a PNG file.

    Args:
        images: uint8 (n, h, w, c).
        shrink: what the strip's sides are multiplied by.
    """
    gap = np.full((images.shape[1], 1, images.shape[3]), 255, np.uint8)
    parts = [part for image in images for part in (image, gap)][:-1]
    return image_png(np.concatenate(parts, axis=1), shrink)


def sheet_png(tiles: Sequence[tuple[np.ndarray, Sequence[str]]], n_columns: int, tile_pixels: int = 84) -> bytes:
    """Images in rows, each with lines of caption below, as a PNG file.

    Args:
        tiles: images, uint8 (h, w, c), with their captions.
        n_columns: images in a row.
        tile_pixels: the longer side of each image.
    """
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), 13)
    n_lines = max(len(captions) for _, captions in tiles)
    width, height = max(tile_pixels + 16, 128 if n_lines else 0), tile_pixels + 8 + 17 * n_lines
    sheet = Image.new("RGB", (width * min(n_columns, len(tiles)), height * -(-len(tiles) // n_columns)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (image, captions) in enumerate(tiles):
        x, y = i % n_columns * width, i // n_columns * height
        scale = tile_pixels / max(image.shape[:2])
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        sheet.paste(
            _picture(image).convert("RGB").resize(size, Image.Resampling.NEAREST), (x + (width - size[0]) // 2, y + 2)
        )
        for line, caption in enumerate(captions):
            text = _cut(caption, font, width - 6)
            draw.text((x + width / 2, y + tile_pixels + 4 + 17 * line), text, "black", font, anchor="ma")
    return _encoded(sheet)


def rows_png(rows: Sequence[tuple[str, np.ndarray]], side: int = 48) -> bytes:
    """A row of images for each name, with the name before it, as a PNG file.

    Args:
        rows: names with images, uint8 (n, h, w, c).
        side: of each image, in pixels.
    """
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), 14)
    margin = 12 + min(220, max(round(font.getlength(name)) for name, _ in rows))
    n_images = max(len(images) for _, images in rows)
    sheet = Image.new("RGB", (margin + n_images * (side + 2), len(rows) * (side + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, images) in enumerate(rows):
        y = row * (side + 4) + 2
        draw.text((4, y + side / 2), _cut(name, font, margin - 8), "black", font, anchor="lm")
        for column, image in enumerate(images):
            picture = _picture(image).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(picture, (margin + column * (side + 2), y))
    return _encoded(sheet)


def _cut(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, shortened to fit."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def _picture(image: np.ndarray) -> Image.Image:
    if image.shape[-1] == 1:
        return Image.fromarray(image[..., 0])
    return Image.fromarray(image[..., :3])


def _encoded(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
