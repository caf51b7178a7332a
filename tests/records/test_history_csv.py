"""history.csv, read back as any other tool would read it."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest

from search.records.files import StudyFiles
from search.records.history_csv import COLUMNS, PARAMETER, write_history
from search.records.models import TrialRecord
from tests.support.made_study import make_study


def read(files: StudyFiles) -> list[dict[str, object]]:
    with open(files.history, encoding="utf-8", newline="") as file:
        return [{name: value_of(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def value_of(cell: str) -> object:
    """Empty is nothing; what looks like a truth value or a number is one."""
    if cell in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[cell]
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            pass
    return cell


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFiles, list[TrialRecord]]:
    files, trials = make_study(tmp_path_factory.mktemp("studies") / "made")
    write_history(files, trials)
    return files, trials


def test_every_trial_is_a_row(made) -> None:
    files, trials = made
    rows = read(files)
    assert [row["number"] for row in rows] == [trial.number for trial in trials]
    assert {row["state"] for row in rows} == {"complete", "pruned", "failed", "infeasible"}
    assert tuple(rows[0])[: len(COLUMNS)] == COLUMNS


def test_parameters_come_back_as_they_were_suggested(made) -> None:
    files, trials = made
    for row, trial in zip(read(files), trials, strict=True):
        params = {name.removeprefix(PARAMETER): value for name, value in row.items() if name.startswith(PARAMETER)}
        there = {name: value for name, value in params.items() if value is not None}
        assert there == trial.params
        assert {name: type(value) for name, value in there.items()} == {n: type(v) for n, v in trial.params.items()}


def test_figures_come_back_to_the_last_digit_and_unknown_ones_are_empty(made) -> None:
    files, trials = made
    for row, trial in zip(read(files), trials, strict=True):
        for name in set(COLUMNS) - {"network"}:
            assert row[name] == getattr(trial, name)
        assert (row["network"] is None) == (trial.recipe is None)
    assert any(trial.value is None for trial in trials)


def test_reason_of_several_lines_with_commas_stays_one_cell(tmp_path: Path) -> None:
    reason = 'failed (error): "a", b;\nand c'
    write_history(StudyFiles(tmp_path), [TrialRecord(0, "failed", None, {}, "sampler", reason)])
    (row,) = read(StudyFiles(tmp_path))
    assert row["reason"] == reason


def test_study_without_trials_has_a_table_without_rows(tmp_path: Path) -> None:
    write_history(StudyFiles(tmp_path), [])
    assert read(StudyFiles(tmp_path)) == []
    assert StudyFiles(tmp_path).history.read_text() == ",".join(COLUMNS) + "\n"


def test_columns_are_fields_of_a_trial() -> None:
    assert set(COLUMNS) - {"network"} <= {field.name for field in dataclasses.fields(TrialRecord)}
