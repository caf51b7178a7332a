"""Export a trained model from the command line: `python -m fmnist.export best.keras --format onnx`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic
from rich.console import Console
from rich.table import Table

from fmnist.cli import EXIT_FAILURE, EXIT_INTERRUPTED, exit_code_of, nearest_existing
from fmnist.errors import UserError
from fmnist.export.export import HERE, export_model
from fmnist.export.formats import (
    FORMATS,
    FORMATS_REQUIRED,
    ExportRecord,
    find_format,
    in_figures,
    read_formats,
    require_calibration,
    require_runtimes,
)
from fmnist.export.images import read_images
from fmnist.export.publish import publish, require_card, require_empty
from fmnist.options import option, options, parse_options
from fmnist.output import printable
from fmnist.paths import require_lengths
from fmnist.values import to_items


@options
class ExportOptions:
    """What to export, how and where to. Raises UserError for files and formats that cannot be used."""

    model: Path = option(
        "a .keras file, such as a study's best.keras or ensemble.keras", positional=True, metavar="MODEL"
    )
    formats: Sequence[str] = option(
        f"all, or some of {', '.join(format.name for format in FORMATS)}, joined by commas; may be given again",
        name="format",
        default=(),
        default_shown="none, with --publish",
        requirement=FORMATS_REQUIRED,
        metavar="FORMATS",
    )
    out: Path = option("folder for the files", default=Path("exports"), metavar="DIR")
    images: Path | None = option(
        "what to compare on: an array x of raw pixels, 0 to 255, and, if known, y of labels",
        default=None,
        default_shown="the images of --calibrate, or noise",
        metavar="FILE.npz",
    )
    calibrate: Path | None = option(
        "a few hundred training images, x as in --images, for the formats that compute in 8 bits "
        f"({', '.join(format.name for format in FORMATS if format.is_calibrated)}); without it, all leaves these out",
        default=None,
        default_shown="none",
        metavar="FILE.npz",
    )
    license: str | None = option(
        "the model's licence, such as Apache-2.0: goes into LiteRT and ONNX files, which have a place for it",
        default=None,
        default_shown="none",
        metavar="NAME",
    )
    publish: Path | None = option(
        "lay out a repository for the Hugging Face Hub in this new folder: the model as keras.saving.load_model reads "
        "it from there, its model card, and the exports of --format",
        default=None,
        default_shown="none",
        metavar="FOLDER",
    )

    @pydantic.field_validator("formats", mode="before")
    @classmethod
    def _check_formats(cls, words: Any) -> Any:
        read_formats(words, "--format")
        return tuple(to_items(words))

    def __post_init__(self) -> None:
        if self.model.suffix != ".keras" or not os.path.isfile(self.model):
            raise UserError(f"MODEL must be a .keras file, as studies deliver it, but got {self.model}; check its path")
        if not self.formats and self.publish is None:
            raise UserError(
                "--format or --publish must say what to make of the model, but got neither; pass --format all"
            )
        if self.publish is not None:
            require_card(self.model)
            require_empty(self.publish)
        if self.calibrate is None:
            require_calibration(self.names, "pass --calibrate FILE.npz")
        require_runtimes(self.names, "--format")
        self._require_writable_folder()
        require_lengths(self.out, "choose a shorter --out")
        for name in self.file_names:
            require_lengths(self.out / name, "give the model a shorter name")
        if self.model.resolve() in ((self.out / name).resolve() for name in self.file_names):
            raise UserError(f"the export would take the place of {self.model} itself; choose another folder as --out")

    @property
    def names(self) -> tuple[str, ...]:
        """The formats to make; `all` leaves those out that lack images to be calibrated on."""
        return read_formats(self.formats, "--format", is_calibrated=self.calibrate is not None)

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of the files, and folders, that the formats take in `out`."""
        return tuple(find_format(name).file_name(self.model) for name in self.names)

    def _require_writable_folder(self) -> None:
        there = nearest_existing(self.out)
        if not os.path.isdir(there) or not os.access(there, os.W_OK):
            raise UserError(f"--out must be a folder that can be written to, but {there} is not; choose another")


def main(argv: Sequence[str] | None = None, *, scripts: Path = HERE) -> int:
    """Run the command line. A bug keeps its trace.

    Args:
        argv: the arguments; None: those of this process.
        scripts: see `export_model`.

    Returns:
        The exit code: 0; 1 where a format failed; 2 for input that cannot be used, said in one line; 130 when
        interrupted.
    """
    return exit_code_of(lambda: run(parse(sys.argv[1:] if argv is None else argv), scripts))


def run(options: ExportOptions, scripts: Path) -> int:
    """Export and publish by these options, and show what came of it. Returns the exit code."""
    try:
        return export_and_publish(options, scripts)
    except KeyboardInterrupt:
        print(f"stopped; the formats that were done are in {options.out}", file=sys.stderr)
        return EXIT_INTERRUPTED


def export_and_publish(options: ExportOptions, scripts: Path) -> int:
    """Do it. Returns the exit code."""
    console = Console()
    exit_code, exported = 0, []
    if options.formats:
        records = export(options, console, scripts)
        show_records(console, options, records)
        exported = [options.out / record.file for record in records if not record.failure]
        exit_code = EXIT_FAILURE if any(record.failure for record in records) else 0
    if options.publish is not None:
        publish(options.model, options.publish, exported)
        console.print(published_in_words(options.publish), markup=False, highlight=False, soft_wrap=True)
    return exit_code


def published_in_words(folder: Path) -> str:
    """Say where the repository is and how it gets to the Hub."""
    return printable(
        f"published: {folder}, to be uploaded by `hf upload NAME/MODEL {folder}` and loaded by "
        "keras.saving.load_model('hf://NAME/MODEL')"
    )


def export(options: ExportOptions, console: Console, scripts: Path) -> list[ExportRecord]:
    """Export by these options, with a sign of life on a terminal."""
    images, labels, calibration = None, None, None
    if options.images is not None:
        images, labels = read_images(options.images)
    if options.calibrate is not None:
        calibration, _ = read_images(options.calibrate, "--calibrate")
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    exports = export_model(
        options.model,
        options.names,
        options.out,
        images=images,
        labels=labels,
        calibration=calibration,
        license=options.license,
        n_threads=n_cores,
        scripts=scripts,
    )
    with console.status(f"exporting {printable(str(options.model))}", spinner="line"):  # nothing but on a terminal
        return list(exports)


def parse(argv: Sequence[str]) -> ExportOptions:
    """Read the options of the command. Raises UserError for those that cannot be used."""
    return parse_options(
        ExportOptions,
        argv,
        prog="python -m fmnist.export",
        description="Save a trained model in other formats. Each file is loaded in a fresh process by its own runtime "
        "alone and compared with the model; one that says something else is not kept.",
    )


def show_records(console: Console, options: ExportOptions, records: Sequence[ExportRecord]) -> None:
    """Print a table of the formats, where their files are, and what was compared on what."""
    table = Table("format", "size", "differs", "same class", "accuracy", "1 image", "of 256", box=None)
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for record in records:
        if record.failure or record.n_bytes is None or record.largest_difference is None or record.n_same_class is None:
            table.add_row(record.format, "failed")
            continue
        table.add_row(
            record.format,
            f"{record.n_bytes / 1000:,.1f} kB",
            in_figures(record.largest_difference),
            f"{record.n_same_class / record.n_images:.2%}",
            "" if record.accuracy is None else f"{record.accuracy:.2%}",
            f"{record.milliseconds_by_1:.3f}",
            f"{record.milliseconds_by_256:.3f}",
        )
    console.print(table)

    def say(text: str) -> None:
        console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    for record in records:
        outcome = f"failed: {record.failure}" if record.failure else options.out / record.file
        say(f"{record.format}: {outcome}")
    kind = "images"
    if options.images is None:
        kind = "made-up images (noise, always the same; --images takes real ones)"
        if options.calibrate is not None:
            kind = "images of --calibrate"
    say(f"compared with {options.model} on {records[0].n_images:,} {kind}")
    say("times: milliseconds an image, median, given one at a time and in batches of 256, on one thread")
    left_out = set(read_formats(options.formats, "--format")) - set(options.names)
    if left_out:
        say(f"left out: {', '.join(sorted(left_out))}, which --calibrate FILE.npz makes")


if __name__ == "__main__":
    sys.exit(main())
