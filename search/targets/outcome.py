"""Does the delivered file keep to what was asked of its size and speed?"""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial

from fmnist.errors import UserError
from fmnist.measure import measure
from search.config import StudyConfig
from search.format import file_size, milliseconds
from search.records.files import StudyFiles
from search.records.models import TargetOutcome
from search.targets.probing import TargetsRecord, raise_if_set


def target_outcome(config: StudyConfig, files: StudyFiles, stop: threading.Event) -> TargetOutcome | None:
    """Compare the file of best.keras in the target's format with the run's targets; None where there is no such file.

    Where another machine measured the probes, the file is measured there, too. Where that fails, the outcome says why.

    Raises:
        Interrupted: `stop` was set.
    """
    for record in files.read_export_records():
        if record.model != files.model.name or record.format != config.target or record.n_bytes is None:
            continue
        if record.failure is not None:
            continue
        outcome = TargetOutcome(record.file, record.n_bytes, config.max_bytes, max_ms=config.max_ms)
        if config.max_ms is None:
            return outcome
        if config.on is None:
            processor = files.read_json(TargetsRecord, files.targets).processor
            return replace(outcome, milliseconds=record.milliseconds_by_1, processor=processor)
        file = files.exports / record.file
        try:
            found = measure(file, on=config.on, check_cancelled=partial(raise_if_set, stop))
        except UserError as error:  # all else of the study is done; the same command measures again
            return replace(outcome, unmeasured=str(error))
        return replace(outcome, milliseconds=found.milliseconds_by_1, processor=found.processor)
    return None


def outcome_in_words(outcome: TargetOutcome) -> str:
    """Say whether the file keeps to its targets: "best-int8-full.tflite has 95.1 kB, within 96.0 kB"."""
    said = []
    if outcome.max_bytes is not None:
        relation = "within" if outcome.n_bytes <= outcome.max_bytes else "MORE THAN"
        said.append(f"has {file_size(outcome.n_bytes)}, {relation} {file_size(outcome.max_bytes)}")
    if outcome.unmeasured is not None:
        said.append(f"has not been timed: {outcome.unmeasured}")
    if outcome.max_ms is not None and outcome.milliseconds is not None:
        relation = "within" if outcome.milliseconds <= outcome.max_ms else "MORE THAN"
        time, limit = milliseconds(outcome.milliseconds), milliseconds(outcome.max_ms)
        said.append(f"takes {time} an image on {outcome.processor}, {relation} {limit}")
    return f"{outcome.file} {', and '.join(said)}"
