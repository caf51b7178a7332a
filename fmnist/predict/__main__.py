"""Say what pictures show: `python -m fmnist.predict best.keras IMAGE ...`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fmnist.cli import exit_code_of
from fmnist.options import option, options, parse_options
from fmnist.predict.classifier import EXIT_INTERRUPTED, N_TOP, ClassProbability, Prediction, predict_batches

EXIT_SOME_FAILED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0; 1 where a picture could not be read; 2 for arguments or a model
    that cannot be used, said in one line; 130 when interrupted. A bug keeps its trace."""
    try:
        return exit_code_of(lambda: _main(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read the output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be written at exit
        return EXIT_SOME_FAILED


def _main(argv: Sequence[str]) -> int:
    options = parse(argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    some_failed = False
    batches = predict_batches(
        options.model,
        options.images,
        top=options.top,
        invert=options.invert,
        temperature=options.temperature,
        say=lambda text: _complain("note", text),
        room=_without_chatter,
    )
    for batch in batches:
        for prediction in batch:
            if prediction.error is not None:
                some_failed = True
                _complain("error", f"{prediction.path}: {prediction.error}")
        lines = map(_as_json, batch) if options.json else _as_text(batch)
        print(*lines, sep="\n", end="\n" if options.json or any(p.error is None for p in batch) else "", flush=True)
    return EXIT_SOME_FAILED if some_failed else 0


def _complain(kind: str, text: str) -> None:
    print(f"{kind}: {_printable(text)}", file=sys.stderr, flush=True)


def _as_json(prediction: Prediction) -> str:
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


def _as_text(batch: Sequence[Prediction]) -> list[str]:
    """A line for each picture that could be read, aligned. On a terminal, paths are cut at their front to fit in."""
    good = [prediction for prediction in batch if prediction.error is None]
    columns = [
        _aligned([prediction.class_name for prediction in good]),
        [f"{prediction.probability:6.1%}" for prediction in good],
        _aligned([", ".join(_runner_up(one) for one in prediction.top[1:]) for prediction in good]),
        ["inverted" if prediction.inverted else "" for prediction in good],
    ]
    rests = ["  ".join(row) for row in zip(*columns, strict=True)]
    paths = [_printable(prediction.path) for prediction in good]
    room = max(16, _terminal_width() - 2 - max(map(len, rests), default=0))
    paths = _aligned([path if len(path) <= room else f"…{path[-room + 1 :]}" for path in paths])
    return [f"{path}  {rest}".rstrip() for path, rest in zip(paths, rests, strict=True)]


def _runner_up(one: ClassProbability) -> str:
    return f"{one.class_name} {one.probability:.0%}"


def _aligned(texts: Sequence[str]) -> list[str]:
    width = max(map(len, texts), default=0)
    return [text.ljust(width) for text in texts]


def _terminal_width() -> int:
    """In characters. What is no terminal is read by programs, which want whole paths."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def _printable(text: str) -> str:
    """With nothing that could break a line or steer a terminal: a file may have any name."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


@contextmanager
def _without_chatter() -> Iterator[None]:
    """TensorFlow writes to standard error while it loads and starts, whatever its settings say, and so does libtiff of
    damaged files. To see it all: TF_CPP_MIN_LOG_LEVEL=0."""
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

    model: Path = option("a .keras file, such as a study's best.keras", positional=True, metavar="MODEL")
    images: tuple[str, ...] = option(
        "PNG, JPEG, WebP, BMP, GIF (its first frame) or TIFF file; a folder, with all such files in it and its "
        "subfolders; - for one picture from standard input",
        positional=True,
        metavar="IMAGE",
    )
    json: bool = option("one JSON object a line instead, failed pictures included", default=False)
    top: int = option("how many classes to name", default=N_TOP, metavar="K")
    invert: bool = option("keep light backgrounds light, whatever the model knows", default=True, name="no-invert")
    temperature: str | None = option(
        "calibrate the probabilities: a number, or a file such as a study's temperature.json",
        default=None,
        default_shown="as the model gives them",
        metavar="T|FILE",
    )


def parse(argv: Sequence[str]) -> PredictOptions:
    """Read the options of the command. Raises UserError for those that cannot be used."""
    return parse_options(
        PredictOptions,
        argv,
        prog="python -m fmnist.predict",
        description="Name what pictures show, by a saved model. A picture may be of any size and colour: it is turned "
        "upright, made grey or RGB as the model wants it, inverted where its background is light and the training "
        "images' was dark, trimmed to its object and fitted to the model's size. One of exactly that size is not "
        "trimmed.",
        epilog="Exit codes: 0; 1 where a picture could not be read (named on standard error; the others are predicted)"
        "; 2 for arguments or a model that cannot be used.",
    )


if __name__ == "__main__":
    sys.exit(main())
