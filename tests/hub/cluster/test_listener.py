"""The listener of links against whoever does not belong there: wrong secrets, rubbish, half hellos, crowds. And a link whose other end is
broken or bad.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed

from hub.cluster.link.address import PATH, LinkAddress, LinkListenError
from hub.cluster.link.certificates import Certificates
from hub.cluster.link.frames import Frame, FrameType, Request, pack, unpack
from hub.cluster.link.hello import Handshake, Me
from hub.cluster.link.tuning import Tuning
from hub.cluster.links import Links
from hub.cluster.ports import NodeRecord, UnreachableError
from tests.hub.cluster.sockets import SECRET, SocketCluster, SocketNode
from tests.hub.cluster.test_links import WITHIN_S, echo, until
from tests.support.cluster import MemoryNodes
from tests.support.hub_process import free_port
from tests.support.proxies import make_certificate

pytestmark = pytest.mark.repeated

TUNING = Tuning(
    call_window=4096,
    link_window=16384,
    max_piece=8192,
    part=1024,
    ping_s=0.1,
    dead_s=2.0,
    dial_s=0.5,
    back_off_s=(0.01, 0.05),
    max_strangers=16,
)


BROWSER = (
    b"GET /link HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture
async def cluster() -> AsyncIterator[SocketCluster]:
    made = await SocketCluster.start(2, TUNING)
    yield made
    await made.close()


def socket_of(cluster: SocketCluster, node: SocketNode) -> str:
    return str(cluster.folder / f"{node.incarnation}.sock")


@contextlib.asynccontextmanager
async def websocket(cluster: SocketCluster, node: SocketNode) -> AsyncIterator[ClientConnection]:
    """A WebSocket to a node's listener, by the library's own client."""
    async with unix_connect(socket_of(cluster, node), f"ws://localhost{PATH}", compression=None, ping_interval=None) as opened:
        yield opened


async def frames_of(opened: ClientConnection) -> list[Frame]:
    message = await opened.recv()
    assert isinstance(message, bytes)
    return list(unpack(message))


async def shake(opened: ClientConnection, node: SocketNode, secret: bytes = SECRET, me: str = "f" * 12) -> Handshake:
    """Say hello as another node would."""
    handshake = Handshake(Me(me, secret), wanted=node.incarnation)
    await opened.send(pack(handshake.first()))
    while not handshake.done:
        for frame in await frames_of(opened):
            if answer := handshake.receive(frame):
                await opened.send(pack(answer))
    return handshake


async def closed(opened: ClientConnection) -> tuple[int | None, str | None]:
    """Code and reason with which the node closes."""
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(WITHIN_S):
            while True:
                await opened.recv()
    return opened.close_code, opened.close_reason


async def test_a_node_in_the_test_s_hands_is_answered(cluster: SocketCluster) -> None:
    node = cluster.nodes[0]
    node.links.serve("echo", echo)
    async with websocket(cluster, node) as opened:
        await shake(opened, node)
        await opened.send(pack([Frame(1, FrameType.REQUEST_ALONE, Request("echo", 1, b"a", b"b").encode())]))
        assert await frames_of(opened) == [Frame(1, FrameType.LAST_PIECE, b"a|b")]


async def test_a_wrong_secret_gets_nowhere(cluster: SocketCluster) -> None:
    node = cluster.nodes[0]
    called: list[bytes] = []

    async def note(call: Any) -> None:
        called.append(call.head)

    node.links.serve("note", note)
    async with websocket(cluster, node) as opened:
        handshake = Handshake(Me("f" * 12, b"another secret altogether"), wanted=node.incarnation)
        await opened.send(pack(handshake.first()))
        (answer,) = await frames_of(opened)
        proof = handshake.receive(answer)
        # with what it wants to ask in the same breath
        await opened.send(pack([*proof, Frame(1, FrameType.REQUEST_ALONE, Request("note", 1, b"", b"").encode())]))
        assert await closed(opened) == (4401, "secret")
    assert node.links.counters.refused_secret == 1
    assert called == []


async def test_nodes_with_different_secrets_do_not_reach_each_other(cluster: SocketCluster) -> None:
    node = cluster.nodes[0]
    other = await cluster.add(secret=b"another secret altogether")
    node.links.serve("echo", echo)
    with pytest.raises(UnreachableError, match="secret"):
        await other.links.ask(node.incarnation, "echo", timeout_s=WITHIN_S)
    assert node.links.counters.refused_secret == 1
    assert other.links.counters.refused_secret == 1
    assert node.links.open_links == 0


async def test_a_hello_that_was_recorded_gets_nowhere(cluster: SocketCluster) -> None:
    """Byte for byte what a node said when it made a link, with what it asked."""
    a, b = cluster.nodes
    b.links.serve("echo", echo)
    assert await a.links.ask(b.incarnation, "echo", b"x", timeout_s=WITHIN_S) == b"x|"
    recorded = bytes(cluster.ways[a.incarnation, b.incarnation].bytes["forth"])
    cluster.drop(a, b)
    await until(lambda: b.links.open_links == 0)
    calls = b.links.counters.calls_in
    reader, writer = await asyncio.open_unix_connection(socket_of(cluster, b))
    writer.write(recorded)
    async with asyncio.timeout(WITHIN_S):
        assert b"secret" in await reader.read()
    writer.close()
    assert b.links.counters.refused_secret == 1
    assert b.links.counters.calls_in == calls
    assert b.links.open_links == 0


async def test_before_the_hello_nothing_is_taken(cluster: SocketCluster) -> None:
    node = cluster.nodes[0]
    node.links.serve("echo", echo)
    async with websocket(cluster, node) as opened:
        await opened.send(pack([Frame(1, FrameType.REQUEST_ALONE, Request("echo", 1, b"", b"").encode())]))
        assert await closed(opened) == (4401, "malformed")
    assert node.links.counters.calls_in == 0


@pytest.mark.parametrize("message", [b"", b"\0", b"\xff" * 9, b"\0\0\0\1\0\0\0\0H", b"{}" * 600, "text"])
async def test_rubbish_for_a_hello_is_refused(cluster: SocketCluster, message: bytes | str) -> None:
    node = cluster.nodes[0]
    async with websocket(cluster, node) as opened:
        await opened.send(message)
        code, _ = await closed(opened)
    assert code in {4401, 1002}
    await until(lambda: node.links.strangers == 0)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /link HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /link HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        BROWSER,
    ],
    ids=["other path", "no upgrade", "post", "browser"],
)
async def test_what_is_no_link_is_answered_and_closed(cluster: SocketCluster, head: bytes) -> None:
    node = cluster.nodes[0]
    reader, writer = await asyncio.open_unix_connection(socket_of(cluster, node))
    writer.write(head)
    async with asyncio.timeout(WITHIN_S):
        answer = await reader.read()
    writer.close()
    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert node.links.counters.refused_malformed == 1


async def test_random_bytes_are_refused(cluster: SocketCluster) -> None:
    node = cluster.nodes[0]
    chance = random.Random(4)
    for _ in range(50):
        reader, writer = await asyncio.open_unix_connection(socket_of(cluster, node))
        with contextlib.suppress(ConnectionError):
            for _ in range(4):
                writer.write(chance.randbytes(chance.choice([1, 40, 5000, 70_000])))
                await writer.drain()
            async with asyncio.timeout(WITHIN_S):
                await reader.read()
        writer.close()
    await until(lambda: node.links.strangers == 0)
    counters = node.links.counters
    assert counters.refused_malformed + counters.refused_timeout >= 40


async def test_a_half_hello_ends_after_its_time(cluster: SocketCluster) -> None:
    node = cluster.nodes[0]
    async with websocket(cluster, node) as opened:
        await opened.send(pack(Handshake(Me("f" * 12, SECRET), wanted=node.incarnation).first()))
        await frames_of(opened)
        assert await closed(opened) == (4401, "timeout")
    assert node.links.counters.refused_timeout == 1


async def test_a_crowd_of_strangers_is_bounded_and_keeps_no_node_out(cluster: SocketCluster) -> None:
    a, b = cluster.nodes
    b.links.serve("echo", echo)
    crowd = []
    for number in range(1000):
        crowd.append(await asyncio.open_unix_connection(socket_of(cluster, b)))
        if number % 50 == 0:
            await asyncio.sleep(0)
        assert b.links.strangers <= TUNING.max_strangers
    assert await a.links.ask(b.incarnation, "echo", timeout_s=WITHIN_S) == b"|"
    assert b.links.counters.refused_crowded > 900
    for _, writer in crowd:
        writer.close()
    await until(lambda: b.links.strangers == 0)


# -- a node that knows the secret and does not keep to the protocol --------------------------------------------------------


@pytest.mark.parametrize(
    "frames",
    [
        [Frame(1, 255, b"")],
        [Frame(0, FrameType.HELLO, b"{}")],
        [Frame(2, FrameType.REQUEST, Request("echo", 1, b"", b"").encode())],
        [Frame(0, FrameType.REQUEST, Request("echo", 1, b"", b"").encode())],
        [Frame(1, FrameType.REQUEST, b"\0")],
        [Frame(1, FrameType.REQUEST, b"\xff" * 20)],
        [Frame(1, FrameType.REQUEST, Request("never", 1, b"", b"").encode())] * 2,
        [Frame(0, FrameType.CREDIT, b"x")],
        [Frame(1, FrameType.PART, b"x" * 4096)] * 3,
        [Frame(1, FrameType.REQUEST, Request("never", 1, b"", b"").encode()), *[Frame(1, FrameType.PIECE, b"x" * 4096)] * 4],
        [Frame(number, FrameType.PART, b"x" * 4096) for number in range(1, 41, 2)],
    ],
    ids=[
        "type",
        "second hello",
        "number of the other",
        "number of the link",
        "short request",
        "bad lengths",
        "number twice",
        "credit",
        "too long",
        "more than the window",
        "parts of many",
    ],
)
async def test_a_node_that_breaks_the_protocol_loses_its_link(cluster: SocketCluster, frames: list[Frame]) -> None:
    node = cluster.nodes[0]
    node.links.serve("echo", echo)

    async def never(call: Any) -> None:
        await call.confirmed(WITHIN_S)

    node.links.serve("never", never)
    async with websocket(cluster, node) as opened:
        await shake(opened, node)
        for frame in frames:
            with contextlib.suppress(ConnectionClosed):
                await opened.send(pack([frame]))
        assert (await closed(opened))[0] == 1002
    await until(lambda: node.links.open_links == 0)
    assert node.links.counters.broken == 1


async def test_a_request_that_came_over_two_links_is_refused(cluster: SocketCluster) -> None:
    node = cluster.nodes[0]
    node.links.serve("echo", echo)
    async with websocket(cluster, node) as opened:
        await shake(opened, node)
        await opened.send(pack([Frame(1, FrameType.REQUEST_ALONE, Request("echo", 2, b"", b"").encode())]))
        ((stream, kind, reason),) = await frames_of(opened)
    assert (stream, kind, reason) == (1, FrameType.CANCEL, b"\4")
    assert node.links.counters.refused_loop == 1


async def test_a_second_link_of_a_node_is_refused(cluster: SocketCluster) -> None:
    node = cluster.nodes[0]
    async with websocket(cluster, node) as first, websocket(cluster, node) as second:
        await shake(first, node)
        with pytest.raises(ConnectionClosed):
            await shake(second, node)
        assert second.close_reason == "duplicate"
        assert node.links.open_links == 1


async def test_two_nodes_that_call_each_other_at_a_time_have_one_link(cluster: SocketCluster) -> None:
    a, b = cluster.nodes
    a.links.serve("echo", echo)
    b.links.serve("echo", echo)
    for number in range(20):
        answers = await asyncio.gather(
            a.links.ask(b.incarnation, "echo", b"%d" % number, timeout_s=WITHIN_S),
            b.links.ask(a.incarnation, "echo", b"%d" % number, timeout_s=WITHIN_S),
        )
        assert answers == [b"%d|" % number] * 2
        assert (a.links.open_links, b.links.open_links) == (1, 1)
        made = a.links.counters
        assert (made.dialled, made.accepted) == (b.links.counters.accepted, b.links.counters.dialled)
        cluster.drop(a, b)
        await until(lambda: a.links.open_links == 0 and b.links.open_links == 0)


async def test_a_process_that_stood_still_breaks_no_link(cluster: SocketCluster) -> None:
    a, b = cluster.nodes
    b.links.serve("echo", echo)
    broken: list[str] = []
    a.links.on_broken.append(broken.append)
    b.links.on_broken.append(broken.append)
    await a.links.ask(b.incarnation, "echo", timeout_s=WITHIN_S)
    time.sleep(1.5 * TUNING.dead_s)  # both ends, for longer than the silence that breaks a link
    for _ in range(30):
        await asyncio.sleep(0.01)
    assert broken == []
    assert await a.links.ask(b.incarnation, "echo", timeout_s=WITHIN_S) == b"|"


# -- the listener itself -------------------------------------------------------------------------------------------------


def links_at(address: LinkAddress, name: str = "a" * 12) -> Links:
    return Links(MemoryNodes(NodeRecord(incarnation=name, version="test")), SECRET, listen=address, tuning=TUNING)


async def test_a_socket_that_another_process_listens_on_is_refused(tmp_path: Path) -> None:
    address = LinkAddress(path=str(tmp_path / "link.sock"))
    first, second = links_at(address), links_at(address, "b" * 12)
    await first.start()
    with pytest.raises(LinkListenError, match=r"^link_listen: cannot listen on .*another process listens there"):
        await second.start()
    await first.stop()
    assert not Path(address.path).exists()


async def test_a_socket_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    address = LinkAddress(path=str(tmp_path / "link.sock"))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(address.path)
    links = links_at(address)
    await links.start()
    assert Path(address.path).stat().st_mode & 0o777 == 0o600
    await links.stop()


async def test_a_port_that_is_taken_is_refused() -> None:
    first = links_at(LinkAddress("127.0.0.1", 0))
    await first.start()
    second = links_at(LinkAddress("127.0.0.1", first.port), "b" * 12)
    with pytest.raises(LinkListenError, match=f"^link_listen: cannot listen on 127.0.0.1:{first.port}"):
        await second.start()
    await first.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path)


async def over_tls(certificate: tuple[Path, Path], ca: Path | None) -> bytes:
    """What a node answers to another by TLS."""
    record = NodeRecord(incarnation="a" * 12, version="test")
    listen = LinkAddress("127.0.0.1", 0, tls=True)
    asked = Links(MemoryNodes(record), SECRET, listen=listen, certificates=Certificates(*certificate))
    asked.serve("echo", echo)
    await asked.start()
    view = MemoryNodes(NodeRecord(incarnation="b" * 12, version="test"))
    view.see(NodeRecord(incarnation="a" * 12, version="test", link=f"wss://localhost:{asked.port}"))
    asker = Links(view, SECRET, certificates=Certificates(ca=ca))
    try:
        return await asker.ask("a" * 12, "echo", b"by TLS", timeout_s=WITHIN_S)
    finally:
        await asker.stop()
        await asked.stop()


async def test_links_speak_tls(certificate: tuple[Path, Path]) -> None:
    assert await over_tls(certificate, certificate[0]) == b"by TLS|"


async def test_strangers_before_their_tls_handshake_are_let_go(certificate: tuple[Path, Path]) -> None:
    """Those that say nothing, and those that were crowded out and finish the handshake then."""
    node = Links(
        MemoryNodes(NodeRecord(incarnation="a" * 12, version="test")),
        SECRET,
        listen=LinkAddress("127.0.0.1", 0, tls=True),
        certificates=Certificates(*certificate),
        tuning=Tuning(dial_s=0.5, max_strangers=2),
    )
    await node.start()
    anybody = ssl.create_default_context(cafile=certificate[0])
    strangers = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(6)]
    await until(lambda: node.counters.refused_crowded == 4)
    late = [asyncio.open_connection(sock=each, ssl=anybody, server_hostname="localhost") for each in strangers[:3]]
    for opened in await asyncio.gather(*late, return_exceptions=True):
        if isinstance(opened, tuple):  # else it is closed already
            async with asyncio.timeout(WITHIN_S):
                with contextlib.suppress(OSError):
                    assert await opened[0].read() == b""
            opened[1].close()
    loop = asyncio.get_running_loop()
    for each in strangers[3:]:
        each.setblocking(False)
        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(OSError):
                assert await loop.sock_recv(each, 1) == b""
        each.close()
    assert node.strangers == 0
    await node.stop()


async def test_a_certificate_of_nobody_known_is_refused(certificate: tuple[Path, Path]) -> None:
    with pytest.raises(UnreachableError, match="certificate"):
        await over_tls(certificate, None)


# -- link_url ------------------------------------------------------------------------------------------------------------


def node_with(link: str, name: str, port: int = 0) -> Links:
    record = NodeRecord(incarnation=name, version="test", link=link)
    return Links(MemoryNodes(record), SECRET, listen=LinkAddress("127.0.0.1", port), tuning=TUNING)


async def test_a_link_url_that_leads_to_another_node_is_refused() -> None:
    first = node_with("", "a" * 12)
    await first.start()
    second = node_with(f"ws://127.0.0.1:{first.port}", "b" * 12)
    said = r"^link_url: expected a URL that leads to link_listen of this node, got ws://127.*, where another node answers$"
    with pytest.raises(LinkListenError, match=said):
        await second.start()
    await first.stop()


async def test_a_link_url_that_leads_to_something_else_is_refused() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(LinkListenError, match=r"link_url: .*got status 200"):
        await node_with(f"ws://127.0.0.1:{port}", "b" * 12).start()
    server.close()


async def test_a_link_url_that_leads_nowhere_yet_is_told() -> None:
    """In Kubernetes a node's name is known when the node is ready."""
    links = node_with(f"ws://127.0.0.1:{free_port()}", "b" * 12)
    with structlog.testing.capture_logs() as logs:
        await links.start()
    assert [record["event"] for record in logs] == ["link_url_not_reached"]
    await links.stop()


async def test_a_link_url_that_leads_to_this_node_is_taken() -> None:
    port = free_port()
    links = node_with(f"ws://127.0.0.1:{port}", "b" * 12, port)
    with structlog.testing.capture_logs() as logs:
        await links.start()
    assert logs == []
    assert links.counters.refused_duplicate == 0
    await until(lambda: links.strangers == 0)
    await links.stop()
