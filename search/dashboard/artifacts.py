"""Pictures of trials, drawn when they are looked at."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import optuna
from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial

from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint
from search.dashboard.trial_charts import confusion_matrix, learning_curve, network
from search.records.io import atomic_write
from search.study.objective import RungEnd
from search.study.optuna_private import ARTIFACT_PREFIX, id_of, set_trial_system_attr

MOST_BYTES = 64_000_000  # that drawn pictures may take of a disk; beyond that they are drawn each time
CHART_DATA_KEY = "drawn-from"  # a trial's system attribute: what its pictures are drawn from
PICTURES = ("learning-curve.png", "confusion-matrix.png", "network.png")


def publish_pictures(trial: optuna.Trial, ended: Sequence[RungEnd]) -> None:
    """Store what the trial's pictures are drawn from, and tell the dashboard of them. ended: one or more."""
    counts = ended[-1].confusion
    cells = None if counts is None else np.argwhere(counts).tolist()
    drawn_from = {
        "rungs": [[rung.n_images_before, [astuple(point) for point in rung.history]] for rung in ended],
        "n_classes": None if counts is None else len(counts),
        "confusion": None if counts is None else [[i, j, int(counts[i, j])] for i, j in cells],
    }
    set_trial_system_attr(trial, CHART_DATA_KEY, drawn_from)
    for i, name in enumerate(PICTURES):
        if name != "confusion-matrix.png" or counts is not None:
            set_trial_system_attr(trial, *entry(id_of(trial), i, name))


def entry(trial_id: int, i: int, name: str) -> tuple[str, str]:
    """Key and value by which Optuna knows an artifact. upload_artifact would draw a new id for one that is there."""
    artifact_id = artifact_id_of(trial_id, i)
    meta = ArtifactMeta(artifact_id=artifact_id, filename=name, mimetype="image/png", encoding=None)
    return f"{ARTIFACT_PREFIX}{artifact_id}", json.dumps(asdict(meta))


def artifact_id_of(trial_id: int, i: int) -> str:
    return f"{trial_id:08x}-{i:02x}"


class DrawnArtifacts(FileSystemArtifactStore):
    """A study's artifacts. Pictures of trials are drawn when they are first asked for, and kept in the folder while
    they take no more than MOST_BYTES there. Thread-safe.

    class_names: None where they are not known here.
    """

    def __init__(self, folder: Path, storage: optuna.storages.BaseStorage, class_names: Sequence[str] | None) -> None:
        super().__init__(folder)
        self._folder = folder
        self._storage = storage
        self._class_names = class_names
        self._drawing = threading.Lock()

    def open_reader(self, artifact_id: str) -> BinaryIO:
        with self._drawing:
            try:
                return super().open_reader(artifact_id)
            except ArtifactNotFound:
                drawn = self._draw(artifact_id)
                self._keep(artifact_id, drawn)
                return io.BytesIO(drawn)

    def remove(self, artifact_id: str) -> None:
        """It need not have been drawn."""
        with suppress(ArtifactNotFound):
            super().remove(artifact_id)

    def _draw(self, artifact_id: str) -> bytes:
        trial_id, _, i = artifact_id.partition("-")
        try:
            trial = self._storage.get_trial(int(trial_id, 16))
            drawn_from, name = trial.system_attrs[CHART_DATA_KEY], PICTURES[int(i, 16)]
        except (KeyError, ValueError, IndexError):
            raise ArtifactNotFound(f"{artifact_id} is not on this machine") from None
        return draw(trial, drawn_from, name, self._class_names)

    def _keep(self, artifact_id: str, drawn: bytes) -> None:
        """It can be drawn again, so a folder that takes no more, for whatever reason, is no error."""
        with suppress(OSError):
            if sum(path.stat().st_size for path in self._folder.iterdir()) + len(drawn) <= MOST_BYTES:
                with atomic_write(self._folder / artifact_id) as path:
                    path.write_bytes(drawn)


def draw(trial: FrozenTrial, drawn_from: Mapping[str, Any], name: str, class_names: Sequence[str] | None) -> bytes:
    """One of PICTURES. drawn_from: as `publish_pictures` stored it."""
    if name == "network.png":
        return network(trial.number, Recipe.from_dict(trial.user_attrs["recipe"]).architecture)
    if name == "learning-curve.png":
        rungs = [RungEnd(tuple(HistoryPoint(*it) for it in points), n, None) for n, points in drawn_from["rungs"]]
        return learning_curve(trial.number, rungs)
    counts = np.zeros((drawn_from["n_classes"],) * 2, np.int64)
    for i, j, n in drawn_from["confusion"]:
        counts[i, j] = n
    return confusion_matrix(trial.number, counts, class_names or [str(i) for i in range(len(counts))])
