"""Train a study's winner once more, to the bit: `python -m search.refit --recipe best_recipe.json`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fmnist.cli import EXIT_FAILURE, EXIT_INTERRUPTED, exit_code_of
from fmnist.data.find import find_data
from fmnist.errors import UserError
from fmnist.metrics.intervals import wilson_95
from fmnist.options import option, options, parse_options
from fmnist.reading import Reading
from fmnist.training.precision import has_bfloat16
from search.callbacks.terminal import Terminal
from search.config import ARRAYS_AS_FILE, MAX_SEED
from search.records.io import read_json
from search.records.models import BestRecipe
from search.refit.reproduction import require_model_place, retrain
from search.worker.interrupts import Interruptible, Stop, ending_cleanly
from search.worker.tasks import Interrupted, TrainingFailed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 for success, 1 if the training fails, 2 for input that cannot be used, said in one line, 130 when interrupted.
    """
    return exit_code_of(lambda: _main(parse(sys.argv[1:] if argv is None else argv)))


def _main(options: RefitOptions) -> int:
    best = read_json(BestRecipe, options.recipe)
    if best.bfloat16 and not has_bfloat16():
        raise UserError("the recipe must be retrained in bfloat16, which this processor has not; use one that has it")
    reading = Reading(best.image_size, best.colour, best.skip_unreadable, best.split_seed)
    seed = best.retrainings[0].seed if options.seed is None else options.seed
    stop, terminal = Stop(), Terminal()
    terminal.say(f"retraining trial {best.trial} of study {best.study} with seed {seed}")
    before = written_at(options.out)
    try:
        with ending_cleanly(stop), terminal:
            with Interruptible(stop):
                source = find_data(options.dataset or best.dataset, options.data_dir, reading)
            outcome = retrain(best, source, seed, options.out, terminal, stop)
    except Interrupted:
        outcome = "nothing was written" if written_at(options.out) == before else f"{options.out} is not scored yet"
        terminal.say(f"stopped; {outcome}")
        return EXIT_INTERRUPTED
    except TrainingFailed as failure:
        print(f"error: {failure}\n{failure.trace}".rstrip(), file=sys.stderr)
        return EXIT_FAILURE
    interval = wilson_95(round(outcome.test_accuracy * outcome.n_images), outcome.n_images)
    terminal.say(
        f"test accuracy {outcome.test_accuracy:.2%}, 95 % interval {interval.low:.2%} to {interval.high:.2%}; "
        f"{outcome.beside_the_study}"
    )
    terminal.say(f"model: {options.out}")
    return 0


def written_at(path: Path) -> int | None:
    """When a file was last written, in nanoseconds; None if there is none."""
    return os.stat(path).st_mtime_ns if os.path.exists(path) else None


@options
class RefitOptions:
    """What to retrain, from which images, and where to. Raises UserError for places that cannot be used."""

    recipe: Path = option("a study's best_recipe.json", metavar="FILE")
    out: Path = option("where the model goes", default=Path("retrained.keras"), metavar="FILE")
    seed: int | None = option(
        "of this training", default=None, ge=0, le=MAX_SEED, default_shown="the delivered model's", metavar="N"
    )
    dataset: str | None = option(
        "where the study's images are now",
        default=None,
        takes_path=True,
        remedy=ARRAYS_AS_FILE,
        default_shown="where they were",
        metavar="NAME|PATH",
    )
    data_dir: Path | None = option(
        "where the Fashion-MNIST files are",
        default=None,
        default_shown="$FMNIST_DATA_DIR, then the usual places",
        metavar="DIR",
    )

    def __post_init__(self) -> None:
        require_model_place(self.out)


def parse(argv: Sequence[str]) -> RefitOptions:
    """Read the options of the command. Raises UserError for those that cannot be used."""
    return parse_options(
        RefitOptions,
        argv,
        prog="python -m search.refit",
        description="Train a study's winner once more from its best_recipe.json alone, and score it on the test set. "
        "With a seed of the study, on the same CPU and versions, it is the same model to the bit.",
    )


if __name__ == "__main__":
    sys.exit(main())
