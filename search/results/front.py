"""What did a study with --front deliver? Its networks of every size, each with its files and figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmnist.export.formats import ExportRecord
from fmnist.metrics.intervals import Interval, wilson_95
from fmnist.recipe import Recipe
from fmnist.scoring import Metric, score_of
from search.records.files import StudyFiles
from search.records.models import BestRecipe, FrontPointRecord, RefitRecord
from search.study.domination import fronts


@dataclass(frozen=True, eq=False, repr=False)  # of a whole recipe and all files
class FrontPoint:
    """A network of the front, as it is delivered.

    Everything but the test figures was known before the test set was opened, which is once, for all networks.
    """

    record: FrontPointRecord  # its name, size and cost
    recipe: Recipe
    training: RefitRecord  # what is delivered: a student, or the finalist's own training
    model: Path  # front/NAME/NAME.keras
    confirm_accuracy: float  # on the confirmation split
    is_dominated: bool  # whether another one that takes no more multiply-adds scores as much there, by the metric
    is_best: bool  # whether best.keras is a copy of it: the best on the confirmation split
    test_accuracy: float
    test_interval: Interval  # Wilson; those of all networks of the front hold together with 95 % confidence
    test_score: float  # by the study's metric, larger is better
    exports: tuple[ExportRecord, ...]  # its files in other formats, failed ones among them

    @property
    def name(self) -> str:
        """The name of its folder and its files."""
        return self.record.name

    @property
    def is_taught(self) -> bool:
        """Whether it learned from the finalists, too."""
        return bool(self.training.teachers)

    @property
    def n_bytes(self) -> int:
        """Size of the model's file."""
        return self.model.stat().st_size

    def __repr__(self) -> str:
        size = f"{self.record.n_parameters:,} weights and {self.record.multiply_adds:,} multiply-adds"
        return f"<network {self.name}: {self.test_accuracy:.2%} of the test images, {size}, in {self.model.parent}>"

    def exported(self, format_name: str) -> ExportRecord | None:
        """Return the record of its file in a format; None where there is no such file."""
        for record in self.exports:
            if record.format == format_name and record.failure is None:
                return record
        return None


def read_front(
    files: StudyFiles, metric: Metric, labels: np.ndarray, probabilities: np.ndarray | None, winner: int
) -> tuple[FrontPoint, ...]:
    """Read the front of a finished study, the cheapest network first; empty where it has none.

    Args:
        files: Of the study.
        metric: The study's.
        labels: int (n,), of the test images.
        probabilities: float32 (n_points, n, n_classes), what the networks predict of them; None without a front.
        winner: Number of the trial whose recipe best.keras has.
    """
    records = files.read_front()
    if probabilities is None or not records:
        return ()
    trainings, scores = [], []
    for record in records:
        training = files.of_point(record.name).read_refit_records()
        trainings.append(training[0])
        assert training[0].score is not None, "a front is younger than trainings without a score"
        scores.append(training[0].score)
    undominated = next(fronts(scores, [record.multiply_adds for record in records]))
    points = []
    for place, (record, training) in enumerate(zip(records, trainings, strict=True)):
        of_point = files.of_point(record.name)
        accuracy = score_of("accuracy", labels, probabilities[place])
        assert training.confirm_accuracy is not None
        points.append(
            FrontPoint(
                record=record,
                recipe=Recipe.from_dict(files.read_json(BestRecipe, of_point.best_recipe).recipe),
                training=training,
                model=files.checksums.intact(of_point.model),
                confirm_accuracy=training.confirm_accuracy,
                is_dominated=place not in undominated,
                is_best=record.trial == winner,
                test_accuracy=accuracy,
                test_interval=wilson_95(round(accuracy * len(labels)), len(labels), len(records)),
                test_score=score_of(metric, labels, probabilities[place]),
                exports=tuple(of_point.read_export_records()),
            )
        )
    return tuple(points)
