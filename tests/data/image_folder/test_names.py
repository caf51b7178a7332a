"""What the name of a folder says of it."""

from __future__ import annotations

import pytest

from fmnist.data.image_folder.names import EVALUATION, TEST, TRAIN, UNLABELLED, VALIDATION, loose, part_name

NAMES_OF_PARTS = {
    TRAIN: (
        "train",
        "Training",
        "TRAIN",
        "training_set",
        "trainset",
        "TrainData",
        "Train Data",
        "1_train",
        "train2017",
    ),
    VALIDATION: ("val", "valid", "VALIDATION", "2_val", "dev", "dev-set", "validation images"),
    TEST: ("test", "testing", "tests", "test-images", "test_set", "TestSet", "hold-out", "HeldOut", "test-dev"),
    EVALUATION: ("eval", "Evaluation", "eval_set"),
    UNLABELLED: ("unlabelled", "unlabeled_images", "pred"),
}


@pytest.mark.parametrize(("part", "name"), [(part, name) for part, names in NAMES_OF_PARTS.items() for name in names])
def test_name_of_a_part_is_known(part: str, name: str) -> None:
    found = part_name(name)
    assert found is not None and found.part == part and found.rest == ()


@pytest.mark.parametrize(
    ("name", "part", "rest"),
    [("asl_alphabet_train", TRAIN, ("asl", "alphabet")), ("seg_test", TEST, ("seg",)), ("testTube", TEST, ("tube",))],
)
def test_other_words_of_a_part_are_told_apart(name: str, part: str, rest: tuple[str, ...]) -> None:
    found = part_name(name)
    assert found is not None and (found.part, found.rest, found.is_certain) == (part, rest, False)


@pytest.mark.parametrize(
    "name", ["contest", "latest", "valve", "trainer", "strain", "device", "trains", "invalid", "medieval", "protest"]
)
def test_part_of_another_word_is_no_name_of_a_part(name: str) -> None:
    assert part_name(name) is None


@pytest.mark.parametrize("name", ["train_test_split", "validation_training_test", "cats", "", "12", "数字"])
def test_name_with_no_part_or_several_tells_nothing(name: str) -> None:
    assert part_name(name) is None


def test_only_names_that_no_class_has_are_certain() -> None:
    certain = {
        name: part.is_certain for name in ("test", "train_set", "val", "train", "Valid") if (part := part_name(name))
    }
    assert certain == {"test": True, "train_set": True, "val": True, "train": False, "Valid": False}


@pytest.mark.parametrize("name", ["Traffic Light", "traffic_light", "TRAFFIC-LIGHT", " traffic  light "])
def test_capitals_spaces_and_the_like_make_no_other_name(name: str) -> None:
    assert loose(name) == "traffic light"


def test_composed_and_decomposed_letters_are_alike() -> None:
    assert loose("caf\u00e9") == loose("cafe\u0301")
