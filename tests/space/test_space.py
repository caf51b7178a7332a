from __future__ import annotations

import copy
import json
import math
import tomllib
from pathlib import Path
from typing import Any

import optuna
import pytest

from fmnist.errors import UserError
from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import Recipe
from search.config import SHIPPED_SPACES
from search.space.space import SearchSpace
from tests.support.spaces import space_from

FASHION, DIGITS = SHIPPED_SPACES / "fashion-mnist.toml", SHIPPED_SPACES / "digits.toml"
SHAPES = {FASHION: (28, 28, 1), DIGITS: (8, 8, 1)}
DIGITS_TEXT = DIGITS.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def fashion() -> SearchSpace:
    return space_from(FASHION, (28, 28, 1), 10)


@pytest.fixture(scope="module")
def digits() -> SearchSpace:
    return space_from(DIGITS, (8, 8, 1), 10)


def random_trials(space: SearchSpace, n: int) -> list[tuple[dict[str, Any], Recipe]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [(trial.params, recipe) for trial in (study.ask() for _ in range(n)) for recipe in [space.suggest(trial)]]


def with_fixed(space: SearchSpace, **params: Any) -> dict[str, Any]:
    """The parameters of a trial of which some are fixed beforehand."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(params)
    trial = study.ask()
    space.suggest(trial)
    return trial.params


# What ships


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_shipped_file_is_valid_for_its_images(path):
    space = space_from(path, SHAPES[path], 10)
    assert space.image_shape == SHAPES[path] and len(space.portfolio) >= 2


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_every_portfolio_network_is_within_the_limits(path):
    space = space_from(path, SHAPES[path], 10)
    for entry in space.portfolio:
        architecture = space.recipe_of(entry.params).architecture
        assert count_parameters(architecture) <= space.limits.max_parameters, entry.name
        assert count_multiply_adds(architecture) <= space.limits.max_multiply_adds, entry.name


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_rungs_lie_within_a_trial(path):
    fidelity = space_from(path, SHAPES[path], 10).fidelity
    assert fidelity.first_rung_images < fidelity.search_images
    assert fidelity.patience_images <= fidelity.search_images


def test_default_is_the_first_trial_wherever_the_file_has_it(tmp_path):
    table = tomllib.loads(DIGITS_TEXT)
    table["portfolio"].reverse()
    assert [entry["name"] for entry in table["portfolio"]][-1] == "default"
    assert read(tmp_path, table).portfolio[0].name == "default"


def test_portfolio_holds_varied_networks(fashion):
    architectures = [fashion.recipe_of(entry.params).architecture for entry in fashion.portfolio]
    assert fashion.portfolio[0].name == "default"
    assert len(set(architectures)) == len(architectures) >= 4
    assert {architecture.head for architecture in architectures} > {"flatten"}
    assert any(block.residual for architecture in architectures for block in architecture.blocks)


def test_file_from_before_a_key_existed_has_it_off(tmp_path):
    table = tomllib.loads(DIGITS_TEXT)
    del table["architecture"]["block"]["residual"], table["training"]["averaging"]
    del table["fidelity"]["accuracy_per_doubling"]
    space = read(tmp_path, table)
    plan = space.recipe_of(space.portfolio[0].params).plan
    assert (plan.averaging, plan.border, space.fidelity.accuracy_per_doubling) == (0.0, "black", 0.0)


# A parameter exists where its layer does


@pytest.mark.parametrize("n_blocks", [2, 4])
def test_blocks_have_parameters_only_where_they_exist(fashion, n_blocks):
    names = with_fixed(fashion, n_blocks=n_blocks)
    for index in range(1, 5):
        expected = {f"block{index}_{key}" for key in ("filters", "n_convolutions")}
        present = {name for name in names if name.startswith(f"block{index}_")} - {f"block{index}_residual"}
        assert present == (expected if index <= n_blocks else set())


@pytest.mark.parametrize(("n_convolutions", "is_asked"), [(1, False), (2, True), (3, True)])
def test_block_is_asked_for_a_branch_only_where_it_has_a_second_convolution(fashion, n_convolutions, is_asked):
    names = with_fixed(fashion, n_blocks=2, block1_n_convolutions=n_convolutions)
    assert ("block1_residual" in names) == is_asked


@pytest.mark.parametrize(
    ("n_dense", "expected"), [(0, set()), (1, {"dense1_units"}), (2, {"dense1_units", "dense2_units"})]
)
def test_dense_layers_have_parameters_only_where_they_exist(fashion, n_dense, expected):
    assert {name for name in with_fixed(fashion, n_dense=n_dense) if name.endswith("_units")} == expected


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("adam", {"peak_learning_rate_adam"}),
        ("adamw", {"peak_learning_rate_adamw", "weight_decay_adamw"}),
        ("sgd", {"peak_learning_rate_sgd", "weight_decay_sgd"}),
    ],
)
def test_each_optimizer_has_parameters_of_its_own(digits, optimizer, expected):
    names = with_fixed(digits, optimizer=optimizer)
    assert {name for name in names if name.startswith(("peak_learning_rate", "weight_decay"))} == expected


def test_fixed_values_are_not_parameters(digits):
    params, recipe = random_trials(digits, 1)[0]
    assert not {"flip", "n_epochs", "warmup_fraction"} & params.keys()
    assert (recipe.plan.flip, recipe.plan.n_epochs, recipe.plan.warmup_fraction) == (False, 30, 0.2)


# One way from parameters to a Recipe


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_stored_parameters_give_the_same_recipe_again(path):
    space = space_from(path, SHAPES[path], 10)
    for params, recipe in random_trials(space, 50):
        assert space.suggest(optuna.trial.FixedTrial(params)) == recipe
        assert space.recipe_of(json.loads(json.dumps(params))) == recipe


def test_random_trials_differ_from_each_other_and_stay_in_the_space(fashion):
    recipes = [recipe for _, recipe in random_trials(fashion, 50)]
    assert len(set(map(repr, recipes))) == 50
    assert {len(recipe.architecture.blocks) for recipe in recipes} == {2, 3, 4}
    assert {block.residual for recipe in recipes for block in recipe.architecture.blocks} == {True, False}


def test_optuna_finds_nothing_to_warn_of(recwarn):
    for path, shape in SHAPES.items():
        random_trials(space_from(path, shape, 10), 20)
    assert [str(warning.message) for warning in recwarn] == []


def test_longest_training_is_the_most_epochs_of_the_space(digits, tmp_path):
    assert digits.longest_training == 30
    text = DIGITS_TEXT.replace("\nerasing = 0.0\n", "\nerasing = 0.0\nn_epochs = 10\n")  # in the portfolio
    for searched, longest in (("{ low = 5, high = 40 }", 40), ("{ choices = [50, 10] }", 50)):
        path = written(tmp_path, text.replace("n_epochs = 30", f"n_epochs = {searched}"))
        assert space_from(path, (8, 8, 1), 10).longest_training == longest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block9_filters": 8}, r"block9_filters matches no parameter .* did you mean block"),
        ({"n_blocks": None}, "n_blocks is missing; add it"),
        ({"n_blocks": 4}, "n_blocks must be a whole number from 1 to 3 .* but got 4"),
        ({"n_blocks": True}, "n_blocks must be a whole number .* but got True"),
        ({"n_blocks": 2.0}, r"n_blocks must be a whole number .* but got 2\.0"),
        ({"block1_filters": 31}, "block1_filters must be a whole number from 8 to 32 in steps of 8 .* but got 31"),
        ({"label_smoothing": 0.07}, r"label_smoothing must be a number from 0 to 0\.2 in steps of 0\.05 .* got 0\.07"),
        ({"label_smoothing": math.nan}, "label_smoothing must be a number .* but got nan"),
        ({"peak_learning_rate_adamw": math.inf}, "peak_learning_rate_adamw must be a number .* but got inf"),
        ({"batch_normalization": 1}, "batch_normalization must be one of True, False .* but got 1"),
        ({"pooling": "mean"}, "pooling must be one of max, average .* but got 'mean'"),
        ({"flip": False}, "flip matches no parameter"),
    ],
)
def test_parameters_outside_the_space_are_refused(digits, change, message):
    params = {**digits.portfolio[0].params, **change}
    with pytest.raises(UserError, match=message):
        digits.recipe_of({name: value for name, value in params.items() if value is not None})


# What a space file may not say


def read(folder: Path, table: dict[str, Any]) -> SearchSpace:
    return space_from(written(folder, as_toml(table)), (8, 8, 1), 10)


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(folder: Path, old: str, new: str) -> SearchSpace:
    """The digits' file with one place changed."""
    assert DIGITS_TEXT.count(old) >= 1, f"{old!r} is not in digits.toml any more"
    return space_from(written(folder, DIGITS_TEXT.replace(old, new, 1)), (8, 8, 1), 10)


def as_toml(table: dict[str, Any]) -> str:
    """Inline, which tomllib reads as well; JSON's lists, texts, numbers and booleans are TOML's."""
    return "\n".join(f"{key} = {_inline(value)}" for key, value in copy.deepcopy(table).items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


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
        ["portfolio must hold", '"default"', "got mine, notebook, shallow", "copy the one"],
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
def test_refusal_names_key_requirement_received_and_remedy_in_one_line(tmp_path, case):
    old, new, parts = REFUSED[case]
    message = refusal(tmp_path, old, new)
    position = 0
    for part in parts:
        assert part in message[position:], f"{part!r} is not in {message[position:]!r}"
        position = message.index(part, position)


@pytest.mark.parametrize("table", ["architecture", "training", "fidelity"])
def test_missing_table_is_named(tmp_path, table):
    tables = {key: value for key, value in tomllib.loads(DIGITS_TEXT).items() if key != table}
    with pytest.raises(UserError, match=rf"mine\.toml: {table} is missing; "):
        read(tmp_path, tables)


@pytest.mark.parametrize("table", ["architecture", "training", "fidelity", "limits"])
def test_value_in_the_place_of_a_table_is_refused(tmp_path, table):
    with pytest.raises(UserError, match=rf"{table} must be a table, but got 3; begin it with \[{table}\]"):
        read(tmp_path, {**tomllib.loads(DIGITS_TEXT), table: 3})


@pytest.mark.parametrize("portfolio", [3, {"name": "default"}, [3]])
def test_portfolio_that_is_no_list_of_tables_is_refused(tmp_path, portfolio):
    with pytest.raises(UserError, match=r"portfolio must be a list of tables, but got .*; begin each with"):
        read(tmp_path, {**tomllib.loads(DIGITS_TEXT), "portfolio": portfolio})


def test_space_without_a_portfolio_lacks_its_default(tmp_path):
    tables = {key: value for key, value in tomllib.loads(DIGITS_TEXT).items() if key != "portfolio"}
    with pytest.raises(UserError, match=r'portfolio must hold a configuration with name = "default".* but got none'):
        read(tmp_path, tables)


def test_limits_may_be_left_out(tmp_path):
    tables = {key: value for key, value in tomllib.loads(DIGITS_TEXT).items() if key != "limits"}
    limits = read(tmp_path, tables).limits
    assert (limits.max_parameters, limits.max_multiply_adds) == (None, None)


def test_missing_file_is_named_with_the_option(tmp_path):
    with pytest.raises(UserError, match=r"no search-space file at .*none\.toml; see --space"):
        space_from(tmp_path / "none.toml", (8, 8, 1), 10)


def test_folder_in_the_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="must be a readable TOML text file, but got: Is a directory; see --space"):
        space_from(tmp_path, (8, 8, 1), 10)


def test_empty_file_lacks_everything(tmp_path):
    with pytest.raises(UserError, match=r"architecture is missing; studies/fashion-mnist\.toml shows every key"):
        space_from(written(tmp_path, ""), (8, 8, 1), 10)


def test_binary_file_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    with pytest.raises(UserError, match="must be a readable TOML text file, but got: 'utf-8' codec"):
        space_from(path, (8, 8, 1), 10)


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + DIGITS_TEXT.replace("\n", "\r\n").encode())
    assert space_from(path, (8, 8, 1), 10).table == tomllib.loads(DIGITS_TEXT)


def test_range_of_one_value_is_that_value(tmp_path):
    space = changed(tmp_path, FILTERS, "    { low = 64, high = 64 },\n")
    recipes = [recipe for _, recipe in random_trials(space, 10)]
    assert {r.architecture.blocks[1].filters for r in recipes if len(r.architecture.blocks) > 1} == {64}


def test_fewer_blocks_with_a_flat_head_than_with_a_global_one(tmp_path):
    heads = 'head = { choices = ["flatten", "global_average", "global_max"] }'
    four = DIGITS_TEXT.replace(BLOCKS, "n_blocks = { low = 1, high = 4 }").replace(FILTERS, FILTERS * 2, 1)
    path = written(tmp_path, four.replace(heads, 'head = { choices = ["global_average", "global_max"] }'))
    with pytest.raises(UserError, match="portfolio 'notebook, shallow': head must be one of"):
        space_from(path, (8, 8, 1), 10)
    with pytest.raises(UserError, match="carry at most 3 blocks"):
        space_from(written(tmp_path, four), (8, 8, 1), 10)
