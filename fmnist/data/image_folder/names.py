"""What the name of a folder says: which part of a data set it would hold, or that a tool made it."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TRAIN, VALIDATION, TEST = "train", "val", "test"
EVALUATION = "eval"  # the test set, or validation beside one: usage differs
UNLABELLED = "unlabelled"
PART_WORDS = {
    TRAIN: ("train", "training", "trainval"),
    VALIDATION: ("val", "valid", "validation", "dev", "development"),
    TEST: ("test", "tests", "testing", "holdout", "heldout"),
    EVALUATION: ("eval", "evaluation"),
    UNLABELLED: ("unlabelled", "unlabeled", "pred", "predict", "prediction", "predictions"),
}
# A train may be a vehicle beside cars and buses, and a banknote or a vote valid or invalid.
WORDS_OF_CLASSES = ("train", "training", "valid")
NEUTRAL_WORDS = (
    "set",
    "data",
    "dataset",
    "image",
    "img",
    "pic",
    "picture",
    "photo",
    "sample",
    "folder",
    "dir",
    "split",
)
WRAPPERS = ("image", "data", "dataset", "folder", "dir")  # what a folder with classes in it is called, and no class
ANNOTATIONS = ("annotation", "label", "mask", "groundtruth", "gt", "ground", "truth", "segmentation", "bbox", "meta")
SHARES = ("part", "fold", "batch", "split", "subset", "shard", "chunk", "piece")  # numbered: of one data set
TOOL_MADE = (  # beside hidden ones: what archives, systems and interpreters leave
    *("__MACOSX", "__pycache__", "@eaDir", "@tmp", "@Recycle", "@Recently-Snapshot", "#recycle", "#snapshot"),
    *("$RECYCLE.BIN", "System Volume Information", "lost+found", "Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r"),
)


@dataclass(frozen=True)
class PartName:
    """A name that a part of a data set may have. It need not be one: a `steam_train` may be a class."""

    part: str  # TRAIN, VALIDATION, TEST, EVALUATION or UNLABELLED
    rest: tuple[str, ...]  # its other words, but for neutral ones and numbers: those of a data set or a class
    is_word_alone: bool  # nothing but a word that may be a class too, one of WORDS_OF_CLASSES in any case

    @property
    def is_certain(self) -> bool:
        """Whether no class is plausibly called so: `test`, `train_set`, but not `train`, nor `test_tube`."""
        return not self.rest and not self.is_word_alone

    def fits(self, other: PartName) -> bool:
        """Whether two names may be those of one data set's parts: `asl_train` and `asl_test`, `train` and `my_test`."""
        return self.rest == other.rest or not self.rest or not other.rest


def part_name(name: str) -> PartName | None:
    """Find which part a folder of this name would be, by whole words in any case: `2_val`, `TrainData`, `test-images`.

    A name with words of two parts tells nothing, but for `train_val`, which is trained on, and `test-dev`.
    """
    parts, rest = set(), []
    for word in words_of(name):
        part = _part_of_word(word)
        if part is None:
            rest.append(word)
        else:
            parts.add(part)
    if parts in ({TRAIN, VALIDATION}, {TEST, VALIDATION}):
        parts.discard(VALIDATION)
    if len(parts) != 1:
        return None
    return PartName(parts.pop(), tuple(rest), is_word_alone=name.casefold() in WORDS_OF_CLASSES)


def words_of(name: str) -> tuple[str, ...]:
    """Split a name into words in small letters, without numbers and what any folder of pictures may be called."""
    spaced = re.sub(r"(hold|held)[\W_]*out", r"\1out", name, flags=re.IGNORECASE)
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", spaced)
    words = [word.casefold() for word in re.split(r"[\W\d_]+", spaced) if word]
    return tuple(word for word in words if not _is_neutral(word))


def _part_of_word(word: str) -> str | None:
    """The part that a word stands for, alone or joined to a neutral one as in `trainset`."""
    for part, names in PART_WORDS.items():
        for name in names:
            if word == name or (word.startswith(name) and _is_neutral(word.removeprefix(name))):
                return part
    return None


def _is_neutral(word: str) -> bool:
    return word in NEUTRAL_WORDS or word.removesuffix("s") in NEUTRAL_WORDS


def is_wrapper_name(name: str) -> bool:
    """Tell whether a folder of this name is one for classes, such as `Dataset` or `images_2`, rather than a class."""
    words = [word.casefold().removesuffix("s") for word in re.split(r"[\W\d_]+", name) if word]
    return bool(words) and all(word in WRAPPERS for word in words)


def is_annotation_name(name: str) -> bool:
    """Tell whether a folder of this name holds what belongs to pictures elsewhere, such as `labels` or `gt_masks`."""
    words = [word.casefold().removesuffix("s") for word in re.split(r"[\W\d_]+", name) if word]
    return bool(words) and all(word in (*WRAPPERS, *ANNOTATIONS) for word in words) and not is_wrapper_name(name)


def are_shares(names: Sequence[str]) -> bool:
    """Tell whether folders are called like shares of one data set, or like kinds of files, and none like a class.

    Such are `part1` and `part2`, `images_01` and `images_02`, `images` and `masks`. The numbers of shares go up from 0
    or 1, as the spare parts `part 3001` and `part 3020` may be classes.
    """
    if len(names) < 2:
        return False
    if any(map(is_wrapper_name, names)):
        return all(is_wrapper_name(name) or is_annotation_name(name) for name in names)
    found = [re.fullmatch(rf"(.*?)({'|'.join(SHARES)})s?[\W_]*(\d+)\W*", name.casefold()) for name in names]
    stems = {match[1] for match in found if match}
    numbers = sorted(int(match[3]) for match in found if match)
    in_turn = [list(range(first, first + len(names))) for first in (0, 1)]
    return len(stems) == 1 and numbers in in_turn and not re.search(r"[^\W\d_]$", stems.pop())


def is_passed_over(name: str) -> bool:
    """Tell whether a file or folder is hidden or tool-made, and so never one of the user's pictures or classes."""
    return name.startswith(".") or name in TOOL_MADE


def natural(name: str) -> tuple[tuple[int | str, ...], str]:
    """Make a key to sort names by: `class 2` comes before `class 10`, small and capital letters are alike."""
    key: list[int | str] = []
    for i, part in enumerate(re.split("([0-9]+)", name)):  # every second part is a number
        if i % 2:
            key.append(int(part))
        else:
            key.append(part.casefold())
    return tuple(key), name


def loose(name: str) -> str:
    """Make a key by which `Traffic_Light`, `traffic light` and `traffic-light` are one name, in any Unicode form."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFC", name).casefold()).strip()


def spelling_key(label: str) -> str:
    """Make a key by which `Even`, `even` and ` EVEN` are one label; a lone letter stays as it is, as `a` is not `A`.

    Signs count, unlike in `loose`: -1 and 1 are two labels.
    """
    text = " ".join(unicodedata.normalize("NFC", label).split())
    return text if len(text) == 1 else text.casefold()


def common_spellings(labels: Iterable[str]) -> dict[str, str]:
    """Find the name of each class that labels spell: by its key, the most frequent spelling, of several the first."""
    counts = Counter(labels)
    names: dict[str, str] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], natural(label))):
        names.setdefault(spelling_key(label), label)
    return names


def note_spellings(names: dict[str, str], labels: Iterable[str]) -> list[str]:
    """Say which labels are another spelling of a class, `even (also EVEN, Even)`; nothing if none is.

    Args:
        names: Of the classes, by `spelling_key`.
        labels: All that occur.
    """
    others: dict[str, list[str]] = {}
    for label in sorted(set(labels), key=natural):
        name = names[spelling_key(label)]
        if label != name:
            others.setdefault(name, []).append(repr(label) if " " in label else label)
    return [f"{name} (also {', '.join(others[name])})" for name in sorted(others, key=natural)]
