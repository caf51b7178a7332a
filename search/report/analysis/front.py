"""What does a picture of the front show? The accuracy of every network against a cost, by cost and format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fmnist.export.formats import FORMATS, find_format
from fmnist.metrics.intervals import Interval, wilson_95
from fmnist.recipe import short_form
from search.format import file_size, milliseconds, short_count
from search.report.analysis.evidence import BaselineScore
from search.results.front import FrontPoint
from search.results.members import averaged_in_words
from search.results.result import FinishedStudy

ROOM = 0.07  # above and below what a picture shows, in spans
LEAST_SPAN = 0.01  # of an axis of accuracies, so that equal networks have one too
REACH_FOR_BASELINE = 0.6  # spans below the networks up to which a picture reaches down to the best baseline


@dataclass(frozen=True)
class Cost:
    """What a network costs whoever runs it."""

    name: str  # as --pick and the page's switch know it
    title: str  # of the switch
    axis: str  # of the axis
    is_of_file: bool  # whether it depends on the format


COSTS = (
    Cost("multiply_adds", "multiply-adds", "multiply-adds an image", is_of_file=False),
    Cost("parameters", "parameters", "parameters", is_of_file=False),
    Cost("bytes", "bytes", "size of the file", is_of_file=True),
    Cost("ms", "milliseconds", "ms for an image alone", is_of_file=True),
)


@dataclass(frozen=True)
class PlottedNetwork:
    """A network, or what it is compared with, at its place in a picture."""

    name: str
    kind: str  # one of KINDS
    cost: float
    accuracy: float  # on the test images, of the network or of the file in the picture's format
    interval: Interval | None  # of the accuracy; those of the front's networks hold together. None: drawn without one
    about: str  # its network in short form, or what it is


KINDS = {  # of a PlottedNetwork -> its entry in the legend
    "best": "best.keras, the study's single winner",
    "point": "a network of the front",
    "dominated": "dominated on the confirmation split",
    "ensemble": "the ensemble",
    "baseline": "a baseline",
}


@dataclass(frozen=True)
class FrontView:
    """One picture of the front: accuracy on the test images against one cost."""

    cost: Cost
    format: str | None  # whose files it shows; None: the networks themselves
    networks: tuple[PlottedNetwork, ...]  # the cheapest first
    best_baseline: tuple[str, float] | None  # name and test accuracy of the best baseline, a line across the picture
    trials: tuple[tuple[float, float], ...]  # cost and selection accuracy of the search's complete trials that it shows
    n_trials_outside: int  # complete trials whose accuracy is below or above what it shows
    low: float  # ends of the axis of accuracies
    high: float

    @property
    def axis(self) -> str:
        """What the horizontal axis shows, such as "size of the file (ONNX)"."""
        return self.cost.axis if self.format is None else f"{self.cost.axis} ({find_format(self.format).description})"

    @property
    def key(self) -> str:
        """What tells it from the other views, such as "bytes onnx"."""
        return self.cost.name if self.format is None else f"{self.cost.name} {self.format}"


def exported_formats(points: Sequence[FrontPoint]) -> list[str]:
    """Return the formats that at least one network of the front has a file in, as FORMATS has them."""
    there = {record.format for point in points for record in point.exports if record.failure is None}
    return [format.name for format in FORMATS if format.name in there]


def front_views(study: FinishedStudy, baselines: Sequence[BaselineScore]) -> list[FrontView]:
    """Gather what the pictures of a study's front show, that against multiply-adds first.

    Args:
        study: One with a front.
        baselines: Scores of its baselines, the best first.
    """
    views: list[FrontView] = []
    for cost in COSTS:
        formats: list[str | None] = list(exported_formats(study.front)) if cost.is_of_file else [None]
        views += [_view(study, baselines, cost, format) for format in formats]
    return views


def _view(study: FinishedStudy, baselines: Sequence[BaselineScore], cost: Cost, format: str | None) -> FrontView:
    of_front = [network for network in (_plotted(study, point, cost, format) for point in study.front) if network]
    ensemble = _ensemble(study, cost, format)
    others = [] if ensemble is None else [ensemble]
    low, high = _reach(of_front, others)
    span = max(high - low, LEAST_SPAN)
    best_baseline = None
    if baselines and baselines[0].rival.accuracy >= low - REACH_FOR_BASELINE * span:
        best_baseline = baselines[0].record.name, baselines[0].rival.accuracy
        low, high = min(low, best_baseline[1]), max(high, best_baseline[1])
    low, high = low - ROOM * span, high + ROOM * span
    if cost.name == "parameters":
        others += [network for network in _networks_among(baselines) if low <= network.accuracy <= high]
    trials = _complete_trials(study, cost)
    return FrontView(
        cost=cost,
        format=format,
        networks=tuple(sorted([*of_front, *others], key=lambda network: network.cost)),
        best_baseline=best_baseline,
        trials=tuple(trial for trial in trials if low <= trial[1] <= high),
        n_trials_outside=sum(not low <= accuracy <= high for _, accuracy in trials),
        low=low,
        high=high,
    )


def _reach(of_front: Sequence[PlottedNetwork], others: Sequence[PlottedNetwork]) -> tuple[float, float]:
    """Return the lowest and the highest accuracy that a picture has to show, ends of intervals included."""
    shown = [network.accuracy for network in (*of_front, *others)]
    for network in of_front:
        if network.interval is not None:
            shown += [network.interval.low, network.interval.high]
    return min(shown), max(shown)


def _plotted(study: FinishedStudy, point: FrontPoint, cost: Cost, format: str | None) -> PlottedNetwork | None:
    """Place a network of the front; None where it has no file in the format."""
    kind = "best" if point.is_best else "dominated" if point.is_dominated else "point"
    accuracy, interval = point.test_accuracy, point.test_interval
    if format is None:
        value: float | None = point.record.multiply_adds
        if cost.name == "parameters":
            value = point.record.n_parameters
    else:
        record = point.exported(format)
        if record is None or record.accuracy is None:
            return None
        accuracy = record.accuracy
        interval = wilson_95(round(accuracy * record.n_images), record.n_images, len(study.front))
        value = record.n_bytes if cost.name == "bytes" else record.milliseconds_by_1
    if value is None:
        return None
    return PlottedNetwork(point.name, kind, value, accuracy, interval, short_form(point.recipe))


def _ensemble(study: FinishedStudy, cost: Cost, format: str | None) -> PlottedNetwork | None:
    """Place the ensemble; None where the study has none, or none in the format."""
    record, accuracy = study.ensemble, study.ensemble_accuracy
    if record is None or accuracy is None:
        return None
    value: float | None = record.n_parameters if cost.name == "parameters" else record.multiply_adds
    if format is not None:
        files = [it for it in study.exported if it.format == format and it.model == study.files.ensemble.name]
        if not files or files[0].accuracy is None:
            return None
        accuracy = files[0].accuracy
        value = files[0].n_bytes if cost.name == "bytes" else files[0].milliseconds_by_1
    if value is None:
        return None
    about = f"the average of {averaged_in_words(record)}"
    return PlottedNetwork("ensemble", "ensemble", value, accuracy, None, about)


def _networks_among(baselines: Sequence[BaselineScore]) -> list[PlottedNetwork]:
    """Place the baselines whose parameters were counted: the networks."""
    found = []
    for score in baselines:
        record = score.record
        if record.n_parameters is not None:
            accuracy = score.rival.accuracy
            found.append(
                PlottedNetwork(record.name, "baseline", record.n_parameters, accuracy, None, record.description)
            )
    return found


def _complete_trials(study: FinishedStudy, cost: Cost) -> list[tuple[float, float]]:
    """Return cost and selection accuracy of the trials that were trained to the end; none where files are compared."""
    found = []
    for trial in study.trials:
        value = trial.multiply_adds if cost.name == "multiply_adds" else trial.n_parameters
        accuracy = trial.value
        if study.metric != "accuracy":
            accuracy = None if trial.best is None else trial.best.validation_accuracy
        if trial.state == "complete" and value and accuracy is not None:
            found.append((float(value), accuracy))
    return [] if cost.is_of_file else found


def shown_cost(cost: Cost, value: float) -> str:
    """Write a cost with its unit: `1.21 M multiply-adds`, `48.2 k parameters`, `23.4 kB`, `0.05 ms`."""
    if cost.name == "bytes":
        return file_size(round(value))
    if cost.name == "ms":
        return milliseconds(value)
    return f"{short_count(round(value))} {cost.title}"
