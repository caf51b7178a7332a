"""An extension of Griffe: fields are documented in the reference by the words that the code already has for them.

The help of an option becomes its field's docstring, and so does the comment at the end of any other field's line.
"""

from __future__ import annotations

import importlib
import io
import tokenize
from typing import Any

import griffe
from pydantic_core import PydanticUndefined


class Fields(griffe.Extension):
    """Documents fields that have no docstring."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        if attr.docstring is not None or attr.lineno is None or attr.endlineno is None:
            return
        if str(attr.value).startswith("option("):
            text = _describe_option(attr)
        else:
            text = _comment(attr.lines_collection[attr.filepath][attr.lineno - 1 : attr.endlineno])
        if text:
            attr.docstring = griffe.Docstring(text[0].upper() + text[1:] + ".", parent=attr)


def _describe_option(attr: griffe.Attribute) -> str:
    """An option's help and its default in words; its value becomes the default itself."""
    assert attr.parent is not None
    owner = getattr(importlib.import_module(attr.module.path), attr.parent.name)
    field = owner.__pydantic_fields__[attr.name]
    shown = field.json_schema_extra["presentation"].default_shown
    is_plain = field.default is not PydanticUndefined and type(field.default).__module__ == "builtins"
    attr.value = repr(field.default) if is_plain else None
    return f"{field.description} (default: {shown})" if shown else field.description


def _comment(lines: list[str]) -> str:
    """The first comment in a statement, without its hash; "" if there is none."""
    try:
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines).strip() + "\n").readline):
            if token.type == tokenize.COMMENT:
                return token.string.lstrip("# ").rstrip(".")
    except tokenize.TokenError:  # not a statement of its own
        pass
    return ""
