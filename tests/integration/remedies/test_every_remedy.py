"""Every message that names a remedy is in a test that follows it, so that none leads in a circle.

Messages are read from the source, with {} for each value: the texts of every `UserError` and `SearchStopped`, and any
other text that states a requirement and, behind a semicolon, a remedy. Tests name a message by a part of it, in
`needs_remedy(...)` and `Remedy(...)` of `tests.support.remedies`, or in `@pytest.mark.follows(...)` where they get into
the error by means of their own.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ERRORS = {"UserError", "SearchStopped"}
NAMES_A_MESSAGE = {"needs_remedy", "Remedy", "assert_message", "follows"}
STATES_A_REQUIREMENT = re.compile(r"(\b(must|needs?|missing|is not a|is full|cannot be)\b|, but ).*; ")

# Parts of messages that no test follows, with the reason.
EXCEPTIONS = {
    "is empty, and its user may not create tables there; grant that": "needs a server, and a user of it without rights",
    "the recipe must be retrained in bfloat16, which this processor has not": "needs two kinds of processors",
    "a model must load with plain Keras {}, but {} does not": "names no remedy: Keras' own reason says what is missing",
    "its colours cannot be read ({}); save it as RGB": "no picture is known that Pillow decodes and cannot convert",
    "the machine must let training processes run, but the one that": "needs a machine without memory",
    "the machine must let training processes start, but it does not: {}": "needs a machine without processes or files",
    "training needs processes of a Python interpreter": "needs a frozen or embedded program",
    "training processes must be able to load their libraries": "needs an installation that is broken",
    "labels must be those of images, but got labels without images": "a caller's slip, in Python alone",
    "{} must be restored from {}, but it cannot be written ({})": "needs a folder that its owner may not write to",
    "{} cannot be made: {}": "a part of another message: why Keras could not download",
    "early stopping needs a validation set; pass one": "a caller's slip, in Python alone",
    "ends_in_time needs a time to end in; pass seconds_limit": "a caller's slip, in Python alone",
    "pixel_std must be positive": "a caller's slip, in Python alone",
    "probabilities must be at least 0 and sum to 1 in each row": "a caller's slip, in Python alone",
}


def texts(node: ast.AST, of_error: bool = False) -> Iterator[tuple[str, bool]]:
    """The texts below a node, docstrings aside, each with whether it stands in the call of an error."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    text = text_of(node)
    if text is not None:
        yield text, of_error
        return
    is_error = isinstance(node, ast.Call) and name_of(node) in ERRORS
    for child in ast.iter_child_nodes(node):
        yield from texts(child, of_error or is_error)


def text_of(node: ast.AST) -> str | None:
    """A string as the source has it, with {} for each value; None for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


@functools.cache
def messages() -> set[str]:
    """Every message of the two packages that may name a remedy."""
    found = set()
    for path in [*(ROOT / "fmnist").rglob("*.py"), *(ROOT / "search").rglob("*.py")]:
        for text, of_error in texts(ast.parse(path.read_text(encoding="utf-8"))):
            has_words = re.search(r"[a-z]{2}", text.replace("{}", ""))
            if (of_error and has_words and " " in text) or STATES_A_REQUIREMENT.search(text):
                found.add(text)
    return found


@functools.cache
def followed() -> set[str]:
    """Every part of a message that a test names."""
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or name_of(node) not in NAMES_A_MESSAGE:
                continue
            named = node.args if name_of(node) == "follows" else node.args[:1]
            found.update(text for text in map(text_of, named) if text is not None)
    return found


def named_by(part: str, among: set[str]) -> set[str]:
    """The message that is this part or has it: none if it is gone, several if the part is too short."""
    if part in among:
        return {part}
    return {message for message in among if part in message}


def test_every_remedy_is_followed_by_a_test_or_has_a_reason_why_not() -> None:
    among = messages()
    reached = {message for part in {*followed(), *EXCEPTIONS} for message in named_by(part, among)}
    left = sorted(among - reached)
    assert not left, "follow these in a test, with needs_remedy(...), see CONTRIBUTING.md:\n" + "\n".join(left)


def test_every_part_that_a_test_names_is_of_one_message() -> None:
    among = messages()
    found = {part: named_by(part, among) for part in {*followed(), *EXCEPTIONS}}
    unclear = [f"{part!r} is in {len(of)} messages" for part, of in found.items() if len(of) != 1]
    assert not unclear, "\n".join(sorted(unclear))
