"""A figure of a study, to look at in a notebook and to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search.system.notebook import Bundle


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StudyFigure:
    """A figure of a study. As the value of a notebook's cell it is shown; to keep it, write its bytes:

    figure = study.figures()["confusion-matrix"]
    Path("confusion.png").write_bytes(figure.png)
    """

    name: str  # such as "confusion-matrix"
    title: str
    caption: str  # what it shows, in a sentence
    png: bytes  # a PNG file
    svg: bytes | None  # an SVG file; None for what consists of images
    width: int  # in a notebook, in pixels

    def __repr__(self) -> str:
        return f"<figure {self.name}: {self.caption}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[Bundle, dict[str, Any]]:
        """The figure as a notebook shows it."""
        about = {"image/png": {"width": self.width, "alt": self.caption}}
        return {"image/png": self.png, "text/plain": repr(self)}, about
