"""Say what images show: `python -m fmnist.predict best.keras IMAGE ...`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fmnist.cli import complain, exit_code_of
from fmnist.environment import take_clean_environment
from fmnist.options import option, options, parse_options
from fmnist.predict.evaluation import EvaluatedImages, evaluate
from fmnist.predict.predictions import N_TOP, Prediction, predict_batches
from fmnist.predict.printing import as_json, as_table, summary_as_json, summary_lines

EXIT_SOME_FAILED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments, without the program's name; None: those of this process.

    Returns:
        The exit code: 0; 1 if a picture could not be read; 2 for arguments or a model that cannot be used, said in one
        line; 130 when interrupted. A bug keeps its trace.
    """
    if argv is None:
        take_clean_environment()
        argv = sys.argv[1:]
    arguments = list(argv)
    return exit_code_of(lambda: print_predictions(arguments))


def print_predictions(argv: Sequence[str]) -> int:
    """Print what the named images show, or how well labelled ones are classified.

    Pictures that could not be read are named on standard error.

    Returns:
        The exit code: 0, or 1 if a picture could not be read.

    Raises:
        UserError: The arguments, the model or an array cannot be used.
    """
    options = parse(argv)
    how: dict[str, Any] = {
        "top": options.top,
        "invert": options.invert,
        "temperature": options.temperature,
        "say": lambda text: complain("note", text),
        "guard": without_chatter,
    }
    if options.labels:
        found = evaluate(options.model, options.images, **how)
        print_scores(found, options)
        return complain_of_unreadable(found.predictions)
    exit_code = 0
    for batch in predict_batches(options.model, options.images, **how):
        exit_code = max(exit_code, complain_of_unreadable(batch))
        if options.json:
            print_lines([as_json(prediction) for prediction in batch])
        else:
            print_lines(as_table([prediction for prediction in batch if prediction.error is None]))
    return exit_code


def print_scores(found: EvaluatedImages, options: PredictOptions) -> None:
    """Print how well labelled images were classified: for programs also what each shows."""
    if options.json:
        print_lines([as_json(prediction, with_label=True) for prediction in found.predictions])
        print_lines([summary_as_json(found)])
    else:
        print_lines(summary_lines(found, options.top_mistakes))


def complain_of_unreadable(predictions: Sequence[Prediction]) -> int:
    """Name pictures that could not be read on standard error, and return the exit code that follows."""
    failed = [prediction for prediction in predictions if prediction.error is not None]
    for prediction in failed:
        complain("error", f"{prediction.path}: {prediction.error}")
    return EXIT_SOME_FAILED if failed else 0


def print_lines(lines: Sequence[str]) -> None:
    """Print lines, at once also where a program reads them."""
    for line in lines:
        print(line)
    sys.stdout.flush()


@contextmanager
def without_chatter() -> Iterator[None]:
    """Discard what is written to standard error inside the block.

    TensorFlow writes there while it loads and starts, whatever its settings say, and so does libtiff about damaged
    files. TF_CPP_MIN_LOG_LEVEL=0 shows it all.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


@options
class PredictOptions:
    """What to predict, by which model, and how to show it."""

    model: Path = option(
        "a .keras file, such as a study's ensemble.keras, or a study's folder, whose best.keras is taken",
        positional=True,
        metavar="MODEL",
    )
    images: tuple[str, ...] = option(
        "PNG, JPEG, WebP, BMP, GIF (its first frame), TIFF, PPM, AVIF, JPEG 2000 or HEIC file; a folder, with all such "
        "files in it and its subfolders; anything else that trains, such as arrays or tables of images of the model's "
        "size, Parquet files or a zip; a table (.csv) with the columns file and label; - for one picture from standard "
        "input",
        positional=True,
        takes_path=True,
        metavar="IMAGE",
    )
    json: bool = option("one JSON object a line instead, failed pictures included", default=False)
    top: int = option("how many classes to name", default=N_TOP, metavar="K")
    invert: bool = option("keep light backgrounds light, whatever the model knows", default=True, name="no-invert")
    temperature: str | None = option(
        "calibrate the probabilities: a number, or a file such as a study's temperature.json",
        default=None,
        default_shown="as the model gives them",
        takes_path=True,
        metavar="T|FILE",
    )
    labels: bool = option(
        "score the answers instead: the images are labelled by class folders, their data set or a table",
        default=False,
    )
    top_mistakes: int = option("how many mistakes --labels names; --json has all", default=10, ge=0, metavar="N")


def parse(argv: Sequence[str]) -> PredictOptions:
    """Read the options of the command. Raises UserError for those that cannot be used."""
    return parse_options(
        PredictOptions,
        argv,
        prog="python -m fmnist.predict",
        description="Name what images show, by a saved model. A picture is read as the model's training pictures "
        "were. Where the model was not trained from pictures, or from pictures of one size that this one does not "
        "have, it is taken for a photograph: turned upright, made grey or RGB as the model wants it, inverted where "
        "its background is light and the training images' was dark, trimmed to its object and fitted to the model's "
        "size. Images in arrays are taken as they are.",
        epilog="Exit codes: 0; 1 where a picture could not be read (named on standard error; the others are predicted)"
        "; 2 for arguments or a model that cannot be used.",
    )


if __name__ == "__main__":
    sys.exit(main())
