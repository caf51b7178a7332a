"""Which networks a check tries."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fmnist.model.layers import count_multiply_adds
from search.callbacks.terminal import Terminal
from search.config import StudyConfig
from search.estimate.networks import choose_networks, spread_out
from search.estimate.prepare import prepare
from search.worker.resources import local_resources
from search.worker.tasks import TrainingSite
from tests.support.costs import recipe

SITE = TrainingSite(Path("nowhere"), 0.0, 1.0, 1000, None)


def test_networks_from_the_smallest_to_the_largest_are_tried_the_default_by_every_worker(tmp_path: Path) -> None:
    config = StudyConfig(study="s", dataset="digits", workers=3, studies_dir=tmp_path / "studies")
    prepared = prepare(config, Terminal(), threading.Event(), tmp_path, local_resources(config))
    networks = choose_networks(prepared, SITE)
    names = [name.partition(": ")[2] for name, _ in networks]
    assert len(set(name for name, _ in networks)) == len(networks)
    assert names[0] == "default" and names.count("default") >= 3
    assert len(networks) % 3 == 0
    costs = [count_multiply_adds(recipe.architecture) for _, recipe in networks]
    assert costs[names.index("smallest")] == min(costs) < max(costs) / 20


@pytest.mark.parametrize(("n", "between"), [(3, []), (4, [3]), (5, [3, 4]), (7, [2, 3, 4, 5])])
def test_networks_in_between_are_at_even_distances(n: int, between: list[int]) -> None:
    recipes = [recipe(filters) for filters in (4, 1, 6, 2, 5, 3)]
    chosen = spread_out(recipes, n)
    assert [name for name, _ in chosen] == ["largest", "smallest", "most memory"] + ["between"] * (n - 3)
    filters = [each.architecture.blocks[0].filters for _, each in chosen]
    assert filters[:3] == [6, 1, 6]
    assert filters[3:] == between


def test_nothing_is_chosen_of_nothing() -> None:
    assert spread_out([], 5) == []
