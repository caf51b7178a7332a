"""How do files reach the nodes of a cluster, and come back? By content: nodes need share no disk with the supervisor.

A file goes into Ray's object store once, and from there to each node once; on the node it is a file again, shared by
all trainings there, so that a training process maps it as it does on the supervisor's machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search.worker.tasks import Task, map_paths

OUTPUT = "save_to"  # the field of a task that names a file to be written; all other paths are read


@dataclass(frozen=True)
class Shipment:
    """A file, or a folder of files, in the object store."""

    name: str  # of the file or folder
    digest: str  # of all names and contents
    files: tuple[tuple[str, Any], ...]  # name within the folder, "" for a file; and an object reference to its bytes


@dataclass(frozen=True)
class Parcel:
    """A task with what it reads, to be sent to a node."""

    task: Task  # with the supervisor's paths
    shipments: dict[str, Shipment]  # by the supervisor's path


class Shipper:
    """Packs tasks. What has been put into the object store stays there until this object ends. Thread-safe.

    Args:
        put: Puts an array into the object store and returns a reference; `ray.put`.
    """

    def __init__(self, put: Callable[[np.ndarray], Any]) -> None:
        self._put = put
        self._lock = threading.Lock()
        self._shipped: dict[tuple[object, ...], Shipment] = {}  # by what identifies the state of the files

    def pack(self, task: Task) -> Parcel:
        """Put the files that a task reads into the object store, unless they are there, and return the parcel."""
        shipments: dict[str, Shipment] = {}

        def ship(field: str, path: Path) -> Path:
            if field != OUTPUT:
                shipments[str(path)] = self._ship(path)
            return path

        map_paths(task, ship)
        return Parcel(task, shipments)

    def _ship(self, path: Path) -> Shipment:
        files = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
        key = tuple((str(each), *_state_of(each)) for each in files)
        with self._lock:
            if key not in self._shipped:
                self._shipped[key] = self._put_files(path, files)
            return self._shipped[key]

    def _put_files(self, path: Path, files: list[Path]) -> Shipment:
        digest = hashlib.sha256(f"{path.name}\0".encode())
        put = []
        for each in files:
            content = np.fromfile(each, np.uint8)
            name = each.name if path.is_dir() else ""
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content.data)
            put.append((name, self._put(content)))
        return Shipment(path.name, digest.hexdigest(), tuple(put))


def _state_of(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


class NodeFiles:
    """The files of a run on one node, shared by all processes that train for it there.

    Each process that has this object locks the run's folder. A folder that nobody locks belongs to a run that has
    ended, however it ended: whoever comes or goes next removes it.

    Args:
        name: Of the run's folder.
        get: Returns the array of an object reference; `ray.get`.
        base: Where such folders are on this node.
    """

    def __init__(self, name: str, get: Callable[[Any], np.ndarray], base: Path) -> None:
        base.mkdir(exist_ok=True, mode=0o700)
        self._base = base
        self._get = get
        self.folder = base / name
        self._remove_unused()
        self._lock = self._locked()

    def _locked(self) -> int:
        while True:
            self.folder.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # nobody had locked it yet, so that another process removed it
                lock = os.open(self.folder, os.O_RDONLY)
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH)
                    if os.path.samestat(os.fstat(lock), self.folder.stat()):
                        return lock
                except FileNotFoundError:
                    pass
                os.close(lock)

    def close(self) -> None:
        """Give the files up; the last process of a run to do so removes them."""
        os.close(self._lock)
        self._remove_unused()

    def _remove_unused(self) -> None:
        for folder in self._base.iterdir():
            try:
                lock = os.open(folder, os.O_RDONLY)
            except FileNotFoundError:  # another process has removed it just now
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            except BlockingIOError:  # in use
                pass
            finally:
                os.close(lock)

    def unpack(self, parcel: Parcel, output: Path) -> Task:
        """Write what a task reads, unless it is there, and return the task with this node's paths.

        Args:
            parcel: The task and its files.
            output: Where the task shall write what it writes.
        """

        def place(field: str, path: Path) -> Path:
            if field == OUTPUT:
                return output / path.name
            return self._place(parcel.shipments[str(path)])

        return map_paths(parcel.task, place)

    def _place(self, shipment: Shipment) -> Path:
        target = self.folder / shipment.digest
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
                written = Path(temporary, "files")
                written.mkdir()
                for name, reference in shipment.files:
                    path = written / shipment.name / name if name else written / shipment.name
                    path.parent.mkdir(exist_ok=True)
                    self._get(reference).tofile(path)
                try:
                    os.rename(written, target)
                except OSError:  # another process of this node was faster
                    if not target.exists():
                        raise
        return target / shipment.name
