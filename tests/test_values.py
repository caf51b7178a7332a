"""What a Python caller may pass for a number, a text or a path, and what is refused."""

from __future__ import annotations

import enum
import json
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist.errors import UserError
from fmnist.values import require, require_callable, require_instance, shown, to_items, to_place


class Colour(str, enum.Enum):  # noqa: UP042  a StrEnum has no other name
    """A text by its value, and another by its name."""

    GREY = "grey"


class Handle:
    """A path as other libraries have them."""

    def __fspath__(self) -> str:
        return "some/file"

    def __repr__(self) -> str:
        return "Handle"


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, 5, 5),
        (int, 5.0, 5),
        (int, np.int64(5), 5),
        (int, np.uint8(5), 5),
        (int, np.float32(5), 5),
        (int, np.longdouble(5), 5),
        (int, np.array(5), 5),
        (int, Decimal(5), 5),
        (int, Fraction(10, 2), 5),
        (int, 2**63 - 1, 2**63 - 1),
        (float, 2, 2.0),
        (float, np.float16(2.5), 2.5),
        (float, np.array(2.5), 2.5),
        (float, Fraction(5, 2), 2.5),
        (bool, True, True),
        (bool, np.bool_(False), False),
        (bool, np.array(True), True),
        (str, "grey", "grey"),
        (str, np.str_("grey"), "grey"),
        (str, Colour.GREY, "grey"),
        (Path, "some/file", Path("some/file")),
        (Path, b"some/file", Path("some/file")),
        (Path, np.str_("some/file"), Path("some/file")),
        (Path, PurePosixPath("some/file"), Path("some/file")),
        (Path, Handle(), Path("some/file")),
    ],
    ids=lambda value: f"{type(value).__name__} {value}",
)
def test_what_is_of_a_kind_becomes_python_s_own_type(kind: type, value: object, expected: object) -> None:
    converted = require(kind, value, "it")
    assert converted == expected
    assert type(converted) is type(expected)
    json.dumps(str(converted) if kind is Path else converted)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (int, "ten", "it must be a whole number, but got 'ten' (str)"),
        (int, 2.5, "it must be a whole number, but got 2.5 (float)"),
        (int, True, "it must be a whole number, but got True (bool)"),
        (int, np.bool_(True), "it must be a whole number, but got np.True_ (bool)"),
        (int, None, "it must be a whole number, but got None"),
        (int, math.nan, "it must be a whole number, but got nan (float)"),
        (int, math.inf, "it must be a whole number, but got inf (float)"),
        (int, Decimal("NaN"), "it must be a whole number, but got Decimal('NaN') (Decimal)"),
        (
            int,
            2**63,
            "it must be a whole number, but got 9223372036854775808 (int); it must lie between -9223372036854775808 "
            "and 9223372036854775807",
        ),
        (int, 5 + 0j, "it must be a whole number, but got (5+0j) (complex)"),
        (int, [5], "it must be a whole number, but got [5] (list)"),
        (int, np.array([5]), "it must be a whole number, but got an array of int64 (1,) (ndarray)"),
        (int, int, "it must be a whole number, but got the class int"),
        (int, b"5", "it must be a whole number, but got b'5' (bytes)"),
        (float, "5m", "it must be a number, but got '5m' (str)"),
        (float, "inf", "it must be a number, but got 'inf' (str)"),
        (float, np.timedelta64(5, "m"), "it must be a number, but got np.timedelta64(5,'m') (timedelta64)"),
        (bool, 1, "it must be true or false, but got 1 (int)"),
        (bool, "no", "it must be true or false, but got 'no' (str)"),
        (str, Path("x"), "it must be a text, but got PosixPath('x') (PosixPath)"),
        (str, b"x", "it must be a text, but got b'x' (bytes)"),
        (Path, 5, "it must be a path, but got 5 (int)"),
        (Path, "", "it must be a path, but got '' (str)"),
        (Path, "a\0b", "it must be a path, but got 'a\\x00b' (str)"),
        (Path, ["x"], "it must be a path, but got ['x'] (list)"),
    ],
)
def test_what_is_of_another_kind_is_refused_with_its_type(kind: type, value: object, said: str) -> None:
    with pytest.raises(UserError) as refused:
        require(kind, value, "it")
    assert str(refused.value) == said


@pytest.mark.parametrize(("kind", "text"), [(int, "10"), (int, "5.0"), (float, "0.5"), (float, "1e3")])
def test_number_in_quotes_is_a_number_without_them(kind: type, text: str) -> None:
    with pytest.raises(UserError, match=r"; leave out the quotes$"):
        require(kind, text, "it")
    assert require(kind, float(text), "it") == float(text)


def test_huge_numbers_are_refused_in_one_short_line() -> None:
    for kind, value in (
        (int, 10**5000),
        (float, 10**400),
        (bool, 10**5000),
        (str, "x" * 5000 + "\n"),
        (Path, list(range(5000))),
    ):
        if kind is str:
            value = [value]
        with pytest.raises(UserError) as refused:
            require(kind, value, "it")
        assert len(str(refused.value)) < 300 and "\n" not in str(refused.value)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, np.uint64(2**63), 1e30, Decimal(10) ** 30])
def test_whole_number_beyond_64_bits_is_refused_with_the_ends(number: int) -> None:
    with pytest.raises(UserError, match=rf"; it must lie between -{2**63} and {2**63 - 1}$"):
        require(int, number, "it")
    assert require(int, 2**63 - 1, "it") == 2**63 - 1
    assert require(int, -(2**63), "it") == -(2**63)


def test_value_whose_repr_fails_is_named_by_its_type() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(UserError, match="Broken"):
        require(int, Broken(), "it")


def test_bound_is_said_with_the_number() -> None:
    assert require(int, np.int8(1), "top", at_least=1) == 1
    with pytest.raises(UserError, match=r"^top must be 1 or more, but got 0$"):
        require(int, 0.0, "top", at_least=1)
    with pytest.raises(UserError, match=r"^top must be 1 or more, but got nan$"):
        require(float, math.nan, "top", at_least=1)


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_every_whole_number_of_numpy_is_the_same_one_of_python(number: int) -> None:
    assert require(int, np.int64(number), "it") == number


@settings(deadline=None)
@given(st.floats(allow_nan=False))
def test_floats_are_whole_numbers_where_they_lose_nothing(number: float) -> None:
    try:
        assert require(int, number, "it") == number
    except UserError:
        assert math.isinf(number) or number != int(number) or not -(2**63) <= number < 2**63


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="\0~", exclude_categories=["Cs"]), min_size=1))
def test_text_bytes_and_path_name_the_same_file(name: str) -> None:
    path = Path(name)
    assert require(Path, name, "it") == require(Path, name.encode(), "it") == require(Path, path, "it") == path
    assert to_place(path) == str(path)


@settings(deadline=None)
@given(st.lists(st.text()))
def test_collections_of_every_kind_hold_the_same_items(items: list[str]) -> None:
    assert to_items(items) == to_items(tuple(items)) == to_items(iter(items)) == tuple(items)
    assert set(to_items(set(items))) == set(items)


def test_single_text_is_one_item_and_a_mapping_is_none() -> None:
    assert to_items("onnx") == ("onnx",)
    assert to_items(Path("x")) == (Path("x"),)
    for value in ({"onnx": 1}, 5, None, np.array(5)):
        with pytest.raises(ValueError):
            to_items(value)


def test_instances_and_functions_are_told_from_other_things() -> None:
    assert require_instance(dict, {}, "it", "a dict", "pass one") == {}
    with pytest.raises(UserError, match=r"^it must be a dict, but got the class dict; pass one$"):
        require_instance(dict, dict, "it", "a dict", "pass one")
    assert require_callable(print, "say", "(text)") is print
    with pytest.raises(UserError, match=r"^say must be a function \(text\), but got True \(bool\)$"):
        require_callable(True, "say", "(text)")


def test_shown_values_name_their_type() -> None:
    assert shown(np.zeros((2, 3), np.uint8)) == "an array of uint8 (2, 3) (ndarray)"
    assert shown("a\nb") == r"'a\nb' (str)"
