"""How baselines are fitted after the search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fmnist.baselines.catalog import BASELINES
from fmnist.data.split import Split
from search.refit.baselines import fit_baselines, missing_baselines
from search.worker.tasks import Interrupted, TrainingFailed
from tests.support.training.fake_trainer import NAMES, FakeFitter, final_round


def test_baselines_are_fitted_one_after_another_with_all_threads_and_seeds_of_their_own(
    tmp_path: Path, digits_split: Split
) -> None:
    fitter = FakeFitter()
    final = final_round(tmp_path, digits_split, fitter, workers=4)
    records = fit_baselines(final)
    assert fitter.names == [record.name for record in records] == NAMES
    assert {task.n_threads for task in fitter.tasks} == {4}
    assert {task.memory_limit_mb for task in fitter.tasks} == {8000}, "all of it, as each is alone"
    assert len({task.seed for task in fitter.tasks}) == len(NAMES)
    assert {record.published_accuracy for record in records} == {None}  # which notebooks give for Fashion-MNIST alone
    assert records[0].n_images == 1437 and records[0].seconds == 2.5 and records[0].failure is None
    assert all(final.files.baseline_model(each).read_text() == f"model of {each.name}" for each in BASELINES)
    assert final.files.read_ledger()["baselines"] > 0


def test_baselines_of_fashion_mnist_bear_what_their_notebooks_give(tmp_path: Path, digits_split: Split) -> None:
    final = final_round(tmp_path, digits_split, FakeFitter())
    final = replace(final, data=replace(final.data, dataset="fashion-mnist"))
    records = fit_baselines(final)
    assert [record.published_accuracy for record in records[:4]] == [0.89, 0.91, 0.91, None]


def test_fitted_baselines_are_not_fitted_again_after_a_stop(tmp_path: Path, digits_split: Split) -> None:
    fitter = FakeFitter({NAMES[2]: Interrupted()})
    final = final_round(tmp_path, digits_split, fitter)
    with pytest.raises(Interrupted):
        fit_baselines(final)
    assert [baseline.name for baseline in missing_baselines(final.files)] == NAMES[2:]
    again = FakeFitter()
    fit_baselines(replace(final, trainer=again))
    assert (fitter.names, again.names) == (NAMES[:3], NAMES[2:])
    fit_baselines(replace(final, trainer=again))
    assert again.names == NAMES[2:]


def test_baseline_that_fails_is_recorded_with_its_reason_and_the_others_go_on(
    tmp_path: Path, digits_split: Split
) -> None:
    fitter = FakeFitter({NAMES[1]: TrainingFailed("killed", "the process was killed", "its trace")})
    final = final_round(tmp_path, digits_split, fitter)
    records = fit_baselines(final)
    assert fitter.names == NAMES
    assert [record.name for record in records if record.failure] == [NAMES[1]]
    failed = records[1]
    assert (failed.failure, failed.reason, failed.trace) == (
        "killed",
        "failed (killed): the process was killed",
        "its trace",
    )
    assert (failed.n_images, failed.peak_memory_mb) == (None, None)
    assert not final.files.baseline_model(BASELINES[1]).exists()
    assert missing_baselines(final.files) == []


def test_descriptions_say_how_classes_were_weighed(tmp_path: Path, digits_split: Split) -> None:
    final = final_round(tmp_path, digits_split, FakeFitter())
    final = replace(final, site=replace(final.site, class_weights="balanced"))
    said = {record.name: record.description for record in fit_baselines(final)}
    assert said["three-convolutions"].endswith("; its loss counts every class alike")
    for name in ("random-forest", "hog-linear-svm"):
        assert said[name].endswith("; it weighs every class alike")
    assert said["nearest-neighbours"].endswith("; it has no loss to weigh classes in")
