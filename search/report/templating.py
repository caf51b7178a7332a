"""What the report and the comparison share: templates, filters, plain JSON."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from fmnist.export.formats import in_figures
from search.format import (
    count,
    duration,
    file_size,
    milliseconds,
    p_value,
    parameter_value,
    percent,
    percent_range,
    points,
    setting_value,
    short_count,
    signed,
    with_noun,
)
from search.report.charts.images import image_png

TEMPLATES = Path(__file__).parent / "templates"


def plain(value: Any) -> Any:
    """The same in JSON's own types: NumPy scalars and arrays, tuples and mappings turned, NaN and infinity to None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def templates(*, markdown: bool = False) -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=not markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = (
        *(percent, percent_range, points, signed, p_value, count, with_noun, short_count),
        *(file_size, duration, milliseconds, in_figures, parameter_value, setting_value),
    )
    made.filters.update({function.__name__: function for function in filters})
    made.filters.update(md=markdown_text, svg=_svg_address, png=_png_address)
    return made


def markdown_text(text: object) -> str:
    """The text for Markdown, table cells included: nothing in it is taken for markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$])", r"\\\1", " ".join(str(text).split()))


def _svg_address(svg: bytes) -> Markup:
    return Markup("data:image/svg+xml;base64," + base64.b64encode(svg).decode())


def _png_address(png: bytes | np.ndarray) -> Markup:
    """png: a PNG file's bytes, or an image, uint8 (h, w, c)."""
    content = png if isinstance(png, bytes) else image_png(png)
    return Markup("data:image/png;base64," + base64.b64encode(content).decode())
