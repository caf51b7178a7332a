"""Which network of a study's front fits a device, and where do its files go? `python -m search.report NAME --pick`."""

from __future__ import annotations

import math
import operator
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnist.errors import UserError
from fmnist.export.formats import FORMATS, find_format
from fmnist.paths import shown_path
from fmnist.recipe import short_form
from fmnist.values import did_you_mean
from search.format import (
    METRIC_WORDS,
    count,
    file_size,
    in_metric,
    milliseconds,
    percent,
    percent_range,
    short_count,
    with_noun,
)
from search.records.files import StudyFiles
from search.records.io import atomic_write
from search.report.analysis.front import exported_formats
from search.report.text.front import score_of_point
from search.results.front import FrontPoint, read_front
from search.results.reading import has_test, require_finished, with_files_as_they_are
from search.system.option_checks import UNITS, read_size

DEFAULT_FORMAT = "litert-int8-full"  # of --format
QUANTITIES = ("bytes", "ms", "parameters", "multiply_adds")
CONDITION = re.compile(r"\s*([^<>=\s]*)\s*(<=|<)\s*([^<>=]*?)\s*")
THOUSANDS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}  # behind a number of parameters or multiply-adds
FIGURES = 3  # that a limit which a message suggests has
Measured = dict[str, float]  # by quantity, those that are known


@dataclass(frozen=True)
class Condition:
    """What a network must keep to."""

    quantity: str  # one of QUANTITIES
    sign: str  # < or <=
    limit: float
    text: str  # as it was given

    def holds(self, measured: Measured) -> bool:
        """Whether a network keeps to it; what is not known keeps to nothing."""
        compare: Callable[[float, float], bool] = operator.lt if self.sign == "<" else operator.le
        return self.quantity in measured and compare(measured[self.quantity], self.limit)

    def excess(self, measured: Measured) -> float:
        """Return how many times its limit a network has."""
        return measured[self.quantity] / self.limit


@dataclass(frozen=True)
class Choice:
    """The network that was picked, and from how many."""

    point: FrontPoint
    n_fitting: int  # networks that keep to all conditions
    n_points: int  # of the front


def read_conditions(text: str) -> tuple[Condition, ...]:
    """Read conditions such as `bytes<96kB, ms<=2, parameters<50k`.

    Raises:
        UserError: One of them cannot be read.
    """
    return tuple(_read_condition(part) for part in text.split(","))


def _read_condition(text: str) -> Condition:
    found = CONDITION.fullmatch(text)
    if found is None:
        raise UserError(
            f"--pick must be conditions with < or <= joined by commas, but got {text.strip()!r}; write them as in "
            '"bytes<96kB, ms<2"'
        )
    quantity, sign, limit = found.groups()
    if quantity not in QUANTITIES:
        raise UserError(
            f"--pick must limit {', '.join(QUANTITIES)}, but got {quantity!r}{did_you_mean(quantity, QUANTITIES)}"
        )
    return Condition(quantity, sign, _read_limit(quantity, limit), text.strip())


def _read_limit(quantity: str, text: str) -> float:
    """Read the number behind a condition's sign. Raises UserError where it is none, or not positive."""
    if quantity == "bytes":
        try:
            limit: float = read_size(text)
        except UserError:
            limit = 0
        requirement, such = f"a number of bytes or a size in {', '.join(UNITS)}", "96kB"
    else:
        number = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([kMG]?)", text)
        has_unit = number is not None and number[2] != ""
        limit = float(number[1]) * THOUSANDS[number[2]] if number is not None else 0
        requirement, such = "a number, with k, M or G for thousands and more", "50k"
        if quantity == "ms":
            requirement, such = "a number of milliseconds", "2"
            limit = 0 if has_unit else limit
    if limit <= 0:
        raise UserError(
            f"--pick must limit {quantity} to {requirement}, above 0, but got {text!r}; pass one such as {such}"
        )
    return limit


def read_front_of(files: StudyFiles) -> tuple[FrontPoint, ...]:
    """Read the networks of a study's front from its folder alone, without its trials' storage.

    Raises:
        UserError: The study has not come to its end, has no front or no test images, or a file of it is lost.
    """
    require_finished(files)
    name = files.root.name
    if not files.read_front():
        raise UserError(
            f"--pick needs networks of several sizes, but {name} was made without --front and delivers one; search for "
            "them in a new study: python -m search.run --front --study NAME"
        )
    if not has_test(files):
        raise UserError(
            f"--pick needs networks that were scored on test images, but {name} was made without; copy one yourself "
            f"from {shown_path(files.front)}, a folder for each"
        )
    arrays, metric = files.read_test_arrays(), files.read_plain(files.config).get("metric", "accuracy")
    winner = files.read_refit_records()[0].trial
    front = read_front(files, metric, arrays.labels, arrays.front_probabilities, winner)
    return tuple(with_files_as_they_are(files, point) for point in front)


def measured(point: FrontPoint, format_name: str) -> Measured:
    """Return what is known of a network and of its file in a format, by quantity."""
    known: Measured = {
        "parameters": float(point.record.n_parameters),
        "multiply_adds": float(point.record.multiply_adds),
    }
    record = point.exported(format_name)
    if record is not None and record.n_bytes is not None:
        known["bytes"] = float(record.n_bytes)
    if record is not None and record.milliseconds_by_1 is not None:
        known["ms"] = record.milliseconds_by_1
    return known


def pick(points: Sequence[FrontPoint], conditions: Sequence[Condition], format_name: str, study: str) -> Choice:
    """Pick the network that is best on the confirmation split of those that keep to all conditions.

    Of equally good ones it is the cheapest. The test accuracy plays no part, so that it stays a fair figure.

    Args:
        points: The front, the cheapest network first.
        conditions: What it must keep to.
        format_name: Format of the file that bytes and ms are of.
        study: The study's name, for the message.

    Raises:
        UserError: No network keeps to all, or none has a file in the format.
    """
    there = exported_formats(points)
    if format_name not in there and any(condition.quantity in ("bytes", "ms") for condition in conditions):
        raise UserError(
            f"--format must be one that {study} has files in, {', '.join(there) or 'of which there are none'}, but got "
            f"{format_name}; choose one of these, or limit parameters or multiply_adds alone"
        )
    fitting = []
    for point in points:
        if all(condition.holds(measured(point, format_name)) for condition in conditions):
            fitting.append(point)
    if not fitting:
        raise _nothing_fits(points, conditions, format_name, study)
    return Choice(max(fitting, key=score_of_point), len(fitting), len(points))


def _nothing_fits(
    points: Sequence[FrontPoint], conditions: Sequence[Condition], format_name: str, study: str
) -> UserError:
    """Say which network is nearest to the conditions, and which ones it would keep to."""

    def furthest(point: FrontPoint) -> float:
        return max(condition.excess(measured(point, format_name)) for condition in conditions)

    has_all = [it for it in points if all(limit.quantity in measured(it, format_name) for limit in conditions)]
    nearest = min(has_all, key=furthest)
    known, has, enough = measured(nearest, format_name), [], []
    for condition in conditions:
        value = known[condition.quantity]
        has.append(in_words(condition.quantity, value))
        keeps = condition.holds(known)
        enough.append(condition.text if keeps else f"{condition.quantity}<={rounded_up(value)}")
    asked = ", ".join(condition.text for condition in conditions)
    return UserError(
        f"--pick needs a network of {study} that keeps to {asked}, but there is none: the nearest, {nearest.name}, has "
        f'{", ".join(has)} ({find_format(format_name).description}); allow as much, --pick "{", ".join(enough)}", or '
        "search a space with smaller networks"
    )


def rounded_up(value: float) -> str:
    """Write a number in three figures, never below it: `0.0513`, `12400`."""
    digits = FIGURES - 1 - math.floor(math.log10(value))
    return f"{math.ceil(value * 10**digits - 1e-9) / 10**digits:.{max(0, digits)}f}"


def in_words(quantity: str, value: float) -> str:
    """Write what a network has of a quantity: `23.4 kB`, `0.05 ms`, `48.2 k parameters`."""
    if quantity == "bytes":
        return file_size(round(value))
    if quantity == "ms":
        return milliseconds(value)
    return f"{short_count(round(value))} {quantity.replace('_', '-')}"


def delivered_files(files: StudyFiles, point: FrontPoint) -> list[tuple[Path, str]]:
    """Return where each delivered file of a network is read, and its name; each is as it was written.

    Raises:
        UserError: One is lost or damaged, and nothing is left to restore it from.
    """
    of_point = files.of_point(point.name)
    paths = [of_point.model, of_point.best_recipe]
    for record in point.exports:
        if record.failure is None:
            paths += [of_point.exports / record.file, of_point.export_record(record.format, of_point.model.name)]
    return [(files.checksums.intact(path), path.name) for path in paths]


def require_empty(folder: Path) -> None:
    """Raise UserError where something is in a folder that files are to be copied to."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if os.path.lexists(folder):
        raise UserError(
            f"--to must be a new or an empty folder, but {shown_path(folder)} is there already; name another with --to"
        )


def copy_files(sources: Sequence[tuple[Path, str]], folder: Path) -> None:
    """Copy files into a folder, which is made, each under its name. Raises UserError where that cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source, name in sources:
            if source.is_dir():
                shutil.copytree(source, folder / name)
                continue
            with atomic_write(folder / name) as temporary:
                shutil.copyfile(source, temporary)
    except OSError as error:  # a full disk too: the study is as it was, and another folder may have room
        raise UserError(
            f"--to must be a folder that can be written, but {shown_path(folder)} cannot: {error.strerror}; name "
            "another with --to"
        ) from None


def description(files: StudyFiles, choice: Choice, conditions: Sequence[Condition], format_name: str) -> list[str]:
    """Say what was picked, in lines: its name, its size and speed, and its accuracies."""
    point, metric = choice.point, files.read_plain(files.config).get("metric", "accuracy")
    asked = ", ".join(condition.text for condition in conditions)
    best = "the most accurate" if metric == "accuracy" else f"the best by {METRIC_WORDS[metric]}"
    networks = with_noun(choice.n_points, "network")
    fitting = f"{choice.n_fitting} of {networks} {'fits' if choice.n_fitting == 1 else 'fit'} {asked}"
    lines = [
        f"picked: {point.name} of {files.root.name}: {fitting}, and it is {best} of them on the confirmation split",
        f"network: {short_form(point.recipe)}; {count(point.record.n_parameters)} parameters, "
        f"{count(point.record.multiply_adds)} multiply-adds an image",
    ]
    confirmed = f"{percent(point.confirm_accuracy)} on the confirmation split"
    if metric != "accuracy":
        confirmed = f"{METRIC_WORDS[metric]} {in_metric(metric, score_of_point(point))}, accuracy {confirmed}"
    lines.append(
        f"accuracy: {confirmed}, {percent(point.test_accuracy)} on the test images, 95 % interval "
        f"{percent_range(point.test_interval)} (for all {networks} together)"
    )
    record = point.exported(format_name)
    if record is not None and record.n_bytes is not None and record.milliseconds_by_1 is not None:
        lines.append(
            f"{record.file}: {file_size(record.n_bytes)}, {milliseconds(record.milliseconds_by_1)} for an image alone "
            f"on {with_noun(record.n_threads, 'thread')}, accuracy {percent(record.accuracy)} on the test images"
        )
    return lines


def pick_and_copy(files: StudyFiles, text: str, format_name: str, to: Path | None) -> list[str]:
    """Copy the network of a study's front that fits the conditions, and return what to tell of it, in lines.

    Args:
        files: Of the study.
        text: The conditions, as `read_conditions` takes them.
        format_name: Format of the file that bytes and ms are of.
        to: The folder that its files are copied to; None for STUDY-POINT in the current one.

    Raises:
        UserError: The study has no front, nothing fits, a file is lost, or the folder cannot be written.
    """
    conditions = read_conditions(text)
    choice = pick(read_front_of(files), conditions, format_name, files.root.name)
    folder = to if to is not None else Path(f"{files.root.name}-{choice.point.name}")
    require_empty(folder)
    copy_files(delivered_files(files, choice.point), folder)
    left_out = [f"left out: {record.file}: {record.failure}" for record in choice.point.exports if record.failure]
    told = description(files, choice, conditions, format_name)
    return [*told, *left_out, f"copied to: {shown_path(folder.absolute())}"]


def known_format(name: str) -> str:
    """Return the name of a format. Raises UserError where there is none of this name."""
    names = [format.name for format in FORMATS]
    if name not in names:
        raise UserError(f"--format must be one of {', '.join(names)}, but got {name!r}{did_you_mean(name, names)}")
    return name
