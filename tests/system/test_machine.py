"""What this machine has: network file systems are told from local disks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from fmnist.errors import UserError
from search.study.storage.opening import open_storage
from search.system.machine import network_file_system


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
