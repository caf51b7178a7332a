"""Charts of trials, drawn when they are looked at."""

from __future__ import annotations

import io

import optuna
import optuna_dashboard
import pytest
from optuna.artifacts import get_all_artifact_meta
from optuna.artifacts.exceptions import ArtifactNotFound
from PIL import Image

from search.dashboard import artifacts
from search.dashboard.artifacts import DrawnArtifacts
from search.dashboard.publish import DashboardPublisher
from search.records.files import StudyFiles
from search.study.objective import Outcome
from tests.support.outcomes import CLASS_NAMES, FAR, NEAR, RUNGS


def ended_trial(study: optuna.Study, files: StudyFiles, outcome: Outcome) -> optuna.trial.FrozenTrial:
    """A trial as the objective leaves it."""
    trial = study.ask()
    trial.set_user_attr("recipe", outcome.recipe.to_dict())
    DashboardPublisher(study, files, 5, RUNGS).store_trial(trial, outcome)
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    return study.trials[trial.number]


def test_trial_that_got_far_has_pictures_and_a_note(study: optuna.Study, files: StudyFiles) -> None:
    trial = ended_trial(study, files, FAR)
    found = get_all_artifact_meta(trial, storage=study._storage)
    assert {it.filename for it in found} == {"learning-curve.png", "confusion-matrix.png", "network.png"}
    store = DrawnArtifacts(files.artifacts, study._storage, CLASS_NAMES)
    files.artifacts.mkdir()
    for it in found:
        with store.open_reader(it.artifact_id) as drawn, store.open_reader(it.artifact_id) as kept:
            png = drawn.read()
            assert Image.open(io.BytesIO(png)).width > 400
            assert kept.read() == png
    note = note_of(study, trial.number)
    assert "pruned after 4,000 images; 75.00 % selection accuracy" in note
    assert "3 convolutions 3 x 3 of 32 filters, residual, dropout 0.1" in note
    assert "AdamW" in note


def note_of(study: optuna.Study, number: int) -> str:
    """As the dashboard itself reads it."""
    return optuna_dashboard.get_note(optuna.trial.Trial(study, study.trials[number]._trial_id))


def test_trial_that_ended_early_has_a_note_alone(study: optuna.Study, files: StudyFiles) -> None:
    trial = ended_trial(study, files, NEAR)
    assert get_all_artifact_meta(trial, storage=study._storage) == []
    assert "pruned after 1,000 images" in note_of(study, trial.number)


def test_trial_that_runs_again_has_its_pictures_once(study: optuna.Study, files: StudyFiles) -> None:
    trial = study.ask()
    for _ in range(2):
        DashboardPublisher(study, files, 5, RUNGS).store_trial(trial, FAR)
    assert len(get_all_artifact_meta(trial)) == 3


def test_full_folder_keeps_no_more_pictures_and_shows_them_all_the_same(
    study: optuna.Study, files: StudyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = ended_trial(study, files, FAR)
    files.artifacts.mkdir()
    monkeypatch.setattr(artifacts, "MOST_BYTES", 1000)
    store = DrawnArtifacts(files.artifacts, study._storage, CLASS_NAMES)
    for it in get_all_artifact_meta(trial, storage=study._storage):
        assert store.open_reader(it.artifact_id).read().startswith(b"\x89PNG")
    assert list(files.artifacts.iterdir()) == []


def test_picture_that_nothing_is_known_of_is_not_found(study: optuna.Study, files: StudyFiles) -> None:
    store = DrawnArtifacts(files.artifacts, study._storage, None)
    for artifact_id in ("00000000-00", "0000ffff-01", "6b0b7ee2-47b6-4d5c-a8d5-3a9f8a3f9c11"):
        with pytest.raises(ArtifactNotFound):
            store.open_reader(artifact_id)
