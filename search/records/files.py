"""A study's folder: where each of its files is."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from fmnist.baselines.catalog import BASELINES, Baseline
from fmnist.errors import UserError
from fmnist.export.formats import FORMATS, HALF_WRITTEN, ExportRecord
from search.records.io import naming_damage, read_arrays, read_json, read_plain, write_text
from search.records.models import (
    PHASES,
    WORKERS_SUMMED,
    BaselineOutcome,
    BaselineRecord,
    ConfirmRecord,
    EvaluationArrays,
    RefitRecord,
)


class StudyFiles:
    """The paths of one study and how each is read and written. `root` is `studies/<name>`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.json"  # StudyConfig, checksums and versions the study was made with
        self.space = root / "space.toml"  # copy of the search space
        self.storage = root / "study.db"  # Optuna's SQLite storage, unless another is named
        self.lock = root / "run.lock"  # held while a run is under way
        self.split = root / "split"  # the arrays that training processes map; removed when the run ends
        self.worker_log = root / "worker.log"  # what TensorFlow says in the workers
        self.data = root / "data.json"  # DataRecord
        self.samples = root / "samples.npz"  # images uint8 (n_classes, 10, h, w, c): training images of each class
        self.ledger = root / "ledger.json"  # seconds by phase
        self.environment = root / "environment.json"  # versions, cores, threads
        self.command = root / "command.txt"  # the command line that makes the study
        self.history = root / "history.csv"  # a row a trial, see search.records.history_csv
        self.confirm = root / "confirm"  # one ConfirmRecord and one .npz of confirmation probabilities per finalist
        self.refit = root / "refit"  # one RefitRecord and one .keras per seed
        self.baselines = root / "baselines"  # of each a BaselineRecord and, once the test set was opened, an .npz
        self.artifacts = root / "artifacts"  # pictures that Optuna's dashboard shows, under its names
        self.dashboard_log = root / "dashboard.log"  # what the dashboard beside a run says
        self.exports = root / "exports"  # the model in other formats, and of each an ExportRecord
        self.test = root / "test.json"  # TestRecord
        self.test_arrays = root / "test.npz"  # TestArrays
        self.best_recipe = root / "best_recipe.json"  # BestRecipe
        self.model = root / "best.keras"
        self.temperature = root / "temperature.json"  # what calibrates the model's probabilities
        self.model_card = root / "model-card.md"
        self.guide = root / "README.md"  # what each of these is
        self.report_html = root / "report.html"
        self.report_markdown = root / "report.md"
        self.report_json = root / "report.json"
        self.report_pictures = root / "report-pictures"  # of report.md

    def confirm_record(self, trial: int) -> Path:
        return self.confirm / f"trial-{trial:04d}.json"

    def confirm_arrays(self, trial: int) -> Path:
        return self.confirm / f"trial-{trial:04d}.npz"  # "probabilities" float32 (n, n_classes), "labels" uint8 (n,)

    def refit_record(self, seed_index: int) -> Path:
        return self.refit / f"seed-{seed_index}.json"

    def refit_model(self, seed_index: int) -> Path:
        return self.refit / f"seed-{seed_index}.keras"

    def baseline_record(self, name: str) -> Path:
        return self.baselines / f"{name}.json"

    def baseline_model(self, baseline: Baseline) -> Path:
        """Removed once its predictions are stored: a forest takes hundreds of megabytes."""
        return self.baselines / f"{baseline.name}{baseline.suffix}"

    def baseline_arrays(self, name: str) -> Path:
        return self.baselines / f"{name}.npz"  # "predicted" uint8 (n,), of the test set

    def export_record(self, name: str) -> Path:
        return self.exports / f"{name}.json"

    def read_confirm_records(self) -> list[ConfirmRecord]:
        """All finalists confirmed so far, best confirmation accuracy first."""
        records = [read_json(ConfirmRecord, path) for path in sorted(self.confirm.glob("trial-*.json"))]
        return sorted(records, key=lambda record: -record.confirm_accuracy)

    def read_refit_records(self) -> list[RefitRecord]:
        """All retrainings so far, by seed_index."""
        records = [read_json(RefitRecord, path) for path in self.refit.glob("seed-*.json")]
        return sorted(records, key=lambda record: record.seed_index)

    def read_baseline_records(self) -> list[BaselineRecord]:
        """All baselines fitted or failed so far, in the order of BASELINES; others, of another version, last."""
        records = [read_json(BaselineRecord, path) for path in sorted(self.baselines.glob("[!.]*.json"))]
        names = [baseline.name for baseline in BASELINES]
        return sorted(records, key=lambda record: names.index(record.name) if record.name in names else len(names))

    def read_baselines(self) -> list[BaselineOutcome]:
        """The same with their predictions. Call it once the test set was opened."""
        return [
            BaselineOutcome(
                record, None if record.failure else read_arrays(self.baseline_arrays(record.name))["predicted"]
            )
            for record in self.read_baseline_records()
        ]

    def read_export_records(self) -> list[ExportRecord]:
        """All formats exported or failed so far, in the order of FORMATS."""
        paths = [self.export_record(format.name) for format in FORMATS]
        return [read_json(ExportRecord, path) for path in paths if path.exists()]

    def read_command(self) -> str:
        """The command line that makes the study. One of before version 0.4.0 has it in its report only."""
        if not self.command.exists():
            return read_plain(self.report_json)["command"]
        with naming_damage(self.command):
            return self.command.read_text(encoding="utf-8").strip()

    def read_ledger(self) -> dict[str, float]:
        """Seconds by phase (see PHASES), summed over every run of the study."""
        seconds = self._read_whole_ledger()
        return {phase: seconds.get(phase, 0.0) for phase in PHASES}

    def read_worker_seconds(self) -> float:
        """Seconds of the search, those of all its workers summed; 0 where that was not recorded."""
        return self._read_whole_ledger().get(WORKERS_SUMMED, 0.0)

    def add_to_ledger(self, phase: str, seconds: float, n_workers: int | None = None) -> None:
        """n_workers: of the search, in this run."""
        ledger = self.read_ledger()
        ledger[phase] += seconds
        worker_seconds = self.read_worker_seconds() + seconds * (n_workers or 0)
        write_text(self.ledger, json.dumps({**ledger, WORKERS_SUMMED: worker_seconds}, indent=2))

    def _read_whole_ledger(self) -> dict[str, float]:
        return read_plain(self.ledger) if self.ledger.exists() else {}

    @property
    def is_shared(self) -> bool:
        """Whether other machines may work on the study too."""
        return self.config.exists() and str(read_plain(self.config).get("storage")).startswith("postgresql")

    def remove_half_written(self) -> None:
        """What killed runs were writing. Call it while no other run can be writing."""
        for path in list(self.root.rglob(f"{HALF_WRITTEN}*")):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)  # it may have been in such a folder

    def read_test_arrays(self) -> EvaluationArrays:
        return EvaluationArrays(**read_arrays(self.test_arrays))


def require_study(studies_dir: Path, name: str, what: str) -> None:
    """Raises UserError where the study has no folder there. what: needs it, in words."""
    if not os.path.isfile(StudyFiles(studies_dir / name).config):
        there = sorted(path.parent.name for path in studies_dir.glob("*/config.json"))
        known = f"choose among {', '.join(there)}" if there else "pass the folder of your studies as --studies-dir"
        raise UserError(f"{what} needs a study of {studies_dir}, but got {name}, which it has not; {known}")
