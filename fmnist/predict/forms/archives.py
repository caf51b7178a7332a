"""A path that leads to a zip or tar archive, or into one -> what it holds, unpacked into a temporary folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fmnist.data.archives.source import Unpacked, find_packed, lone_content


@dataclass(frozen=True, eq=False)
class OpenArchive:
    """What a path leads to in an archive. It is there as long as `unpacked` is."""

    unpacked: Unpacked
    place: str


def open_archive(path: str) -> OpenArchive | None:
    """Unpack the archive that a path leads to or into; None if it leads to none.

    Raises:
        UserError: The archive is damaged or encrypted, or would write elsewhere or fill the disk.
    """
    packed = find_packed(Path(path))
    if packed is None:
        return None
    archive = Path(path)  # as it was named, so that the names of its images begin so
    for _ in packed.inside.parts:
        archive = archive.parent
    unpacked = Unpacked(archive)
    with unpacked.naming_the_archive():
        place = unpacked.folder / packed.inside
        if not packed.inside.parts:
            place = lone_content(unpacked.folder)
    return OpenArchive(unpacked, str(place))
