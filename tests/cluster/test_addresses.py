"""Which addresses of clusters are refused, and how soon one is at which nothing, or something else, answers."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

import search.system.extras
from fmnist.errors import UserError
from search.config import StudyConfig
from search.run import main, parse
from search.system.cluster_address import split_address
from tests.support.remedies import needs_remedy

pytest.importorskip("ray", reason="needs the extra cluster")

from search.cluster import connection, reach
from search.cluster.ray_private import METHOD_OF_CLIENT, METHOD_OF_HEAD


@pytest.mark.parametrize(
    ("address", "host_and_port"),
    [
        ("10.0.0.1:6379", ("10.0.0.1", 6379)),
        ("ray://head.example:10001", ("head.example", 10001)),
        ("[::1]:6379", ("::1", 6379)),
    ],
)
def test_addresses_are_taken_apart(address, host_and_port) -> None:
    assert split_address(address) == host_and_port
    assert StudyConfig("mine", cluster=address).cluster == address


@pytest.mark.follows("{} must be auto, HOST:PORT or ray://HOST:PORT, but got {}; pass the address")
@pytest.mark.parametrize(
    "address",
    ["", "foo", "local", "ray://", "ray://auto", "1.2.3.4", "1.2.3.4:notaport", "h:0", "h:65536", "http://h:1"],
)
def test_other_texts_are_no_addresses(address, capsys) -> None:
    """`local` is one of Ray's: it would start a cluster on this machine, without a word."""
    assert main(["--cluster", address]) == 2
    told = capsys.readouterr().err
    assert told.startswith(
        f"error: --cluster must be auto, HOST:PORT or ray://HOST:PORT, but got {address or 'nothing'}"
    )


def test_address_with_a_line_break_is_shown_on_one_line() -> None:
    with pytest.raises(UserError, match=r"but got 'h:1\\n'; pass"):
        StudyConfig("mine", cluster="h:1\n")


@pytest.mark.follows("{} is for trainings on a cluster, but got no --cluster; name one with --cluster, or leave")
@pytest.mark.parametrize("option", ["--gpus-per-training=0.5", "--gpus-per-training=0", "--insecure-cluster"])
def test_options_for_a_cluster_need_one(option, capsys) -> None:
    assert main([option]) == 2
    told = capsys.readouterr().err
    assert f"{option.partition('=')[0]} is for trainings on a cluster, but got no --cluster; name one" in told
    assert parse([option, "--cluster", "head:6379"])[0].cluster == "head:6379"


def test_ray_that_is_not_installed_is_named_with_its_extra(monkeypatch) -> None:
    monkeypatch.setattr(search.system.extras, "find_spec", lambda module: None)
    with pytest.raises(UserError, match=r"--cluster needs ray, which is not installed; .*'fmnist-search\[cluster\]'"):
        StudyConfig("mine", cluster="auto")


@pytest.mark.follows("{} must name a Ray cluster that answers, but {} does not ({}); {}")
def test_nobody_who_listens_is_told_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        for named in (address, f"ray://{address}"):
            with pytest.raises(UserError, match=rf"but {named} does not \(Connection refused\); start it by ray start"):
                reach.reach(named)


def test_host_that_does_not_exist_is_told() -> None:
    with pytest.raises(UserError, match=r"but nowhere\.invalid:6379 does not \(.*\); start it"):
        reach.reach("nowhere.invalid:6379")


@pytest.mark.follows("{} must name a Ray cluster, but what answers at {} is something else; {}")
def test_what_listens_but_is_no_part_of_ray_is_told(monkeypatch) -> None:
    monkeypatch.setattr(reach, "SECONDS_TO_ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match=f"what answers at {address} is something else"):
            reach.reach(address)


@contextmanager
def service(method: str, answer: Callable[[bytes, grpc.ServicerContext], bytes] = lambda *_: b"") -> Iterator[str]:
    """Listen as a part of Ray's does that knows this method."""
    _, package, name = method.split("/")
    server = grpc.server(ThreadPoolExecutor(1))
    handlers = {name: grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(package, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


@pytest.mark.follows("{} must name Ray Client's port behind ray://, but {} is the head's; leave ray:// out, or")
def test_port_of_the_head_is_not_that_of_ray_client() -> None:
    with service(METHOD_OF_HEAD) as address:
        assert reach.reach(address).address == address
        with pytest.raises(UserError, match=f"ray://{address} is the head's; leave ray:// out"):
            reach.reach(f"ray://{address}")


@pytest.mark.follows("{} must name the head's port, but {} is Ray Client's; pass ray://{}")
def test_port_of_ray_client_is_not_the_heads() -> None:
    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "")

    with service(METHOD_OF_CLIENT, answer) as address:
        assert reach.reach(f"ray://{address}").address == f"ray://{address}"
        with pytest.raises(UserError, match=f"{address} is Ray Client's; pass ray://{address}"):
            reach.reach(address)


@contextmanager
def service_with_token(token: str) -> Iterator[str]:
    """Listen as the head's port does that asks for a token."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        if ("authorization", f"Bearer {token}") not in [tuple(each) for each in context.invocation_metadata()]:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "")
        return b""

    with service(METHOD_OF_HEAD, answer) as address:
        yield address


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without a token, where nothing is said of one."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    return tmp_path


def test_token_that_is_missing_or_another_one_is_told_and_not_shown(home: Path) -> None:
    with service_with_token("the-token") as address:
        with needs_remedy("{} {} asks for a token, but this machine has none or another one; {}") as refused:
            reach.reach(address)
        (home / ".ray" / "auth_token").write_text("another-token", encoding="utf-8")
        with needs_remedy("{} {} asks for a token, but this machine has none or another one; {}") as refused_too:
            reach.reach(address)
        assert str(refused.value).endswith("to the same place here, or set RAY_AUTH_TOKEN_PATH to it")
        assert "another-token" not in str(refused_too.value)
        (home / ".ray" / "auth_token").write_text("the-token\n", encoding="utf-8")
        assert reach.reach(address) == reach.Reached(address, wants_token=True)


def test_token_that_ray_is_told_not_to_send_is_not_sent_until_it_is_told_to(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".ray" / "auth_token").write_text("the-token", encoding="utf-8")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with service_with_token("the-token") as address:
        with needs_remedy("{} {} asks for a token, but this machine has none or another one; {}") as refused:
            reach.reach(address)
        assert str(refused.value).endswith("RAY_AUTH_TOKEN_PATH to it, and set RAY_AUTH_MODE=token")
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        assert reach.reach(address) == reach.Reached(address)


def test_token_is_shown_to_nobody_who_does_not_ask(home: Path) -> None:
    (home / ".ray" / "auth_token").write_text("the-token", encoding="utf-8")
    sent: list[Any] = []

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        sent.extend(name for name, _ in context.invocation_metadata())
        return b""

    with service(METHOD_OF_HEAD, answer) as address:
        assert reach.reach(address) == reach.Reached(address)
    assert "authorization" not in sent


@pytest.mark.follows("--cluster auto needs a cluster that this machine belongs to, but none is running here; start")
def test_auto_without_a_cluster_is_told(monkeypatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(reach, "address_of_own_cluster", lambda: None)
    with pytest.raises(UserError, match=r"--cluster auto needs a cluster that this machine belongs to, but none"):
        reach.reach("auto")


def test_auto_is_the_address_in_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    with pytest.raises(UserError, match=r"\$RAY_ADDRESS must be auto, HOST:PORT or ray://HOST:PORT, but got local"):
        reach.reach("auto")
    with service(METHOD_OF_HEAD) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert reach.reach("auto").address == address


def test_handlers_of_signals_are_kept() -> None:
    """Ray's own would end a run at SIGTERM as a kill does."""
    before = signal.getsignal(signal.SIGTERM)
    with connection.keeping_signals():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert signal.getsignal(signal.SIGTERM) is before


def test_handlers_of_signals_are_left_alone_outside_the_main_thread() -> None:
    errors: list[BaseException] = []

    def keep() -> None:
        try:
            with connection.keeping_signals():
                pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=keep)
    thread.start()
    thread.join()
    assert not errors
