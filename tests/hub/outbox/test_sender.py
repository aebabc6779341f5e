"""One attempt always ends, in time and in bounds, whatever the receiver does."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hub.outbox.guard import Guard
from hub.outbox.models import OutboxEvent
from hub.outbox.outcome import Failure, Outcome
from hub.outbox.sender import Sender
from hub.outbox.settings import OutboxSettings
from hub.transports.runtime import SystemClock
from tests.hub.outbox.chaos import BEHAVIOURS, Chaos, chaos
from tests.hub.outbox.support import endpoint

SETTINGS = OutboxSettings(kept_body_bytes=10, max_answer_bytes=20_000)
LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
SHORT_S = 0.5
LONG_S = 20.0


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    made = Sender(Guard(LOOPBACK), SystemClock(), SETTINGS)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Chaos]:
    async with chaos() as made:
        yield made


def event(body: bytes = b'{"a":1}') -> OutboxEvent:
    return OutboxEvent(7, "acme", "thing.started", "k", "", "op-1", "t" * 32, "", body, 0)


async def post(sender: Sender, url: str, timeout_s: float = LONG_S) -> Outcome:
    async with asyncio.timeout(2 * LONG_S):
        return await sender.send(endpoint(url=url), event(), 1, timeout_s)


@pytest.mark.parametrize(("path", "status"), [("/200", 200), ("/204", 204), ("/500", 500), ("/429", 429), ("/301", 301), ("/307", 307)])
async def test_what_is_answered(sender: Sender, receiver: Chaos, path: str, status: int) -> None:
    came = await post(sender, receiver.url(path))
    assert (came.status, came.failure, came.error) == (status, Failure.NONE, "")
    assert dict(receiver.seen) == {path: 1}, "no redirect is followed"


async def test_the_beginning_of_the_answer_is_kept(sender: Sender, receiver: Chaos) -> None:
    assert (await post(sender, receiver.url("/200"))).body == b"thanks"


@pytest.mark.parametrize(("path", "least"), [("/429", None), ("/429-nonsense", None), ("/429-seconds", 120), ("/429-date", 1_000_000_000)])
async def test_retry_after(sender: Sender, receiver: Chaos, path: str, least: float | None) -> None:
    came = await post(sender, receiver.url(path))
    assert (came.retry_after_s is None) == (least is None)
    assert least is None or (came.retry_after_s or 0) >= least


@pytest.mark.parametrize("path", ["/slow-headers", "/slow-body", "/continues", "/never"])
async def test_who_is_too_slow(sender: Sender, receiver: Chaos, path: str) -> None:
    came = await post(sender, receiver.url(path), SHORT_S)
    assert (came.status, came.failure, came.error) == (0, Failure.TIMEOUT, "no answer within 0.5 s")


@pytest.mark.parametrize(("path", "status"), [("/endless-body", 200), ("/endless-body-500", 500)])
async def test_an_answer_without_end_is_cut_off_and_its_status_counts(sender: Sender, receiver: Chaos, path: str, status: int) -> None:
    came = await post(sender, receiver.url(path))
    assert (came.status, came.failure, came.body) == (status, Failure.NONE, b"x" * 10)


async def test_what_is_packed_stays_packed(sender: Sender, receiver: Chaos) -> None:
    came = await post(sender, receiver.url("/gzip-bomb"))
    assert (came.status, came.body[:2]) == (200, b"\x1f\x8b")


@pytest.mark.parametrize("path", ["/reset", "/reset-amid", "/closes"])
async def test_who_hangs_up(sender: Sender, receiver: Chaos, path: str) -> None:
    came = await post(sender, receiver.url(path))
    assert came.status == 0
    assert came.failure in (Failure.CONNECT, Failure.PROTOCOL)
    assert came.error
    assert receiver.seen[path] == 1, "a new connection that fails is a failure"


@pytest.mark.parametrize(
    "path", ["/garbage", "/http-0.9", "/bad-length", "/two-lengths", "/bad-chunk", "/endless-headers", "/endless-line"]
)
async def test_what_is_no_http(sender: Sender, receiver: Chaos, path: str) -> None:
    came = await post(sender, receiver.url(f"{path}?key=geheim"))
    assert (came.status, came.failure) == (0, Failure.PROTOCOL)
    assert came.error.startswith("no proper HTTP answer: ")
    assert len(came.error) < 100
    for unsaid in ("geheim", "127.0.0.1", "what?", "hello", "-5", "zz", "xxx"):
        assert unsaid not in came.error, "neither the URL nor anything of the answer"


@pytest.mark.parametrize("url", ["http://:80/?key=geheim", "other://inner.example/?key=geheim", "http://a..b/?key=geheim"])
async def test_what_is_no_url(sender: Sender, url: str) -> None:
    came = await post(sender, url)
    assert (came.status, came.failure) == (0, Failure.PROTOCOL)
    assert "geheim" not in came.error


@pytest.mark.parametrize("path", sorted(BEHAVIOURS))
async def test_nothing_is_raised_and_the_next_one_is_served(sender: Sender, receiver: Chaos, path: str) -> None:
    await post(sender, receiver.url(path), SHORT_S)
    assert (await post(sender, receiver.url("/200"))).status == 200


async def test_a_kept_connection_that_was_closed_is_no_failure(sender: Sender, receiver: Chaos) -> None:
    for _ in range(10):
        assert (await post(sender, receiver.url("/once"))).status == 200
    assert receiver.seen["/once"] >= 10


async def test_connections_are_kept(sender: Sender, receiver: Chaos) -> None:
    for _ in range(10):
        await post(sender, receiver.url("/200"))
    assert receiver.connections == 1


async def test_cookies_are_not_kept(sender: Sender, receiver: Chaos) -> None:
    for _ in range(2):
        await post(sender, receiver.url("/cookies"))
    assert b"\r\ncookie:" not in receiver.headers[-1].lower()


async def test_nobody_listens(sender: Sender, receiver: Chaos) -> None:
    came = await post(sender, "http://127.0.0.1:9/")
    assert (came.status, came.failure) == (0, Failure.CONNECT)


async def test_no_such_name(sender: Sender) -> None:
    came = await post(sender, "http://receiver.invalid/")
    assert (came.status, came.failure) == (0, Failure.CONNECT)


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/200", "http://localhost:{port}/200", "http://[::ffff:127.0.0.1]:{port}/200"])
async def test_addresses_that_must_not_be_called_are_not(receiver: Chaos, url: str) -> None:
    strict = Sender(Guard(), SystemClock(), SETTINGS)
    await strict.start()
    try:
        came = await post(strict, url.format(port=receiver.port))
    finally:
        await strict.stop()
    assert (came.status, came.failure) == (0, Failure.FORBIDDEN)
    assert "outbox.allowed_networks" in came.error
    assert receiver.connections == 0


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "127.1", "0177.0.0.1"])
async def test_strange_spellings_of_an_address_get_nowhere(receiver: Chaos, host: str) -> None:
    strict = Sender(Guard(), SystemClock(), SETTINGS)
    await strict.start()
    try:
        came = await post(strict, f"http://{host}:{receiver.port}/200")
    finally:
        await strict.stop()
    assert came.status == 0
    assert receiver.connections == 0


class Names(AbstractResolver):
    """Every name has these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        kind = socket.AF_INET
        return [ResolveResult(hostname=host, host=each, port=port, family=kind, proto=0, flags=0) for each in self.addresses]

    async def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize(
    ("guard", "addresses", "failure"),
    [
        (Guard(), ["127.3.3.3"], Failure.FORBIDDEN),
        (Guard(LOOPBACK), ["127.3.3.3"], Failure.CONNECT),
        (Guard(LOOPBACK), ["127.3.3.3", "127.3.3.4"], Failure.CONNECT),
    ],
)
async def test_no_error_tells_the_address_of_a_name(guard: Guard, addresses: list[str], failure: Failure) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # nobody listens there by the addresses below
        sender = Sender(guard, SystemClock(), SETTINGS, Names(*addresses))
        await sender.start()
        try:
            came = await post(sender, f"http://inner.example:{port}/")
        finally:
            await sender.stop()
    assert (came.status, came.failure) == (0, failure)
    assert "inner.example" in came.error
    assert "127." not in came.error


async def test_a_proxy_of_the_environment_is_not_used(sender: Sender, receiver: Chaos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert (await post(sender, receiver.url("/200"))).status == 200


async def test_a_certificate_that_nobody_signed(sender: Sender, tmp_path: Path) -> None:
    async with chaos(own_certificate(tmp_path)) as receiver:
        came = await post(sender, receiver.url("/200", "https"))
    assert (came.status, came.failure) == (0, Failure.CONNECT)
    assert "certificate" in came.error.lower()


async def test_no_tls_where_tls_is_expected(sender: Sender, receiver: Chaos) -> None:
    came = await post(sender, receiver.url("/200", "https"), SHORT_S)  # the receiver waits for the end of a line
    assert came.status == 0
    assert came.failure is not Failure.NONE


async def test_no_tls_from_us_where_tls_is_expected(sender: Sender, tmp_path: Path) -> None:
    async with chaos(own_certificate(tmp_path)) as receiver:
        came = await post(sender, receiver.url("/200"), 5)
    assert came.status == 0
    assert came.failure is not Failure.NONE


def own_certificate(folder: Path) -> ssl.SSLContext:
    """A server's context with a throw-away certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "receiver.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
