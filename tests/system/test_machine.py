"""What this machine has: network file systems are told from local disks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

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
