"""Fashion-MNIST without its test set, to develop on: the 60,000 training images divided 50,000 / 10,000 by a seed.

    python -m tests.benchmarks.division DIR --seed 0

DIR is then a data set of four IDX files whose test set is those 10,000 images, stratified by class:

    python -m search.run --dataset DIR --space studies/fashion-mnist.toml
    python -m tests.benchmarks.peers --dataset DIR --space studies/fashion-mnist.toml

The official test images are not read.
"""

from __future__ import annotations

import argparse
import gzip
import struct
import sys
from pathlib import Path

import numpy as np

from fmnist.data.find import find_data
from fmnist.data.images import LabelledImages
from fmnist.data.split import stratified
from fmnist.errors import UserError

N_TEST = 10_000
UNSIGNED_BYTES = 0x08  # the type code of IDX


def main() -> None:
    options = _parse()
    everything = find_data("fashion-mnist", options.data_dir).read_train()
    rows = stratified(np.arange(len(everything)), everything.labels, N_TEST, options.seed)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(("train", "t10k"), rows, strict=True):
        write_part(options.folder, name, everything.rows(part))
        print(f"{name}: {len(part):,} images in {options.folder}")


def write_part(folder: Path, name: str, part: LabelledImages) -> None:
    """Write images and labels as two gzipped IDX files. name: train or t10k."""
    for array, kind in ((part.images[..., 0], "images-idx3"), (part.labels, "labels-idx1")):
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, UNSIGNED_BYTES, array.ndim, *array.shape)
        content = gzip.compress(header + np.ascontiguousarray(array).tobytes(), mtime=0)
        (folder / f"{name}-{kind}-ubyte.gz").write_bytes(content)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the four files go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", type=Path, help="where the official files are (default: the usual places)")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
