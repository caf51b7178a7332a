"""The last step, which opens the test set for all: python -m tests.benchmarks.peers.scoring OUT IMAGES FOLDER...

IMAGES is JSON, see `records.Images`. Writes OUT/scores.json: folder -> how many test images its delivered model gets
right, and its ensemble where it has one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras
import numpy as np

from fmnist.data.images import LabelledImages
from fmnist.data.split import load_test
from tests.benchmarks.peers.records import ContenderFiles, Images, read_scores


def main(out: Path, images: Images, folders: list[str]) -> None:
    scores = read_scores(out / "scores.json")
    for folder in folders:
        test = load_test(images.find(int(folder.rpartition("-")[2])))  # a drawn test set depends on the seed
        files = ContenderFiles(out / folder)
        scores[folder] = {"n_correct": _n_correct(files.model, test), "n_images": len(test)}
        if files.ensemble.exists():
            scores[folder]["n_correct_of_ensemble"] = _n_correct(files.ensemble, test)
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")


def _n_correct(path: Path, test: LabelledImages) -> int:
    model = keras.saving.load_model(path, compile=False)
    outputs = model.predict(test.images.astype(np.float32), batch_size=500, verbose=0)
    return int(np.sum(outputs.argmax(axis=1) == test.labels))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Images(**json.loads(sys.argv[2])), sys.argv[3:])
