"""Of many files, each that cannot be read is named; the others are read in their order."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist.data import decode
from fmnist.data.checksums import digest_of
from fmnist.data.decode import Form, picture_suffixes
from fmnist.data.image_folder.files import read_pictures
from tests.support.made_images import encoded

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.stack([GREY, 255 - GREY, np.full_like(GREY, 7)], axis=-1)


def write_many(folder: Path, n: int) -> list[Path]:
    paths = [folder / f"{i:03}.png" for i in range(n)]
    for i, path in enumerate(paths):
        Image.fromarray(np.full((4, 5), i % 256, np.uint8)).save(path)
    return paths


def test_many_files_are_read_in_their_order(tmp_path) -> None:
    paths = write_many(tmp_path, 200)
    found = read_pictures(paths, Form())
    np.testing.assert_array_equal(found.images[:, 0, 0, 0], np.arange(200))
    assert found.images.shape == (200, 4, 5, 1) and found.failures == {}
    assert found.is_constant.all() and len(set(found.md5s)) == 200


def test_pixels_that_are_not_kept_leave_a_digest(tmp_path) -> None:
    paths = write_many(tmp_path, 70)
    found = read_pictures(paths, Form(), keep=False)
    assert found.images is None
    assert found.digests == [digest_of(image) for image in read_pictures(paths, Form()).images]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"%PDF-1.7 no picture", "no picture of a format that can be read"),
        (encoded(Image.fromarray(COLOUR))[:60], ".+"),
        (encoded(Image.fromarray(COLOUR).resize((64, 64)), "JPEG")[:-400], "(?i)damaged: .*truncated.*"),
    ],
    ids=["empty", "other format", "cut PNG", "cut JPEG"],
)
def test_unreadable_file_has_a_reason_and_the_others_are_read(tmp_path, content, reason) -> None:
    paths = write_many(tmp_path, 5)
    for bad in (0, 3):  # the first one too, which would say what size to expect
        paths[bad].write_bytes(content)
    found = read_pictures(paths, Form())
    assert sorted(found.failures) == [0, 3]
    assert all(re.fullmatch(reason, text) for text in found.failures.values())
    assert found.without_failures().images[:, 0, 0, 0].tolist() == [1, 2, 4]


def test_link_to_nothing_and_folder_are_unreadable(tmp_path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder.png").mkdir()
    found = read_pictures([tmp_path / "gone.png", tmp_path / "folder.png"], Form())
    assert set(found.failures.values()) == {"not a file"}


def test_picture_too_large_to_be_safe_is_unreadable(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(decode, "MAX_PIXELS", 10)
    found = read_pictures(write_many(tmp_path, 1), Form())
    assert found.failures == {0: "refused: more than 10 pixels, which could fill the memory"}


def test_file_that_hands_pillow_to_another_program_is_not_opened(tmp_path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    assert read_pictures([path], Form()).failures == {0: "no picture of a format that can be read"}
    assert ".eps" not in picture_suffixes() and {".png", ".jpg", ".jpeg", ".tif", ".webp"} <= picture_suffixes()


def test_reading_tells_how_far_it_is_and_can_be_ended(tmp_path) -> None:
    paths, told = write_many(tmp_path, 300), []

    def watch(n_read: int, n_files: int) -> None:
        told.append((n_read, n_files))
        if n_read > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_pictures(paths, Form(), on_progress=watch)
    assert told == [(1, 300), (65, 300), (129, 300)]
