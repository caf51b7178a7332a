"""SHA-256 of files and folders, and whether a file has the content that a checksum is of."""

from __future__ import annotations

import hashlib
from pathlib import Path

TEXTS = (".json", ".toml", ".txt")


def digest_of(path: Path) -> str | None:
    """Compute the SHA-256 of a file, or of a folder's files with their names; None if there is neither."""
    if path.is_dir():
        digest = hashlib.sha256()
        for each in sorted(path.rglob("*")):
            if each.is_file():
                digest.update(f"{each.relative_to(path).as_posix()} {digest_of(each)}\n".encode())
        return digest.hexdigest()
    if not path.exists():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_or_none(path: Path) -> str | None:
    """Compute what `digest_of` does; None also for what cannot be read."""
    try:
        return digest_of(path)
    except OSError:
        return None


def matches(path: Path, *digests: str | None) -> bool:
    """Whether what is there has one of the checksums. False also for what cannot be read or is missing.

    A text may have got the line ends of Windows since: Git writes them at a checkout, and they change nothing.
    """
    found = digest_or_none(path)
    if found is None:
        return False
    if found in digests:
        return True
    if path.suffix not in TEXTS or not path.is_file():
        return False
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest() in digests
