"""Train a study's winner once more, to the bit: `python -m search.refit --recipe best_recipe.json`."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnist.cli import EXIT_FAILURE, EXIT_INTERRUPTED, OneLineParser, ending_cleanly, exit_code_of
from fmnist.data.find import find_data
from fmnist.data.source import Reading
from fmnist.errors import UserError
from fmnist.metrics.intervals import wilson_95
from fmnist.training.precision import has_bfloat16
from search.callbacks.terminal import Terminal
from search.config import MAX_SEED
from search.records.io import read_json
from search.records.models import BestRecipe
from search.refit.reproduction import Retrained, retrain
from search.worker.tasks import Interrupted, TrainingFailed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0; 1 where the training fails; 2 for input that cannot be used, said
    in one line; 130 when interrupted."""
    return exit_code_of(lambda: _main(parse(sys.argv[1:] if argv is None else argv)))


def _main(options: RefitOptions) -> int:
    best = read_json(BestRecipe, options.recipe)
    if best.bfloat16 and not has_bfloat16():
        raise UserError("the recipe must be retrained in bfloat16, which this processor has not; use one that has it")
    reading = Reading(best.image_size, best.colour, best.skip_unreadable, best.split_seed)
    source = find_data(options.dataset or best.dataset, options.data_dir, reading)
    seed = best.retrainings[0].seed if options.seed is None else options.seed
    stop, terminal = threading.Event(), Terminal()
    terminal.say(f"retraining trial {best.trial} of study {best.study} with seed {seed}")
    try:
        with ending_cleanly(stop), terminal:
            outcome = retrain(best, source, seed, options.out, terminal, stop)
    except Interrupted:
        terminal.say("stopped; nothing was written")
        return EXIT_INTERRUPTED
    except TrainingFailed as failure:
        print(f"error: {failure}\n{failure.trace}".rstrip(), file=sys.stderr)
        return EXIT_FAILURE
    interval = wilson_95(round(outcome.test_accuracy * outcome.n_images), outcome.n_images)
    terminal.say(
        f"test accuracy {outcome.test_accuracy:.2%}, 95 % interval {interval.low:.2%} to {interval.high:.2%}; "
        f"{_beside_the_study(outcome)}"
    )
    terminal.say(f"model: {options.out}")
    return 0


def _beside_the_study(outcome: Retrained) -> str:
    if outcome.expected is None:
        return "the study has no training with this seed"
    if outcome.expected == outcome.test_accuracy:
        return "exactly what the study measured with this seed"
    return f"the study measured {outcome.expected:.2%} with this seed, on another processor or with other versions"


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


if __name__ == "__main__":
    sys.exit(main())
