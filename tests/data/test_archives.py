"""A zip or tar of a data set is that data set, leaves nothing behind, and cannot do harm."""

from __future__ import annotations

import bz2
import gc
import gzip
import io
import lzma
import os
import shlex
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.archives.source import Unpacked
from fmnist.data.archives.unpack import unpack
from fmnist.data.find import find_data
from fmnist.data.source import DataSource
from fmnist.data.split import load_test, load_train
from fmnist.errors import UserError
from fmnist.reading import without_suffix
from tests.support.data_sets import found, write_folder
from tests.support.made_images import digits_of_each, write_divided, write_pictures
from tests.support.remedies import needs_remedy

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz")


def pack(folder: Path, archive: Path, top: str = "") -> Path:
    """By Python's own modules. top: a folder around everything."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [str(Path(top, path.relative_to(folder))) for path in paths]
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path, name in zip(paths, names, strict=True):
                file.write(path, name)
        return archive
    mode = {".tar": "w", ".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[archive.suffix]
    with tarfile.open(archive, mode) as file:  # type: ignore[call-overload]
        for path, name in zip(paths, names, strict=True):
            file.add(path, name)
    return archive


def name_of_its_own(folder: Path) -> Path:
    """A path for an archive, by whose name its temporary folder is told from those of other tests and processes."""
    return folder / f"{uuid.uuid4().hex}.zip"


def leftovers(archive: Path) -> list[Path]:
    """The temporary folders of an archive."""
    gc.collect()
    return list(Path(tempfile.gettempdir()).glob(f"fmnist-search-*/{archive.stem}"))


def undivided(folder: Path) -> Path:
    return write_pictures(folder, *digits_of_each([15] * 3))


def arrays(folder: Path) -> Path:
    images, labels = digits_of_each([15] * 3)
    folder.mkdir()
    np.savez(folder / "mine.npz", x_train=images, y_train=labels)
    return folder


def assert_same(packed: DataSource, plain: DataSource) -> None:
    assert packed.class_names == plain.class_names
    assert packed.checksums == plain.checksums
    assert packed.test_checksum == plain.test_checksum
    assert load_train(packed, 0).checksum == load_train(plain, 0).checksum
    np.testing.assert_array_equal(load_train(packed, 0).train.images, load_train(plain, 0).train.images)
    np.testing.assert_array_equal(load_test(packed).images, load_test(plain).images)
    np.testing.assert_array_equal(load_test(packed).labels, load_test(plain).labels)


# --- the same data


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("top", ["", "any name"])
def test_archive_gives_what_its_folder_gives(tmp_path: Path, suffix: str, top: str) -> None:
    plain = found(undivided(tmp_path / "folder"))
    packed = found(pack(tmp_path / "folder", tmp_path / f"shoes{suffix}", top))
    assert packed.dataset == "shoes" and packed.folder == tmp_path / f"shoes{suffix}"
    assert_same(packed, plain)


@pytest.mark.parametrize("make", [write_divided, write_folder, arrays])
def test_archive_holds_whatever_a_folder_may(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    folder = make(tmp_path / "folder")
    plain = found(folder / "mine.npz" if make is arrays else folder)
    for suffix in (".zip", ".tar.gz"):
        assert_same(found(pack(folder, tmp_path / f"mine{suffix}", "mine")), plain)


def test_archive_is_told_by_its_content(tmp_path: Path) -> None:
    undivided(tmp_path / "folder")
    for suffix in SUFFIXES:
        path = pack(tmp_path / "folder", tmp_path / f"shoes{suffix}").rename(tmp_path / "download")
        assert len(found(path).class_names) == 3


def test_npz_file_is_read_as_arrays_though_it_is_a_zip(tmp_path: Path) -> None:
    path = arrays(tmp_path / "folder") / "mine.npz"
    assert zipfile.is_zipfile(path) and found(path).checksums.keys() == {"mine.npz"}


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.zip", "a"),
        ("a.b.TAR.GZ", "a.b"),
        ("a.tgz", "a"),
        ("a.npz", "a"),
        ("a", "a"),
        (".zip", ".zip"),
        ("a.b", "a.b"),
    ],
)
def test_data_set_is_called_like_its_archive(name: str, stem: str) -> None:
    assert without_suffix(name) == stem


def test_tool_made_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    plain = found(undivided(tmp_path / "folder"))
    path = pack(tmp_path / "folder", tmp_path / "shoes.zip", "shoes")
    with zipfile.ZipFile(path, "a") as file:
        for name in ("__MACOSX/shoes/._0000.png", "shoes/.DS_Store", ".hidden/0.png"):
            file.writestr(name, b"no picture")
    packed = found(path)
    assert_same(packed, plain)
    assert packed.notes == plain.notes


def test_names_that_are_no_utf8_are_those_that_the_folder_has(tmp_path: Path) -> None:
    folder = undivided(tmp_path / "folder")
    first = sorted((folder / "other").iterdir())[0]
    os.rename(first, os.fsencode(folder / "other") + b"/\xe9.png")
    plain = found(folder)
    with tarfile.open(tmp_path / "shoes.tar", "w") as file:
        file.add(folder, ".")
    assert_same(found(tmp_path / "shoes.tar"), plain)


def test_zip_names_are_utf8_though_it_does_not_say_so(tmp_path: Path) -> None:
    images, labels = digits_of_each([15] * 3)
    plain = found(write_pictures(tmp_path / "folder", images, labels, ("Stövel", "靴", "x")))
    path = pack(tmp_path / "folder", tmp_path / "a.zip")
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            flags = struct.unpack_from("<H", content, at + offset)[0]
            struct.pack_into("<H", content, at + offset, flags & ~0x800)
            at = content.find(signature, at + 4)
    path.write_bytes(content)
    assert_same(found(path), plain)


def test_folders_may_be_separated_by_backslashes(tmp_path: Path) -> None:
    plain = found(undivided(tmp_path / "folder"))
    path = pack(tmp_path / "folder", tmp_path / "shoes.zip")
    content = path.read_bytes()
    for name in plain.class_names:
        content = content.replace(f"{name}/".encode(), f"{name}\\".encode())
    path.write_bytes(content)
    assert_same(found(path), plain)


def test_links_within_are_followed_as_in_the_folder(tmp_path: Path) -> None:
    folder = undivided(tmp_path / "folder")
    first, second = sorted((folder / "other").iterdir())[:2]
    second.unlink()
    second.symlink_to(first.name)
    os.link(first, folder / "other" / "twin.png")
    plain = found(folder)
    with tarfile.open(tmp_path / "shoes.tar.gz", "w:gz") as file:
        file.add(folder, "shoes")
    assert_same(found(tmp_path / "shoes.tar.gz"), plain)


# --- what a path in it stands for


def test_messages_name_the_archive_and_paths_in_it_can_be_passed(tmp_path: Path) -> None:
    outer = tmp_path / "my folder"
    for name in ("part a", "part b"):
        write_divided(outer / name)
    path = pack(outer, tmp_path / "two sets.zip")
    with pytest.raises(UserError, match="must be one data set, but") as caught:
        found(path)
    text = str(caught.value)
    assert "fmnist-search-" not in text and f"{path} must be one data set" in text
    (proposed,) = shlex.split(text.partition("--dataset ")[2])
    assert proposed == f"{path}/part a"
    source = find_data(proposed)
    assert source.dataset == "part a"
    assert_same(source, found(outer / "part a"))


def test_notes_name_no_temporary_folder(tmp_path: Path) -> None:
    folder = undivided(tmp_path / "folder" / "images").parent
    (folder / "empty").mkdir()
    shutil.make_archive(str(tmp_path / "shoes"), "zip", folder)
    source = found(tmp_path / "shoes.zip")
    assert any("shoes/images/" in note for note in source.notes)
    assert not any("fmnist-search-" in note for note in source.notes)


def test_path_that_is_not_in_the_archive_is_refused(tmp_path: Path) -> None:
    path = pack(undivided(tmp_path / "a" / "shoes").parent, tmp_path / "a.zip")
    for name in ("shoe", "nothing", "shoes/nothing"):
        with needs_remedy(
            "--dataset must lead to what an archive holds, but there is no {} in {}; check the"
        ) as caught:
            found(path / name)
        assert f"there is no '{name}' in {path}; check" in str(caught.value)
    found(path)
    found(path / "shoes")


# --- how long the temporary folder lives


def test_temporary_folder_goes_with_the_readers(tmp_path: Path) -> None:
    path = pack(undivided(tmp_path / "folder"), name_of_its_own(tmp_path))
    source = found(path)
    read_test = source.read_test
    assert len(leftovers(path)) == 1
    del source
    assert len(read_test()) == 7  # as the reader holds it
    del read_test
    assert not leftovers(path)


def test_nothing_is_left_by_an_archive_that_is_refused(tmp_path: Path) -> None:
    path = pack(write_pictures(tmp_path / "folder", *digits_of_each([15, 15, 5])), name_of_its_own(tmp_path))
    with pytest.raises(UserError, match="a class needs at least 15"):
        found(path)
    assert not leftovers(path)


def test_archive_is_unpacked_again_if_the_system_has_tidied_up(tmp_path: Path) -> None:
    source = found(pack(write_divided(tmp_path / "folder"), tmp_path / "shoes.zip"))
    before = load_test(source).images
    unpacked: Unpacked = source.read_test._unpacked  # type: ignore[attr-defined]
    shutil.rmtree(unpacked.folder.parent)
    np.testing.assert_array_equal(load_test(source).images, before)


def test_archive_that_is_gone_by_then_is_named(tmp_path: Path) -> None:
    path = pack(write_divided(tmp_path / "folder"), tmp_path / "shoes.zip")
    source = found(path)
    shutil.rmtree(source.read_test._unpacked.folder)  # type: ignore[attr-defined]
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=rf"{path} must be readable, but: No such file"):
        load_test(source)
    (tmp_path / "elsewhere").rename(path)
    load_test(source)


@pytest.mark.process
def test_temporary_folder_is_removed_when_the_process_ends_and_another_reads_the_same(tmp_path: Path) -> None:
    path = pack(undivided(tmp_path / "folder"), tmp_path / "shoes.tar.gz")
    (tmp_path / "tmp").mkdir()
    script = (
        "import os, sys, tempfile; from fmnist.data.find import find_data; from fmnist.data.split import load_train\n"
        "source = find_data(sys.argv[1]); print(load_train(source, 0).checksum, *os.listdir(tempfile.gettempdir()))"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-c", script, str(path)]
    child = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    checksum, folder = child.stdout.split()
    assert folder.startswith("fmnist-search-") and not os.listdir(tmp_path / "tmp")
    assert checksum == load_train(found(path), 0).checksum


def test_reading_can_be_ended_while_an_archive_is_unpacked(tmp_path: Path) -> None:
    class Ended(BaseException):
        pass

    def end(n_read: int, n_files: int) -> None:
        raise Ended

    path = pack(undivided(tmp_path / "folder"), name_of_its_own(tmp_path))
    with pytest.raises(Ended):
        found(path, on_progress=end)
    assert not leftovers(path)


# --- harm


def zip_of(path: Path, *entries: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
    return path


def tar_of(path: Path, *entries: tuple[str, bytes, str]) -> Path:
    """Entries: name, type, and target of a link."""
    with tarfile.open(path, "w") as file:
        for name, kind, target in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, 1 if kind == tarfile.REGTYPE else 0
            file.addfile(info, io.BytesIO(b"x"))
    return path


def zip_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def unpacked_below(folder: Path, archive: Path, **limits: object) -> int:
    """The number of files that are unpacked into a folder, two below, from which they should not get out."""
    place = Path(os.path.realpath(folder)) / "in" / "to"
    place.mkdir(parents=True, exist_ok=True)
    return unpack(archive, place, **limits)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["../x", "a/../../../x", "/tmp/fmnist-x", "..", "C:\\x", "C:/x", "..\\x", "a/.."])
@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_path_that_leads_out_is_refused(tmp_path: Path, name: str, suffix: str) -> None:
    room, archive = tmp_path / "room", tmp_path / f"a.{suffix}"
    if suffix == "zip":
        zip_of(archive, ("fine", b"x"), (name, b"x"))
    else:
        tar_of(archive, ("fine", tarfile.REGTYPE, ""), (name.replace("..\\", "../"), tarfile.REGTYPE, ""))
    with needs_remedy("an archive must unpack into one folder, but {} holds {}, which leads out of it; if you"):
        unpacked_below(room, archive)
    assert everything_below(room) == ["in", "in/to"]
    assert not os.path.lexists("/tmp/fmnist-x")
    found(undivided(tmp_path / "unpacked"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "a/../../../../etc", "loop/../../.."])
@pytest.mark.parametrize("kind", ["zip", tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_link_that_leads_out_is_refused(tmp_path: Path, target: str, kind: bytes | str) -> None:
    folder = undivided(tmp_path / "folder")
    if isinstance(kind, str):
        archive = zip_of(tmp_path / "a.zip", (zip_link("link"), target.encode()))
    else:
        archive = tar_of(tmp_path / "a.tar", ("link", kind, target))
    with needs_remedy("links in an archive must lead to what is in it, but in {} {} leads to {}; pack the folder"):
        unpacked_below(tmp_path / "room", archive)
    assert everything_below(tmp_path / "room") == ["in", "in/to"]
    (folder / "other" / "0.png").symlink_to(shutil.copy(next((folder / "other").iterdir()), tmp_path / "outside.png"))
    with tarfile.open(archive, "w", dereference=True) as file:
        file.add(folder, "folder")
    found(archive)


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_nothing_is_written_through_a_link(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "room" / "in" / "outside").mkdir(parents=True)
    if suffix == "zip":
        archive = zip_of(tmp_path / "a.zip", (zip_link("link"), b"../outside"), ("link/x", b"x"))
    else:
        entries = (("link", tarfile.SYMTYPE, "../outside"), ("link/x", tarfile.REGTYPE, ""))
        archive = tar_of(tmp_path / "a.tar", *entries)
    with pytest.raises(UserError, match=r"must unpack into .* 'link' does not: File exists"):
        unpacked_below(tmp_path / "room", archive)
    assert not any((tmp_path / "room" / "in" / "outside").iterdir())


def test_entries_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("x", b"1"), ("x/y.png", b"2"))
    with needs_remedy("{} must unpack into {}, but {} does not: {}; unpack it yourself and pass the folder"):
        unpacked_below(tmp_path / "room", archive)
    found(undivided(tmp_path / "unpacked"))


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tar_of(tmp_path / "a.tar", ("x", kind, ""))
    with needs_remedy("an archive must hold files and folders, but in {} {} is a device or a pipe; pack the folder"):
        unpacked_below(tmp_path / "room", archive)
    found(pack(undivided(tmp_path / "folder"), archive))


def test_bomb_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    zeros = bytes(3_000_000)
    archives = [zip_of(tmp_path / "a.zip", ("x", zeros), ("y", zeros))]
    for opener, suffix in ((gzip.open, "gz"), (bz2.open, "bz2"), (lzma.open, "xz")):
        plain = tmp_path / "plain.tar"
        with tarfile.open(plain, "w") as file:
            info = tarfile.TarInfo("x")
            info.size = len(zeros)
            file.addfile(info, io.BytesIO(zeros))
        with opener(tmp_path / f"a.tar.{suffix}", "wb") as packed:
            packed.write(plain.read_bytes())
        archives.append(tmp_path / f"a.tar.{suffix}")
    for archive in archives:
        with needs_remedy("an archive may unpack to {} GB, or else to {} times its own size, but {} has more; if you"):
            unpacked_below(tmp_path / "room", archive, large=1_000_000)
        assert everything_below(tmp_path / "room") == ["in", "in/to"]
    found(undivided(tmp_path / "unpacked"))


def test_many_small_files_are_a_bomb_too(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        for i in range(1000):
            file.addfile(tarfile.TarInfo(str(i)))
    with pytest.raises(UserError, match="an archive may unpack to"):
        unpacked_below(tmp_path / "room", archive, large=4096 * 999)
    assert everything_below(tmp_path / "room") == ["in", "in/to"]
    assert unpacked_below(tmp_path / "room", archive, large=4096 * 1000) == 1000


def test_header_that_promises_more_than_there_is_takes_no_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 7 << 30
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(4_000_000))
    with pytest.raises(UserError, match="an archive may unpack to"):
        unpacked_below(tmp_path / "room", tmp_path / "a.tar.gz", large=1_000_000)


def test_entry_that_is_longer_than_it_says_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("x", bytes(100_000)))
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.find(signature) + offset, 10)
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"must be a whole zip or tar archive, but is cut or damaged \(Bad CRC-32"):
        unpacked_below(tmp_path / "room", archive)
    assert sum(path.stat().st_size for path in (tmp_path / "room").rglob("x")) <= 10


def test_archive_that_the_disk_has_no_room_for_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    archive = pack(undivided(tmp_path / "folder"), tmp_path / "shoes.zip")
    with needs_remedy("unpacking {} takes {} GB, but {} has {} GB free; make room there, or set TMPDIR"):
        unpacked_below(tmp_path / "room", archive, free_bytes=lambda folder: 1000)
    assert everything_below(tmp_path / "room") == ["in", "in/to"]
    assert unpacked_below(tmp_path / "room", archive, free_bytes=lambda folder: 1_000_000) == 45


# --- what cannot be read


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_archive_that_is_cut_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = pack(undivided(tmp_path / "folder"), tmp_path / f"shoes{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"must be a whole zip or tar archive, but is .*cut or damaged.*fetch it again"):
        found(path)
    path.write_bytes(content)
    found(path)


def test_tar_that_is_cut_between_two_files_or_damaged_in_a_header_is_refused(tmp_path: Path) -> None:
    path = pack(undivided(tmp_path / "folder"), tmp_path / "shoes.tar")
    with tarfile.open(path) as file:
        at = file.getmembers()[20].offset
    content = path.read_bytes()
    for damaged in (content[:at], content[:at] + b"\xff" * 100 + content[at + 100 :]):
        path.write_bytes(damaged)
        with needs_remedy("{} must be a whole zip or tar archive, but is cut or damaged ({}); fetch it again"):
            found(path)
    path.write_bytes(content)
    found(path)


def test_file_called_like_an_archive_is_fetched_again(tmp_path: Path) -> None:
    path = tmp_path / "shoes.zip"
    path.write_text("<html>please log in</html>")
    with needs_remedy("{} must be a whole zip or tar archive, but is neither, or cut or damaged; fetch it again"):
        found(path)
    found(pack(undivided(tmp_path / "folder"), path))


@pytest.mark.parametrize("suffix", [".rar", ".7z", ".tar.zst"])
def test_archive_of_another_kind_is_to_be_unpacked(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"shoes{suffix}"
    path.write_bytes(b"7z\xbc\xaf\x27\x1c")
    with needs_remedy(
        "an archive must be a zip or a tar (.tar, .tar.gz, .tar.bz2, .tar.xz), but got {}; unpack it and"
    ):
        found(path)
    found(undivided(tmp_path / "shoes"))


def set_in_headers(path: Path, at: int, in_directory: int, value: int) -> None:
    """Change 16 bits of every entry's two headers in a zip."""
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", at), (b"PK\x01\x02", in_directory)):
        start = content.find(signature)
        while start >= 0:
            struct.pack_into("<H", content, start + offset, value)
            start = content.find(signature, start + 4)
    path.write_bytes(content)


def test_encrypted_zip_is_to_be_unpacked(tmp_path: Path) -> None:
    path = pack(undivided(tmp_path / "folder"), tmp_path / "shoes.zip")
    set_in_headers(path, 6, 8, 1)
    with needs_remedy(
        "an archive must be readable without a password, but {} is encrypted; unpack it with the password"
    ):
        found(path)
    found(tmp_path / "folder")


def test_zip_of_an_unknown_compression_is_to_be_unpacked(tmp_path: Path) -> None:
    path = pack(undivided(tmp_path / "folder"), tmp_path / "shoes.zip")
    set_in_headers(path, 8, 10, 9)  # deflate64, as Windows writes beyond 2 GB
    with needs_remedy("{} must be compressed in a way that Python knows, but: {}; unpack it with the program"):
        found(path)
    found(tmp_path / "folder")


def test_archive_in_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    folder = undivided(tmp_path / "folder")
    inner = pack(folder, tmp_path / "train.zip")
    outer = zip_of(tmp_path / "all.zip", ("train.zip", inner.read_bytes()), ("README.md", b"x"))
    with needs_remedy(
        "an archive must hold the images themselves, but in {} they are packed once more, in {}; unpack it"
    ):
        found(outer)
    shutil.unpack_archive(outer, tmp_path / "unpacked")
    found(tmp_path / "unpacked" / "train.zip")


@pytest.mark.parametrize("names", [[], ["__MACOSX/x", ".DS_Store"], ["folder/"]])
def test_archive_without_a_file_is_refused(tmp_path: Path, names: list[str]) -> None:
    path = zip_of(tmp_path / "shoes.zip", *((name, b"") for name in names))
    with needs_remedy("{} must hold pictures or arrays, but holds no file; pack the folder of your images"):
        found(path)
    found(pack(undivided(tmp_path / "images"), path))


def test_archive_without_an_image_is_refused_like_such_a_folder(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "shoes.zip", ("notes/a.txt", b"x"), ("b.txt", b"x"))
    with pytest.raises(
        UserError, match=rf"^{path} must hold a folder of pictures for each class, .* sort the pictures"
    ):
        found(path)
