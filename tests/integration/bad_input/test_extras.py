"""An option that needs an extra says which package is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist.errors import UserError
from search.config import StudyConfig
from search.system.extras import OPTIONAL_EXTRAS, require_installed


def test_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("search.system.extras.is_installed", lambda module: False)
    with pytest.raises(UserError, match=r"--tensorboard needs tensorboard, which .* 'fmnist-search\[tensorboard\]'"):
        StudyConfig("s", tensorboard=tmp_path)
    with pytest.raises(UserError, match=r"--mlflow needs mlflow, which .* 'fmnist-search\[mlflow\]'"):
        StudyConfig("s", mlflow=tmp_path)


def test_folder_named_as_a_package_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folder of the extra itself, say, in the folder that Python runs in."""
    (tmp_path / "made_up").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(OPTIONAL_EXTRAS, "mlflow", ("made_up",))
    with pytest.raises(UserError, match="--mlflow needs made_up, which is not installed"):
        require_installed("mlflow")
