"""What `retrain` refuses before it trains."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from fmnist.data.find import find_data
from fmnist.errors import UserError
from search import Callback
from search.records.io import write_json
from search.records.models import BestRecipe, EnsembleRecipe, MemberRecipe, Retraining
from search.refit.reproduction import read_recipe, require_model_place, retrain
from tests.support.remedies import needs_remedy

BEST = BestRecipe(
    made_with={},
    study="s",
    trial=0,
    recipe={},
    dataset="digits",
    data_checksums={"none": "0"},
    image_size=None,
    colour=None,
    skip_unreadable=False,
    split_seed=0,
    split_checksum="0",
    n_planned_images=1,
    n_stop_images=1,
    bfloat16=False,
    retrainings=(Retraining(seed=3, n_threads=1),),
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"recipe": "best.json"},
            r"recipe must be a BestRecipe or an EnsembleRecipe, .* \(str\); read it .*read_recipe\(",
        ),
        ({"source": "digits"}, r"source must be a DataSource, but got 'digits' \(str\); find it by .*find_data"),
        ({"seed": "0"}, r"seed must be a whole number, but got '0' \(str\); leave out the quotes"),
        ({"seed": -1}, "seed must be 0 or more, but got -1"),
        ({"callback": Callback}, "callback must be a Callback instance, but got the class Callback; pass search.Callb"),
        ({"callback": None}, "callback must be a Callback instance, but got None; pass search.Callback"),
        ({"out": 5}, r"out must be a path, but got 5 \(int\)"),
        ({"out": "model.h5"}, "--out must be a file with the suffix .keras, but got model.h5"),
        ({"out": "nowhere/x.keras"}, r"cannot write to nowhere/x.keras \(nowhere is no folder\); choose a file"),
    ],
)
def test_arguments_of_another_kind_are_refused(arguments: dict[str, Any], said: str, tmp_path: Path) -> None:
    usual: dict[str, Any] = {
        "recipe": BEST,
        "source": find_data("digits"),
        "seed": 0,
        "out": str(tmp_path / "x.keras"),
        "callback": Callback(),
    }
    with pytest.raises(UserError, match=f"^{said}"):
        retrain(**usual | arguments)
    with pytest.raises(UserError, match=r"^\S+ must be as it was in the study"):  # the usual ones come to the images
        retrain(**usual)


def test_model_goes_where_the_refusal_says(tmp_path: Path) -> None:
    require_model_place(tmp_path / "x.keras")
    with pytest.raises(UserError, match="choose a file in a folder of yours"):
        require_model_place(tmp_path / "none" / "x.keras")


MEMBER = MemberRecipe(
    trial=0, recipe={}, seed=0, n_planned_images=1, n_cut_images=None, n_threads=1, fit_on="searched", weight=1.0
)
ENSEMBLE = EnsembleRecipe(
    made_with={},
    study="s",
    dataset="digits",
    data_checksums={"none": "0"},
    image_size=None,
    colour=None,
    skip_unreadable=False,
    split_seed=0,
    split_checksum="0",
    members=(MEMBER, replace(MEMBER, seed=1)),
    teachers=(),
)


def test_which_kind_of_recipe_a_file_holds_follows_from_its_content(tmp_path: Path) -> None:
    for recipe in (BEST, ENSEMBLE):
        write_json(tmp_path / "renamed.json", recipe)
        assert read_recipe(tmp_path / "renamed.json") == recipe


def test_recipe_of_an_earlier_version_has_no_teachers_and_learns_from_all_images(tmp_path: Path) -> None:
    content = asdict(BEST)
    del content["fit_on"], content["teachers"]
    write_json(tmp_path / "best_recipe.json", content)
    recipe = read_recipe(tmp_path / "best_recipe.json")
    assert isinstance(recipe, BestRecipe)
    assert (recipe.fit_on, recipe.teachers) == ("together", ())


@pytest.mark.parametrize(
    "content",
    [{}, {"members": [], "n_candidates": 3}, {"trials": []}, {"recipe": {}, "seed": 0}, {"recipe": {}, "history": []}],
)
def test_file_that_is_no_recipe_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    path = tmp_path / "other.json"
    write_json(path, content)
    with needs_remedy("a recipe must say how a model is trained, but {} does not; {}"):
        read_recipe(path)
    write_json(path, BEST)
    read_recipe(path)


def test_folder_is_refused_with_the_files_to_pass(tmp_path: Path) -> None:
    with needs_remedy("a recipe must be a file, but got the folder {}; {}"):
        read_recipe(tmp_path)
    write_json(tmp_path / "best_recipe.json", BEST)
    read_recipe(tmp_path / "best_recipe.json")


def test_ensemble_takes_no_seed(tmp_path: Path) -> None:
    usual: dict[str, Any] = {"source": find_data("digits"), "out": tmp_path / "x.keras", "callback": Callback()}
    with needs_remedy(
        "an ensemble's recipe takes no seed, since each member has its own, but got {}; leave out --seed"
    ):
        retrain(ENSEMBLE, seed=5, **usual)
    with pytest.raises(UserError, match="as it was in the study"):  # it comes to the images
        retrain(ENSEMBLE, seed=None, **usual)


@pytest.mark.parametrize(
    "recipe",
    [
        replace(ENSEMBLE, members=()),
        replace(ENSEMBLE, members=(MEMBER, replace(MEMBER, is_taught=True))),
        replace(ENSEMBLE, members=(replace(MEMBER, is_taught=True),), teachers=(replace(MEMBER, is_taught=True),)),
        replace(BEST, teachers=(replace(MEMBER, is_taught=True),)),
    ],
)
def test_recipe_that_lacks_what_it_speaks_of_is_refused(recipe: BestRecipe | EnsembleRecipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must have members, and teachers for those that are taught"):
        retrain(recipe, find_data("digits"), None, tmp_path / "x.keras", Callback())
