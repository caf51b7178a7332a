"""What a training takes, found again from probes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fmnist.model.layers import count_multiply_adds
from search.estimate.costs import fit_costs
from tests.support.costs import probe, recipe


def test_cost_of_an_image_is_found_again_from_probes_of_three_networks() -> None:
    costs = fit_costs([probe(filters) for filters in (4, 16, 64)], n_seen=100)
    other = recipe(32)
    assert costs.seconds_an_image(other) == pytest.approx(1e-4 + 1e-9 * count_multiply_adds(other.architecture))
    assert costs.share_seen == pytest.approx(0.4)
    assert costs.start_seconds == pytest.approx(2.0)


def test_neither_part_of_a_cost_is_negative() -> None:
    """Noise may make a large network look faster than a small one."""
    probes = [replace(probe(filters), seconds=(140 / filters, 440 / filters)) for filters in (4, 16, 64)]
    costs = fit_costs(probes, n_seen=100)
    assert costs.fixed_seconds > 0
    assert costs.seconds_a_multiply_add == 0


def test_probe_that_was_disturbed_says_nothing_of_evaluations() -> None:
    disturbed = replace(probe(16), seconds=(10.0, 1.0))
    assert disturbed.evaluation_in_images == 0
    assert fit_costs([probe(4), disturbed, probe(64)], n_seen=100).share_seen == pytest.approx(0.4)
