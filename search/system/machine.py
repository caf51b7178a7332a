"""What does this machine have? Cores, GPUs, and file systems that other machines share."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from fmnist.errors import UserError

NETWORK_FILE_SYSTEMS = re.compile(
    r"^(nfs\d*|cifs|smb\w*|fuse\.sshfs|fuse\.glusterfs|glusterfs|ceph|afs|ncpfs|beegfs|lustre)$"
)


def default_workers() -> int:
    """Return the number of cores that this process may use: one single-threaded worker for each.

    On two cores, two of them trained 1.5 times the images of one worker with two threads (one probe, the default
    recipe's network).
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows do not tell which cores


def name_of_this_process() -> str:
    """Name process and machine, as those are told who find something in use."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def total_memory_mb(root: Path = Path("/")) -> float:
    """Return the megabytes of memory that this process may have: the machine's, or the limit of its container.

    Args:
        root: Of the file system that tells of limits, for tests.
    """
    limits = [psutil.virtual_memory().total]
    for path in _files_of_memory_limits(root):
        with contextlib.suppress(OSError, ValueError):  # missing, or "max"
            limits.append(int(path.read_text()))
    return min(limits) / 2**20


def _files_of_memory_limits(root: Path) -> list[Path]:
    """Where Linux tells the limits of this process's control group and of all above it, by either version of these."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return []
    files = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            base, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        inner = Path(group.lstrip("/"))
        files += [base / folder / name for folder in (inner, *inner.parents)]
    return files


def has_gpu() -> bool:
    """Whether an NVIDIA GPU is there, asked without loading TensorFlow."""
    return Path("/dev/nvidia0").exists() and os.environ.get("CUDA_VISIBLE_DEVICES", "0") not in ("", "-1")


def network_file_system(path: Path, partitions: Sequence[Any] | None = None) -> str | None:
    """Return the kind of network file system that a path lies on, such as nfs4; None on a local disk.

    Args:
        path: A file or folder, which need not exist.
        partitions: What `psutil.disk_partitions(all=True)` gives, for tests.

    Raises:
        UserError: The system does not list its file systems.
    """
    folder = path.absolute().parent.resolve()
    nearest, depth = None, -1
    for mount in _mounted() if partitions is None else partitions:
        parts = Path(mount.mountpoint).parts
        if folder.is_relative_to(mount.mountpoint) and len(parts) > depth:
            nearest, depth = mount, len(parts)
    if nearest is None or not NETWORK_FILE_SYSTEMS.match(nearest.fstype):
        return None
    return nearest.fstype


def _mounted() -> Sequence[Any]:
    try:
        return psutil.disk_partitions(all=True)
    except OSError as error:  # some containers and chroots come without /proc
        raise UserError(
            f"the list of mounted file systems must be readable, but reading it failed ({error}); in a container or "
            f"chroot, mount /proc: mount -t proc proc /proc"
        ) from None
