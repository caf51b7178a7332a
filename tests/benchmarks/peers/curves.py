"""Anytime curves: the best validation accuracy so far, by wall seconds since a contender's start. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CurvePoint:
    """One validation, somewhere in a contender's run."""

    seconds: float  # since the contender's process was started
    validation_accuracy: float  # on the selection split


Curve = tuple[CurvePoint, ...]  # as `improvements` gives it: both figures rise


@dataclass(frozen=True)
class HistoryMark:
    """A point of a stored training history."""

    n_images: int
    seconds: float  # since the start of the training, or of the trial
    validation_accuracy: float


def improvements(points: Iterable[CurvePoint]) -> Curve:
    """The points that were better than all before them, by time. Points may come in any order, from many trainings."""
    curve: list[CurvePoint] = []
    for point in sorted(points, key=lambda point: (point.seconds, -point.validation_accuracy)):
        if not curve or point.validation_accuracy > curve[-1].validation_accuracy:
            curve.append(point)
    return tuple(curve)


def accuracy_at(curve: Curve, seconds: float) -> float | None:
    """The best accuracy up to then, None before the first validation."""
    return max((point.validation_accuracy for point in curve if point.seconds <= seconds), default=None)


def seconds_to_reach(curve: Curve, accuracy: float) -> float | None:
    """When the curve first had at least this accuracy, None if never."""
    return min((point.seconds for point in curve if point.validation_accuracy >= accuracy), default=None)


def points_ending_at(history: Sequence[HistoryMark], ended: float) -> list[CurvePoint]:
    """Place a training's history on the clock, given when it ended: the last mark is made at its very end.

    Where the history holds several trainings one after the other, each counting its seconds from 0, an earlier one ends
    where the next begins.
    """
    points: list[CurvePoint] = []
    for training in reversed(_trainings(history)):
        began = ended - training[-1].seconds
        points += [CurvePoint(began + mark.seconds, mark.validation_accuracy) for mark in training]
        ended = began
    return sorted(points, key=lambda point: point.seconds)


def trial_points(
    history: Sequence[HistoryMark],
    reports: Mapping[int, float],
    n_images: int,
    started: float,
    ended: float,
) -> list[CurvePoint]:
    """All validations of one trial. Rungs that its history leaves out are filled in from the reports to the pruner.

    reports: best accuracy so far by training images, those of earlier rungs counted. n_images: of the whole trial. The
    reports bear no time; a training's images per second hardly vary, so they are laid evenly over what is left.
    """
    placed = points_ending_at(history, ended)
    n_images_before = n_images - sum(training[-1].n_images for training in _trainings(history))
    if n_images_before <= 0:
        return placed
    seconds_before = (placed[0].seconds - history[0].seconds if placed else ended) - started
    earlier = [
        CurvePoint(started + seconds_before * step / n_images_before, accuracy)
        for step, accuracy in reports.items()
        if step <= n_images_before
    ]
    return sorted([*earlier, *placed], key=lambda point: point.seconds)


def _trainings(history: Sequence[HistoryMark]) -> list[list[HistoryMark]]:
    """The history, cut wherever the clock or the images start again."""
    trainings: list[list[HistoryMark]] = []
    for mark in history:
        last = trainings[-1][-1] if trainings else None
        if last and mark.seconds >= last.seconds and mark.n_images >= last.n_images:
            trainings[-1].append(mark)
        else:
            trainings.append([mark])
    return trainings
