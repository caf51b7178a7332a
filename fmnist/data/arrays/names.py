"""Which of a file's arrays are the training images, which the test labels? By their everyday names, or their order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fmnist.errors import UserError, first_few

PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
IMAGE_WORDS = ("x", "image", "images", "imgs", "img", "data", "features", "samples", "inputs")
LABEL_WORDS = ("y", "label", "labels", "lbls", "target", "targets", "classes", "outputs")
CLASS_NAME_WORDS = ("class_names", "label_names", "target_names", "classnames", "categories")
POSITIONAL = re.compile(r"arr_\d+")  # as np.savez calls arrays without a name


@dataclass(frozen=True)
class Roles:
    """The name of the array that has each role; None where there is none."""

    train: tuple[str, str]  # images and labels
    val: tuple[str, str] | None = None
    test: tuple[str, str] | None = None
    class_names: str | None = None
    unread: tuple[str, ...] = ()  # arrays that have no role
    note: str = ""  # what was decided, in words; empty where the names left nothing to decide


def find_roles(shapes: Mapping[str, tuple[int, ...]], where: str, remedy: str) -> Roles:
    """Find the roles of arrays.

    Args:
        shapes: Of each array, by name, in the file's order.
        where: The file, for messages.
        remedy: How to write the arrays, such as "save it with np.savez(...)".

    Raises:
        UserError: Training images or labels are missing, a role could be that of several arrays, or there are images
            without labels.
    """
    class_names = next((name for name in shapes if _plain(name) in CLASS_NAME_WORDS), None)
    others = [name for name in shapes if name != class_names]
    if len(others) > 1 and all(POSITIONAL.fullmatch(name) for name in others):
        return _by_position({name: shapes[name] for name in others}, where)
    found: dict[tuple[str, str], list[str]] = {}  # by part, and "images" or "labels"
    unread = []
    for name in others:
        role = role_of(name)
        if role is None:
            unread.append(name)
        else:
            found.setdefault(role, []).append(name)
    for names in found.values():
        if len(names) > 1:
            raise UserError(
                f"{where} must have one array for each part, but got {' and '.join(names)}; leave all but one out"
            )
    if ("train", "images") not in found and ("train", "labels") not in found:
        raise UserError(
            f"{where} must hold arrays x_train and y_train, but got {first_few(list(shapes)) or 'none'}; {remedy}"
        )
    pairs = {}
    for part in PARTS:
        images, labels = found.get((part, "images")), found.get((part, "labels"))
        if images and labels:
            pairs[part] = (images[0], labels[0])
        elif images or labels:
            (alone,) = images or labels or []
            raise UserError(
                f"{where} must hold x_{part} and y_{part}, but got {alone} alone; add the other, or leave it out too"
            )
    return Roles(pairs["train"], pairs.get("val"), pairs.get("test"), class_names, tuple(unread))


def find_pair(names: Iterable[str], where: str) -> Roles:
    """Find the images and the labels of a file that holds one part of a data set, whichever part its arrays name.

    Args:
        names: Of its arrays.
        where: The file, for the message.

    Raises:
        UserError: There are not one array of images and one of labels.
    """
    found: dict[str, list[str]] = {"images": [], "labels": []}
    others = []
    for name in names:
        role = role_of(name)
        if role is None:
            others.append(name)
        else:
            found[role[1]].append(name)
    class_names = next((name for name in others if _plain(name) in CLASS_NAME_WORDS), None)
    images, labels = found["images"], found["labels"]
    received = first_few([*images, *labels]) or "none"
    if len(images) != 1 or len(labels) != 1:
        raise UserError(
            f"{where} must hold one array of images and one of labels, but got {received}; name them X and y, and "
            "leave the others out"
        )
    unread = tuple(name for name in others if name != class_names)
    return Roles((images[0], labels[0]), class_names=class_names, unread=unread)


def part_of_file(stem: str) -> str | None:
    """Tell which part of a data set a file of this name holds, by a word such as `train`; None if it names none."""
    words = _plain(stem).split("_")
    parts = [part for part, spellings in PARTS.items() if not set(words).isdisjoint(spellings)]
    return parts[0] if len(parts) == 1 else None


def without_common_words(names: Sequence[str]) -> list[str]:
    """Return names without the words that all begin with, such as that of a data set, unless these say a role."""
    if any(map(POSITIONAL.fullmatch, names)):
        return list(names)
    words = [_plain(name).split("_") for name in names]
    while len(names) > 1 and len({each[0] for each in words}) == 1 and min(map(len, words)) > 1:
        if words[0][0] in (*IMAGE_WORDS, *LABEL_WORDS) or any(words[0][0] in spellings for spellings in PARTS.values()):
            break
        words = [each[1:] for each in words]
    short = ["_".join(each) for each in words]
    if short == [_plain(name) for name in names] or len(set(short)) < len(short):
        return list(names)
    return short


def _plain(name: str) -> str:
    return re.sub(r"[\s\-./]+", "_", name.strip()).lower().strip("_")


def role_of(name: str) -> tuple[str, str] | None:
    """Tell the part of an array by its name, and "images" or "labels"; None if the name says neither.

    Without a word for a part it is training: `x` and `y`.
    """
    words = [word for word in _plain(name).split("_") if word]
    if len(words) == 1:  # xtrain, trainX
        match = re.fullmatch(r"(x|y)(train|test|val|valid)|(train|test|val|valid)(x|y)", words[0])
        if match is not None:
            words = [word for word in match.groups() if word]
    part, content = None, None
    for word in words:
        is_part = next((part for part, spellings in PARTS.items() if word in spellings), None)
        if is_part is not None and part is None:
            part = is_part
        elif word in IMAGE_WORDS and content is None:
            content = "images"
        elif word in LABEL_WORDS and content is None:
            content = "labels"
        else:
            return None
    return None if content is None else (part or "train", content)


def _by_position(shapes: Mapping[str, tuple[int, ...]], where: str) -> Roles:
    """Find the roles of two or four arrays without names, from their order and shapes."""
    names = list(shapes)
    images = [name for name in names if len(shapes[name]) >= 3 or (len(shapes[name]) == 2 and shapes[name][1] > 256)]
    labels = [name for name in names if name not in images]
    lengths = {name: shapes[name][0] if shapes[name] else -1 for name in names}
    pairs = list(zip(images, labels, strict=False))
    if len(images) != len(labels) or len(pairs) not in (1, 2) or any(lengths[x] != lengths[y] for x, y in pairs):
        raise UserError(
            f"{where} must hold images and labels, for training and perhaps for testing, but got arrays without names "
            f"of the shapes {', '.join(map(str, shapes.values()))}; name them x_train, y_train, x_test and y_test"
        )
    words = [f"{x} and {y} are images and labels" for x, y in pairs]
    if len(pairs) == 1:
        return Roles(pairs[0], note=f"Arrays without names: {words[0]}")
    note = f"Arrays without names: by their order {words[0]} to train on, {words[1]} to test on"
    return Roles(pairs[0], test=pairs[1], note=note)
