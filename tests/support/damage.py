"""What can happen to a file of a study from outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def _remove(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "gone": _remove,
    "empty": _empty,
    "cut": _cut,
    "flip": _flip,  # of one bit in the middle
    "folder": _replace_by_folder,
    "link": _replace_by_link,  # to nowhere
}


def damage(path: Path, kind: str) -> None:
    """Damage a file in one of the ways of DAMAGES."""
    DAMAGES[kind](path)
