"""A place for studies, and a command that is refused without leaving anything there."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist.cli import EXIT_USER_ERROR
from fmnist.data.idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from search.run import main
from tests.support.made_images import idx


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Where studies would live; it is not there yet."""
    return tmp_path / "studies"


@pytest.fixture
def refused(studies: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run the command with these options and give what follows `error: `. The options may name another studies-dir."""
    monkeypatch.delenv("FMNIST_DATA_DIR", raising=False)

    def run(*options: object) -> str:
        before = snapshot(studies)
        code = main(["--studies-dir", str(studies), *map(str, options)])
        output = capsys.readouterr()
        lines = output.err.splitlines()
        assert (code, len(lines)) == (EXIT_USER_ERROR, 1), output.err
        assert lines[0].startswith("error: ")
        assert "Traceback" not in output.out
        assert snapshot(studies) == before, "a study was begun or changed"
        return lines[0].removeprefix("error: ")

    return run


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file below, with its content. A lock that is held for the look at an old study may stay."""
    paths = [path for path in folder.rglob("*") if path.name != "run.lock"]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


@pytest.fixture
def shoes(tmp_path: Path) -> Path:
    """A small data set of four whole files: 3 classes, 40 training and 12 test images of 8 x 8 pixels."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "shoes"
    folder.mkdir()
    for images, labels, n in ((TRAIN_IMAGES, TRAIN_LABELS, 40), (TEST_IMAGES, TEST_LABELS, 12)):
        (folder / f"{images}.gz").write_bytes(gzip.compress(idx(rng.integers(0, 256, (n, 8, 8)))))
        (folder / f"{labels}.gz").write_bytes(gzip.compress(idx(np.arange(n) % 3)))
    return folder
