"""From images of one's own to the report: whole runs in small, and what their pages say."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from search.records.files import StudyFiles
from search.records.io import read_json
from search.records.models import DataRecord
from search.run import main
from search.system.shipped import SHIPPED_SPACES
from tests.support.made_images import NAMES, digits_of_each, in_colour, write_divided, write_idx, write_pictures
from tests.support.spaces import space_from

pytestmark = pytest.mark.slow

OF_THE_DEFAULT_DATA = re.compile(r"fashion|mnist|zalando|clothes|trouser|sneaker|notebook gives", re.IGNORECASE)
TINY = {
    "first_rung_images = 4_000": "first_rung_images = 200",
    "search_images = 16_000": "search_images = 1_000",
    "report_every_images = 1_000": "report_every_images = 500",
    "n_epochs = 30": "n_epochs = 20",
}


@dataclass(frozen=True)
class Finished:
    """A study that has come to its end."""

    files: StudyFiles
    report: dict
    said: str  # on standard output
    pages: str  # every page of the report, and the model card, without what Python and packages are called


def write_colour(folder: Path) -> Path:
    return write_divided(folder, 24, 8, make=in_colour)


def write_uneven(folder: Path) -> Path:
    return write_pictures(folder, *digits_of_each([150, 60, 16]))


def write_bytes(folder: Path) -> Path:
    write_idx(folder, digits_of_each([30] * 3), digits_of_each([10] * 3, first=30))
    (folder / "classes.txt").write_text("null\neins\nzwei\n")
    return folder


SETS: dict[str, tuple[Callable[[Path], Path], bool]] = {  # how it is written, and whether the default space is searched
    "painted": (write_colour, True),
    "uneven": (write_uneven, False),
    "bytes": (write_bytes, False),
}


@pytest.fixture(scope="module", params=SETS)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Two trials, one retraining. In one process, whose server of training processes loads TensorFlow once."""
    write, has_default_space = SETS[request.param]
    root = tmp_path_factory.mktemp("own")
    options = ["--dataset", str(write(root / request.param)), "--studies-dir", str(root / "studies")]
    if not has_default_space:
        text = (SHIPPED_SPACES / "digits.toml").read_text(encoding="utf-8")
        for long, short in TINY.items():
            text = text.replace(long, short)
        (root / "tiny.toml").write_text(text)
        options += ["--space", str(root / "tiny.toml")]
    said = run_and_listen(*options, "--trials", "2", "--refit-seeds", "1", "--pruner", "none")
    files = StudyFiles(root / "studies" / request.param)
    pages = "\n".join(
        path.read_text() for path in (files.report_html, files.report_markdown, files.report_json, files.model_card)
    )
    return Finished(files, json.loads(files.report_json.read_text()), said, pages)


def run_and_listen(*options: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(list(options)) == 0
    return out.getvalue()


def test_study_comes_to_its_end_and_tells_the_classes_apart(finished: Finished) -> None:
    assert finished.report["test"]["accuracy"]["mean"] > 0.6
    assert finished.report["test"]["accuracy"]["delivered"]["value"] > 0.6
    assert sum(finished.report["trials"].values()) == 2


def test_no_page_speaks_of_the_default_data_set(finished: Finished) -> None:
    without_tool = finished.pages.replace("fmnist-search", "")
    assert OF_THE_DEFAULT_DATA.findall(without_tool) == []


def test_pages_and_records_speak_of_these_images(finished: Finished) -> None:
    data = read_json(DataRecord, finished.files.data)
    name = finished.files.root.name
    assert data.dataset == name and data.duplicates is not None and data.test_checksum
    expected = ("null", "eins", "zwei") if name == "bytes" else NAMES
    assert data.class_names == expected
    for text in (finished.files.report_html.read_text(), finished.files.model_card.read_text()):
        assert all(each in text for each in (name, *expected))
    assert {finished.report["balance"][key] for key in ("rarest", "commonest")} <= set(expected)
    assert finished.said.splitlines()[0].endswith("in colour" if name == "painted" else "grey")


def test_uneven_classes_are_told_everywhere_and_even_ones_nowhere(finished: Finished) -> None:
    is_uneven = finished.files.root.name == "uneven"
    assert finished.report["balance"]["is_uneven"] is is_uneven
    assert 0 < finished.report["test"]["balanced_accuracy"] <= 1 and 0 < finished.report["test"]["macro_f1"] <= 1
    for text in (
        finished.said.lower(),
        *(path.read_text().lower() for path in (finished.files.report_html, finished.files.report_markdown)),
        finished.files.model_card.read_text().lower(),
    ):
        assert ("the classes are uneven" in text) is is_uneven
    if is_uneven:
        assert "There is no test folder, so 37 of the 226 images" in finished.pages
        assert finished.report["balance"]["rarest"] == "other"


def test_space_that_was_written_for_the_images_is_kept_and_can_be_searched_again(finished: Finished) -> None:
    data = read_json(DataRecord, finished.files.data)
    space = space_from(finished.files.space, data.image_shape, len(data.class_names))
    text = finished.files.space.read_text()
    is_default = finished.files.root.name == "painted"
    assert text.startswith("# The default search space for images of 16 x 16 pixels in 3 classes") is is_default
    assert ("training does not mirror images: pass --flip" in finished.said) is is_default
    assert space.recipe_of(space.portfolio[0].params).architecture.image_shape == data.image_shape


def test_study_goes_on_with_the_same_images_only(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    """Its report is built anew; with a changed picture it is refused."""
    if finished.files.root.name != "painted":
        pytest.skip("one kind is enough")
    folder = finished.files.root.parents[1] / "painted"
    options = ["--dataset", str(folder), "--studies-dir", str(finished.files.root.parent), "--trials", "2"]
    options += ["--pruner", "none", "--refit-seeds", "1"]
    assert main(options) == 0
    assert "is finished" in capsys.readouterr().out
    assert main([*options, "--image-size", "16"]) == 2
    assert "made without image_size, but now it is 16" in capsys.readouterr().err
    path = next((folder / "train" / NAMES[0]).iterdir())
    path.unlink()
    assert main(options) == 2
    assert "was made with data_checksums.training pictures = " in capsys.readouterr().err
