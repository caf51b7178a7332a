"""Remedies that error messages name: a test gets into an error, does what its line says, and succeeds.

    with needs_remedy("--data-dir is for {}, but got {}; leave"):
        find_data("digits", data_dir)
    find_data("digits")  # as the line says: leave --data-dir out

The text is a part of the message as the source has it, with {} for each value. `tests/integration/remedies` has a test
that every message with a remedy stands in such a line of some test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from fmnist.errors import UserError


@contextmanager
def needs_remedy(says: str, error: type[Exception] = UserError) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Claim that the block is refused with this message. What the test does next is what the message's end says."""
    with pytest.raises(error) as caught:
        yield caught
    assert_message(says, str(caught.value))


def assert_message(says: str, message: str) -> None:
    """Claim that a message has this text, {} standing for values, and takes one line."""
    pattern = ".*".join(map(re.escape, says.split("{}")))
    assert re.search(pattern, message), f"{says!r} is not in {message!r}"
    assert "\n" not in message


@dataclass(frozen=True)
class Remedy:
    """A row of a table: what is refused, with this message, and what its remedy makes of it."""

    says: str
    refused: Any
    followed: Any

    def __str__(self) -> str:
        return self.says
