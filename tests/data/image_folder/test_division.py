"""Parts and classes, told apart by content and names: the files here are empty."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

import pytest

from fmnist.data.image_folder.layout import find_layout
from fmnist.data.image_folder.names import TEST, TRAIN, VALIDATION
from fmnist.errors import UserError
from tests.support.made_images import touch


def classes_of(folder: Path, part: str = TRAIN) -> dict[str, list[str]]:
    """The folders that each class' pictures lie in."""
    return {
        each.name: sorted({str(path.parent.relative_to(folder)) for path in each.files})
        for each in find_layout(folder).parts[part]
    }


def complaint(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        find_layout(folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


# Folders that are parts


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("training", "Testing"),
        ("training_set", "test_set"),
        ("asl_alphabet_train", "asl_alphabet_test"),
        ("train-images", "test-images"),
        ("Train Data", "Test Data"),
        ("1_train", "2_test"),
        ("TrainSet", "TestSet"),
        ("train", "eval"),
        ("train", "hold-out"),
        ("kaggle_train", "other_test"),
        ("train_val", "test"),
        ("images/train", "images/test"),
        ("data/images/train", "data/images/test"),
        ("train/train", "test/test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train/images", "test/images"),
    ],
)
def test_parts_are_trained_and_tested_on(tmp_path: Path, train: str, test: str) -> None:
    touch(tmp_path, f"{train}/{{cats,dogs}}/a.png", f"{test}/{{cats,dogs}}/b.png")
    layout = find_layout(tmp_path)
    assert classes_of(tmp_path) == {"cats": [f"{train}/cats"], "dogs": [f"{train}/dogs"]}
    assert classes_of(tmp_path, TEST) == {"cats": [f"{test}/cats"], "dogs": [f"{test}/dogs"]}
    assert layout.ignored == ()


def test_names_that_are_not_the_plain_ones_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "training_set/{cats,dogs}/a.png", "test_set/{cats,dogs}/a.png")
    assert find_layout(tmp_path).notes == (
        "Training pictures are those in training_set/, test pictures those in test_set/",
    )


@pytest.mark.parametrize("name", ["val", "Valid", "2_val", "dev", "validation_set"])
def test_validation_joins_the_training_pictures_and_may_lack_a_class(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "train/{cats,dogs,emu}/a.png", f"{name}/{{cats,dogs}}/a.png", "test/{cats,dogs,emu}/a.png")
    layout = find_layout(tmp_path)
    assert classes_of(tmp_path, VALIDATION) == {"cats": [f"{name}/cats"], "dogs": [f"{name}/dogs"], "emu": []}
    assert (
        layout.notes[0]
        == f"The pictures in {name}/ join the training pictures, of which the run draws its own validation sets"
    )
    assert layout.notes[1] == f"There are no pictures of emu in {name}/"


def test_evaluation_beside_a_test_folder_is_validation(tmp_path: Path) -> None:
    touch(tmp_path, "{train,eval,test}/{cats,dogs}/a.png")
    assert set(find_layout(tmp_path).parts) == {TRAIN, VALIDATION, TEST}


def test_without_a_test_folder_the_way_to_test_on_validation_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "{train,val}/{cats,dogs}/a.png")
    layout = find_layout(tmp_path)
    assert set(layout.parts) == {TRAIN, VALIDATION}
    assert layout.notes[0].endswith("(to test on val/ instead, rename it to test)")
    (tmp_path / "val").rename(tmp_path / "test")
    assert set(find_layout(tmp_path).parts) == {TRAIN, TEST}


@pytest.mark.parametrize("inside", ["{train,test}", "{cats_train,cats_test}", "{seg_train,seg_test}"])
def test_classes_may_hold_the_parts(tmp_path: Path, inside: str) -> None:
    touch(tmp_path, f"cats/{inside}/a.png", f"dogs/{inside.replace('cats', 'dogs')}/a.png")
    train, test = inside.strip("{}").split(",")
    assert classes_of(tmp_path)["cats"] == [f"cats/{train}"]
    assert classes_of(tmp_path, TEST)["cats"] == [f"cats/{test}"]
    assert "divide its pictures" in find_layout(tmp_path).notes[0]


def test_linked_parts_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "{a,b}/{cats,dogs}/a.png")
    folder = touch(tmp_path / "pets", "readme.txt")
    (folder / "train").symlink_to(tmp_path / "elsewhere" / "a")
    (folder / "test").symlink_to(tmp_path / "elsewhere" / "b")
    assert set(find_layout(folder).parts) == {TRAIN, TEST}


@pytest.mark.parametrize(
    ("train", "test"), [("Cats", "cats"), ("traffic light", "Traffic_Light"), ("caf\u00e9", "cafe\u0301")]
)
def test_class_names_that_differ_in_capitals_or_spaces_are_one(tmp_path: Path, train: str, test: str) -> None:
    touch(tmp_path, f"train/{{{train},zebra}}/a.png", f"test/{{{test},zebra}}/a.png")
    assert classes_of(tmp_path, TEST) == {train: [f"test/{test}"], "zebra": ["test/zebra"]}
    assert f"test/{test} is the class {train}" in find_layout(tmp_path).notes[0]


# Folders that are classes


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["{train,bus,car}/a.png"], ["bus", "car", "train"]),
        (["train/{steam,freight}/a.png", "{bus,car}/a.png"], ["bus", "car", "train"]),
        (["train/{steam,freight}/a.png", "bus/{city,coach}/a.png", "car/{x,y}/a.png"], ["bus", "car", "train"]),
        (["{contest,latest,valve,trainer}/a.png"], ["contest", "latest", "trainer", "valve"]),
        (["contest/{a,b}/a.png", "latest/{c,d}/a.png"], ["contest", "latest"]),
        (["{steam_train,test_tube,dev_board}/a.png"], ["dev_board", "steam_train", "test_tube"]),
        (["steam_train/{red,blue}/a.png", "test_tube/{big,small}/a.png"], ["steam_train", "test_tube"]),
        (["steam_train/{red,blue}/a.png", "bullet_train/{big,small}/a.png"], ["bullet_train", "steam_train"]),
        (["{valid,invalid}/a.png"], ["invalid", "valid"]),
        (["{positive,negative}_test/a.png"], ["negative_test", "positive_test"]),
        (["train/{train,bus}/a.png", "test/{train,bus}/a.png"], ["bus", "train"]),
        (["{cats,dogs}/images/a.png"], ["cats", "dogs"]),
        (["{cats,dogs}/images/a.png", "{cats,dogs}/masks/a.xml", "annotations/a.xml"], ["cats", "dogs"]),
        (["{masks,no masks}/a.png"], ["masks", "no masks"]),
        (["{split,fold,part}/a.png"], ["fold", "part", "split"]),
        (["{counterpart1,counterpart2}/a.png"], ["counterpart1", "counterpart2"]),
        (["part {3001,3020}/a.png"], ["part 3001", "part 3020"]),
        (["{class 1,class 2}/a.png"], ["class 1", "class 2"]),
        (["{group,batch}_1/a.png"], ["batch_1", "group_1"]),
        (["{images,cats,dogs}/a.png"], ["cats", "dogs", "images"]),
        (["Apple/{healthy,scab}/a.png", "Corn/{healthy,rust}/a.png"], ["Apple", "Corn"]),
        (["train/{cats,dogs}/{large,small}/a.png"], ["cats", "dogs"]),
    ],
)
def test_classes_are_not_taken_for_parts(tmp_path: Path, files: list[str], names: list[str]) -> None:
    touch(tmp_path, *files)
    assert list(find_layout(tmp_path).class_names) == names


def test_class_called_like_a_part_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "{Train,bus,car}/a.png")
    assert find_layout(tmp_path).notes == ("The folder Train/ is taken for a class, not for a part of the data set",)


def test_folders_inside_classes_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "animals/{cat,dog}/a.png", "vehicles/{bus,car}/a.png")
    (note,) = find_layout(tmp_path).notes
    assert note.startswith("Folders inside a class folder are of that class: animals/cat/, animals/dog/, vehicles/")


def test_inner_folders_of_the_same_names_are_told_with_the_way_to_make_them_the_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/{ann,bob}/{cats,dogs}/a.png")
    (note,) = find_layout(tmp_path).notes
    assert "if cats, dogs are the classes instead, bring their folders together: ann/cats/ and its like into" in note
    for who, name in itertools.product(("ann", "bob"), ("cats", "dogs")):
        (tmp_path / "train" / name).mkdir(exist_ok=True)
        (tmp_path / "train" / who / name).rename(tmp_path / "train" / name / who)
    assert classes_of(tmp_path)["cats"] == ["train/cats/ann", "train/cats/bob"]


@pytest.mark.parametrize(
    ("inner", "down"), [("shoes", "one folder down, in shoes/shoes/"), ("a/b", "2 folders down, in shoes/a/b/")]
)
def test_folder_too_high_is_read_further_down_and_that_is_told(tmp_path: Path, inner: str, down: str) -> None:
    folder = touch(tmp_path / "shoes", f"{inner}/{{boot,sandal}}/a.png", "notes/a.xml", "readme.txt", "__MACOSX/a.png")
    layout = find_layout(folder)
    assert layout.class_names == ("boot", "sandal")
    assert layout.notes == (f"Classes are read {down}, which holds all pictures",)
    assert sorted(path.name for path in layout.ignored) == ["a.xml", "readme.txt"]


def test_empty_folder_is_passed_over_and_told(tmp_path: Path) -> None:
    touch(tmp_path, "{cats,dogs}/a.png", "emu/.gitkeep", "gnu/")
    layout = find_layout(tmp_path)
    assert layout.class_names == ("cats", "dogs") and layout.notes == ("Passed over, being empty: emu/, gnu/",)


@pytest.mark.parametrize("name", ["__pycache__", ".ipynb_checkpoints", "__MACOSX", "@eaDir", "$RECYCLE.BIN"])
def test_tool_made_folder_is_no_class_at_any_depth(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "{cats,dogs}/a.png", f"{name}/cats/a.png", f"cats/{name}/a.png", f"{name}/a.png")
    assert classes_of(tmp_path) == {"cats": ["cats"], "dogs": ["dogs"]} and find_layout(tmp_path).ignored == ()


# Unlabelled pictures


@pytest.mark.parametrize(
    "where", ["test", "test/test", "test/unknown", "test/images", "Test Images", "unlabelled", "pred/pred"]
)
def test_unlabelled_pictures_are_left_alone_and_told(tmp_path: Path, where: str) -> None:
    touch(tmp_path, "train/{cats,dogs}/a.png", f"{where}/{{1,2}}.jpg", "sampleSubmission.csv")
    layout = find_layout(tmp_path)
    assert set(layout.parts) == {TRAIN} and layout.has_unlabelled
    assert f"The pictures in {where}/ are unlabelled (2, in no folder of a class)" in layout.notes[0]
    assert layout.ignored == (tmp_path / "sampleSubmission.csv",)


def test_unlabelled_pictures_beside_a_test_set_leave_it_in_use(tmp_path: Path) -> None:
    touch(tmp_path, "seg_{train,test}/{sea,wood}/a.png", "seg_pred/a.png")
    assert set(find_layout(tmp_path).parts) == {TRAIN, TEST}


# What has two readings, or none, and what the remedies come to


@pytest.mark.follows("it must be clear what the classes are, but in {} both {} and what they hold")
def test_unknown_names_of_parts_are_refused_with_the_choice(tmp_path: Path) -> None:
    touch(tmp_path, "entrenamiento/{cats,dogs}/a.png", "prueba/{cats,dogs}/a.png")
    text = complaint(tmp_path)
    assert "both entrenamiento/, prueba/ and what they hold (cats, dogs) may be" in text

    alone = Path(re.search("--dataset (.*?);", text)[1])  # pyright: ignore[reportOptionalSubscript]
    assert find_layout(alone).class_names == ("cats", "dogs")

    inside = Path(re.search("move them into (.*)", text)[1])  # pyright: ignore[reportOptionalSubscript]
    inside.mkdir()
    for name in ("entrenamiento", "prueba"):
        (tmp_path / name).rename(inside / name)
    assert find_layout(tmp_path).class_names == ("entrenamiento", "prueba")


@pytest.mark.follows("the folders in {} must tell what they are for")
def test_renamed_as_asked_they_are_parts(tmp_path: Path) -> None:
    touch(tmp_path, "part1/{cats,dogs}/a.png", "part2/{cats,dogs}/a.png")
    assert "rename part1/, part2/ to train, test or val" in complaint(tmp_path)
    (tmp_path / "part1").rename(tmp_path / "train")
    assert "prueba" not in complaint(tmp_path) and "part2/ holds classes as train/ does; rename it" in complaint(
        tmp_path
    )
    (tmp_path / "part2").rename(tmp_path / "test")
    assert set(find_layout(tmp_path).parts) == {TRAIN, TEST}


@pytest.mark.follows("{} and {} in {} must hold the same classes, but {}; {}")
def test_missing_and_additional_classes_are_named_with_both_ways_out(tmp_path: Path) -> None:
    touch(tmp_path, "train/{cats,dogs,emu}/a.png", "test/{cats,dogs,fox}/a.png")
    text = complaint(tmp_path)
    assert "same classes, but emu is in train/ only and fox is in test/ only; " in text
    assert "add pictures of emu to test/, or delete emu from train/ to leave them out" in text
    assert "add pictures of fox to train/, or delete fox from test/" in text

    added = shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}-added")
    touch(added, "test/emu/a.png", "train/fox/a.png")
    assert find_layout(added).class_names == ("cats", "dogs", "emu", "fox")
    shutil.rmtree(tmp_path / "train" / "emu")
    shutil.rmtree(tmp_path / "test" / "fox")
    assert find_layout(tmp_path).class_names == ("cats", "dogs")


def test_additional_class_of_validation_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/{cats,dogs}/a.png", "val/{cats,emu}/a.png")
    assert "same classes, but emu is in val/ only; add pictures of emu to train/, or delete emu" in complaint(tmp_path)


@pytest.mark.follows("class folders must be named by what they show, but {}{} in {} {} named like a part")
def test_test_folder_beside_class_folders_can_move_or_be_renamed(tmp_path: Path) -> None:
    touch(tmp_path, "{cats,dogs,test}/a.png")
    assert "test beside cats, dogs" in complaint(tmp_path)
    (tmp_path / "test").rename(tmp_path / "test tube")
    assert find_layout(tmp_path).class_names == ("cats", "dogs", "test tube")


@pytest.mark.follows("{} must hold train/ beside {}/, but got {}; {}")
def test_test_folder_with_classes_needs_a_training_folder(tmp_path: Path) -> None:
    touch(tmp_path, "test/{cats,dogs}/a.png", "{cats,dogs}/a.png")
    assert "must hold train/ beside test/, but got cats, dogs; move the class folders to train there" in complaint(
        tmp_path
    )
    (tmp_path / "train").mkdir()
    for name in ("cats", "dogs"):
        (tmp_path / name).rename(tmp_path / "train" / name)
    assert set(find_layout(tmp_path).parts) == {TRAIN, TEST}


@pytest.mark.follows("{} must be one data set, but {} in it {} divided into parts")
def test_one_of_several_data_sets_must_be_chosen(tmp_path: Path) -> None:
    touch(tmp_path, "my colour/{train,test}/{a,b}/1.png", "my grey/{train,test}/{a,b}/1.png")
    text = complaint(tmp_path)
    assert f"pass one, such as --dataset '{tmp_path / 'my colour'}'" in text
    assert set(find_layout(tmp_path / "my colour").parts) == {TRAIN, TEST}


@pytest.mark.parametrize(
    ("files", "received"),
    [
        (["train/{cats,dogs}/a.png", "extra/emu/a.png"], "no other folder beside train/, but got extra; move it away"),
        (
            ["{train,train2,test}/{a,b}/1.png"],
            "one folder of each kind, but got train, train2; keep one and move the other away, or move",
        ),
        (["{train,test,hold-out}/{a,b}/1.png"], "one folder of each kind, but got hold-out, test"),
        (["test/{a,b}/1.png"], "must hold train/ beside test/, but got no other folder"),
        (["{val,test}/{a,b}/1.png"], "must hold train/ beside test/"),
        (["{train,test}/{1,2}.jpg", "train.csv"], "2 pictures and no folder, and train.csv, from which no labels are"),
        (["images/{1,2}.jpg", "labels.csv"], "only the folder images/ with 2 of them, and labels.csv, from which no"),
        (["{1,2}.jpg", "labels.csv"], "2 pictures and no folder, and labels.csv, from which no labels are read"),
        (["train_images/1.jpg", "test_images/2.jpg"], "as in train_images/CLASS/ and test_images/CLASS/"),
        (["{train,test}_{cats,dogs}/a.png"], "move train_cats to train/cats, test_cats to test/cats, and so on"),
        (["{train,test}/cats/a.png"], "two at least .* got only the folder cats/ with 1 of them"),
        (["train/{train,test}/a.png"], "named like one; divide"),
        (["train/{a,b}/1.png", "train/train/{a,b}/1.png"], "train/train holds folders of the same names as those"),
        (["{images,masks}/1.png"], "images, masks in .* are named like shares .* sort their pictures into folders"),
        (["{images,labels}/{train,val}/1.png"], "images, labels in .* are named like shares .* sort their pictures"),
        (["images_00{1,2}/images/1.png", "labels.csv"], "images_001, images_002 in .* are named like shares"),
        (["HAM_images_part_{1,2}/1.png", "labels.csv"], "are named like shares of a data set"),
        (["{data_part1,data_part2}/{a,b}/1.png"], "both data_part1/, data_part2/ and what they hold"),
        (["train/fold{0,1}/{a,b}/1.png", "test/{a,b}/1.png"], "fold0, fold1 in .*/train are named like shares"),
        (["fold{1,2,3,4}/{a,b}/1.png"], "bring their pictures together in train/CLASS/ and test/CLASS/, or pass"),
        (
            ["train/{images,labels}/1.png", "test/images/2.png"],
            "images, labels in .* are named like shares .* sort their pictures",
        ),
        (["train/images/1.png", "train/labels/1.txt", "val/images/1.png"], "only the folder images/ with 1 of them"),
        (["animals/cats/{train,test}/a.png", "animals/{dogs,emu}/a.png", "plants/a.png"], "animals/cats/test is named"),
        (["cats/{train,test}/a.png", "dogs/a.png"], "cats/ holds test/, train/ and dogs/ holds pictures; move the"),
        (["cats/test/a.png", "{cats,dogs}/a.png"], "cats/ holds test/, pictures; move the"),
        (["cells/{sick,well}/a.png", "{sick,well}/a.png"], "cells holds folders of the same names as those beside it"),
        (
            ["Dataset/{0,1}/a.jpg", "Examples/b.jpg"],
            "some are in Dataset/ and beside it are other pictures; pass",
        ),
        (["{good,bad}/a.png", "train/good/a.png"], "train holds folders of the same names as those beside it; move it"),
        (["notes/a.txt", "more/b/"], "got no picture in more/, notes/; sort the pictures into folders"),
        (["train/{a,b}/1.png", "prueba/{a,b}/1.png"], "prueba/ holds classes as train/ does; rename it to test or val"),
        (["{2019,2020}/{cats,dogs}/a.png", "2020/emu/a.png"], "both 2019/, 2020/ and what they hold"),
        (["{cats,dogs}/{large,small}/a.png"], "both cats/, dogs/ and what they hold"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, files: list[str], received: str) -> None:
    touch(tmp_path, *files)
    assert re.search(received, complaint(tmp_path))


@pytest.mark.follows("parts must hold different pictures, but {} and {} are the same folder")
@pytest.mark.parametrize("part", ["train", "val"])
def test_parts_that_are_one_folder_are_refused(tmp_path: Path, part: str) -> None:
    touch(tmp_path, "{train,val}/{cats,dogs}/a.png")
    (tmp_path / "test").symlink_to(tmp_path / part)
    assert "are the same folder; remove the link" in complaint(tmp_path)
    (tmp_path / "test").unlink()
    assert set(find_layout(tmp_path).parts) == {TRAIN, VALIDATION}


def test_names_that_break_a_line_or_are_no_utf8_are_told_escaped(tmp_path: Path) -> None:
    touch(tmp_path, "a\n_train/{cats,dogs}/in\x1bside/a.png", "a\n_test/\udce9/1.png", "empty\udce9/")
    notes = find_layout(tmp_path).notes
    assert all(note.isprintable() for note in notes) and len(notes) == 4


@pytest.mark.follows(
    "class folders must lie side by side, but {} holds folders of the same names",
    "class folders must lie side by side, but in {} some are in {}/",
    "{} must hold no other folder beside {}, but got {}; {}",
    "{} must have one folder of each kind, but got {}; keep one and move the other away",
    "class folders must be named by what they show, but {} in {} are named like shares",
    "if class folders are divided, each must hold train/",
    "{} must hold train/ and test/ with the classes' folders in them",
    "class folders and those inside must not be parts of a data set, but {} is named like one",
)
@pytest.mark.parametrize(
    ("files", "remedy", "moves", "names"),
    [
        (["cells/{sick,well}/a.png", "{sick,well}/a.png"], "move it away", {"cells": "../away"}, ["sick", "well"]),
        (["data/{0,1}/a.jpg", "more/b.jpg"], "rename data/ if it is", {"data": "digits"}, ["digits", "more"]),
        (["extra/emu/a.png", "train/{a,b}/1.png"], "into train/ if", {"extra": "train/extra"}, ["a", "b", "extra"]),
        (["{train,dev-set,val}/{a,b}/1.png"], "move them together", {"val": "../away"}, ["a", "b"]),
        (["train/{a,b}/1.png", "car/{c,d}/1.png"], "or rename train/ if", {"train": "tram"}, ["car", "tram"]),
        (["train/{a,b}/1.png", "car/{c,d}/1.png"], "move it away, or", {"car": "../away"}, ["a", "b"]),
        (["fold{1,2,3}/a.png"], "classes, give them other names", {"fold1": "crease"}, ["crease", "fold2", "fold3"]),
        (
            ["part_1/{a,b}/1.png", "part_2/c/1.png"],
            "bring the class folders",
            {"part_2/c": "part_1/c"},
            ["a", "b", "c"],
        ),
        (["train/{images,masks}/{a,b}/1.png"], "or pass --dataset", {"train/masks": "../away"}, ["a", "b"]),
        (["train/01/1.png", "train/b/1.png", "test/{1,b}/1.png"], "rename those", {"test/1": "test/01"}, ["01", "b"]),
        (
            ["train/{ann,bob}/{a,b}/1.png", "test/eve/{a,b}/1.png"],
            "if the classes are one folder deeper, bring their folders together in train/CLASS/ and test/CLASS/",
            {f"train/{who}/{name}": f"train/{name}/{who}" for who in ("ann", "bob") for name in "ab"},
            ["a", "b"],
        ),
        (
            ["cats/{train,test}/a.png", "dogs/b.png"],
            "move the pictures to train/CLASS/ and test/CLASS/, or all up into their class folders",
            {"cats/train/a.png": "cats/1.png", "cats/test/a.png": "cats/2.png", "cats/train": "..", "cats/test": ".."},
            ["cats", "dogs"],
        ),
        (
            ["{train,test}_{a,b}/1.png"],
            "move train_a to train/a, test_a to test/a, and so on",
            {f"{part}_{name}": f"{part}/{name}" for part in ("train", "test") for name in "ab"},
            ["a", "b"],
        ),
        (["pets/cat/test/1.png", "rest/1.png"], "another name", {"pets/cat/test": "pets/cat/b"}, ["pets", "rest"]),
        (["{train,test}/1.png"], "rename these two if they", {"train": "vehicle", "test": "exam"}, ["exam", "vehicle"]),
        (["train/{a,b}/1.png", "prueba/{a,b}/1.png"], "rename it to test or val", {"prueba": "val"}, ["a", "b"]),
    ],
)
def test_what_the_message_asks_for_helps(
    tmp_path: Path, files: list[str], remedy: str, moves: dict[str, str], names: list[str]
) -> None:
    folder = touch(tmp_path / "set", *files)
    assert remedy in complaint(folder)
    for source, target in moves.items():
        if target == "..":
            (folder / source).rmdir()
            continue
        (folder / target).parent.mkdir(exist_ok=True)
        (folder / source).rename(folder / target)
    assert list(find_layout(folder).class_names) == names


@pytest.mark.parametrize(
    "files",
    [
        ["cells/{sick,well}/a.png", "{sick,well}/a.png"],
        ["Data/{0,1}/a.jpg", "more/b.jpg"],
        ["train/{a,b}/1.png", "prueba/{a,b}/1.png"],
        ["test/{a,b}/1.png"],
        ["test/{a,b}/1.png", "prueba/{a,b}/1.png"],
        ["val/{a,b}/1.png", "test/{a,b}/1.png"],
        ["test/test/1.png", "shoes/{a,b}/1.png"],
        ["set/{train,test}/{a,b}/1.png", "test/{a,b}/1.png"],
        ["part1/{a,b}/1.png", "part2/{c,d}/1.png"],
        ["{images,masks}/{a,b}/1.png"],
        ["{2019,2020}/{a,b}/1.png"],
        ["colour/{train,test}/{a,b}/1.png", "grey/{train,test}/{a,b}/1.png"],
    ],
)
def test_data_set_that_the_message_proposes_can_be_read(tmp_path: Path, files: list[str]) -> None:
    text = complaint(touch(tmp_path / "my set", *files))
    (proposed,) = re.findall("--dataset '(.*?)'", text)
    assert len(find_layout(Path(proposed)).class_names) == 2
