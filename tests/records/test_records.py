"""What a study writes: whole files or none, and the same record back."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.baselines.catalog import BASELINES
from fmnist.errors import UserError
from search.records.files import StudyFiles
from search.records.io import atomic_write, flat, read_arrays, read_json, write_arrays, write_json
from search.records.ledger import Stopwatch
from search.records.models import BaselineRecord, BestRecipe, DataRecord, RefitRecord
from search.space.schema import read_space_text

RECORD = RefitRecord(3, 0, 7, (), 1000, 900, 1.5, 100.0, "a rule")


def test_record_comes_back_as_it_was(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", RECORD)
    assert read_json(RefitRecord, tmp_path / "record.json") == RECORD


@pytest.mark.parametrize("content", ['{"trial": 3}', '{"trial": 3', "", "[]"])
def test_damaged_record_is_named_with_a_remedy(tmp_path: Path, content: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"^{path} cannot be read \(.+\); restore it, or start a new study") as caught:
        read_json(RefitRecord, path)
    assert "\n" not in str(caught.value)


def test_missing_or_cut_arrays_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(UserError, match=r"a\.npz cannot be read"):
        read_arrays(path)
    write_arrays(path, a=np.arange(1000))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"a\.npz cannot be read"):
        read_arrays(path)


def test_writing_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), atomic_write(path) as temporary:
        temporary.write_text("half of the n")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_umask_decides_who_may_read_a_file(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_json(tmp_path / "new" / "record.json", {})
        write_arrays(tmp_path / "new" / "arrays.npz", x=np.zeros(3))
        (tmp_path / "new" / "other").touch()
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()} == {mode}


def test_nested_tables_become_one_level() -> None:
    space = {"a": {"low": 1}, "blocks": [{"low": 2}, {"low": 3}], "portfolio": [{"name": "wide", "n": 4}], "list": [5]}
    assert flat(space) == {
        "a.low": 1, "blocks.0.low": 2, "blocks.1.low": 3, "portfolio.wide.name": "wide", "portfolio.wide.n": 4,
        "list": [5],
    }  # fmt: skip


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path)
    arrays = {
        "labels": np.arange(4, dtype=np.uint8),
        "probabilities": np.full((2, 4, 3), 1 / 3, np.float32),
        "mistake_indices": np.array([1, 2]),
        "mistake_images": np.zeros((2, 8, 8, 1), np.uint8),
    }
    write_arrays(files.test_arrays, **arrays)
    read = files.read_test_arrays()
    assert all((getattr(read, name) == array).all() for name, array in arrays.items())


def baseline_record(name: str, **more: object) -> BaselineRecord:
    return BaselineRecord(name, "network", "a network", 0.91, 5, "trained for 15 epochs", 12.5, **more)


def test_baselines_come_back_in_their_own_order_with_their_predictions(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path)
    assert files.read_baselines() == files.read_baseline_records() == []
    names = [baseline.name for baseline in BASELINES]
    for name in [*sorted(names), "a-baseline-of-another-version"]:
        write_json(files.baseline_record(name), baseline_record(name, n_images=60_000, n_epochs=15))
        write_arrays(files.baseline_arrays(name), predicted=np.arange(4, dtype=np.uint8))
    outcomes = files.read_baselines()
    assert [outcome.record.name for outcome in outcomes] == [*names, "a-baseline-of-another-version"]
    assert outcomes[0].record == baseline_record(names[0], n_images=60_000, n_epochs=15)
    assert all(outcome.predicted.tolist() == [0, 1, 2, 3] for outcome in outcomes)


def test_failed_baseline_has_no_predictions_and_a_fitted_one_must_have_them(tmp_path: Path) -> None:
    files, (first, second) = StudyFiles(tmp_path), (baseline.name for baseline in BASELINES[:2])
    write_json(files.baseline_record(first), baseline_record(first, failure="killed"))
    (outcome,) = files.read_baselines()
    assert (outcome.record.failure, outcome.predicted) == ("killed", None)
    write_json(files.baseline_record(second), baseline_record(second))
    with pytest.raises(UserError, match=rf"{second}\.npz cannot be read .*; restore it, or start a new study"):
        files.read_baselines()


def test_ledger_of_a_version_without_baselines_and_exports_is_read(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path)
    files.ledger.write_text('{"search": 4.0, "confirm": 3.0, "refit": 2.0, "evaluate": 1.0}')
    assert files.read_ledger() == {
        "search": 4.0,
        "confirm": 3.0,
        "refit": 2.0,
        "baselines": 0.0,
        "evaluate": 1.0,
        "exports": 0.0,
    }


def test_data_record_of_a_version_that_did_not_measure_the_background_is_read() -> None:
    older = Path(__file__).parents[1] / "fixtures" / "studies" / "0.4.0" / "data.json"
    record = read_json(DataRecord, older)
    assert (record.background, record.object_share, record.contrast) == (None, None, None)


def test_seconds_of_a_phase_add_up_over_runs(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path)
    files.add_to_ledger("confirm", 1.0)
    files.add_to_ledger("confirm", 2.0)
    with Stopwatch(files, "refit") as stopwatch:
        stopwatch.lap()
    ledger = files.read_ledger()
    assert ledger["confirm"] == 3.0
    assert 0 < ledger["refit"] < 1
    assert ledger["search"] == 0.0


def test_folder_that_a_killed_run_was_filling_is_removed(tmp_path: Path) -> None:
    half = tmp_path / "exports" / ".writing-exports-abc"
    (half / "best-savedmodel").mkdir(parents=True)
    (half / "best-savedmodel" / ".writing-too").touch()
    whole = tmp_path / "exports" / "best-savedmodel"
    whole.mkdir()
    StudyFiles(tmp_path).remove_half_written()
    assert list((tmp_path / "exports").iterdir()) == [whole]


def test_what_a_killed_run_was_writing_is_removed_and_nothing_else(tmp_path: Path) -> None:
    files = StudyFiles(tmp_path)
    (tmp_path / "refit").mkdir()
    half = tmp_path / "refit" / ".writing-seed-0-abc.keras"
    whole = tmp_path / "refit" / "seed-0.keras"
    for path in (half, whole, tmp_path / ".notes"):
        path.touch()
    files.remove_half_written()
    assert not half.exists()
    assert whole.exists()
    assert (tmp_path / ".notes").exists()


class Handle:
    """A path as other libraries have them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.mark.parametrize("kind", [str, Path, Handle, lambda path: str(path).encode()])
def test_study_s_files_and_records_are_found_by_paths_of_every_kind(
    kind: Callable[[Path], Any], tmp_path: Path
) -> None:
    assert StudyFiles(kind(tmp_path)).root == StudyFiles(tmp_path).root
    with pytest.raises(UserError, match=r"none.json cannot be read"):
        read_json(BestRecipe, kind(tmp_path / "none.json"))
    (tmp_path / "space.toml").write_text("a = 1")
    assert read_space_text(kind(tmp_path / "space.toml")) == "a = 1"


def test_what_is_no_path_is_refused() -> None:
    for read in (StudyFiles, read_space_text, partial(read_json, BestRecipe)):
        with pytest.raises(UserError, match=r"must be a path, but got 5 \(int\)"):
            read(5)
