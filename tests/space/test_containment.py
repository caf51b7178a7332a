"""A space contains another: each configuration of the smaller one is one of the larger, with the same recipe."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.space.containment import changes_between, contains
from search.space.parameters import Choices, Fixed, Range
from search.space.schema import build_space, parse_toml
from search.space.space import SearchSpace
from search.space.transfer import transfer
from tests.support.spaces import DIGITS_TEXT, FASHION_MNIST, random_trials
from tests.support.wider import WIDER_TEXT

SHAPE = (28, 28, 1)
BASE = {  # of the default configuration, which lies in every space that is drawn here
    "architecture": {
        "n_blocks": 1,
        "pooling": "max",
        "batch_normalization": True,
        "activation": "relu",
        "head": "flatten",
        "n_dense": 0,
        "dense_units": 64,
        "head_dropout": 0.2,
        "block": {"n_convolutions": 1, "residual": False, "kernel_size": 3, "dropout": 0.1},
    },
    "training": {
        "optimizer": "adamw",
        "schedule": "cosine",
        "warmup_fraction": 0.2,
        "batch_size": 64,
        "label_smoothing": 0.1,
        "flip": True,
        "shift": 1,
        "border": "black",
        "erasing": 0.5,
        "averaging": 0.0,
        "n_epochs": 40,
    },
}
ALL = {  # what a parameter in words may be
    "pooling": ["max", "average"],
    "batch_normalization": [True, False],
    "activation": ["relu", "elu", "silu", "gelu"],
    "head": ["flatten", "global_average", "global_max"],
    "kernel_size": [1, 3, 5, 7],
    "residual": [True, False],
    "schedule": ["constant", "cosine", "one_cycle"],
    "flip": [True, False],
    "border": ["black", "edge"],
    "optimizer": ["adam", "adamw", "sgd"],
}
WHOLE = {"n_blocks": 3, "n_dense": 2, "n_convolutions": 3, "shift": 4}  # up to
SHARES = ("head_dropout", "dropout", "warmup_fraction", "label_smoothing", "erasing", "averaging")


@dataclass(frozen=True)
class Forms:
    """A parameter as the smaller and the larger file have it."""

    smaller: Any
    larger: Any


def subset(values: list[Any], base: Any) -> st.SearchStrategy[list[Any]]:
    """Some of the values, with the base, in any order."""
    return st.sets(st.sampled_from(values)).map(lambda some: [v for v in values if v in some or v == base])


@st.composite
def in_words(draw: st.DrawFn, values: list[Any], base: Any) -> Forms:
    few = draw(subset(values, base))
    many = draw(
        st.permutations(draw(subset(values, base).map(lambda more: [v for v in values if v in more or v in few])))
    )
    smaller = {"choices": few}
    if few == [base] and draw(st.booleans()):
        smaller = base
    larger = {"choices": list(many)}
    if len(many) == 1 and draw(st.booleans()):
        larger = base
    return Forms(smaller, larger)


@st.composite
def whole(draw: st.DrawFn, base: int, highest: int) -> Forms:
    """Ranges and lists of whole numbers."""
    inner = draw(st.integers(base, highest))
    outer = draw(st.integers(inner, highest))
    smaller = draw(st.sampled_from([{"low": base, "high": inner}, {"choices": list(range(inner, base - 1, -1))}]))
    if inner == base and draw(st.booleans()):
        smaller = base
    larger = draw(st.sampled_from([{"low": base, "high": outer}, {"choices": list(range(base, outer + 1))}]))
    return Forms(smaller, larger)


@st.composite
def shares(draw: st.DrawFn, base: float) -> Forms:
    """Grids of twentieths, dense ranges, and fixed numbers."""
    place = round(base * 20)
    low, high = draw(st.integers(0, place)), draw(st.integers(place + 2, 18))
    width = high - low
    steps = [step for step in (1, 2, 4) if step < width and width % step == 0 and (place - low) % step == 0]
    step = draw(st.sampled_from(steps))
    grid = {"low": low / 20, "high": high / 20, "step": step / 20}
    dense = {"low": low / 20, "high": high / 20}
    smaller, larger = draw(
        st.sampled_from(
            [
                (base, grid),
                (base, dense),
                ({"choices": [base]}, grid),
                (grid, {"low": 0.0, "high": 0.95, "step": 0.05}),
                (grid, {"low": 0.0, "high": 0.95}),
                (dense, {"low": 0.0, "high": 0.9}),
                (grid, grid),
            ]
        )
    )
    return Forms(smaller, larger)


@st.composite
def positive(draw: st.DrawFn, low: float, high: float) -> Forms:
    """Numbers on a logarithmic scale or not."""
    inner = sorted(draw(st.lists(st.floats(low, high), min_size=2, max_size=2, unique=True)))
    is_log = st.booleans()
    return Forms(
        {"low": inner[0], "high": inner[1], "log": draw(is_log)}, {"low": low, "high": high, "log": draw(is_log)}
    )


@st.composite
def space_pairs(draw: st.DrawFn) -> tuple[SearchSpace, SearchSpace]:
    """A space and one that contains it."""
    smaller, larger = copy.deepcopy(BASE), copy.deepcopy(BASE)

    def put(table: str, key: str, forms: Forms) -> None:
        for tables, form in ((smaller, forms.smaller), (larger, forms.larger)):
            place = tables["architecture"]["block"] if table == "block" else tables[table]
            place[key] = form

    keys = [("architecture", key) for key in BASE["architecture"] if key not in ("block", "dense_units")]
    keys += [("block", key) for key in BASE["architecture"]["block"]]
    keys += [("training", key) for key in BASE["training"] if key not in ("batch_size", "n_epochs")]
    for table, key in keys:
        base = (BASE["architecture"]["block"] if table == "block" else BASE[table])[key]
        if key in ALL:
            put(table, key, draw(in_words(ALL[key], base)))
        elif key in WHOLE:
            put(table, key, draw(whole(base, WHOLE[key])))
        else:
            assert key in SHARES
            put(table, key, draw(shares(base)))
    put("architecture", "dense_units", Forms({"low": 16, "high": 64, "log": True}, {"low": 8, "high": 99}))
    put("block", "filters", Forms([{"low": 8, "high": 32, "step": 8}] * 3, [{"low": 4, "high": 64, "step": 4}] * 3))
    for key, low, high in (("peak_learning_rate", 1e-4, 1.0), ("weight_decay", 1e-5, 0.3)):
        by_optimizer = {optimizer: draw(positive(low, high)) for optimizer in ("adamw", "sgd")}
        by_optimizer["adam"] = draw(positive(low, high)) if key == "peak_learning_rate" else Forms(0.0, 0.0)
        for tables, size in ((smaller, "smaller"), (larger, "larger")):
            tables["training"][key] = {name: getattr(forms, size) for name, forms in by_optimizer.items()}
    return with_default(smaller), with_default(larger)


def with_default(tables: dict[str, Any]) -> SearchSpace:
    """The space, with a default that has each parameter that varies."""
    of_block = {f"block1_{key}": value for key, value in BASE["architecture"]["block"].items()}
    base = {**BASE["architecture"], **of_block, **BASE["training"], "block1_filters": 16}
    written = {**tables["architecture"], **tables["training"]}
    written.update({f"block1_{key}": value for key, value in tables["architecture"]["block"].items()})
    written["block1_filters"] = written["block1_filters"][0]
    asked = [name for name in base if name not in ("block", "dense_units", "block1_residual", "filters")]
    params = {name: base[name] for name in asked if isinstance(written.get(name), dict)}
    for key in ("peak_learning_rate", "weight_decay"):  # where both spaces have it
        form = tables["training"][key]["adamw"]
        params[f"{key}_adamw"] = form["low"]
    fidelity = parse_toml(FASHION_MNIST.read_text(encoding="utf-8"), "")["fidelity"]
    portfolio = [{"name": "default", **params}]
    return build_space({**copy.deepcopy(tables), "fidelity": fidelity, "portfolio": portfolio}, SHAPE, 10)


@pytest.mark.studies
@settings(max_examples=40, deadline=None)
@given(space_pairs())
def test_every_configuration_of_a_space_is_the_same_recipe_in_one_that_contains_it(
    pair: tuple[SearchSpace, SearchSpace],
) -> None:
    smaller, larger = pair
    changes = [change for change in changes_between(smaller, larger) if not change.key.startswith("portfolio")]
    assert not [str(change) for change in changes if not change.grows]
    for _, recipe in random_trials(smaller, 10):
        transferred = transfer(recipe, larger)
        assert transferred.changes == ()
        assert larger.recipe_of(transferred.params) == recipe


numbers = st.integers(0, 6)
small_parameters = st.one_of(
    numbers.map(lambda value: Fixed(value=value)),
    st.lists(numbers, min_size=1, unique=True).map(lambda values: Choices[int](choices=values)),
    st.tuples(numbers, numbers).map(lambda ends: Range[int, int](low=min(ends), high=max(ends))),
    st.tuples(numbers, st.integers(1, 3), st.integers(1, 3)).map(
        lambda drawn: Range[int, int](low=drawn[0], high=drawn[0] + drawn[1] * drawn[2], step=drawn[1])
    ),
)


def values_of(parameter: Any) -> set[int]:
    if isinstance(parameter, Range):
        return set(range(parameter.low, parameter.high + 1, parameter.step or 1))
    return set(parameter.values)


@given(small_parameters, small_parameters)
def test_parameter_contains_another_where_it_has_all_its_values(one: Any, other: Any) -> None:
    assert contains(one, other) == (values_of(other) <= values_of(one))


@pytest.mark.parametrize(
    ("smaller", "larger", "is_contained"),
    [
        (Fixed(value=True), Choices[int](choices=(0, 1)), False),
        (Fixed(value=True), Choices[bool](choices=(False, True)), True),
        (Range[float, float](low=0.0, high=0.5, step=0.1), Range[float, float](low=0.0, high=0.6, step=0.05), True),
        (Range[float, float](low=0.0, high=0.3, step=0.1), Range[float, float](low=0.05, high=0.95, step=0.05), False),
        (Range[float, float](low=0.0, high=0.5), Range[float, float](low=0.0, high=0.5, step=0.1), False),
        (Range[float, float](low=0.1, high=0.3, step=0.1), Choices[float](choices=(0.3, 0.2, 0.1)), True),
        (Range[float, float](low=1e-3, high=1e-2, log=True), Range[float, float](low=1e-3, high=1e-2), True),
        (Range[float, float](low=1e-3, high=1e-2), Choices[float](choices=(1e-3, 1e-2)), False),
        (Fixed(value="max"), Range[float, float](low=0.0, high=1.0), False),
    ],
)
def test_decimals_texts_and_truth_values_are_what_they_are_in_the_file(
    smaller: Any, larger: Any, is_contained: bool
) -> None:
    assert contains(larger, smaller) == is_contained


def digits(text: str) -> SearchSpace:
    return build_space(parse_toml(text, "digits"), (8, 8, 1), 10)


def test_growth_is_said_in_words_and_the_way_back_does_not_grow() -> None:
    smaller, larger = digits(DIGITS_TEXT), digits(WIDER_TEXT)
    changes = changes_between(smaller, larger)
    assert all(change.grows for change in changes)
    said = [str(change) for change in changes]
    assert "architecture.block.kernel_size: 3 -> one of 5, 3" in said
    assert "limits.max_multiply_adds: 5,000,000 -> no limit" in said
    back = [change.key for change in changes_between(larger, smaller) if not change.grows]
    assert "limits.max_multiply_adds" in back and "training.shift" in back
    assert changes_between(larger, larger) == []


def test_what_no_configuration_has_may_change() -> None:
    text = DIGITS_TEXT.replace("n_convolutions = { low = 1, high = 2 }", "n_convolutions = 1")
    for name in ("block1_n_convolutions = 1\n", "block2_n_convolutions = 2\n"):
        text = text.replace(name, "")
    assert changes_between(digits(text), digits(text.replace("residual = false", "residual = true"))) == []


def test_configuration_of_the_portfolio_stays_what_it_was() -> None:
    smaller = digits(DIGITS_TEXT)
    other = changes_between(
        smaller, digits(DIGITS_TEXT.replace("peak_learning_rate_adamw = 6e-3", "peak_learning_rate_adamw = 5e-3"))
    )
    assert [(str(change), change.grows) for change in other] == [
        ("portfolio 'default': peak_learning_rate_adamw = 0.006 -> peak_learning_rate_adamw = 0.005", False)
    ]
    renamed = changes_between(smaller, digits(DIGITS_TEXT.replace("notebook, shallow", "shallow")))
    assert [(str(change), change.grows) for change in renamed] == [
        ("portfolio 'notebook, shallow': tried first -> absent", True),
        ("portfolio 'shallow': absent -> tried first", True),
    ]
