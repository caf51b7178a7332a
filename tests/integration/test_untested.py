"""A study of images in memory, without test images, from Python: what it takes, and what it goes on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.data.arrays.memory import memory_source
from fmnist.data.source import DataSource
from fmnist.errors import UserError
from search import StudyConfig, StudyResult, run_study
from search.guards import refuse_what_needs_test_images
from tests.support.made_images import digits_of_each
from tests.support.remedies import needs_remedy
from tests.support.training.fakes import fake_workers

IMAGES, LABELS = digits_of_each([40, 40, 40])


def source_of(images: np.ndarray, labels: np.ndarray) -> DataSource:
    return memory_source(images[..., np.newaxis], labels, ["zero", "one", "two"])


def searched(folder: Path, source: Any, **options: Any) -> StudyResult:
    """A study of two trials, by processes that train nothing."""
    config = StudyConfig(study="s", workers=1, studies_dir=folder, **{"trials": 2, **options})
    return run_study(config, search_only=True, source=source, worker_processes=fake_workers)


@pytest.mark.process
def test_study_goes_on_with_the_same_images_alone(tmp_path: Path) -> None:
    study = searched(tmp_path, source_of(IMAGES, LABELS))
    assert (study.config["dataset"], len(study.trials)) == ("arrays", 2)
    with pytest.raises(UserError, match="these are not its images, which are those of arrays in memory"):
        searched(tmp_path, source_of(IMAGES[::-1], LABELS))
    assert len(searched(tmp_path, source_of(IMAGES.copy(), LABELS), trials=3).trials) == 3


@pytest.mark.process
def test_space_is_written_for_the_images_and_not_that_of_the_default_data_set(tmp_path: Path) -> None:
    study = searched(tmp_path, source_of(IMAGES, LABELS), flip=False)
    assert "16 x 16" in study.files.space.read_text()
    assert study.files.read_command().startswith("run_study(StudyConfig(study='s', trials=2")


@pytest.mark.parametrize(
    ("name", "value"), [("export", "litert"), ("baselines", True), ("storage", "sqlite:///there.db")]
)
def test_what_is_scored_on_test_images_is_refused(name: str, value: Any) -> None:
    source = source_of(IMAGES, LABELS)
    with needs_remedy("{} needs a study with test images, but got images without any; leave {} out"):
        refuse_what_needs_test_images(StudyConfig(study="s", **{name: value}), source)
    refuse_what_needs_test_images(StudyConfig(study="s"), source)


def test_source_is_a_data_source(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"source must be a DataSource, but got .*; pass what .*memory_source returns"):
        searched(tmp_path, IMAGES)
    assert not list(tmp_path.iterdir())
