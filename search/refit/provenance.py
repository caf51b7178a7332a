"""What a recipe file says of the study and the images that it belongs to."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from fmnist.reading import DATASETS
from search import __version__
from search.refit.round import FinalRound

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")  # whose versions change what a recipe trains to


def provenance_of(final: FinalRound) -> dict[str, Any]:
    """Return the fields that BestRecipe and EnsembleRecipe have in common: versions, study, images and split."""
    data = final.data
    made_with = {"fmnist-search": __version__}
    for package in PACKAGES:
        made_with[package] = importlib.metadata.version(package)
    return {
        "made_with": made_with,
        "study": final.files.root.name,
        "dataset": data.dataset if data.dataset in DATASETS else data.source,
        "data_checksums": data.checksums,
        "image_size": data.image_size,
        "colour": data.colour,
        "skip_unreadable": data.skip_unreadable,
        "split_seed": data.split_seed,
        "split_checksum": data.split_checksum,
        "class_weights": final.site.class_weights,
    }
