"""The last step, which opens the test set for all: python -m tests.benchmarks.peers.scoring OUT DATA_DIR FOLDER...

DATA_DIR may be empty. Writes OUT/scores.json: folder -> how many test images its delivered model gets right.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras
import numpy as np

from fmnist.data.find import find_data
from fmnist.data.images import LabelledImages
from fmnist.data.split import load_test
from tests.benchmarks.peers.records import ContenderFiles, read_scores


def main(out: Path, data_dir: Path | None, folders: list[str]) -> None:
    test = load_test(find_data("fashion-mnist", data_dir))
    scores = read_scores(out / "scores.json")
    scores |= {
        folder: {"n_correct": _n_correct(ContenderFiles(out / folder).model, test), "n_images": len(test)}
        for folder in folders
    }
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")


def _n_correct(path: Path, test: LabelledImages) -> int:
    model = keras.saving.load_model(path, compile=False)
    outputs = model.predict(test.images.astype(np.float32), batch_size=500, verbose=0)
    return int(np.sum(outputs.argmax(axis=1) == test.labels))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2] else None, sys.argv[3:])
