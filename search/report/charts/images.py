"""Sheets and strips of images, as PNG."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fmnist.output import printable
from search.report.charts.fonts import fonts_for, split_by_font
from search.report.charts.plain import findSystemFonts, usual_font


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
    lettering = Lettering.of([caption for _, captions in tiles for caption in captions], 13)
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
            text = lettering.cut(caption, width - 6)
            lettering.write_centred(draw, x + width / 2, y + tile_pixels + 4 + 17 * line, text)
    return _encoded(sheet)


def rows_png(rows: Sequence[tuple[str, np.ndarray]], side: int = 48) -> bytes:
    """A row of images for each name, with the name before it, as a PNG file.

    Args:
        rows: names with images, uint8 (n, h, w, c).
        side: of each image, in pixels.
    """
    lettering = Lettering.of([name for name, _ in rows], 14)
    margin = 12 + min(220, max(round(lettering.length(printable(name))) for name, _ in rows))
    n_images = max(len(images) for _, images in rows)
    sheet = Image.new("RGB", (margin + n_images * (side + 2), len(rows) * (side + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, images) in enumerate(rows):
        y = row * (side + 4) + 2
        lettering.write(draw, 4, y + (side - lettering.height) / 2, lettering.cut(name, margin - 8))
        for column, image in enumerate(images):
            picture = _picture(image).convert("RGB").resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(picture, (margin + column * (side + 2), y))
    return _encoded(sheet)


@dataclass(frozen=True)
class Lettering:
    """How text is written into a picture: in the first font that has each character."""

    fonts: Mapping[str, ImageFont.FreeTypeFont]  # by path, the usual one first

    @classmethod
    def of(cls, texts: Sequence[str], pixels: int, find: Callable[[], Sequence[str]] = findSystemFonts) -> Lettering:
        """Choose the fonts for some texts, in a size. find: see `fonts_for`."""
        paths = (usual_font(), *fonts_for(texts, find).paths)
        return cls({path: ImageFont.truetype(path, pixels) for path in paths})

    @property
    def _usual(self) -> ImageFont.FreeTypeFont:
        return self.fonts[usual_font()]

    @property
    def height(self) -> int:
        """Of a line, in pixels."""
        return sum(self._usual.getmetrics())

    def _parts(self, text: str) -> list[tuple[str, ImageFont.FreeTypeFont]]:
        return [(part, self.fonts[path]) for part, path in split_by_font(text, tuple(self.fonts))]

    def length(self, text: str) -> float:
        """Of a text, in pixels."""
        return sum(font.getlength(part) for part, font in self._parts(text))

    def cut(self, text: str, width: float) -> str:
        """Shorten a text to fit, with what would steer a terminal escaped."""
        text = printable(text)
        if self.length(text) <= width:
            return text
        while text and self.length(f"{text}…") > width:
            text = text[:-1]
        return f"{text}…"

    def write(self, draw: ImageDraw.ImageDraw, x: float, y: float, text: str) -> None:
        """Write a text with its upper left corner at a place."""
        baseline = y + self._usual.getmetrics()[0]
        for part, font in self._parts(text):
            draw.text((x, baseline), part, "black", font, anchor="ls")
            x += font.getlength(part)

    def write_centred(self, draw: ImageDraw.ImageDraw, x: float, y: float, text: str) -> None:
        """Write a text with the middle of its upper edge at a place."""
        self.write(draw, x - self.length(text) / 2, y, text)


def _picture(image: np.ndarray) -> Image.Image:
    if image.shape[-1] == 1:
        return Image.fromarray(image[..., 0])
    return Image.fromarray(image[..., :3])


def _encoded(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return stream.getvalue()
