"""Where each file of a study is, and how it is read and written.

Sole owner of the paths under `studies/<name>/`. Trials live in Optuna's storage (see `search.study.trials`);
everything else of a study is a file here. Reading needs neither TensorFlow nor a connection to a database.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fmnist.baselines.catalog import BASELINES, Baseline
from fmnist.errors import UserError
from fmnist.export.formats import FORMATS, HALF_WRITTEN, ExportRecord
from fmnist.paths import absolute
from fmnist.values import require
from search.records.checksums import Checksums
from search.records.io import naming_damage, read_arrays, read_json, read_plain, write_arrays, write_json, write_text
from search.records.models import (
    PHASES,
    WORKERS_SUMMED,
    BaselineOutcome,
    BaselineRecord,
    ConfirmRecord,
    EnsembleRecord,
    EvaluationArrays,
    FrontPointRecord,
    FrontRecord,
    RefitRecord,
    SpaceRecord,
    SpacesRecord,
)

T = TypeVar("T")


class StudyFiles:
    """The files of one study. `root` is its folder, `studies/<name>`.

    All paths are absolute, so that they stay what they are when the current folder changes. Messages name them by
    `fmnist.paths.shown_path`.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        root = require(Path, root, "root")
        self.root = root = absolute(root)
        self.checksums = Checksums(root)  # of the files that results rest on
        self.config = root / "config.json"  # what the study was made with, see search.study.study.check_identity
        self.space = root / "space.toml"  # copy of the search space
        self.spaces = root / "spaces.json"  # SpacesRecord of a study that was widened
        self.old_spaces = root / "spaces"  # copies of all its spaces, and of its database as each was left
        self.widening = root / "widening.json"  # while its space grows, see search.widening.steps
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
        self.confirm = root / "confirm"  # of each finalist a ConfirmRecord, its confirmation probabilities, its model
        self.refit = root / "refit"  # of each student the same with a RefitRecord; per seed a RefitRecord and its model
        self.baselines = root / "baselines"  # of each a BaselineRecord and, once the test set was opened, an .npz
        self.artifacts = root / "artifacts"  # pictures that Optuna's dashboard shows, under its names
        self.dashboard_log = root / "dashboard.log"  # what the dashboard beside a run says
        self.targets = root / "targets.json"  # TargetsRecord, where the delivered file must be small, or fast
        self.target_outcome = root / "target_outcome.json"  # TargetOutcome
        self.exports = root / "exports"  # the models in other formats, and of each an ExportRecord
        self.test = root / "test.json"  # EvaluationRecord
        self.test_arrays = root / "test.npz"  # EvaluationArrays
        self.best_recipe = root / "best_recipe.json"  # BestRecipe
        self.model = root / "best.keras"
        self.ensemble_recipe = root / "ensemble_recipe.json"  # EnsembleRecipe
        self.ensemble_record = root / "ensemble.json"  # EnsembleRecord
        self.ensemble = root / "ensemble.keras"
        self.front_record = root / "front.json"  # FrontRecord of a study with --front
        self.front = root / "front"  # a folder for each network of the front, see `of_point`
        self.temperature = root / "temperature.json"  # what calibrates the model's probabilities
        self.model_card = root / "model-card.md"
        self.guide = root / "README.md"  # what each of these is
        self.report_html = root / "report.html"
        self.report_markdown = root / "report.md"
        self.report_json = root / "report.json"
        self.report_pictures = root / "report-pictures"  # of report.md

    def of_point(self, name: str) -> StudyFiles:
        """Return the study's files as they are for one network of the front.

        What is trained and delivered by its recipe is in front/NAME/, named like it, all else is the study's own. A
        point has no ensemble.
        """
        point, folder = copy.copy(self), self.front / name
        point.refit = folder / "training"
        point.exports = folder
        point.model = folder / f"{name}.keras"
        point.best_recipe = folder / "recipe.json"
        point.ensemble_recipe = folder / "ensemble_recipe.json"
        point.ensemble_record = folder / "ensemble.json"
        point.ensemble = folder / "ensemble.keras"
        return point

    def has(self, path: Path) -> bool:
        """Whether the study has written a file. It is restored if it was lost or damaged since.

        Raises:
            UserError: It was lost or damaged, and nothing is left to restore it from.
        """
        return self.checksums.has(path)

    def read_json(self, kind: type[T], path: Path) -> T:
        """Read a record of the study, as `io.read_json` does, restored first if it was lost or damaged."""
        return read_json(kind, self.checksums.intact(path))

    def read_plain(self, path: Path) -> dict[str, Any]:
        """Read a JSON object of the study, as `io.read_plain` does, restored first if it was lost or damaged."""
        return read_plain(self.checksums.intact(path))

    def read_arrays(self, path: Path) -> dict[str, np.ndarray]:
        """Read arrays of the study, as `io.read_arrays` does, restored first if they were lost or damaged."""
        return read_arrays(self.checksums.intact(path))

    def write_json(self, path: Path, record: Any) -> None:
        """Write a record, a dataclass or plain JSON, indented, with its checksum."""
        with self.checksums.writing(path) as temporary:
            write_json(temporary, record)

    def write_text(self, path: Path, text: str) -> None:
        """Write text as UTF-8, with its checksum."""
        with self.checksums.writing(path) as temporary:
            write_text(temporary, text)

    def write_arrays(self, path: Path, **arrays: np.ndarray) -> None:
        """Write arrays to a compressed .npz file, by name, with its checksum."""
        with self.checksums.writing(path) as temporary:
            write_arrays(temporary, **arrays)

    def begin_checksums(self) -> None:
        """Keep checksums of all that is written from here on. Files of an earlier version are entered as they are."""
        single = (
            *(self.config, self.space, self.data, self.samples, self.ledger, self.environment, self.command),
            *(self.test, self.test_arrays, self.best_recipe, self.model),
            *(self.ensemble_recipe, self.ensemble_record, self.ensemble),
        )
        existing = [path for path in single if path.is_file()]
        for folder in (self.confirm, self.refit, self.baselines):
            existing += [path for path in sorted(folder.glob("[!.]*")) if path.is_file()]
        for record in self.read_export_records() if self.checksums.manifest is None else ():
            paths = (self.export_record(record.format, record.model), self.exports / record.file)
            existing += [path for path in paths if path.exists()]
        self.checksums.begin(existing)

    def _written(self, folder: Path, pattern: str) -> list[Path]:
        """Return the files of a folder that the study has written, by name, lost ones among them.

        Raises:
            UserError: One is there that the study has not written.
        """
        there = set(folder.glob(pattern))
        known = {path for path in self.checksums.names(folder) if path.match(pattern)}
        if self.checksums.manifest is not None:
            self.checksums.refuse_foreign(sorted(there - known))
        return [path for path in sorted(there | known) if self.has(path)]

    def relative_name(self, path: Path) -> str:
        """Return a file's path within the study's folder, as records name it: "confirm/trial-0007.keras"."""
        return path.relative_to(self.root).as_posix()

    def forget_ensemble(self) -> None:
        """Remove the ensemble, its record first: a model without one is none of the study's results."""
        for path in (self.ensemble_record, self.ensemble_recipe, self.ensemble):
            self.checksums.forget(path)

    def confirm_record(self, trial: int) -> Path:
        """Path of a finalist's ConfirmRecord."""
        return self.confirm / f"trial-{trial:04d}.json"

    def confirm_arrays(self, trial: int) -> Path:
        """Path of a finalist's predictions on the confirmation split.

        Arrays: "probabilities" float32 (n, n_classes), "labels" uint8 (n,); of a network that learned from mirror
        images, by a version that averages over them, "mirrored_probabilities" like the first.
        """
        return self.confirm / f"trial-{trial:04d}.npz"

    def confirm_model(self, trial: int) -> Path:
        """Path of a finalist's trained network."""
        return self.confirm / f"trial-{trial:04d}.keras"

    def student_record(self, seed_index: int) -> Path:
        """Path of the RefitRecord of a further training of the winner's recipe: a student or a retraining."""
        return self.refit / f"student-{seed_index}.json"

    def student_arrays(self, seed_index: int) -> Path:
        """Path of its predictions on the confirmation split, as those of `confirm_arrays`."""
        return self.refit / f"student-{seed_index}.npz"

    def student_model(self, seed_index: int) -> Path:
        """Path of its network."""
        return self.refit / f"student-{seed_index}.keras"

    def refit_record(self, seed_index: int) -> Path:
        """Path of the RefitRecord of a training that is delivered, the first of which is best.keras."""
        return self.refit / f"seed-{seed_index}.json"

    def refit_model(self, seed_index: int) -> Path:
        """Path of its network."""
        return self.refit / f"seed-{seed_index}.keras"

    def baseline_record(self, name: str) -> Path:
        """Path of a baseline's BaselineRecord."""
        return self.baselines / f"{name}.json"

    def baseline_model(self, baseline: Baseline) -> Path:
        """Path of a fitted baseline. It is removed once its predictions are stored: a forest takes hundreds of
        megabytes."""
        return self.baselines / f"{baseline.name}{baseline.suffix}"

    def baseline_arrays(self, name: str) -> Path:
        """Path of a baseline's predictions on the test set, "predicted" uint8 (n,)."""
        return self.baselines / f"{name}.npz"

    def export_record(self, name: str, model: str = "best.keras") -> Path:
        """Path of the ExportRecord of a format of one of the delivered models, which is named by its file."""
        if model == self.model.name:
            return self.exports / f"{name}.json"
        return self.exports / f"{Path(model).stem}-{name}.json"

    def read_confirm_records(self) -> list[ConfirmRecord]:
        """Read all finalists confirmed so far, best on the confirmation split first."""
        records = [self.read_json(ConfirmRecord, path) for path in self._written(self.confirm, "trial-*.json")]
        return sorted(records, key=lambda record: -record.score)

    def read_refit_records(self) -> list[RefitRecord]:
        """Read the records of all trainings that are delivered, by seed_index."""
        records = [self.read_json(RefitRecord, path) for path in self._written(self.refit, "seed-*.json")]
        return sorted(records, key=lambda record: record.seed_index)

    def read_student_records(self) -> list[RefitRecord]:
        """Read all students so far, by seed_index."""
        records = [self.read_json(RefitRecord, path) for path in self._written(self.refit, "student-*.json")]
        return sorted(records, key=lambda record: record.seed_index)

    def read_ensemble_record(self) -> EnsembleRecord | None:
        """Read what the ensemble is made of; None where the study has none."""
        if not self.has(self.ensemble_record):
            return None
        return self.read_json(EnsembleRecord, self.ensemble_record)

    def read_front(self) -> tuple[FrontPointRecord, ...]:
        """Read which networks of the front are trained, the cheapest first; empty without --front."""
        if not self.has(self.front_record):
            return ()
        return self.read_json(FrontRecord, self.front_record).points

    def read_baseline_records(self) -> list[BaselineRecord]:
        """Read all baselines fitted or failed so far, in the order of BASELINES; those of another version come last."""
        records = [self.read_json(BaselineRecord, path) for path in self._written(self.baselines, "[!.]*.json")]
        places = {baseline.name: place for place, baseline in enumerate(BASELINES)}
        return sorted(records, key=lambda record: places.get(record.name, len(places)))

    def read_baselines(self) -> list[BaselineOutcome]:
        """Read all baselines with their predictions on the test set, once it was opened."""
        outcomes = []
        for record in self.read_baseline_records():
            predicted = None
            if not record.failure:
                predicted = self.read_arrays(self.baseline_arrays(record.name))["predicted"]
            outcomes.append(BaselineOutcome(record, predicted))
        return outcomes

    def read_export_records(self) -> list[ExportRecord]:
        """Read all formats exported or failed so far: those of best.keras, then the ensemble's, as FORMATS has them."""
        records = []
        for model in (self.model, self.ensemble):
            paths = [self.export_record(format.name, model.name) for format in FORMATS]
            records += [self.read_json(ExportRecord, path) for path in paths if self.has(path)]
        return records

    def read_spaces(self) -> tuple[SpaceRecord, ...]:
        """Read the spaces that a study has searched, in their order; empty where it was never widened."""
        if not self.has(self.spaces):
            return ()
        return self.read_json(SpacesRecord, self.spaces).spaces

    def read_command(self) -> str:
        """Read the command line that makes the study. Before version 0.4.0 only the report has it."""
        if not self.has(self.command):
            return read_plain(self.report_json)["command"]
        with naming_damage(self.command):
            content = self.checksums.intact(self.command).read_bytes()
            return content.decode().strip()  # a path in it may hold any kind of line break

    def read_ledger(self) -> dict[str, float]:
        """Read the seconds of each phase (see PHASES), summed over every run of the study."""
        seconds = self._read_whole_ledger()
        return {phase: seconds.get(phase, 0.0) for phase in PHASES}

    def read_worker_seconds(self) -> float:
        """Read the seconds of the search, summed over its workers; 0 if they were not recorded."""
        return self._read_whole_ledger().get(WORKERS_SUMMED, 0.0)

    def add_to_ledger(self, phase: str, seconds: float, n_workers: int | None = None) -> None:
        """Add seconds of one run to a phase.

        Args:
            phase: One of PHASES.
            seconds: What this run took since it last added some.
            n_workers: Workers of the search; None for another phase.
        """
        ledger = self.read_ledger()
        ledger[phase] += seconds
        worker_seconds = self.read_worker_seconds() + seconds * (n_workers or 0)
        self.write_text(self.ledger, json.dumps({**ledger, WORKERS_SUMMED: worker_seconds}, indent=2))

    def _read_whole_ledger(self) -> dict[str, float]:
        return self.read_plain(self.ledger) if self.has(self.ledger) else {}

    @property
    def is_shared(self) -> bool:
        """Whether other machines may have worked on the study too: its trials are in a PostgreSQL database."""
        return self.has(self.config) and str(self.read_plain(self.config).get("storage")).startswith("postgresql")

    def remove_half_written(self) -> None:
        """Remove what killed runs were writing. No other run may be writing meanwhile."""
        for path in list(self.root.rglob(f"{HALF_WRITTEN}*")):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)  # it may have been in such a folder

    def read_test_arrays(self) -> EvaluationArrays:
        """Read the predictions on the test set."""
        return EvaluationArrays(**self.read_arrays(self.test_arrays))


def require_study(studies_dir: Path, name: str, what: str) -> None:
    """Check that a study has a folder.

    Args:
        studies_dir: Where folders of studies are.
        name: Of the study.
        what: What needs it, for the message: "a report".

    Raises:
        UserError: It has none; the message lists those that are there.
    """
    files = StudyFiles(studies_dir / name)
    if not (os.path.isdir(files.root) and files.has(files.config)):
        there = sorted(path.parent.name for path in studies_dir.glob("*/config.json"))
        known = "pass the folder of your studies as --studies-dir"
        if there:
            known = f"choose among {', '.join(there)}"
        raise UserError(f"{what} needs a study of {studies_dir}, but got {name}, which it has not; {known}")
