"""Search spaces that cannot be used: one line on standard error, exit code 2, no study begun."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from search.system.shipped import SHIPPED_SPACES
from tests.support.messages import assert_says

DIGITS_TEXT = (SHIPPED_SPACES / "digits.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("n_blocks = { low = 1, high = 3 }", "n_block = 3", ["n_block is not a key", "did you mean n_blocks"]),
        ("low = 1, high = 3", "low = 3, high = 1", ["n_blocks: low must not be above high", "low = 3, high = 1"]),
        ("low = 16, high = 128, log", "low = 0, high = 128, log", ["dense_units.low", "between 1 and", "got 0"]),
        ("kernel_size = 3", "kernel_size = 4", ["kernel_size must be one of 1, 3, 5", "got 4"]),
        ("low = 1, high = 3", "low = 1, high = 4", ["8 x 8 pixels carry at most 3 blocks", "got 4", "lower it"]),
        ("n_blocks = {", "n_blocks = {{", ["not valid TOML", "line 17"]),
    ],
    ids=["unknown key", "low above high", "low of 0", "unknown choice", "too deep", "not TOML"],
)
def test_space_that_cannot_be_searched(
    refused: Callable[..., str], tmp_path: Path, studies: Path, old: str, new: str, parts: list[str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(DIGITS_TEXT.replace(old, new, 1), encoding="utf-8")
    assert_says(refused("--dataset", "digits", "--space", path), str(path), *parts)
    assert not studies.exists()


def test_space_that_is_not_there(refused: Callable[..., str], tmp_path: Path, studies: Path) -> None:
    assert_says(
        refused("--dataset", "digits", "--space", tmp_path / "none.toml"),
        "no search-space file",
        "none.toml",
        "--space",
    )
    assert_says(refused("--dataset", "digits", "--space", tmp_path), str(tmp_path), "Is a directory", "--space")
    assert not studies.exists()
