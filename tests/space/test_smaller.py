"""Smaller configurations: which they are, and when a study tries them."""

from __future__ import annotations

import dataclasses

import pytest

from fmnist.model.layers import count_multiply_adds, count_parameters
from search.space.default import own_space
from search.space.schema import read_space_text, space_of
from search.space.smaller import is_default_over, with_smaller
from search.space.space import DEFAULT_NAME, Limits, SearchSpace
from tests.support.spaces import DIGITS, FASHION_MNIST, QUICK

SPACES = {
    "fashion-mnist": space_of(read_space_text(FASHION_MNIST), "", (28, 28, 1), 10),
    "digits": space_of(read_space_text(DIGITS), "", (8, 8, 1), 10),
    "own": space_of(own_space((32, 32, 3), 5, 3000, flip=False), "", (32, 32, 3), 5),
}


def sizes(space: SearchSpace) -> dict[str, int]:
    found = {}
    for entry in space.portfolio:
        found[entry.name] = count_multiply_adds(space.recipe_of(entry.params).architecture)
    return found


@pytest.mark.parametrize("name", SPACES)
def test_smaller_networks_lie_in_the_space_and_come_right_after_the_default(name: str) -> None:
    space = SPACES[name]
    wider = with_smaller(space)
    names = [entry.name for entry in wider.portfolio]
    n_new = len(wider.portfolio) - len(space.portfolio)
    assert n_new >= 2
    assert names[0] == DEFAULT_NAME
    assert [each for each in names if each not in names[1 : 1 + n_new]] == [entry.name for entry in space.portfolio]
    of_all = sizes(wider)
    assert all(of_all[each] < of_all[DEFAULT_NAME] for each in names[1 : 1 + n_new])


def test_fashion_mnist_has_networks_of_some_ten_and_of_60_thousand_weights() -> None:
    wider = with_smaller(SPACES["fashion-mnist"])
    counts = [count_parameters(wider.recipe_of(entry.params).architecture) for entry in wider.portfolio]
    assert any(count < 10_000 for count in counts)
    assert any(50_000 < count < 80_000 for count in counts)


def test_strongest_is_narrowed_beside_the_default_with_its_own_training() -> None:
    space = SPACES["fashion-mnist"]
    _, *smaller = with_smaller(space).portfolio[:3]
    assert [entry.name for entry in smaller] == ["residual first, half width", "default, half width"]
    assert space.portfolio[1].name == "residual first"
    narrow, wide = space.recipe_of(smaller[0].params), space.recipe_of(space.portfolio[1].params)
    assert narrow.plan == wide.plan
    widths = [(block.filters, block.residual) for block in narrow.architecture.blocks]
    assert widths == [(block.filters // 2, block.residual) for block in wide.architecture.blocks]


def test_space_with_no_smaller_network_stays_as_it_is() -> None:
    text = read_space_text(QUICK).replace("{ low = 8, high = 16, step = 8 }", "16").replace("block1_filters = 16\n", "")
    space = space_of(text, "", (8, 8, 1), 10)
    assert with_smaller(space).portfolio == space.portfolio


def test_configurations_come_once_however_often_they_are_asked_for() -> None:
    once = with_smaller(SPACES["digits"])
    assert with_smaller(once).portfolio == once.portfolio


def test_default_over_a_limit_is_found() -> None:
    space = SPACES["digits"]
    assert not is_default_over(space)
    assert is_default_over(dataclasses.replace(space, limits=Limits(max_parameters=10_000)))
