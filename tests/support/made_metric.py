"""Studies that were decided by another metric than accuracy, as far as reports are made from their records."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from fmnist.scoring import Metric, score_of
from fmnist.training.history import HistoryPoint
from search.records.files import StudyFiles
from search.records.io import write_json, write_text
from search.records.models import TrialRecord
from tests.support.made_study import make_study
from tests.support.made_trials import Made

BIRDS = Made(with_students=True, n_seeds=2, is_uneven=True, dataset="birds")


def decided_by(metric: Metric, folder: Path, made: Made = BIRDS) -> tuple[StudyFiles, list[TrialRecord]]:
    """A made study, its records as if this metric had decided."""
    files, trials = make_study(folder, made)
    config = json.loads(files.config.read_text())
    write_text(files.config, json.dumps(config | {"metric": metric, "class_weights": "balanced"}))
    scored_trials = [with_scores(trial, metric) for trial in trials]
    values = {trial.number: trial.value for trial in scored_trials}
    for record in files.read_confirm_records():
        score = confirmed(files.confirm_arrays(record.trial), files, metric)
        scores = {"search_score": values[record.trial], "confirm_score": score}
        write_json(files.confirm_record(record.trial), dataclasses.replace(record, **scores))
    for student in files.read_student_records():
        score = confirmed(files.student_arrays(student.seed_index), files, metric)
        for path in (files.student_record(student.seed_index), files.refit_record(student.seed_index)):
            write_json(path, dataclasses.replace(student, confirm_score=score))
    return files, scored_trials


def confirmed(arrays: Path, files: StudyFiles, metric: Metric) -> float:
    found = files.read_arrays(arrays)
    return score_of(metric, found["labels"].astype(int), found["probabilities"])


def with_scores(trial: TrialRecord, metric: Metric) -> TrialRecord:
    """Half of the accuracy stands in for the score, and for a log loss what is missing to 1."""

    def score(accuracy: float) -> float:
        return accuracy - 1 if metric == "log_loss" else accuracy / 2

    def scored(point: HistoryPoint) -> HistoryPoint:
        if point.validation_accuracy is None:
            return point
        return dataclasses.replace(point, validation_score=score(point.validation_accuracy))

    return dataclasses.replace(
        trial,
        value=None if trial.value is None else score(trial.value),
        history=tuple(map(scored, trial.history)),
        best=None if trial.best is None else scored(trial.best),
    )
