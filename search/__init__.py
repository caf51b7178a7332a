"""The search for a recipe: space, study, workers, confirmation, retraining, report.

From Python: `run_study(StudyConfig(...))` does what `python -m search.run` does; `open_objective(StudyConfig(...))` is
for studies of your own.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.5.0"
__all__ = ["Callback", "StudyConfig", "TrainingFailed", "open_objective", "run_study"]

_HOMES = {
    "StudyConfig": "search.config",
    "TrainingFailed": "search.worker.tasks",
    "open_objective": "search.pipeline",
    "run_study": "search.pipeline",
    "Callback": "search.callbacks.base",
}


def __getattr__(name: str) -> Any:
    """Loaded when asked for: the command line answers --help without Optuna."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
