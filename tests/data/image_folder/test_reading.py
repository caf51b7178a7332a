"""Class folders of pictures: what comes out of them, what is refused, what is noticed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from fmnist.data.find import find_data
from fmnist.data.image_folder import reading
from fmnist.data.images import LabelledImages
from fmnist.data.split import load_test, load_train
from fmnist.errors import UserError
from tests.support.data_sets import found, multiset, refused
from tests.support.made_images import NAMES, digits_of_each, in_colour, write_divided, write_pictures


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """12 training and 3 test pictures for each of three classes."""
    return write_divided(tmp_path / "painted")


def test_divided_folders_give_their_own_test_set(divided: Path) -> None:
    source = found(divided)
    train, test = load_train(source, 0).together(), load_test(source)
    assert (source.dataset, source.class_names, source.image_shape) == ("painted", NAMES, (16, 16, 1))
    for part, n, first in ((train, 12, 0), (test, 3, 12)):
        images, labels = digits_of_each([n] * 3, first=first)
        assert multiset(part) == multiset(LabelledImages(images[..., np.newaxis], labels))
    assert source.notes == () and len(source.test_digests) == 9


def test_colour_folders_have_three_channels(tmp_path: Path) -> None:
    source = found(write_divided(tmp_path, make=in_colour))
    assert source.image_shape == (16, 16, 3)
    assert load_train(source, 0).train.images.shape[1:] == load_test(source).images.shape[1:] == (16, 16, 3)


def test_validation_pictures_join_the_training_pictures_and_that_is_said(divided: Path) -> None:
    images, labels = digits_of_each([4] * 3, first=20)
    write_pictures(divided / "val", images, labels)
    source = found(divided)
    assert len(load_train(source, 0).together()) == 3 * (12 + 4)
    assert source.notes[0].startswith("The pictures in val/ join the training pictures, of which the run draws its own")


def test_parts_of_other_names_give_their_own_test_set(divided: Path, tmp_path: Path) -> None:
    renamed = write_divided(tmp_path / "renamed", parts=("training_set", "test_set"))
    assert found(renamed).test_checksum == found(divided).test_checksum
    assert multiset(load_train(found(renamed), 0).together()) == multiset(load_train(found(divided), 0).together())


def test_parts_inside_the_classes_give_the_same_data_as_classes_inside_the_parts(divided: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned"
    for part in ("train", "test"):
        for name in NAMES:
            shutil.copytree(divided / part / name, turned / name / part)
    assert found(turned).test_checksum == found(divided).test_checksum
    assert multiset(load_train(found(turned), 0).together()) == multiset(load_train(found(divided), 0).together())


def test_unlabelled_test_pictures_are_not_tested_on(tmp_path: Path) -> None:
    images, labels = digits_of_each([24, 24, 24])
    folder = write_pictures(tmp_path / "set" / "train", images, labels).parent
    alone = found(folder)
    (folder / "test").mkdir()
    Image.fromarray(images[0]).save(folder / "test" / "1.png")
    source = found(folder)
    assert source.test_checksum == alone.test_checksum and source.checksums == alone.checksums
    assert source.notes[0].startswith("The pictures in test/ are unlabelled (1, ")
    assert source.notes[1].startswith("There is no test folder with class folders, so 12 of the 72 images")


def test_without_a_test_folder_a_sixth_of_each_class_is_held_out_by_the_seed_and_that_is_said(tmp_path: Path) -> None:
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


def test_labels_follow_the_natural_order_of_the_folders(divided: Path) -> None:
    source = found(divided)
    for label, name in enumerate(source.class_names):
        path = next((divided / "train" / name).iterdir())
        train = load_train(source, 0).together()
        rows = [i for i, image in enumerate(train.images) if (image[..., 0] == np.asarray(Image.open(path))).all()]
        assert {int(train.labels[i]) for i in rows} == {label}


def test_order_of_the_file_system_changes_nothing(divided: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = found(divided)
    listed = os.listdir
    monkeypatch.setattr("fmnist.data.image_folder.tree.os.listdir", lambda path: listed(path)[::-1])
    after = found(divided)
    assert before == after
    assert load_train(before, 0).checksum == load_train(after, 0).checksum
    np.testing.assert_array_equal(load_train(before, 0).train.images, load_train(after, 0).train.images)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("change", ["content", "name", "class"])
def test_changed_renamed_and_moved_files_change_the_checksum_of_their_part(
    divided: Path, part: str, change: str
) -> None:
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


def test_where_the_folder_lies_is_no_part_of_what_it_is(divided: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(divided, tmp_path / "elsewhere" / "painted")
    assert found(moved).checksums == found(divided).checksums


def test_training_pictures_are_read_once_for_checks_and_training(
    divided: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_pictures_that_change_while_the_study_runs_are_named(divided: Path) -> None:
    source = found(divided)
    path = sorted((divided / "test" / NAMES[1]).iterdir())[0]
    path.write_bytes(b"")
    with pytest.raises(
        UserError, match=rf"stay as they were .* 1 picture is changed or gone: test/{NAMES[1]}/{path.name}; "
    ):
        load_test(source)


def test_reading_can_be_ended_from_outside(divided: Path) -> None:
    def stop(n_read: int, n_files: int) -> None:
        assert n_files == 45
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found(divided, on_progress=stop)


@pytest.mark.parametrize("part", ["train", "test"])
def test_unreadable_pictures_are_all_counted_and_the_first_named(divided: Path, part: str) -> None:
    for path in sorted((divided / part / NAMES[1]).iterdir())[:2]:
        path.write_bytes(path.read_bytes()[:40])
    (divided / part / NAMES[0] / "0.jpg").symlink_to("nowhere")
    refused(
        divided,
        rf"every picture must be readable, but in .*painted 3 pictures are not: {part}/class 2/0.jpg \(not a file\), "
        rf"{part}/class 10/\d+.png \(.+\), .*; fix or delete them, or pass --skip-unreadable",
    )


def test_many_unreadable_pictures_are_named_up_to_five(tmp_path: Path) -> None:
    folder = write_divided(tmp_path / "set", 20)
    for path in sorted((folder / "train" / NAMES[0]).iterdir())[:8]:
        path.write_bytes(b"")
    refused(folder, r"8 pictures are not: (train/class 2/\d+.png \([\w ]+\)(, )?){5} and 3 more; fix")


def test_unreadable_pictures_are_left_out_where_that_is_asked_for_and_it_is_said(tmp_path: Path) -> None:
    folder = write_divided(tmp_path / "set", 13)
    bad = [sorted((folder / part / NAMES[0]).iterdir())[0] for part in ("train", "test")]
    for path in bad:
        path.write_bytes(b"")
    source = found(folder, skip_unreadable=True)
    assert len(load_train(source, 0).together()) == 38 and len(load_test(source)) == 8
    assert any(note.startswith("Left out, as 2 pictures are unreadable: train/class 2/") for note in source.notes)
    bad[0].unlink()
    bad[1].unlink()
    assert found(folder).checksums == source.checksums


def test_class_that_is_too_small_without_its_unreadable_pictures_is_refused(divided: Path) -> None:
    sorted((divided / "train" / NAMES[0]).iterdir())[0].write_bytes(b"")
    refused(divided, "at least 12 training images, but in .* class 2 has 11; add", skip_unreadable=True)


def test_test_set_without_a_readable_picture_is_refused(divided: Path) -> None:
    for path in (divided / "test").rglob("*.png"):
        path.write_bytes(b"")
    refused(divided, "some test pictures must be readable, but in .* none is; fix", skip_unreadable=True)


def test_pictures_of_several_sizes_are_refused_with_the_remedy(divided: Path) -> None:
    for part, size in (("train", (20, 10)), ("test", (8, 8))):
        path = sorted((divided / part / NAMES[0]).iterdir())[0]
        Image.new("L", size, 7).save(path)
    refused(
        divided,
        r"must have one size, but in .* 43 are 16 x 16, 1 is 10 x 20 \(train/class 2/\d+.png\), 1 is 8 x 8 "
        r"\(test/class 2/\d+.png\); pass --image-size N, such as 32",
    )


def test_pictures_of_several_sizes_are_fitted_into_one_and_that_is_said(divided: Path) -> None:
    Image.new("L", (20, 10), 7).save(sorted((divided / "train" / NAMES[0]).iterdir())[0])
    source = found(divided, image_size=24)
    assert source.image_shape == (24, 24, 1)
    assert load_test(source).images.shape == (9, 24, 24, 1)
    assert any(
        note.startswith("Pictures of 10 x 20 to 16 x 16 pixels are fitted into 24 x 24") for note in source.notes
    )


def test_pictures_of_the_size_asked_for_are_no_news(divided: Path) -> None:
    source = found(divided, image_size=16)
    assert source.notes == () and source.image_shape == (16, 16, 1)
    assert source.test_digests == found(divided).test_digests


def test_grey_pictures_among_colour_ones_are_refused_with_the_remedy(tmp_path: Path) -> None:
    folder = write_divided(tmp_path, make=in_colour)
    path = sorted((folder / "test" / NAMES[2]).iterdir())[0]
    Image.open(path).convert("L").save(path)
    refused(
        folder,
        r"all grey or all in colour, but in .* 44 are in colour, 1 is grey \(test/other/\d+.png\); pass --colour grey",
    )


@pytest.mark.parametrize(("colour", "channels"), [("grey", 1), ("rgb", 3)])
def test_grey_and_colour_pictures_are_turned_into_one_kind_and_that_is_said(
    tmp_path: Path, colour: str, channels: int
) -> None:
    folder = write_divided(tmp_path, make=in_colour)
    path = sorted((folder / "train" / NAMES[2]).iterdir())[0]
    Image.open(path).convert("L").save(path)
    source = found(folder, colour=colour)
    assert source.image_shape == (16, 16, channels)
    assert any(note.startswith("All pictures are read") for note in source.notes)


@pytest.mark.parametrize(("side", "complaint"), [(3, "sides of 4 pixels or more"), (65, "64 pixels at most")])
def test_sides_have_limits(tmp_path: Path, side: int, complaint: str) -> None:
    refused(write_divided(tmp_path, side=side), f"{complaint}, but those in .* are {side} x {side}; .*--image-size")


def test_large_pictures_are_fitted_or_taken_as_they_are_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = write_divided(tmp_path, side=72)
    assert found(folder, image_size=32).image_shape == (32, 32, 1)
    assert found(folder, image_size=72).image_shape == (72, 72, 1)


def test_names_that_are_no_utf8_are_written_so_that_everybody_can_read_them(divided: Path) -> None:
    strange = os.path.join(os.fsencode(divided), b"train", os.fsencode(NAMES[0]), b"caf\xe9.txt")
    Path(os.fsdecode(strange)).write_text("no picture")
    (note,) = found(divided).notes
    assert "caf\\xe9.txt" in note and note.isprintable()


def test_pictures_of_one_colour_are_told(divided: Path) -> None:
    for grey, path in enumerate(sorted((divided / "train" / NAMES[0]).iterdir())[:2]):
        Image.new("L", (16, 16), grey).save(path)
    (note,) = found(divided).notes
    assert note.startswith("2 images are of one colour all over, perhaps damaged: train/class 2/")


def test_images_that_would_not_fit_into_memory_are_refused(divided: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = psutil.virtual_memory()._replace(available=15_000)
    monkeypatch.setattr("fmnist.data.checks.psutil.virtual_memory", lambda: free)
    refused(
        divided, r"36 images of 16 x 16 x 1 take 0.0 GB of memory, .* 0.0 GB are free; use fewer images or a smaller"
    )


def test_one_class_is_refused(tmp_path: Path) -> None:
    images, labels = digits_of_each([20])
    complaint = "for each class, two at least .* but got only the folder class 2/ with 20 of them; sort the pictures"
    refused(write_pictures(tmp_path, images, labels), complaint)


def test_class_with_too_few_pictures_is_refused(tmp_path: Path) -> None:
    refused(
        write_divided(tmp_path, 11), "at least 12 training images, but in .* class 10 has 11, class 2 has 11, other"
    )


def test_class_with_too_few_pictures_to_hold_some_out_is_refused(tmp_path: Path) -> None:
    images, labels = digits_of_each([20, 14, 20])
    complaint = r"at least 15 training images \(a sixth of them becomes the test set\), but in .* class 10 has 14; add"
    refused(write_pictures(tmp_path, images, labels), complaint)


def test_smallest_classes_allowed_are_in_every_part(tmp_path: Path) -> None:
    images, labels = digits_of_each([15, 150, 15])
    source = found(write_pictures(tmp_path, images, labels))
    split = load_train(source, 0)
    for part in (split.train, split.selection, split.confirmation, load_test(source)):
        assert np.bincount(part.labels, minlength=3).min() >= 1


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    for i in range(257):
        (tmp_path / f"class {i}").mkdir()
        (tmp_path / f"class {i}" / "a.png").touch()
    refused(tmp_path, "256 classes at most, but .* has 257; leave some out")


@pytest.mark.slow
@pytest.mark.realdata
def test_fashion_mnist_as_folders_of_pictures_is_the_same_data_set(tmp_path: Path) -> None:
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
