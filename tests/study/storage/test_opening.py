"""The storage: who may use its file, network file systems refused."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from fmnist.errors import UserError
from search.study.storage.opening import open_storage


def test_study_on_a_network_file_system_is_refused_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "search.system.machine.psutil.disk_partitions", lambda all: [SimpleNamespace(mountpoint="/", fstype="nfs4")]
    )
    with pytest.raises(UserError, match=r"network file system.*nfs4.*--studies-dir, or use --storage postgresql"):
        open_storage(f"sqlite:///{tmp_path}/s.db")


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_umask_decides_who_may_use_an_sqlite_file(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        open_storage(f"sqlite:///{tmp_path}/s.db").engine.dispose()
    finally:
        os.umask(before)
    assert (tmp_path / "s.db").stat().st_mode & 0o777 == mode
