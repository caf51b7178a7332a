"""How do report and comparison become text? The templates, their filters, and plain values for JSON."""

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
from fmnist.output import printable_lines
from search import format
from search.report.charts.images import image_png

TEMPLATES = Path(__file__).parent / "templates"
FORMAT_FILTERS = (  # filters of their own names
    *(format.percent, format.percent_range, format.points, format.signed, format.p_value),
    *(format.count, format.with_noun, format.short_count),
    *(format.file_size, format.duration, format.milliseconds, in_figures),
    *(format.parameter_value, format.setting_value, format.code_block),
)


def templates(*, markdown: bool = False) -> jinja2.Environment:
    """Set up the templates, with the filters that they use. A name that nobody defined is an error.

    Args:
        markdown: whether the result is Markdown, whose values go through the filter `md`; otherwise it is HTML, and
            values are escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=not markdown,
        finalize=_without_control_characters,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}  # YAML does not join surrogates
    environment.filters.update({function.__name__: function for function in FORMAT_FILTERS})
    environment.filters.update(md=markdown_text, svg=svg_address, png=png_address)
    return environment


def _without_control_characters(value: object) -> object:
    """Escape what would steer a terminal, or turn the direction of text round, in a value that a template writes."""
    if type(value) is str:  # no Markup, which is the program's own
        return printable_lines(value)
    return value


def markdown_text(text: object) -> str:
    """The text for Markdown, table cells included: nothing in it is taken for markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$])", r"\\\1", " ".join(str(text).split()))


def svg_address(svg: bytes) -> Markup:
    """An SVG file's bytes as a data URL, so that the page needs no other file."""
    return Markup("data:image/svg+xml;base64," + base64.b64encode(svg).decode())


def png_address(png: bytes | np.ndarray) -> Markup:
    """Write an image as a data URL, so that the page needs no other file.

    Args:
        png: a PNG file's bytes, or an image, uint8 (h, w, c).
    """
    content = png if isinstance(png, bytes) else image_png(png)
    return Markup("data:image/png;base64," + base64.b64encode(content).decode())


def plain(value: Any) -> Any:
    """Turn a value into JSON's own types.

    NumPy scalars and arrays, tuples and mappings become numbers, lists and dictionaries with text as keys; NaN and
    infinity become None.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
