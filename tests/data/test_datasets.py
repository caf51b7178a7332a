"""Images of one's own, in every form that is read: what comes out of them, what is refused, what is noticed."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from fmnist.data.checksums import digest_of
from fmnist.data.duplicates import Duplicates, count_duplicates
from fmnist.data.find import find_data
from fmnist.data.image_folder import reading
from fmnist.data.images import LabelledImages
from fmnist.data.source import DataSource
from fmnist.data.split import Split, load_test, load_train
from fmnist.errors import UserError
from fmnist.reading import Reading
from search.format import duplicates_in_words
from tests.support.made_images import NAMES, digits_of_each, idx, in_colour, write_divided, write_pictures


def found(path: Path, **reading: object) -> DataSource:
    return find_data(str(path), reading=Reading(**reading))


def refused(path: Path, complaint: str, **reading: object) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        found(path, **reading)
    assert "\n" not in str(caught.value)


def multiset(images: LabelledImages) -> list[tuple[bytes, int]]:
    return sorted((image.tobytes(), int(label)) for image, label in zip(images.images, images.labels, strict=True))


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """12 training and 3 test pictures for each of three classes."""
    return write_divided(tmp_path / "painted")


# --- class folders


def test_divided_folders_give_their_own_test_set(divided) -> None:
    source = found(divided)
    train, test = load_train(source, 0).together(), load_test(source)
    assert (source.dataset, source.class_names, source.image_shape) == ("painted", NAMES, (16, 16, 1))
    for part, n, first in ((train, 12, 0), (test, 3, 12)):
        images, labels = digits_of_each([n] * 3, first=first)
        assert multiset(part) == multiset(LabelledImages(images[..., np.newaxis], labels))
    assert source.notes == () and len(source.test_digests) == 9


def test_colour_folders_have_three_channels(tmp_path) -> None:
    source = found(write_divided(tmp_path, make=in_colour))
    assert source.image_shape == (16, 16, 3)
    assert load_train(source, 0).train.images.shape[1:] == load_test(source).images.shape[1:] == (16, 16, 3)


def test_validation_pictures_join_the_training_pictures_and_that_is_said(divided) -> None:
    images, labels = digits_of_each([4] * 3, first=20)
    write_pictures(divided / "val", images, labels)
    source = found(divided)
    assert len(load_train(source, 0).together()) == 3 * (12 + 4)
    assert "validation folder join" in source.notes[0]


def test_without_a_test_folder_a_sixth_of_each_class_is_held_out_by_the_seed_and_that_is_said(tmp_path) -> None:
    images, labels = digits_of_each([24, 60, 36])
    folder = write_pictures(tmp_path / "set", images, labels)
    sources = {seed: found(folder, seed=seed) for seed in (0, 1)}
    train, test = load_train(sources[0], 0).together(), load_test(sources[0])
    assert np.bincount(test.labels).tolist() == [4, 10, 6]
    assert sorted(multiset(train) + multiset(test)) == multiset(LabelledImages(images[..., np.newaxis], labels))
    assert (
        sources[0].notes[0].startswith("There is no test folder, so 20 of the 120 images, drawn by class with seed 0")
    )
    assert multiset(load_test(found(folder, seed=0))) == multiset(test) != multiset(load_test(sources[1]))
    assert sources[0].checksums == sources[1].checksums
    assert sources[0].test_checksum != sources[1].test_checksum


def test_labels_follow_the_natural_order_of_the_folders(divided) -> None:
    source = found(divided)
    for label, name in enumerate(source.class_names):
        path = next((divided / "train" / name).iterdir())
        train = load_train(source, 0).together()
        rows = [i for i, image in enumerate(train.images) if (image[..., 0] == np.asarray(Image.open(path))).all()]
        assert {int(train.labels[i]) for i in rows} == {label}


def test_order_of_the_file_system_changes_nothing(divided, monkeypatch) -> None:
    before = found(divided)
    listed = os.listdir
    monkeypatch.setattr("fmnist.data.image_folder.layout.os.listdir", lambda path: listed(path)[::-1])
    after = found(divided)
    assert before == after
    assert load_train(before, 0).checksum == load_train(after, 0).checksum
    np.testing.assert_array_equal(load_train(before, 0).train.images, load_train(after, 0).train.images)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("change", ["content", "name", "class"])
def test_changed_renamed_and_moved_files_change_the_checksum_of_their_part(divided, part, change) -> None:
    before = found(divided).checksums
    path = sorted((divided / part / NAMES[0]).iterdir())[0]
    if change == "content":
        Image.fromarray(np.asarray(Image.open(path)) // 2).save(path)
    elif change == "name":
        path.rename(path.with_name("renamed.png"))
    else:
        shutil.copy(path, divided / part / NAMES[1] / "moved.png")
    after = found(divided).checksums
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"training pictures" if part == "train" else "test pictures"}


def test_where_the_folder_lies_is_no_part_of_what_it_is(divided, tmp_path) -> None:
    moved = shutil.copytree(divided, tmp_path / "elsewhere" / "painted")
    assert found(moved).checksums == found(divided).checksums


def test_training_pictures_are_read_once_for_checks_and_training(divided, monkeypatch) -> None:
    calls = []
    real = reading.read_pictures
    monkeypatch.setattr(
        reading,
        "read_pictures",
        lambda files, *args, **more: calls.append(len(files)) or real(files, *args, **more),
    )
    source = found(divided)
    first = load_train(source, 0)
    assert calls == [36, 9]  # of the test pictures nothing but digests is left
    np.testing.assert_array_equal(first.train.images, load_train(source, 0).train.images)
    assert calls == [36, 9, 36]  # not held for the whole of the run


def test_pictures_that_change_while_the_study_runs_are_named(divided) -> None:
    source = found(divided)
    path = sorted((divided / "test" / NAMES[1]).iterdir())[0]
    path.write_bytes(b"")
    with pytest.raises(
        UserError, match=rf"stay as they were .* 1 file is changed or gone: test/{NAMES[1]}/{path.name}; "
    ):
        load_test(source)


def test_reading_can_be_ended_from_outside(divided) -> None:
    def stop(n_read: int, n_files: int) -> None:
        assert n_files == 45
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found(divided, on_progress=stop)


# What a file may be


@pytest.mark.parametrize("part", ["train", "test"])
def test_unreadable_pictures_are_all_counted_and_the_first_named(divided, part) -> None:
    for path in sorted((divided / part / NAMES[1]).iterdir())[:2]:
        path.write_bytes(path.read_bytes()[:40])
    (divided / part / NAMES[0] / "0.jpg").symlink_to("nowhere")
    refused(
        divided,
        rf"every picture must be readable, but in .*painted 3 files are not: {part}/class 2/0.jpg \(not a file\), "
        rf"{part}/class 10/\d+.png \(.+\), .*; fix or delete them, or pass --skip-unreadable",
    )


def test_many_unreadable_pictures_are_named_up_to_five(tmp_path) -> None:
    folder = write_divided(tmp_path / "set", 20)
    for path in sorted((folder / "train" / NAMES[0]).iterdir())[:8]:
        path.write_bytes(b"")
    refused(folder, r"8 files are not: (train/class 2/\d+.png \([\w ]+\)(, )?){5} and 3 more; fix")


def test_unreadable_pictures_are_left_out_where_that_is_asked_for_and_it_is_said(tmp_path) -> None:
    folder = write_divided(tmp_path / "set", 13)
    bad = [sorted((folder / part / NAMES[0]).iterdir())[0] for part in ("train", "test")]
    for path in bad:
        path.write_bytes(b"")
    source = found(folder, skip_unreadable=True)
    assert len(load_train(source, 0).together()) == 38 and len(load_test(source)) == 8
    assert any(note.startswith("Left out, as 2 files are unreadable: train/class 2/") for note in source.notes)
    bad[0].unlink()
    bad[1].unlink()
    assert found(folder).checksums == source.checksums


def test_class_that_is_too_small_without_its_unreadable_pictures_is_refused(divided) -> None:
    sorted((divided / "train" / NAMES[0]).iterdir())[0].write_bytes(b"")
    refused(divided, "at least 12 training images, but in .* class 2 has 11; add", skip_unreadable=True)


def test_test_set_without_a_readable_picture_is_refused(divided) -> None:
    for path in (divided / "test").rglob("*.png"):
        path.write_bytes(b"")
    refused(divided, "some test pictures must be readable, but in .* none is; fix", skip_unreadable=True)


def test_pictures_of_several_sizes_are_refused_with_the_remedy(divided) -> None:
    for part, size in (("train", (20, 10)), ("test", (8, 8))):
        path = sorted((divided / part / NAMES[0]).iterdir())[0]
        Image.new("L", size, 7).save(path)
    refused(
        divided,
        r"must have one size, but in .* 43 are 16 x 16, 1 is 10 x 20 \(train/class 2/\d+.png\), 1 is 8 x 8 "
        r"\(test/class 2/\d+.png\); pass --image-size N, such as 32",
    )


def test_pictures_of_several_sizes_are_fitted_into_one_and_that_is_said(divided) -> None:
    Image.new("L", (20, 10), 7).save(sorted((divided / "train" / NAMES[0]).iterdir())[0])
    source = found(divided, image_size=24)
    assert source.image_shape == (24, 24, 1)
    assert load_test(source).images.shape == (9, 24, 24, 1)
    assert any(
        note.startswith("Pictures of 10 x 20 to 16 x 16 pixels are fitted into 24 x 24") for note in source.notes
    )


def test_pictures_of_the_size_asked_for_are_no_news(divided) -> None:
    source = found(divided, image_size=16)
    assert source.notes == () and source.image_shape == (16, 16, 1)
    assert source.test_digests == found(divided).test_digests


def test_grey_pictures_among_colour_ones_are_refused_with_the_remedy(tmp_path) -> None:
    folder = write_divided(tmp_path, make=in_colour)
    path = sorted((folder / "test" / NAMES[2]).iterdir())[0]
    Image.open(path).convert("L").save(path)
    refused(
        folder,
        r"all grey or all in colour, but in .* 44 are in colour, 1 is grey \(test/other/\d+.png\); pass --colour grey",
    )


@pytest.mark.parametrize(("colour", "channels"), [("grey", 1), ("rgb", 3)])
def test_grey_and_colour_pictures_are_turned_into_one_kind_and_that_is_said(tmp_path, colour, channels) -> None:
    folder = write_divided(tmp_path, make=in_colour)
    path = sorted((folder / "train" / NAMES[2]).iterdir())[0]
    Image.open(path).convert("L").save(path)
    source = found(folder, colour=colour)
    assert source.image_shape == (16, 16, channels)
    assert any(note.startswith("All pictures are read") for note in source.notes)


@pytest.mark.parametrize(("side", "complaint"), [(3, "sides of 4 pixels or more"), (65, "64 pixels at most")])
def test_sides_have_limits(tmp_path, side, complaint) -> None:
    refused(write_divided(tmp_path, side=side), f"{complaint}, but those in .* are {side} x {side}; .*--image-size")


def test_large_pictures_are_fitted_or_taken_as_they_are_where_that_is_asked_for(tmp_path) -> None:
    folder = write_divided(tmp_path, side=72)
    assert found(folder, image_size=32).image_shape == (32, 32, 1)
    assert found(folder, image_size=72).image_shape == (72, 72, 1)


@pytest.mark.parametrize("image_size", [7, 129, 0, -1])
def test_image_size_has_limits(image_size) -> None:
    with pytest.raises(UserError, match=f"--image-size must be between 8 and 128 pixels, but got {image_size}"):
        Reading(image_size=image_size)


def test_names_that_are_no_utf8_are_written_so_that_everybody_can_read_them(divided) -> None:
    strange = os.path.join(os.fsencode(divided), b"train", os.fsencode(NAMES[0]), b"caf\xe9.txt")
    Path(os.fsdecode(strange)).write_text("no picture")
    (note,) = found(divided).notes
    assert "caf\\xe9.txt" in note and note.isprintable()


def test_folder_whose_name_is_no_utf8_is_refused(tmp_path) -> None:
    folder = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"caf\xe9")))
    refused(write_divided(folder), r"must be UTF-8, but got .*caf.xe9'; rename")


def test_pictures_of_one_colour_are_told(divided) -> None:
    for grey, path in enumerate(sorted((divided / "train" / NAMES[0]).iterdir())[:2]):
        Image.new("L", (16, 16), grey).save(path)
    (note,) = found(divided).notes
    assert note.startswith("2 images are of one colour all over, perhaps damaged: train/class 2/")


def test_images_that_would_not_fit_into_memory_are_refused(divided, monkeypatch) -> None:
    free = psutil.virtual_memory()._replace(available=15_000)
    monkeypatch.setattr("fmnist.data.checks.psutil.virtual_memory", lambda: free)
    refused(
        divided, r"36 images of 16 x 16 x 1 take 0.0 GB of memory, .* 0.0 GB are free; use fewer images or a smaller"
    )


# Classes


def test_one_class_is_refused(tmp_path) -> None:
    images, labels = digits_of_each([20])
    refused(write_pictures(tmp_path, images, labels), "two classes or more, but .* has 1; add another")


def test_class_with_too_few_pictures_is_refused(tmp_path) -> None:
    refused(
        write_divided(tmp_path, 11), "at least 12 training images, but in .* class 10 has 11, class 2 has 11, other"
    )


def test_class_with_too_few_pictures_to_hold_some_out_is_refused(tmp_path) -> None:
    images, labels = digits_of_each([20, 14, 20])
    complaint = r"at least 15 training images \(a sixth of them becomes the test set\), but in .* class 10 has 14; add"
    refused(write_pictures(tmp_path, images, labels), complaint)


def test_smallest_classes_allowed_are_in_every_part(tmp_path) -> None:
    images, labels = digits_of_each([15, 150, 15])
    source = found(write_pictures(tmp_path, images, labels))
    split = load_train(source, 0)
    for part in (split.train, split.selection, split.confirmation, load_test(source)):
        assert np.bincount(part.labels, minlength=3).min() >= 1


def test_too_many_classes_are_refused(tmp_path) -> None:
    for i in range(257):
        (tmp_path / f"class {i}").mkdir()
        (tmp_path / f"class {i}" / "a.png").touch()
    refused(tmp_path, "256 classes at most, but .* has 257; leave some out")


# --- options that go with other data


@pytest.mark.parametrize("dataset", ["digits", "fashion-mnist"])
@pytest.mark.parametrize("option", [{"image_size": 16}, {"colour": "grey"}, {"skip_unreadable": True}])
def test_named_data_sets_are_read_as_they_are(dataset, option) -> None:
    with pytest.raises(UserError, match=rf"are for images of your own, but got '{dataset}'; leave them out"):
        find_data(dataset, reading=Reading(**option))


def test_pictures_options_are_refused_for_arrays(archive) -> None:
    refused(archive(), "--colour and --skip-unreadable are for class folders of pictures", colour="grey")


def test_file_that_is_no_archive_is_no_data_set(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("1,2")
    refused(tmp_path / "a.csv", r"must be fashion-mnist, digits or a folder of images .* or an .npz file, but got")


# --- IDX files


@pytest.fixture
def idx_folder(tmp_path: Path) -> Callable[..., Path]:
    def write(make: Callable[[np.ndarray], np.ndarray] = lambda images: images, rank: int = 3, **files: bytes) -> Path:
        folder = tmp_path / "bytes"
        folder.mkdir()
        for prefix, n, first in (("train", 12, 0), ("t10k", 3, 12)):
            images, labels = digits_of_each([n] * 3, first=first)
            (folder / f"{prefix}-images-idx{rank}-ubyte").write_bytes(idx(make(images)))
            (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
        for name, content in files.items():
            (folder / name.replace("_", ".")).write_bytes(content)
        return folder

    return write


@pytest.mark.parametrize("rank", [3, 4])
def test_idx_files_of_four_dimensions_hold_colour_images(idx_folder, rank) -> None:
    source = found(idx_folder(in_colour, rank))
    assert source.image_shape == (16, 16, 3) and source.class_names == ("0", "1", "2")
    expected = in_colour(digits_of_each([12] * 3)[0])
    assert multiset(load_train(source, 0).together()) == multiset(LabelledImages(expected, digits_of_each([12] * 3)[1]))
    assert load_test(source).images.shape == (9, 16, 16, 3)


def test_idx_files_of_two_channels_are_refused(idx_folder) -> None:
    folder = idx_folder(lambda images: np.stack([images] * 2, axis=-1))
    refused(folder, r"1 or 3 channels, .* but its header says 36 x 16 x 16 x 2; write it again")


def test_idx_images_are_fitted_into_the_size_asked_for(idx_folder) -> None:
    source = found(idx_folder(), image_size=20)
    assert source.image_shape == (20, 20, 1) and load_test(source).images.shape == (9, 20, 20, 1)


def test_classes_file_names_the_classes_of_idx_files(idx_folder) -> None:
    source = found(idx_folder(classes_txt=b"\xef\xbb\xbfnull\n eins \nzwei \xc3\xa4\n"))
    assert source.class_names == ("null", "eins", "zwei ä")
    assert "classes.txt" in source.checksums  # other names would be another data set


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a\nb\n", "one name for each class, but got 2 for the 3 classes in .*; fix the list of names"),
        (b"a\nb\nb\n", r"classes.txt must name each class .* but got b twice; fix it"),
        (b"a\n\nc\n", r"classes.txt must name each class in a line of its own, but got ''; fix it"),
        (b"a\nb\nc\xff", r"classes.txt must be a text file in UTF-8, but: .*; save it so"),
    ],
    ids=["too few", "twice", "empty line", "not UTF-8"],
)
def test_classes_file_that_does_not_fit_is_refused(idx_folder, content, complaint) -> None:
    refused(idx_folder(classes_txt=content), complaint)


def test_idx_images_of_one_colour_are_told(idx_folder) -> None:
    def with_two_blank(images: np.ndarray) -> np.ndarray:
        images = images.copy()
        images[[0, 5]] = 9
        return images

    (note,) = found(idx_folder(with_two_blank)).notes
    assert "2 images are of one colour" in note and "image 0 of train-images-idx3-ubyte" in note


# --- archives


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    """Writes good arrays, some replaced, or left out where None."""

    def write(**replaced: object) -> Path:
        (x_train, y_train), (x_test, y_test) = digits_of_each([12] * 3), digits_of_each([3] * 3, first=12)
        arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test, **replaced}
        path = tmp_path / "shapes.npz"
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
        return path

    return write


X, Y = digits_of_each([12] * 3)


def test_archive_is_a_data_set(archive) -> None:
    source = found(archive())
    assert (source.dataset, source.class_names, source.image_shape) == ("shapes", ("0", "1", "2"), (16, 16, 1))
    assert list(source.checksums) == ["shapes.npz"] and source.notes == ()
    assert multiset(load_train(source, 0).together()) == multiset(LabelledImages(X[..., np.newaxis], Y))
    assert len(load_test(source)) == 9


@pytest.mark.parametrize(
    "arrays",
    [
        {"x_train": X.astype(np.int64)[..., np.newaxis]},
        {"y_train": Y.astype(np.int32)[:, np.newaxis]},
        {"class_names": np.array(["0", "1", "2"])},
    ],
    ids=["long integers with a channel", "labels in a column", "names"],
)
def test_other_ways_to_write_the_same_are_the_same(archive, arrays) -> None:
    plain = load_train(found(archive()), 0)
    other = load_train(found(archive(**arrays)), 0)
    assert plain.checksum == other.checksum
    np.testing.assert_array_equal(plain.train.images, other.train.images)


def test_archive_in_colour(archive) -> None:
    source = found(archive(x_train=in_colour(X), x_test=in_colour(digits_of_each([3] * 3, first=12)[0])))
    assert source.image_shape == (16, 16, 3)


def test_archive_names_its_classes(archive) -> None:
    assert found(archive(class_names=np.array(["null", "one and a half", "ä"]))).class_names[1] == "one and a half"


def test_archive_without_a_test_set_holds_one_out_and_says_so(archive) -> None:
    images, labels = digits_of_each([30] * 3)
    source = found(archive(x_train=images, y_train=labels, x_test=None, y_test=None), seed=3)
    train, test = load_train(source, 0).together(), load_test(source)
    assert (len(train), len(test)) == (75, 15) and np.bincount(test.labels).tolist() == [5] * 3
    assert sorted(multiset(train) + multiset(test)) == multiset(LabelledImages(images[..., np.newaxis], labels))
    assert source.notes == (
        "There is no x_test, so 15 of the 90 images, drawn by class with seed 3, are held out as the test set",
    )


def test_validation_arrays_join_the_training_images(archive) -> None:
    images, labels = digits_of_each([4] * 3, first=30)
    source = found(archive(x_val=images, y_val=labels, other=np.arange(3)))
    assert len(load_train(source, 0).together()) == 48
    assert source.notes == ("x_val joins the training images", "Arrays that nothing reads: other")


def test_archive_is_fitted_into_the_size_asked_for(archive) -> None:
    source = found(archive(), image_size=8)
    assert source.image_shape == (8, 8, 1) and load_test(source).images.shape == (9, 8, 8, 1)


def with_one(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[7] = value
    return changed


BAD_ARCHIVES = {
    "lacks y_train": ({"y_train": None}, r"must hold x_train and y_train, but got x_train alone; add the other"),
    "lacks both": ({"x_train": None, "y_train": None}, r"must hold arrays x_train and y_train, but got x_test, y_test"),
    "test without labels": ({"y_test": None}, r"must hold x_test and y_test, but got x_test alone"),
    "0 to 1": (
        {"x_train": (X / 255).astype(np.float32)},
        r"x_train in .* whole numbers from 0 to 255, but got float32, 0 to 1; save them as uint8.*np.round\(255 \* x\)",
    ),
    "whole floats": ({"x_test": X[:9].astype(float)}, r"x_test in .* but got float64, 0 to 255; save them as uint8"),
    "NaN": ({"x_train": with_one(X.astype(float), np.nan)}, r"1 of its values are NaN or infinite; fix them"),
    "infinite": ({"x_train": with_one(X.astype(float), np.inf)}, r"1 of its values are NaN or infinite; fix them"),
    "above 255": ({"x_train": with_one(X.astype(np.int32), 256)}, r"but got int32, 0 to 256; save them as uint8"),
    "below 0": ({"x_train": with_one(X.astype(np.int8), -1)}, r"but got int8, -\d+ to \d+; save them as uint8"),
    "truth values": ({"x_train": X > 9}, r"whole numbers from 0 to 255, but got bool; save them as uint8"),
    "texts": ({"x_train": X.astype(str)}, r"whole numbers from 0 to 255, but got <U3; save them as uint8"),
    "objects": ({"x_train": np.array([X[0], None], object)}, r"x_train holds Python objects, which are not loaded"),
    "flat images": ({"x_train": X.reshape(36, -1)}, r"shape \(n, height, width\), .* but got \(36, 256\); reshape"),
    "channels first": (
        {"x_train": X[:, np.newaxis]},
        r"channels at the end, but got \(36, 1, 16, 16\); resh",
    ),
    "four channels": ({"x_train": np.stack([X] * 4, axis=-1)}, r"with 1 or 3 channels at the end, but got"),
    "no dimension": ({"x_train": np.uint8(3)}, r"shape \(n, height, width\), .* but got \(\); reshape"),
    "too large": (
        {"x_train": np.zeros((36, 80, 70), np.uint8)},
        r"64 pixels at most, but .* 80 x 70; pass --image",
    ),
    "too small": ({"x_train": X[:, :3]}, r"sides of 4 pixels or more, but .* are 3 x 16"),
    "labels lack one": ({"y_train": Y[1:]}, r"36 images in x_train and 35 labels in y_train; take both"),
    "one-hot labels": (
        {"y_train": np.eye(3, dtype=int)[Y]},
        r"of the shape \(n,\), .* y_train.argmax\(axis=1\)",
    ),
    "decimal labels": (
        {"y_train": Y.astype(float)},
        r"y_train in .* of the shape \(n,\), .* got float64",
    ),
    "labels in words": (
        {"y_train": Y.astype(str)},
        r"of the shape \(n,\), .* got <U3 \(36,\); number them",
    ),
    "label below 0": ({"y_train": Y.astype(int) - 1}, r"from 0 to 255 at most, but got -1 to 1; number them from 0"),
    "label above 255": ({"y_train": Y.astype(int) + 255}, r"from 0 to 255 at most, but got 255 to 257; number them"),
    "gap": ({"y_train": Y * 2}, r"goes up to 4; absent: 1, 3; number the classes from 0"),
    "one class": ({"y_train": Y * 0}, r"k at least 2, but .*y_train goes up to 0; number"),
    "few of a class": ({"x_train": X[:-1], "y_train": Y[:-1]}, r"at least 12 .* but in .*y_train class 2 has 11; add"),
    "unknown test label": (
        {"y_test": Y[:9] + 3},
        r"test labels must be 0 to 2 as in training, .* one is 3; fix",
    ),
    "empty test": ({"x_test": X[:0], "y_test": Y[:0]}, r"test labels must be 0 to 2 .* there is none"),
    "empty training": ({"x_train": X[:0], "y_train": Y[:0]}, r"k at least 2, but .* goes up to -1"),
    "other test size": ({"x_test": X[:9, :8]}, r"must have one shape, but in .* 16 x 16 x 1 and 8 x 16 x 1; make them"),
    "colour test": ({"x_test": in_colour(X[:9])}, r"must have one shape, but in .* 16 x 16 x 1 and 16 x 16 x 3"),
    "too few names": ({"class_names": np.array(["a", "b"])}, r"one name for each class, but got 2 for the 3 classes"),
    "numbers as names": (
        {"class_names": np.arange(3)},
        r"class_names in .* one text for each .* got int64 \(3,\)",
    ),
    "names twice": ({"class_names": np.array(["a", "b", "a"])}, r"class_names must name each class .* but got a twice"),
}


@pytest.mark.parametrize(("arrays", "complaint"), BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_archive_that_cannot_be_used_is_refused(archive, arrays, complaint) -> None:
    refused(archive(**arrays), complaint)


def test_objects_are_never_unpickled(archive, tmp_path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "exploded",)

    path = archive(y_train=np.array([Bomb()] * 36, object))
    refused(path, "y_train holds Python objects, which are not loaded, since that could run any code")
    assert not (tmp_path / "exploded").exists()


def test_archive_that_promises_more_than_memory_is_refused_before_it_is_read(tmp_path) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 64, 64, 3)}
    path = tmp_path / "huge.npz"
    with zipfile.ZipFile(path, "w") as zipped:
        for name, shape in (("x_train", header["shape"]), ("y_train", (10**9,))):
            with zipped.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
    refused(path, r"1,000,000,000 images of 64 x 64 x 3 take 12,288.0 GB of memory, .*; use fewer images")


@pytest.mark.parametrize("keep", [0, 10, 500, -30])
def test_cut_archive_is_named(archive, keep) -> None:
    path = archive()
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, r"shapes.npz must be an .npz archive, but is none, or cut; save it again")


def test_archive_with_a_damaged_array_is_named(archive) -> None:
    path = archive()
    content = bytearray(path.read_bytes())
    content[4000:4020] = bytes(20)
    path.write_bytes(content)
    refused(path, r"shapes.npz must be a whole .npz archive, but: Bad CRC-32.*; save it again")


def test_zip_of_something_else_is_named(tmp_path) -> None:
    path = tmp_path / "notes.npz"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("notes.txt", "no array")
    refused(path, r"notes.npz must be a whole .npz archive, but: .*; save it again")


# --- duplicates


def test_images_that_occur_twice_are_counted_by_where_they_do() -> None:
    images = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    labels = np.zeros(40, np.uint8)
    images[1] = images[0]  # within train
    labels[1] = 1  # and with another label
    images[21] = images[2]  # selection, in train
    images[31] = images[22]  # confirmation, in selection
    parts = [LabelledImages(images[a:b], labels[a:b]) for a, b in ((0, 20), (20, 30), (30, 40))]
    split = Split(*parts, checksum="", seed=0)
    test = [digest_of(image) for image in (images[5], images[5], np.full((4, 4, 1), 99, np.uint8))]
    counted = count_duplicates(split, test)
    assert counted == Duplicates(3, 1, 1, 1, 2)
    assert duplicates_in_words(counted) == [
        "3 training images repeat another one",
        "2 images are in two of the splits that learn, select and confirm",
        "1 image bears the labels of several classes",
        "2 test images are among the training images too, so the test accuracy flatters",
    ]


def test_data_without_duplicates_say_so(digits_split) -> None:
    counted = count_duplicates(digits_split, find_data("digits").test_digests)
    assert counted == Duplicates(0, 0, 0, 0, 0)
    assert duplicates_in_words(counted) == ["No image occurs twice, pixel by pixel"]


def test_test_pictures_that_are_training_pictures_are_found(divided) -> None:
    for path in sorted((divided / "train" / NAMES[0]).iterdir())[:2]:
        shutil.copy(path, divided / "test" / NAMES[1] / f"copy of {path.name}")
    twice = sorted((divided / "train" / NAMES[2]).iterdir())[0]
    shutil.copy(twice, twice.with_name("twice.png"))
    source = found(divided)
    counted = count_duplicates(load_train(source, 0), source.test_digests)
    assert (counted.test_in_training, counted.within_training) == (2, 1)
    in_training, in_test = source.notes
    assert in_training == f"Training pictures that occur twice: train/other/twice.png is train/other/{twice.name}"
    assert (
        in_test.startswith("Test pictures that are training pictures too: test/class 10/copy of ")
        and " is train/class 2/" in in_test
    )


# --- the real ones


@pytest.mark.slow
@pytest.mark.realdata
def test_fashion_mnist_as_folders_of_pictures_is_the_same_data_set(tmp_path) -> None:
    """Its 70,000 images as PNG files: 40 s on two cores, most of it to write them."""
    real = find_data("fashion-mnist", download=lambda: pytest.fail("no download"))
    names = [f"{label} {name.replace('/', ' or ')}" for label, name in enumerate(real.class_names)]
    parts = {"train": load_train(real, 0).together(), "test": load_test(real)}
    for part, images in parts.items():
        write_pictures(tmp_path / part, images.images[..., 0], images.labels, names)
    source = found(tmp_path)
    split = load_train(source, 0)
    assert (len(split.train), len(split.selection), len(split.confirmation)) == (50_000, 5_000, 5_000)
    assert [np.bincount(part.labels).tolist() for part in (split.train, split.selection)] == [[5_000] * 10, [500] * 10]
    assert multiset(split.together()) == multiset(parts["train"])
    assert multiset(load_test(source)) == multiset(parts["test"])
