"""Does anything answer at a cluster's address? Asked before Ray is: it tries a dead address for minutes."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import grpc

from fmnist.errors import UserError
from search.cluster.ray_private import METHOD_OF_CLIENT, METHOD_OF_HEAD, address_of_own_cluster
from search.system.cluster_address import AUTO, CLIENT, split_address

HEAD, REFUSES = "head", "refuses"
TOKEN = "token"  # value of RAY_AUTH_MODE
SECONDS_TO_ANSWER = 10.0  # to a connection, and then to a greeting


@dataclass(frozen=True)
class Reached:
    """What answers at a cluster's address."""

    address: str
    wants_token: bool = False  # takes the token of this machine, which Ray is not told to send


def reach(cluster: str) -> Reached:
    """Return the address that the option stands for, at which something answers.

    Args:
        cluster: The option's value, a valid one.

    Raises:
        UserError: There is none, nothing answers there, or what answers is no part of Ray.
    """
    named_by, address = "--cluster", cluster
    if cluster == AUTO:
        named_by, address = "$RAY_ADDRESS", os.environ.get("RAY_ADDRESS", "")
        if address in ("", AUTO):
            named_by, address = "--cluster auto", address_of_own_cluster() or ""
        if not address:
            raise UserError(
                "--cluster auto needs a cluster that this machine belongs to, but none is running here; start one by "
                "ray start --head, join one by ray start --address HOST:PORT, or pass the address of its head"
            )
    host, port = split_address(address, named_by)
    remedy = "start it by ray start --head, or pass the address that ray start printed"
    try:
        socket.create_connection((host, port), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise UserError(
            f"{named_by} must name a Ray cluster that answers, but {address} does not "
            f"({error.strerror or str(error) or type(error).__name__}); {remedy}"
        ) from None
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        return Reached(address)
    what, wants_token = what_listens(host, port, own_token() if auth_mode() == TOKEN else ""), False
    if what == REFUSES and not auth_mode() and own_token():  # as ray start does, which takes a token that there is
        what, wants_token = what_listens(host, port, own_token()), True
    if what is None:
        raise UserError(
            f"{named_by} must name a Ray cluster, but what answers at {address} is something else; {remedy}"
        )
    if what == REFUSES:
        raise UserError(
            f"{named_by} {address} asks for a token, but this machine has none or another one; {how_to_share_token()}"
        )
    if what == CLIENT and not address.startswith(CLIENT):
        raise UserError(f"{named_by} must name the head's port, but {address} is Ray Client's; pass ray://{address}")
    if what == HEAD and address.startswith(CLIENT):
        raise UserError(
            f"{named_by} must name Ray Client's port behind ray://, but {address} is the head's; leave ray:// out, or "
            "pass the port that ray start --ray-client-server-port was given, usually 10001"
        )
    return Reached(address, wants_token)


def how_to_share_token() -> str:
    """Say what gives this machine the cluster's token."""
    remedy = "copy the head's ~/.ray/auth_token to the same place here, or set RAY_AUTH_TOKEN_PATH to it"
    return remedy if auth_mode() in ("", TOKEN) else f"{remedy}, and set RAY_AUTH_MODE=token"


def what_listens(host: str, port: int, token: str) -> str | None:
    """Return what has that port: HEAD, CLIENT, None for what is no part of Ray, and "" where that is not known.

    REFUSES is what does not take the token; "" is none. All that can be connected to speaks gRPC, and a service that
    does not know a method says so.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with grpc.insecure_channel(where, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=SECONDS_TO_ANSWER)
        except grpc.FutureTimeoutError:
            return None
        for service, method in ((HEAD, METHOD_OF_HEAD), (CLIENT, METHOD_OF_CLIENT)):
            status = status_of(channel, method, token)
            if status == grpc.StatusCode.UNAUTHENTICATED:
                return REFUSES
            if status in (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND):  # the client, not told who asks
                return service
    return ""


def status_of(channel: grpc.Channel, method: str, token: str) -> grpc.StatusCode | None:
    """Call a method of Ray's that does nothing, with a token unless that is empty, and return how that ends."""
    metadata = (("authorization", f"Bearer {token}"),) if token else None
    try:
        channel.unary_unary(method)(b"", timeout=SECONDS_TO_ANSWER, metadata=metadata)
    except grpc.RpcError as error:
        return error.code() if isinstance(error, grpc.Call) else None
    return grpc.StatusCode.OK


def auth_mode() -> str:
    """Return whether Ray is told to send a token: TOKEN if so, and "" where nothing is said."""
    return os.environ.get("RAY_AUTH_MODE", "").lower()


def own_token() -> str:
    """Return the token of this machine, from where Ray's documentation says; "" where it has none."""
    token = os.environ.get("RAY_AUTH_TOKEN", "")
    if not token:
        path = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
        try:
            token = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):  # Ray says more of it
            return ""
    return token.strip()
