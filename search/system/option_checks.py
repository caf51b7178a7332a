"""Which options of a study go together? Checks of several at a time, each refused in one line."""

from __future__ import annotations

from pathlib import Path

import pydantic

from fmnist.environment import command_words
from fmnist.errors import UserError
from fmnist.export.formats import FORMATS, find_format, require_runtimes
from fmnist.training.precision import BFLOAT16_FLAGS, Precision, has_bfloat16
from fmnist.values import did_you_mean
from search.cli import check_study_name

DEFAULT_TARGET = "litert-int8-full"  # the format that --max-bytes and --max-ms are about
FRONT_FORMATS = ("litert", "litert-int8-full", "onnx")  # of each network that --front delivers
UNITS = ("B", "kB", "MB", "KiB", "MiB")  # of --max-bytes


def check_precision(precision: Precision, cluster: str | None) -> None:
    """Raise UserError where --precision is one that this processor, which is to train, has not."""
    if precision == "bfloat16" and cluster is None and not has_bfloat16():
        raise UserError(
            f"--precision bfloat16 needs a processor with {' or '.join(sorted(BFLOAT16_FLAGS))}, which this one "
            "has not; leave it at auto"
        )


def check_flip(space: Path | None, *, flip: bool) -> None:
    """Raise UserError where --flip comes with a space file, which says itself whether images are mirrored."""
    if flip and space is not None:
        raise UserError(
            f"--flip is for the default space of your own images, but got the space {space}; leave --flip out, write "
            "flip = true into a copy of that file, and pass the copy with --space"
        )


def check_start(study: str, start_from: str | None, *, widen: bool) -> None:
    """Raise UserError where --start-from names no other study, or comes with --widen."""
    if start_from is None:
        return
    check_study_name(start_from, "pass the name of a folder in --studies-dir")
    if start_from == study:
        raise UserError(
            f"--start-from must be another study, but got {study} itself; pass the older one's name, and "
            "the new one's with --study"
        )
    if widen:
        raise UserError(
            f"--widen goes on with the study's own trials, but got --start-from {start_from}; leave --start-from out"
        )


def read_size(text: str) -> int:
    """Return the bytes that a text such as `96kB`, `1.5 MB` or `64KiB` stands for.

    Raises:
        UserError: The text is no size.
    """
    try:
        return int(pydantic.TypeAdapter(pydantic.ByteSize).validate_python(text.strip()))
    except pydantic.ValidationError:
        raise UserError(
            f"--max-bytes must be a number of bytes or a size in {', '.join(UNITS)}, but got {text!r}; pass one such "
            "as 96kB"
        ) from None


def check_targets(target: str, max_bytes: int | None, max_ms: float | None, on: str | None) -> None:
    """Raise UserError where a target of size or speed, its format and the command that measures do not go together.

    Args:
        target: Name of the format that they are about.
        max_bytes: Largest file.
        max_ms: Slowest prediction.
        on: Command that measures elsewhere.
    """
    names = [format.name for format in FORMATS]
    if target not in names:
        raise UserError(f"--target must be one of {', '.join(names)}, but got {target!r}{did_you_mean(target, names)}")
    if max_bytes is None and max_ms is None and target != DEFAULT_TARGET:
        raise UserError(
            f"--target is the file that --max-bytes and --max-ms are about, but got {target!r} alone; pass one of "
            f"them, or --export {target} to have that file"
        )
    if on is not None:
        command_words(on)
        if max_ms is None:
            raise UserError(f"--on is where --max-ms is measured, but got {on!r} alone; pass --max-ms, or leave it out")
    if max_ms is not None and find_format(target).runtime == "tensorflow":
        raise UserError(
            f"--max-ms is measured of a single file, but got --target {target}, which is a folder; choose another"
        )


def check_front(pruner: str, *, has_targets: bool) -> None:
    """Raise UserError where --front comes with an option that is about one network, or compares trials by one value.

    Args:
        pruner: Name of the study's pruner.
        has_targets: Whether the delivered file is to be small or fast.
    """
    if has_targets:
        raise UserError(
            "--front delivers networks of every size, but got --max-bytes or --max-ms, which are about one; leave them "
            'out, and take what fits by python -m search.report NAME --pick "bytes<96kB, ms<2"'
        )
    if pruner == "median":
        raise UserError(
            "--front compares trials by accuracy and multiply-adds, but got --pruner median, which compares one value; "
            "choose asha or none"
        )
    require_runtimes(FRONT_FORMATS, "--front")
