"""What a data set's name decides of a study: its space, and whether images are mirrored."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fmnist.data.images import LabelledImages
from fmnist.data.source import DataSource, build_source
from search.callbacks.reporter import Reporter
from search.config import StudyConfig
from search.context import read_context
from search.messages import in_words_of_mirroring
from search.refit.schedule import Clock


@pytest.fixture(scope="module")
def source() -> DataSource:
    images = np.random.default_rng(0).integers(0, 256, (90, 32, 32, 3), dtype=np.uint8)
    labels = (np.arange(90) % 3).astype(np.uint8)
    train, test = LabelledImages(images[:72], labels[:72]), LabelledImages(images[72:], labels[72:])
    return build_source(
        dataset="made",
        folder=None,
        checksums={"made": "0" * 32},
        class_names="abc",
        image_shape=(32, 32, 3),
        test=test,
        read_train=lambda: train,
        read_test=lambda: test,
    )


@pytest.mark.parametrize(
    ("dataset", "flip", "is_mirrored", "said"),
    [
        (
            "cifar10",
            False,
            True,
            "training mirrors images left-right, as a mirror image still shows its class in cifar10",
        ),
        ("mnist", False, False, "training does not mirror images, as a mirror image may show something else in mnist"),
        ("mnist", True, True, "as --flip says"),
        ("shoes", False, False, "pass --flip where a mirror image still shows its class"),
        ("shoes", True, True, "as --flip says"),
    ],
)
def test_space_that_is_written_mirrors_as_the_data_set_does(
    source: DataSource, dataset: str, flip: bool, is_mirrored: bool, said: str
) -> None:
    config = StudyConfig("mine", dataset=dataset, flip=flip)
    context = read_context(config, source, Clock(None), Reporter(), threading.Event())
    assert context.space.table["training"]["flip"] is is_mirrored
    assert said in in_words_of_mirroring(config)
