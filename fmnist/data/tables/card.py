"""The card of a data set on the Hugging Face hub, README.md: does it name the classes?"""

from __future__ import annotations

import re
from pathlib import Path

CARD = "README.md"
MAX_BYTES = 1_000_000
FRONT = re.compile(r"\A---\s*\n(.*?\n)---\s*\n", re.DOTALL)  # in YAML
NAMES = re.compile(r"^ +class_label: *\n +names: *\n((?: +['\"]?\d+['\"]?: .*\n)+)", re.MULTILINE)
NAME = re.compile(r" +['\"]?(\d+)['\"]?: (.*)")


def class_names_in_card(folder: Path) -> tuple[str, ...] | None:
    """Read the names of classes, by label, as the hub writes them; None if no card names them, or it has several lists.

    YAML is not parsed: what is written by hand in another form is passed over.
    """
    try:
        with (folder / CARD).open("rb") as file:
            text = file.read(MAX_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    front = FRONT.match(text.replace("\r\n", "\n"))
    if front is None:
        return None
    found = set()
    for block in NAMES.findall(front[1]):
        names = {int(number): _plain(name) for number, name in NAME.findall(block)}
        found.add(tuple(names.get(number, "") for number in range(len(names))))
    if len(found) != 1:
        return None
    (names,) = found
    return names if all(names) and len(set(names)) == len(names) else None


def _plain(text: str) -> str:
    """Return a text of YAML without its quotation marks."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1].replace('\\"', '"')
    return text
