"""Options declared once: help, checks and command lines follow from the fields."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from fmnist.cli import OneLineParser
from fmnist.errors import UserError
from fmnist.options import add_options, option, options, parse_options, to_arguments


@options
class Brew:
    """Options of every kind."""

    leaves: tuple[str, ...] = option("what goes in", positional=True, metavar="LEAF")
    pot: Path = option("where it goes", default=Path("pot"), metavar="DIR")
    cups: int = option("how many", default=2, ge=1, le=12, metavar="N")
    minutes: float | None = option("to draw", default=None, gt=0, requirement="a positive time", remedy="try 3")
    kind: Literal["black", "green"] = option("of leaves", default="black")
    sugar: bool = option("sweeten it", default=False)
    lid: bool = option("leave the pot open", default=True, name="no-lid")
    notes: Sequence[str] = option("to remember", default=(), metavar="TEXT")
    heat_percent: int = option("of 100 %", default=80, ge=0, name="heat", default_shown="80 %")
    volume: Literal["quiet", "normal", "loud"] = option(
        "of the whistle", default="normal", switches={"quiet": "no whistle", "loud": "a long one"}
    )


@dataclass(frozen=True)
class IcedBrew(Brew):
    """Somebody's own, with a field beside the options."""

    cubes: int = 3


def brew(*words: str) -> Brew:
    return parse_options(Brew, words, prog="brew", description="Make tea.")


def test_command_line_gives_what_the_constructor_gives() -> None:
    assert brew("assam") == Brew(("assam",))
    words = ["assam", "mint", "--pot", "p", "--cups", "3", "--minutes", "2.5", "--kind", "green", "--sugar", "--no-lid"]
    words += ["--notes", "a", "--notes", "b", "--heat", "90", "--loud"]
    expected = Brew(
        leaves=("assam", "mint"),
        pot=Path("p"),
        cups=3,
        minutes=2.5,
        kind="green",
        sugar=True,
        lid=False,
        notes=["a", "b"],
        heat_percent=90,
        volume="loud",
    )
    assert brew(*words) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cups": 0}, "--cups must be between 1 and 12, but got 0"),
        ({"cups": 13}, "--cups must be between 1 and 12, but got 13"),
        ({"cups": "many"}, "--cups must be a whole number, but got 'many' (str)"),
        ({"heat_percent": -1}, "--heat must be at least 0, but got -1"),
        ({"minutes": 0}, "--minutes must be a positive time, but got 0; try 3"),
        ({"minutes": float("inf")}, "--minutes must be a positive time, but got inf; try 3"),
        ({"kind": "red"}, "--kind must be one of black, green, but got 'red'"),
        ({"sugar": "much"}, "--sugar must be true or false, but got 'much' (str)"),
        ({"pot": 3}, "--pot must be a path, but got 3 (int)"),
        ({"leaves": (3,)}, "LEAF must be a text, or a list of such, but got (3,) (tuple)"),
    ],
)
def test_value_that_cannot_be_used_is_refused_with_its_option(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as refused:
        Brew(**{"leaves": ("assam",)} | values)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: LEAF; see brew --help"),
        (["assam", "--cups", "x"], "argument --cups: invalid int value: 'x'; see brew --help"),
        (["assam", "--quiet", "--loud"], "argument --loud: not allowed with argument --quiet; see brew --help"),
        (["assam", "--cup", "3"], "unrecognized arguments: --cup 3; see brew --help"),
    ],
)
def test_words_that_cannot_be_read_are_refused_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as refused:
        brew(*words)
    assert str(refused.value) == message


def test_unknown_and_missing_arguments_are_mistakes_of_the_caller() -> None:
    with pytest.raises(TypeError, match="sugr"):
        Brew(("assam",), sugr=True)
    with pytest.raises(TypeError, match="leaves"):
        Brew()


def test_options_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Brew(("assam",)).cups = 3


def test_help_names_each_option_with_its_default() -> None:
    parser = OneLineParser(prog="brew")
    add_options(parser, Brew)
    lines = " ".join(parser.format_help().split())
    for part in (
        "LEAF what goes in",
        "--pot DIR where it goes (default: pot)",
        "--cups N how many (default: 2)",
        "--kind {black,green} of leaves (default: black)",
        "--sugar sweeten it --no-lid leave the pot open --notes TEXT to remember --heat",
        "of 100 % (default: 80 %)",
        "--quiet no whistle --loud a long one",
    ):
        assert part in lines


@options
class Order:
    """Options that a command line can hold without positional words."""

    cups: int = option("how many", default=2, ge=1)
    pot: Path | None = option("where it goes", default=None)
    sugar: bool = option("sweeten it", default=False)
    leaves: Sequence[str] = option("what goes in", default=())


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (Order(), []),
        (Order(cups=3, pot=Path("my pot"), sugar=True), ["--cups", "3", "--pot", "my pot", "--sugar"]),
        (Order(leaves=("assam", "mint")), ["--leaves", "assam,mint"]),
    ],
)
def test_options_are_written_as_one_would_type_them(order: Order, words: list[str]) -> None:
    assert to_arguments(order) == words


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sugr": True}, "Brew has no option sugr; did you mean sugar?"),
        ({"Cups": 3}, "Brew has no option Cups; did you mean cups?"),
        ({"heat": 3}, "Brew has no option heat; did you mean heat_percent?"),
        ({"zzz": 1}, "Brew has no option zzz; it has leaves, pot, cups, "),
    ],
)
def test_unknown_argument_is_told_which_one_was_meant(values: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError) as refused:
        Brew(("assam",), **values)
    assert str(refused.value).startswith(message)


def test_arguments_by_place_are_refused_by_their_names() -> None:
    with pytest.raises(UserError, match="--cups must be a whole number, but got 'two'"):
        Brew(("assam",), "pot", "two")
    with pytest.raises(TypeError, match="Brew got pot twice"):
        Brew(("assam",), "pot", pot="pan")
    with pytest.raises(TypeError, match="at most 10 arguments, but got 11"):
        Brew(*range(11))


def test_near_miss_of_a_choice_is_named() -> None:
    with pytest.raises(UserError, match=r"one of black, green, but got 'Green'; did you mean green[?]$"):
        Brew(("assam",), kind="Green")


def test_options_hold_plain_values_that_compare_hash_and_go_to_json() -> None:
    plain = Brew(("assam",), pot=Path("p"), cups=3, minutes=2.0, sugar=True, notes=("a",))
    given = Brew(["assam"], pot="p", cups=np.int64(3), minutes=np.float32(2), sugar=np.bool_(True), notes="a")
    assert given == plain and hash(given) == hash(plain)
    for copied in (copy.copy(given), copy.deepcopy(given), pickle.loads(pickle.dumps(given)), replace(given, cups=3.0)):
        assert copied == plain
    values = asdict(given)
    assert json.loads(json.dumps(values | {"pot": str(values["pot"])}))["cups"] == 3


def test_derived_dataclass_checks_and_converts_what_it_inherits() -> None:
    iced = IcedBrew(["assam"], pot="p", cups=np.int64(3), notes="a", cubes=5)
    assert (iced.leaves, iced.pot, iced.cups, iced.notes, iced.cubes) == (("assam",), Path("p"), 3, ("a",), 5)
    assert (iced.minutes, iced.kind, iced.heat_percent, IcedBrew(("assam",)).cubes) == (None, "black", 80, 3)
    assert type(iced.cups) is int
    for copied in (copy.deepcopy(iced), pickle.loads(pickle.dumps(iced)), replace(iced, cups=3.0)):
        assert copied == iced and type(copied) is IcedBrew
    with pytest.raises(UserError, match=r"^--cups must be a whole number, but got 'ten'"):
        IcedBrew(("assam",), cups="ten")
    with pytest.raises(UserError, match=r"^--cups must be between 1 and 12, but got 13"):
        replace(iced, cups=13)
    with pytest.raises(TypeError, match="needs leaves"):
        IcedBrew(cubes=5)


@pytest.mark.parametrize("number", [2**70, -(2**70), np.uint64(2**63), 1e30])
def test_number_beyond_64_bits_is_refused_with_the_bounds_of_its_option(number: float) -> None:
    with pytest.raises(UserError, match=r"^--cups must be between 1 and 12, but got -?1?\d+(e\+30)?$"):
        Brew(("assam",), cups=number)
    with pytest.raises(UserError, match=rf"^--heat must be a whole number, .*; it must lie between 0 and {2**63 - 1}$"):
        Brew(("assam",), heat_percent=number)
    assert Brew(("assam",), heat_percent=2**63 - 1).heat_percent == 2**63 - 1
    assert Brew(("assam",), cups=12, heat_percent=0).cups == 12


def test_repr_names_what_differs_from_the_defaults() -> None:
    brewed = Brew(("assam",), cups=3)
    assert repr(brewed) == "Brew(leaves=('assam',), cups=3)"
    assert eval(repr(brewed)) == brewed
