"""Outcomes -> rows -> benchmark.json and benchmark.md. Pure: no Keras, nothing read."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fmnist.metrics.intervals import wilson_95
from tests.benchmarks.peers.curves import accuracy_at, seconds_to_reach
from tests.benchmarks.peers.records import TITLES, Outcome

REFERENCE = "optuna"  # the contender whose accuracy the others are timed to
REFERENCE_SHARE = 0.75  # of all seconds, at which that accuracy is taken
NOTHING = "-"  # in a cell


@dataclass(frozen=True)
class Figure:
    """One number over the seeds that have it."""

    mean: float
    sd: float | None  # of the sample; None for one seed
    n: int  # seeds that have the number


@dataclass(frozen=True)
class Row:
    """One contender, over its seeds. None: no seed has the number."""

    contender: str
    n_seeds: int
    trials: Figure | None
    images: Figure | None  # training images, over all trainings
    seconds: Figure | None  # wall time until it was done
    accuracy_at_quarter: Figure | None  # best validation accuracy after a quarter of the time
    accuracy_at_half: Figure | None
    accuracy_at_end: Figure | None
    seconds_to_reference: Figure | None  # until it had the accuracy that the reference had at REFERENCE_SHARE
    test_accuracy: Figure | None  # of the delivered models
    test_wilson_95: tuple[float, float] | None  # of the mean, at the number of images of one test set
    ensemble_accuracy: Figure | None = None  # of the test images, by the delivered ensembles


def make_rows(outcomes: Sequence[Outcome], seconds: float) -> list[Row]:
    """A row for each contender, in the order of TITLES. seconds: what each was given."""
    targets = {o.seed: accuracy_at(o.curve, REFERENCE_SHARE * seconds) for o in outcomes if o.contender == REFERENCE}
    named = [(name, [outcome for outcome in outcomes if outcome.contender == name]) for name in TITLES]
    return [_row(name, group, seconds, targets) for name, group in named if group]


def _row(name: str, group: Sequence[Outcome], seconds: float, targets: dict[int, float | None]) -> Row:
    def over_seeds(number: Callable[[Outcome], float | None]) -> Figure | None:
        return summarise(number(outcome) for outcome in group)

    def to_target(outcome: Outcome) -> float | None:
        target = targets.get(outcome.seed)
        reached = None if target is None else seconds_to_reach(outcome.curve, target)
        return None if reached is None or reached > seconds else reached

    test_accuracy = over_seeds(lambda o: None if o.n_correct is None else o.n_correct / o.n_test_images)
    return Row(
        contender=name,
        n_seeds=len(group),
        trials=over_seeds(lambda o: o.n_trials),
        images=over_seeds(lambda o: o.n_images),
        seconds=over_seeds(lambda o: o.seconds),
        accuracy_at_quarter=over_seeds(lambda o: accuracy_at(o.curve, seconds / 4)),
        accuracy_at_half=over_seeds(lambda o: accuracy_at(o.curve, seconds / 2)),
        accuracy_at_end=over_seeds(lambda o: accuracy_at(o.curve, seconds)),
        seconds_to_reference=over_seeds(to_target),
        test_accuracy=test_accuracy,
        test_wilson_95=_wilson(test_accuracy, group[0].n_test_images) if test_accuracy else None,
        ensemble_accuracy=over_seeds(
            lambda o: None if o.n_correct_of_ensemble is None else o.n_correct_of_ensemble / o.n_test_images
        ),
    )


def summarise(numbers: Iterable[float | None]) -> Figure | None:
    """Mean and spread of the numbers that are there."""
    present = [number for number in numbers if number is not None]
    if not present:
        return None
    sd = statistics.stdev(present) if len(present) > 1 else None
    return Figure(statistics.fmean(present), sd, len(present))


def _wilson(accuracy: Figure, n_images: int) -> tuple[float, float]:
    interval = wilson_95(round(accuracy.mean * n_images), n_images)
    return interval.low, interval.high


def make_markdown(rows: Sequence[Row], seconds: float, surroundings: dict[str, Any]) -> str:
    """The whole of benchmark.md."""
    n_seeds = max(row.n_seeds for row in rows)
    lines = [
        "# Benchmark: equal wall time on one machine",
        "",
        f"{_in_minutes(seconds)} each, {_counted(n_seeds, 'seed')}, {_where(surroundings)}.",
        "",
        "![Best validation accuracy so far, by seconds](benchmark.png)",
        "",
        *_table(rows, seconds),
        "",
        *_notes(seconds, n_seeds),
    ]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row], seconds: float) -> list[str]:
    heads = [
        "contender",
        "trials",
        "images (M)",
        *(f"val. % at {seconds * share:g} s" for share in (0.25, 0.5, 1)),
        f"seconds to optuna's val. % at {REFERENCE_SHARE * seconds:g} s",
        "test %",
        "95 % interval",
        "ensemble, test %",
        "seconds in all",
    ]
    rules = ["---", *["---:"] * (len(heads) - 1)]
    return [_line(heads), _line(rules), *(_line(_cells(row, seconds)) for row in rows)]


def _cells(row: Row, seconds: float) -> list[str]:
    return [
        TITLES[row.contender],
        _shown(row.trials, 1, 0),
        _shown(row.images, 1e-6, 1),
        *(_shown(f, 100, 2) for f in (row.accuracy_at_quarter, row.accuracy_at_half, row.accuracy_at_end)),
        _to_reference(row, REFERENCE_SHARE * seconds),
        _shown(row.test_accuracy, 100, 2),
        NOTHING if row.test_wilson_95 is None else "{:.2f} to {:.2f}".format(*(100 * e for e in row.test_wilson_95)),
        _shown(row.ensemble_accuracy, 100, 2),
        _shown(row.seconds, 1, 0),
    ]


def _to_reference(row: Row, reference_seconds: float) -> str:
    """With the share of the reference's time, and how many seeds got there if not all did."""
    figure = row.seconds_to_reference
    if figure is None:
        return NOTHING
    reached = "" if figure.n == row.n_seeds else f", {figure.n} of {row.n_seeds} seeds"
    return f"{_shown(figure, 1, 0)} ({figure.mean / reference_seconds:.0%}{reached})"


def _shown(figure: Figure | None, factor: float, n_decimals: int) -> str:
    if figure is None:
        return NOTHING
    mean = f"{factor * figure.mean:,.{n_decimals}f}"
    return mean if figure.sd is None else f"{mean} ± {factor * figure.sd:,.{n_decimals}f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _notes(seconds: float, n_seeds: int) -> list[str]:
    notes = [
        "Each contender ran alone, after the one before it, in fresh processes with all cores; its clock starts with "
        "its process, so imports and reading the images count.",
        "Validation accuracy is the best so far on the same 5,000 images (the selection split of the seed): every "
        "contender chooses by it, so it is optimistic, and more so the more trials it had.",
        "`ours` trains on 50,000 images while it searches, keeps 5,000 to confirm its finalists on, and retrains the "
        "winner on all 60,000. The others train on 55,000 and deliver the model that was best on validation.",
        "`ours` keeps time back for that confirmation and retraining: its curve is of trials first, then of finalists; "
        "the retraining, which is not validated, ends it.",
        "`optuna`, `keras-tuner` and `ours, small space` search one convolution a block and one dense layer; the "
        "others the space that ships with the tool. `default` is that space's first configuration, without any search.",
        f"Seconds to optuna's accuracy: until the same seed's accuracy of `optuna` at {REFERENCE_SHARE * seconds:g} s "
        f"was reached, with the share of {REFERENCE_SHARE * seconds:g} s in brackets; {NOTHING} where it never was.",
        "The delivered models were scored on the 10,000 test images after every training had ended. The interval is "
        "Wilson's, of the mean, at that many images.",
    ]
    if n_seeds > 1:
        notes.append(f"Figures are means ± standard deviations over {n_seeds} seeds.")
    return [f"- {note}" for note in notes]


def _where(surroundings: dict[str, Any]) -> str:
    machine, versions = surroundings["machine"], surroundings["versions"]
    gpu = " and a GPU" if machine["gpu"] else ""
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return f"{_counted(machine['cores'], 'core')}{gpu} ({machine['processor']}); {named}"


def _in_minutes(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} seconds"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
