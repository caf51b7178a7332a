"""Names of Ray's that are not public, each for a reason; a test holds them to what is said here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray._private.worker


def redirect_messages(write: Callable[[str], None]) -> None:
    """Pass what Ray says of dead workers and nodes to a function.

    Ray prints it to standard output from a thread of its own, whatever its logging was set to: in the middle of a
    progress display, or of lines of JSON.
    """

    def take(data: dict[str, Any], ignore_prefix: bool) -> None:
        for line in data["lines"]:
            write(f"{line}\n")

    ray._private.worker.print_to_stdstream = take
