"""Charts of trials in Optuna's dashboard: stored as data with the trial, drawn when they are looked at."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import optuna
from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial

from fmnist.recipe import Recipe
from fmnist.training.history import HistoryPoint
from search.dashboard.network_chart import draw_network
from search.dashboard.trial_charts import draw_confusion_matrix, draw_learning_curve
from search.records.io import atomic_write
from search.study.objective import RungEnd
from search.study.optuna_private import ARTIFACT_PREFIX, id_of, set_trial_system_attr

MOST_BYTES = 64_000_000  # that drawn charts may take of a disk; beyond that they are drawn each time
CHART_DATA_KEY = "drawn-from"  # a trial's system attribute: what its charts are drawn from
CURVE, CONFUSION, NETWORK = CHARTS = ("learning-curve.png", "confusion-matrix.png", "network.png")


def publish_charts(trial: optuna.Trial, ended: Sequence[RungEnd]) -> None:
    """Store what the trial's charts are drawn from, and tell the dashboard that they are there.

    Args:
        trial: one that still runs; Optuna takes nothing of a finished one.
        ended: the rungs that it was trained on to the end, one or more.
    """
    rungs = []
    for rung in ended:
        rungs.append([rung.n_images_before, [tuple(point.to_dict().values()) for point in rung.history]])
    names = [CURVE, NETWORK]
    n_classes, confusion = None, None
    counts = ended[-1].confusion
    if counts is not None:
        names.append(CONFUSION)
        n_classes = len(counts)
        confusion = [[i, j, int(counts[i, j])] for i, j in np.argwhere(counts).tolist()]
    chart_data = {"rungs": rungs, "n_classes": n_classes, "confusion": confusion}
    set_trial_system_attr(trial, CHART_DATA_KEY, chart_data)
    for name in names:
        set_trial_system_attr(trial, *artifact_entry(id_of(trial), CHARTS.index(name), name))


def artifact_entry(trial_id: int, i: int, name: str) -> tuple[str, str]:
    """Key and value of the attribute by which Optuna knows an artifact.

    Optuna's own upload_artifact draws a new id each time, so a chart that is stored again would be there twice.
    """
    artifact_id = artifact_id_of(trial_id, i)
    meta = ArtifactMeta(artifact_id=artifact_id, filename=name, mimetype="image/png", encoding=None)
    return f"{ARTIFACT_PREFIX}{artifact_id}", json.dumps(asdict(meta))


def artifact_id_of(trial_id: int, i: int) -> str:
    """The id, and file name, of a trial's artifact number i."""
    return f"{trial_id:08x}-{i:02x}"


class DrawnArtifacts(FileSystemArtifactStore):
    """A study's artifacts, of which trials' charts are drawn when they are first asked for. Thread-safe.

    Drawn charts are kept in the folder while they take no more than MOST_BYTES there.

    Args:
        folder: where artifacts are kept.
        storage: Optuna's storage with the trials.
        class_names: None where they are not known here.
    """

    def __init__(self, folder: Path, storage: optuna.storages.BaseStorage, class_names: Sequence[str] | None) -> None:
        super().__init__(folder)
        self._folder = folder
        self._storage = storage
        self._class_names = class_names
        self._drawing = threading.Lock()

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open an artifact, drawing it if need be. Raises ArtifactNotFound for one that nothing is known of."""
        with self._drawing:
            try:
                return super().open_reader(artifact_id)
            except ArtifactNotFound:
                png = self.draw(artifact_id)
            # It can be drawn again, so a folder that takes no more, for whatever reason, is no error.
            with suppress(OSError):
                n_bytes = sum(path.stat().st_size for path in self._folder.iterdir())
                if n_bytes + len(png) <= MOST_BYTES:
                    with atomic_write(self._folder / artifact_id) as path:
                        path.write_bytes(png)
            return io.BytesIO(png)

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact, which need not have been drawn."""
        with suppress(ArtifactNotFound):
            super().remove(artifact_id)

    def draw(self, artifact_id: str) -> bytes:
        """Draw a trial's chart as PNG. Raises ArtifactNotFound where the storage has no data for it."""
        trial_id, _, i = artifact_id.partition("-")
        try:
            trial = self._storage.get_trial(int(trial_id, 16))
            chart_data, name = trial.system_attrs[CHART_DATA_KEY], CHARTS[int(i, 16)]
        except (KeyError, ValueError, IndexError):
            raise ArtifactNotFound(f"{artifact_id} is not on this machine") from None
        return draw_chart(trial, chart_data, name, self._class_names)


def draw_chart(
    trial: FrozenTrial, chart_data: Mapping[str, Any], name: str, class_names: Sequence[str] | None
) -> bytes:
    """Draw one of CHARTS as PNG.

    Args:
        trial: whose chart it is, with its recipe as a user attribute.
        chart_data: as `publish_charts` stored it.
        name: of the chart.
        class_names: by label; None: labels are shown by their numbers.
    """
    if name == NETWORK:
        return draw_network(trial.number, Recipe.from_dict(trial.user_attrs["recipe"]).architecture)
    if name == CURVE:
        rungs = []
        for n_images_before, points in chart_data["rungs"]:
            rungs.append(RungEnd(tuple(HistoryPoint(*point) for point in points), n_images_before, None))
        return draw_learning_curve(trial.number, rungs)
    n_classes = chart_data["n_classes"]
    counts = np.zeros((n_classes, n_classes), np.int64)
    for i, j, n in chart_data["confusion"]:
        counts[i, j] = n
    if class_names is None:
        class_names = [str(i) for i in range(n_classes)]
    return draw_confusion_matrix(trial.number, counts, class_names)
