"""CIFAR's pickled batches are a data set, by Python 2 and 3; what is hostile is refused, and nothing runs."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from fmnist.data.arrays.cifar.unpickling import read_pickle
from fmnist.data.images import LabelledImages
from fmnist.data.split import load_test, load_train
from tests.support.data_sets import found, multiset, refused
from tests.support.remedies import needs_remedy

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), np.arange(60) % 3
NAMES = ["airplane", "automobile", "bird"]
Writer = Callable[[dict[str, Any]], bytes]


def planes(images: np.ndarray) -> np.ndarray:
    """As CIFAR has them: all red pixels of an image, then all green, then all blue. uint8 (n, 3072)."""
    return np.concatenate([images[..., channel].reshape(len(images), -1) for channel in range(3)], axis=1)


def batch(first: int, last: int) -> dict[str, Any]:
    return {"labels": LABELS[first:last].tolist(), "data": planes(IMAGES[first:last])}


def short_text(text: str) -> bytes:
    return b"U" + struct.pack("<B", len(text)) + text.encode()


def by_python_2(values: dict[str, Any]) -> bytes:
    """By hand, operation by operation as Python 2's cPickle writes it by protocol 2, and NumPy 1 its arrays.

    Texts and the bytes of an array are operations U and T there, 8-bit strings, which Python 3 never writes, and reads
    as bytes if it is asked to. The published files are of this form.
    """
    parts = [b"\x80\x02}q\x01("]
    for key, value in values.items():
        parts.append(short_text(key))
        if isinstance(value, np.ndarray):
            shape = b"".join(b"M" + struct.pack("<H", side) for side in value.shape)
            parts += [
                b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04",
                b"(K\x01", shape, b"\x86cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87Rq\x06",
                b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
                b"\x89T", struct.pack("<i", value.size), value.tobytes(), b"tb",
            ]  # fmt: skip
        else:
            items = [short_text(item) if isinstance(item, str) else b"K" + bytes([item]) for item in value]
            parts += [b"](", *items, b"e"]
    return b"".join([*parts, b"u."])


def by_numpy_1(values: dict[str, Any]) -> bytes:
    """As Python 3 with NumPy 1 writes it by protocol 2 for Python 2: bytes as texts that are encoded again."""
    return pickle.dumps(values, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


WRITERS: dict[str, Writer] = {
    "by Python 2": by_python_2,
    "by NumPy 1 for Python 2": by_numpy_1,
    "with keys of bytes": lambda values: pickle.dumps({key.encode(): value for key, value in values.items()}),
    **{f"protocol {n}": lambda values, n=n: pickle.dumps(values, protocol=n) for n in range(6)},
}


def write_cifar_10(folder: Path, write: Writer = pickle.dumps) -> Path:
    """Two batches of 24 images, 12 to test on, and names."""
    folder.mkdir(exist_ok=True)
    (folder / "data_batch_1").write_bytes(write(batch(0, 24)))
    (folder / "data_batch_2").write_bytes(write(batch(24, 48)))
    (folder / "test_batch").write_bytes(write(batch(48, 60)))
    (folder / "batches.meta").write_bytes(write({"label_names": NAMES}))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_cifar_10(tmp_path / "cifar-10-batches-py")


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_batches_of_every_python_are_one_data_set(tmp_path: Path, write: Writer) -> None:
    source = found(write_cifar_10(tmp_path / "cifar-10-batches-py", write))
    assert (source.dataset, source.class_names, source.image_shape) == (
        "cifar-10-batches-py",
        tuple(NAMES),
        (32, 32, 3),
    )
    assert list(source.checksums) == ["data_batch_1", "data_batch_2", "test_batch", "batches.meta"]
    expected = LabelledImages(IMAGES[:48], LABELS[:48].astype(np.uint8))
    assert multiset(load_train(source, 0).together()) == multiset(expected)
    np.testing.assert_array_equal(load_test(source).images, IMAGES[48:])
    assert source.notes == ("Training batches: 2, where CIFAR-10 has 5",)


def test_bytes_by_hand_are_operations_of_protocol_2_that_python_3_does_not_write() -> None:
    content = by_python_2({"label_names": NAMES, "data": planes(IMAGES[:2])})
    pickletools.dis(content, io.StringIO())  # raises where the stack or a length is wrong
    names = {operation.name for operation, _, _ in pickletools.genops(content)}
    assert {"SHORT_BINSTRING", "BINSTRING"} <= names and not names & {"SHORT_BINBYTES", "BINUNICODE"}
    assert pickle.loads(content, encoding="bytes")[b"data"].tobytes() == planes(IMAGES[:2]).tobytes()


def test_fine_labels_of_cifar_100_are_the_classes_and_coarse_ones_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name, first, last in (("train", 0, 48), ("test", 48, 60)):
        labels = LABELS[first:last].tolist()
        values = {"fine_labels": labels, "coarse_labels": [7] * (last - first), "data": planes(IMAGES[first:last])}
        (folder / name).write_bytes(by_python_2(values))
    (folder / "meta").write_bytes(by_python_2({"coarse_label_names": ["fish", "trees"], "fine_label_names": NAMES}))
    source = found(folder)
    assert (source.class_names, len(load_test(source))) == (tuple(NAMES), 12)
    assert source.notes == ("The fine labels are the classes; the 2 coarse ones are not read",)
    (folder / "meta").unlink()
    assert found(folder).class_names == ("0", "1", "2")


def test_folder_without_a_test_batch_holds_images_out(folder: Path) -> None:
    (folder / "test_batch").unlink()
    source = found(folder)
    assert (len(load_train(source, 0).together()), len(load_test(source))) == (40, 8)
    assert any("There is no test_batch, so 8 of the 48 images" in note for note in source.notes)


def test_folder_of_pictures_called_train_and_test_is_not_taken_for_cifar(tmp_path: Path) -> None:
    (tmp_path / "train" / "cat").mkdir(parents=True)
    refused(tmp_path, "picture")


def test_folder_around_the_batches_is_passed_through(folder: Path) -> None:
    assert found(folder.parent).checksums == found(folder).checksums


class Calls:
    """Pickled as a call of a function, so that unpickling it would run the function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def tuples_as_key(depth: int) -> bytes:
    """A dictionary with a tuple in a tuple in ... as its key: hashing that overflows the stack of a process."""
    return b"\x80\x02})" + b"\x85" * depth + b"K\x00s."


UNFILLED_ARRAY = b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"


def array_of(dtype: bytes, shape: bytes, content: bytes) -> bytes:
    """An array under `data`, by hand. shape: operations that make a tuple."""
    number_type = b"cnumpy\ndtype\nU" + bytes([len(dtype)]) + dtype + b"K\x00K\x01\x87R"
    number_type += b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return UNFILLED_ARRAY + b"(K\x01" + shape + number_type + b"\x89U" + bytes([len(content)]) + content + b"tbs."


def hostile_pickles(exploded: Path) -> dict[str, bytes]:
    """What runs code, crashes a process or takes all memory if it is simply unpickled."""
    command = f"touch '{exploded}'"
    return {
        "os.system": pickle.dumps({"data": Calls(os.system, command)}),
        "os.system by protocol 0": pickle.dumps({"data": Calls(os.system, command)}, protocol=0),
        "os.system as Python 2 names it": b"\x80\x02cposix\nsystem\n" + short_text(command) + b"\x85R.",
        "eval": pickle.dumps({"data": Calls(eval, f"open({str(exploded)!r}, 'w')")}),
        "eval as Python 2 names it": b"\x80\x02c__builtin__\neval\n"
        + short_text(f"open({str(exploded)!r}, 'w')")
        + b"\x85R.",
        "import": pickle.dumps({"data": Calls(__import__, "antigravity")}),
        "global that imports": b"\x80\x02cantigravity\nfly\n.",
        "attribute of an allowed name": b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.tofile\x93.",
        "instance of an old class": b"(S'touch x'\nios\nsystem\n.",
        "object": b"(cos\nsystem\nS'touch x'\no.",
        "new object": b"\x80\x02cpathlib\nPath\n)\x81.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"Pnumber 1\n.",
        "persistent, binary": b"\x80\x02K\x01Q.",
        "state of a stand-in": b"\x80\x02c_codecs\nencode\n}U\x01xK\x01sb.",
        "call of an array's type": b"\x80\x02cnumpy\nndarray\nK\x01\x85R.",
        "encoding of something else": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
        "tuples a million deep": tuples_as_key(1_000_000),
        "lists a million deep": b"\x80\x02" + b"](" * 1_000_000 + b"e" * 1_000_000 + b".",
        "huge length": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"few.",
        "large length": b"\x80\x02T" + struct.pack("<i", 2**31 - 1) + b"few.",
        "length below 0": b"\x80\x02T" + struct.pack("<i", -1) + b"few.",
        "huge frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"}.",
        "huge place in the memory of values": b"\x80\x02}r" + struct.pack("<I", 2**32 - 1) + b".",
        "number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
        "array of objects": array_of(b"O8", b"K\x01\x85", b"few"),
        "array with fields": array_of(b"V8", b"K\x01\x85", b"few"),
        "array larger than its values": array_of(b"u1", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", b"few"),
        "array with sides below 0": array_of(b"u1", b"J\xff\xff\xff\xffJ\xfd\xff\xff\xff\x86", b"few"),
        "array with a shape of texts": array_of(b"u1", b"U\x01a\x85", b"few"),
        "array that is never filled": UNFILLED_ARRAY + b"s.",
        "unhashable key": b"\x80\x02}]K\x00s.",
        "key that is a number": b"\x80\x02}K\x01K\x00s.",
        "list": pickle.dumps([1, 2]),
        "page": b"<html>404</html>",
        "nothing": b"",
    }


HOSTILE = tuple(hostile_pickles(Path("exploded")))


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pickle_is_refused_in_one_line_and_nothing_runs(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    exploded = tmp_path / "exploded"
    (folder / "data_batch_2").write_bytes(hostile_pickles(exploded)[kind])
    refused(folder, r"data_batch_2 must be (a pickled dictionary of numbers|uint8 \(n, 3072\))")
    assert not exploded.exists() and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["posix.system", "builtins.eval", "antigravity.fly"])
def test_message_names_what_a_pickle_would_have_run(folder: Path, name: str) -> None:
    module, _, function = name.rpartition(".")
    (folder / "data_batch_1").write_bytes(f"c{module}\n{function}\n.".encode())
    refused(folder, f"it names '{name}', which is never loaded, since that could run any code; unpack it again")


@pytest.mark.parametrize("write", [by_python_2, pickle.dumps], ids=["by Python 2", "by Python 3"])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999])
def test_cut_batch_is_named(folder: Path, write: Writer, share: float) -> None:
    content = write(batch(0, 24))
    (folder / "data_batch_1").write_bytes(content[: int(share * len(content))])
    refused(folder, "data_batch_1 must be a pickled dictionary of .*; unpack it again")


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_keep_their_values_types_and_orders(tmp_path: Path, protocol: int) -> None:
    arrays = {
        "bytes": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "column by column": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big endian": np.arange(6, dtype=">i4"),
        "truth": np.array([True, False]),
    }
    (tmp_path / "arrays").write_bytes(pickle.dumps(arrays, protocol))
    read = read_pickle(tmp_path / "arrays")
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype


def test_pickle_that_is_none_is_saved_again(folder: Path) -> None:
    path = folder / "test_batch"
    path.write_bytes(pickle.dumps(batch(48, 60))[:-100])
    with needs_remedy(
        "{} must be a pickled dictionary of numbers, texts, lists and NumPy arrays alone, but: {}; unpack it"
    ):
        found(folder)
    with path.open("wb") as file:
        pickle.dump(batch(48, 60), file)
    found(folder)


def test_missing_batch_is_put_back_or_the_others_are_numbered_anew(folder: Path) -> None:
    (folder / "data_batch_1").rename(folder / "data_batch_3")
    with needs_remedy("{} must hold data_batch_1 and those after it without a gap, but lacks {}; unpack the archive"):
        found(folder)
    (folder / "data_batch_3").rename(folder / "data_batch_1")
    found(folder)


def test_images_of_another_size_are_saved_as_an_archive(folder: Path, tmp_path: Path) -> None:
    small = np.ascontiguousarray(IMAGES[:, :16, :16])
    (folder / "data_batch_1").write_bytes(pickle.dumps({"labels": LABELS.tolist(), "data": planes(small)}))
    with needs_remedy("must be uint8 (n, {}), 32 x 32 pixels of red, green and blue, but got {}; {}"):
        found(folder)
    np.savez(tmp_path / "mine.npz", x_train=small, y_train=LABELS)
    assert found(tmp_path / "mine.npz").image_shape == (16, 16, 3)


@pytest.mark.parametrize("labels", [None, [0.5] * 24, [[1]] * 24, [2**70] * 24, "text"])
def test_labels_that_are_no_numbers_are_numbered(folder: Path, labels: object) -> None:
    (folder / "data_batch_1").write_bytes(pickle.dumps({**batch(0, 24), "labels": labels}))
    with needs_remedy("{} in {} must be a list of whole numbers, the class of each image, but got {}; number the"):
        found(folder)
    (folder / "data_batch_1").write_bytes(pickle.dumps(batch(0, 24)))
    found(folder)


def test_batch_whose_labels_are_too_few_is_named_even_if_another_has_too_many(folder: Path) -> None:
    for number, first, last in ((1, 0, 23), (2, 23, 48)):
        values = {**batch(24 * (number - 1), 24 * number), "labels": LABELS[first:last].tolist()}
        (folder / f"data_batch_{number}").write_bytes(pickle.dumps(values))
    refused(folder, "there are 24 images in .*data_batch_1 and 23 labels")


def test_file_without_names_gets_them_or_is_deleted(folder: Path) -> None:
    path = folder / "batches.meta"
    path.write_bytes(pickle.dumps({"num_vis": 3072}))
    with needs_remedy("{} must hold {}, a list of texts, but has {}; add it, or delete the file, and classes are"):
        found(folder)
    path.write_bytes(pickle.dumps({"label_names": NAMES}))
    assert found(folder).class_names == tuple(NAMES)
    path.unlink()
    assert found(folder).class_names == ("0", "1", "2")


def test_batches_larger_than_memory_are_refused_before_they_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * 47 * 3072))
    (folder / "data_batch_1").write_bytes(b"never read" + bytes(24 * 3072))
    refused(folder, "48 images of 32 x 32 x 3 take .* of memory")
