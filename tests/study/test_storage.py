"""The storage: a budget that holds, owners respected, network file systems refused."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState

from fmnist.errors import UserError
from search.study.optuna_private import id_of
from search.study.storage import AlreadyQueued, BudgetSpent, open_storage


def test_budget_holds_in_one_file(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    study = optuna.create_study(storage=storage)
    storage.budget = 2
    study.enqueue_trial({}, user_attrs={"origin": "default"})
    with pytest.raises(AlreadyQueued):
        study.enqueue_trial({}, user_attrs={"origin": "default"})
    study.ask(), study.ask()
    with pytest.raises(BudgetSpent):
        study.ask()
    assert len(study.trials) == 2


def test_trial_is_requeued_only_from_the_owner_it_had(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/s.db")
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    trial.set_user_attr("owner", {"pid": 1})
    assert not storage.requeue(id_of(trial), {"pid": 2}, 1)
    assert storage.requeue(id_of(trial), {"pid": 1}, 1)
    assert (study.trials[0].state, study.trials[0].user_attrs["n_losses"]) == (TrialState.WAITING, 1)


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
