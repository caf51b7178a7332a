"""Search a small convolutional network for an image data set, confirm it, retrain it, and report on it.

From Python, `run_study` does what `python -m search.run` does:

    from search import StudyConfig, run_study

    study = run_study(StudyConfig(study="digits", dataset="digits", trials=5))
    print(study.test_mean, study.test_interval, study.files.model)

`open_objective` gives the search's objective to a study of your own, and a `Callback` is called in every training.
Trainings run in processes of their own, so a script needs the usual `if __name__ == "__main__":`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.callbacks.base import Callback
    from search.callbacks.terminal import Terminal
    from search.config import StudyConfig
    from search.context import open_objective
    from search.pipeline import run_study
    from search.results import FinishedStudy, StudyResult
    from search.worker.tasks import Interrupted, TrainingFailed

__version__ = "0.6.0"
__all__ = [
    "Callback",
    "FinishedStudy",
    "Interrupted",
    "StudyConfig",
    "StudyResult",
    "Terminal",
    "TrainingFailed",
    "open_objective",
    "run_study",
]

_HOMES = {
    "Callback": "search.callbacks.base",
    "FinishedStudy": "search.results",
    "Interrupted": "search.worker.tasks",
    "StudyConfig": "search.config",
    "StudyResult": "search.results",
    "Terminal": "search.callbacks.terminal",
    "TrainingFailed": "search.worker.tasks",
    "open_objective": "search.context",
    "run_study": "search.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: the command line answers --help without Optuna."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
