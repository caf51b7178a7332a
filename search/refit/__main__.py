"""Train what a study delivers once more, to the bit: `python -m search.refit --recipe best_recipe.json`.

With ensemble_recipe.json it is the ensemble.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fmnist.cli import EXIT_FAILURE, EXIT_INTERRUPTED, exit_code_of
from fmnist.data.find import find_data
from fmnist.metrics.intervals import wilson_95
from fmnist.options import option, options, parse_options
from fmnist.reading import Reading
from search.callbacks.terminal import Terminal
from search.config import ARRAYS_AS_FILE, MAX_SEED
from search.format import with_noun
from search.records.models import BestRecipe, EnsembleRecipe
from search.refit.reproduction import Retrained, read_recipe, require_model_place, retrain, seed_of_recipe
from search.worker.interrupts import Interruptible, Stop, ending_cleanly
from search.worker.tasks import Interrupted, TrainingFailed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 for success, 1 if the training fails, 2 for input that cannot be used, said in one line, 130 when interrupted.
    """
    return exit_code_of(lambda: _main(parse(sys.argv[1:] if argv is None else argv)))


def _main(options: RefitOptions) -> int:
    recipe = read_recipe(options.recipe)
    reading = Reading(recipe.image_size, recipe.colour, recipe.skip_unreadable, recipe.split_seed)
    beginning = in_words(recipe, options.seed)
    stop, terminal = Stop(), Terminal()
    terminal.say(beginning)
    before = written_at(options.out)
    try:
        with ending_cleanly(stop), terminal:
            with Interruptible(stop):
                source = find_data(options.dataset or recipe.dataset, options.data_dir, reading)
            outcome = retrain(recipe, source, options.seed, options.out, terminal, stop)
    except Interrupted:
        outcome = "nothing was written" if written_at(options.out) == before else f"{options.out} is not scored yet"
        terminal.say(f"stopped; {outcome}")
        return EXIT_INTERRUPTED
    except TrainingFailed as failure:
        print(f"error: {failure}\n{failure.trace}".rstrip(), file=sys.stderr)
        return EXIT_FAILURE
    terminal.say(_score_in_words(outcome))
    terminal.say(f"model: {options.out}")
    return 0


def _score_in_words(outcome: Retrained) -> str:
    if outcome.test_accuracy is None:
        return f"not scored: {outcome.beside_the_study}"
    interval = wilson_95(round(outcome.test_accuracy * outcome.n_images), outcome.n_images)
    return (
        f"test accuracy {outcome.test_accuracy:.2%}, 95 % interval {interval.low:.2%} to {interval.high:.2%}; "
        f"{outcome.beside_the_study}"
    )


def in_words(recipe: BestRecipe | EnsembleRecipe, seed: int | None) -> str:
    """Say what is trained. seed: as in `retrain`, which refuses what is refused here."""
    seed = seed_of_recipe(recipe, seed)
    if isinstance(recipe, EnsembleRecipe):
        return f"retraining the ensemble of study {recipe.study} and its {with_noun(len(recipe.members), 'member')}"
    taught = f", after its {with_noun(len(recipe.teachers), 'teacher')}" if recipe.teachers else ""
    return f"retraining trial {recipe.trial} of study {recipe.study} with seed {seed}{taught}"


def written_at(path: Path) -> int | None:
    """When a file was last written, in nanoseconds; None if there is none."""
    return os.stat(path).st_mtime_ns if os.path.exists(path) else None


@options
class RefitOptions:
    """What to retrain, from which images, and where to. Raises UserError for places that cannot be used."""

    recipe: Path = option("a study's best_recipe.json, or its ensemble_recipe.json", metavar="FILE")
    out: Path = option("where the model goes", default=Path("retrained.keras"), metavar="FILE")
    seed: int | None = option(
        "of the model, not of an ensemble",
        default=None,
        ge=0,
        le=MAX_SEED,
        default_shown="the delivered model's",
        metavar="N",
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
        "where the files of a data set that has a name are",
        default=None,
        default_shown="$FMNIST_DATA_DIR for Fashion-MNIST, then the usual places",
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
        description="Train a study's model once more from its best_recipe.json alone, after its teachers where it has "
        "some, or the study's ensemble from its ensemble_recipe.json, and score it on the test set. With a seed of the "
        "study, on the same CPU and versions, it is the same model to the bit.",
    )


if __name__ == "__main__":
    sys.exit(main())
