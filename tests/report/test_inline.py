"""A study's figures, in a notebook and to keep, of made-up studies."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.results.reading import read_finished_study, read_study
from search.results.result import StudyResult
from tests.support.fake_notebook import notebook_in
from tests.support.made_study import make_study
from tests.support.made_trials import Made
from tests.support.remedies import needs_remedy

pytestmark = pytest.mark.renders

SMALL = Made(n_trials=6, n_seeds=1, n_finalists=2, n_test=200, n_train=1000)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StudyResult]:
    """The same study, as after its search and as at its end."""
    files, trials = make_study(tmp_path_factory.mktemp("studies") / "made", SMALL)
    finished = read_finished_study(files, trials, command="", importances=None)
    return {"searched": read_study(files, trials), "finished": finished}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("searched", ["search-history", "learning"]),
        ("finished", ["search-history", "learning", "confusion-matrix", "mistakes"]),
    ],
)
def test_figures_are_drawn_as_far_as_the_study_has_come(
    name: str, expected: list[str], studies: dict[str, StudyResult]
) -> None:
    figures = studies[name].figures()
    assert list(figures) == expected
    for figure in figures.values():
        pixels = np.asarray(Image.open(io.BytesIO(figure.png)).convert("L"))
        assert pixels.min() < 100 and pixels.max() == 255  # something on white
        assert figure.title and figure.caption.endswith(".")
        assert (figure.svg is None) is (figure.name == "mistakes")


def test_caption_of_the_mistakes_counts_those_that_are_left_out(tmp_path: Path) -> None:
    captions = []
    for share in (0.05, 0.3):
        files, trials = make_study(tmp_path / f"{share}", replace(SMALL, mistake_share=share))
        study = read_finished_study(files, trials, command="", importances=None)
        captions.append((len(study.arrays.mistake_indices), study.figures()["mistakes"].caption))
    (few, of_few), (many, of_many) = captions
    assert few <= 24 < many
    assert of_few.startswith("All mistakes on the test images, most confident first: ")
    assert of_many.startswith(f"The 24 most confident of {many} mistakes on the test images: ")


def test_curve_of_a_searched_study_is_its_best_trial_s(studies: dict[str, StudyResult]) -> None:
    study = studies["searched"]
    assert study.best_trial is not None
    caption = study.figures()["learning"].caption
    assert caption.startswith(f"Trial {study.best_trial.number}, the best of the search, on the training split")


def test_notebook_shows_each_figure_below_its_title_and_caption(
    studies: dict[str, StudyResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = notebook_in(monkeypatch)
    studies["finished"].show()
    titles, pictures = notebook.outputs[::2], notebook.outputs[1::2]
    for title, said in zip(titles, ("Search history", "Learning curve", "Confusion matrix", "Mistakes"), strict=True):
        assert f"<b>{said}</b>" in title["text/html"]
    assert all(picture["image/png"].startswith(b"\x89PNG") for picture in pictures)


def test_figure_is_its_own_picture_as_the_value_of_a_cell(studies: dict[str, StudyResult]) -> None:
    figure = studies["searched"].figures()["search-history"]
    bundle, about = figure._repr_mimebundle_()
    assert bundle["image/png"] == figure.png and about["image/png"]["alt"] == figure.caption
    assert repr(figure) == f"<figure search-history: {figure.caption}>"


def test_study_without_a_trial_shows_that_there_is_nothing(
    studies: dict[str, StudyResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = notebook_in(monkeypatch)
    replace(studies["searched"], trials=()).show()
    assert notebook.text == "There is nothing to show yet: no trial has ended."


def test_figures_are_files_where_no_notebook_shows_them(
    studies: dict[str, StudyResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = studies["searched"]
    with needs_remedy("show() must be called in a notebook, but no notebook runs this code; write a figure") as caught:
        study.show()
    exec(str(caught.value).rpartition("file: ")[2], {"Path": Path, "study": study})
    assert Path("history.png").read_bytes() == study.figures()["search-history"].png
