"""Search a small network for scikit-learn's digits, and use the model. Takes about a minute on two cores.

python examples/search_digits.py [STUDIES_DIR]
"""

from __future__ import annotations

import sys
from pathlib import Path

from search import Callback, StudyConfig, run_study


class PrintEnds(Callback):
    """Prints a line for each training that has ended."""

    def on_training_end(self, label: str, reason: str) -> None:
        print(f"{label}: {reason}")


def main(studies_dir: Path) -> None:
    config = StudyConfig(study="digits", dataset="digits", trials=3, refit_seeds=1, studies_dir=studies_dir)
    study = run_study(config, callbacks=[PrintEnds()])
    interval = study.test_interval
    print(f"test accuracy {study.test_mean:.2%} (95 % interval {interval.low:.2%} to {interval.high:.2%})")
    print(f"network {study.recipe}")
    print(f"model {study.files.model}, report {study.files.report_html}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("studies"))
