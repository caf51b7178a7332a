"""Which recipe file of a study trains a model again?"""

from __future__ import annotations

import re
from pathlib import PurePosixPath


def recipe_name_of(name: str) -> str | None:
    """Return the file that trains a delivered model again; None for what is no such model.

    Args:
        name: Of the model's file in the study's folder, such as "front/48k/48k.keras".
    """
    path = PurePosixPath(name)
    if path.parts[0] == "front" and path.suffix == ".keras":
        return f"front/{path.parts[1]}/recipe.json"
    if path.name == "best.keras" or re.fullmatch(r"seed-\d+\.keras", path.name):
        return "best_recipe.json"
    return "ensemble_recipe.json" if path.name == "ensemble.keras" else None
