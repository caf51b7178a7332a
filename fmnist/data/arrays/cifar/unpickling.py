"""Pickles of plain values and NumPy arrays, read without running anything that they name.

A pickle is a program: it may name any function of any module and call it. Here nothing is imported for it. The few
names that arrays are pickled with, by Python 2 and 3, lead to stand-ins of this module, which take numbers and bytes
and check them; any other name ends the reading. Before that, `_check_operations` refuses what could exhaust memory or
the stack.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.errors import UserError, unreadable

OPERATIONS = {
    *("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE"),
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("EMPTY_LIST", "APPEND", "APPENDS", "LIST", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
    *("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"),
}
MAX_TUPLES = 1000  # an array has some ten; hashing tuples nested a million deep would overflow the stack
SPARE_NUMBERS = 1_000_000  # of values that are kept: one takes 16 bytes, and so do all below it
LATIN_1 = ("latin1", "latin-1")
DAMAGED = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError),
    *(ImportError, OverflowError, MemoryError, RecursionError),
)


class _StandIn:
    """What a pickle gets for a name of NumPy's. Calling it checks what the pickle passes."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it gives a state to what has none")


class _ArrayType(_StandIn):
    """numpy.ndarray, which pickles only pass on."""

    __slots__ = ()


class _NumberType(_StandIn):
    """numpy.dtype, of numbers alone."""

    __slots__ = ("dtype",)

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        code = text_of(code)
        if re.fullmatch(r"[biuf]\d{1,2}", code) is None:
            raise pickle.UnpicklingError(f"an array has the type {code[:20]!r}, not one of numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or text_of(state[1]) not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("the type of an array has no byte order")
        self.dtype = self.dtype.newbyteorder(text_of(state[1]))  # type: ignore[arg-type]


class _Array(_StandIn):
    """The call numpy.core.multiarray._reconstruct(numpy.ndarray, (0,), b"b"), whose state is the array."""

    __slots__ = ("values",)

    def __init__(self, kind: object, shape: object, code: object) -> None:
        self.values: np.ndarray | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array has no shape, type and values")
        _, shape, dtype, is_by_column, content = state
        self.values = _array_of(content, dtype, shape, is_by_column=bool(is_by_column))


class _ArrayOfBuffer(_Array):
    """The call numpy.core.numeric._frombuffer(content, dtype, shape, order), which protocol 5 has."""

    __slots__ = ()

    def __init__(self, content: object, dtype: object, shape: object, order: object) -> None:
        self.values = _array_of(content, dtype, shape, is_by_column=order == "F")


class _Encoded(_StandIn):
    """The call _codecs.encode(text, "latin1"), by which Python 3 writes bytes for Python 2."""

    __slots__ = ()

    def __new__(cls, text: object, encoding: object) -> bytes:  # type: ignore[misc]
        if not isinstance(text, str) or encoding not in LATIN_1:
            raise pickle.UnpicklingError("it encodes something else than bytes")
        return text.encode("latin-1")


STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): _NumberType,
    ("numpy.core.multiarray", "_reconstruct"): _Array,  # NumPy 1
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _ArrayOfBuffer,
    ("numpy._core.numeric", "_frombuffer"): _ArrayOfBuffer,
    ("_codecs", "encode"): _Encoded,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> type:
        stand_in = STAND_INS.get((module_name, global_name))
        if stand_in is None:
            name = f"{module_name}.{global_name}"[:60]
            raise pickle.UnpicklingError(f"it names {name!r}, which is never loaded, since that could run any code")
        return stand_in

    def persistent_load(self, pid: object) -> object:
        raise pickle.UnpicklingError("it refers to something outside")


def read_pickle(path: Path) -> dict[str, Any]:
    """Read a pickled dictionary of plain values, lists and NumPy arrays of numbers, of Python 2 or 3.

    Returns:
        Its values by key. Keys are texts, arrays are read-only; texts that Python 2 wrote are bytes.

    Raises:
        UserError: The file is cut or damaged, is something else, or names anything that could run code.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        _check_operations(content)
        loaded = _Unpickler(io.BytesIO(content), fix_imports=False, encoding="bytes").load()
        if not isinstance(loaded, dict):
            raise pickle.UnpicklingError(f"it is a {type(loaded).__name__}")
        return {text_of(key): value.values if isinstance(value, _Array) else value for key, value in loaded.items()}
    except DAMAGED as error:
        reason = (str(error) or "it ends too early").splitlines()[0]
        raise UserError(
            f"{path} must be a pickled dictionary of numbers, texts, lists and NumPy arrays alone, but: {reason}; "
            "unpack it again, or save it as one with pickle.dump"
        ) from error


def text_of(value: object) -> str:
    """Return a text that Python 2 or 3 pickled. Raises UnpicklingError if it is none."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="backslashreplace")
    if not isinstance(value, str):
        raise pickle.UnpicklingError(f"it has a {type(value).__name__} in the place of a text")
    return value


def _check_operations(content: bytes) -> None:
    """Check that a pickle consists of harmless operations, before any of them is done.

    Raises:
        UnpicklingError: An operation makes objects, nests tuples deeply, or wants memory for values that are not there.
        ValueError: The pickle is cut.
    """
    n_tuples = 0
    for n_before, (operation, argument, _) in enumerate(pickletools.genops(content)):
        if operation.name not in OPERATIONS:
            raise pickle.UnpicklingError(f"it has the operation {operation.name}, which plain values do without")
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > n_before + SPARE_NUMBERS:
            raise pickle.UnpicklingError(f"it numbers one of {n_before:,} values {argument}")
        n_tuples += operation.name.startswith("TUPLE")
        if n_tuples > MAX_TUPLES:
            raise pickle.UnpicklingError(f"it has more than {MAX_TUPLES:,} tuples")


def _array_of(content: object, dtype: object, shape: object, *, is_by_column: bool) -> np.ndarray:
    """Return the array of a pickle, read-only. Raises UnpicklingError if its parts do not go together."""
    if not isinstance(content, bytes | bytearray) or not isinstance(dtype, _NumberType):
        raise pickle.UnpicklingError("an array is not of numbers")
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise pickle.UnpicklingError("an array has no shape")
    n_bytes = math.prod(shape) * dtype.dtype.itemsize
    if n_bytes != len(content):
        raise pickle.UnpicklingError(f"an array must take {n_bytes:,} bytes by its shape, but has {len(content):,}")
    order = "F" if is_by_column else "C"
    return np.frombuffer(bytes(content), dtype.dtype).reshape(shape, order=order)
