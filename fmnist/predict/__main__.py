"""Say what pictures show: `python -m fmnist.predict best.keras IMAGE ...`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fmnist.cli import complain, exit_code_of
from fmnist.environment import take_clean_environment
from fmnist.options import option, options, parse_options
from fmnist.output import printable
from fmnist.predict.predictions import N_TOP, Prediction, predict_batches

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
    """Print what the named pictures show, batch by batch, and name those that could not be read on standard error.

    Returns:
        The exit code: 0, or 1 if a picture could not be read.

    Raises:
        UserError: The arguments or the model cannot be used.
    """
    options = parse(argv)
    exit_code = 0
    batches = predict_batches(
        options.model,
        options.images,
        top=options.top,
        invert=options.invert,
        temperature=options.temperature,
        say=lambda text: complain("note", text),
        guard=without_chatter,
    )
    for batch in batches:
        for prediction in batch:
            if prediction.error is not None:
                exit_code = EXIT_SOME_FAILED
                complain("error", f"{prediction.path}: {prediction.error}")
        if options.json:
            lines = [as_json(prediction) for prediction in batch]
        else:
            lines = as_table([prediction for prediction in batch if prediction.error is None])
        for line in lines:
            print(line)
        sys.stdout.flush()
    return exit_code


def as_json(prediction: Prediction) -> str:
    """Write a prediction as one JSON object, with the same keys whether or not the picture could be read."""
    width, height = prediction.original_size or (None, None)
    fields = {
        "path": prediction.path,
        "class": prediction.class_name,
        "probability": prediction.probability,
        "top": [{"class": one.class_name, "probability": one.probability} for one in prediction.top],
        "inverted": prediction.inverted,
        "fitted": prediction.fitted,
        "width": width,
        "height": height,
        "error": prediction.error,
    }
    return json.dumps(fields)


def as_table(predictions: Sequence[Prediction]) -> list[str]:
    """Write a line for each prediction, in aligned columns. On a terminal, paths are cut at their front to fit in."""
    paths, names, probabilities, runners_up, remarks = [], [], [], [], []
    for prediction in predictions:
        paths.append(printable(prediction.path))
        names.append(printable(prediction.class_name or ""))
        probabilities.append(f"{prediction.probability:6.1%}")
        runners_up.append(", ".join(f"{printable(one.class_name)} {one.probability:.0%}" for one in prediction.top[1:]))
        if prediction.inverted:
            remarks.append("inverted")
        else:
            remarks.append("")
    columns = (aligned(names), probabilities, aligned(runners_up), remarks)
    rests = list(map("  ".join, zip(*columns, strict=True)))
    room = max(16, terminal_width() - 2 - max(map(len, rests), default=0))
    for i, path in enumerate(paths):
        if len(path) > room:
            paths[i] = f"…{path[-room + 1 :]}"
    return [f"{path}  {rest}".rstrip() for path, rest in zip(aligned(paths), rests, strict=True)]


def aligned(texts: Sequence[str]) -> list[str]:
    """Pad texts with spaces to the length of the longest."""
    width = max(map(len, texts), default=0)
    return [text.ljust(width) for text in texts]


def terminal_width() -> int:
    """Tell how many characters fit on a line: any number if programs read the output, which want whole paths."""
    if sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return sys.maxsize


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
        "a .keras file, such as a study's best.keras or ensemble.keras", positional=True, metavar="MODEL"
    )
    images: tuple[str, ...] = option(
        "PNG, JPEG, WebP, BMP, GIF (its first frame), TIFF, PPM, AVIF, JPEG 2000 or HEIC file; a folder, with all such "
        "files in it and its subfolders; - for one picture from standard input",
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


def parse(argv: Sequence[str]) -> PredictOptions:
    """Read the options of the command. Raises UserError for those that cannot be used."""
    return parse_options(
        PredictOptions,
        argv,
        prog="python -m fmnist.predict",
        description="Name what pictures show, by a saved model. A picture is read as the model's training pictures "
        "were. Where the model was not trained from pictures, or from pictures of one size that this one does not "
        "have, it is taken for a photograph: turned upright, made grey or RGB as the model wants it, inverted where "
        "its background is light and the training images' was dark, trimmed to its object and fitted to the model's "
        "size.",
        epilog="Exit codes: 0; 1 where a picture could not be read (named on standard error; the others are predicted)"
        "; 2 for arguments or a model that cannot be used.",
    )


if __name__ == "__main__":
    sys.exit(main())
