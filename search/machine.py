"""What this machine has: cores and GPUs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil


def default_workers() -> int:
    """One single-threaded worker per core that this process may use: on two cores, two of them trained 1.5 times the
    images of one worker with two threads (one probe, the default recipe's network)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows do not tell which cores


def has_gpu() -> bool:
    """Whether an NVIDIA GPU is there, asked without loading TensorFlow."""
    return Path("/dev/nvidia0").exists() and os.environ.get("CUDA_VISIBLE_DEVICES") != "-1"


NETWORK_FILE_SYSTEMS = re.compile(
    r"^(nfs\d*|cifs|smb\w*|fuse\.sshfs|fuse\.glusterfs|glusterfs|ceph|afs|ncpfs|beegfs|lustre)$"
)


def network_file_system(path: Path, partitions: Sequence[Any] | None = None) -> str | None:
    """The kind of network file system that a path lies on, such as nfs4; None on a local disk.

    partitions: what psutil.disk_partitions(all=True) gives, for tests.
    """
    folder = path.absolute().parent.resolve()
    mounts = psutil.disk_partitions(all=True) if partitions is None else partitions
    holding = [mount for mount in mounts if folder.is_relative_to(mount.mountpoint)]
    nearest = max(holding, key=lambda mount: len(Path(mount.mountpoint).parts), default=None)
    return nearest.fstype if nearest is not None and NETWORK_FILE_SYSTEMS.match(nearest.fstype) else None
