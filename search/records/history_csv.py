"""What `history.csv` holds: every trial of a study as a row, for spreadsheets, pandas and R."""

from __future__ import annotations

import csv
from collections.abc import Sequence

from fmnist.recipe import Recipe, short_form
from search.records.files import StudyFiles
from search.records.io import atomic_write
from search.records.models import TrialRecord

COLUMNS = (  # fields of a TrialRecord, but for the network
    *("number", "state", "reason", "origin", "value", "rung_images", "rung_accuracy"),
    *("n_images", "seconds", "seconds_in_steps", "n_parameters", "multiply_adds", "peak_memory_mb"),
    *("started", "finished", "out_of_time", "network"),
)
PARAMETER = "params_"  # stands before the name of a parameter, as in Optuna's own data frames


def write_history(files: StudyFiles, trials: Sequence[TrialRecord]) -> None:
    """Write the table of trials to the study's `history.csv`.

    It has a row for each trial, in their order, and a column for each of COLUMNS and of the trials' parameters, those
    by name. What is not known, or what a trial does not have, is left empty.
    """
    parameters = sorted({name for trial in trials for name in trial.params})
    with atomic_write(files.history) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *(f"{PARAMETER}{name}" for name in parameters)])
        for trial in trials:
            cells = vars(trial) | {"network": None}
            if trial.recipe is not None:
                cells["network"] = short_form(Recipe.from_dict(trial.recipe))
            row = [cells[name] for name in COLUMNS]
            writer.writerow(row + [trial.params.get(name) for name in parameters])
