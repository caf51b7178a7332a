"""What is known of the data sets that have a name: their classes, their images, and the files that hold them."""

from __future__ import annotations

import string
from dataclasses import dataclass, field

from fmnist.data.images import Shape

DIGITS = tuple(string.digits)
CAPITALS = tuple(string.ascii_uppercase)
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100_WORDS = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
    poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm
"""
CIFAR100 = tuple(CIFAR100_WORDS.split())
KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
SMALL_LETTERS_APART = tuple("abdefghnqrt")  # the others look like their capitals, and share a class with them
MERGED_CHARACTERS = (*DIGITS, *CAPITALS, *SMALL_LETTERS_APART)
ALL_CHARACTERS = (*DIGITS, *CAPITALS, *string.ascii_lowercase)

GREY_28: Shape = (28, 28, 1)
COLOUR_32: Shape = (32, 32, 3)


@dataclass(frozen=True)
class KerasFiles:
    """How Keras keeps a data set in its cache."""

    module: str  # of keras.datasets, whose load_data() fetches it
    places: tuple[str, ...]  # below Keras' folder of data sets: a file or a folder, by its versions, the newest first
    md5s: dict[str, str] = field(repr=False)  # of the official files, by name


@dataclass(frozen=True)
class NamedSet:
    """A data set that has a name."""

    name: str  # one of `fmnist.reading.DATASETS`
    class_names: tuple[str, ...]  # by label
    image_shape: Shape
    files: str  # what a folder of it holds, in words
    origin: str  # where these come from, in words
    keras: KerasFiles | None = None  # None: Keras has no download for it
    has_pickles: bool = False  # whether its files are Python's pickles, as those of CIFAR are
    is_emnist: bool = False  # whether its IDX files have rows and columns exchanged, as all of EMNIST have


def idx_words(prefix: str = "", test: str = "t10k") -> str:
    """Name the four IDX files of a data set for a message."""
    return (
        f"{prefix}train-images-idx3-ubyte, {prefix}train-labels-idx1-ubyte, {prefix}{test}-images-idx3-ubyte and "
        f"{prefix}{test}-labels-idx1-ubyte, gzipped or not"
    )


MNIST = NamedSet(
    "mnist",
    DIGITS,
    GREY_28,
    f"mnist.npz, or {idx_words()}",
    "Keras downloads mnist.npz; the IDX files are those of the MNIST database",
    KerasFiles("mnist", ("mnist.npz",), {"mnist.npz": "8a61469f7ea1b51cbae51d4f78837e45"}),
)
CIFAR_10 = NamedSet(
    "cifar10",
    CIFAR10,
    COLOUR_32,
    "the folder cifar-10-batches-py",
    "the Python version of CIFAR-10, unpacked",
    KerasFiles(
        "cifar10",
        ("cifar-10-batches-py-target/cifar-10-batches-py", "cifar-10-batches-py"),
        {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
        },
    ),
    has_pickles=True,
)
CIFAR_100 = NamedSet(
    "cifar100",
    CIFAR100,
    COLOUR_32,
    "the folder cifar-100-python",
    "the Python version of CIFAR-100, unpacked",
    KerasFiles(
        "cifar100",
        ("cifar-100-python-target/cifar-100-python", "cifar-100-python"),
        {"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    ),
    has_pickles=True,
)
KMNIST = NamedSet(
    "kmnist",
    KANA,
    GREY_28,
    f"{idx_words()}, or kmnist-train-imgs.npz, kmnist-train-labels.npz, kmnist-test-imgs.npz and "
    "kmnist-test-labels.npz",
    "Kuzushiji-MNIST, published by the Center for Open Data in the Humanities, Tokyo",
)


def _emnist(split: str, class_names: tuple[str, ...]) -> NamedSet:
    return NamedSet(
        f"emnist-{split}",
        class_names,
        GREY_28,
        idx_words(f"emnist-{split}-", "test"),
        "EMNIST in its binary format, gzip.zip, as NIST publishes it, unpacked",
        is_emnist=True,
    )


CATALOG = {
    named.name: named
    for named in (
        MNIST,
        CIFAR_10,
        CIFAR_100,
        KMNIST,
        _emnist("letters", CAPITALS),
        _emnist("balanced", MERGED_CHARACTERS),
        _emnist("digits", DIGITS),
        _emnist("mnist", DIGITS),
        _emnist("bymerge", MERGED_CHARACTERS),
        _emnist("byclass", ALL_CHARACTERS),
    )
}
