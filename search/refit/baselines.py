"""Fit the baselines that the report compares the model with."""

from __future__ import annotations

import time
from dataclasses import asdict

from fmnist.baselines.catalog import BASELINES, Baseline
from search.records.files import StudyFiles
from search.records.ledger import Stopwatch
from search.records.models import BaselineRecord
from search.refit.round import FinalRound, run_task
from search.study.strategy import seed_of
from search.worker.tasks import BaselineTask, TrainingFailed


def fit_baselines(final: FinalRound) -> list[BaselineRecord]:
    """Fit the baselines that the study is missing, one after another, and return the records of all.

    Each is fitted in a process of its own with the threads of all workers. One that fails is recorded with its reason,
    and the others are fitted.
    """
    with Stopwatch(final.files, "baselines") as stopwatch:
        for baseline in missing_baselines(final.files):
            fit_baseline(final, baseline)
            stopwatch.lap()
    return final.files.read_baseline_records()


def missing_baselines(files: StudyFiles) -> list[Baseline]:
    """Return the baselines that have neither been fitted nor failed."""
    done = {record.name for record in files.read_baseline_records()}
    return [baseline for baseline in BASELINES if baseline.name not in done]


def fit_baseline(final: FinalRound, baseline: Baseline) -> None:
    """Fit a baseline, and write its record and its model."""
    seed = seed_of(final.study_seed, "baseline", BASELINES.index(baseline))
    started = time.monotonic()
    final.callback.on_training_start(baseline.name, baseline.description, _n_images_of_fit(final, baseline))
    try:
        with final.files.checksums.writing(final.files.baseline_model(baseline)) as temporary:
            n_threads = final.threads_per_training(1)
            class_weights = final.site.class_weights
            place = final.site.split_folder
            limit = final.memory_limit_of_each(1)
            task = BaselineTask(baseline.name, seed, place, temporary, limit, n_threads, class_weights)
            outcome = asdict(run_task(final.trainer, final.callback, task, baseline.name))
    except TrainingFailed as failure:
        outcome = {**as_failed(failure), "seconds": time.monotonic() - started}
    published = None  # what the notebooks say of their own data set is no figure for another
    if final.data.dataset == "fashion-mnist":
        published = baseline.published_accuracy
    record = BaselineRecord(
        name=baseline.name,
        kind=baseline.kind,
        description=description_of(final, baseline),
        published_accuracy=published,
        seed=seed,
        **outcome,
    )
    final.files.write_json(final.files.baseline_record(baseline.name), record)
    final.callback.on_training_end(baseline.name, record.reason)


def description_of(final: FinalRound, baseline: Baseline) -> str:
    """Say what a baseline is and how it learns in this study."""
    if final.site.class_weights == "none":
        return baseline.description
    if baseline.weighs_classes:
        how = "its loss counts every class alike" if baseline.kind == "network" else "it weighs every class alike"
        return f"{baseline.description}; {how}"
    return f"{baseline.description}; it has no loss to weigh classes in"


def _n_images_of_fit(final: FinalRound, baseline: Baseline) -> int | None:
    """Return how many training images the fit of a network sees; None if unknown."""
    if baseline.n_epochs is None or baseline.stops_early:
        return None
    n_watched = final.data.n_images["selection"] if baseline.watches_selection else 0
    n_all = final.n_searched_images + final.data.n_images["confirmation"]
    return baseline.n_epochs * (n_all - n_watched)


def as_failed(failure: TrainingFailed) -> dict[str, str]:
    """Return the fields by which a BaselineRecord says that the baseline failed."""
    return {
        "reason": f"failed ({failure.kind}): {failure.reason}",
        "failure": failure.kind,
        "trace": failure.trace,
    }
