"""Write untrained networks in a format, to be weighed and timed: `python -m fmnist.export.untrained FOLDER`.

FOLDER/request.json says which (see `main`). It runs in a process of its own, since it loads Keras and TensorFlow.
What a file weighs and how long it takes depends on its layers, not on what their weights are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras
import numpy as np

from fmnist.export.conversion import CONVERTERS, Source
from fmnist.export.formats import find_format
from fmnist.model.build import build_model
from fmnist.recipe import Recipe

N_CALIBRATION = 16  # images of noise: the ranges that they show matter to accuracy alone


def main() -> int:
    """Write FOLDER/N.ENDING for the Nth of the recipes in FOLDER/request.json: `recipes`, as dicts, and `format`."""
    folder = Path(sys.argv[1])
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    format, rng = find_format(request["format"]), np.random.default_rng(0)
    for number, fields in enumerate(request["recipes"]):
        architecture = Recipe.from_dict(fields).architecture
        model = build_model(architecture, pixel_mean=128.0, pixel_std=64.0)
        for weight in model.weights:  # a bias of zero would be left out of the file
            weight.assign(weight + rng.uniform(0.01, 0.1, weight.shape))
        staging = folder / f"staging-{number}"
        staging.mkdir()
        np.save(staging / "calibration.npy", rng.integers(0, 256, (N_CALIBRATION, *architecture.image_shape)))
        CONVERTERS[format.name](Source(model, staging), folder / f"{number}{format.ending}")
        keras.backend.clear_session()
    return 0


if __name__ == "__main__":
    sys.exit(main())
