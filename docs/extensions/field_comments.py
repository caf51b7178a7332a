"""An extension of Griffe: the comment at the end of a dataclass field's line becomes its docstring in the reference."""

from __future__ import annotations

import io
import tokenize
from typing import Any

import griffe


class FieldComments(griffe.Extension):
    """Documents fields by the comments that the code already has."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        if attr.docstring is None and attr.lineno is not None and attr.endlineno is not None:
            text = _comment(attr.lines_collection[attr.filepath][attr.lineno - 1 : attr.endlineno])
            if text:
                attr.docstring = griffe.Docstring(text[0].upper() + text[1:] + ".", parent=attr)


def _comment(lines: list[str]) -> str:
    """The first comment in a statement, without its hash; "" if there is none."""
    try:
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines).strip() + "\n").readline):
            if token.type == tokenize.COMMENT:
                return token.string.lstrip("# ").rstrip(".")
    except tokenize.TokenError:  # not a statement of its own
        pass
    return ""
