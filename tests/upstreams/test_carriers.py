"""`ca_file` beside the system's trust, and `proxy`, where httpx2's own transport serves."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from aibridge import config as configurations
from aibridge import upstreams
from aibridge.errors import BridgeError, ConfigError, Kind
from aibridge.upstreams.carriers import trusting
from tests.support.bridged import bridged, configuration
from tests.support.raw import (
    COMPLETION,
    STREAM_HEAD,
    Talk,
    answer_plainly,
    ask,
    piece,
    raw_upstream,
    said,
    whole,
)
from tests.upstreams.peers import Peer, serving
from tests.upstreams.test_tls import Authority


def _entry(**keys: Any) -> configurations.Upstream:
    return configurations.parse({"upstreams": {"up": keys}}).upstreams["up"]


async def _asked(entry: configurations.Upstream) -> bytes:
    router = upstreams.from_config({"up": entry})
    try:
        async with router.route("m").ask("/chat/completions", [], b"{}", "m") as answer:
            return await answer.read_all(1 << 20)
    finally:
        await router.aclose()


def test_an_authority_of_ones_own_is_trusted_where_it_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def answer(peer: Peer) -> None:
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")

    async def talk() -> None:
        async with serving(answer, authority.server("127.0.0.1")) as server:
            url = f"https://127.0.0.1:{server.port}/v1"
            assert await _asked(_entry(base_url=url, ca_file=str(authority.file))) == b"hello"
            with pytest.raises(BridgeError) as error:
                await _asked(_entry(base_url=url, retries=0))
            assert error.value.kind is Kind.UPSTREAM_UNREACHABLE

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [("missing.pem", None, "cannot be read"), ("empty.pem", "no certificate", "holds no certificates")],
)
def test_a_ca_file_that_is_none_is_said(tmp_path: Path, name: str, content: str | None, says: str) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=says):
        _entry(base_url="https://127.0.0.1:9/v1", ca_file=str(file))


def test_the_authority_stands_beside_the_systems(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = trusting(str(authority.file))
    known = ssl.create_default_context().cert_store_stats()["x509_ca"]
    assert context.cert_store_stats()["x509_ca"] >= known
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname


def test_a_proxy_gets_whole_urls_and_its_own_credential(tmp_path: Path) -> None:
    with raw_upstream(answer_plainly) as proxy:
        config = configuration(tmp_path, "http://model.example/v1")
        config["upstreams"]["up"]["proxy"] = f"http://ada:secret@127.0.0.1:{proxy.port}"
        with bridged(tmp_path, config) as bridge:
            got = ask(bridge.port, [("authorization", "Bearer sk-callers")])
            assert (got.status, got.body) == (200, COMPLETION)
            assert "secret" not in repr(bridge.app.config)
            assert any("secret" in each for each in bridge.app.config.secrets())
    [heard] = proxy.heard
    assert heard.line == "POST http://model.example/v1/chat/completions HTTP/1.1"
    assert heard.all("host") == ["model.example"]
    assert heard.all("proxy-authorization") == ["Basic YWRhOnNlY3JldA=="]
    assert heard.all("authorization") == ["Bearer sk-callers"]


@contextmanager
def tunnel() -> Iterator[tuple[int, list[bytes]]]:
    """A proxy that opens tunnels: its port, and the requests for them."""
    heads: list[bytes] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        with suppress(OSError):
            client, _ = listener.accept()
            with client:
                heads.append(client.recv(1 << 16))
                host, _, port = heads[-1].split(b" ")[1].decode().partition(":")
                with socket.create_connection((host, int(port))) as target:
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    back = threading.Thread(target=pump, args=(target, client))
                    back.start()
                    pump(client, target)
                    back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], heads
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_https_goes_through_a_tunnel_and_is_checked_at_its_end(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def answer(peer: Peer) -> None:
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")

    async def talk(port: int) -> int:
        async with serving(answer, authority.server("127.0.0.1")) as server:
            keys = {"proxy": f"http://127.0.0.1:{port}", "ca_file": str(authority.file)}
            entry = _entry(base_url=f"https://127.0.0.1:{server.port}/v1", **keys)
            assert await _asked(entry) == b"hello"
            return server.port

    with tunnel() as (port, heads):
        target = asyncio.run(talk(port))
    assert heads[0].startswith(f"CONNECT 127.0.0.1:{target} ".encode())


@pytest.mark.parametrize("clock", ["first_byte_timeout", "idle_timeout"])
def test_clocks_behind_a_proxy_are_named_too(tmp_path: Path, clock: str) -> None:
    def answer(talk: Talk) -> None:
        if clock == "idle_timeout":
            talk.send(whole(COMPLETION)[:-9])
        talk.await_leaving()

    with raw_upstream(answer) as proxy:
        config = configuration(tmp_path, "http://model.example/v1")
        keys = {"proxy": f"http://127.0.0.1:{proxy.port}", "idle_timeout": "100ms"}
        config["upstreams"]["up"] |= {**keys, "first_byte_timeout": "300ms"}
        with bridged(tmp_path, config) as bridge:
            got = ask(bridge.port)
    assert (got.status, got.error["code"]) == (504, "upstream_timeout")
    assert clock in got.error["message"]


def test_a_stream_behind_a_proxy_comes_piece_by_piece(tmp_path: Path) -> None:
    def answer(talk: Talk) -> None:
        talk.send(STREAM_HEAD, piece(said("Hel", role="assistant")))
        talk.send(piece(said("lo") + said(None, "stop")), piece(b""))

    with raw_upstream(answer) as proxy:
        config = configuration(tmp_path, "http://model.example/v1")
        config["upstreams"]["up"]["proxy"] = f"http://127.0.0.1:{proxy.port}"
        with bridged(tmp_path, config) as bridge:
            got = ask(bridge.port, stream=True)
    assert got.status == 200 and b"Hel" in got.body and got.body.endswith(b"[DONE]\n\n")


def test_a_proxy_that_is_away_is_named_in_the_error(tmp_path: Path) -> None:
    config = configuration(tmp_path, "http://model.example/v1")
    config["upstreams"]["up"] |= {"proxy": "http://127.0.0.1:9", "retries": 0}
    with bridged(tmp_path, config) as bridge:
        got = ask(bridge.port)
    assert (got.status, got.error["code"]) == (502, "upstream_unreachable")
    assert "proxy" in got.error["message"]


def test_a_proxy_that_is_no_url_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"upstreams\.up\.proxy: write a whole URL"):
        _entry(base_url="http://127.0.0.1:9/v1", proxy="proxy.example:3128")
