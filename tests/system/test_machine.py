"""What this machine has: network file systems are told from local disks, and a container's memory from all of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from fmnist.errors import UserError
from search.study.storage.opening import open_storage
from search.system.machine import network_file_system, total_memory_mb


def mounts(*pairs: tuple[str, str]) -> list[SimpleNamespace]:
    return [SimpleNamespace(mountpoint=mountpoint, fstype=fstype) for mountpoint, fstype in pairs]


@pytest.mark.parametrize("fstype", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs"])
def test_network_file_system_is_noticed(fstype: str) -> None:
    partitions = mounts(("/", "ext4"), ("/mnt/team", fstype))
    assert network_file_system(Path("/mnt/team/studies/s.db"), partitions) == fstype
    assert network_file_system(Path("/mnt/teammates/s.db"), partitions) is None


def test_local_disk_within_a_network_file_system_is_local() -> None:
    partitions = mounts(("/", "nfs4"), ("/tmp", "tmpfs"))
    assert network_file_system(Path("/tmp/s.db"), partitions) is None


def limited(root: Path, group: str, limits: dict[str, str]) -> Path:
    """A file system that tells of the limits of control groups, by the paths of their files."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(group)
    for name, limit in limits.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{limit}\n")
    return root


@pytest.mark.parametrize(
    ("group", "limits", "megabytes"),
    [
        ("0::/\n", {"memory.max": str(2**30)}, 1024),  # a container
        ("0::/\n", {"memory.max": "max"}, None),
        ("0::/user/job\n", {"user/job/memory.max": "max", "user/memory.max": str(2**29)}, 512),  # what is above counts
        ("4:memory:/docker/0a1b\n3:cpu:/\n", {"memory/memory.limit_in_bytes": str(2**30)}, 1024),  # version 1
        ("4:memory:/job\n", {"memory/job/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("", {}, None),
    ],
)
def test_memory_is_that_of_the_container(
    tmp_path: Path, group: str, limits: dict[str, str], megabytes: float | None
) -> None:
    expected = psutil.virtual_memory().total / 2**20 if megabytes is None else megabytes
    assert total_memory_mb(limited(tmp_path, group, limits)) == expected


def test_machine_without_control_groups_has_all_of_its_memory(tmp_path: Path) -> None:
    assert total_memory_mb(tmp_path) == psutil.virtual_memory().total / 2**20


@pytest.mark.follows("the list of mounted file systems must be readable, but reading it failed ({})")
def test_container_without_proc_is_told_to_mount_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(all: bool) -> None:
        raise FileNotFoundError(2, "No such file or directory", "/proc/self/mounts")

    url = f"sqlite:///{tmp_path / 'study.db'}"
    with monkeypatch.context() as without_proc:
        without_proc.setattr("psutil.disk_partitions", missing)
        with pytest.raises(UserError, match=r"/proc/self/mounts.*mount -t proc proc /proc"):
            open_storage(url)
    open_storage(url)  # mounted again
