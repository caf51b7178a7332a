"""How is a Ray cluster named? Checked as an option is read, without Ray, for which `local` is an address, too."""

from __future__ import annotations

import re

from fmnist.errors import UserError

AUTO = "auto"  # the cluster that this machine belongs to
CLIENT = "ray://"  # before the address of Ray Client's port
HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*):([0-9]{1,5})", re.ASCII)


def split_address(address: str, named_by: str = "--cluster") -> tuple[str, int]:
    """Return the host and the port of an address that is not `auto`.

    Args:
        address: HOST:PORT or ray://HOST:PORT.
        named_by: What the user has written it to, for the message.

    Raises:
        UserError: It is another text.
    """
    match = HOST_AND_PORT.fullmatch(address.removeprefix(CLIENT))
    if match is None or not 0 < int(match[2]) < 2**16:
        received = "nothing" if address == "" else address if address.isprintable() else repr(address)
        raise UserError(
            f"{named_by} must be auto, HOST:PORT or ray://HOST:PORT, but got {received}; pass the address "
            "that ray start printed, such as 192.168.1.10:6379"
        )
    return match[1].strip("[]"), int(match[2])


def check_cluster_options(cluster: str | None, gpus_per_training: float | None, *, insecure_cluster: bool) -> None:
    """Raise UserError where `cluster` is no address, or other options need a cluster and there is none."""
    if cluster is not None:
        if cluster != AUTO:
            split_address(cluster)
        return
    without = {"--gpus-per-training": gpus_per_training is not None, "--insecure-cluster": insecure_cluster}
    for option, is_given in without.items():
        if is_given:
            raise UserError(
                f"{option} is for trainings on a cluster, but got no --cluster; name one with --cluster, or leave "
                f"{option} out"
            )
