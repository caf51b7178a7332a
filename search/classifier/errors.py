"""What a caller of scikit-learn catches: a UserError that is a ValueError too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from fmnist.errors import UserError
from fmnist.option_fields import fields_of, flag_of
from search.config import StudyConfig

PARAMETERS = {"seed": "random_state"}  # of the classifier, where its name is another than StudyConfig's


class InvalidInput(UserError, ValueError):
    """The input cannot be used: a `UserError` for those who catch ValueError, as scikit-learn's users do.

    `UserError` itself is none, since the checks of options turn every ValueError into a message of their own.
    """


@contextmanager
def as_value_errors() -> Iterator[None]:
    """Raise each UserError of the block as InvalidInput, with the same line but for the names of options."""
    try:
        yield
    except InvalidInput:
        raise
    except UserError as error:
        raise InvalidInput(with_parameters(str(error))) from error


def with_parameters(line: str) -> str:
    """Return a message with parameters in place of options: `image_size=N` for `--image-size N`."""
    for name, field in fields_of(StudyConfig).items():
        parameter = PARAMETERS.get(name, name)
        flag = rf"(?<![\w-]){flag_of(name, field)}(?![\w-])"
        line = re.sub(rf"{flag} (?=[A-Z]+\b|\d)", f"{parameter}=", line)
        line = re.sub(flag, parameter, line)
    return line
