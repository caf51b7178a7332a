"""What is measured before a search that aims at small or fast files, and what follows from it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fmnist.model.metadata import ModelMetadata
from search.config import StudyConfig
from search.records.files import StudyFiles
from search.space.space import SearchSpace
from search.targets.costs import CostModel, size_features, time_features
from search.targets.probing import N_PROBES, aim, choose_probes, measure_probes
from search.worker.tasks import Interrupted
from tests.support.measured import RECORD, Measured
from tests.support.spaces import DIGITS, FASHION_MNIST, SHAPES, space_from

METADATA = ModelMetadata(tuple("abcdefghij"), (8, 8, 1), background=0.0)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return space_from(DIGITS, SHAPES[DIGITS])


def config_of(folder: Path, **more: Any) -> StudyConfig:
    return StudyConfig(study="s", dataset="digits", studies_dir=folder, **more)


def aimed(space: SearchSpace, config: StudyConfig, **more: Any) -> tuple[SearchSpace, list[str]]:
    said: list[str] = []
    files = StudyFiles(config.folder)
    files.root.mkdir(parents=True, exist_ok=True)
    return aim(space, config, files, METADATA, said.append, threading.Event(), **more), said


def test_run_without_targets_searches_the_space_as_it_is(space: SearchSpace, tmp_path: Path) -> None:
    assert aimed(space, config_of(tmp_path)) == (space, [])


def test_what_was_measured_is_measured_once_in_a_study(space: SearchSpace, tmp_path: Path) -> None:
    measured = Measured()
    config = config_of(tmp_path, target="litert", max_bytes="40kB")
    _, said = aimed(space, config, measure_networks=measured)
    assert said == [
        "measuring 12 untrained networks as litert",
        "1 networks as litert predict the others' bytes within some 2.0 % and times on a processor within some 2 %",
    ]
    assert aimed(space, config, measure_networks=measured)[1] == said[1:]
    assert measured.n_calls == 1


def test_check_keeps_nothing_of_what_it_measures(space: SearchSpace, tmp_path: Path) -> None:
    config = config_of(tmp_path, target="litert", max_bytes="40kB")
    aimed(space, config, keeps=False, measure_networks=Measured())
    assert not StudyFiles(config.folder).targets.exists()


def test_networks_over_a_target_are_infeasible_by_what_is_predicted_with_its_margin(space: SearchSpace) -> None:
    recipe = choose_probes(space, 0)[5]
    size = RECORD.size.predict(size_features(recipe.architecture))
    time_ms = RECORD.time.predict(time_features(recipe.architecture)) if RECORD.time else 0.0
    fits = replace(space, targets=RECORD.targets(round(size * 1.021), time_ms * 1.021))
    assert not any(each.is_over for each in fits.limited_costs(recipe.architecture))
    tight = replace(space, targets=RECORD.targets(round(size * 1.01), time_ms * 1.01))
    over = [each for each in tight.limited_costs(recipe.architecture) if each.is_over]
    assert [each.name for each in over] == ["max_bytes", "max_ms"]
    assert str(over[0]).endswith(f" is over max_bytes = {round(size * 1.01):,}")


def test_model_that_errs_much_is_said(space: SearchSpace, tmp_path: Path) -> None:
    far_off = Measured(replace(RECORD, time=CostModel((0.0,) * 7, 0.4)))
    _, said = aimed(space, config_of(tmp_path, target="litert", max_ms=1.0), measure_networks=far_off)
    assert said[-1] == "the times of networks are hard to predict, so the delivered file may miss its target"


def test_probes_are_spread_from_the_smallest_to_the_largest(space: SearchSpace) -> None:
    sizes = [size_features(recipe.architecture)[0] for recipe in choose_probes(space, 0)]
    assert len(sizes) == N_PROBES
    assert sizes[-1] > 20 * sizes[0]
    assert choose_probes(space, 0) == choose_probes(space, 0) != choose_probes(space, 1)


@pytest.mark.slow
@pytest.mark.trains
def test_bytes_of_networks_of_the_shipped_space_are_predicted_within_3_percent() -> None:
    space = space_from(FASHION_MNIST, SHAPES[FASHION_MNIST])
    metadata = replace(METADATA, image_shape=(28, 28, 1))
    format_name, others = "litert-int8-full", choose_probes(space, 1)[1:-1:5]
    record = measure_probes(choose_probes(space, 0), format_name, metadata, False, None, threading.Event())
    found = measure_probes(others, format_name, metadata, False, None, threading.Event())
    assert record.size.error < 0.03
    for recipe, probe in zip(others, found.probes, strict=True):
        predicted = record.size.predict(size_features(recipe.architecture))
        assert predicted == pytest.approx(probe.n_bytes, rel=0.03), probe.network


@pytest.mark.process
def test_stop_ends_the_measurement_at_once(space: SearchSpace) -> None:
    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        measure_probes(choose_probes(space, 0), "litert", METADATA, True, None, stop)
    assert time.monotonic() - started < 20
