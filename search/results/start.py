"""Which configurations of an old study does a new one try first? Its best finalists, and its best trials."""

from __future__ import annotations

import math
from dataclasses import dataclass

import optuna

from fmnist.errors import UserError
from fmnist.recipe import Recipe
from search.records.files import StudyFiles, require_study
from search.records.models import TrialRecord
from search.space.space import DEFAULT_NAME, PortfolioEntry, SearchSpace
from search.space.transfer import portfolio_text, transfer
from search.study.study import open_finished
from search.study.trials import read_trials

N_TAKEN = 4  # configurations of the old study, beside the new one's own portfolio
HEADING = "\n# What follows is the best of an older study, as far as this space has it: the option --start-from."


@dataclass(frozen=True)
class Start:
    """What a study takes over from an older one."""

    space_text: str  # what is added to the space file
    notes: tuple[str, ...]  # a sentence for each configuration


def read_start(files: StudyFiles, old: str, space: SearchSpace, space_text: str) -> Start:
    """Read what a study takes over from an older one; once it has begun, what it took then.

    Args:
        files: The study's folder, which need not exist.
        old: Name of the older study, in the same folder of studies.
        space: The study's space without what it takes over.
        space_text: The file of that space.

    Raises:
        UserError: There is no such study, or it has no trial that was trained.
    """
    if files.checksums.is_whole(files.space):
        stored = files.space.read_text(encoding="utf-8")
        if stored.startswith(space_text):
            return Start(stored.removeprefix(space_text), ())
    require_study(files.root.parent, old, "--start-from")
    return start_from(StudyFiles(files.root.parent / old), space)


def start_from(files: StudyFiles, space: SearchSpace) -> Start:
    """Return the best configurations of an old study as they are in the new one's space, without those that it has.

    Args:
        files: The old study's folder. The study may be finished or not; its data and its space may be others.
        space: The new study's.

    Raises:
        UserError: The old study cannot be read, or none of its trials got anywhere.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    best = best_trials(files, read_trials(open_finished(files)))
    if not best:
        raise UserError(
            f"--start-from needs a study with a trial that was trained, but {files.root.name} has none; let it run, or "
            "leave --start-from out"
        )
    taken: list[PortfolioEntry] = []
    notes = []
    known = [entry.params for entry in space.portfolio]
    for trial in best:
        transferred = transfer(Recipe.from_dict(trial.recipe or {}), space)
        if transferred.params in known:
            continue
        known.append(transferred.params)
        name = f"{files.root.name}, trial {trial.number}"
        taken.append(PortfolioEntry(name, transferred.params))
        notes.append(f"{name} is tried first{_as_far_as(transferred.changes)}")
        if len(taken) == N_TAKEN:
            break
    if not taken:
        return Start("", (f"The best of {files.root.name} is in the portfolio already",))
    return Start(f"{HEADING}\n{portfolio_text(taken)}", tuple(notes))


def best_trials(files: StudyFiles, trials: list[TrialRecord]) -> list[TrialRecord]:
    """Order the trials that were trained, best first: finalists by their confirmation, then by rung and accuracy.

    The default is left out: every study tries its own.
    """
    confirmed = {record.trial: record.score for record in files.read_confirm_records()}
    worst = -math.inf  # a score by log loss is negative

    def rank(trial: TrialRecord) -> tuple[float, int, float]:
        at_rung = trial.score_at_rung
        return confirmed.get(trial.number, worst), trial.rung_images, worst if at_rung is None else at_rung

    trained = [trial for trial in trials if trial.recipe is not None and trial.rung_accuracy is not None]
    return sorted((trial for trial in trained if trial.origin != DEFAULT_NAME), key=rank, reverse=True)


def _as_far_as(changes: tuple[str, ...]) -> str:
    return f", with {', '.join(changes)}" if changes else ""
