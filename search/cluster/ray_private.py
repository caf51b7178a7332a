"""Names of Ray's that are not public, each for a reason; a test holds them to what is said here."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import ray._private.services
import ray._private.worker
import ray._raylet

_raylet: Any = ray._raylet  # compiled: type checkers do not see its names
# What the head's port and Ray Client's answer without doing anything. Ray waits half a minute at the wrong one of them,
# and does not say that it is the other one. A method of another name is one that nobody knows: then Ray waits again.
METHOD_OF_HEAD = "/ray.rpc.NodeInfoGcsService/CheckAlive"
METHOD_OF_CLIENT = "/ray.rpc.RayletDriver/ClusterInfo"


def redirect_messages(write: Callable[[str], None]) -> Callable[[], None]:
    """Pass what Ray says of dead workers and nodes to a function, and return what undoes that.

    Ray prints it to standard output from a thread of its own, whatever its logging was set to: in the middle of a
    progress display, or of lines of JSON.
    """

    def take(data: dict[str, Any], ignore_prefix: bool) -> None:
        for line in data["lines"]:
            write(f"{line}\n")

    before = ray._private.worker.print_to_stdstream
    ray._private.worker.print_to_stdstream = take

    def undo() -> None:
        ray._private.worker.print_to_stdstream = before

    return undo


def send_token() -> Callable[[], None]:
    """Have Ray send this machine's token, as RAY_AUTH_MODE=token does, and return what undoes that.

    Ray reads the variable once; this is how `ray start` has it read again where it finds a token.
    """

    def undo() -> None:
        os.environ.pop("RAY_AUTH_MODE", None)
        _raylet.Config.initialize("")

    os.environ["RAY_AUTH_MODE"] = "token"
    _raylet.Config.initialize("")
    return undo


def address_of_own_cluster() -> str | None:
    """Return HOST:PORT of the head of the cluster that this machine belongs to; None where it belongs to none.

    `ray.init` finds it by itself, but then tries it for minutes though that head may have died long ago.
    """
    try:
        return ray._private.services.canonicalize_bootstrap_address("auto")
    except ConnectionError:
        return None
