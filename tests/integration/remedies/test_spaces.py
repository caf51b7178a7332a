"""What a refused space file says is done to the file, which is a space then."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from fmnist.errors import UserError
from search.space.refusals import example_space
from search.space.schema import read_space_text
from tests.support.remedies import Remedy, needs_remedy
from tests.support.spaces import DIGITS, DIGITS_TEXT, FASHION_MNIST, SHAPES, as_toml, space_from, written

BLOCKS = "n_blocks = { low = 1, high = 3 }"
DROPOUT = "head_dropout = { low = 0.0, high = 0.5, step = 0.1 }"
POOLING = 'pooling = { choices = ["max", "average"] }'
DEFAULT = "block1_filters = 32"
NAME = 'name = "default"'

# Each pair: what stands in the file in the place of the first, and what the message makes of that.
EDITS = {
    "unknown key": (BLOCKS, Remedy("{} is not a key of a search space; {}", BLOCKS.replace("blocks", "block"), BLOCKS)),
    "missing key": (BLOCKS, Remedy("{} is missing; add it, {} shows every key", "", BLOCKS)),
    "number in quotes": (
        "n_epochs = 30",
        Remedy("{} must be {}, but got {}; {}", 'n_epochs = "30"', "n_epochs = 30"),
    ),
    "range of words": (
        POOLING,
        Remedy(
            "must be a single value or { choices = [...] }",
            'pooling = { low = "average", high = "max" }',
            'pooling = { choices = ["average", "max"] }',
        ),
    ),
    "no choice": (
        POOLING,
        Remedy("must be a list of at least one value", "pooling = { choices = [] }", 'pooling = { choices = ["max"] }'),
    ),
    "repeated choice": (
        POOLING,
        Remedy(
            "take the repeated one out",
            'pooling = { choices = ["max", "max"] }',
            'pooling = { choices = ["max"] }',
        ),
    ),
    "outside what a layer takes": (
        POOLING,
        Remedy("must be {}, but got {}; {}", POOLING.replace("average", "mean"), POOLING),
    ),
    "number out of range": ("n_epochs = 30", Remedy("must be {}, but got {}; {}", "n_epochs = -1", "n_epochs = 1")),
    "low above high": (
        BLOCKS,
        Remedy("low must not be above high", "n_blocks = { low = 3, high = 1 }", "n_blocks = { low = 1, high = 3 }"),
    ),
    "log of 0": (
        DROPOUT,
        Remedy(
            "log = true needs low above 0",
            "head_dropout = { low = 0.0, high = 0.5, log = true }",
            "head_dropout = { low = 0.0, high = 0.5 }",
        ),
    ),
    "step and log": (
        BLOCKS,
        Remedy(
            "step goes without log = true",
            "n_blocks = { low = 1, high = 3, step = 1, log = true }",
            "n_blocks = { low = 1, high = 3, step = 1 }",
        ),
    ),
    "step too large": (
        DROPOUT,
        Remedy(
            "step must be above 0 and at most high - low",
            "head_dropout = { low = 0.0, high = 0.5, step = 0.6 }",
            "head_dropout = { low = 0.0, high = 0.5 }",
        ),
    ),
    "step that misses high": (
        DROPOUT,
        Remedy(
            "high must be low plus whole steps",
            "head_dropout = { low = 0.0, high = 0.5, step = 0.2 }",
            "head_dropout = { low = 0.0, high = 0.4, step = 0.2 }",
        ),
    ),
    "last rung shorter than the first": (
        "search_images = 16_000",
        Remedy("must be at least first_rung_images", "search_images = 500", "search_images = 4_000"),
    ),
    "weight decay of adam": (
        "adam = 0.0",
        Remedy("training.weight_decay.adam must be 0.0", "adam = 0.1", "adam = 0.0"),
    ),
    "optimizer without a range": (
        "sgd = { low = 1e-2, high = 1.0, log = true }",
        Remedy(
            "training.{}.{} is missing; add it, {} shows every key", "", "sgd = { low = 1e-2, high = 1.0, log = true }"
        ),
    ),
    "more blocks than lines": (
        BLOCKS,
        Remedy(
            "carry at most {} blocks with these heads",
            "n_blocks = { low = 1, high = 4 }",
            "n_blocks = { low = 1, high = 3 }",
        ),
    ),
    "portfolio without a name": (
        NAME,
        Remedy("every configuration needs a name of one line in quotes", "", 'name = "default"'),
    ),
    "portfolio names twice": (
        'name = "notebook, shallow"',
        Remedy("names must differ from each other", 'name = "default"', 'name = "shallow"'),
    ),
    "portfolio without a default": (
        NAME,
        Remedy('must hold a configuration with name = "{}"', 'name = "mine"', 'name = "default"'),
    ),
    "portfolio lacks a parameter": (
        DEFAULT,
        Remedy("{}: {} is missing; add it, {}", "", "block1_filters = 8"),
    ),
    "portfolio has one too many": (
        DEFAULT,
        Remedy(
            "matches no parameter of this configuration; take it out or correct it", f"{DEFAULT}\nflip = true", DEFAULT
        ),
    ),
    "portfolio out of the space": (
        DEFAULT,
        Remedy("to lie in the space", "block1_filters = 33", "block1_filters = 24"),
    ),
    "not TOML": (BLOCKS, Remedy("{}: not valid TOML: {}; compare with {}", "n_blocks = low 1", BLOCKS)),
    "number of 65 bits": (
        "n_epochs = 30",
        Remedy("{}: not valid TOML: {}; compare with {}", f"n_epochs = {2**63}", "n_epochs = 30"),
    ),
    "lists without end": (
        BLOCKS,
        Remedy("tables are nested too deep", f"n_blocks = {'[' * 5000}{']' * 5000}", BLOCKS),
    ),
}


@pytest.mark.parametrize("case", EDITS)
def test_edited_as_the_line_says_a_refused_file_is_a_space(tmp_path: Path, case: str) -> None:
    old, remedy = EDITS[case]
    assert DIGITS_TEXT.count(old) >= 1
    with needs_remedy(remedy.says):
        read(written(tmp_path, DIGITS_TEXT.replace(old, remedy.refused, 1)))
    read(written(tmp_path, DIGITS_TEXT.replace(old, remedy.followed, 1)))


def read(path: Path) -> None:
    space_from(path, SHAPES[DIGITS])


def test_table_is_begun_with_its_name(tmp_path: Path) -> None:
    tables = tomllib.loads(DIGITS_TEXT)
    with needs_remedy("{} must be a table, but got {}; begin it with [{}]"):
        read(written(tmp_path, as_toml({**tables, "limits": 3})))
    without = as_toml({key: value for key, value in tables.items() if key != "limits"})
    read(written(tmp_path, f"{without}\n[limits]\nmax_parameters = 3\n"))


def test_list_of_tables_is_begun_with_its_name_twice(tmp_path: Path) -> None:
    first = DIGITS_TEXT.index("[[portfolio]]")
    with needs_remedy("must be a list of tables, but got {}; begin each with [[portfolio]]"):
        read(written(tmp_path, DIGITS_TEXT[:first] + "[portfolio]\n" + 'name = "default"\n'))
    read(written(tmp_path, DIGITS_TEXT))


def test_filters_have_a_line_for_each_block(tmp_path: Path) -> None:
    line = "    { low = 16, high = 64, step = 16 },\n"
    start = DIGITS_TEXT.index("filters = [")
    assert DIGITS_TEXT.count(line) == 2
    with needs_remedy("must be a list with one line for each block, but got {}; add lines"):
        read(written(tmp_path, DIGITS_TEXT[:start] + "filters = 32" + DIGITS_TEXT[DIGITS_TEXT.index("]", start) + 1 :]))
    with needs_remedy("must be a list with one line for each of up to"):
        read(written(tmp_path, DIGITS_TEXT.replace(line, "", 1)))
    read(written(tmp_path, DIGITS_TEXT.replace(line, "", 1).replace(line, line + line, 1)))


def test_default_of_the_example_is_completed_line_by_line(tmp_path: Path) -> None:
    """Of a space that varies more than the example does: each message names the next parameter and what it takes."""
    without = DIGITS_TEXT[: DIGITS_TEXT.index("[[portfolio]]")]
    text = without
    with needs_remedy('must hold a configuration with name = "{}"'):
        read(written(tmp_path, text))
    example = FASHION_MNIST.read_text(encoding="utf-8")
    begin = example.index("[[portfolio]]")
    text += example[begin : example.index("[[portfolio]]", begin + 1)]
    for _ in range(30):
        try:
            read(written(tmp_path, text))
            return
        except UserError as error:
            text = followed(text, str(error))
    raise AssertionError(f"the messages lead nowhere: {text}")


def followed(text: str, message: str) -> str:
    """The file with the change that the end of the message asks for."""
    subject, is_missing, accepted = message.rpartition(" is missing; add it, ")
    if is_missing:
        name = subject.rpartition(": ")[2]
        words = accepted.removeprefix("one of ").removeprefix("a whole number from ").removeprefix("a number from ")
        return f"{text}{name} = {words.replace(',', ' ').split()[0]}\n"
    assert "take it out" in message or "change it" in message, message
    name = message.partition("': ")[2].split()[0]
    start = text.index("[[portfolio]]")
    kept = [line for line in text[start:].splitlines(keepends=True) if not line.startswith(f"{name} =")]
    return text[:start] + "".join(kept)


def test_example_space_is_there_to_be_compared_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any folder: an installed tool has no studies/ beside it."""
    monkeypatch.chdir(tmp_path)
    assert Path(example_space()).read_text(encoding="utf-8") == FASHION_MNIST.read_text(encoding="utf-8")


def test_space_file_is_one_that_is_named(tmp_path: Path) -> None:
    with needs_remedy("no search-space file at {}; name one with --space, such as"):
        read_space_text(tmp_path / "none.toml")
    with needs_remedy("a search space must be a readable TOML text file, but got: {}; name another"):
        read_space_text(tmp_path)
    read_space_text(Path(example_space()))
