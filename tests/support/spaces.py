"""Search spaces from their files, checked as a run checks them; files with one place changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna

from fmnist.recipe import Recipe
from search.space.schema import read_space_text, space_of
from search.space.space import SearchSpace
from search.system.shipped import SHIPPED_SPACES

DIGITS, FASHION_MNIST = SHIPPED_SPACES / "digits.toml", SHIPPED_SPACES / "fashion-mnist.toml"
QUICK = Path(__file__).with_name("quick.toml")  # for the digits, with trainings of a second or two
SHAPES = {FASHION_MNIST: (28, 28, 1), DIGITS: (8, 8, 1)}
DIGITS_TEXT = DIGITS.read_text(encoding="utf-8")


def space_from(path: Path, image_shape: tuple[int, ...], n_classes: int = 10) -> SearchSpace:
    """Read and check a space file for images of this shape."""
    height, width, channels = image_shape
    return space_of(read_space_text(path), path, (height, width, channels), n_classes)


def space_from_table(folder: Path, table: dict[str, Any]) -> SearchSpace:
    """The space of these tables for the digits."""
    return space_from(written(folder, as_toml(table)), SHAPES[DIGITS])


def changed(folder: Path, old: str, new: str) -> SearchSpace:
    """The digits' space with one place of its file changed."""
    assert DIGITS_TEXT.count(old) >= 1, f"{old!r} is not in digits.toml any more"
    return space_from(written(folder, DIGITS_TEXT.replace(old, new, 1)), SHAPES[DIGITS])


def written(folder: Path, text: str) -> Path:
    """The text as a file of the folder."""
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def as_toml(table: dict[str, Any]) -> str:
    """The tables inline, which tomllib reads as well; JSON's lists, texts, numbers and booleans are TOML's."""
    return "\n".join(f"{key} = {_inline(value)}" for key, value in table.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


def random_trials(space: SearchSpace, n: int) -> list[tuple[dict[str, Any], Recipe]]:
    """Parameters drawn from the space, and the recipes that they make."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = []
    for _ in range(n):
        trial = study.ask()
        recipe = space.suggest(trial)
        drawn.append((trial.params, recipe))
    return drawn
