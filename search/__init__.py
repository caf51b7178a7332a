"""Search a small convolutional network for an image data set, confirm it, retrain it, and report on it.

From Python, `run_study` does what `python -m search.run` does:

    from search import StudyConfig, run_study

    study = run_study(StudyConfig(study="digits", dataset="digits", trials=5))
    print(study.test_mean, study.test_interval, study.files.model)

`ImageSearchClassifier` is the same as an estimator of scikit-learn. `open_objective` gives the search's objective to a
study of your own, and a `Callback` is called in every training.
What cannot be used is a `UserError`; a run that ends early raises `Interrupted`, `SearchStopped` or `TrainingFailed`.
Trainings run in processes of their own, which import nothing of the calling script.
"""

from __future__ import annotations

import difflib
import importlib
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmnist.errors import UserError
    from search.callbacks.base import Callback
    from search.callbacks.terminal import Terminal
    from search.classifier.estimator import ImageSearchClassifier
    from search.config import StudyConfig
    from search.pipeline import run_study
    from search.results.figure import StudyFigure
    from search.results.front import FrontPoint
    from search.results.result import FinishedStudy, StudyResult, TrainedStudy
    from search.study.loop import SearchStopped
    from search.user_objective import open_objective
    from search.worker.tasks import Interrupted, TrainingFailed

__version__ = "0.6.0"
__all__ = [
    "Callback",
    "FinishedStudy",
    "FrontPoint",
    "ImageSearchClassifier",
    "Interrupted",
    "SearchStopped",
    "StudyConfig",
    "StudyFigure",
    "StudyResult",
    "Terminal",
    "TrainedStudy",
    "TrainingFailed",
    "UserError",
    "open_objective",
    "run_study",
]

_HOMES = {
    "Callback": "search.callbacks.base",
    "FinishedStudy": "search.results.result",
    "FrontPoint": "search.results.front",
    "ImageSearchClassifier": "search.classifier.estimator",
    "Interrupted": "search.worker.tasks",
    "SearchStopped": "search.study.loop",
    "StudyConfig": "search.config",
    "StudyFigure": "search.results.figure",
    "StudyResult": "search.results.result",
    "Terminal": "search.callbacks.terminal",
    "TrainedStudy": "search.results.result",
    "TrainingFailed": "search.worker.tasks",
    "UserError": "fmnist.errors",
    "open_objective": "search.user_objective",
    "run_study": "search.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: the command line answers --help without Optuna."""
    if name not in _HOMES:
        close = difflib.get_close_matches(name, __all__, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
    with warnings.catch_warnings():  # Optuna's bar for progress, which is not used here, would like to be a widget
        warnings.filterwarnings("ignore", message="IProgress not found")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Name what the package offers, also before it is imported, for completion."""
    return sorted({*globals(), *__all__})
