"""The command line of a single retraining, checked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnist.cli import OneLineParser
from fmnist.errors import UserError
from search.config import MAX_SEED


@dataclass(frozen=True)
class RefitOptions:
    """What to retrain, from which images, and where to. Raises UserError for places that cannot be used."""

    recipe: Path  # a study's best_recipe.json
    out: Path  # of the model
    seed: int | None  # None: that of the study's delivered model
    dataset: str | None  # None: where the recipe says
    data_dir: Path | None  # the one place to look for Fashion-MNIST; None: see fmnist.data.named.find_data

    def __post_init__(self) -> None:
        if self.out.suffix != ".keras":
            raise UserError(f"--out must be a file with the suffix .keras, but got {self.out}")
        if not (os.path.isdir(self.out.parent) and os.access(self.out.parent, os.W_OK)) or os.path.isdir(self.out):
            raise UserError(f"cannot write to {self.out}; choose a file in a folder of yours with --out")
        if self.seed is not None and not 0 <= self.seed <= MAX_SEED:
            raise UserError(f"--seed must be between 0 and {MAX_SEED}, but got {self.seed}")


def parse(argv: Sequence[str]) -> RefitOptions:
    """Raises UserError for options that cannot be used."""
    return RefitOptions(**vars(_parser().parse_args(argv)))


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="python -m search.refit",
        description="Train a study's winner once more from its best_recipe.json alone, and score it on the test set. "
        "With a seed of the study, on the same CPU and versions, it is the same model to the bit.",
        allow_abbrev=False,
    )
    parser.add_argument("--recipe", type=Path, required=True, metavar="FILE", help="a study's best_recipe.json")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("retrained.keras"),
        metavar="FILE",
        help="where the model goes (default: retrained.keras)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of this training (default: the delivered model's)")
    parser.add_argument(
        "--dataset", metavar="NAME|PATH", help="where the study's images are now (default: where they were)"
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where the Fashion-MNIST files are (default: $FMNIST_DATA_DIR, then the usual places)",
    )
    return parser
