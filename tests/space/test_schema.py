"""What a space file may not say: one line with the key, the requirement, what was received and the remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from fmnist.errors import UserError
from search.space.parameters import Range
from tests.support.spaces import (
    DIGITS_TEXT,
    changed,
    random_trials,
    space_from,
    space_from_table,
    written,
)


def refusal(folder: Path, old: str, new: str) -> str:
    with pytest.raises(UserError, match=r"mine\.toml: ") as caught:
        changed(folder, old, new)
    message = str(caught.value)
    assert message.splitlines() == [message]
    assert message.startswith(str(folder / "mine.toml"))
    assert len(message) < 600
    return message


BLOCKS = "n_blocks = { low = 1, high = 3 }"
DROPOUT = "head_dropout = { low = 0.0, high = 0.5, step = 0.1 }"
POOLING = 'pooling = { choices = ["max", "average"] }'
SMOOTHING = "label_smoothing = { low = 0.0, high = 0.2, step = 0.05 }"
RATE = "adamw = { low = 3e-4, high = 2e-2, log = true }"
FILTERS = "    { low = 16, high = 64, step = 16 },\n"

# what stands in the file, what stands there instead -> key, requirement, received, remedy, in this order
REFUSED = {
    "unknown key": (BLOCKS, f"{BLOCKS}\nn_block = 3", ["architecture.n_block", "not a key", "did you mean n_blocks"]),
    "unknown table": ("[limits]", "[limit]", ["limit is not a key", "did you mean limits"]),
    "unknown key of a range": (
        BLOCKS,
        "n_blocks = { low = 1, hihg = 3 }",
        ["architecture.n_blocks.hihg", "not a key", "did you mean high"],
    ),
    "low above high": (
        BLOCKS,
        "n_blocks = { low = 3, high = 1 }",
        ["architecture.n_blocks", "low must not be above high", "low = 3, high = 1", "swap"],
    ),
    "log from 0": (
        SMOOTHING,
        "label_smoothing = { low = 0.0, high = 0.2, log = true }",
        ["training.label_smoothing", "log = true needs low above 0", "low = 0.0", "raise low or leave log out"],
    ),
    "kernel size that no layer accepts": (
        "kernel_size = 3",
        "kernel_size = { choices = [3, 4] }",
        ["architecture.block.kernel_size.choices", "one of 1, 3, 5", "got 4", "no layer"],
    ),
    "kernel size as a range": (
        "kernel_size = 3",
        "kernel_size = { low = 3, high = 5 }",
        ["architecture.block.kernel_size", "must be a single value or", "got {'low'", "list them as choices"],
    ),
    "pooling that no layer does": (
        POOLING,
        'pooling = { choices = ["max", "mean"] }',
        ["architecture.pooling.choices", "one of max, average", "got 'mean'", "no layer"],
    ),
    "text as a range": (
        POOLING,
        'pooling = { low = "average", high = "max" }',
        ["architecture.pooling", "must be a single value or", "got {'low'", "list them as choices"],
    ),
    "more blocks than the images carry": (
        BLOCKS,
        "n_blocks = { low = 1, high = 4 }",
        ["architecture.n_blocks", "8 x 8 pixels carry at most 3 blocks", "got 4", "lower it"],
    ),
    "missing key": (f"{BLOCKS}\n", "", ["architecture.n_blocks is missing", "fashion-mnist.toml shows every key"]),
    "missing table": ("[fidelity]", "[limits2]", ["limits2 is not a key", "did you mean limits"]),
    "text for a number": (
        "n_epochs = 30",
        'n_epochs = "30"',
        ["training.n_epochs", "whole number", "got '30'", "without quotes"],
    ),
    "decimal for a whole number": (
        "n_epochs = 30",
        "n_epochs = 30.0",
        ["training.n_epochs", "whole number", "got 30.0", "without quotes, point"],
    ),
    "truth for a whole number": ("n_epochs = 30", "n_epochs = true", ["training.n_epochs", "whole number", "got True"]),
    "number for a truth": (
        "flip = false ",
        "flip = 0 ",
        ["training.flip", "true or false", "got 0", "write it in small"],
    ),
    "number for a text": (
        POOLING,
        "pooling = 2",
        ["architecture.pooling", "text in quotes", "got 2", "write it such as"],
    ),
    "date for a number": ("n_epochs = 30", "n_epochs = 2020-01-01", ["training.n_epochs", "whole number", "datetime"]),
    "list for a number": ("n_epochs = 30", "n_epochs = [30]", ["training.n_epochs", "whole number", "got [30]"]),
    "value for a table": (
        "[architecture.block]\nfilters",
        "[ignored]\nfilters",
        ["ignored is not a key"],
    ),
    "truth for a bound": (BLOCKS, "n_blocks = { low = true, high = 3 }", ["n_blocks.low", "whole number", "got True"]),
    "truth for a step": (
        BLOCKS,
        "n_blocks = { low = 1, high = 3, step = true }",
        ["n_blocks.step", "whole number", "got True"],
    ),
    "number for log": (BLOCKS, "n_blocks = { low = 1, high = 3, log = 1 }", ["n_blocks.log", "true or false", "got 1"]),
    "not a number": (SMOOTHING, "label_smoothing = nan", ["label_smoothing", "between 0 and 0.95", "got nan", "bring"]),
    "infinity": (SMOOTHING, "label_smoothing = inf", ["label_smoothing", "between 0 and 0.95", "got inf", "bring"]),
    "not a number as a bound": (
        SMOOTHING,
        "label_smoothing = { low = nan, high = 0.1 }",
        ["label_smoothing.low", "between 0 and 0.95", "got nan"],
    ),
    "infinite step": (
        SMOOTHING,
        "label_smoothing = { low = 0.0, high = 0.1, step = inf }",
        ["label_smoothing", "step must be above 0", "step = inf", "correct it"],
    ),
    "negative": ("n_epochs = 30", "n_epochs = -1", ["training.n_epochs", "between 1 and 10000", "got -1", "bring"]),
    "number of 65 bits": ("n_epochs = 30", f"n_epochs = {2**63}", ["64 bits", "compare with"]),
    "number of 5,000 digits": ("n_epochs = 30", f"n_epochs = {'9' * 5000}", ["not valid TOML", "compare with"]),
    "hexadecimal number of 5,000 digits": (SMOOTHING, f"label_smoothing = 0x{'f' * 5000}", ["64 bits", "compare with"]),
    "limit without an end": ("200_000", "0", ["limits.max_parameters", "at least 1,", "got 0", "bring"]),
    "nested tables": (
        BLOCKS,
        "n_blocks = { low = { low = 1 }, high = 3 }",
        ["n_blocks.low", "whole number", "{'low': 1}"],
    ),
    "very long text": (POOLING, f'pooling = "{"x" * 10_000}"', ["architecture.pooling", "one of max", "got 'xxx"]),
    "empty choices": (
        POOLING,
        "pooling = { choices = [] }",
        ["architecture.pooling.choices", "a list of at least one value", "got []", "add one"],
    ),
    "choices that are no list": (
        POOLING,
        'pooling = { choices = "max" }',
        ["architecture.pooling.choices", "a list of at least one value", "got 'max'"],
    ),
    "repeated choice": (
        POOLING,
        'pooling = { choices = ["max", "max"] }',
        ["architecture.pooling.choices", "differ from each other", "['max', 'max']", "take"],
    ),
    "choices and a range": (
        BLOCKS,
        "n_blocks = { choices = [1, 2], high = 3 }",
        ["architecture.n_blocks.high is not a key", "choices"],
    ),
    "step larger than the range": (
        DROPOUT,
        "head_dropout = { low = 0.0, high = 0.5, step = 0.6 }",
        ["architecture.head_dropout", "step must be above 0 and at most high - low", "step = 0.6", "correct it"],
    ),
    "step of 0": (
        BLOCKS,
        "n_blocks = { low = 1, high = 3, step = 0 }",
        ["n_blocks", "step must be above 0", "step = 0"],
    ),
    "step that misses high": (
        DROPOUT,
        "head_dropout = { low = 0.0, high = 0.5, step = 0.2 }",
        ["architecture.head_dropout", "high must be low plus whole steps", "high = 0.5, step = 0.2", "move high"],
    ),
    "step and log": (
        BLOCKS,
        "n_blocks = { low = 1, high = 3, step = 1, log = true }",
        ["architecture.n_blocks", "step goes without log", "got both", "leave one"],
    ),
    "missing filters line": (
        FILTERS,
        "",
        [
            "architecture.block.filters",
            "one line for each of up to 3 blocks",
            "got 2 lines",
            "add lines or lower n_blocks",
        ],
    ),
    "bad filters line": (
        FILTERS,
        "    { low = 16, high = 0 },\n",
        ["architecture.block.filters[1].high", "between 1 and 2048", "got 0"],
    ),
    "last rung shorter than the first": (
        "search_images = 16_000",
        "search_images = 500",
        ["fidelity.search_images", "at least first_rung_images = 4000", "got 500", "raise it"],
    ),
    "weight decay for adam": (
        "adam = 0.0",
        "adam = 0.1",
        ["training.weight_decay.adam", "must be 0.0", "got 0.1", "adamw"],
    ),
    "optimizer without a range": (
        "sgd = { low = 1e-2, high = 1.0, log = true }\n",
        "",
        ["training.peak_learning_rate.sgd is missing"],
    ),
    "learning rate of 0": (RATE, "adamw = 0", ["training.peak_learning_rate.adamw", "between 1e-09 and 10", "got 0.0"]),
    "no default": (
        'name = "default"',
        'name = "mine"',
        ["portfolio must hold", '"default"', "got mine, notebook, shallow", "add one, as in"],
    ),
    "portfolio name that matches nothing": (
        "block1_filters = 32",
        "block1_filter = 32",
        ["portfolio 'default'", "block1_filters is missing", "add it"],
    ),
    "portfolio parameter of no layer": (
        "block1_filters = 32",
        "block1_filters = 32\nblock7_filters = 32",
        ["portfolio 'default'", "block7_filters matches no parameter", "did you mean block"],
    ),
    "portfolio value out of range": (
        "block1_filters = 32",
        "block1_filters = 33",
        ["portfolio 'default'", "block1_filters", "from 8 to 32 in steps of 8", "got 33", "change it or widen"],
    ),
    "portfolio value in a table": (
        "block1_filters = 32",
        "block1_filters = { low = 1, high = 3 }",
        ["portfolio 'default'", "block1_filters", "whole number", "got {'low'"],
    ),
    "portfolio name of two lines": (
        'name = "default"',
        r'name = "a\nb"',
        ["portfolio", "a name of one line", r"'a\nb'"],
    ),
    "portfolio without a name": ('name = "default"\n', "", ["portfolio", "needs a name", "got nothing", "give it one"]),
    "portfolio with the sampler's name": (
        'name = "notebook, shallow"',
        'name = "sampler"',
        ["portfolio", "needs a name", "'sampler'"],
    ),
    "portfolio names twice": (
        'name = "notebook, shallow"',
        'name = "default"',
        ["portfolio", "differ from each other", "default, default", "rename"],
    ),
    "key of two lines": (BLOCKS, f'{BLOCKS}\n"a\\nb" = 1', [r"architecture.'a\nb'", "not a key"]),
    "key in other letters": (BLOCKS, f'{BLOCKS}\n"ñ_blocks" = 1', ["architecture.ñ_blocks", "did you mean n_blocks"]),
    "not TOML": (BLOCKS, "n_blocks = low 1", ["not valid TOML", "line 17", "compare with studies/fashion-mnist.toml"]),
    "same key twice": (BLOCKS, f"{BLOCKS}\n{BLOCKS}", ["not valid TOML", "Cannot overwrite", "compare with"]),
    "lists in lists without end": (BLOCKS, f"n_blocks = {'[' * 5000}{']' * 5000}", ["nested too deep", "compare with"]),
    "tables in tables without end": (BLOCKS, f"n_blocks.{'a.' * 5000}a = 1", ["nested too deep", "compare with"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusal_names_key_requirement_received_and_remedy_in_one_line(tmp_path, case) -> None:
    old, new, parts = REFUSED[case]
    message = refusal(tmp_path, old, new)
    position = 0
    for part in parts:
        assert part in message[position:], f"{part!r} is not in {message[position:]!r}"
        position = message.index(part, position)


@pytest.mark.parametrize("table", ["architecture", "training", "fidelity"])
def test_missing_table_is_named(tmp_path, table) -> None:
    tables = {key: value for key, value in tomllib.loads(DIGITS_TEXT).items() if key != table}
    with pytest.raises(UserError, match=rf"mine\.toml: {table} is missing; "):
        space_from_table(tmp_path, tables)


@pytest.mark.parametrize("table", ["architecture", "training", "fidelity", "limits"])
def test_value_in_the_place_of_a_table_is_refused(tmp_path, table) -> None:
    with pytest.raises(UserError, match=rf"{table} must be a table, but got 3; begin it with \[{table}\]"):
        space_from_table(tmp_path, {**tomllib.loads(DIGITS_TEXT), table: 3})


@pytest.mark.parametrize("portfolio", [3, {"name": "default"}, [3]])
def test_portfolio_that_is_no_list_of_tables_is_refused(tmp_path, portfolio) -> None:
    with pytest.raises(UserError, match=r"portfolio must be a list of tables, but got .*; begin each with"):
        space_from_table(tmp_path, {**tomllib.loads(DIGITS_TEXT), "portfolio": portfolio})


def test_space_without_a_portfolio_lacks_its_default(tmp_path) -> None:
    tables = {key: value for key, value in tomllib.loads(DIGITS_TEXT).items() if key != "portfolio"}
    with pytest.raises(UserError, match=r'portfolio must hold a configuration with name = "default".* but got none'):
        space_from_table(tmp_path, tables)


def test_limits_may_be_left_out(tmp_path) -> None:
    tables = {key: value for key, value in tomllib.loads(DIGITS_TEXT).items() if key != "limits"}
    limits = space_from_table(tmp_path, tables).limits
    assert (limits.max_parameters, limits.max_multiply_adds) == (None, None)


def test_missing_file_is_named_with_the_option(tmp_path) -> None:
    with pytest.raises(UserError, match=r"no search-space file at .*none\.toml; name one with --space, such as "):
        space_from(tmp_path / "none.toml", (8, 8, 1), 10)


def test_folder_in_the_place_of_a_file_is_refused(tmp_path) -> None:
    with pytest.raises(
        UserError,
        match="must be a readable TOML text file, but got: Is a directory; name another with --space, such as ",
    ):
        space_from(tmp_path, (8, 8, 1), 10)


def test_empty_file_lacks_everything(tmp_path) -> None:
    with pytest.raises(
        UserError, match=r"architecture is missing; add it, studies/fashion-mnist\.toml shows every key"
    ):
        space_from(written(tmp_path, ""), (8, 8, 1), 10)


def test_binary_file_is_refused(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    with pytest.raises(UserError, match="must be a readable TOML text file, but got: 'utf-8' codec"):
        space_from(path, (8, 8, 1), 10)


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + DIGITS_TEXT.replace("\n", "\r\n").encode())
    assert space_from(path, (8, 8, 1), 10).table == tomllib.loads(DIGITS_TEXT)


def test_step_as_large_as_the_range_is_no_larger_for_rounding_errors() -> None:
    """0.15 - 0.1 is a little less than 0.05 in binary."""
    assert Range[float, float](low=0.1, high=0.15, step=0.05).highest == 0.15


def test_range_of_one_value_is_that_value(tmp_path) -> None:
    space = changed(tmp_path, FILTERS, "    { low = 64, high = 64 },\n")
    recipes = [recipe for _, recipe in random_trials(space, 10)]
    assert {r.architecture.blocks[1].filters for r in recipes if len(r.architecture.blocks) > 1} == {64}


def test_fewer_blocks_with_a_flat_head_than_with_a_global_one(tmp_path) -> None:
    heads = 'head = { choices = ["flatten", "global_average", "global_max"] }'
    four = DIGITS_TEXT.replace(BLOCKS, "n_blocks = { low = 1, high = 4 }").replace(FILTERS, FILTERS * 2, 1)
    path = written(tmp_path, four.replace(heads, 'head = { choices = ["global_average", "global_max"] }'))
    with pytest.raises(UserError, match="portfolio 'notebook, shallow': head must be one of"):
        space_from(path, (8, 8, 1), 10)
    with pytest.raises(UserError, match="carry at most 3 blocks"):
        space_from(written(tmp_path, four), (8, 8, 1), 10)
