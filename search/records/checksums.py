"""Is a file of a study what was written? A manifest of checksums tells, and a damaged file is restored from its copy.

`checksums.json` has the SHA-256 of each file that a study's results rest on. A file's checksum is entered as *pending*
before the file gets its name, and becomes its own afterwards: a kill at any moment leaves no file that looks damaged.
Small files have a second copy in `copies/`, as has the manifest; a model is restored from another file of the same
content. What is made anew from these files (report, pictures, tables) has no checksum.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from fmnist.errors import UserError
from fmnist.paths import as_word, shown_path
from search.records.digests import digest_of, digest_or_none, matches
from search.records.io import atomic_write, write_text
from search.records.recipes import recipe_name_of

COPIED = (".json", ".toml", ".txt", ".npz")  # endings of files that have a second copy; models are too large
State = Literal["intact", "unrecorded", "missing", "changed"]


@dataclass(frozen=True)
class TrialsChecksum:
    """The checksum of trials that had finished, and so change no more."""

    numbers: tuple[int, ...]
    sha256: str | None


@dataclass
class Manifest:
    """What `checksums.json` says."""

    study: str  # drawn when the manifest was begun: tells it from that of another study
    adopted: str | None = None  # when files of an earlier version were entered as they were found, ISO 8601
    files: dict[str, str] = field(default_factory=dict)  # path in the study's folder -> SHA-256
    pending: dict[str, str] = field(default_factory=dict)  # of files that are about to get their names
    trials: TrialsChecksum | None = None  # of those in the storage when a search last ended


class Checksums:
    """The checksums of one study's files. Thread-safe; one process at a time may write (see `search.study.locks`).

    Attributes:
        say: is told of each file that was restored.
        restores: False to change nothing in the folder: a damaged file is read from its copy and stays as it is.

    Args:
        root: the study's folder.
    """

    def __init__(self, root: Path) -> None:
        self.say: Callable[[str], None] = lambda text: None
        self._said: set[str] = set()
        self.restores = True
        self.path = root / "checksums.json"
        self.copies = root / "copies"
        self._root = root
        self._lock = threading.RLock()
        self._manifest: Manifest | None = None
        self._is_read = False

    def __reduce__(self) -> tuple[type[Checksums], tuple[Path]]:
        """Make a pickle of a study's result lead to the same files: whoever loads it reads the manifest anew."""
        return Checksums, (self._root,)

    @property
    def manifest(self) -> Manifest | None:
        """The manifest as it stands; None where the study has none, or none yet.

        Raises:
            UserError: both the manifest and its copy are damaged.
        """
        with self._lock:
            if not self._is_read:
                self._manifest = self._read()
                self._is_read = True
            return self._manifest

    @property
    def trials(self) -> TrialsChecksum | None:
        """The checksum of the study's trials; None where it has none yet."""
        return None if self.manifest is None else self.manifest.trials

    def keep_trials(self, kept: TrialsChecksum | None) -> None:
        """Enter the checksum of the study's trials; None while they are rewritten."""
        with self._lock:
            if self.manifest is not None:
                self.manifest.trials = kept
                self._save()

    def begin(self, existing: Sequence[Path]) -> None:
        """Keep checksums from here on, and come to terms with what a killed run had not finished.

        Args:
            existing: files of the study. Without a manifest they are entered as they are, see `Manifest.adopted`.
        """
        with self._lock:
            manifest = self.manifest
            if manifest is None:
                manifest = Manifest(uuid.uuid4().hex)
                if existing:
                    manifest.adopted = datetime.now(UTC).isoformat(timespec="seconds")
                self._manifest = manifest
                manifest.pending = dict.fromkeys(map(self._name, existing), "")
            for name, announced in list(manifest.pending.items()):
                del manifest.pending[name]
                digest = digest_or_none(self._root / name)  # what cannot be read is named where it is used
                if digest is not None and announced in ("", digest):
                    self._enter(self._root / name, digest)
            self._heal()
            self._save()

    @contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """Write a file as `atomic_write` does, with its checksum, and its copy if it is small."""
        if self.manifest is None:
            with atomic_write(path) as temporary:
                yield temporary
            return
        with atomic_write(path, before_naming=lambda temporary: self._announce(path, temporary)) as temporary:
            yield temporary
        self.record(path)

    def record(self, path: Path) -> None:
        """Enter the checksum of a file or folder that is complete and has its name already."""
        manifest = self.manifest
        if manifest is None:
            return
        digest = digest_of(path)
        if digest is None:
            raise FileNotFoundError(path)
        with self._lock:
            manifest.pending.pop(self._name(path), None)
            self._enter(path, digest)
            self._save()

    def forget(self, path: Path) -> None:
        """Remove a file, or a folder with all in it, from disk and manifest: it is meant to be gone."""
        manifest, name = self.manifest, self._name(path)
        with self._lock:
            forgotten: list[str] = []
            if manifest is not None:
                known = {**manifest.pending, **manifest.files}
                forgotten = [each for each in known if each == name or each.startswith(f"{name}/")]
                for each in forgotten:  # pending: a kill before all is removed leaves nothing that looks foreign
                    manifest.pending[each] = known[each]
                    manifest.files.pop(each, None)
                self._save()
            for place in (path, self.copies / name):
                if place.is_dir():
                    shutil.rmtree(place)
                else:
                    place.unlink(missing_ok=True)
            if manifest is not None:
                for each in forgotten:
                    del manifest.pending[each]
                self._save()

    def names(self, folder: Path) -> list[Path]:
        """Return the files of a folder that the manifest knows."""
        if self.manifest is None:
            return []
        prefix = f"{self._name(folder)}/"
        known = {**self.manifest.files, **self.manifest.pending}
        return [self._root / name for name in known if name.startswith(prefix)]

    def state(self, path: Path) -> State:
        """Compare a file with its checksum. Nothing is restored."""
        manifest, name = self.manifest, self._name(path)
        if manifest is None or (name not in manifest.files and name not in manifest.pending):
            return "unrecorded"
        if matches(path, manifest.files.get(name), manifest.pending.get(name)):
            return "intact"
        if name not in manifest.files:  # a killed run was about to write it
            return "unrecorded"
        return "changed" if os.path.exists(path) else "missing"

    def is_whole(self, path: Path) -> bool:
        """Whether a file is there as it was written, restored if need be; False: make it anew, which is said.

        One without a checksum only has to be there.
        """
        try:
            return self.has(path)
        except UserError:
            self._say_once(f"{shown_path(path)} is lost or damaged, and no copy of it is left: it is made anew")
            return False

    def has(self, path: Path) -> bool:
        """Whether a file was written. If it was lost or damaged since, it is restored.

        Raises:
            UserError: it was written, is lost or damaged, and nothing is left to restore it from; or it is there, a
                record of another study or of a later state of this one, though this study has not written it.
        """
        if self.state(path) == "unrecorded":
            if path.suffix in COPIED and self.manifest is not None and self.manifest.adopted is None:
                self.refuse_foreign([path] if os.path.lexists(path) else [])
                return False
            return path.exists()
        self.intact(path)
        return True

    def refuse_foreign(self, paths: Sequence[Path]) -> None:
        """Raise UserError for the first of these files, if there is one: the study has not written them."""
        for path in paths:
            raise UserError(
                f"{shown_path(path)} must be a file that this study has written, but it is not; move it elsewhere"
            )

    def intact(self, path: Path) -> Path:
        """Return where to read a file that is as it was written: `path`, to which it is restored if need be.

        A file without a checksum is returned as it is. Where nothing may be written, it is the file's copy.

        Raises:
            UserError: it is lost or damaged, and nothing is left to restore it from.
        """
        state = self.state(path)
        if state in ("intact", "unrecorded"):
            return path
        source = self._source(path)
        what = "is missing" if state == "missing" else "is not as it was written (its checksum differs)"
        if source is None:
            retrain = ""
            recipe = recipe_name_of(self._name(path))
            if recipe is not None:
                retrain = (
                    f", train the model alone again, without the study's report, with python -m search.refit --recipe "
                    f"{as_word(self._root / recipe)} --out again.keras,"
                )
            raise UserError(
                f"{shown_path(path)} {what}, and no intact copy of it is left; restore it{retrain} or start "
                f"a new study with --study NAME"
            )
        if not self.restores or not os.access(self._root, os.W_OK):
            self._say_once(f"{shown_path(path)} {what}; read from {source.relative_to(self._root)}")
            return source
        kept = self._restore(path, source)
        self._say_once(f"{shown_path(path)} {what}: restored from {source.relative_to(self._root)}{kept}")
        return path

    def _heal(self) -> None:
        """Restore every small file that was lost or damaged, and every copy, while one of the two is left."""
        assert self._manifest is not None
        for name, digest in self._manifest.files.items():
            path, copy = self._root / name, self.copies / name
            if path.suffix not in COPIED or path.is_dir():
                continue
            if self.state(path) != "intact" and self._source(path) is not None:
                self.intact(path)
            if self.state(path) == "intact" and not matches(copy, digest):
                self._copy(path, copy)

    def _copy(self, source: Path, target: Path) -> None:
        """Copy a file over another. What is no file there is kept beside it."""
        if os.path.isdir(target):
            move_aside(target)
        with atomic_write(target) as temporary:
            shutil.copyfile(source, temporary)

    def _restore(self, path: Path, source: Path) -> str:
        """Put a copy in a file's place. What lay there is kept beside it, which the returned words say."""
        try:
            kept = move_aside(path)
            with atomic_write(path) as temporary:
                shutil.copyfile(source, temporary)
        except OSError as error:
            raise UserError(
                f"{shown_path(path)} must be restored from {shown_path(source)}, but it cannot be written "
                f"({error.strerror}); move away what "
                f"is in its place, or start a new study with --study NAME"
            ) from None
        return kept

    def _source(self, path: Path) -> Path | None:
        """Find a file with the content that another one should have."""
        manifest, name = self.manifest, self._name(path)
        assert manifest is not None
        digest = manifest.files[name]
        twins = [self._root / other for other, known in manifest.files.items() if known == digest and other != name]
        for candidate in (self.copies / name, *twins):
            if matches(candidate, digest):
                return candidate
        return None

    def _announce(self, path: Path, temporary: Path) -> None:
        digest = digest_of(temporary)
        with self._lock:
            assert self._manifest is not None and digest is not None
            self._manifest.pending[self._name(path)] = digest
            self._save()

    def _enter(self, path: Path, digest: str) -> None:
        name = self._name(path)
        assert self._manifest is not None
        self._manifest.files[name] = digest
        if path.suffix in COPIED and path.is_file():
            self._copy(path, self.copies / name)

    def _save(self) -> None:
        assert self._manifest is not None
        content = asdict(self._manifest)
        text = json.dumps({**content, "sha256": _digest_of_content(content)}, indent=1) + "\n"
        for place in (self.path, self.copies / self.path.name):
            if os.path.isdir(place):
                move_aside(place)
            write_text(place, text)

    def _read(self) -> Manifest | None:
        places = (self.path, self.copies / self.path.name)
        found = [_parsed(place) for place in places]
        first, second = found
        if first is not None and second is not None and first.study != second.study and not self._is_own(first):
            first = None
        elif (
            first is not None and second is not None and first != second
        ):  # one is from an older backup, or was cut off
            first = min(first, second, key=self._n_differing)
        if first is not None:
            return first
        if second is not None:
            self._say_once(
                f"{shown_path(self.path)} is missing or damaged: {places[1].relative_to(self._root)} stands in for it"
            )
            return second
        damaged = [str(shown_path(place)) for place in places if os.path.lexists(place)]
        if damaged:
            raise UserError(
                f"{' and '.join(damaged)} must hold the checksums of the study's files, but cannot be read; restore "
                f"one, or remove what is there: the files are then taken as they are"
            )
        return None

    def _n_differing(self, manifest: Manifest) -> int:
        return sum(not matches(self._root / name, digest) for name, digest in manifest.files.items())

    def _is_own(self, manifest: Manifest) -> bool:
        return matches(self._root / "config.json", manifest.files.get("config.json"))

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()


def _parsed(path: Path) -> Manifest | None:
    """Read a manifest; None where it is missing, or not as it was written."""
    try:
        content = json.loads(path.read_bytes())
        expected = content.pop("sha256")
        manifest = TypeAdapter(Manifest).validate_python(content)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return manifest if _digest_of_content(content) == expected else None


def _digest_of_content(content: dict[str, Any]) -> str:
    """Compute the SHA-256 of a manifest's content as it stands in the file: another version may know other fields."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def move_aside(path: Path) -> str:
    """Rename what is in a file's place, unless it is empty, to the first of NAME.damaged, NAME.damaged-2 that is free.

    Returns the end of a sentence that says so; "" where nothing was there.
    """
    if not (os.path.isdir(path) or (os.path.isfile(path) and os.path.getsize(path) > 0)):
        return ""
    aside, number = path.with_name(f"{path.name}.damaged"), 1
    while os.path.lexists(aside):
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{number}")
    os.replace(path, aside)
    return f"; what was there is now {aside.name}"
