"""What a caller of scikit-learn catches: a UserError that is a ValueError too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fmnist.errors import UserError


class InvalidInput(UserError, ValueError):
    """The input cannot be used: a `UserError` for those who catch ValueError, as scikit-learn's users do.

    `UserError` itself is none, since the checks of options turn every ValueError into a message of their own.
    """


@contextmanager
def as_value_errors() -> Iterator[None]:
    """Raise each UserError of the block as InvalidInput, with the same line."""
    try:
        yield
    except InvalidInput:
        raise
    except UserError as error:
        raise InvalidInput(str(error)) from error
