"""Does anything answer at a cluster's address? Asked before Ray is: it tries a dead address for minutes."""

from __future__ import annotations

import os
import socket

import grpc

from fmnist.errors import UserError
from search.cluster.ray_private import METHOD_OF_CLIENT, METHOD_OF_HEAD, address_of_own_cluster
from search.system.cluster_address import AUTO, CLIENT, split_address

HEAD = "head"
SECONDS_TO_ANSWER = 10.0  # to a connection, and then to a greeting


def address_of(cluster: str) -> str:
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
        return address
    what = what_listens(host, port)
    if what is None:
        raise UserError(
            f"{named_by} must name a Ray cluster, but what answers at {address} is something else; {remedy}"
        )
    if what == CLIENT and not address.startswith(CLIENT):
        raise UserError(f"{named_by} must name the head's port, but {address} is Ray Client's; pass ray://{address}")
    if what == HEAD and address.startswith(CLIENT):
        raise UserError(
            f"{named_by} must name Ray Client's port behind ray://, but {address} is the head's; leave ray:// out, or "
            "pass the port that ray start --ray-client-server-port was given, usually 10001"
        )
    return address


def what_listens(host: str, port: int) -> str | None:
    """Return which of Ray's services has that port, HEAD or CLIENT; "" for other ones, None for what is none at all.

    All that can be connected to speaks gRPC. A service that does not know a method says so.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with grpc.insecure_channel(where, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=SECONDS_TO_ANSWER)
        except grpc.FutureTimeoutError:
            return None
        for service, method in ((HEAD, METHOD_OF_HEAD), (CLIENT, METHOD_OF_CLIENT)):
            try:
                channel.unary_unary(method)(b"", timeout=SECONDS_TO_ANSWER)
                return service
            except grpc.RpcError as error:
                code = error.code() if isinstance(error, grpc.Call) else None
                if code == grpc.StatusCode.UNAUTHENTICATED:
                    return ""  # Ray asks for a token before it looks at the method
                if code == grpc.StatusCode.NOT_FOUND:  # the client, that has not said who it is
                    return service
    return ""
