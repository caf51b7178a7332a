"""What `retrain` refuses before it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fmnist.data.find import find_data
from fmnist.errors import UserError
from search import Callback
from search.records.models import BestRecipe
from search.refit.reproduction import require_model_place, retrain

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
    retrainings=(),
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"best": "best_recipe.json"}, r"best must be a BestRecipe, but got .* \(str\); read it by .*read_json\("),
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
        "best": BEST,
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
