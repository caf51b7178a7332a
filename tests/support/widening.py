"""A study of the digits whose trainings train nothing, begun and widened as a run does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna

from search.config import StudyConfig
from search.records.files import StudyFiles
from search.space.schema import space_of
from search.space.space import SearchSpace, Target
from search.study.backup import keep_trials
from search.study.storage.opening import open_storage
from search.study.study import OWN_STORAGE, check_identity, create_or_resume, storage_url
from search.widening.plan import Widening, plan_widening
from search.widening.steps import widen
from search.worker.tasks import RecipeTrainer
from tests.support.spaces import DIGITS_TEXT
from tests.support.training.trainers import by_filters, objective_of, run_trials, storage_of


def digits_space(text: str) -> SearchSpace:
    return space_of(text, "digits", (8, 8, 1), 10)


def config_of(folder: Path, **more: Any) -> StudyConfig:
    return StudyConfig(study="s", dataset="digits", studies_dir=folder, **more)


def identity_of(config: StudyConfig, space: SearchSpace) -> dict[str, Any]:
    """What the study is made with, as far as it matters here."""
    return {
        "version": "0.0.0",
        "study": config.study,
        **config.limits,
        "storage": config.storage or OWN_STORAGE,
        "space": space.table,
    }


def open_in_space(config: StudyConfig, text: str) -> optuna.Study:
    """The study as a run would have it, with what it leaves in its folder."""
    files, space = StudyFiles(config.folder), digits_space(text)
    files.root.mkdir(parents=True, exist_ok=True)
    files.begin_checksums()
    check_identity(files, identity_of(config, space))
    if not files.has(files.space):
        files.write_text(files.space, text)
    return create_or_resume(config, space, open_storage(storage_url(config, files)), identity_of(config, space))


def search(
    config: StudyConfig,
    n_trials: int,
    text: str = DIGITS_TEXT,
    trainer: RecipeTrainer = by_filters,
    targets: tuple[Target, ...] = (),
) -> StudyFiles:
    """Run the study until it has so many trials. Returns its folder."""
    config = replace(config, trials=n_trials)
    study, files = open_in_space(config, text), StudyFiles(config.folder)
    space = replace(digits_space(text).with_limits(**config.limits), targets=targets)
    objective = objective_of(space, trainer)
    run_trials(study, objective, n_trials=n_trials)
    keep_trials(StudyFiles(config.folder), study, is_own=config.storage is None)
    close(study)
    return files


def planned(config: StudyConfig, text: str, say: Callable[[str], None] = print) -> Widening | None:
    space = digits_space(text)
    return plan_widening(config, StudyFiles(config.folder), space, identity_of(config, space), say)


def widen_to(config: StudyConfig, text: str) -> str:
    """Let the study grow, as a run of this configuration with --widen does."""
    config, files = replace(config, widen=True), StudyFiles(config.folder)
    plan = planned(config, text)
    assert plan is not None
    storage = open_storage(storage_url(config, files))
    try:
        return widen(config, files, storage, plan, text)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def trials_of(config: StudyConfig) -> list[optuna.trial.FrozenTrial]:
    """The trials as they are in the storage, read anew."""
    study = optuna.load_study(
        study_name=config.study, storage=open_storage(storage_url(config, StudyFiles(config.folder)))
    )
    trials = study.get_trials()
    close(study)
    return trials


def close(study: optuna.Study) -> None:
    storage_of(study).remove_session()
    storage_of(study).engine.dispose()
