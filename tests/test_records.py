"""What a study writes: whole files or none, and the same record back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydantic
import pytest

from search.records import RefitRecord, Stopwatch, StudyFiles, read_json, whole_file, write_arrays, write_json

RECORD = RefitRecord(3, 0, 7, (), 1000, 900, 1.5, 100.0, "a rule")


def test_record_comes_back_as_it_was(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", RECORD)
    assert read_json(RefitRecord, tmp_path / "record.json") == RECORD


def test_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"trial": 3}')
    with pytest.raises(pydantic.ValidationError, match="seed_index"):
        read_json(RefitRecord, tmp_path / "record.json")


def test_writing_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), whole_file(path) as beside:
        beside.write_text("half of the n")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


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
