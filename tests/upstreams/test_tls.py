"""The transport over TLS, with an authority made for the test."""

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.upstreams.conftest import Run
from tests.upstreams.peers import CHUNKED, HELLO, LAST, SIZED, Peer, ask, request, serving, transport

Issued = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _issue(name: str, issuer: Issued | None, *, days: int = 1) -> Issued:
    """A certificate for `name` by `issuer`, or an authority where there is none."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=3))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer:
        address: x509.GeneralName = x509.DNSName(name)
        if name[0].isdigit():
            address = x509.IPAddress(ipaddress.ip_address(name))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


class Authority:
    """Issues certificates, and is trusted by those who want to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = _issue("a test's authority", None)
        self.file = folder / "authority.pem"
        self.file.write_bytes(self._own[0].public_bytes(serialization.Encoding.PEM))

    def server(self, name: str, *, days: int = 1) -> ssl.SSLContext:
        """What a server with the name `name` needs."""
        certificate, key = _issue(name, self._own, days=days)
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.PKCS8
        file = self._folder / "server.pem"
        file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, form, plain)
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def trusted(self) -> ssl.SSLContext:
        """What a client that trusts it needs."""
        return ssl.create_default_context(cafile=self.file)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_answers_over_tls_are_whole_and_the_connection_is_kept(run: Run, authority: Authority) -> None:
    long = b"x" * 3_000_000
    answers = [SIZED, CHUNKED + HELLO + LAST, b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n" + long]

    async def main() -> None:
        async def answer(peer: Peer) -> None:
            await peer.say(answers[len(server.heard) - 1])

        async with (
            serving(answer, authority.server("127.0.0.1")) as server,
            transport(tls=authority.trusted()) as sender,
        ):
            for body in (b"hello", b"hello", long):
                assert await ask(sender, request(server.port, scheme="https")) == (200, body)
            assert server.connections == 1

    run(main())


def test_a_name_is_asked_for_and_checked(run: Run, authority: Authority) -> None:
    async def main() -> None:
        asked: list[str | None] = []
        tls = authority.server("localhost")
        tls.sni_callback = lambda _socket, name, _context: asked.append(name)
        async with (
            serving(lambda peer: peer.say(SIZED), tls) as server,
            transport(tls=authority.trusted()) as sender,
        ):
            one = request(server.port, scheme="https", host="localhost")
            assert await ask(sender, one) == (200, b"hello")
            assert asked == ["localhost"]
            with pytest.raises(httpx2.ConnectError, match="IP address mismatch"):
                await ask(sender, request(server.port, scheme="https"))

    run(main())


@pytest.mark.parametrize(("known", "days", "reason"), [(False, 1, "local issuer"), (True, -1, "expired")])
def test_who_is_not_trusted_is_a_connect_error_and_gets_no_request(
    run: Run, authority: Authority, known: bool, days: int, reason: str
) -> None:
    async def main() -> None:
        tls = authority.trusted() if known else None
        async with (
            serving(lambda peer: peer.say(SIZED), authority.server("127.0.0.1", days=days)) as server,
            transport(tls=tls, limit=1) as sender,
        ):
            for _ in range(2):
                with pytest.raises(httpx2.ConnectError, match=reason):
                    await ask(sender, request(server.port, scheme="https"))
            assert server.heard == []

    run(main())


def test_a_server_that_speaks_no_tls_is_a_connect_error(run: Run, authority: Authority) -> None:
    async def main() -> None:
        async with serving(lambda peer: peer.say(SIZED)) as server, transport() as sender:
            with pytest.raises((httpx2.ConnectError, httpx2.ConnectTimeout)):
                await ask(sender, request(server.port, scheme="https", clocks={"connect": 0.3}))

    run(main())


@pytest.mark.parametrize("leave", [Peer.hang_up, Peer.reset])
def test_an_answer_over_tls_that_is_cut_is_an_error(run: Run, authority: Authority, leave: object) -> None:
    async def main() -> None:
        cut = asyncio.Event()

        async def answer(peer: Peer) -> None:
            await peer.say(CHUNKED + HELLO)
            await cut.wait()
            assert callable(leave)
            leave(peer)

        async with (
            serving(answer, authority.server("127.0.0.1")) as server,
            transport(tls=authority.trusted()) as sender,
        ):
            response = await sender.handle_async_request(request(server.port, scheme="https"))
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            pieces = aiter(response.stream)
            assert await anext(pieces) == b"hello"
            cut.set()
            with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
                await anext(pieces)
            await response.stream.aclose()

    run(main())
