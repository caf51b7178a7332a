"""Which spaces a study may go on in, as its folder tells: the other ones are refused by what they lack."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from search.config import StudyConfig
from tests.support.remedies import needs_remedy
from tests.support.spaces import DIGITS_TEXT
from tests.support.widening import config_of, planned, search
from tests.support.wider import WIDER_TEXT, replaced

pytestmark = pytest.mark.studies
SMALLER = {
    "limits.max_parameters was 200,000 and is 100,000": ("200_000", "100_000"),
    "fidelity.search_images was 16,000 and is 64,000": ("search_images = 16_000", "search_images = 64_000"),
    "fidelity.accuracy_per_doubling was 0.0 and is 0.01": ("doubling = 0.0", "doubling = 0.01"),
    "architecture.n_blocks was 1 to 3 and is 1 to 2": ("{ low = 1, high = 3 }", "{ low = 1, high = 2 }"),
    "architecture.activation was one of relu, elu, silu and is one of relu, silu": ('"elu", ', ""),
    "architecture.head_dropout was 0 to 0.5 in steps of 0.1 and is 0 to 0.5 in steps of 0.25": (
        "high = 0.5, step = 0.1",
        "high = 0.5, step = 0.25",
    ),
    "architecture.block.kernel_size was 3 and is 5": ("kernel_size = 3", "kernel_size = 5"),
    "architecture.block.filters[1] was 16 to 64 in steps of 16 and is 32 to 64 in steps of 16": (
        "{ low = 16, high = 64, step = 16 }",
        "{ low = 32, high = 64, step = 16 }",
    ),
    "training.n_epochs was 30 and is 40": ("n_epochs = 30", "n_epochs = 40"),
    "training.peak_learning_rate.sgd was 0.01 to 1, logarithmic and is 0.1 to 1, logarithmic": (
        "{ low = 1e-2, high = 1.0,",
        "{ low = 1e-1, high = 1.0,",
    ),
    "portfolio 'default' was shift = 1 and is shift = 0": ("shift = 1\n", "shift = 0\n"),
}


@pytest.mark.parametrize("change", SMALLER)
def test_space_that_lacks_something_is_refused_by_its_name_until_it_has_that(
    config: StudyConfig, tmp_path: Path, change: str
) -> None:
    old, new = SMALLER[change]
    text = replaced(DIGITS_TEXT, {old: new})
    if "0.25" in change:  # the portfolio has to lie in it
        text = text.replace("head_dropout = 0.2", "head_dropout = 0.25")
    with needs_remedy("--widen needs a space that contains the study's, but {} was {} and is {}; let it") as caught:
        planned(replace(config, widen=True, space=tmp_path / "other.toml"), text)
    assert change in str(caught.value)
    assert planned(replace(config, widen=True), DIGITS_TEXT) is None  # it lacks nothing
    assert planned(replace(config, widen=True), WIDER_TEXT) is not None


def test_larger_space_is_named_where_the_default_of_a_new_study_lacks_something(
    config: StudyConfig, tmp_path: Path
) -> None:
    search(replace(config, study="t"), 1, WIDER_TEXT)
    widened = replace(config, study="t", widen=True)
    with needs_remedy("--widen needs the file of the larger space, but got none, and the space that is the default"):
        planned(widened, DIGITS_TEXT)
    largest = replaced(WIDER_TEXT, {"max_parameters = 400_000": "max_parameters = 500_000"})
    assert planned(replace(widened, space=tmp_path / "largest.toml"), largest) is not None


def test_study_in_postgresql_keeps_its_space(tmp_path: Path) -> None:
    files = search(config_of(tmp_path), 2)
    shared = "postgresql://host/name"
    content = files.read_plain(files.config)
    files.write_text(files.config, json.dumps({**content, "storage": shared}))
    config = config_of(tmp_path, storage=shared, widen=True)
    with needs_remedy("--widen needs a study on SQLite, whose file it keeps as it was, but got {}"):
        planned(config, WIDER_TEXT)
    assert planned(replace(config, study="t", widen=False), WIDER_TEXT) is None  # as the line says: another study
