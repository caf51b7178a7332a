"""One default space for images of one's own: every size from 4 to 128 pixels, few images or very many."""

from __future__ import annotations

import itertools

import pytest

from fmnist.model.layers import count_multiply_adds, count_parameters
from fmnist.recipe import max_blocks
from search.space.default import EPOCHS, SHORTEST_RUNG, own_space, usual_depth
from search.space.schema import space_of
from search.space.space import SearchSpace
from search.study.strategy import build_rungs

SIDES, NUMBERS = (4, 8, 12, 16, 24, 28, 32, 48, 64, 96, 128), (8, 300, 959, 5_000, 10_000, 50_000, 300_000)


def space_for(
    side: int, channels: int = 3, n_train: int = 959, *, n_classes: int = 10, flip: bool = False
) -> SearchSpace:
    shape = (side, side, channels)
    return space_of(own_space(shape, n_classes, n_train, flip=flip), "the default space", shape, n_classes)


@pytest.mark.parametrize("side", SIDES)
def test_space_is_valid_and_its_portfolio_within_the_limits(side):
    for channels, n_train in itertools.product((1, 3), (NUMBERS[0], NUMBERS[-1])):
        space = space_for(side, channels, n_train, n_classes=256)
        for entry in space.portfolio:
            architecture = space.recipe_of(entry.params).architecture
            assert count_parameters(architecture) <= space.limits.max_parameters, entry.name
            assert count_multiply_adds(architecture) <= space.limits.max_multiply_adds, entry.name
        assert len(space.portfolio) == 5 and space.portfolio[0].name == "default"


@pytest.mark.parametrize(("side", "depth"), [(8, 1), (16, 2), (24, 3), (28, 3), (32, 3), (48, 4), (64, 4), (128, 5)])
def test_depth_goes_with_the_side(side, depth):
    space = space_for(side)
    assert usual_depth((side, side, 1)) == depth
    assert len(space.recipe_of(space.portfolio[0].params).architecture.blocks) == depth
    deepest = space.parameters["n_blocks"].highest
    assert depth <= deepest <= max_blocks((side, side, 1), "flatten")


def test_images_that_are_no_squares_are_as_deep_as_their_shorter_side():
    text = own_space((16, 64, 1), 3, 500, flip=False)
    assert len(space_of(text, "", (16, 64, 1), 3).filters) == len(space_for(16).filters)


def test_limit_of_multiply_adds_goes_with_the_pixels():
    limits = [space_for(side).limits.max_multiply_adds for side in (16, 28, 32, 64)]
    assert limits == [4_100_000, 12_500_000, 16_400_000, 65_500_000]


@pytest.mark.parametrize("n_train", NUMBERS)
def test_rungs_are_whole_powers_of_the_factor_apart_and_long_enough(n_train):
    fidelity = space_for(32, n_train=n_train).fidelity
    rungs = build_rungs("asha", fidelity)
    assert len(rungs) >= 2 and rungs[0] >= SHORTEST_RUNG
    assert all(after == fidelity.reduction_factor * before for before, after in itertools.pairwise(rungs))
    assert rungs[-1] % fidelity.report_every_images == 0


@pytest.mark.parametrize(
    ("n_train", "last_rung", "n_epochs"),
    [(300, 16_000, 100), (959, 16_000, 42), (50_000, 251_200, 40), (10**6, 505_600, 10)],
)
def test_trainings_are_as_long_as_the_number_of_images_asks_for(n_train, last_rung, n_epochs):
    space = space_for(32, n_train=n_train)
    assert (space.fidelity.search_images, space.parameters["n_epochs"].highest) == (last_rung, n_epochs)
    assert EPOCHS[0] <= n_epochs <= EPOCHS[-1]


@pytest.mark.parametrize("flip", [True, False])
def test_images_are_mirrored_where_that_is_asked_for(flip):
    space = space_for(32, flip=flip)
    plans = [space.recipe_of(entry.params).plan for entry in space.portfolio]
    assert {(plan.flip, plan.border) for plan in plans} == {(flip, "edge")}


def test_file_says_what_it_is_for_and_what_its_lines_mean():
    text = own_space((32, 32, 3), 7, 959, flip=True)
    assert text.startswith(
        "# The default search space for images of 32 x 32 pixels in 7 classes, 959 of them to train on."
    )
    assert all(len(line) <= 120 for line in text.splitlines())
    assert "the last rung: 16.7 epochs" in text and "mirror every image" in text
