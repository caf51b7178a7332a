"""Reading a result from a study's files: is the study finished, and do its records speak of the same winner?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fmnist.errors import UserError
from fmnist.export.formats import ExportRecord
from fmnist.paths import shown_path
from search.records.files import StudyFiles
from search.records.models import (
    FINISHED_STATES,
    ConfirmRecord,
    DataRecord,
    EvaluationArrays,
    EvaluationRecord,
    TargetOutcome,
    TrialRecord,
)
from search.results.front import FrontPoint, read_front
from search.results.members import find_members
from search.results.result import FinishedStudy, StudyResult, TrainedStudy
from search.results.trainings import Trainings


def read_study(files: StudyFiles, trials: Iterable[TrialRecord]) -> StudyResult:
    """Read a study that is not finished on this machine. Of the trials those that have ended are kept."""
    return StudyResult(
        files=files,
        config=files.read_plain(files.config),
        trials=_finished_trials(trials),
        spaces=files.read_spaces(),
    )


def read_finished_study(
    files: StudyFiles,
    trials: Sequence[TrialRecord],
    *,
    command: str,
    importances: Mapping[str, float] | None,
) -> FinishedStudy:
    """Read all records of a finished study.

    Args:
        files: the study's folder.
        trials: the study's trials; those that have ended are kept.
        command: the command line that makes the study.
        importances: share of each parameter; None where they are not known.

    Raises:
        UserError: the study has not come to its end, or its files contradict each other.
    """
    require_finished(files)
    if not has_test(files):
        raise UserError(
            f"test figures need a study with test images, but {shown_path(files.root)} was made without; name one that "
            "was made with some"
        )
    trainings, arrays = _read_trainings(files, trials, command, importances), files.read_test_arrays()
    metric, winner = trainings["config"].get("metric", "accuracy"), trainings["refits"][0].trial
    test = files.read_json(EvaluationRecord, files.test)
    require_consistent_front(files, test, arrays)
    front = read_front(files, metric, arrays.labels, arrays.front_probabilities, winner)
    study = FinishedStudy(
        **trainings,
        test=test,
        arrays=arrays,
        front=tuple(with_files_as_they_are(files, point) for point in front),
        baselines=tuple(files.read_baselines()),
        exports=tuple(as_they_are(files, record) for record in files.read_export_records()),
        target=files.read_json(TargetOutcome, files.target_outcome) if files.has(files.target_outcome) else None,
    )
    require_consistent(study)
    return study


def read_trained_study(
    files: StudyFiles, trials: Sequence[TrialRecord], *, command: str, importances: Mapping[str, float] | None
) -> TrainedStudy:
    """Read all records of a study without test images; arguments and errors are those of `read_finished_study`."""
    require_finished(files)
    study = TrainedStudy(**_read_trainings(files, trials, command, importances))
    require_one_winner(study)
    if study.ensemble is not None:
        find_members(study, study.ensemble.members)
    return study


def has_test(files: StudyFiles) -> bool:
    """Whether a study that has read its images was made with test images."""
    return files.read_json(DataRecord, files.data).has_test


def _read_trainings(
    files: StudyFiles, trials: Sequence[TrialRecord], command: str, importances: Mapping[str, float] | None
) -> dict[str, Any]:
    """Read what studies with and without test images have in common, by the names of the fields."""
    ensemble, students = files.read_ensemble_record(), files.read_student_records()
    front_students = []
    for point in files.read_front():
        front_students += files.of_point(point.name).read_student_records()
    return {
        "files": files,
        "config": files.read_plain(files.config),
        "trials": _finished_trials(trials),
        "spaces": files.read_spaces(),
        "command": command,
        "importances": importances,
        "data": files.read_json(DataRecord, files.data),
        "samples": files.read_arrays(files.samples)["images"],
        "confirmed": finalists_among(files.read_confirm_records()),
        "refits": tuple(files.read_refit_records()),
        "seconds": files.read_ledger(),
        "worker_seconds": files.read_worker_seconds(),
        "environment": files.read_plain(files.environment),
        "model_bytes": files.checksums.intact(files.model).stat().st_size,
        "students": tuple(students),
        "front_students": tuple(record for record in front_students if record not in students),
        "ensemble": ensemble,
        "ensemble_bytes": None if ensemble is None else files.checksums.intact(files.ensemble).stat().st_size,
    }


def finalists_among(records: Sequence[ConfirmRecord]) -> tuple[ConfirmRecord, ...]:
    """Return the records of the finalists that the winner was chosen from, in their order.

    A study that a version before 0.7.0 began may have others: shorter trainings, which the finalists trained in full
    by the version that finished it were not compared with.
    """
    in_full = tuple(record for record in records if record.fit_on == "searched")
    return in_full or tuple(records)


def with_files_as_they_are(files: StudyFiles, point: FrontPoint) -> FrontPoint:
    """Return a network of the front whose files in other formats that were lost or changed since count as failed."""
    of_point = files.of_point(point.name)
    exports = [as_they_are(of_point, record, "the study's command") for record in point.exports]
    return replace(point, exports=tuple(exports))


def as_they_are(files: StudyFiles, record: ExportRecord, remedy: str | None = None) -> ExportRecord:
    """Return the record of an export; of one whose file is lost or changed since it was compared, as a failed one.

    Nobody has compared what is there now with the model.

    Args:
        files: With the folder of exports.
        record: Of the export.
        remedy: What makes the file anew; None for the option that does.
    """
    path = files.exports / record.file
    state = files.checksums.state(path)
    if record.failure is not None or state == "intact" or (state == "unrecorded" and path.exists()):
        return record
    what = "has changed" if state == "changed" else "has been removed"
    remedy = remedy or f"--export {record.format}"
    return replace(record, failure=f"the file {what} since it was compared with the model; {remedy} makes it anew")


def _finished_trials(trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    finished = [trial for trial in trials if trial.state in FINISHED_STATES]
    return tuple(sorted(finished, key=lambda trial: trial.number))


def require_finished(files: StudyFiles) -> None:
    """Raise UserError where a file is missing that a study has at its end."""
    needed = [files.data, files.samples, files.refit_record(0), files.test, files.test_arrays, files.model]
    if files.has(files.data) and not has_test(files):
        needed = [path for path in needed if path not in (files.test, files.test_arrays)]
    missing = [path for path in needed if not files.has(path)]
    if not missing:
        return
    remedy = "run the study on"
    made_by_any_run = {files.data, files.samples}
    if files.has(files.refit_model(0)):
        made_by_any_run.add(files.model)
    if (files.has(files.test) or files.has(files.test_arrays)) and not made_by_any_run.issuperset(missing):
        remedy = "restore what is lost, or start a new study with --study NAME: its test set is opened once"
    raise UserError(
        f"a report needs a study that has come to its end, but {shown_path(files.root)} has no "
        f"{', '.join(str(path.relative_to(files.root)) for path in missing)}; {remedy}"
    )


def require_one_winner(study: Trainings) -> None:
    """Raise UserError where the records speak of different winners, or of networks that there are not."""
    winner = study.refits[0].trial
    restore = "restore the study's files, or start a new one with --study NAME"
    if all(trial.number != winner for trial in study.trials):
        raise UserError(f"the retrained trial must be a finished trial of the study, but got {winner}; {restore}")
    if all(record.trial != winner for record in study.confirmed):
        raise UserError(f"the retrained trial must be a confirmed finalist, but got {winner}; {restore}")
    find_members(study, study.refits[0].teachers)


def require_consistent(study: FinishedStudy) -> None:
    """Raise UserError where the records speak of different winners or mistakes.

    Files may have been lost, or come from another study.
    """
    require_one_winner(study)
    restore = "restore the study's files, or start a new one with --study NAME"
    is_wrong = study.arrays.probabilities[0].argmax(axis=1) != study.arrays.labels
    if not np.array_equal(np.flatnonzero(is_wrong), np.sort(study.arrays.mistake_indices)):
        raise UserError(f"{shown_path(study.files.test_arrays)} holds other mistakes than its predictions; {restore}")
    require_consistent_ensemble(study)
    labels = study.arrays.labels
    for outcome in study.baselines:
        predicted = outcome.predicted
        if predicted is not None and predicted.shape != labels.shape:
            path = study.files.baseline_arrays(outcome.record.name)
            raise UserError(
                f"{shown_path(path)} must predict {len(labels):,} test images, but got {len(predicted):,}; {restore}"
            )


def require_consistent_front(files: StudyFiles, test: EvaluationRecord, arrays: EvaluationArrays) -> None:
    """Raise UserError where the predictions of the front are not those of its networks."""
    n_points, predictions = len(files.read_front()), arrays.front_probabilities
    n_predicted = 0 if predictions is None else len(predictions)
    is_same = n_points == n_predicted == len(test.front_accuracies)
    if predictions is not None:
        is_same = is_same and predictions.shape[1:] == arrays.probabilities[0].shape
    if not is_same:
        raise UserError(
            f"{shown_path(files.front_record)} has {n_points} networks, but {n_predicted} have predicted and "
            f"{len(test.front_accuracies)} were scored; restore the study's files, or start a new one with --study NAME"
        )


def require_consistent_ensemble(study: FinishedStudy) -> None:
    """Raise UserError where the records, the members and the predictions of the ensemble don't fit each other."""
    restore = "restore the study's files, or start a new one with --study NAME"
    record, arrays = study.files.ensemble_record, study.files.test_arrays
    predictions, scored = study.arrays.ensemble_probabilities, study.test.ensemble_accuracy
    if study.ensemble is None or predictions is None or scored is None:
        if study.ensemble is not None or predictions is not None or scored is not None:
            raise UserError(
                f"an ensemble must have its record, {shown_path(record)}, its predictions in {arrays.name} and its "
                f"accuracy in {study.files.test.name}, but some are missing; {restore}"
            )
        return
    is_same_shape = predictions.shape == study.arrays.probabilities[0].shape
    if not is_same_shape or not math.isclose(study.ensemble_accuracy or 0.0, scored, abs_tol=0.5 / len(predictions)):
        raise UserError(f"{shown_path(arrays)} holds other predictions of the ensemble than were scored; {restore}")
    find_members(study, study.ensemble.members)
