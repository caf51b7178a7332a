"""A delivered model that needs no file: its bytes travel with whatever holds it, into a pickle and another process."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.predict import Classifier
from fmnist.predict.loaded import LoadedModel
from search.format import file_size


class KeptModel:
    """A .keras file in memory. It is loaded, and Keras with it, when it first predicts.

    Args:
        content: The file's bytes.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._loaded: LoadedModel | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_content": self._content, "_loaded": None}

    def __repr__(self) -> str:
        return f"<.keras file of {file_size(len(self._content))}: save(path) writes it>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, which plain Keras loads. Its name must end in .keras for that."""
        Path(path).write_bytes(self._content)

    def classifier(self) -> Classifier:
        """Load the model as what names pictures of any kind: see `fmnist.predict.Classifier`."""
        with tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder, "best.keras"))
            return Classifier(Path(folder, "best.keras"))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Predict the probability of each class.

        Args:
            images: uint8 (n, height, width, channels), as the model takes them.

        Returns:
            float64 (n, n_classes); each row sums to 1.
        """
        loaded = self._load()
        rows = []
        for start in range(0, len(images), loaded.batch_size):
            rows.append(loaded.probabilities(list(images[start : start + loaded.batch_size])))
        given = np.concatenate(rows)
        return given / given.sum(axis=1, keepdims=True)  # they come in float32, which sums to 1 less exactly

    def _load(self) -> LoadedModel:
        if self._loaded is None:
            with tempfile.TemporaryDirectory() as folder:
                self.save(Path(folder, "best.keras"))
                self._loaded = LoadedModel(Path(folder, "best.keras"))
        return self._loaded
