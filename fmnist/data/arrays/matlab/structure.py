"""How MATLAB files of versions 5 to 7 are built. It is checked before SciPy reads values, as damage makes that crash.

A file is a header and variables, each an element: 8 bytes that say its type and length, and its content. A matrix is an
element of elements: its class, its dimensions, its name, then numbers, or the matrices of cells and fields.
"""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HEADER_BYTES = 128
MATRIX, COMPRESSED = 14, 15  # types of elements
NUMBERS = {*range(1, 8), 9, 12, 13, 16, 17, 18}  # types of elements that are numbers or characters
UNSIGNED, SIGNED = 6, 5  # of these, what classes and dimensions are written in
CELL, STRUCT, CHAR = 1, 2, 4  # classes of matrices
CHECKED = {CELL, STRUCT, CHAR, *range(6, 16)}  # and numbers; not objects, sparse matrices and functions
IMAGINARY = 0x800  # among the flags of a matrix
MAX_DEPTH = 30  # of cells in cells
ENOUGH_FOR_TAG = 4096  # compressed bytes: the 8 that say how long a variable is come out of these


def unpacked_sizes(path: Path) -> int:
    """Add up how many bytes the variables of a file take once they are unpacked, without unpacking them.

    Raises:
        ValueError, struct.error or zlib.error: The file is cut or damaged.
    """
    total = 0
    for order, kind, content in _variables(path, limit=ENOUGH_FOR_TAG):
        n_bytes = content.n_bytes
        if kind == COMPRESSED:
            _, n_bytes = _unpacked_tag(content, order)
        total += n_bytes
    return total


def check_structure(path: Path, names: Sequence[str]) -> None:
    """Check what SciPy takes for granted of variables: that they have as many elements as they must, of known types.

    Args:
        path: The file.
        names: Of the variables that are going to be read.

    Raises:
        ValueError, struct.error or zlib.error: The file is cut or damaged.
    """
    for order, kind, content in _variables(path):
        if content.n_bytes == 0:
            raise ValueError("a variable is empty")
        element = memoryview(content.beginning)
        if kind == COMPRESSED:
            kind, n_bytes = _unpacked_tag(content, order)
            unpacked = zlib.decompressobj().decompress(content.beginning, 8 + n_bytes)
            element = memoryview(unpacked)[8:]
            if len(element) < n_bytes:
                raise ValueError("a variable is cut")
        if kind != MATRIX:
            raise ValueError(f"a variable has the type {kind}")
        found = list(itertools.islice(_elements(element, order), 3))
        if len(found) == 3 and bytes(found[2][1]).decode("latin-1") in names:
            _check_matrix(element, order, depth=0)


@dataclass(frozen=True)
class _Content:
    """The content of a variable, or its beginning."""

    n_bytes: int
    beginning: bytes


def _unpacked_tag(content: _Content, order: str) -> tuple[int, int]:
    """Return the type and length of a compressed variable, unpacking no more than these."""
    kind, n_bytes = struct.unpack(f"{order}2I", zlib.decompressobj().decompress(content.beginning, 8))
    return kind, n_bytes


def _variables(path: Path, limit: int | None = None) -> Iterator[tuple[str, int, _Content]]:
    """Read the variables of a file: the order of bytes for `struct`, the type, and the content up to a limit."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        order = "<" if header[126:] == b"IM" else ">"
        while tag := file.read(8):
            kind, n_bytes = struct.unpack(f"{order}2I", tag)
            begins = file.tell()
            if begins + n_bytes > size:
                raise ValueError("it is cut")
            yield order, kind, _Content(n_bytes, file.read(n_bytes if limit is None else min(n_bytes, limit)))
            file.seek(begins + n_bytes)


def _flags_of(matrix: memoryview, order: str) -> int:
    """Return the first number of a matrix: its class in the lowest byte, and whether it has imaginary parts."""
    kind, n_bytes, flags = struct.unpack_from(f"{order}3I", matrix)
    if (kind, n_bytes) != (UNSIGNED, 8):
        raise ValueError("a variable has no class")
    return flags


def _check_matrix(matrix: memoryview, order: str, depth: int) -> None:
    """Check the elements of a matrix, and of those in it. Raises ValueError or struct.error."""
    if len(matrix) == 0:  # as an empty cell is written
        return
    if depth > MAX_DEPTH:
        raise ValueError(f"cells are nested more than {MAX_DEPTH} deep")
    flags = _flags_of(matrix, order)
    if flags & 0xFF not in CHECKED:
        raise ValueError("it has an object, a function or a sparse matrix in the place of numbers or texts")
    found = list(_elements(matrix, order))
    if len(found) < 3 or found[1][0] != SIGNED:
        raise ValueError("a variable has no dimensions")
    n_plain, n_matrices = _expected_numbers(flags, found, order)
    if len(found) != n_plain + n_matrices:
        raise ValueError(f"a variable has {len(found):,} elements instead of {n_plain + n_matrices:,}")
    for kind, _ in found[:n_plain]:
        if kind not in NUMBERS:
            raise ValueError(f"an element has the type {kind}")
    for kind, content in found[n_plain:]:
        if kind != MATRIX:
            raise ValueError(f"an element has the type {kind}")
        _check_matrix(content, order, depth + 1)


def _expected_numbers(flags: int, found: list[tuple[int, memoryview]], order: str) -> tuple[int, int]:
    """Say how many elements of numbers a matrix has, and how many matrices behind them, from its first elements."""
    kind = flags & 0xFF
    if kind not in (CELL, STRUCT):
        return 5 if flags & IMAGINARY else 4, 0
    dimensions = found[1][1]
    sides = struct.unpack_from(f"{order}{len(dimensions) // 4}i", dimensions)
    if min(sides, default=0) < 0:
        raise ValueError(f"cells have the dimensions {sides}")
    if kind == CELL:
        return 3, math.prod(sides)
    if len(found) < 5:
        raise ValueError("a struct has no fields")
    (length,) = struct.unpack_from(f"{order}i", found[3][1])
    if length <= 0:
        raise ValueError("the names of fields have no length")
    return 5, math.prod(sides) * (len(found[4][1]) // length)


def _elements(matrix: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Read the elements of a matrix: type and content. Up to 4 bytes of content may stand beside their tag."""
    place = 0
    while place < len(matrix):
        (word,) = struct.unpack_from(f"{order}I", matrix, place)
        if word >> 16:
            kind, n_bytes, begins, ends = word & 0xFFFF, word >> 16, place + 4, place + 8
        else:
            kind, n_bytes = struct.unpack_from(f"{order}2I", matrix, place)
            begins = place + 8
            ends = begins + n_bytes + (-n_bytes % 8)
        if begins + n_bytes > min(ends, len(matrix)):
            raise ValueError("an element is cut")
        yield kind, matrix[begins : begins + n_bytes]
        place = ends
