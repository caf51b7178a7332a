"""How is a model laid out so that others load it from the Hugging Face Hub? As Keras does it, without Keras.

A .keras file is a zip archive, and the Hub's form of a Keras model is what is in it, unpacked, beside a README.md with
metadata: `keras.saving.load_model("hf://you/name")` reads exactly that. Nothing is uploaded here.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from fmnist.errors import UserError, unreadable
from fmnist.paths import shown_path

KERAS_PARTS = ("config.json", "metadata.json", "model.weights.h5")  # what Keras reads of an unpacked model
CARD = "model-card.md"  # what a study calls the README of its best.keras
README = "README.md"
COMPANIONS = ("temperature.json",)  # of a study's model, taken along where they lie beside it


def publish(model: Path, folder: Path, more: Sequence[Path] = ()) -> list[Path]:
    """Lay out a repository of a model: its parts, the .keras file itself, and its model card as README.md.

    Args:
        model: A .keras file with a model card beside it, as a study delivers best.keras.
        folder: Where the repository goes. It is made, or must be empty.
        more: Files and folders that are copied into it, such as exports.

    Returns:
        What was written, in the order in which it was.

    Raises:
        UserError: The model or its card cannot be read, or the folder has something in it.
    """
    card = require_card(model)
    require_empty(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = _unpack(model, folder)
        for source, name in ((card, README), (model, model.name)):
            shutil.copyfile(source, folder / name)
            written.append(folder / name)
        for companion in (*(model.with_name(name) for name in COMPANIONS), *more):
            if companion.exists():
                written.append(_copy(companion, folder / companion.name))
    except OSError as error:
        raise unreadable(folder, error) from error
    return written


def require_card(model: Path) -> Path:
    """Return the model card beside a model. Raises UserError if there is none."""
    card = model.with_name(CARD)
    if not card.is_file():
        raise UserError(
            f"a model to be published must have its model card beside it, but {shown_path(card)} is missing; pass a "
            "study's best.keras, or copy its model-card.md beside the model"
        )
    return card


def require_empty(folder: Path) -> None:
    """Raise UserError if a folder, or what is in its place, has something in it that publishing would mix with."""
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"--publish must be a folder that is new or empty, but got {shown_path(folder)}; choose another, or move "
            "away what is in it"
        )


def _unpack(model: Path, folder: Path) -> list[Path]:
    """Unpack what Keras reads of a model's archive."""
    written = []
    try:
        with zipfile.ZipFile(model) as archive:
            for name in KERAS_PARTS:
                written.append(Path(archive.extract(name, folder)))
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(
            f"MODEL must be a whole .keras file, but {shown_path(model)} is not: {error}; have it written again"
        ) from error
    return written


def _copy(source: Path, target: Path) -> Path:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    return target
